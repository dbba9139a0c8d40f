//! Recovery: what a crash left is finished or taken back, before anything else.

use jos_schemas::documents::ledger::{Decision, OutcomeKind};
use jos_schemas::own;

use super::record::payload;
use super::{Plane, PlaneError};
use crate::act::{Cause, Hands};
use crate::journal::{Phase, Progress, Trial};
use crate::outcome::{Outcome, Report};
use crate::store;

/// Why a trial ended that no failure ended.
const INTERRUPTED: &str = "interrupted before it was confirmed";

impl Plane<'_> {
    /// Finishes or takes back what a crash interrupted. The first thing at every start; `apply` and `converge` do it
    /// too. `None` when there was nothing to do. Where the agent's own package was being replaced this is its guardian's
    /// affair, who is started again where none is left: [`PlaneError::Upgrading`], see [`Plane::follow_upgrade`].
    pub fn recover(&self) -> Result<Option<Outcome>, PlaneError> {
        // Whoever asked for the upgrade may hold the lock and wait as well.
        self.not_upgrading()?;
        let _lock = self.lock()?;
        let outcome = self.recovery()?;
        // A guardian that was killed between the end of an upgrade and its own left its unit behind.
        if let Some(guardian) = self.world.guardian
            && self.journal()?.trial()?.is_none()
            && let Err(why) = guardian.leave(self.setup.name.as_str())
        {
            log::warn!("{}: {why}", self.setup.name);
        }
        Ok(outcome)
    }

    /// The same, where an unfinished recovery is a reason not to go on.
    pub(super) fn recover_under_lock(&self) -> Result<(), PlaneError> {
        let recovered = self.recovery()?;
        self.settle_after(recovered.as_ref())?;
        match recovered {
            Some(outcome) if outcome.report.kind == OutcomeKind::Broken => Err(PlaneError::Unfinished {
                left: outcome.report.left,
            }),
            _ => Ok(()),
        }
    }

    pub(super) fn recovery(&self) -> Result<Option<Outcome>, PlaneError> {
        let journal = self.journal()?;
        let Some(trial) = journal.trial()? else {
            journal.sweep()?;
            return self.dangling();
        };
        let progress = journal.phase()?;
        self.leave_to_guardian(&journal, &trial, progress.phase)?;
        let trial = self.in_this_system(trial);
        self.disk.set_tag(&trial.tag);
        let hands = self.hands(&journal, &[]);
        self.settle(&hands, &trial, progress).map(Some)
    }

    /// Ends a trial that nobody goes on with.
    pub(super) fn settle(&self, hands: &Hands<'_>, trial: &Trial, progress: Progress) -> Result<Outcome, PlaneError> {
        let report = progress
            .outcome
            .as_ref()
            .and_then(|value| own::read_value::<Report>(value).ok());
        if self.is_kept(trial, progress.phase)? {
            let report = report.unwrap_or_else(|| Report::new(OutcomeKind::Applied));
            log::info!("{}: an apply that had been confirmed is finished", self.setup.name);
            store::settle_floors(&self.data)?;
            return self.finish(hands, trial, report);
        }
        log::warn!("{}: an unfinished change is taken back", self.setup.name);
        let mut report = report.unwrap_or_else(|| Report::new(OutcomeKind::RolledBack));
        if progress.phase != Phase::Reverting {
            report.reasons.push(INTERRUPTED.into());
            report.health = None;
        }
        let cause = progress.cause.unwrap_or(Cause::Device);
        self.take_back(hands, trial, report, cause)
    }

    /// Whether an interrupted trial had been kept. For a state that comes into force the floors say so.
    pub(super) fn is_kept(&self, trial: &Trial, phase: Phase) -> Result<bool, PlaneError> {
        Ok(match (phase, &trial.adopts) {
            (Phase::Trying | Phase::Upgrading | Phase::Reverting, _) | (Phase::Confirming, None) => false,
            (Phase::Confirmed, None) => true,
            (Phase::Confirming | Phase::Confirmed, Some((counter, content))) => {
                let floors = self.floors()?;
                floors.in_force(counter).is_some_and(|kept| kept.content == *content)
            }
        })
    }

    /// Puts the files of an interrupted change back, and does nothing else: the part of recovery that can be done early at
    /// boot, before the network and before the services that read these files. No service is told anything, no command
    /// runs; [`Plane::recover`] does the rest later, and all of this once more. What is given back could not be put back.
    pub fn recover_files(&self) -> Result<Option<Vec<String>>, PlaneError> {
        let _lock = self.lock()?;
        let journal = self.journal()?;
        let Some(trial) = journal.trial()? else { return Ok(None) };
        let progress = journal.phase()?;
        if trial.own.is_some() && self.guardian_lives()? {
            return Ok(None);
        }
        if self.is_kept(&trial, progress.phase)? {
            return Ok(None);
        }
        let trial = self.in_this_system(trial);
        self.disk.set_tag(&trial.tag);
        if progress.phase != Phase::Reverting {
            let report = Report::new(OutcomeKind::RolledBack).because(vec![INTERRUPTED.to_owned()]);
            journal.set_phase(Phase::Reverting, payload(&report), Some(Cause::Device))?;
        }
        let hands = self.hands(&journal, &[]);
        Ok(Some(hands.paths_back(&trial)))
    }

    /// A decision without an outcome and without a trial: it was recorded, and nothing was touched.
    fn dangling(&self) -> Result<Option<Outcome>, PlaneError> {
        let mut ledger = self.open_ledger()?;
        let Some(last) = ledger.last()?.filter(|r| r.kind == "decision") else {
            return Ok(None);
        };
        // Its outcome comes once the machine runs the system that it was to run.
        if self.moves_by(last.index)? {
            return Ok(None);
        }
        let known = own::read_value::<Decision>(&last.payload).is_ok();
        let reason = if known {
            "interrupted before anything was touched"
        } else {
            "interrupted"
        };
        let report = Report::new(OutcomeKind::RolledBack).because(vec![reason.to_owned()]);
        let entry = self.entry(last.source, last.version, Some(last.index), "outcome", payload(&report))?;
        ledger.append(vec![entry])?;
        let record = Some(ledger.head());
        self.note_last(&ledger, last.source, last.version, &report)?;
        let outcome = self.outcome(&ledger, last.source, last.version, report, true);
        Ok(Some(Outcome { record, ..outcome }))
    }
}
