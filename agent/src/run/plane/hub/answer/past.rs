//! What the ledger says, in short: its last records, and what happened to a path. Never what a record holds.

use jos_runtime::ledger::{Archive, Line};
use jos_runtime::replay::{self, Event, Watch};
use jos_schemas::documents::answer::{Blame, BriefRecord, Deed};
use jos_schemas::documents::ledger::OutcomeKind;
use jos_schemas::text::{AbsPath, KeyIdText, Utc};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::super::Agent;

/// Names of signers that are told of one record, at most.
const SIGNERS: usize = 4;
/// Deeds of a path's history that are told, at most: the last ones.
const DEEDS: usize = 64;

/// As much of a payload as is told.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    kind: Option<String>,
    payload: Decided,
    outcome: Option<OutcomeKind>,
    changes: Vec<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Decided {
    signers: Vec<String>,
}

impl Agent<'_> {
    fn archive(&self) -> Archive<'_> {
        let below = |folder: &str| format!("{}/{folder}", self.settings.name);
        Archive::folder(self.plane.data(), &below("ledger"), &below("blobs"))
    }

    /// The last `most` records, the oldest first.
    pub(super) fn last_records(&self, most: u64) -> Result<Vec<BriefRecord>, String> {
        let status = self.plane.status().map_err(|e| e.to_string())?;
        let first = status.ledger.count.saturating_sub(most);
        let mut records = Vec::new();
        let read = self.archive().lines(&mut |line| {
            if line.index >= first {
                records.extend(brief(line));
            }
        });
        read.map_err(|e| e.to_string())?;
        Ok(records)
    }

    /// What the ledger knows of a path.
    pub(super) fn why(&self, path: AbsPath) -> Result<Blame, String> {
        let archive = self.archive();
        let run = replay::run(&archive, Watch::One(path.to_string())).map_err(|e| e.to_string())?;
        if let Some(divergence) = run.divergence {
            return Err(divergence.to_string());
        }
        let managed = run.machine.paths().get(path.as_str());
        let stands_by = managed.and_then(|managed| {
            Some(Deed {
                decision: managed.decision,
                time: Utc::new(&*managed.time).ok()?,
                event: None,
                source: managed.source,
                version: managed.version,
                signers: keys(&managed.signers),
            })
        });
        let events = run.machine.history().get(path.as_str()).map_or(&[][..], Vec::as_slice);
        let history = events.iter().skip(events.len().saturating_sub(DEEDS)).filter_map(deed);
        Ok(Blame {
            stands_by,
            history: history.collect(),
            since: run.extent.first,
            path,
        })
    }
}

fn brief(line: &Line<'_>) -> Option<BriefRecord> {
    // What does not read has no more to tell than its frame.
    let said: Said = serde_json::from_slice(line.payload).unwrap_or_default();
    let is_decision = line.kind == "decision";
    Some(BriefRecord {
        index: line.index,
        time: Utc::new(line.time).ok()?,
        kind: line.kind.to_owned(),
        source: line.source,
        version: line.version,
        decision: said.kind.filter(|_| is_decision),
        signers: keys(&said.payload.signers),
        of: line.cause_index(),
        outcome: said.outcome,
        changed: u32::try_from(said.changes.len()).unwrap_or(u32::MAX),
    })
}

fn deed(event: &Event) -> Option<Deed> {
    let word = serde_json::to_value(event.event).ok()?;
    Some(Deed {
        decision: event.decision,
        time: Utc::new(event.time.as_str()).ok()?,
        event: word.as_str().map(str::to_owned),
        source: event.source,
        version: event.version,
        signers: keys(&event.signers),
    })
}

fn keys(ids: &[String]) -> Vec<KeyIdText> {
    let ids = ids.iter().filter_map(|id| KeyIdText::new(id.as_str()).ok());
    ids.take(SIGNERS).collect()
}
