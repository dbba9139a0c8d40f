//! The transaction: decision, floors, journal, acts, judgement, and then kept or taken back.

use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::documents::ledger::{Decision, OutcomeKind};
use jos_schemas::documents::policy::Source;
use jos_trust::{Digest, Verified};

use super::confirm::Verdict;
use super::record::{payload, version};
use super::{Plane, PlaneError};
use crate::act::{Done, Failed};
use crate::gate::Gate;
use crate::journal::{Phase, Trial};
use crate::outcome::{Outcome, Report};
use crate::plan::{Action, Plan};
use crate::store;

/// A transaction to be done, for whatever reason.
pub(super) struct Transaction<'t> {
    pub(super) source: Source,
    pub(super) version: u64,
    pub(super) plan: &'t Plan,
    /// The state that comes into force, where one does.
    pub(super) adopts: Option<&'t Verified<DesiredState>>,
    pub(super) decision: Covered,
    /// What decides at the end.
    pub(super) verdict: Verdict<'t>,
    /// What waited for the first boot is done with this.
    pub(super) completes: bool,
    /// What drifted, where that is the reason.
    pub(super) drift: Option<Digest>,
    pub(super) env: Vec<(String, String)>,
}

/// The decision that a transaction acts under.
pub(super) enum Covered {
    /// To be recorded.
    New(Decision),
    /// Recorded earlier: the same drift, put right again.
    Earlier(u64),
}

impl Plane<'_> {
    /// Does it all, or takes it all back.
    pub(super) fn transact(
        &self,
        gate: &Gate<'_>,
        wanted: &Transaction<'_>,
        done: &mut Done,
    ) -> Result<Outcome, PlaneError> {
        let mut ledger = self.open_ledger()?;
        let journal = self.journal()?;
        if let Some(state) = wanted.adopts {
            self.data
                .write_private(&self.state_path(&state.content()), &state.to_bytes())?;
        }
        // 1. The decision is durable before anything acts.
        let decision = match &wanted.decision {
            Covered::Earlier(index) => *index,
            Covered::New(decision) => {
                let value = serde_json::to_value(decision).expect("a decision is plain data");
                ledger.append(vec![self.entry(
                    wanted.source,
                    version(wanted.version),
                    None,
                    "decision",
                    value,
                )?])?
            }
        };
        // 2. So are the floors, and whose the paths are.
        if let Some(state) = wanted.adopts {
            store::change_floors(&self.data, &mut |floors| floors.begin(state))?;
        }
        self.claim(wanted.adopts.map(Verified::value))?;
        // 3. So is the way back.
        let mut random = [0; 8];
        self.world.random.fill(&mut random);
        let trial = Trial {
            format: 0,
            tag: crate::hex::encode(&random),
            boot: self.world.clock.boot(),
            decision,
            source: wanted.source,
            version: wanted.version,
            adopts: wanted.adopts.map(|s| (s.counter().clone(), s.content())),
            completes: wanted.completes,
            drift: wanted.drift,
            undo: Vec::new(),
            services: Vec::new(),
            own: self.own_upgrade(wanted)?,
            image: self.running_image(),
        };
        self.disk.set_tag(&trial.tag);
        let services = self.live().then_some(self.world.services);
        let trial = match journal.begin(&self.disk, services, self.world.packages, wanted.plan, trial.clone()) {
            Ok(trial) => trial,
            Err(why) => {
                let reason = format!("the journal could not be written, nothing was touched: {why}");
                let report = Report::new(OutcomeKind::RolledBack).because(vec![reason]);
                journal.end()?;
                return self.close(&trial, report);
            }
        };
        let hands = self.hands(&journal, &wanted.env);
        // 4. Act.
        let mut report = Report::new(OutcomeKind::Applied);
        let result = hands.forward(wanted.plan, &trial, done);
        report.changes = wanted
            .plan
            .changes
            .iter()
            .enumerate()
            .filter(|(i, _)| !done.skipped.contains(i))
            .map(|(_, c)| c.clone())
            .collect();
        report.notified = std::mem::take(&mut done.notified);
        if result.is_ok() && trial.own.is_some() {
            report.captured = std::mem::take(&mut done.captured);
            report.released.clone_from(&wanted.plan.released);
            return self.hand_over(&hands, &trial, report);
        }
        let result = result.and_then(|()| self.judge(gate, &wanted.verdict, &hands, done, &mut report));
        report.captured = std::mem::take(&mut done.captured);
        if let Err(failed) = result {
            return self.revert(&hands, &trial, report, failed);
        }
        report.released.clone_from(&wanted.plan.released);
        let waits = |c: &&crate::plan::Change| c.action == Action::Pending;
        report.pending = !self.live()
            && (wanted.plan.changes.iter().any(|c| waits(&c)) || wanted.verdict.health.is_some())
            && wanted.adopts.is_some();
        if wanted.plan.is_empty() && report.reasons.is_empty() {
            report.kind = OutcomeKind::Unchanged;
        }
        // What a new system was moved to for is good in it: so is the system, before the state is in force.
        if let Some(state) = wanted.adopts
            && let Err(why) = self.keep_image(state)
        {
            return self.revert(&hands, &trial, report, Failed::device(why));
        }
        // 5. Keep it. The floors are the commit point of an adoption, the phase that of everything else.
        if let Err(e) = journal.set_phase(Phase::Confirmed, payload(&report), None) {
            return self.revert(&hands, &trial, report, Failed::device(e.to_string()));
        }
        if let Some(state) = wanted.adopts {
            let kept = store::change_floors(&self.data, &mut |floors| floors.confirm(state));
            if let Err(e) = kept {
                let floors = self.floors()?;
                if floors
                    .in_force(state.counter())
                    .is_none_or(|f| f.content != state.content())
                {
                    return self.revert(&hands, &trial, report, Failed::device(e.to_string()));
                }
            }
        }
        self.finish(&hands, &trial, report)
    }
}
