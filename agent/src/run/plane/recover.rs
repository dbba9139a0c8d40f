//! What comes first of all: what a crash, or an upgrade of this program, left half done.

use jos_runtime::{Outcome, PlaneError};
use jos_schemas::documents::policy::Source;
use jos_trust::state::Channel;

use super::{Agent, notify};
use crate::cli::Failure;

impl Agent<'_> {
    /// Taken back or finished, before anything reads or changes the world.
    pub(super) fn recover(&mut self) -> Result<(), Failure> {
        let failed = |error| Failure::failed(format!("recovery: {error}"));
        loop {
            match self.plane.recover() {
                Ok(None) => return Ok(()),
                Ok(Some(outcome)) => {
                    log::warn!("recovered: {outcome}");
                    self.report_of_hub(&outcome);
                    return Ok(());
                }
                Err(PlaneError::Upgrading { .. }) if self.sit_out_upgrade().map_err(failed)? => {}
                Err(PlaneError::Upgrading { .. }) => return Ok(()),
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// The package manager is replacing this agent, has started it for that, and waits until it is ready. What becomes of
    /// the change is decided elsewhere, also by whether it is. False where it could not be taken back: then each turn tries
    /// again, as after any other change.
    fn sit_out_upgrade(&mut self) -> Result<bool, PlaneError> {
        log::info!("{}: the agent's own package is being replaced", self.settings.name);
        self.phase("upgrading");
        notify("READY=1");
        let outcome = self.plane.follow_upgrade()?;
        if let Some(outcome) = &outcome {
            log::warn!("upgrade: {outcome}");
            self.report_of_hub(outcome);
        }
        self.phase("recovering");
        Ok(outcome.is_none_or(|o| o.report.left.is_empty()))
    }

    /// Whether the machine is on its way to another system, or has just come there.
    pub(super) fn is_moving(&self) -> bool {
        self.plane.moves().unwrap_or_else(|error| {
            log::error!("{error}");
            false
        })
    }

    /// Goes on with it, now that this service is up and its hub can be asked. Where that has to wait for the machine to be
    /// started, or for a disk, each turn tries again.
    pub(super) fn resume_move(&mut self) {
        if !self.is_moving() {
            return;
        }
        self.phase("moving to another system");
        match self.plane.resume() {
            Ok(Some(outcome)) => {
                log::warn!("moved: {outcome}");
                self.report_of_hub(&outcome);
                self.take_baseline();
            }
            Ok(None) => {}
            Err(error) => self.trouble(error.to_string()),
        }
    }

    /// What the package brought.
    pub(super) fn take_baseline(&mut self) {
        let Some(path) = self.settings.baseline.clone() else {
            return;
        };
        match crate::files::read(&path, crate::subject::LIMIT) {
            Ok(bytes) => self.judge_as(&path, &bytes, Channel::Baseline),
            Err(error) => self.trouble(format!("baseline: {error}")),
        }
    }

    fn report_of_hub(&mut self, outcome: &Outcome) {
        if outcome.source == Source::Hub {
            self.report(outcome);
        }
    }
}
