//! What the ledger knows of jobs that a node left behind: read once, when such jobs are found.

use std::collections::{BTreeMap, BTreeSet};

use jos_runtime::ledger::{Archive, CHAPTER, CHECKPOINT, LedgerError};
use jos_schemas::documents::ledger::Decision;
use jos_schemas::documents::runtime::MachineState;
use serde::{Deserialize, Serialize};

use crate::execute::Ended;
use crate::join::Trail;
use crate::records::{Came, Read};

/// How far the last run of a job came.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// It came with the claim: this node's own ledger has none of it yet.
    #[serde(skip)]
    pub(crate) told: bool,
    /// What the agent asked for before it proposed; only where it is told.
    #[serde(default)]
    pub(crate) trail: Trail,
    /// How many decisions its record announces.
    pub(crate) decides: usize,
    /// What was decided.
    pub(crate) decisions: Vec<Decision>,
    /// What came of the first so many.
    pub(crate) outcomes: Vec<Came>,
    /// It is over: state and reason.
    pub(crate) ended: Option<(MachineState, Option<String>)>,
}

impl Progress {
    /// The end of a job that is over, out of the record.
    pub(crate) fn end(&self) -> Option<Ended> {
        let (state, reason) = self.ended.clone()?;
        let good = self.decisions.iter().zip(&self.outcomes).filter(|(_, came)| came.ok());
        let results = good
            .map(|(d, came)| (d.id.clone(), d.kind.clone(), came.result.clone()))
            .collect();
        Some(Ended { state, reason, results })
    }

    /// All that was decided is there, and there is something: it can go on without the agent.
    pub(crate) fn can_go_on(&self) -> bool {
        self.decides > 0 && self.decisions.len() == self.decides
    }
}

/// What the ledger says of the jobs that `wanted` names; those it does not know are not in the answer.
pub(crate) fn progress(
    archive: &Archive<'_>,
    wanted: &BTreeSet<String>,
) -> Result<BTreeMap<String, Progress>, LedgerError> {
    let mut found: BTreeMap<String, Progress> = BTreeMap::new();
    let mut wrong = None;
    archive.lines(&mut |line| {
        // Nothing goes on from before a chapter, for that may be gone tomorrow.
        if line.kind == CHECKPOINT && line.cause == Some(CHAPTER) {
            found.clear();
        }
        let id = line.cause.and_then(|cause| cause.strip_prefix("job "));
        let Some(id) = id.filter(|id| wanted.contains(*id)) else {
            return;
        };
        let note = |found: &mut BTreeMap<String, Progress>| -> Result<(), String> {
            let read = Read::of(line, archive)?;
            if line.kind == "job" {
                // A later run of an id that was used before counts.
                let progress = Progress {
                    decides: read.decides,
                    ..Progress::default()
                };
                found.insert(id.to_owned(), progress);
                return Ok(());
            }
            let Some(progress) = found.get_mut(id) else {
                return Ok(());
            };
            match line.kind {
                "decision" => progress.decisions.push(read.document()?),
                "outcome" => progress.outcomes.push(read.document()?),
                "ended" => progress.ended = Some((read.state.unwrap_or(MachineState::Failed), read.reason)),
                _ => {}
            }
            Ok(())
        };
        if let Err(e) = note(&mut found) {
            wrong.get_or_insert(format!("record #{}: {e}", line.index));
        }
    })?;
    match wrong {
        Some(what) => Err(LedgerError::Unreadable(what)),
        None => Ok(found),
    }
}
