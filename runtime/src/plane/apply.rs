//! Apply: a verified state against the gate and the world, then the transaction.

use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::documents::ledger::OutcomeKind;
use jos_trust::floors::Edition;
use jos_trust::{Standing, Verified};

use super::confirm::Verdict;
use super::converge::take_out;
use super::report::impossible;
use super::transact::{Covered, Transaction};
use super::{Plane, PlaneError, patience, source_of};
use crate::act::Done;
use crate::outcome::{Outcome, Report};
use crate::plan::Action;

impl Plane<'_> {
    /// Applies a verified state: gate, ledger, journal, acts, health, confirm; or takes everything back.
    ///
    /// Nothing is appended when the state is in force and nothing differs. A version that failed is refused by
    /// [`jos_trust`] until the signer issues a higher one, whoever asks; a refusal by the gate is no failure.
    pub fn apply(&self, state: &Verified<DesiredState>) -> Result<Outcome, PlaneError> {
        self.check_name(state)?;
        let _lock = self.lock()?;
        self.recover_under_lock()?;
        self.apply_under_lock(state)
    }

    /// The same for whoever has the lock, and has recovered.
    pub(super) fn apply_under_lock(&self, state: &Verified<DesiredState>) -> Result<Outcome, PlaneError> {
        self.check_floors(state.counter().stream)?;
        let source = source_of(state.channel());
        let version = state.version();
        // The verdict is from before the lock; the floors may have moved since.
        let floors = self.floors()?;
        let standing = floors.standing(
            state.counter(),
            Edition {
                version,
                content: state.content(),
            },
        );
        let standing = match standing {
            Ok(standing) => standing,
            Err(e) => {
                let report = Report::new(OutcomeKind::Refused).because(vec![e.to_string()]);
                return self.refused(source, Some(version), report);
            }
        };
        let ledger = self.open_ledger()?;
        let book = self.book(&ledger)?;
        let held = self.held(&floors, &book)?;
        let gate = self.gate();
        let wanted = self.wanted(state, &held);
        let mut plan = self.compare(&gate, &wanted)?;
        if self.ask_repositories(&plan) {
            plan = self.compare(&gate, &wanted)?;
        }
        // By the other stream's state in force: drift, and not the affair of this one.
        take_out(&mut plan, &|change| {
            change.action != Action::Image || change.source == source
        });
        self.bring_content(&mut plan);
        if !plan.is_possible() {
            // What stands in the way may go away by itself: a host that does not answer, a full disk, somebody's file.
            if plan.refused.is_empty() && !plan.problems.is_empty() {
                let what = patience::state(&state.content());
                self.change_patience(|patience, now| patience.failed(&what, now))?;
            }
            return self.refused(source, Some(version), impossible(&plan));
        }
        if let Some((change, ..)) = plan.image().filter(|_| standing == Standing::InForce) {
            let (step, now) = (&change.step, change.details.join(", "));
            let reason = format!("{step}: {now}: the state is in force; a new version of it moves the device again");
            let report = Report::new(OutcomeKind::Refused).because(vec![reason]);
            return self.refused(source, Some(version), report);
        }
        let completes = self.live() && held.iter().any(|h| h.pending);
        if standing == Standing::InForce && plan.is_empty() && !completes {
            return Ok(self.outcome(
                &ledger,
                source,
                Some(version),
                Report::new(OutcomeKind::Unchanged),
                false,
            ));
        }
        let adopts = (standing != Standing::InForce).then_some(state);
        let spec = &state.value().spec;
        let confirm = spec.confirm.as_ref().filter(|_| adopts.is_some());
        if let Err(why) = self.may_start(confirm) {
            log::warn!("{}: the hub does not answer: {why}", self.setup.name);
            let what = patience::state(&state.content());
            self.change_patience(|patience, now| patience.failed(&what, now))?;
            let reason = "the hub that has to confirm it does not answer; nothing was touched".to_owned();
            let report = Report::new(OutcomeKind::Unconfirmed).because(vec![reason]);
            return self.refused(source, Some(version), report);
        }
        let decision = self.state_decision(source, &gate, state, &held, &wanted, &plan)?;
        if plan.image().is_some() {
            return self.move_to(state, &plan, decision);
        }
        let transaction = Transaction {
            source,
            version,
            plan: &plan,
            adopts,
            decision: Covered::New(decision),
            verdict: Verdict {
                source,
                health: spec.health_check.as_ref().map(|h| (source, h)),
                confirm,
                health_decides: true,
            },
            completes,
            drift: None,
            env: Vec::new(),
        };
        self.transact(&gate, &transaction, &mut Done::default())
    }
}
