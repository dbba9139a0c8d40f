//! The plane's side of the loop with the hub: it drives [`Loop`], writes what the device says, and takes up what comes.
//! Nothing that comes is believed: states, trust documents and the time are verified here, by the root half.

mod answer;
mod figures;
mod floor;
mod fresh;
mod news;
#[cfg(test)]
mod one_reading;
mod report;
#[cfg(test)]
mod signed_state;
#[cfg(test)]
mod taken_over;
mod write;

use jos_link::{Action, Document, Known, Loop, News, Pace, Reply, Taken, Took};
use jos_schemas::text::Utc;
use jos_trust::state::Channel;

use super::Agent;
use crate::enrol::{self, Applicant};
use crate::identity::{self, Extra, hub_ca};
use crate::lock::Lock;
use crate::run::live::Link;
use crate::run::telemetry::Telemetry;

/// While the device itself cannot take anything up (a full disk), a state is tried again after this.
const NOT_NOW: u64 = 60_000;

/// An agent that has a hub.
pub(super) struct Host {
    turn: Loop,
    /// The question of the loop is on its way.
    put: bool,
    applicant: Option<(Applicant, std::path::PathBuf)>,
    /// Held while a certificate is asked for: one agent of a device at a time.
    lock: Option<Lock>,
    session: String,
    nonce: String,
    floor_nonce: String,
    telemetry: Telemetry,
    /// Milliseconds between heartbeats.
    interval: u64,
    /// When figures are taken without a heartbeat.
    figures_due: u64,
    /// The hub that answered last takes those of before.
    takes_figures: bool,
    /// The batch of them in the heartbeat that is on its way.
    telling: Option<String>,
    /// The number of the report that is on its way.
    reporting: Option<u64>,
    /// How often it answers what people ask.
    answers: answer::Quota,
    /// How fresh its words are.
    watch: fresh::Watch,
    told: Link,
}

/// From the end of a long poll to its answer, at most, where all is well.
const ANSWER: u64 = 3000;

impl Host {
    /// When the hub is heard at the latest, where all is well and a long poll is on its way.
    pub(super) fn heard_by(&self) -> Option<u64> {
        self.turn.poll_ends().map(|ends| ends + ANSWER)
    }
}

impl Agent<'_> {
    /// Begins with the hub: at the start, after a reload, after somebody else enrolled this device.
    pub(super) fn open_hub(&mut self) {
        self.host = None;
        self.world.hub = None;
        self.line.lead(None, None, false);
        self.live.link = None;
        match self.try_open_hub() {
            Ok(host) => self.host = host,
            Err(why) => self.trouble(format!("hub: {why}")),
        }
        if let Some(host) = &self.host {
            self.live.link = Some(host.told.clone());
        }
    }

    /// After a reload: pauses end, and where anything between this device and its hub has changed, it begins anew.
    pub(super) fn reopen_hub(&mut self) {
        let now = self.now();
        if let Some(mut host) = self.host.take() {
            let same = self.setup_for(&host).is_ok_and(|setup| self.line.leads_as(&setup));
            if same && host.applicant.is_none() {
                host.turn.poke(now);
                self.host = Some(host);
                return self.is_known();
            }
        }
        self.open_hub();
    }

    fn try_open_hub(&mut self) -> Result<Option<Host>, String> {
        let state_dir = self.settings.state_dir.clone();
        let name = self.settings.name.clone();
        let known = self.settings.identity.clone().filter(|i| self.settings.calls(i));
        let mut applicant = None;
        if known.is_none() {
            let Some((path, token)) = self.settings.token()? else {
                return Ok(None);
            };
            let one = Applicant {
                state_dir: state_dir.clone(),
                name: name.clone(),
                token,
                ca: None,
            };
            applicant = Some((one, path));
        }
        let addresses = match (&known, &applicant) {
            (Some(identity), _) => identity.addresses.len(),
            (None, Some((one, _))) => one.token.addresses.len(),
            (None, None) => 0,
        };
        // The configured one goes before them, and counts only where it is another.
        let mut host = Host {
            turn: Loop::new(
                Pace::every(self.settings.interval),
                Known {
                    name: name.to_string(),
                    device: known.as_ref().map(|i| i.device.clone()),
                    trust: self.root().map_or(0, |r| r.version()),
                    hub_ca: hub_ca::kept(&self.settings.state_dir).map_or(0, |next| next.version),
                    addresses: u8::try_from(addresses).unwrap_or(u8::MAX),
                },
                applicant.as_ref().map(|(one, _)| one.token.clone()),
                self.seed(),
                self.now(),
            ),
            put: false,
            applicant,
            lock: None,
            session: self.session.clone(),
            nonce: String::new(),
            floor_nonce: String::new(),
            telemetry: Telemetry::default(),
            interval: u64::from(self.settings.interval) * 1000,
            figures_due: self.now(),
            takes_figures: false,
            telling: None,
            reporting: None,
            answers: answer::Quota::default(),
            watch: fresh::Watch::default(),
            told: Link::default(),
        };
        host.watch.may(self.may_vouch());
        let setup = self.setup_for(&host)?;
        host.turn
            .set_addresses(u8::try_from(setup.addresses.len()).unwrap_or(u8::MAX));
        host.told.addresses.clone_from(&setup.addresses);
        let user = self.settings.config.network_user.clone();
        self.line
            .lead(Some(setup), user.as_deref(), self.settings.policy.require_confinement);
        self.line.limit(self.settings.blob_rate());
        if known.is_some() {
            host.told.of(known.as_ref());
            self.is_known();
            self.report_last();
        }
        Ok(Some(host))
    }

    fn setup_for(&self, host: &Host) -> Result<crate::run::net::setup::Setup, String> {
        let floors = self.plane.floors().map_err(|e| e.to_string())?;
        let extra = Extra {
            url: self.settings.hub.clone(),
            proxy: self.settings.proxy(),
            floor: floors.now(&Utc::from_unix(0), &crate::world::built()).unix(),
        };
        match &host.applicant {
            Some((one, _)) => one.setup(&extra),
            None => {
                let key = identity::tls_key(&self.settings.state_dir)?;
                let mut setup = identity::setup(self.settings.identity.as_ref(), None, &extra, &key);
                setup.ca = setup.ca.map(|known| hub_ca::believed(&self.settings.state_dir, &known));
                Ok(setup)
            }
        }
    }

    /// The line leads where the host stands now.
    fn lead(&mut self, host: &Host) -> Result<(), String> {
        let setup = self.setup_for(host)?;
        let user = self.settings.config.network_user.clone();
        self.line
            .lead(Some(setup), user.as_deref(), self.settings.policy.require_confinement);
        Ok(())
    }

    /// The device has an identity: its tenant is pinned, and the plane may ask the hub.
    fn is_known(&mut self) {
        let Some(identity) = &self.settings.identity else {
            return;
        };
        let loose = |f: &jos_trust::Floors| f.counters().any(|(c, _)| c.tenant.is_none());
        if self.plane.floors().is_ok_and(|f| loose(&f)) {
            let tenant = identity.tenant.clone();
            if let Err(error) = self.plane.change_floors(&mut |floors| floors.pin_tenant(&tenant)) {
                self.trouble(error.to_string());
            }
        }
        self.world.hub = Some(self.line);
        match jos_runtime::Plane::open(self.settings.setup(), self.world) {
            Ok(plane) => self.plane = plane,
            Err(error) => self.trouble(error.to_string()),
        }
    }

    /// Drives the loop as far as it goes without waiting; gives when it has to be called again by itself.
    pub(super) fn turn_hub(&mut self) -> u64 {
        self.clock.begin_turn();
        let Some(mut host) = self.host.take() else {
            #[cfg(target_os = "linux")]
            self.uplink.fit(false);
            return u64::MAX;
        };
        #[cfg(target_os = "linux")]
        if self.uplink.take(self.now()) {
            log::debug!("a link, an address or a route came: the hub is tried now");
            host.turn.poke(self.now());
        }
        let wake = self.drive(&mut host).min(self.keep_figures(&mut host));
        #[cfg(target_os = "linux")]
        let wake = {
            self.uplink.fit(host.turn.trouble().is_some());
            wake.min(self.uplink.due())
        };
        self.watch(&mut host);
        host.told.trouble = host.turn.trouble().map(str::to_owned);
        host.told.waiting = self.spool().waiting();
        host.told.fetcher = self.line.pid();
        host.told.starts = self.line.starts();
        host.told.confinement = self.line.confinement();
        self.live.link = Some(host.told.clone());
        if self.host.is_none() {
            self.host = Some(host);
        }
        wake
    }

    fn drive(&mut self, host: &mut Host) -> u64 {
        loop {
            if crate::signals::stop_requested() || self.fatal.is_some() {
                return self.now();
            }
            let now = self.now();
            let took = match host.turn.next(now) {
                Action::Rest { until } => return until,
                Action::Ask(request) if !host.put => {
                    host.put = true;
                    match self.line.put(&request) {
                        Ok(()) => continue,
                        Err(why) => Took::Reply(Reply::failed(why)),
                    }
                }
                Action::Ask(request) => match self.line.take() {
                    Some(reply) => {
                        if request.door == jos_link::Door::Device
                            && matches!(reply, Reply::Answer { status: 200..=399, .. })
                        {
                            host.watch.answered(now);
                        }
                        Took::Reply(self.ended(&request, reply))
                    }
                    None if self.line.is_asking() => return now.saturating_add(self.line.patience()),
                    None => {
                        // The plane needed the line for something else.
                        host.put = false;
                        if host.turn.is_polling() {
                            host.turn.given_up(now);
                            continue;
                        }
                        Took::Reply(Reply::failed("the network half was needed for something else"))
                    }
                },
                Action::Write(document) => match self.write(host, &document) {
                    Ok(written) => Took::Written(written),
                    Err(why) => {
                        self.trouble(format!("hub: {why}"));
                        match document {
                            // None would say that there is nothing to ask.
                            Document::Floor => Took::Reply(Reply::failed(why)),
                            _ => Took::Written(None),
                        }
                    }
                },
                Action::Take(news) => match self.take_up(host, news) {
                    Ok(taken) => Took::Taken(taken),
                    Err(why) => {
                        self.trouble(format!("hub: {why}"));
                        Took::Taken(Taken::Refused)
                    }
                },
            };
            if let Took::Reply(reply) = &took {
                host.put = false;
                self.refused_figures(host, reply);
                match reply {
                    Reply::Answer { .. } => host.told.last_contact = Some(self.clock()),
                    // A half that reaches nobody is started anew: it reads of name servers what it could read at its start.
                    Reply::Failed { .. } => self.line.end(),
                }
            }
            host.turn.took(self.now(), took);
            host.told.address = usize::from(host.turn.address());
        }
    }

    /// A certificate whose end has passed by our own clock is the reason why a hub hangs up, whatever else it says.
    fn ended(&self, request: &jos_link::Request, reply: Reply) -> Reply {
        match reply {
            Reply::Failed { text, .. } if request.door == jos_link::Door::Device && self.is_over() => Reply::Failed {
                certificate: true,
                text,
            },
            other => other,
        }
    }

    fn is_over(&self) -> bool {
        let now = self.plane.now().ok();
        let ends = self.settings.identity.as_ref().map(|i| &i.not_after);
        now.zip(ends).is_some_and(|(now, ends)| now >= *ends)
    }

    fn clock(&self) -> String {
        self.plane.now().map_or_else(
            |_| Utc::from_unix(self.world.clock.now()).to_string(),
            |now| now.to_string(),
        )
    }

    fn take_up(&mut self, host: &mut Host, news: News) -> Result<Taken, String> {
        match news {
            News::Ca(bytes) => {
                let (one, _) = host.applicant.as_mut().ok_or("nobody is to be enrolled")?;
                one.take_ca(&bytes)?;
                self.lead(host)?;
            }
            News::Enrolled(enrolled) => {
                let (one, token) = host.applicant.take().ok_or("nobody is to be enrolled")?;
                let taken = one.take(*enrolled);
                host.lock = None;
                let identity = match taken {
                    Ok(identity) => identity,
                    Err(why) => {
                        host.applicant = Some((one, token));
                        return Err(why);
                    }
                };
                log::info!("{}: enrolled as {}", self.settings.name, identity.device);
                self.settings.identity = Some(identity);
                enrol::used(&token);
                self.is_known();
                self.lead(host)?;
            }
            News::Certificate(certificate) => {
                let mut identity = self.settings.identity.clone().ok_or("a certificate for nobody")?;
                identity.renewed(*certificate, &self.settings.state_dir);
                identity.save(&self.settings.state_dir)?;
                host.lock = None;
                log::info!(
                    "{}: the next certificate, until {}",
                    self.settings.name,
                    identity.not_after
                );
                self.settings.identity = Some(identity);
                self.lead(host)?;
            }
            News::Heard(reply) => self.heard(host, *reply)?,
            News::Trust { version, bytes } => return self.trust(version, &bytes),
            News::HubCa(bytes) => return self.hub_ca(host, &bytes),
            News::Floor(bytes) => self.floor(host, &bytes)?,
            News::State(bytes) => return Ok(self.offered(&bytes)),
            News::Reported { refused } => {
                if let Some(why) = refused {
                    log::error!("the hub does not take a report: {why}");
                }
                if let Some(number) = host.reporting.take() {
                    self.spool().done(number);
                }
            }
            News::Barred { code, message } => {
                host.lock = None;
                log::error!("the hub will not have this device: {code}: {message}");
            }
        }
        host.told.of(self.settings.identity.as_ref());
        Ok(Taken::Done)
    }

    /// A state of the hub's, with no verdict.
    fn offered(&mut self, bytes: &[u8]) -> Taken {
        if self.pause.lasts(self.started.elapsed()) {
            return Taken::Again(NOT_NOW);
        }
        self.phase("judging");
        self.live.trouble = None;
        self.judge_as(std::path::Path::new("hub"), bytes, Channel::Hub);
        match self.verdict {
            super::Verdict::Settled => Taken::Done,
            super::Verdict::Refused => Taken::Refused,
            super::Verdict::Again { seconds } => Taken::Again(seconds.max(1) * 1000),
        }
    }
}
