//! Converge: the states in force against the world, each turn.

use jos_schemas::documents::ledger::{Decision, OutcomeKind};
use jos_schemas::documents::policy::{DriftPolicy, Source};
use jos_trust::{Digest, sha256};
use serde_json::{Value, json};

use super::confirm::Verdict;
use super::held::Held;
use super::record::payload;
use super::report::impossible;
use super::transact::{Covered, Transaction};
use super::{Plane, PlaneError, patience};
use crate::act::Done;
use crate::book::{Book, Drift};
use crate::compare::Wanted;
use crate::gate::Gate;
use crate::outcome::{Outcome, Report};
use crate::plan::{Action, Change, Plan, Shape};

/// The same drift is recorded again after so many seconds; in between it is put right under the first decision.
const RECORD_AGAIN: i64 = 24 * 3600;

/// What a turn has read.
struct Turn<'t> {
    gate: &'t Gate<'t>,
    book: &'t Book,
    held: &'t [Held],
    wanted: &'t Wanted<'t>,
    /// The state on top, whose health counts.
    top: &'t Held,
}

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
        if completes && self.ask_repositories(&plan) {
            plan = self.compare(&gate, &wanted)?;
        }
        if !plan.is_possible() {
            return self.refused(Source::Drift, Some(version), impossible(&plan));
        }
        // Nobody is moved to another system unasked: that is only said.
        let elsewhere = take_out(&mut plan, &|change| change.action != Action::Image);
        if plan.is_empty() && elsewhere.is_empty() && !completes {
            return unchanged(Some(version));
        }
        let turn = Turn {
            gate: &gate,
            book: &book,
            held: &held,
            wanted: &wanted,
            top,
        };
        if completes {
            return self.correct(&turn, plan, true);
        }
        let correct = |source| gate.grant(source).is_none_or(|g| g.drift == DriftPolicy::Correct);
        let mut reported = take_out(&mut plan, &|change| correct(change.source));
        reported.extend(elsewhere);
        let (patience, now) = (self.patience(), self.now()?.unix());
        let flapping = take_out(&mut plan, &|change| !patience.holds(&change.what, now));
        if !plan.is_empty() && patience.waits(&drift_of(&plan), now) == 0 {
            self.report_flapping(version, &flapping)?;
            return self.correct(&turn, plan, false);
        }
        match (reported.is_empty(), flapping.is_empty()) {
            (false, _) => {
                self.report_flapping(version, &flapping)?;
                self.report_drift(&book, version, reported)
            }
            (true, false) => self.report_flapping(version, &flapping),
            // What failed a moment ago for a reason of the device's is left alone until its pause is over.
            (true, true) => {
                let mut report = Report::new(OutcomeKind::Drifted);
                report.changes = plan.changes;
                Ok(self.outcome(&ledger, Source::Drift, Some(version), report, false))
            }
        }
    }

    /// Puts right what drifted, or does what waited for the first boot.
    fn correct(&self, turn: &Turn<'_>, mut plan: Plan, completes: bool) -> Result<Outcome, PlaneError> {
        let top = turn.top;
        self.bring_content(&mut plan);
        if !plan.is_possible() {
            return self.refused(Source::Drift, Some(top.state.version()), impossible(&plan));
        }
        let set = drifted_set(&plan);
        let what = drift_of(&plan);
        let decision = self.drift_decision(turn, set, completes, &plan)?;
        let transaction = Transaction {
            source: Source::Drift,
            version: top.state.version(),
            plan: &plan,
            adopts: None,
            decision,
            verdict: Verdict {
                source: Source::Drift,
                health: top.state.value().spec.health_check.as_ref().map(|h| (top.source, h)),
                confirm: None,
                health_decides: completes,
            },
            completes,
            drift: (!completes).then_some(set),
            env: Vec::new(),
        };
        let outcome = self.transact(turn.gate, &transaction, &mut Done::default())?;
        // The first boot has pauses of its own.
        if !completes {
            let good = matches!(outcome.kind, OutcomeKind::Applied | OutcomeKind::Unchanged);
            self.change_patience(|patience, now| {
                if good {
                    patience.forget(&what);
                    let mut things: Vec<&str> = outcome.changes.iter().map(|c| c.what.as_str()).collect();
                    things.sort_unstable();
                    things.dedup();
                    things.iter().for_each(|thing| patience.corrected(thing, now));
                } else {
                    patience.failed(&what, now);
                }
            })?;
        }
        Ok(outcome)
    }

    /// What is changed again each time it is put right: said once for each pause, with what is known of who does it.
    fn report_flapping(&self, version: u64, changes: &[Change]) -> Result<Outcome, PlaneError> {
        let mut report = Report::new(OutcomeKind::Drifted);
        report.changes = changes.to_vec();
        let mut ledger = self.open_ledger()?;
        let mut reasons = Vec::new();
        if !changes.is_empty() {
            self.change_patience(|patience, now| {
                for change in changes {
                    if let Some(told) = patience.tell(&change.what, now) {
                        reasons.push(format!("{}: {told}; {}", change.what, whose(change)));
                    }
                }
            })?;
        }
        if reasons.is_empty() {
            return Ok(self.outcome(&ledger, Source::Drift, Some(version), report, false));
        }
        reasons
            .iter()
            .for_each(|reason| log::warn!("{}: {reason}", self.setup.name));
        report.reasons = reasons;
        let entry = self.entry(Source::Drift, Some(version), None, "outcome", payload(&report))?;
        ledger.append(vec![entry])?;
        let record = Some(ledger.head());
        self.note_last(&ledger, Source::Drift, Some(version), &report)?;
        let outcome = self.outcome(&ledger, Source::Drift, Some(version), report, true);
        Ok(Outcome { record, ..outcome })
    }

    /// A new decision, or the earlier one when the very same set drifted again within a day.
    fn drift_decision(
        &self,
        turn: &Turn<'_>,
        set: Digest,
        completes: bool,
        plan: &Plan,
    ) -> Result<Covered, PlaneError> {
        if let Some(Drift {
            decision: Some(index), ..
        }) = self.repeated(turn.book, set)?.filter(|_| !completes)
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
        let mut payload = json!({ "changes": changes, "count": plan.changes.len(), "set": set });
        self.add_captured(
            &mut payload,
            &self.gate_facts(turn.gate, None),
            turn.held,
            turn.wanted,
            plan,
        )?;
        Ok(Covered::New(Decision {
            id: format!("{}-drift-{}", self.setup.name, &set.to_string()[..16]),
            source: Source::Drift,
            kind: kind.into(),
            payload,
        }))
    }

    fn repeated<'b>(&self, book: &'b Book, set: Digest) -> Result<Option<&'b Drift>, PlaneError> {
        let now = self.now()?.unix();
        Ok(book
            .drift
            .as_ref()
            .filter(|d| d.set == set && now.saturating_sub(d.since.unix()) < RECORD_AGAIN))
    }

    fn report_drift(&self, book: &Book, version: u64, changes: Vec<Change>) -> Result<Outcome, PlaneError> {
        let mut report = Report::new(OutcomeKind::Drifted);
        report.changes = changes;
        let set = set_of_changes(&report.changes);
        let mut ledger = self.open_ledger()?;
        if self.repeated(book, set)?.is_some() {
            return Ok(self.outcome(&ledger, Source::Drift, Some(version), report, false));
        }
        let entry = self.entry(Source::Drift, Some(version), None, "outcome", payload(&report))?;
        ledger.append(vec![entry])?;
        let record = Some(ledger.head());
        let drift = Drift {
            set,
            decision: None,
            since: self.now()?,
            repeats: 0,
        };
        let book = Book {
            drift: Some(drift),
            last: Some(self.last(Source::Drift, Some(version), &report, record.clone())?),
            ..book.clone()
        };
        book.save(&self.data, &self.at("state.json"))?;
        self.after_turn(&mut ledger)?;
        let outcome = self.outcome(&ledger, Source::Drift, Some(version), report, true);
        Ok(Outcome { record, ..outcome })
    }
}

/// Takes the changes out of the plan that `keep` does not want kept, with their tasks, and gives them back.
pub(super) fn take_out(plan: &mut Plan, keep: &dyn Fn(&Change) -> bool) -> Vec<Change> {
    let changes = std::mem::take(&mut plan.changes);
    let mut places = vec![None; changes.len()];
    let mut out = Vec::new();
    for (at, change) in changes.into_iter().enumerate() {
        if keep(&change) {
            // Tasks name their change by its place.
            places[at] = Some(plan.changes.len());
            plan.changes.push(change);
        } else {
            out.push(change);
        }
    }
    plan.tasks.retain_mut(|task| match places[task.change] {
        Some(place) => {
            debug_assert_eq!(
                task.source, plan.changes[place].source,
                "a task does what its change says"
            );
            task.change = place;
            true
        }
        None => false,
    });
    let told: Vec<String> = plan.tasks.iter().flat_map(|t| t.notify.clone()).collect();
    plan.notify.retain(|s| told.contains(s));
    out
}

/// What is known of who changes something: how it stands there now, and which step wants it otherwise.
fn whose(change: &Change) -> String {
    let now = match &change.before {
        Some(shape) => {
            let mode = shape.mode.as_deref().map(|m| format!(", mode {m}")).unwrap_or_default();
            format!("something else makes it a {} of {}{mode}", shape.kind, shape.owner)
        }
        None if change.after.is_some() => "something else removes it".to_owned(),
        None => "something else changes it".to_owned(),
    };
    let source = crate::ledger::source_word(change.source);
    format!("{now}, {} of the {source} state wants it otherwise", change.step)
}

/// The same drift, as something that is tried.
fn drift_of(plan: &Plan) -> String {
    patience::drift(drifted_set(plan))
}

/// What drifted, as one hash: which things, and how they are now.
fn drifted_set(plan: &Plan) -> Digest {
    set_of_changes(&plan.changes)
}

fn set_of_changes(changes: &[crate::plan::Change]) -> Digest {
    set_of(changes.iter().map(|c| (c.action, c.what.as_str(), c.before.clone())))
}

/// The same from what a record says of them.
pub(crate) fn set_of<'c>(changes: impl Iterator<Item = (Action, &'c str, Option<Shape>)>) -> Digest {
    let mut text = String::new();
    for (action, what, before) in changes {
        let before = serde_json::to_string(&before).unwrap_or_default();
        text += &format!("{action:?}\n{what}\n{before}\n");
    }
    sha256(text.as_bytes())
}
