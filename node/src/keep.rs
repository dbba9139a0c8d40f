//! How much a node keeps: of its ledger, of the blobs that it names, of results. What goes is whole old chapters.
//!
//! ```text
//! an eighth of the bytes written ─► no job on its way ─► checkpoint, signed: a chapter begins
//! over seven eighths, or too old ─► nobody reads ─► all is on the disk ─► oldest chapter goes, segment by segment
//!                                                ─► blobs that nothing names any more go
//! ```
//!
//! After a crash anywhere the ledger reads, verifies and replays; what was left over goes the next time. The rule on what
//! is on its way is [`crate::chapter`]'s.

mod limits;
mod pruner;

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jos_schemas::text::Utc;
use jos_trust::SecretKey;
use serde::Serialize;

use crate::error::NodeError;
use crate::join::Broken;
use crate::pool::Shared;

use limits::LEAST;
pub use limits::{FILE, Limits};
use pruner::Pruner;

/// Where a limit in days is set, it is looked at this often though nothing happens.
const AGES: Duration = Duration::from_secs(3600);
/// Where more is kept than should be, it is tried again after this.
const AGAIN: Duration = Duration::from_secs(30);
/// What is there is counted when this part of the limit was written.
const STEP: u64 = 64;

/// What is kept, as `status.json` says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Kept {
    /// Bytes of the ledger and of its blobs, when they were counted last.
    pub(crate) bytes: u64,
    /// The limit on them; 0 is none.
    pub(crate) limit: u64,
    /// The first record that is there.
    pub(crate) from: u64,
    /// When it was written, where history does not begin at the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Utc>,
    /// Why more is kept than should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) waits: Option<String>,
    /// Results that were taken away since the node began.
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) results_gone: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

#[derive(Debug, Default)]
struct Said {
    kept: Kept,
    broken: Option<Broken>,
    ages: bool,
}

/// The thread that prunes, and what it said last.
pub(crate) struct Keeper {
    said: Arc<Mutex<Said>>,
    tell: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(crate) fn start(shared: &Arc<Shared>, key: SecretKey) -> Result<Self, NodeError> {
        let (tell, told) = channel();
        let said = Arc::new(Mutex::new(Said::default()));
        let (theirs, says) = (Arc::clone(shared), Arc::clone(&said));
        let thread = std::thread::Builder::new().name("keeper".into());
        let thread = thread.spawn(move || run(&theirs, key, &told, &says));
        Ok(Self {
            said,
            tell: Some(tell),
            thread: Some(thread.map_err(NodeError::io(shared.data.root(), "start a thread"))?),
        })
    }

    /// There is more than before, or it is older.
    pub(crate) fn look(&self) {
        if let Some(tell) = &self.tell {
            let _ = tell.send(());
        }
    }

    pub(crate) fn kept(&self) -> Kept {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).kept.clone()
    }

    /// A file of limits that does not read.
    pub(crate) fn broken(&self) -> Option<Broken> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).broken.clone()
    }

    /// After so many bytes it is to be told.
    pub(crate) fn step(&self) -> u64 {
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .kept
            .limit
            .max(LEAST)
            / STEP
    }

    /// How often it has to be told though nothing happens.
    pub(crate) fn every(&self) -> Option<Duration> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.ages.then_some(AGES)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.tell = None;
        // It looks at the bell between any two steps.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared, key: SecretKey, told: &Receiver<()>, says: &Mutex<Said>) {
    let mut pruner = Pruner::new(shared, key);
    let mut waits = false;
    loop {
        let came = match waits {
            true => told.recv_timeout(AGAIN),
            false => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        if came == Err(RecvTimeoutError::Disconnected) || shared.bell.wait(pruner.rest()) {
            return;
        }
        while told.try_recv().is_ok() {}
        let said = match Limits::read(&shared.data) {
            Ok(limits) => {
                let kept = pruner.look(&limits).unwrap_or_else(|e| {
                    log::warn!("what is kept: {e}");
                    pruner.waits(e.to_string())
                });
                let ages = limits.ledger.days > 0 || limits.results.days > 0;
                Said {
                    kept,
                    broken: None,
                    ages,
                }
            }
            // Nothing goes by a rule that nobody can read.
            Err(reason) => {
                let place = FILE.to_owned();
                Said {
                    broken: Some(Broken { place, reason }),
                    ..Said::default()
                }
            }
        };
        waits = said.kept.waits.is_some();
        let mut last = says.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = (last.kept.from, &last.kept.waits, last.kept.results_gone, &last.broken)
            != (said.kept.from, &said.kept.waits, said.kept.results_gone, &said.broken);
        *last = said;
        drop(last);
        if changed {
            shared.board.touch();
        }
    }
}
