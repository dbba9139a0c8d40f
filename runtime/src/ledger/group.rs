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
        self.submit(entries)?.wait()
    }

    /// The same for a writer that has more to hand in before the first is durable: a group is then not bound to one
    /// commit for each writer.
    pub fn submit(&self, entries: Vec<Entry>) -> Result<Submitted, LedgerError> {
        let (answer, answered) = sync_channel(1);
        self.queue.send((entries, answer)).map_err(|_| gone())?;
        Ok(Submitted { answered })
    }
}

/// Entries that wait for the disk.
#[derive(Debug)]
#[must_use = "nothing is durable before it was waited for"]
pub struct Submitted {
    answered: Receiver<Result<u64, LedgerError>>,
}

impl Submitted {
    /// Returns when they are durable, with the index of the first.
    pub fn wait(self) -> Result<u64, LedgerError> {
        self.answered.recv().map_err(|_| gone())?
    }
}

fn gone() -> LedgerError {
    LedgerError::Unwritable("the thread that writes the ledger has ended".into())
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
                        let _ = answer.send(Err(LedgerError::Group(why.clone())));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;
    use std::rc::Rc;

    use jos_schemas::documents::policy::Source;
    use jos_schemas::text::{Name, Utc};
    use serde_json::{Value, json};

    use super::*;
    use crate::disk::{Disk, Op, Tap};

    /// Counts the fsyncs of segments.
    #[derive(Default)]
    struct Syncs(Cell<u32>);

    impl Tap for Syncs {
        fn before(&self, op: &Op<'_>) -> io::Result<()> {
            if matches!(op, Op::Sync(path) if path.ends_with(".jsl")) {
                self.0.set(self.0.get() + 1);
            }
            Ok(())
        }
    }

    fn entry(payload: Value) -> Entry {
        Entry {
            time: Utc::new("2026-11-21T12:00:00Z").unwrap(),
            source: Source::Agent,
            name: Name::new("portal").unwrap(),
            version: None,
            cause: None,
            kind: "decision",
            payload,
        }
    }

    #[test]
    fn all_that_waits_shares_one_fsync_and_what_cannot_be_written_fails_alone() {
        let dir = tempfile::tempdir().unwrap();
        let syncs = Rc::new(Syncs::default());
        let disk = Disk::open(dir.path(), "01").unwrap().with_tap(syncs.clone());
        let mut ledger = Ledger::open(&disk, "l").unwrap();
        let (committer, submitter) = Committer::new();
        let mut answers = Vec::new();
        for n in 0..64_u64 {
            let (answer, answered) = sync_channel(1);
            let payload = if n == 7 { json!(u64::MAX) } else { json!(n) };
            submitter
                .queue
                .send((vec![entry(payload), entry(json!("second"))], answer))
                .unwrap();
            answers.push(answered);
        }
        drop(submitter);
        committer.run(&mut ledger);
        assert_eq!(syncs.0.get(), 1, "one fsync for all");
        let indexes: Vec<_> = answers.iter().map(|a| a.recv().unwrap().ok()).collect();
        assert_eq!(indexes[..3], [Some(0), Some(2), Some(4)]);
        assert_eq!((indexes[7], indexes[8], indexes[63]), (None, Some(14), Some(124)));
        assert_eq!(ledger.head().count, 126);
    }

    #[test]
    fn many_threads_and_a_second_writer_keep_one_chain() {
        let dir = tempfile::tempdir().unwrap();
        let (committer, submitter) = Committer::new();
        let got: Vec<(u64, Value)> = std::thread::scope(|scope| {
            let root = dir.path();
            scope.spawn(move || {
                let disk = Disk::open(root, "01").unwrap();
                committer.run(&mut Ledger::open(&disk, "l").unwrap());
            });
            // As another process would: by the lock alone.
            scope.spawn(move || {
                let disk = Disk::open(root, "02").unwrap();
                let mut ledger = Ledger::open(&disk, "l").unwrap();
                for _ in 0..30 {
                    ledger.append(vec![entry(json!("other"))]).unwrap();
                }
            });
            let writers: Vec<_> = (0..8)
                .map(|writer| {
                    let submitter = submitter.clone();
                    scope.spawn(move || {
                        let submit = |n: i32| {
                            let payload = json!([writer, n]);
                            (submitter.append(vec![entry(payload.clone())]).unwrap(), payload)
                        };
                        (0..25).map(submit).collect::<Vec<_>>()
                    })
                })
                .collect();
            drop(submitter);
            writers.into_iter().flat_map(|w| w.join().unwrap()).collect()
        });
        let disk = Disk::open(dir.path(), "03").unwrap();
        let mut records = Vec::new();
        crate::ledger::read_all(&disk, "l", &mut |r, _| records.push(r.payload.clone())).unwrap();
        assert_eq!(records.len(), 8 * 25 + 30);
        for (index, payload) in got {
            assert_eq!(records[usize::try_from(index).unwrap()], payload);
        }
    }

    #[test]
    fn where_the_disk_fails_every_writer_is_told() {
        struct Full;
        impl Tap for Full {
            fn before(&self, op: &Op<'_>) -> io::Result<()> {
                match op {
                    Op::Write(path, ..) if path.ends_with(".jsl") => Err(io::ErrorKind::StorageFull.into()),
                    _ => Ok(()),
                }
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), "01").unwrap().with_tap(Rc::new(Full));
        let mut ledger = Ledger::open(&disk, "l").unwrap();
        let (committer, submitter) = Committer::new();
        let waiting = std::thread::spawn(move || submitter.append(vec![entry(json!(1))]));
        committer.run(&mut ledger);
        assert!(waiting.join().unwrap().is_err());
        assert_eq!(ledger.head().count, 0);
    }
}
