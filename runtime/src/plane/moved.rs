//! What becomes of a move to another system, looked at again after each start of the machine; see `image.rs`.

use std::time::Duration;

use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::documents::ledger::{OutcomeKind, Record};
use jos_trust::Verified;
use jos_trust::floors::Edition;
use jos_trust::root::Received;

use super::image::{Move, Stage, unfinished};
use super::record::payload;
use super::{Plane, PlaneError, patience};
use crate::act::{Cause, Failed};
use crate::outcome::{Outcome, Report};
use crate::store;

/// The largest state.
const LIMIT: u64 = 2 * 1024 * 1024;
/// A machine that was told to start anew goes down within so many seconds, or does not.
const RESTART: i64 = 600;
/// In a new system the network comes up, and content from elsewhere with it, within this or not at all.
const WAIT: Duration = Duration::from_secs(600);
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(10);
/// So often a program that was interrupted in a new system begins again.
const TRIES: u32 = 3;
/// So often a machine is told to go back.
const LEAVES: u32 = 3;

impl Plane<'_> {
    /// After whatever recovery came to. A trial in the new system that cannot be taken back there ends in the old one.
    pub(super) fn settle_after(&self, recovered: Option<&Outcome>) -> Result<Option<Outcome>, PlaneError> {
        let broken = recovered.filter(|outcome| outcome.kind == OutcomeKind::Broken);
        match (broken, self.moving()?) {
            (Some(outcome), Some(here)) if here.stage == Stage::Trying => {
                self.go_back(here, Failed::device(outcome.left.join("; "))).map(Some)
            }
            _ => self.settle_move(),
        }
    }

    /// What became of a move that is under way: from how far it was, which system runs, and whether the machine was started.
    pub(super) fn settle_move(&self) -> Result<Option<Outcome>, PlaneError> {
        let Some(mut under_way) = self.moving()? else {
            return Ok(None);
        };
        let slots = self.two_slots()?;
        let running = slots.running().map_err(unfinished)?;
        let (from, to) = (running == under_way.from, running == under_way.to);
        let same_start = under_way.boot.is_some() && under_way.boot == self.world.clock.boot();
        let device = |why: String| Failed::device(why);
        let outcome = match under_way.stage {
            Stage::Leaving => self.leave(under_way),
            Stage::Installing if from => self.go_back(
                under_way,
                device("interrupted while the other slot was being written".into()),
            ),
            Stage::Restarting if same_start => {
                if (0..RESTART).contains(&self.now()?.unix().saturating_sub(under_way.since)) {
                    // It may not have been told yet.
                    slots.reboot().map_err(unfinished)?;
                    return Err(self.restarting(&under_way.to));
                }
                self.go_back(
                    under_way,
                    device("the machine was told to start anew, and did not".into()),
                )
            }
            // What was written last says which is started: that this was noted too is no matter.
            Stage::Installing | Stage::Restarting if to => {
                log::warn!("{}: {} runs, and is tried", self.setup.name, running.version);
                self.reached(&mut under_way, Stage::Trying)?;
                self.try_here(under_way)
            }
            Stage::Trying if to => self.try_here(under_way),
            Stage::Restarting if from => {
                let why = format!(
                    "{} did not come up: {} runs again",
                    under_way.to.version, running.version
                );
                self.go_back(under_way, Failed::state(why))
            }
            Stage::Trying if from => {
                let why = "the machine left it before anybody had said that it is good".to_owned();
                self.go_back(under_way, device(why))
            }
            _ => self.go_back(
                under_way,
                device(format!("another system runs by now: {}", running.version)),
            ),
        };
        outcome.map(Some)
    }

    /// In the new system: the state, by the usual transaction; nothing else confirms a system.
    fn try_here(&self, mut here: Move) -> Result<Outcome, PlaneError> {
        if self.is_in_force(&here)? {
            return self.arrived(here, None);
        }
        let path = self.state_path(&here.tried.content);
        let (shown, floors) = (self.data.show(&path), self.floors()?);
        let read = self.data.read(&path, LIMIT).map_err(|e| e.to_string());
        let state = read.and_then(|(bytes, _)| {
            let received = Received::json(&shown, &bytes);
            let resumed = jos_trust::state::resume(received, &here.counter, here.channel, &floors, &here.tried);
            resumed.map_err(|e| e.to_string())
        });
        let state = match state {
            Ok(state) => state,
            Err(why) => return self.go_back(here, Failed::device(why)),
        };
        let asks = state.value().spec.confirm.as_ref().and_then(|c| c.hub_within);
        if asks.is_some() && self.world.hub.is_none() {
            // Somebody at a shell, who has no line to it.
            return Err(PlaneError::OnTrial {
                name: self.setup.name.clone(),
                image: here.to.version,
            });
        }
        here.tries += 1;
        self.write_move(&here)?;
        if here.tries > TRIES {
            let why = format!("the agent was interrupted {TRIES} times while it tried the state in the new system");
            return self.go_back(here, Failed::state(why));
        }
        let clock = self.world.clock;
        let begun = clock.monotonic();
        loop {
            let outcome = match self.apply_under_lock(&state) {
                Ok(outcome) => outcome,
                // What it left is taken back where the machine goes.
                Err(e) => return self.go_back(here, Failed::device(e.to_string())),
            };
            if matches!(outcome.kind, OutcomeKind::Applied | OutcomeKind::Unchanged) {
                return self.arrived(here, Some(outcome));
            }
            let failed = self.why_not(&state, &outcome)?;
            let may_pass = matches!(outcome.kind, OutcomeKind::Refused | OutcomeKind::Unconfirmed);
            let over = clock.monotonic().saturating_sub(begun) >= WAIT;
            if over || !may_pass || failed.cause == Cause::State {
                return self.go_back(here, failed);
            }
            log::info!("{}: {}; tried again", self.setup.name, failed.why);
            clock.pause(PAUSE);
        }
    }

    /// Whose fault it was that a state was not kept in the new system.
    fn why_not(&self, state: &Verified<DesiredState>, outcome: &Outcome) -> Result<Failed, PlaneError> {
        let edition = Edition {
            version: state.version(),
            content: state.content(),
        };
        let within = state.value().spec.confirm.as_ref().and_then(|c| c.hub_within);
        let floors = self.floors()?;
        let failed = floors
            .floor(state.counter())
            .is_some_and(|f| f.failed.contains(&edition));
        let cause = match outcome.kind {
            OutcomeKind::Unconfirmed => within.map_or(Cause::Device, |within| Cause::Hub { within }),
            // What may go away by itself is waited for by whoever asked, see there.
            OutcomeKind::Refused if self.patience_with(state)? > 0 => Cause::Device,
            OutcomeKind::Refused | OutcomeKind::Unsupported => Cause::State,
            _ if failed => Cause::State,
            _ => Cause::Device,
        };
        let all = outcome.reasons.iter().chain(&outcome.left);
        let why = all.map(String::as_str).collect::<Vec<_>>().join("; ");
        Ok(Failed { why, cause })
    }

    /// Before a state comes into force in the system that was moved to for it: the system is good. In this order, so that no
    /// loader starts an old system under a new state.
    pub(super) fn keep_image(&self, state: &Verified<DesiredState>) -> Result<(), String> {
        let under_way = self.moving().map_err(|e| e.to_string())?;
        let here = |m: &Move| m.stage == Stage::Trying && m.tried.content == state.content();
        match under_way.filter(here) {
            Some(_) => self.two_slots().map_err(|e| e.to_string())?.keep(),
            None => Ok(()),
        }
    }

    /// The new system runs and the state is in force.
    fn arrived(&self, here: Move, tried: Option<Outcome>) -> Result<Outcome, PlaneError> {
        self.two_slots()?.keep().map_err(unfinished)?;
        let mut report = Report::new(OutcomeKind::Applied);
        report.changes = vec![here.change.clone()];
        let ended = self.end_move(&here, report)?;
        Ok(tried.unwrap_or(ended))
    }

    /// From here on there is only one way.
    pub(super) fn go_back(&self, mut from: Move, failed: Failed) -> Result<Outcome, PlaneError> {
        log::warn!("{}: {}; back to {}", self.setup.name, failed.why, from.from.version);
        (from.reasons, from.cause) = (vec![failed.why], Some(failed.cause));
        self.reached(&mut from, Stage::Leaving)?;
        self.leave(from)
    }

    /// In the old system: the new one is done with, and so is the move. In the new one: to the old.
    fn leave(&self, mut back: Move) -> Result<Outcome, PlaneError> {
        let slots = self.two_slots()?;
        if slots.running().map_err(unfinished)? != back.to {
            slots.stay().map_err(unfinished)?;
            return self.home_again(back);
        }
        let told = back.tries > 0 && back.boot.is_some() && back.boot == self.world.clock.boot();
        if told && (0..RESTART).contains(&self.now()?.unix().saturating_sub(back.since)) {
            slots.reboot().map_err(unfinished)?;
            return Err(self.restarting(&back.from));
        }
        if back.tries >= LEAVES {
            // Better a device that says where it is than one that goes on trying.
            slots.keep().map_err(unfinished)?;
            let mut report = Report::new(OutcomeKind::Broken).because(back.reasons.clone());
            report.left = vec![format!(
                "{} still runs: the machine was told {LEAVES} times to start {}",
                back.to.version, back.from.version
            )];
            return self.end_move(&back, report);
        }
        back.tries += 1;
        (back.boot, back.since) = (self.world.clock.boot(), self.now()?.unix());
        self.write_move(&back)?;
        slots.leave().and_then(|()| slots.reboot()).map_err(unfinished)?;
        Err(self.restarting(&back.from))
    }

    /// The old system runs again: whose fault it was, and the outcome.
    fn home_again(&self, mut back: Move) -> Result<Outcome, PlaneError> {
        let mut report = Report::new(OutcomeKind::RolledBack).because(back.reasons.clone());
        if let Some(Cause::Hub { within }) = back.cause {
            let blamed = self.hub_blames(within);
            let (cause, why) = if blamed {
                (Cause::State, "it answers under the old system, so it was the change")
            } else {
                let why = "it does not answer under the old system either, so nobody can tell; it is tried again later";
                (Cause::Device, why)
            };
            back.reasons.push(why.into());
            report.reasons.push(why.into());
            if !blamed {
                report.kind = OutcomeKind::Unconfirmed;
            }
            back.cause = Some(cause);
        }
        if back.cause == Some(Cause::State) {
            let (counter, edition) = (&back.counter, back.edition());
            store::change_floors(&self.data, &mut |floors| floors.fail_edition(counter, edition))?;
        }
        self.end_move(&back, report)
    }

    /// The outcome, once, and then there is no move any more.
    fn end_move(&self, ended: &Move, report: Report) -> Result<Outcome, PlaneError> {
        let mut ledger = self.open_ledger()?;
        let (source, version) = (ended.source, Some(ended.tried.version));
        let is_decision = |r: &Record| r.index == ended.decision && r.payload["kind"] == "state.move";
        let cause = format!("#{}", ended.decision);
        let is_outcome = |r: &Record| r.kind == "outcome" && r.cause.as_ref() == Some(&cause);
        let good = report.kind == OutcomeKind::Applied;
        let mut record = None;
        let mut known = true;
        if ledger.last_placed(&is_decision)?.is_none() {
            // It was made in a ledger that was damaged since.
            if !good {
                let refused = Report::new(OutcomeKind::Refused).because(report.reasons.clone());
                self.refused(source, version, refused)?;
                ledger = self.open_ledger()?;
            }
        } else if let Some((_, place)) = ledger.last_placed(&is_outcome)? {
            record = Some(place);
        } else {
            ledger.append(vec![self.entry(
                source,
                version,
                Some(ended.decision),
                "outcome",
                payload(&report),
            )?])?;
            record = Some(ledger.head());
            known = false;
        }
        if !known {
            let what = patience::state(&ended.tried.content);
            self.change_patience(|patience, now| {
                if good {
                    patience.forget(&what);
                } else {
                    patience.failed(&what, now);
                }
            })?;
            self.note_last(&ledger, source, version, &report)?;
        }
        self.data.remove(&self.at("move.json"))?;
        self.forget_states()?;
        self.drop_content();
        self.after_turn(&mut ledger)?;
        let outcome = self.outcome(&ledger, source, version, report, !known);
        Ok(Outcome { record, ..outcome })
    }

    fn is_in_force(&self, here: &Move) -> Result<bool, PlaneError> {
        let floors = self.floors()?;
        Ok(floors
            .in_force(&here.counter)
            .is_some_and(|kept| kept.content == here.tried.content))
    }
}
