//! Outcomes: held against what they must have been, and then the machine moves.

use std::collections::BTreeMap;
use std::rc::Rc;

use jos_schemas::documents::checkpoint::{FloorAt, Streams};
use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::documents::ledger::OutcomeKind;
use jos_schemas::documents::policy::Source;
use jos_trust::Stream;
use serde::Deserialize;

use super::Divergence;
use super::check::{Case, Effect, below};
use super::line::{ChangeLine, Ids, ReportLine, ShapeLine};
use super::machine::{Holding, InForce, Input, Machine, Managed, Open, Why, read};
use super::shared::Shared;
use super::shelf::{self, Blobs, State};
use super::tally::{Event, Failure, Happened};
use super::wants::{At, Holds, Want, overlaid};
use crate::compare::Part;
use crate::gate::source_word;
use crate::ledger::Line;
use crate::outcome::outcome_word;
use crate::plan::Action;
use crate::plane::set_of;

/// A document that takes part, owned.
#[derive(Clone)]
enum Document {
    State(Rc<State>),
    Flow(Rc<DesiredState>),
}

/// A part of a plan, with what outlives it.
#[derive(Clone)]
struct Side {
    source: Source,
    document: Document,
    follows: Option<Rc<State>>,
    run_once: bool,
}

impl Side {
    fn state(&self) -> &DesiredState {
        match &self.document {
            Document::State(state) => &state.document,
            Document::Flow(state) => state,
        }
    }

    fn part(&self) -> Part<'_> {
        Part {
            source: self.source,
            state: self.state(),
            follows: self.follows.as_ref().map(|s| &s.document),
            run_once: self.run_once,
        }
    }

    fn signers(&self) -> Vec<String> {
        match &self.document {
            Document::State(state) => state.signers.clone(),
            Document::Flow(_) => Vec::new(),
        }
    }
}

impl Machine {
    pub(super) fn outcome(&mut self, line: &Line<'_>, blobs: &mut Blobs<'_>) -> Result<(), Divergence> {
        let index = line.index;
        let short: ReportLine<'_> = read(index, line.payload, "an outcome")?;
        let bytes = match &short.more {
            None => None,
            Some(more) => Some(shelf::blob(index, &more.blob, blobs, "the rest of the outcome")?),
        };
        let report = match &bytes {
            None => short,
            Some(bytes) => {
                let whole: ReportLine<'_> = read(index, bytes, "an outcome")?;
                if whole.outcome != short.outcome {
                    let (expected, found) = (outcome_word(short.outcome), outcome_word(whole.outcome));
                    return Err(Divergence::new(index, format!("{expected} in the blob too"), found));
                }
                whole
            }
        };
        let Some(cause) = line.cause else {
            return self.drift_reported(line, &report);
        };
        let (mut open, again) = self.awaiting(index, cause)?;
        let expect = |what: &str, expected: String, found: String| {
            if expected == found {
                Ok(())
            } else {
                Err(Divergence::new(index, expected, found).about(what))
            }
        };
        expect(
            "source",
            source_word(open.source).into(),
            source_word(line.source).into(),
        )?;
        let number = |v: Option<u64>| v.map_or("none".to_owned(), |v| v.to_string());
        expect("version", number(open.version), number(line.version))?;
        allowed(index, &open, &report)?;
        let sides = self.sides(&open);
        let blind = self.is_blind() || open.unread.is_some();
        let parts: Vec<Part<'_>> = sides.iter().map(Side::part).collect();
        let own = match (&open.state, open.why) {
            (Some((_, state)), _) => Some(&state.document),
            (None, Why::Converge | Why::FirstBoot) => parts.last().map(|p| p.state),
            _ => None,
        };
        let shared = self.compute_shared(index, &parts, &open.inputs)?;
        let case = Case {
            record: index,
            why: open.why,
            parts: &parts,
            own,
            adopts: open.adopts,
            live: open.recorded.facts.live,
            gate: Some(&open.recorded),
            ids: &open.ids,
            found: &open.found,
            shared: &shared,
            paths: &self.paths,
            uncertain: &self.uncertain,
            blind,
        };
        let effects = case.paths(&report)?;
        case.acts(&report)?;
        check_set(index, &open, &report)?;
        let good = matches!(report.outcome, OutcomeKind::Applied | OutcomeKind::Unchanged);
        match report.outcome {
            OutcomeKind::Applied | OutcomeKind::Unchanged => self.settle(line, &open, &sides, &effects, &report),
            // Everything is as it was before, what an earlier try had left undone too.
            OutcomeKind::RolledBack | OutcomeKind::Unconfirmed => self.uncertain.clear(),
            _ => self.uncertain.extend(effects.iter().map(|e| e.path.clone())),
        }
        for effect in &effects {
            let event = if good {
                effect.action.into()
            } else {
                Happened::RolledBack
            };
            self.happened(line, &open, &sides, effect, event);
        }
        self.counts.entry(line.source).or_default().add(report.outcome);
        if !good {
            self.failed(line, Some(&open), &report);
        }
        open.outcome = Some(report.outcome);
        if matches!(open.why, Why::Converge) {
            self.drift = Some(open.clone());
        }
        if !again {
            self.open = Some(open);
        }
        Ok(())
    }

    fn compute_shared(
        &self,
        index: u64,
        parts: &[Part<'_>],
        inputs: &BTreeMap<String, Input>,
    ) -> Result<Shared, Divergence> {
        let name = self.name.as_ref().map_or("", |n| n.as_str());
        Shared::compute(name, parts, inputs)
            .map_err(|e| Divergence::new(index, "steps that can edit what the files said", e))
    }

    /// The decision that an outcome belongs to; whether it is the last drift, put right once more.
    fn awaiting(&self, index: u64, cause: &str) -> Result<(Open, bool), Divergence> {
        let number = cause.strip_prefix('#').and_then(|n| n.parse::<u64>().ok());
        let is = |open: &&Open| Some(open.index) == number;
        if let Some(open) = self.open.as_ref().filter(is) {
            return Ok((open.clone(), false));
        }
        if let Some(open) = self.drift.as_ref().filter(is) {
            return Ok((open.clone(), true));
        }
        let expected = match &self.open {
            Some(open) => format!("the cause #{}, the last decision", open.index),
            None => "a decision before it".to_owned(),
        };
        Err(Divergence::new(index, expected, format!("the cause {cause}")))
    }

    /// Which states take part in what a decision does, the baseline first.
    fn sides(&self, open: &Open) -> Vec<Side> {
        if let Some(step) = &open.step {
            return vec![Side {
                source: open.source,
                document: Document::Flow(Rc::clone(step)),
                follows: None,
                run_once: true,
            }];
        }
        let live = open.recorded.facts.live;
        let mut sides: BTreeMap<Stream, Side> = BTreeMap::new();
        for (stream, kept) in &self.streams {
            let Some(state) = &kept.state else { continue };
            let side = Side {
                source: kept.source,
                document: Document::State(Rc::clone(state)),
                follows: None,
                run_once: live && kept.pending && open.why != Why::Converge,
            };
            sides.insert(*stream, side);
        }
        if let Some((stream, state)) = &open.state {
            let old = self.streams.get(stream);
            let side = Side {
                source: open.source,
                document: Document::State(Rc::clone(state)),
                follows: old.filter(|_| open.adopts).and_then(|k| k.state.clone()),
                run_once: open.adopts || live && old.is_some_and(|k| k.pending),
            };
            sides.insert(*stream, side);
        }
        sides.into_values().collect()
    }

    /// A good outcome: what is in force and what is managed follows.
    fn settle(&mut self, line: &Line<'_>, open: &Open, sides: &[Side], effects: &[Effect], report: &ReportLine<'_>) {
        if let (Some((stream, kept)), true) = (&open.unread, open.adopts) {
            let kept = InForce {
                since: line.time.to_owned(),
                pending: report.pending,
                ..kept.clone()
            };
            self.streams.insert(*stream, kept);
            // What it lists is not known, so nothing binds what is found.
            self.paths.values_mut().for_each(|m| m.held = false);
        }
        if let (Some((stream, state)), true) = (&open.state, open.adopts) {
            let kept = InForce {
                state: Some(Rc::clone(state)),
                blob: None,
                content: state.content,
                version: state.document.meta.version,
                source: open.source,
                signers: state.signers.clone(),
                decision: Some(open.index),
                since: line.time.to_owned(),
                pending: report.pending,
            };
            self.streams.insert(*stream, kept);
        }
        if open.completes {
            self.streams.values_mut().for_each(|kept| kept.pending = false);
        }
        let time: Rc<str> = line.time.into();
        for effect in effects {
            if effect.action == Action::Remove {
                let inside: Vec<String> = self
                    .paths
                    .range(format!("{}/", effect.path)..)
                    .map(|(p, _)| p.clone())
                    .take_while(|p| below(&effect.path, p))
                    .collect();
                inside.iter().for_each(|p| drop(self.paths.remove(p)));
            }
            self.uncertain.remove(&effect.path);
            let Some(At { part, step }) = effect.at else {
                if effect.action == Action::Remove {
                    self.paths.remove(&effect.path);
                } else if effect.recorded || effect.text.is_some() {
                    let managed = as_recorded(line, open, effect, &time);
                    self.paths.insert(effect.path.clone(), managed);
                }
                continue;
            };
            let side = &sides[part];
            let held = open.why != Why::Flow || self.paths.get(&effect.path).is_some_and(|m| m.held);
            let managed = Managed {
                shape: effect.after.clone(),
                holds: holding(side, step),
                decision: open.index,
                source: line.source,
                version: (open.why != Why::Flow).then(|| side.state().meta.version),
                signers: Rc::new(side.signers()),
                time: Rc::clone(&time),
                held,
                recorded: effect.recorded,
            };
            self.paths.insert(effect.path.clone(), managed);
        }
        if open.why == Why::Apply && open.unread.is_none() {
            self.take_over(line, open, sides, &time);
        }
    }

    /// What the states list without having changed it is managed from here on; what none lists any more is not.
    fn take_over(&mut self, line: &Line<'_>, open: &Open, sides: &[Side], time: &Rc<str>) {
        let wants = overlaid(sides.iter().map(Side::state));
        let released: Vec<String> = self
            .paths
            .iter()
            .filter(|(path, m)| m.held && !wants.contains_key(path.as_str()))
            .map(|(path, _)| path.clone())
            .collect();
        for path in released {
            if let Some(managed) = self.paths.remove(&path)
                && managed.shape.is_some()
            {
                let effect = Effect {
                    path,
                    action: Action::Update,
                    after: None,
                    at: None,
                    text: None,
                    recorded: false,
                };
                self.happened(line, open, sides, &effect, Happened::Released);
            }
        }
        let mut taken = Vec::new();
        for (path, (at, want)) in &wants {
            let side = &sides[at.part];
            let known = self.paths.get(*path);
            if known.is_some_and(|m| m.decision == open.index && m.held) {
                continue;
            }
            // What is known stays known: who put it there, and what was seen of its owner.
            let ids: Ids<'_> = open.ids.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let shape = want.shape(&ids, known.and_then(|m| m.shape.as_ref()));
            let effect = Effect {
                path: (*path).to_owned(),
                action: Action::Update,
                after: shape,
                at: Some(*at),
                text: None,
                recorded: false,
            };
            let before = known.filter(|m| m.held).cloned();
            let new = Managed {
                shape: effect.after.clone(),
                holds: holding(side, at.step),
                decision: before.as_ref().map_or(open.index, |m| m.decision),
                source: before.as_ref().map_or(open.source, |m| m.source),
                version: before.as_ref().map_or(Some(side.state().meta.version), |m| m.version),
                signers: before
                    .as_ref()
                    .map_or_else(|| Rc::new(side.signers()), |m| Rc::clone(&m.signers)),
                time: before.as_ref().map_or_else(|| Rc::clone(time), |m| Rc::clone(&m.time)),
                held: true,
                recorded: false,
            };
            taken.push((effect, new, before.is_none() && !matches!(want, Want::Gone)));
        }
        for (effect, managed, news) in taken {
            self.paths.insert(effect.path.clone(), managed);
            if news {
                self.happened(line, open, sides, &effect, Happened::TakenOver);
            }
        }
    }

    fn happened(&mut self, line: &Line<'_>, open: &Open, sides: &[Side], effect: &Effect, event: Happened) {
        if !self.watch.covers(&effect.path) {
            return;
        }
        let side = effect.at.and_then(|at| sides.get(at.part)).or_else(|| sides.last());
        let event = Event {
            record: line.index,
            decision: open.index,
            source: line.source,
            version: line.version,
            signers: side.map(Side::signers).unwrap_or_default(),
            time: line.time.to_owned(),
            event,
            sha256: effect.after.as_ref().and_then(|s| s.sha256.clone()),
        };
        self.history.entry(effect.path.clone()).or_default().push(event);
    }

    pub(super) fn failed(&mut self, line: &Line<'_>, open: Option<&Open>, report: &ReportLine<'_>) {
        let signers = match open.and_then(|o| o.state.as_ref()) {
            Some((_, state)) => state.signers.clone(),
            None => Vec::new(),
        };
        self.failures.push(Failure {
            record: line.index,
            decision: open.map(|o| o.index),
            source: line.source,
            version: line.version,
            signers,
            time: line.time.to_owned(),
            outcome: Some(report.outcome),
            reasons: report
                .reasons
                .iter()
                .chain(&report.left)
                .map(|r| r.clone().into_owned())
                .collect(),
        });
    }

    /// Drift that policy wants reported only: nothing was decided, so nothing moves.
    fn drift_reported(&mut self, line: &Line<'_>, report: &ReportLine<'_>) -> Result<(), Divergence> {
        let index = line.index;
        if report.outcome != OutcomeKind::Drifted || line.source != Source::Drift {
            let found = format!(
                "{} by {} without one",
                outcome_word(report.outcome),
                source_word(line.source)
            );
            return Err(Divergence::new(
                index,
                "an outcome with the decision that caused it",
                found,
            ));
        }
        let sides = self.sides_in_force();
        let parts: Vec<Part<'_>> = sides.iter().map(Side::part).collect();
        let (ids, found) = Default::default();
        let shared = self.compute_shared(index, &parts, &BTreeMap::new())?;
        let case = Case {
            record: index,
            why: Why::Report,
            parts: &parts,
            own: None,
            adopts: false,
            live: true,
            gate: None,
            ids: &ids,
            found: &found,
            shared: &shared,
            paths: &self.paths,
            uncertain: &self.uncertain,
            blind: self.is_blind(),
        };
        case.paths(report)?;
        for change in report
            .changes
            .iter()
            .filter(|c| self.watch.covers(&c.what))
            .map(|c| c.what.clone().into_owned())
            .collect::<Vec<_>>()
        {
            self.history.entry(change).or_default().push(Event {
                record: index,
                decision: index,
                source: line.source,
                version: line.version,
                signers: Vec::new(),
                time: line.time.to_owned(),
                event: Happened::Drifted,
                sha256: None,
            });
        }
        self.counts.entry(line.source).or_default().add(report.outcome);
        Ok(())
    }

    fn sides_in_force(&self) -> Vec<Side> {
        let side = |kept: &InForce| {
            Some(Side {
                source: kept.source,
                document: Document::State(Rc::clone(kept.state.as_ref()?)),
                follows: None,
                run_once: false,
            })
        };
        self.streams.values().filter_map(side).collect()
    }

    /// The ledger before this one was damaged: what it knew is not known here.
    pub(super) fn broken(&mut self, line: &Line<'_>) -> Result<(), Divergence> {
        let index = line.index;
        if self.next.is_some() {
            return Err(Divergence::new(
                index,
                "a damaged ledger to be followed by a new one",
                "one in its middle",
            ));
        }
        let payload: serde_json::Map<String, serde_json::Value> =
            read(index, line.payload, "what is known of the damage")?;
        let what = payload.get("what").and_then(|w| w.as_str()).unwrap_or("the ledger was damaged");
        let known = || -> Result<(Streams, Vec<FloorAt>), serde_json::Error> {
            let streams = payload.get("streams").map(Streams::deserialize).transpose()?;
            let floors = payload.get("floors").map(Vec::deserialize).transpose()?;
            Ok((streams.unwrap_or_default(), floors.unwrap_or_default()))
        };
        let (streams, floors) = known().map_err(|e| Divergence::new(index, "states in force and floors", e))?;
        self.begin_with(&streams, &floors);
        self.failures.push(Failure {
            record: index,
            decision: None,
            source: line.source,
            version: line.version,
            signers: Vec::new(),
            time: line.time.to_owned(),
            outcome: None,
            reasons: vec![what.to_owned()],
        });
        Ok(())
    }

    /// What was refused before it became a decision: nothing moves.
    pub(super) fn refused(&mut self, line: &Line<'_>) -> Result<(), Divergence> {
        let index = line.index;
        let report: ReportLine<'_> = read(index, line.payload, "what was refused")?;
        let refused = matches!(
            report.outcome,
            OutcomeKind::Refused | OutcomeKind::Unsupported | OutcomeKind::Unconfirmed
        );
        if !refused || line.cause.is_some() {
            return Err(Divergence::new(
                index,
                "refused, unsupported or unconfirmed, without a decision",
                outcome_word(report.outcome),
            ));
        }
        if let Some(change) = report.changes.first() {
            return Err(Divergence::new(index, "no change: it was refused", "one").about(&change.what));
        }
        self.counts.entry(line.source).or_default().add(report.outcome);
        self.failed(line, None, &report);
        Ok(())
    }
}

/// Which outcome may follow which.
fn allowed(index: u64, open: &Open, report: &ReportLine<'_>) -> Result<(), Divergence> {
    use OutcomeKind::{Applied, Broken, RolledBack, Unchanged, Unconfirmed};
    let bad = |expected: &str| Err(Divergence::new(index, expected, outcome_word(report.outcome)));
    if !matches!(report.outcome, Applied | Unchanged | RolledBack | Broken | Unconfirmed) {
        return bad("applied, unchanged, rolled_back, unconfirmed or broken: a decision was made");
    }
    match open.outcome {
        None => {}
        Some(Broken) if matches!(report.outcome, RolledBack | Unconfirmed) => {}
        Some(before) if open.why == Why::Converge && before != report.outcome => {}
        Some(before) => {
            let expected = format!(
                "no second outcome of #{}, which was {}",
                open.index,
                outcome_word(before)
            );
            return bad(&expected);
        }
    }
    if report.outcome != Broken && !report.left.is_empty() {
        return bad("broken: something is left to do");
    }
    if report.outcome == Broken && report.left.is_empty() {
        return bad("rolled_back: nothing is left to do");
    }
    let acted = |c: &ChangeLine<'_>| c.action != Action::Pending;
    if report.outcome == Unchanged && report.changes.iter().any(acted) {
        return bad("applied: something was changed");
    }
    if report.pending && (open.live() || !open.adopts) {
        return Err(Divergence::new(index, "nothing that waits for a first boot", "something").about("pending"));
    }
    Ok(())
}

/// A drift is known by what had drifted and how.
fn check_set(index: u64, open: &Open, report: &ReportLine<'_>) -> Result<(), Divergence> {
    let Some((set, count)) = open.set else { return Ok(()) };
    if count != report.changes.len() as u64 {
        // A command whose `unless` succeeded is struck out; more than was decided is not.
        if count < report.changes.len() as u64 {
            let found = format!("{} of them", report.changes.len());
            return Err(Divergence::new(index, format!("{count} changes, as decided"), found));
        }
        return Ok(());
    }
    let found = set_of(
        report
            .changes
            .iter()
            .map(|c| (c.action, &*c.what, c.before.as_ref().map(ShapeLine::to_shape))),
    );
    if found == set {
        return Ok(());
    }
    Err(Divergence::new(
        index,
        format!("the drift that was decided on, {set}"),
        format!("another, {found}"),
    ))
}

/// A path that no step lists by itself: what steps made of a file that they share, or what the record alone says.
fn as_recorded(line: &Line<'_>, open: &Open, effect: &Effect, time: &Rc<str>) -> Managed {
    let is_file = effect.after.as_ref().is_some_and(|s| s.kind == "file");
    Managed {
        shape: effect.after.clone(),
        holds: match &effect.text {
            Some(text) => Holding::Bytes(Rc::clone(text)),
            None if is_file => Holding::Hash,
            None => Holding::Nothing,
        },
        decision: open.index,
        source: line.source,
        version: open.version,
        signers: Rc::default(),
        time: Rc::clone(time),
        held: false,
        recorded: effect.recorded,
    }
}

/// Where the content of a listed path comes from.
fn holding(side: &Side, step: usize) -> Holding {
    let want = super::wants::want(&side.state().spec.apply[step]);
    match want {
        Some((
            _,
            Want::File {
                holds: Holds::Secret(name),
                ..
            },
        )) => Holding::Secret(name.clone()),
        Some((
            _,
            Want::File {
                holds: Holds::Blob(digest, _),
                ..
            },
        )) => Holding::Blob(digest),
        Some((
            _,
            Want::File {
                holds: Holds::Text(text),
                ..
            },
        )) => match &side.document {
            Document::State(state) => Holding::Step(Rc::clone(state), step),
            Document::Flow(_) => Holding::Bytes(text.as_bytes().into()),
        },
        _ => Holding::Nothing,
    }
}
