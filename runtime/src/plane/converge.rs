//! Converge: the states in force against the world, each turn.

use jos_schemas::documents::ledger::{Decision, OutcomeKind};
use jos_schemas::documents::policy::{DriftPolicy, Source};
use jos_trust::{Digest, sha256};
use serde_json::{Value, json};

use super::record::payload;
use super::report::impossible;
use super::transact::{Covered, Transaction};
use super::{Plane, PlaneError};
use crate::act::Done;
use crate::book::{Book, Drift};
use crate::compare::Wanted;
use crate::gate::Gate;
use crate::outcome::{Outcome, Report};
use crate::plan::Plan;

/// The same drift is recorded again after so many seconds; in between it is put right under the first decision.
const RECORD_AGAIN: i64 = 24 * 3600;

impl Plane<'_> {
    /// Puts right what drifted from the states in force, or reports it, as policy says for the state's own source. Does
    /// what waited for the first boot. Appends nothing when nothing differs.
    pub fn converge(&self) -> Result<Outcome, PlaneError> {
        let _lock = self.lock()?;
        self.recover_under_lock()?;
        let ledger = self.open_ledger()?;
        let (floors, book) = (self.floors()?, self.book(&ledger)?);
        let held = self.held(&floors, &book)?;
        let unchanged = |version| {
            Ok(self.outcome(
                &ledger,
                Source::Drift,
                version,
                Report::new(OutcomeKind::Unchanged),
                false,
            ))
        };
        let Some(top) = held.last() else { return unchanged(None) };
        let version = top.state.version();
        let completes = self.live() && held.iter().any(|h| h.pending) && book.first_boot.next <= self.now()?.unix();
        let gate = self.gate();
        let mut parts: Vec<_> = held.iter().map(|h| self.part(h)).collect();
        parts.iter_mut().for_each(|p| p.run_once &= completes);
        let wanted = Wanted {
            name: &self.setup.name,
            version,
            source: Source::Drift,
            in_force: true,
            parts,
        };
        let mut plan = self.compare(&gate, &wanted)?;
        if !plan.is_possible() {
            return self.refused(Source::Drift, Some(version), impossible(&plan));
        }
        if plan.is_empty() && !completes {
            return unchanged(Some(version));
        }
        let reported = if completes {
            Vec::new()
        } else {
            only_corrected(&gate, &mut plan)
        };
        if plan.is_empty() && !completes {
            return self.report_drift(&book, version, reported);
        }
        let set = drifted_set(&plan);
        let decision = self.drift_decision(&book, set, completes, &plan)?;
        let transaction = Transaction {
            source: Source::Drift,
            version,
            plan: &plan,
            adopts: None,
            decision,
            health: top.state.value().spec.health_check.as_ref().map(|h| (top.source, h)),
            confirm: None,
            health_decides: completes,
            completes,
            drift: (!completes).then_some(set),
            env: Vec::new(),
        };
        self.transact(&gate, &transaction, &mut Done::default())
    }

    /// A new decision, or the earlier one when the very same set drifted again within a day.
    fn drift_decision(&self, book: &Book, set: Digest, completes: bool, plan: &Plan) -> Result<Covered, PlaneError> {
        if let Some(Drift {
            decision: Some(index), ..
        }) = self.repeated(book, set)?.filter(|_| !completes)
        {
            return Ok(Covered::Earlier(*index));
        }
        let changes: Vec<Value> = plan
            .changes
            .iter()
            .take(100)
            .map(|c| json!([c.action, c.what]))
            .collect();
        let kind = if completes {
            "state.first_boot"
        } else {
            "state.converge"
        };
        Ok(Covered::New(Decision {
            id: format!("{}-drift-{}", self.setup.name, &set.to_string()[..16]),
            source: Source::Drift,
            kind: kind.into(),
            payload: json!({ "changes": changes, "count": plan.changes.len(), "set": set }),
        }))
    }

    fn repeated<'b>(&self, book: &'b Book, set: Digest) -> Result<Option<&'b Drift>, PlaneError> {
        let now = self.now()?.unix();
        Ok(book
            .drift
            .as_ref()
            .filter(|d| d.set == set && now.saturating_sub(d.since.unix()) < RECORD_AGAIN))
    }

    fn report_drift(
        &self,
        book: &Book,
        version: u64,
        changes: Vec<crate::plan::Change>,
    ) -> Result<Outcome, PlaneError> {
        let mut report = Report::new(OutcomeKind::Drifted);
        report.changes = changes;
        let set = set_of(&report.changes);
        let mut ledger = self.open_ledger()?;
        if self.repeated(book, set)?.is_some() {
            return Ok(self.outcome(&ledger, Source::Drift, Some(version), report, false));
        }
        let entry = self.entry(Source::Drift, Some(version), None, "outcome", payload(&report))?;
        ledger.append(vec![entry])?;
        let drift = Drift {
            set,
            decision: None,
            since: self.now()?,
            repeats: 0,
        };
        let book = Book {
            drift: Some(drift),
            last: Some(self.last(Source::Drift, Some(version), &report)?),
            ..book.clone()
        };
        book.save(&self.data, &self.at("state.json"))?;
        self.after_turn(&mut ledger)?;
        Ok(self.outcome(&ledger, Source::Drift, Some(version), report, true))
    }
}

/// Takes out of the plan what policy wants reported only, and gives those changes.
fn only_corrected(gate: &Gate<'_>, plan: &mut Plan) -> Vec<crate::plan::Change> {
    let correct = |source| gate.grant(source).is_none_or(|g| g.drift == DriftPolicy::Correct);
    let reported = plan.changes.iter().filter(|c| !correct(c.source)).cloned().collect();
    plan.tasks.retain(|t| correct(t.source));
    let told: Vec<String> = plan.tasks.iter().flat_map(|t| t.notify.clone()).collect();
    plan.notify.retain(|s| told.contains(s));
    // Tasks name their change by its place, so the list stays whole and what is not done is struck out by `kept`.
    let kept: Vec<usize> = plan.tasks.iter().map(|t| t.change).collect();
    let changes = std::mem::take(&mut plan.changes);
    let mut places = std::collections::BTreeMap::new();
    for (at, change) in changes.into_iter().enumerate() {
        if kept.contains(&at) {
            places.insert(at, plan.changes.len());
            plan.changes.push(change);
        }
    }
    for task in &mut plan.tasks {
        task.change = places.get(&task.change).copied().unwrap_or_default();
    }
    reported
}

/// What drifted, as one hash: which things, and how they are now.
fn drifted_set(plan: &Plan) -> Digest {
    set_of(&plan.changes)
}

fn set_of(changes: &[crate::plan::Change]) -> Digest {
    let mut text = String::new();
    for change in changes {
        let before = serde_json::to_string(&change.before).unwrap_or_default();
        text += &format!("{:?}\n{}\n{before}\n", change.action, change.what);
    }
    sha256(text.as_bytes())
}
