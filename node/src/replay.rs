//! A node's history, computed again from its ledger alone: no agent is asked, no tool runs, no model answers, nothing is
//! written.
//!
//! Every decision passes the gate again, every transition is driven again, and the record that must follow is made again
//! and held against the one that is there, byte for byte. What only the live run could know (a model's reply, a tool's
//! result, an access that was denied) is taken from its capture. The whole is done twice, by separate readings, and compared.

mod pass;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jos_runtime::disk::Disk;
use jos_runtime::ledger::{Archive, Export, LedgerError, LedgerHead, LedgerKey};
use jos_schemas::documents::runtime::MachineState;
use serde::Serialize;

use crate::place::{BLOBS, LEDGER};
use pass::Pass;

/// At most so many disagreements are named; they are all counted.
const NAMED: usize = 50;

/// A record that does not follow from those before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Divergence {
    /// Which record.
    pub record: u64,
    /// Of which job.
    pub job: String,
    /// The agent to which it is put down.
    pub agent: String,
    /// What does not agree.
    pub reason: String,
}

/// A failure, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// `refused`, `failed` (a decision), `agent` (it came to no decision), `verdict` (the machine was driven to FAILED).
    pub kind: &'static str,
    /// The record that says so.
    pub record: u64,
    /// The agent.
    pub agent: String,
    /// The job.
    pub job: String,
    /// The decision, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// Why.
    pub reason: String,
}

/// A job that was begun more than once, since a node ended before it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rerun {
    /// The record with which it was begun again.
    pub record: u64,
    /// The job.
    pub job: String,
    /// Its agent.
    pub agent: String,
    /// The how-manieth run it is.
    pub attempt: u32,
}

/// Whether the chain of records holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Chain {
    /// Every record follows the one before, up to the head.
    Intact,
    /// It does not: what is wrong, and where.
    Broken(String),
}

/// What a replay came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Every decision that was recorded.
    pub decisions: u64,
    /// The same by agent.
    pub agents: BTreeMap<String, u64>,
    /// Records read.
    pub records: u64,
    /// Jobs that ended, by the state in which they did.
    pub jobs: BTreeMap<&'static str, u64>,
    /// Jobs that were begun and have not ended.
    pub unfinished: u64,
    /// Always 0: nobody is there to be called.
    pub model_calls: u64,
    /// Replies of models that were taken from the record.
    pub captured_replies: u64,
    /// Results of tools that were taken from the record, by kind.
    pub captured_results: BTreeMap<String, u64>,
    /// Decisions that were taken over from another runtime's log; they are counted in `decisions` too.
    pub imported: u64,
    /// Those of them, by kind, of which that log does not say what came.
    pub unrecorded: BTreeMap<String, u64>,
    /// The machine after the last job that ended.
    pub final_state: Option<MachineState>,
    /// SHA-256 of the state that was rebuilt: jobs, files, queues, counts.
    pub state_hash: String,
    /// Files that decisions wrote, with the SHA-256 of their content.
    pub files: BTreeMap<String, String>,
    /// Every record that was made again is the one that is there.
    pub byte_identical: bool,
    /// Two readings came to the same.
    pub deterministic: bool,
    /// Whether the chain holds.
    pub chain: Chain,
    /// Checkpoints whose signature holds.
    pub seals: u64,
    /// All failures.
    pub attribution: Vec<Failure>,
    /// Jobs that were run again after a crash.
    pub reruns: Vec<Rerun>,
    /// Kinds for which there is no handler any more: their results are from the record.
    pub missing: BTreeSet<String>,
    /// What does not follow.
    pub divergences: Vec<Divergence>,
    /// How many do not, also those that are not named.
    pub diverged: u64,
    /// The head of the ledger.
    pub head: Option<LedgerHead>,
    /// Nothing is wrong.
    pub ok: bool,
}

/// Where a ledger lies: whoever reads it opens it by itself.
#[derive(Clone, Copy, Debug)]
pub enum Place<'p> {
    /// A folder, and in it the folders of records and blobs.
    Folder {
        /// The folder.
        root: &'p Path,
        /// That of the records.
        dir: &'p str,
        /// That of the blobs.
        blobs: &'p str,
    },
    /// The bytes of an export.
    Export(&'p [u8]),
}

impl<'p> Place<'p> {
    /// The ledger of a data directory, in its folder `state`.
    pub fn of_node(state: &'p Path) -> Self {
        let (root, dir, blobs) = (state, LEDGER, BLOBS);
        Self::Folder { root, dir, blobs }
    }

    fn read<T>(self, read: impl FnOnce(&Archive<'_>) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        match self {
            Self::Folder { root, dir, blobs } => read(&Archive::folder(&Disk::open(root, "0")?, dir, blobs)),
            Self::Export(bytes) => read(&Archive::Export(Box::new(Export::open(bytes)?))),
        }
    }
}

/// Replays a ledger twice, by two threads where there can be two. `kinds` are those that something here still executes, `key`
/// is that of its data directory. Whoever reads calls `seal` when it has opened what it reads. A ledger that grows meanwhile is
/// replayed up to where the reading that came less far found its end.
pub fn replay(
    place: Place<'_>,
    kinds: &BTreeSet<String>,
    key: Option<&LedgerKey>,
    seal: &(dyn Fn() + Sync),
) -> Result<Report, LedgerError> {
    let reading = || {
        place.read(|archive| {
            seal();
            once(archive, kinds, key, u64::MAX)
        })
    };
    // Once more, by a thread that has sealed itself: that is done for good, and nothing may do it again.
    let up_to = |most: u64| place.read(|archive| once(archive, kinds, key, most));
    let (first, second) = std::thread::scope(|threads| {
        // It is there before the first one seals itself, after which no thread can be made.
        let second = std::thread::Builder::new().spawn_scoped(threads, reading);
        let first = reading();
        let second = second.map_or_else(
            |_| reading(),
            |second| second.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        );
        (first, second)
    });
    let (mut first, mut second) = (first?, second?);
    let count = |report: &Report| report.head.as_ref().map_or(u64::MAX, |head| head.count);
    match (count(&first), count(&second)) {
        (u64::MAX, _) | (_, u64::MAX) => {}
        (fewer, more) if fewer < more => second = up_to(fewer)?,
        (more, fewer) if fewer < more => first = up_to(fewer)?,
        _ => {}
    }
    first.deterministic = first == second;
    first.ok = first.byte_identical && first.deterministic && first.chain == Chain::Intact;
    Ok(first)
}

fn once(
    archive: &Archive<'_>,
    kinds: &BTreeSet<String>,
    key: Option<&LedgerKey>,
    most: u64,
) -> Result<Report, LedgerError> {
    let mut pass = Pass::new(archive, kinds, key);
    let mut last = None;
    let read = archive.lines(&mut |line| {
        if line.index < most {
            last = Some((line.index + 1, line.hash));
            pass.line(line);
        }
    });
    let (chain, head) = match (read, last) {
        (Ok(_), Some((count, hash))) => {
            let hash = hash.to_hex();
            (Chain::Intact, Some(LedgerHead { count, hash }))
        }
        (Ok(extent), None) => (Chain::Intact, Some(extent.head)),
        (Err(e), _) if e.is_damage() => (Chain::Broken(e.to_string()), None),
        (Err(e), _) => return Err(e),
    };
    Ok(pass.report(chain, head))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use jos_runtime::ledger::Ledger;

    use super::*;
    use crate::records::Draft;

    #[test]
    fn a_ledger_that_grew_is_replayed_up_to_an_earlier_end_as_it_was_then() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), "0").unwrap();
        let archive = Archive::folder(&disk, LEDGER, BLOBS);
        let blobs = jos_runtime::ledger::Blobs::at(&disk, BLOBS);
        let kinds = BTreeSet::new();
        let write = |words: &[&str]| {
            let mut ledger = Ledger::open(&disk, LEDGER).unwrap();
            let entries = words
                .iter()
                .map(|word| Draft::node("n", word).entry(0, &blobs).unwrap());
            ledger.append(entries.collect()).unwrap();
        };
        let replayed = |most| once(&archive, &kinds, None, most).unwrap();
        write(&["began", "ended"]);
        let then = replayed(u64::MAX);
        write(&["began"]);
        let now = replayed(u64::MAX);
        assert_ne!(then, now);
        assert_eq!((replayed(2), replayed(3)), (then, now));
    }

    #[test]
    fn whoever_reads_a_ledger_that_grows_seals_itself_once() {
        let dir = tempfile::tempdir().unwrap();
        let write = || {
            let disk = Disk::open(dir.path(), "0").unwrap();
            let blobs = jos_runtime::ledger::Blobs::at(&disk, BLOBS);
            let mut ledger = Ledger::open(&disk, LEDGER).unwrap();
            let entry = Draft::node("n", "began").entry(0, &blobs).unwrap();
            ledger.append(vec![entry]).unwrap();
        };
        write();
        let over = AtomicBool::new(false);
        let readings = std::thread::scope(|threads| {
            threads.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    write();
                }
            });
            let reading = |_| {
                let sealed = Mutex::new(Vec::new());
                let seal = || sealed.lock().unwrap().push(std::thread::current().id());
                let report = replay(Place::of_node(dir.path()), &BTreeSet::new(), None, &seal);
                (report, sealed.into_inner().unwrap())
            };
            let readings: Vec<_> = (0..30).map(reading).collect();
            over.store(true, Ordering::Relaxed);
            readings
        });
        for (report, sealed) in readings {
            assert!(report.as_ref().is_ok_and(|report| report.deterministic), "{report:?}");
            assert!(sealed.len() == 2 && sealed[0] != sealed[1], "{sealed:?}");
        }
    }
}
