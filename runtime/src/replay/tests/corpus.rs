//! Ledgers that are wrong: whole as a chain, each hash right, and not what can have happened.
//!
//! All come from one ledger that is right (`original.jos-ledger`, an export). Each is made by one named change, after which
//! the chain and the names of blobs are computed again: what finds it is the meaning of the records alone. Replay must
//! fail on every one of them, name the record, and say what is wrong.

use std::collections::BTreeMap;

use jos_schemas::documents::ledger::Record;
use jos_schemas::documents::policy::Source;
use jos_trust::{Digest, sha256};
use serde_json::{Value, json};

use crate::disk::Disk;
use crate::ledger::{Archive, Blobs, Entry, Export, Ledger};
use crate::replay::{Divergence, Run, Watch, run};

mod original;
mod wrong;

const ORIGINAL: &[u8] = include_bytes!("corpus/original.jos-ledger");

/// A ledger that can be changed.
#[derive(Clone)]
pub(super) struct Tale {
    pub(super) records: Vec<Record>,
    pub(super) blobs: BTreeMap<Digest, Vec<u8>>,
    /// A checkpoint names the record that it says, right or wrong.
    pub(super) keeps_head: bool,
}

impl Tale {
    /// The one that is right.
    pub(super) fn original() -> Self {
        Self::of(&Archive::Export(Box::new(Export::open(ORIGINAL).unwrap())))
    }

    /// Any that is right.
    pub(super) fn of(archive: &Archive<'_>) -> Self {
        let mut records = Vec::new();
        archive.lines(&mut |line| records.push(line.record().unwrap())).unwrap();
        let blob = |digest: Digest| (digest, archive.blob(&digest).unwrap().unwrap());
        let blobs = archive.blobs().unwrap();
        let blobs = blobs.into_iter().map(|(digest, _)| blob(digest)).collect();
        Self {
            records,
            blobs,
            keeps_head: false,
        }
    }

    /// The payload of record `at`.
    pub(super) fn payload(&mut self, at: usize) -> &mut Value {
        &mut self.records[at].payload
    }

    /// What decision `at` decides.
    pub(super) fn decided(&mut self, at: usize) -> &mut Value {
        &mut self.records[at].payload["payload"]
    }

    /// The change of `path` in outcome `at`.
    pub(super) fn change(&mut self, at: usize, path: &str) -> &mut Value {
        let changes = self.records[at].payload["changes"].as_array_mut().unwrap();
        changes.iter_mut().find(|c| c["what"] == path).unwrap()
    }

    pub(super) fn changes(&mut self, at: usize) -> &mut Vec<Value> {
        self.records[at].payload["changes"].as_array_mut().unwrap()
    }

    /// Takes a record out; causes still mean the records that they meant.
    pub(super) fn remove(&mut self, at: usize) {
        self.records.remove(at);
        self.shift(at as u64, -1);
    }

    /// Puts a copy of record `from` before record `at`.
    pub(super) fn copy(&mut self, from: usize, at: usize) {
        let copy = self.records[from].clone();
        self.shift(at as u64, 1);
        self.records.insert(at, copy);
    }

    fn shift(&mut self, from: u64, by: i64) {
        for record in &mut self.records {
            let cause = record
                .cause
                .as_ref()
                .and_then(|c| c.strip_prefix('#')?.parse::<u64>().ok());
            if let Some(cause) = cause.filter(|c| *c >= from) {
                record.cause = Some(format!("#{}", cause.checked_add_signed(by).unwrap()));
            }
        }
    }

    /// Keeps bytes as a blob and gives their name.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> String {
        let digest = sha256(bytes);
        self.blobs.insert(digest, bytes.to_vec());
        digest.to_string()
    }

    /// Changes the blob that the gate of decision `at` names.
    pub(super) fn gate(&mut self, at: usize, change: impl FnOnce(&mut Value)) {
        let digest: Digest = self.decided(at)["gate"].as_str().unwrap().parse().unwrap();
        let mut facts: Value = serde_json::from_slice(&self.blobs[&digest]).unwrap();
        change(&mut facts);
        let name = self.keep(&serde_json::to_vec(&facts).unwrap());
        self.decided(at)["gate"] = name.into();
    }

    /// Chains the records again, and replays.
    pub(super) fn replay(&self) -> Run {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), "0").unwrap();
        let blobs = Blobs::open(&disk, "blobs").unwrap();
        for bytes in self.blobs.values() {
            blobs.put(bytes).unwrap();
        }
        let mut ledger = Ledger::open(&disk, "ledger").unwrap();
        let kinds = ["decision", "outcome", "refused", "broken", "checkpoint", "nonsense"];
        let mut head = (0, Digest::ZERO);
        for record in &self.records {
            let mut payload = record.payload.clone();
            // A checkpoint names the record before it: that is the chain's, and right in every one of these.
            if record.kind == "checkpoint" && !self.keeps_head {
                payload["head"] = json!({ "index": head.0 - 1, "hash": ledger.head().hash });
            }
            let entry = Entry {
                time: record.time.clone(),
                source: record.source,
                name: record.name.clone(),
                version: record.version,
                cause: record.cause.clone(),
                kind: kinds.into_iter().find(|k| *k == record.kind).unwrap(),
                payload,
            };
            ledger.append(vec![entry]).unwrap();
            head.0 += 1;
        }
        run(&Archive::folder(&disk, "ledger", "blobs"), Watch::Nothing).unwrap()
    }
}

/// Replay of a wrong ledger must stop at `record` and say all of `words`.
pub(super) fn must_fail(record: usize, words: &[&str], spoil: impl FnOnce(&mut Tale)) {
    must_fail_of(Tale::original(), record, words, spoil);
}

/// The same of another ledger that is right.
pub(super) fn must_fail_of(mut tale: Tale, record: usize, words: &[&str], spoil: impl FnOnce(&mut Tale)) {
    spoil(&mut tale);
    let found: Divergence = tale.replay().divergence.expect("replay found nothing wrong");
    let said = found.to_string();
    assert_eq!(found.record, record as u64, "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

#[test]
fn the_ledger_that_is_right_replays_and_so_does_its_copy() {
    let tale = Tale::original();
    let run = tale.replay();
    assert_eq!(run.divergence, None, "{}", run.divergence.as_ref().unwrap());
    assert_eq!(run.machine.count(), tale.records.len() as u64);
    let sources: Vec<Source> = run.machine.counts().keys().copied().collect();
    assert_eq!(sources.len(), 4, "{sources:?}");
}
