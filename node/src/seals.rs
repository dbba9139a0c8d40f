//! Signed checkpoints: what ties a node's ledger to the key of its data directory.
//!
//! A seal names the last record and its hash, under the key in `state/identity/`. Whoever writes another history needs that
//! key; who has it is root there, and only a head that was noted elsewhere would show it.

use jos_runtime::ledger::{Aside, CHAPTER, Ledger, LedgerHead, LedgerKey, Line, set_aside_damaged};
use jos_runtime::own_ledger_key;
use jos_runtime::world::Random;
use jos_schemas::node::Node;
use jos_schemas::text::Utc;
use jos_trust::checkpoint::{KIND, Seal, seal, sign};
use jos_trust::{Digest, SecretKey};
use serde_json::{Value, json};
use std::collections::VecDeque;

use crate::error::NodeError;
use crate::jobs;
use crate::join::Outside;
use crate::place::{DataDir, Door, LEDGER};
use crate::records::NAME;

/// A seal names a record that is not further back than this.
const BACK: usize = 65_536;
/// Bytes that damaged ledgers may take together; the oldest go first.
const DAMAGED: u64 = 256 << 20;

struct Bytes<'o>(&'o Outside);

impl Random for Bytes<'_> {
    fn fill(&self, bytes: &mut [u8]) {
        (self.0.random)(bytes);
    }
}

/// The key of a data directory, made when there is none: behind the door, so that nodes that start together make one.
pub(crate) fn key(data: &DataDir, door: &Door, outside: &Outside) -> Result<SecretKey, NodeError> {
    let _inside = door.enter()?;
    let state = data.path("state");
    own_ledger_key(&state, &Bytes(outside)).map_err(|e| NodeError::invalid(state.display(), e))
}

/// Sets a damaged ledger aside, so that the node goes on: behind the door, for of nodes that start together one does it. What
/// jobs were at is in their folders; those that were under way are begun again.
pub(crate) fn set_aside(data: &DataDir, door: &Door, outside: &Outside) -> Result<Option<Aside>, NodeError> {
    let _inside = door.enter()?;
    let disk = jobs::disk(&data.path("state"), &outside.hex(8))?;
    let aside = set_aside_damaged(&disk, NAME, DAMAGED)?;
    if let Some(aside) = &aside {
        log::error!(
            "state/runtime/ledger: {}; it is set aside as state/runtime/{}, and a new ledger begins",
            aside.what,
            aside.folder
        );
    }
    Ok(aside)
}

/// The ledgers that were set aside, oldest first.
pub(crate) fn asides(data: &DataDir, outside: &Outside) -> Result<Vec<String>, NodeError> {
    let disk = jobs::disk(&data.path("state"), &outside.hex(8))?;
    let all = jos_runtime::ledger::asides(&disk, NAME)?;
    Ok(all
        .into_iter()
        .map(|folder| format!("state/runtime/{folder}"))
        .collect())
}

/// The payload of a checkpoint over all records up to now; nothing where there is none.
pub(crate) fn now(data: &DataDir, outside: &Outside, key: &SecretKey) -> Result<Option<Value>, NodeError> {
    let disk = jobs::disk(&data.path("state"), &outside.hex(8))?;
    let head = Ledger::open(&disk, LEDGER)?.head();
    if head.count == 0 {
        return Ok(None);
    }
    document(&head, outside, key).map(Some)
}

/// The payload of a checkpoint over all records up to `head`, of which there is one at least.
pub(crate) fn document(head: &LedgerHead, outside: &Outside, key: &SecretKey) -> Result<Value, NodeError> {
    let index = head.count.saturating_sub(1);
    let document = json!({
        "kind": KIND, "name": NAME, "head": { "index": index, "hash": head.hash },
        "time": Utc::from_unix((outside.now)()),
    });
    let wrong = |e: &dyn std::fmt::Display| NodeError::invalid("checkpoint", e);
    let checkpoint = serde_json::from_value(document).map_err(|e| wrong(&e))?;
    let signed = sign(&checkpoint, key).map_err(|e| wrong(&e))?;
    serde_json::to_value(signed).map_err(|e| wrong(&e))
}

/// What the seals of a ledger say, as it is read.
pub(crate) struct Seals<'k> {
    key: Option<&'k LedgerKey>,
    recent: VecDeque<(u64, Digest)>,
    /// Index of the first record that is there, where history does not begin at the beginning.
    from: Option<u64>,
    /// So many hold.
    pub(crate) good: u64,
}

impl<'k> Seals<'k> {
    pub(crate) fn new(key: Option<&'k LedgerKey>) -> Self {
        Self {
            key,
            recent: VecDeque::new(),
            from: None,
            good: 0,
        }
    }

    /// Every record passes here; a checkpoint is held against those before it.
    pub(crate) fn line(&mut self, line: &Line<'_>) -> Result<(), String> {
        if self.recent.is_empty() && line.index > 0 {
            self.from = Some(line.index);
            // It names the record before it, which is not there any more.
            self.recent
                .push_back((line.index - 1, line.prev.parse().unwrap_or(Digest::ZERO)));
        }
        let judged = if line.kind == jos_runtime::ledger::CHECKPOINT {
            self.judge(line)
        } else {
            Ok(())
        };
        if self.recent.len() == BACK {
            self.recent.pop_front();
        }
        self.recent.push_back((line.index, line.hash));
        judged
    }

    fn judge(&mut self, line: &Line<'_>) -> Result<(), String> {
        let payload = line.payload().map_err(|e| e.to_string())?;
        let (index, hash) = (payload["head"]["index"].as_u64(), payload["head"]["hash"].as_str());
        let named = self.recent.iter().rev().find(|(at, _)| Some(*at) == index);
        // What was signed before a chapter began and written after: only the signature can be looked at.
        let pruned = |from: u64| index.is_some_and(|index| index + 1 < from) && line.index > from;
        let alike = named.is_some_and(|(_, there)| Some(there.to_string().as_str()) == hash);
        let gone = named.is_none() && self.from.is_some_and(pruned);
        if !(alike || gone) {
            return Err("this checkpoint was signed for another history".into());
        }
        if self.from == Some(line.index) && line.cause != Some(CHAPTER) {
            return Err(
                "history begins with a checkpoint that begins no chapter: what was before it was taken away".into(),
            );
        }
        let Some((id, public)) = self.key else { return Ok(()) };
        match seal(&Node::from_json(&payload), public, id) {
            Seal::Good(_) => {
                self.good += 1;
                Ok(())
            }
            Seal::Absent => Err("this checkpoint has no signature".into()),
            Seal::OtherKey(other) => Err(format!("this checkpoint is signed by {other}, expected {id}")),
            Seal::Bad(_) => Err("the signature of this checkpoint is not by its key".into()),
        }
    }

    /// What is to be said at the end: a node that has a key signs.
    pub(crate) fn end(&self, records: u64) -> Result<(), String> {
        match self.key {
            Some((id, _)) if self.good == 0 && records > 0 => Err(format!(
                "no checkpoint is signed by {id}, and this data directory has that key"
            )),
            _ => Ok(()),
        }
    }
}
