//! Group commit: many writers in one process share one write and one fsync.
//!
//! A [`Disk`](crate::disk::Disk) belongs to one thread, and the plane starts none. So whoever has many writers gives one
//! thread to the [`Committer`], which owns the ledger, and a [`Submitter`] to each of them. While one group is made
//! durable the next one gathers; a group is whatever has gathered by then, so a single writer never waits for others.
//!
//! ```text
//! writer ─┐ entries, and where to answer
//! writer ─┼─► queue ─► committer: take all that waits ─► lock, one write, one fsync, head ─► answer each
//! writer ─┘
//! ```
//!
//! Writers in several processes meet at the ledger's lock, one group after the other.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use super::{Entry, Ledger, LedgerError};

/// Most submissions in one group: an answer must not wait for ever while others keep coming.
const MOST: usize = 4096;

/// What was submitted, and where its answer goes.
type Submission = (Vec<Entry>, SyncSender<Result<u64, LedgerError>>);

/// Takes entries from any thread. Cloned for each writer.
#[derive(Clone, Debug)]
pub struct Submitter {
    queue: Sender<Submission>,
}

impl Submitter {
    /// Appends `entries` as one commit group of their own: all are durable when it returns, or none counts. Gives the
    /// index of the first. Waits for the disk.
    pub fn append(&self, entries: Vec<Entry>) -> Result<u64, LedgerError> {
        let (answer, answered) = sync_channel(1);
        let gone = || LedgerError::Unwritable("the thread that writes the ledger has ended".into());
        self.queue.send((entries, answer)).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }
}

/// The writing end. Lives on the thread that has the disk.
#[derive(Debug)]
pub struct Committer {
    queue: Receiver<Submission>,
}

impl Committer {
    /// A committer and its first submitter.
    pub fn new() -> (Self, Submitter) {
        let (send, queue) = channel();
        (Self { queue }, Submitter { queue: send })
    }

    /// Writes what is submitted until every submitter is dropped.
    pub fn run(&self, ledger: &mut Ledger<'_>) {
        while let Ok(first) = self.queue.recv() {
            let waiting = std::iter::once(first).chain(self.queue.try_iter()).take(MOST);
            let (groups, answers): (Vec<_>, Vec<_>) = waiting.unzip();
            match ledger.append_all(groups, false) {
                Ok(done) => {
                    for (answer, done) in answers.into_iter().zip(done) {
                        // A writer that gave up waiting is no reason not to answer the others.
                        let _ = answer.send(done);
                    }
                }
                Err(e) => {
                    let why = e.to_string();
                    for answer in answers {
                        let _ = answer.send(Err(LedgerError::Unwritable(why.clone())));
                    }
                }
            }
        }
    }
}
