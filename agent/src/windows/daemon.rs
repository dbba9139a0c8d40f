//! The loop of the agent on Windows: recover, then at every interval judge the state's bytes where they are new, and converge.
//!
//! One process: there is no network half, because nothing is read from a network. What is kept is read anew at each look, so
//! that a changed policy or state needs no word to the service.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use jos_runtime::disk::make_private;
use jos_runtime::world::Clock;
use jos_runtime::{Outcome, Plane};
use jos_schemas::own;
use jos_schemas::text::Utc;
use jos_trust::{Digest, sha256};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cli::{Done, Failure};
use crate::files;
use crate::lock::Lock;
use crate::signals;
use crate::world::SystemClock;

/// Reads what is to be kept.
pub(crate) trait Source: Send {
    fn read(&self) -> Result<Box<dyn Kept>, Failure>;
}

/// What is to be kept, as it was at one look.
pub(crate) trait Kept {
    fn name(&self) -> &str;
    fn state_dir(&self) -> PathBuf;
    fn interval(&self) -> u32;
    fn bytes(&self) -> &[u8];
    fn plane(&self) -> Result<Plane<'_>, Failure>;
    /// Verifies the state and takes it up, on the record either way.
    fn judge(&self, plane: &Plane<'_>) -> Result<Outcome, Failure>;
}

/// What a running agent says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Live {
    /// Its process.
    pub(crate) pid: u32,
    /// Since when it runs (UTC).
    pub(crate) started: String,
    /// `recovering`, `judging`, `converging`, `waiting`, `stopped`.
    pub(crate) phase: String,
    /// Looks since its start.
    pub(crate) turns: u64,
    /// When the last one ended.
    pub(crate) last_turn: Option<String>,
    /// When it looks again by itself.
    pub(crate) next_wake: Option<String>,
    /// What the plane says: version, last outcome, ledger head.
    pub(crate) plane: Value,
    /// What went wrong last, where something did.
    pub(crate) trouble: Option<String>,
}

impl Live {
    /// What the agent of this name said last.
    pub(crate) fn read(run_dir: &Path) -> Option<Self> {
        own::read(&files::read(&run_dir.join("status.json"), 1 << 20).ok()?).ok()
    }
}

/// Where a running agent keeps its lock and its status.
pub(crate) fn run_dir(state_dir: &Path, name: &str) -> PathBuf {
    state_dir.join(name).join("run")
}

/// The agent.
pub(crate) struct Daemon {
    source: Box<dyn Source>,
    /// As it was when it could be read last.
    kept: Rc<dyn Kept>,
    run_dir: PathBuf,
    live: Live,
    /// The bytes that were taken up, or failed: only others make a difference.
    settled: Option<Digest>,
    interval: u32,
    _lock: Lock,
}

impl Daemon {
    /// Reads everything once and takes the lock.
    pub(crate) fn new(source: Box<dyn Source>) -> Result<Self, Failure> {
        let kept: Rc<dyn Kept> = source.read()?.into();
        let run_dir = run_dir(&kept.state_dir(), kept.name());
        let failed = |e: std::io::Error| Failure::failed(format!("{}: {e}", run_dir.display()));
        make_private(&kept.state_dir()).map_err(failed)?;
        std::fs::create_dir_all(&run_dir).map_err(failed)?;
        let Some(lock) = Lock::take(&run_dir.join("lock")).map_err(failed)? else {
            let message = format!("{}: it already runs", kept.name());
            return Err(Failure::failed(message).help("`jos agent status` shows it"));
        };
        let live = Live {
            pid: std::process::id(),
            started: moment(0),
            phase: "recovering".into(),
            ..Live::default()
        };
        let mut daemon = Self {
            source,
            kept: Rc::clone(&kept),
            run_dir,
            live,
            settled: None,
            interval: kept.interval(),
            _lock: lock,
        };
        daemon.write();
        let plane = kept.plane()?;
        if let Some(outcome) = plane.recover().map_err(Failure::failed)? {
            log::warn!("an interrupted change was found: {outcome}");
        }
        Ok(daemon)
    }

    /// One look; the exit code says how it went.
    pub(crate) fn once(&mut self) -> Done {
        self.turn();
        self.end();
        Ok(u8::from(self.live.trouble.is_some() || signals::stop_requested()))
    }

    /// Looks until it is told to stop; `ready` is called before the first.
    pub(crate) fn serve(&mut self, ready: &dyn Fn()) -> Done {
        log::info!("agent {} starts", env!("CARGO_PKG_VERSION"));
        ready();
        while !signals::stop_requested() {
            self.turn();
            self.live.next_wake = Some(moment(self.interval));
            self.phase("waiting");
            signals::wait(Duration::from_secs(self.interval.into()));
        }
        self.end();
        log::info!("stopped");
        Ok(0)
    }

    fn turn(&mut self) {
        self.live.trouble = None;
        if let Err(failure) = self.try_turn() {
            log::error!("{failure}");
            self.live.trouble = Some(failure.to_string());
        }
        self.live.turns += 1;
        self.live.last_turn = Some(moment(0));
    }

    fn try_turn(&mut self) -> Result<(), Failure> {
        // What cannot be read now leaves what is in force as it is, and is told.
        let read = self.source.read().map(|kept| self.kept = kept.into());
        let kept = Rc::clone(&self.kept);
        self.interval = kept.interval();
        let plane = kept.plane()?;
        let judged = read.and_then(|()| self.judge(&*kept, &plane));
        self.phase("converging");
        let outcome = plane.converge().map_err(Failure::failed)?;
        for change in &outcome.report.changes {
            log::info!("drift: {} {:?}", change.step, change.action);
        }
        let status = plane.status().map_err(Failure::failed)?;
        self.live.plane = serde_json::to_value(&status).unwrap_or_default();
        judged?;
        if outcome.exit_code() == 0 {
            Ok(())
        } else {
            Err(Failure::failed(outcome))
        }
    }

    /// Judges bytes that were not taken up yet. Those that are refused, or cannot be kept now, are looked at again next time.
    fn judge(&mut self, kept: &dyn Kept, plane: &Plane<'_>) -> Result<(), Failure> {
        let digest = sha256(kept.bytes());
        if self.settled == Some(digest) {
            return Ok(());
        }
        self.phase("judging");
        let outcome = kept.judge(plane)?;
        log::info!("{outcome}");
        if outcome.exit_code() != 0 {
            return Err(Failure::failed(outcome));
        }
        self.settled = Some(digest);
        Ok(())
    }

    fn end(&mut self) {
        self.live.next_wake = None;
        self.phase("stopped");
    }

    fn phase(&mut self, phase: &str) {
        phase.clone_into(&mut self.live.phase);
        self.write();
    }

    fn write(&mut self) {
        let bytes = own::write(&self.live).unwrap_or_default();
        if let Err(error) = files::replace(&self.run_dir.join("status.json"), &bytes, false) {
            log::warn!("status: {error}");
        }
    }
}

fn moment(ahead: u32) -> String {
    Utc::from_unix(SystemClock.now() + i64::from(ahead)).to_string()
}
