//! Writing to the ledger from many threads: one committer, and patience with a disk that is full.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jos_runtime::ledger::{Blobs, Committer, Entry, Ledger, LedgerError, Submitter};

use crate::error::NodeError;
use crate::jobs;
use crate::join::Outside;
use crate::place::LEDGER;
use crate::records::Draft;

/// How long until a disk that refused is asked again.
const AGAIN: Duration = Duration::from_millis(300);

/// Why a job does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// The node is told to end: what is under way is left as a crash would leave it, and taken up again.
    Stopped,
    /// Another node took the job over.
    Taken,
    /// Something that can never be written, and why. The gate makes that impossible for what comes from agents.
    Never(String),
}

/// What threads of one node tell each other: whether to end, and what they wait for.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    state: Mutex<Ring>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct Ring {
    stop: bool,
    waiting: Option<String>,
    /// Records there are, as far as this node has written.
    count: u64,
    /// Bytes that it wrote, about, with those of blobs.
    bytes: u64,
}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everybody is to end.
    pub(crate) fn stop(&self) {
        self.lock().stop = true;
        self.rung.notify_all();
    }

    /// What the node waits for, in words.
    pub(crate) fn waiting(&self) -> Option<String> {
        self.lock().waiting.clone()
    }

    pub(crate) fn set_waiting(&self, why: Option<String>) {
        self.lock().waiting = why;
    }

    /// Waits for the end of the node, at most so long. Whether it ends.
    pub(crate) fn wait(&self, how_long: Duration) -> bool {
        let ring = self.lock();
        let (ring, _) = self
            .rung
            .wait_timeout_while(ring, how_long, |ring| !ring.stop)
            .unwrap_or_else(PoisonError::into_inner);
        ring.stop
    }
}

/// What a record weighs beside its content, about.
const RECORD: u64 = 600;

/// Bytes of a record, about: what is no blob is small.
fn weight(entry: &Entry) -> u64 {
    RECORD + entry.payload["act"]["size"].as_u64().unwrap_or_default()
}

/// A writer for any number of threads.
#[derive(Clone)]
pub(crate) struct Writer {
    submitter: Submitter,
    bell: Arc<Bell>,
    outside: Outside,
}

impl Writer {
    /// Opens the ledger of a data directory on a thread of its own, and gives the first writer. The thread ends when the
    /// last writer is dropped.
    pub(crate) fn start(root: &Path, outside: &Outside, bell: &Arc<Bell>) -> Result<(Self, JoinHandle<()>), NodeError> {
        let (committer, submitter) = Committer::new();
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let (state, tag) = (root.join("state"), outside.hex(8));
        let run = move || {
            let opened = jobs::disk(&state, &tag).and_then(|disk| {
                let mut ledger = Ledger::open(&disk, LEDGER)?;
                let _ = tell.send(Ok(()));
                committer.run(&mut ledger);
                Ok(())
            });
            if let Err(e) = opened {
                let _ = tell.send(Err(e));
            }
        };
        let thread = std::thread::Builder::new().name("ledger".into()).spawn(run);
        let thread = thread.map_err(NodeError::io(root, "start a thread"))?;
        told.recv()
            .map_err(|_| NodeError::invalid(root.display(), "the ledger's thread ended"))??;
        let writer = Self {
            submitter,
            bell: Arc::clone(bell),
            outside: outside.clone(),
        };
        Ok((writer, thread))
    }

    /// Makes the drafts durable as one group. While the disk refuses, it waits and asks again; what can never be written
    /// is an error at once.
    pub(crate) fn append(&self, drafts: Vec<Draft>, blobs: &Blobs<'_>) -> Result<(), Halt> {
        let now = (self.outside.now)();
        let mut left = Some(drafts);
        let mut entries = Vec::new();
        loop {
            if let Some(drafts) = left.take() {
                let made: Result<Vec<_>, LedgerError> =
                    drafts.iter().map(|draft| draft.clone().entry(now, blobs)).collect();
                match made {
                    Ok(made) => entries = made,
                    Err(LedgerError::Unwritable(why)) => return Err(Halt::Never(why)),
                    Err(e) => {
                        left = Some(drafts);
                        self.patience(&e)?;
                        continue;
                    }
                }
            }
            match self.submitter.append(entries.clone()) {
                Ok(first) => {
                    let mut ring = self.bell.lock();
                    ring.count = ring.count.max(first + entries.len() as u64);
                    ring.bytes += entries.iter().map(weight).sum::<u64>();
                    drop(ring);
                    if self.bell.waiting().is_some() {
                        log::info!("the ledger can be written again");
                        self.bell.set_waiting(None);
                    }
                    return Ok(());
                }
                Err(LedgerError::Unwritable(why)) => return Err(Halt::Never(why)),
                Err(e) => self.patience(&e)?,
            }
        }
    }

    /// Records there are, as far as this node has written.
    pub(crate) fn count(&self) -> u64 {
        self.bell.lock().count
    }

    /// Bytes that this node wrote, about, with those of blobs.
    pub(crate) fn bytes(&self) -> u64 {
        self.bell.lock().bytes
    }

    fn patience(&self, e: &LedgerError) -> Result<(), Halt> {
        let why = format!("jobs wait, the ledger cannot be written: {e}");
        if self.bell.waiting().as_ref() != Some(&why) {
            log::warn!("{why}");
            self.bell.set_waiting(Some(why));
        }
        if self.bell.wait(AGAIN) {
            Err(Halt::Stopped)
        } else {
            Ok(())
        }
    }
}
