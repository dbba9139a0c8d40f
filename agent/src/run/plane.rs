//! The root half: recovery, the flow, the turns.

mod hub;
mod judge;
#[cfg(feature = "runtime")]
mod node;
mod recover;
mod reload;

use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jos_link::{Config, Do, Event, FromFetcher, ToFetcher, Turn};
use jos_runtime::Plane;
use jos_runtime::world::World;
use jos_schemas::own;
use jos_schemas::text::Utc;
use jos_trust::Digest;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::confine::{self, Mechanism};
use super::figures::Figures;

use super::half::Half;
use super::line::Line;
use super::live::Live;
use super::notify::notify;
use super::pause::Pause;
use super::settings::{Given, Settings};
use crate::cli::{Done, Failure};
use crate::lock::{Lock, LockError};
use crate::place::run_dir;
use crate::signals::{self, Signals};
use crate::world::{Real, TurnClock};
use hub::Host;

/// Runs an agent until it is told to stop; with `once`, one flow and one turn.
pub(crate) fn daemon(given: &Given, once: bool) -> Done {
    if std::env::var_os("JOS_SUPERVISED").is_some() {
        // The supervisor's end is ours, however it comes about.
        #[cfg(target_os = "linux")]
        let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM);
    }
    let signals = Signals::install(false).map_err(|e| Failure::failed(format!("signals: {e}")))?;
    let settings = Settings::read(given)?;
    settings.filled_in_at_first()?;
    let run_dir = run_dir(&settings.state_dir, settings.name.as_str());
    let folder = |path: &Path, mode| {
        let made = std::fs::DirBuilder::new().recursive(true).mode(mode).create(path);
        made.map_err(|e| Failure::failed(format!("{}: {e}", path.display())))
    };
    folder(&settings.state_dir, 0o700)?;
    folder(&run_dir, 0o755)?;
    let _lock = Lock::take(&run_dir.join("lock")).map_err(|e| match e {
        LockError::Held(_) => {
            let help = format!("`jos agent status {}` shows it", settings.name);
            Failure::failed(format!("{}: {e}", settings.name)).help(help)
        }
        LockError::File { .. } => Failure::failed(e),
    })?;
    let real = Real::new();
    let mut agent = Agent::new(given, settings, run_dir, &real)?;
    let ended = if once {
        agent.once(&signals)
    } else {
        agent.serve(&signals)
    };
    agent.figures.settle();
    agent.live.phase = "stopped".into();
    agent.live.next_wake = None;
    agent.live.fetcher = None;
    agent.live.write(&agent.run_dir);
    notify("STOPPING=1");
    ended
}

/// What the last document came to, so that the same bytes are not judged for nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Judged {
    /// Taken up, or failed: only other bytes make a difference.
    Settled(Digest),
    /// Refused: time or a new floor may make a difference.
    Refused,
}

/// What the last judgement of a document came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Taken up, or failed.
    Settled,
    /// Refused.
    Refused,
    /// Not kept through no fault of its own; tried again then.
    Again { seconds: u64 },
}

struct Agent<'w> {
    given: Given,
    settings: Settings,
    run_dir: PathBuf,
    world: World<'w>,
    /// The clock of that world: each turn begins by reading it.
    clock: &'w TurnClock,
    plane: Plane<'w>,
    half: Option<Half>,
    started: Instant,
    judged: Option<Judged>,
    verdict: Verdict,
    /// The newest version that came from the hub and was signed as it has to be.
    came: u64,
    pause: Pause,
    live: Live,
    line: &'w Line,
    host: Option<Host>,
    /// Says when the way out is back, where the kernel does.
    #[cfg(target_os = "linux")]
    uplink: super::uplink::Uplink,
    figures: Figures,
    /// The node of the runtime, where the settings ask for one.
    #[cfg(feature = "runtime")]
    node: Option<super::node::Node>,
    /// By which the hub tells this start of the agent from another one's.
    session: String,
    /// The floors were lost, and that was told.
    floors_lost: bool,
    /// Milliseconds that a test lets pass.
    #[cfg(test)]
    ahead: u64,
    /// Set when the agent may not go on.
    fatal: Option<Failure>,
}

impl<'w> Agent<'w> {
    fn new(given: &Given, settings: Settings, run_dir: PathBuf, real: &'w Real) -> Result<Self, Failure> {
        let (world, clock, line) = (real.world(), real.clock(), real.line());
        clock.begin_turn();
        let plane = Plane::open(settings.setup(), world).map_err(Failure::failed)?;
        if let Some(error) = plane.status().err().filter(jos_runtime::PlaneError::is_newer) {
            return Err(Failure::failed(error));
        }
        let live = Live {
            pid: std::process::id(),
            started: Utc::from_unix(world.clock.now()).to_string(),
            phase: "recovering".into(),
            hub: settings.hub.clone(),
            ..Live::default()
        };
        let (given, started) = (given.clone(), Instant::now());
        let figures = Figures::open(&settings.state_dir, settings.name.as_str());
        let session = format!("s{}", crate::files::unlike_any_other().map_err(Failure::failed)?);
        let mut agent = Self {
            given,
            settings,
            run_dir,
            world,
            clock,
            plane,
            half: None,
            started,
            judged: None,
            verdict: Verdict::Settled,
            came: 0,
            pause: Pause::default(),
            live,
            line,
            host: None,
            #[cfg(target_os = "linux")]
            uplink: super::uplink::Uplink::default(),
            figures,
            #[cfg(feature = "runtime")]
            node: None,
            session,
            floors_lost: false,
            #[cfg(test)]
            ahead: 0,
            fatal: None,
        };
        agent.tell();
        // Before recovery asks them what was kept.
        agent.notice_floors();
        agent.recover()?;
        // A new system is tried with the state that named it, before its own baseline has a word.
        if !agent.is_moving() {
            agent.take_baseline();
        }
        agent.open_hub();
        Ok(agent)
    }

    fn now(&self) -> u64 {
        let since = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        #[cfg(test)]
        let since = since + self.ahead;
        since
    }

    fn serve(&mut self, signals: &Signals) -> Done {
        log::info!("{}: agent {} starts", self.settings.name, env!("CARGO_PKG_VERSION"));
        notify("READY=1");
        self.resume_move();
        self.flow();
        let mut turn = self.turn();
        let mut open = vec![Event::Time];
        while !signals::stop_requested() {
            self.clock.begin_turn();
            while let Some(event) = open.pop() {
                for what in turn.step(self.now(), event) {
                    self.act(what, &mut open);
                    if let Some(fatal) = self.fatal.take() {
                        return Err(fatal);
                    }
                    if signals::stop_requested() {
                        return Ok(0);
                    }
                }
            }
            let hub = self.turn_hub();
            if let Some(fatal) = self.fatal.take() {
                return Err(fatal);
            }
            #[cfg(feature = "runtime")]
            let hub = hub.min(self.turn_node());
            self.sleep(&turn);
            open.extend(self.wait(signals, self.wake(&turn).min(hub)));
            if self.host.is_some() {
                turn.hasten(self.now(), self.slack());
            }
            if signals::take_reload() {
                self.reload(&mut turn);
                // Reload is taken after whatever else came.
                open.insert(0, Event::Reload);
            }
            open.push(Event::Time);
        }
        log::info!("{}: stopped", self.settings.name);
        Ok(0)
    }

    /// One flow, one look, one comparison; the exit code says how they went.
    fn once(&mut self, signals: &Signals) -> Done {
        self.resume_move();
        self.flow();
        let mut ok = self.live.flow.as_ref().is_none_or(|f| f["ok"] == true);
        let mut turn = self.turn();
        let mut open = vec![Event::Time];
        while !signals::stop_requested() && self.live.turns == 0 {
            self.clock.begin_turn();
            while let Some(event) = open.pop() {
                for what in turn.step(self.now(), event) {
                    self.act(what, &mut open);
                    if let Some(fatal) = self.fatal.take() {
                        return Err(fatal);
                    }
                }
            }
            if self.live.turns == 0 {
                open.extend(self.wait(signals, turn.next_wake()));
                open.push(Event::Time);
            }
        }
        ok &= self.live.trouble.is_none() && !signals::stop_requested();
        Ok(u8::from(!ok))
    }

    /// By so much a turn may come sooner or later, to be had with what wakes this process anyway.
    fn slack(&self) -> u64 {
        u64::from(self.settings.interval) * 1000 / 4
    }

    /// When the turn has to be looked at. One that is due a little before the hub is heard waits for that.
    fn wake(&self, turn: &Turn) -> u64 {
        let wake = turn.next_wake();
        let heard = self
            .host
            .as_ref()
            .and_then(Host::heard_by)
            .filter(|_| wake == turn.next_turn());
        heard
            .filter(|heard| (wake..=wake.saturating_add(self.slack())).contains(heard))
            .unwrap_or(wake)
    }

    fn turn(&self) -> Turn {
        let config = Config {
            half: self.settings.state.is_some(),
            ..Config::every(self.settings.interval)
        };
        Turn::new(config, self.seed(), self.now())
    }

    fn seed(&self) -> u64 {
        let mut seed = [0; 8];
        self.world.random.fill(&mut seed);
        u64::from_ne_bytes(seed)
    }

    /// Until a signal, a frame or the time.
    fn wait(&mut self, signals: &Signals, wake: u64) -> Vec<Event> {
        let left = wake.saturating_sub(self.now()).min(24 * 3600 * 1000);
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let ready = {
            let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            fds.extend(self.half.as_ref().map(|h| PollFd::new(h.as_fd(), PollFlags::POLLIN)));
            let hub = self.line.heard();
            fds.extend(hub.as_ref().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
            #[cfg(target_os = "linux")]
            fds.extend(self.uplink.fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
            #[cfg(feature = "runtime")]
            fds.extend(
                self.node
                    .as_ref()
                    .and_then(|n| n.fd())
                    .map(|fd| PollFd::new(fd, PollFlags::POLLIN)),
            );
            // An interrupted poll is a signal: the flags say which.
            let _ = poll(&mut fds, timeout);
            let half = fds.get(1).filter(|_| self.half.is_some());
            half.is_some_and(|f| f.any().unwrap_or(false))
        };
        signals.drain();
        if ready { self.hear() } else { Vec::new() }
    }

    /// What the network half said. Events come out last first, as the open list is taken.
    fn hear(&mut self) -> Vec<Event> {
        let Some(half) = &mut self.half else { return Vec::new() };
        let messages = match half.take() {
            Ok(messages) => messages,
            Err(why) => return vec![self.down(&why)],
        };
        let mut events = Vec::new();
        for message in messages {
            match message {
                FromFetcher::Hello { protocol, confinement } => {
                    if protocol != jos_link::message::PROTOCOL {
                        return vec![self.down(&format!("it speaks protocol {protocol}"))];
                    }
                    let confinement: Vec<Mechanism> = own::read(confinement.as_bytes()).unwrap_or_default();
                    let missing = confine::missing(&confinement);
                    self.live.confinement = confinement;
                    if self.settings.policy.require_confinement && !missing.is_empty() {
                        let message = format!("the network half is not confined: {}", missing.join(", "));
                        let help =
                            "policy has require_confinement; this machine cannot, or `status` says what to install";
                        self.fatal = Some(Failure::failed(message).help(help));
                    }
                    events.push(Event::Up);
                }
                FromFetcher::Answer { .. } => {
                    return vec![self.down("it speaks to a hub, and was told to look into a folder")];
                }
                FromFetcher::Offer { sequence, bytes } => events.push(Event::Offer { sequence, bytes }),
                FromFetcher::Nothing { sequence } => {
                    self.trouble("there is no document to keep".into());
                    events.push(Event::Nothing { sequence });
                }
                FromFetcher::Trouble { sequence, text } => {
                    // Cleaned: it goes to a log and a terminal.
                    let text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
                    self.trouble(format!("the network half: {text}"));
                    events.push(Event::Nothing { sequence });
                }
            }
        }
        events.reverse();
        events
    }

    fn down(&mut self, why: &str) -> Event {
        log::warn!("the network half is gone: {why}");
        self.half = None;
        self.live.fetcher = None;
        Event::Down
    }

    fn act(&mut self, what: Do, open: &mut Vec<Event>) {
        match what {
            Do::Start => {
                let started = match &self.settings.state {
                    None => Err("there is no document to look for".into()),
                    Some((path, _)) => {
                        let file = path
                            .file_name()
                            .map(|n| n.to_string_lossy().into_owned())
                            .unwrap_or_default();
                        let folder = path.parent().unwrap_or(Path::new("/"));
                        Half::start(folder, &file, self.settings.config.network_user.as_deref())
                    }
                };
                match started {
                    Ok(half) => {
                        if self.live.turns > 0 || self.live.fetcher_restarts > 0 {
                            self.live.fetcher_restarts += 1;
                        }
                        self.live.fetcher = Some(half.pid());
                        self.half = Some(half);
                    }
                    Err(why) => {
                        self.trouble(why.clone());
                        open.push(self.down(&why));
                    }
                }
            }
            Do::End => open.push(self.down("it did not answer in time")),
            Do::Look { sequence } => {
                let sent = self
                    .half
                    .as_mut()
                    .map_or(Err("not there".into()), |h| h.send(&ToFetcher::Look { sequence }));
                if let Err(why) = sent {
                    open.push(self.down(&why));
                }
            }
            Do::Judge(bytes) => {
                if !self.pause.lasts(self.started.elapsed()) {
                    self.phase("judging");
                    self.judge(&bytes);
                }
                open.push(Event::Done);
            }
            Do::Converge => {
                self.notice_floors();
                if !self.pause.lasts(self.started.elapsed()) {
                    self.phase("converging");
                    self.converge();
                }
                self.live.turns += 1;
                self.live.last_turn = Some(Utc::from_unix(self.world.clock.now()).to_string());
                open.push(Event::Done);
            }
        }
    }

    fn converge(&mut self) {
        match self.plane.converge() {
            Ok(outcome) => {
                self.pause.over();
                for change in &outcome.report.changes {
                    log::info!("drift: {} {:?}", change.step, change.action);
                }
                if outcome.exit_code() != 0 {
                    self.trouble(outcome.to_string());
                }
            }
            Err(error) => {
                self.pause.failed(self.started.elapsed());
                self.trouble(error.to_string());
            }
        }
    }

    fn trouble(&mut self, what: String) {
        log::error!("{what}");
        self.live.trouble = Some(what);
    }

    fn phase(&mut self, phase: &str) {
        self.live.phase = phase.to_owned();
        self.live.write(&self.run_dir);
    }

    fn sleep(&mut self, turn: &Turn) {
        let left = Duration::from_millis(turn.next_turn().saturating_sub(self.now()));
        let wake = self.world.clock.now() + i64::try_from(left.as_secs()).unwrap_or(0);
        self.live.next_wake = Some(Utc::from_unix(wake).to_string());
        self.live.phase = "waiting".into();
        self.tell();
    }

    fn tell(&mut self) {
        match self.plane.status() {
            Ok(status) => self.live.plane = serde_json::to_value(&status).unwrap_or_default(),
            Err(error) => log::error!("status: {error}"),
        }
        self.live.write(&self.run_dir);
    }
}
