//! What a node is at: kept in memory, written to `status.json` when it changed, at most a few times a second. Bounded: the
//! last few jobs and the running ones are named, all others are counted.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jos_schemas::documents::runtime::MachineState;
use jos_schemas::text::Utc;
use serde::Serialize;
use serde_json::{Value, json};

/// So many of the last jobs are named.
const LAST: usize = 20;

/// What is counted since the node began.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Counts {
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) refused: u64,
    pub(crate) resumed: u64,
}

/// A job that ended.
#[derive(Clone, Debug, Serialize)]
struct Last {
    id: String,
    agent: String,
    state: Option<MachineState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    at: Utc,
}

#[derive(Debug, Default)]
struct Inner {
    counts: Counts,
    running: BTreeMap<String, Value>,
    last: VecDeque<Last>,
    state: Option<MachineState>,
    dirty: bool,
}

/// What the threads of a node write down for its status.
pub(crate) struct Board {
    inner: Mutex<Inner>,
    tell: UnixStream,
    told: UnixStream,
}

impl Board {
    pub(crate) fn new() -> io::Result<Self> {
        let (tell, told) = UnixStream::pair()?;
        tell.set_nonblocking(true)?;
        told.set_nonblocking(true)?;
        Ok(Self {
            inner: Mutex::default(),
            tell,
            told,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        let mut inner = self.lock();
        change(&mut inner);
        // One byte wakes the main thread; it need not be woken twice.
        if !std::mem::replace(&mut inner.dirty, true) {
            let _ = (&self.tell).write(&[1]);
        }
    }

    /// Something that is said elsewhere changed.
    pub(crate) fn touch(&self) {
        self.change(|_| {});
    }

    pub(crate) fn began(&self, id: &str, agent: &str, at: i64) {
        self.change(|inner| {
            let about = json!({ "id": id, "agent": agent, "since": Utc::from_unix(at) });
            inner.running.insert(id.to_owned(), about);
        });
    }

    pub(crate) fn ended(&self, id: &str, agent: &str, state: Option<MachineState>, reason: Option<&str>, at: i64) {
        self.change(|inner| {
            inner.running.remove(id);
            match (state, reason) {
                (_, None) => inner.counts.done += 1,
                (_, Some(_)) => inner.counts.failed += 1,
            }
            inner.state = state.or(inner.state);
            inner.last.truncate(LAST - 1);
            inner.last.push_front(Last {
                id: id.to_owned(),
                agent: agent.to_owned(),
                state,
                reason: reason.map(|reason| reason.chars().take(300).collect()),
                at: Utc::from_unix(at),
            });
        });
    }

    /// A job is not run to its end by this node.
    pub(crate) fn left(&self, id: &str) {
        self.change(|inner| drop(inner.running.remove(id)));
    }

    pub(crate) fn refused(&self) {
        self.change(|inner| inner.counts.refused += 1);
    }

    pub(crate) fn resumed(&self) {
        self.change(|inner| inner.counts.resumed += 1);
    }

    pub(crate) fn running(&self) -> usize {
        self.lock().running.len()
    }

    /// Whether there is something new since this was asked last.
    pub(crate) fn take_dirty(&self) -> bool {
        std::mem::take(&mut self.lock().dirty)
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.lock().dirty
    }

    /// Readable when something changed.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.told.as_fd()
    }

    /// Empties what `fd` tells.
    pub(crate) fn drain(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.told).read(&mut bytes), Ok(n) if n > 0) {}
    }

    /// The part of the status that is kept here.
    pub(crate) fn document(&self) -> Value {
        let inner = self.lock();
        json!({
            "counts": inner.counts, "state": inner.state,
            "running": inner.running.values().collect::<Vec<_>>(), "last": inner.last,
        })
    }
}
