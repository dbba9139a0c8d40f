//! Recovery: what a crash left is finished or taken back, before anything else.

use jos_schemas::documents::ledger::{Decision, OutcomeKind};

use super::record::payload;
use super::{Plane, PlaneError};
use crate::act::Hands;
use crate::journal::Phase;
use crate::outcome::{Outcome, Report};

impl Plane<'_> {
    /// Finishes or takes back what a crash interrupted. The first thing at every start; `apply` and `converge` do it
    /// too. `None` when there was nothing to do.
    pub fn recover(&self) -> Result<Option<Outcome>, PlaneError> {
        let _lock = self.lock()?;
        self.recovery()
    }

    /// The same, where an unfinished recovery is a reason not to go on.
    pub(super) fn recover_under_lock(&self) -> Result<(), PlaneError> {
        match self.recovery()? {
            Some(outcome) if outcome.report.kind == OutcomeKind::Broken => Err(PlaneError::Unfinished {
                left: outcome.report.left,
            }),
            _ => Ok(()),
        }
    }

    fn recovery(&self) -> Result<Option<Outcome>, PlaneError> {
        let journal = self.journal()?;
        let Some(trial) = journal.trial()? else {
            journal.sweep()?;
            return self.dangling();
        };
        self.disk.set_tag(&trial.tag);
        let hands = Hands {
            disk: &self.disk,
            journal: &journal,
            world: self.world,
            live: self.live(),
            env: &[],
            content: self.content(),
        };
        let (phase, noted) = journal.phase()?;
        let report = noted.and_then(|value| serde_json::from_value::<Report>(value).ok());
        let keep = match phase {
            Phase::Confirmed => true,
            Phase::Confirming => {
                let floors = self.floors()?;
                let in_force = trial.adopts.as_ref().map(|(c, content)| (floors.in_force(c), content));
                in_force.is_some_and(|(kept, content)| kept.is_some_and(|k| k.content == *content))
            }
            Phase::Trying | Phase::Reverting => false,
        };
        if keep {
            let report = report.unwrap_or_else(|| Report::new(OutcomeKind::Applied));
            log::info!("{}: an apply that had been confirmed is finished", self.setup.name);
            return self.finish(&hands, &trial, report).map(Some);
        }
        log::warn!("{}: an unfinished change is taken back", self.setup.name);
        let mut report = report.unwrap_or_else(|| Report::new(OutcomeKind::RolledBack));
        if phase != Phase::Reverting {
            report.reasons.push("interrupted before it was confirmed".into());
        }
        report.health = None;
        self.take_back(&hands, &trial, report).map(Some)
    }

    /// A decision without an outcome and without a trial: it was recorded, and nothing was touched.
    fn dangling(&self) -> Result<Option<Outcome>, PlaneError> {
        let mut ledger = self.open_ledger()?;
        let Some(last) = ledger.last()?.filter(|r| r.kind == "decision") else {
            return Ok(None);
        };
        let known = serde_json::from_value::<Decision>(last.payload.clone()).is_ok();
        let reason = if known {
            "interrupted before anything was touched"
        } else {
            "interrupted"
        };
        let report = Report::new(OutcomeKind::RolledBack).because(vec![reason.to_owned()]);
        let entry = self.entry(last.source, last.version, Some(last.index), "outcome", payload(&report))?;
        ledger.append(vec![entry])?;
        self.note_last(&ledger, last.source, last.version, &report)?;
        Ok(Some(self.outcome(&ledger, last.source, last.version, report, true)))
    }
}
