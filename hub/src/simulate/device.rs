//! One simulated device: enrol, then heartbeat, long poll, apply (pretended), report, again and again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::header::{ETAG, RETRY_AFTER};
use hyper::{Method, StatusCode};
use jos_link::backoff::{Backoff, Jitter};
use jos_link::wire::{Enrolled, HeartbeatReply, Problem, RenewRequest, path};
use jos_schemas::text::Name;
use jos_trust::root::Received;
use jos_trust::{SecretKey, TrustRoot, sha256};
use rcgen::{CertificateParams, KeyPair};
use rustls::ClientConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::connection::{Connection, Own, Reply, Trouble};
use super::fleet::Fleet;
use super::word::Word;
use crate::{ca, random};

/// For a reply that does not wait on purpose.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Beyond the wait that a long poll asks for.
const GRACE: Duration = Duration::from_secs(30);

/// What a device keeps.
pub(super) struct Device {
    number: usize,
    pub(super) fleet: Arc<Fleet>,
    jitter: Jitter,
    key: KeyPair,
    pub(super) id: String,
    pub(super) tenant: Option<Name>,
    pub(super) certificate: String,
    /// What its admins said of the hub's CA.
    pub(super) word: Option<Word>,
    tls: Option<Arc<ClientConfig>>,
    session: String,
    tag: Option<String>,
    version: Option<u64>,
    outcome: Option<&'static str>,
    records: u64,
    calls: u64,
    silent: bool,
}

/// What follows a heartbeat.
enum Then {
    Poll,
    /// There is something that the hub waits to hear.
    CallAgain,
    ConnectAnew,
}

/// Lives until told to end.
pub(super) async fn live(fleet: Arc<Fleet>, number: usize, mut ended: watch::Receiver<bool>) {
    let share = number as f64 / fleet.asked.devices.max(1) as f64;
    let begin = fleet.asked.ramp.mul_f64(share);
    let life = async {
        sleep(begin).await;
        let mut device = match Device::new(fleet, number) {
            Ok(device) => device,
            Err((fleet, trouble)) => return fleet.figures.trouble(&trouble.0),
        };
        device.enrol().await;
        device.serve().await;
    };
    tokio::select! {
        () = life => {}
        _ = ended.wait_for(|ended| *ended) => {}
    }
}

/// Counts a device as connected while it is.
struct Connected(Arc<Fleet>);

impl Connected {
    fn new(fleet: &Arc<Fleet>) -> Self {
        fleet.figures.connected.fetch_add(1, Ordering::Relaxed);
        Self(fleet.clone())
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        // The last figure is that of the end, not of the devices' going.
        if !self.0.figures.is_frozen() {
            self.0.figures.connected.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Counts a device as applying until its report is acknowledged, or comes to nothing.
struct Applying(Arc<Fleet>);

impl Applying {
    fn new(fleet: &Arc<Fleet>) -> Self {
        fleet.figures.applying.fetch_add(1, Ordering::Relaxed);
        Self(fleet.clone())
    }
}

impl Drop for Applying {
    fn drop(&mut self) {
        self.0.figures.applying.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Device {
    fn new(fleet: Arc<Fleet>, number: usize) -> Result<Self, (Arc<Fleet>, Trouble)> {
        let key = match KeyPair::generate() {
            Ok(key) => key,
            Err(error) => return Err((fleet, Trouble(format!("key: {error}")))),
        };
        Ok(Self {
            jitter: Jitter::new(fleet.asked.seed.wrapping_add(number as u64)),
            session: random::hex(8).to_string(),
            number,
            key,
            id: String::new(),
            tenant: None,
            certificate: String::new(),
            word: None,
            tls: None,
            tag: None,
            version: None,
            outcome: None,
            records: 1,
            calls: 0,
            silent: false,
            fleet,
        })
    }

    /// Until it works.
    async fn enrol(&mut self) {
        let ledger = SecretKey::generate(&mut random::fill);
        let mut backoff = Backoff::new(1000, 60_000);
        loop {
            let done = {
                let permit = self.fleet.clone();
                let _turn = permit.enrolling.acquire().await;
                self.try_to_enrol(&ledger).await
            };
            match done {
                Ok(()) => return,
                Err(trouble) => self.wait(&trouble, &mut backoff).await,
            }
        }
    }

    async fn try_to_enrol(&mut self, ledger: &SecretKey) -> Result<(), Trouble> {
        let connector = &self.fleet.connector;
        let request = json!({
            "kind": "jos.enrolment",
            "token": self.fleet.asked.token.secret_text(),
            "name": self.fleet.asked.name,
            "keys": { "tls": csr(&self.key)?, "ledger": ledger.public().to_base64() },
            "facts": { "hostname": format!("simulated-{}", self.number), "simulated": "yes" },
        });
        let began = Instant::now();
        let mut stranger = connector.connect(self.number, connector.tls(None, None)?).await?;
        let body = request.to_string().into_bytes();
        let reply = stranger
            .ask(Method::POST, path::ENROL, None, Some(body), PATIENCE)
            .await?;
        let enrolled: Enrolled = read(&reply, StatusCode::OK)?;
        self.fleet.figures.enrol.add(began.elapsed());
        self.id = enrolled.device;
        self.tenant = Some(enrolled.tenant);
        self.take(enrolled.certificate.certificate)
    }

    /// Shows this certificate from the next connection on.
    fn take(&mut self, certificate: String) -> Result<(), Trouble> {
        self.certificate = certificate;
        self.lead()
    }

    /// What it shows and believes now is what its next connection begins with.
    pub(super) fn lead(&mut self) -> Result<(), Trouble> {
        let certificate = ca::der(&self.certificate).ok_or_else(|| Trouble("certificate: no PEM".to_owned()))?;
        let key = PrivateKeyDer::from_pem_slice(self.key.serialize_pem().as_bytes());
        let own: Own = (certificate, key.map_err(|error| Trouble(format!("key: {error}")))?);
        self.tls = Some(self.fleet.connector.tls(Some(own), self.word.as_ref())?);
        Ok(())
    }

    /// Connects, calls, and connects again when that breaks off.
    async fn serve(&mut self) {
        let mut backoff = Backoff::new(1000, 60_000);
        while let Some(tls) = self.tls.clone() {
            let began = Instant::now();
            let trouble = match self.fleet.connector.connect(self.number, tls).await {
                Ok(mut connection) => {
                    self.fleet.figures.connect.add(began.elapsed());
                    let _connected = Connected::new(&self.fleet);
                    backoff.reset();
                    match self.calls(&mut connection).await {
                        // It has another certificate to show.
                        Ok(()) => continue,
                        Err(trouble) => trouble,
                    }
                }
                Err(trouble) => trouble,
            };
            self.wait(&trouble, &mut backoff).await;
        }
    }

    /// Heartbeats, with a long poll in between. Ends where the device goes on over another connection.
    async fn calls(&mut self, connection: &mut Connection) -> Result<(), Trouble> {
        loop {
            match self.heartbeat(connection).await? {
                Then::Poll => {}
                Then::CallAgain => continue,
                Then::ConnectAnew => return Ok(()),
            }
            let interval = u64::try_from(self.fleet.asked.interval.as_millis()).unwrap_or(u64::MAX);
            let next = Instant::now() + Duration::from_millis(self.jitter.around(interval));
            while Instant::now() < next && !self.silent {
                self.poll(connection, next).await?;
            }
            if self.silent {
                std::future::pending::<()>().await;
            }
            sleep_until(next).await;
        }
    }

    async fn heartbeat(&mut self, connection: &mut Connection) -> Result<Then, Trouble> {
        self.calls += 1;
        let nonce = format!("n{}", self.calls);
        let mut said = json!({
            "kind": "jos.heartbeat", "name": self.fleet.asked.name, "agent": env!("CARGO_PKG_VERSION"),
            "session": self.session, "nonce": nonce, "ledger": self.head(), "telemetry": self.telemetry(),
        });
        if let (Some(version), Some(outcome)) = (self.version, self.outcome) {
            said["version"] = version.into();
            said["outcome"] = outcome.into();
        }
        if let Some(word) = &self.word {
            said["hub_ca"] = word.number.into();
        }
        let beat = self.fleet.figures.beat();
        let body = said.to_string().into_bytes();
        let reply = connection
            .ask(Method::POST, path::HEARTBEAT, None, Some(body), PATIENCE)
            .await?;
        let reply: HeartbeatReply = read(&reply, StatusCode::OK)?;
        self.fleet.figures.beaten(&beat, self.fleet.asked.ramp);
        if reply.freshness.nonce != nonce {
            return Err(Trouble("heartbeat: the reply is to another one".to_owned()));
        }
        if let Some(newest) = reply.trust {
            self.walk(connection, newest).await?;
        }
        // As a real one: after the trust document, whose keys may have signed it, and before the renewal.
        let known = self.word.as_ref().map_or(0, |word| word.number);
        if reply.hub_ca.is_some_and(|newest| newest > known) {
            self.learn(connection).await?;
            return Ok(Then::CallAgain);
        }
        for question in &reply.questions {
            self.answer(connection, &question.id).await?;
        }
        if reply.renew {
            let request = serde_json::to_vec(&RenewRequest { tls: csr(&self.key)? });
            let reply = connection
                .ask(Method::POST, path::RENEW, None, request.ok(), PATIENCE)
                .await?;
            let certificate: jos_link::wire::Certificate = read(&reply, StatusCode::OK)?;
            self.take(certificate.certificate)?;
            return Ok(Then::ConnectAnew);
        }
        Ok(Then::Poll)
    }

    /// There is nothing behind it that could be told.
    async fn answer(&self, connection: &mut Connection, question: &str) -> Result<(), Trouble> {
        let answer = json!({
            "kind": "jos.answer", "name": self.fleet.asked.name, "time": now(), "refused": "simulated",
        });
        let path = format!("{}/{question}", path::ANSWER);
        let body = answer.to_string().into_bytes();
        let reply = connection.ask(Method::POST, &path, None, Some(body), PATIENCE).await?;
        match reply.status {
            // Its time was over a moment ago.
            StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(()),
            _ => Err(refused(&reply)),
        }
    }

    /// Walks the trust documents up to `newest`, for the whole fleet.
    async fn walk(&self, connection: &mut Connection, newest: u64) -> Result<(), Trouble> {
        let fleet = self.fleet.clone();
        let mut root = fleet.root.lock().await;
        loop {
            let next = root.as_ref().map_or(1, |root| root.version() + 1);
            if next > newest {
                return Ok(());
            }
            let path = format!("{}/{next}", path::TRUST);
            let reply = connection.ask(Method::GET, &path, None, None, PATIENCE).await?;
            if reply.status != StatusCode::OK {
                return Err(refused(&reply));
            }
            let opened = TrustRoot::open(Received::json("hub", &reply.body));
            let opened = opened.map_err(|refused| Trouble(format!("trust: {}", refused.code())))?;
            if let Some(before) = &*root {
                let follows = opened.succeeds(before);
                follows.map_err(|refused| Trouble(format!("trust: {}", refused.code())))?;
            }
            *root = Some(opened);
            fleet.forget_verdicts();
        }
    }

    /// Waits for a version until `next`, and takes what comes.
    async fn poll(&mut self, connection: &mut Connection, next: Instant) -> Result<(), Trouble> {
        let wait = next.saturating_duration_since(Instant::now()).as_secs();
        let path = format!("{}/{}?wait={wait}", path::STATE, self.fleet.asked.name);
        let patience = Duration::from_secs(wait) + GRACE;
        let reply = connection
            .ask(Method::GET, &path, self.tag.as_deref(), None, patience)
            .await?;
        match reply.status {
            StatusCode::OK => self.apply(connection, &reply).await,
            StatusCode::NOT_MODIFIED => {
                self.fleet.figures.polls.fetch_add(1, Ordering::Relaxed);
                self.rest(wait, next).await;
                Ok(())
            }
            StatusCode::NO_CONTENT => {
                self.fleet.figures.polls.fetch_add(1, Ordering::Relaxed);
                // What it had is offered no longer; it keeps it, and waits for something else.
                self.tag = None;
                self.rest(wait, next).await;
                Ok(())
            }
            _ => Err(refused(&reply)),
        }
    }

    /// A wait of less than a second is none: it would be asked again and again.
    async fn rest(&self, wait: u64, next: Instant) {
        if wait == 0 {
            sleep_until(next).await;
        }
    }

    async fn apply(&mut self, connection: &mut Connection, reply: &Reply) -> Result<(), Trouble> {
        self.tag = reply
            .headers
            .get(ETAG)
            .and_then(|tag| tag.to_str().ok())
            .map(str::to_owned);
        let version = self.fleet.verify(&reply.body).await?;
        self.fleet.figures.told(version);
        let asked = &self.fleet.asked;
        if self.version.is_some_and(|has| has >= version) {
            // Devices never go back.
            return Ok(());
        }
        if self.fleet.lot(self.number, &format!("silent at {version}")) < asked.silent {
            self.silent = true;
            return Ok(());
        }
        let _applying = Applying::new(&self.fleet);
        let apply = u64::try_from(asked.apply.as_millis()).unwrap_or(u64::MAX);
        sleep(Duration::from_millis(self.jitter.around(apply))).await;
        let fails = self.fleet.lot(self.number, &format!("fails at {version}")) < asked.fail;
        self.records += 2;
        let outcome = if fails { "rolled_back" } else { "applied" };
        self.outcome = Some(outcome);
        if !fails {
            self.version = Some(version);
        }
        let mut report = json!({
            "kind": "jos.report", "name": asked.name, "version": version, "outcome": outcome, "changed": u32::from(!fails),
            "time": now(), "ledger": self.head(),
        });
        if fails {
            report["reason"] = "simulated: the health check failed".into();
        }
        let began = Instant::now();
        let body = report.to_string().into_bytes();
        let reply = connection
            .ask(Method::POST, path::REPORT, None, Some(body), PATIENCE)
            .await?;
        if reply.status != StatusCode::NO_CONTENT {
            return Err(refused(&reply));
        }
        self.fleet.figures.report.add(began.elapsed());
        Ok(())
    }

    fn head(&self) -> Value {
        let hash = sha256(format!("{}\n{}", self.id, self.records).as_bytes());
        json!({ "index": self.records, "hash": hash.to_string() })
    }

    fn telemetry(&self) -> Value {
        let lot = |what: &str| f64::from(self.fleet.lot(self.number, &format!("{what} {}", self.calls))) / 1e6;
        json!({
            "cpu": (lot("cpu") * 40.0) as u64, "load": [(lot("load") * 200.0) as u64, 90, 80],
            "memory": { "total": 128_u64 << 20, "available": (lot("memory") * 64e6) as u64 + (32 << 20) },
            "temperature": (lot("temperature") * 15e3) as u64 + 40_000,
            "uptime": self.calls * self.fleet.asked.interval.as_secs(),
        })
    }

    /// Says what went wrong, and waits before the next try.
    async fn wait(&mut self, trouble: &Trouble, backoff: &mut Backoff) {
        let (what, after) = trouble.0.split_once(RETRY).unwrap_or((&trouble.0, ""));
        self.fleet.figures.trouble(what);
        let pause = backoff.next(&mut self.jitter);
        let asked = after
            .parse::<u64>()
            .map_or(0, |seconds| self.jitter.around(seconds.saturating_mul(1000)));
        sleep(Duration::from_millis(pause.max(asked))).await;
    }
}

/// Between what is counted and how long the hub asked to wait.
const RETRY: &str = " | retry after ";

pub(super) fn refused(reply: &Reply) -> Trouble {
    let code = serde_json::from_slice::<Problem>(&reply.body).map(|problem| problem.code);
    let code = code.unwrap_or_else(|_| "no reason".to_owned());
    let after = reply.headers.get(RETRY_AFTER).and_then(|after| after.to_str().ok());
    let after = after.map(|after| format!("{RETRY}{after}")).unwrap_or_default();
    Trouble(format!("{}: {code}{after}", reply.status.as_u16()))
}

fn read<T: serde::de::DeserializeOwned>(reply: &Reply, expected: StatusCode) -> Result<T, Trouble> {
    if reply.status != expected {
        return Err(refused(reply));
    }
    serde_json::from_slice(&reply.body).map_err(|error| Trouble(format!("reply: {error}")))
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn csr(key: &KeyPair) -> Result<String, Trouble> {
    let failed = |error: rcgen::Error| Trouble(format!("request: {error}"));
    let params = CertificateParams::new(Vec::new()).map_err(failed)?;
    params
        .serialize_request(key)
        .and_then(|request| request.pem())
        .map_err(failed)
}
