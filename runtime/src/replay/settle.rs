//! Outcomes: held against what they must have been, and then the machine moves.

use std::collections::BTreeMap;
use std::rc::Rc;

use jos_schemas::documents::ledger::OutcomeKind;

use super::Divergence;
use super::check::{Case, Effect, below};
use super::line::{Ids, ReportLine};
use super::machine::{InForce, Input, Machine, Managed, Open, Why, read};
use super::quick;
use super::rules::{allowed, check_set};
use super::shared::Shared;
use super::shelf::{self, Blobs};
use super::sides::{Side, as_recorded, holding};
use super::tally::{Event, Happened};
use super::wants::{At, Want, overlaid};
use crate::compare::Part;
use crate::ledger::Line;
use crate::ledger::source_word;
use crate::outcome::outcome_word;
use crate::plan::Action;

impl Machine {
    pub(super) fn outcome(&mut self, line: &Line<'_>, blobs: &mut Blobs<'_>) -> Result<(), Divergence> {
        let index = line.index;
        let short: ReportLine<'_> = match quick::report(line.payload) {
            Some(report) => report,
            None => read(index, line.payload, "an outcome")?,
        };
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
        if self.decided_elsewhere(line, cause, &report)? {
            return Ok(());
        }
        let (open, again) = self.awaiting(index, cause)?;
        if open.source != line.source {
            let (expected, found) = (source_word(open.source), source_word(line.source));
            return Err(Divergence::new(index, expected, found).about("source"));
        }
        if open.version != line.version {
            let number = |v: Option<u64>| v.map_or("none".to_owned(), |v| v.to_string());
            let (expected, found) = (number(open.version), number(line.version));
            return Err(Divergence::new(index, expected, found).about("version"));
        }
        allowed(index, &open, &report)?;
        if open.why == Why::Move {
            return self.move_ended(line, open, &report);
        }
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
            _ => self.uncertain.extend(effects.iter().map(|e| e.path.to_owned())),
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
        if !again {
            // Then nobody else has it, and nothing is copied.
            self.open = None;
        }
        let mut open = open;
        Rc::make_mut(&mut open).outcome = Some(report.outcome);
        if matches!(open.why, Why::Converge) {
            self.drift = Some(Rc::clone(&open));
        }
        if !again {
            self.open = Some(open);
        }
        Ok(())
    }

    pub(super) fn compute_shared(
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
    fn awaiting(&self, index: u64, cause: &str) -> Result<(Rc<Open>, bool), Divergence> {
        let number = cause.strip_prefix('#').and_then(|n| n.parse::<u64>().ok());
        let is = |open: &&Rc<Open>| Some(open.index) == number;
        if let Some(open) = self.open.as_ref().filter(is) {
            return Ok((Rc::clone(open), false));
        }
        if let Some(open) = self.drift.as_ref().filter(is) {
            return Ok((Rc::clone(open), true));
        }
        if let Some(open) = self.moved.as_ref().filter(is) {
            return Ok((Rc::clone(open), true));
        }
        let expected = match &self.open {
            Some(open) => format!("the cause #{}, the last decision", open.index),
            None => "a decision before it".to_owned(),
        };
        Err(Divergence::new(index, expected, format!("the cause {cause}")))
    }

    /// A good outcome: what is in force and what is managed follows.
    fn settle(
        &mut self,
        line: &Line<'_>,
        open: &Open,
        sides: &[Side],
        effects: &[Effect<'_>],
        report: &ReportLine<'_>,
    ) {
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
                    .take_while(|p| below(effect.path, p))
                    .collect();
                inside.iter().for_each(|p| drop(self.paths.remove(p)));
            }
            self.uncertain.remove(effect.path);
            let Some(At { part, step }) = effect.at else {
                if effect.action == Action::Remove {
                    self.paths.remove(effect.path);
                } else if effect.recorded || effect.text.is_some() {
                    let managed = as_recorded(line, open, effect, &time);
                    self.manage(effect.path, managed);
                }
                continue;
            };
            let side = &sides[part];
            let held = open.why != Why::Flow || self.paths.get(effect.path).is_some_and(|m| m.held);
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
            self.manage(effect.path, managed);
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
                    path: &path,
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
                path,
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
            self.manage(effect.path, managed);
            if news {
                self.happened(line, open, sides, &effect, Happened::TakenOver);
            }
        }
    }

    fn manage(&mut self, path: &str, managed: Managed) {
        match self.paths.get_mut(path) {
            Some(known) => *known = managed,
            None => drop(self.paths.insert(path.to_owned(), managed)),
        }
    }

    fn happened(&mut self, line: &Line<'_>, open: &Open, sides: &[Side], effect: &Effect<'_>, event: Happened) {
        if !self.watch.covers(effect.path) {
            return;
        }
        let side = effect.at.and_then(|at| sides.get(at.part)).or_else(|| sides.last());
        let event = Event {
            record: line.index,
            decision: open.index,
            source: line.source,
            agent: open.agent.clone(),
            version: line.version,
            signers: side.map(Side::signers).unwrap_or_default(),
            time: line.time.to_owned(),
            event,
            sha256: effect.after.as_ref().and_then(|s| s.sha256.clone()),
        };
        self.history.entry(effect.path.to_owned()).or_default().push(event);
    }
}
