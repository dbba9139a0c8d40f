//! How a transaction ends: kept or taken back, recorded, cleaned up.

use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::documents::ledger::OutcomeKind;
use jos_trust::floors::Edition;

use super::record::{payload, version};
use super::{Plane, PlaneError, patience};
use crate::act::{Cause, Failed, Hands};
use crate::book::{Drift, Kept};
use crate::gate::step_path;
use crate::health;
use crate::journal::{Phase, Trial};
use crate::outcome::{Outcome, Report};
use crate::store;

impl Plane<'_> {
    /// Takes the trial back and records that.
    pub(super) fn revert(
        &self,
        hands: &Hands<'_>,
        trial: &Trial,
        mut report: Report,
        failed: Failed,
    ) -> Result<Outcome, PlaneError> {
        log::warn!("{}: {}; taking everything back", self.setup.name, failed.why);
        report.reasons.push(failed.why);
        report.kind = OutcomeKind::RolledBack;
        // If this cannot be written the phase stays as it is, from which recovery goes back as well.
        let _ = hands
            .journal
            .set_phase(Phase::Reverting, payload(&report), Some(failed.cause));
        self.take_back(hands, trial, report, failed.cause)
    }

    /// Undo, health of what came back, whose fault it was, then the outcome. The journal goes only when nothing is left
    /// to do. A crash anywhere in here is finished by doing all of it again.
    pub(super) fn take_back(
        &self,
        hands: &Hands<'_>,
        trial: &Trial,
        mut report: Report,
        cause: Cause,
    ) -> Result<Outcome, PlaneError> {
        if cause == Cause::State {
            self.fail(trial);
        }
        let back = hands.back(trial);
        report.reasons.extend(back.notes);
        report.told_again = back.told;
        report.left = back.left;
        if !report.left.is_empty() {
            report.kind = OutcomeKind::Broken;
            return self.close(trial, report);
        }
        if report.kind != OutcomeKind::Unconfirmed {
            report.kind = OutcomeKind::RolledBack;
        }
        report.health_after = self.health_after(trial)?;
        if let Cause::Hub { within } = cause {
            let cause = if self.hub_blames(within) {
                report
                    .reasons
                    .push("it answers under the old state, so it was the change".into());
                self.fail(trial);
                Cause::State
            } else {
                let why = "it does not answer under the old state either, so nobody can tell; it is tried again later";
                report.reasons.push(why.into());
                report.kind = OutcomeKind::Unconfirmed;
                Cause::Device
            };
            // Settled: after a crash it is not asked again, and might answer otherwise.
            let _ = hands.journal.set_phase(Phase::Reverting, payload(&report), Some(cause));
        }
        let outcome = self.close(trial, report)?;
        hands.journal.end()?;
        Ok(outcome)
    }

    /// The version that was tried is not tried again.
    fn fail(&self, trial: &Trial) {
        let Some((counter, content)) = &trial.adopts else {
            return;
        };
        let edition = Edition {
            version: trial.version,
            content: *content,
        };
        if let Err(e) = store::change_floors(&self.data, &mut |floors| floors.fail_edition(counter, edition)) {
            log::error!("{e}");
        }
    }

    /// What the health check of the state that is in force again says. Only said: there is nothing further to go back to.
    fn health_after(&self, trial: &Trial) -> Result<Option<String>, PlaneError> {
        if !self.live() || trial.adopts.is_none() {
            return Ok(None);
        }
        let floors = self.floors()?;
        let book = self.book(&self.open_ledger()?)?;
        let held = self.held(&floors, &book)?;
        let Some(top) = held.last() else { return Ok(None) };
        let Some(check) = &top.state.value().spec.health_check else {
            return Ok(None);
        };
        Ok(Some(match health::check(self.world, &self.gate(), top.source, check) {
            Ok(good) => good,
            Err(bad) => format!("failed: {bad}"),
        }))
    }

    /// After the commit point: clean up and record. Every part may be done twice, so a crash anywhere is finished by
    /// doing all of it again.
    pub(super) fn finish(&self, hands: &Hands<'_>, trial: &Trial, report: Report) -> Result<Outcome, PlaneError> {
        hands.drop_asides(trial)?;
        let outcome = self.close(trial, report)?;
        hands.journal.end()?;
        Ok(outcome)
    }

    /// The outcome record (once for each decision and kind), the book, the owners, the stored states.
    pub(super) fn close(&self, trial: &Trial, report: Report) -> Result<Outcome, PlaneError> {
        let mut ledger = self.open_ledger()?;
        let (source, version) = (trial.source, version(trial.version));
        let decision = self.cause_of(&ledger, trial)?;
        let cause = format!("#{decision}");
        let same = |r: &jos_schemas::documents::ledger::Record| r.cause.as_ref() == Some(&cause);
        let value = payload(&report);
        let found = ledger.last_placed(&same)?;
        let found = found.filter(|(r, _)| r.payload.get("outcome") == value.get("outcome"));
        let known = found.is_some();
        let record = if let Some((_, place)) = found {
            // It may be the record of a process that was killed before its fsync, and the journal goes next.
            self.settle_ledger()?;
            Some(place)
        } else {
            let value = self.shrink(value)?;
            ledger.append(vec![self.entry(source, version, Some(decision), "outcome", value)?])?;
            Some(ledger.head())
        };
        let mut book = self.book(&ledger)?;
        let good = matches!(report.kind, OutcomeKind::Applied | OutcomeKind::Unchanged);
        if let (Some((counter, content)), true) = (&trial.adopts, good) {
            let (content, since, pending) = (*content, self.now()?, report.pending);
            book.streams.insert(
                counter.stream,
                Kept {
                    source,
                    version: trial.version,
                    content,
                    since,
                    pending,
                },
            );
        }
        if trial.completes {
            if good {
                book.streams.values_mut().for_each(|k| k.pending = false);
                book.first_boot = Default::default();
            } else {
                // An hour at most between two tries.
                let tries = book.first_boot.tries + 1;
                let after = 60_i64.saturating_mul(1 << tries.min(6)).min(3600);
                book.first_boot = crate::book::FirstBoot {
                    tries,
                    next: self.now()?.unix() + after,
                };
            }
        }
        if let Some(set) = trial.drift.filter(|_| decision == trial.decision) {
            match &mut book.drift {
                Some(drift) if drift.set == set && drift.decision == Some(trial.decision) => drift.repeats += 1,
                _ => {
                    let since = self.now()?;
                    book.drift = Some(Drift {
                        set,
                        decision: Some(trial.decision),
                        since,
                        repeats: 0,
                    });
                }
            }
        }
        // Whoever asked is gone by now: without a pause the same upgrade would be tried again at once.
        if let Some(set) = trial.drift.filter(|_| trial.own.is_some() && !good && !known) {
            self.change_patience(|patience, now| patience.failed(&patience::drift(set), now))?;
        }
        if let Some((_, content)) = &trial.adopts {
            let what = patience::state(content);
            self.change_patience(|patience, now| {
                if good {
                    patience.forget(&what);
                } else if !known {
                    patience.failed(&what, now);
                }
            })?;
        }
        book.last = Some(self.last(source, version, &report, record.clone())?);
        book.save(&self.data, &self.at("state.json"))?;
        self.claim(None)?;
        self.forget_states()?;
        self.drop_content();
        self.after_turn(&mut ledger)?;
        let outcome = self.outcome(&ledger, source, version, report, !known);
        Ok(Outcome { record, ..outcome })
    }

    /// Makes durable what stands at the end of the ledger.
    fn settle_ledger(&self) -> Result<(), PlaneError> {
        let dir = self.at("ledger");
        let names = self.data.list(&dir)?;
        let segments = names.iter().filter_map(|n| n.to_str()).filter(|n| n.ends_with(".jsl"));
        match segments.max() {
            Some(last) => Ok(self.data.settle(&format!("{dir}/{last}"))?),
            None => Ok(()),
        }
    }

    /// The agent owns the paths of the states in force and, during a trial, of the one that is tried.
    pub(super) fn claim(&self, tried: Option<&DesiredState>) -> Result<(), PlaneError> {
        let floors = self.floors()?;
        let book = self.book(&self.open_ledger()?)?;
        let held = self.held(&floors, &book)?;
        let states = held.iter().map(|h| h.state.value()).chain(tried);
        let paths = states
            .flat_map(|s| &s.spec.apply)
            .filter_map(step_path)
            .map(str::to_owned);
        Ok(store::own(&self.data, &self.setup.name, &mut { paths })?)
    }

    /// Stored states that are not in force go.
    pub(super) fn forget_states(&self) -> Result<(), PlaneError> {
        let floors = self.floors()?;
        let kept: Vec<String> = floors
            .counters()
            .filter_map(|(_, f)| f.in_force.as_ref())
            .map(|k| k.content)
            .chain(self.moving()?.map(|m| m.tried.content))
            .map(|content| format!("{content}.json"))
            .collect();
        for name in self.data.list(&self.at("states"))? {
            if let Some(name) = name.to_str().filter(|n| !kept.iter().any(|k| k == n)) {
                self.data.remove(&self.at(&format!("states/{name}")))?;
            }
        }
        Ok(())
    }
}
