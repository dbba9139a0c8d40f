//! Records without a decision: what was refused, what drifted and was only reported, what was damaged, which floors came
//! back. Nothing on the device moves.

use std::collections::BTreeMap;

use jos_schemas::documents::checkpoint::{FloorAt, Streams};
use jos_schemas::documents::ledger::OutcomeKind;
use jos_schemas::documents::policy::Source;
use jos_trust::Stream;
use serde::Deserialize;

use super::Divergence;
use super::check::Case;
use super::line::ReportLine;
use super::machine::{Elsewhere, Machine, Open, Why, read};
use super::sides::Side;
use super::tally::{Event, Failure, Happened};
use crate::compare::Part;
use crate::ledger::Line;
use crate::ledger::source_word;
use crate::outcome::outcome_word;

impl Machine {
    /// Drift that policy wants reported only: nothing was decided, so nothing moves.
    pub(super) fn drift_reported(&mut self, line: &Line<'_>, report: &ReportLine<'_>) -> Result<(), Divergence> {
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
                agent: None,
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
        let what = payload
            .get("what")
            .and_then(|w| w.as_str())
            .unwrap_or("the ledger was damaged");
        let known = || -> Result<(Streams, Vec<FloorAt>), serde_json::Error> {
            let streams = payload.get("streams").map(Streams::deserialize).transpose()?;
            let floors = payload.get("floors").map(Vec::deserialize).transpose()?;
            Ok((streams.unwrap_or_default(), floors.unwrap_or_default()))
        };
        let (streams, floors) = known().map_err(|e| Divergence::new(index, "states in force and floors", e))?;
        self.begin_with(&streams, &floors);
        if let Some(trial) = payload.get("trial") {
            let source = trial.get("source").map(Source::deserialize).transpose();
            let version = trial.get("version").and_then(serde_json::Value::as_u64);
            let (Ok(Some(source)), Some(version)) = (source, version) else {
                let expected = "source and version of the change that was under way";
                return Err(Divergence::new(index, expected, trial));
            };
            self.elsewhere = Some(Elsewhere {
                index,
                source,
                version: (version > 0).then_some(version),
                outcome: None,
            });
        }
        self.failures.push(Failure {
            record: index,
            decision: None,
            source: line.source,
            agent: None,
            version: line.version,
            signers: Vec::new(),
            time: line.time.to_owned(),
            outcome: None,
            reasons: vec![what.to_owned()],
        });
        Ok(())
    }

    /// Floors that had been lost were said anew: what was tried only rises by that.
    pub(super) fn floor(&mut self, line: &Line<'_>) -> Result<(), Divergence> {
        let payload: serde_json::Map<String, serde_json::Value> =
            read(line.index, line.payload, "what was said of a floor")?;
        let floor = payload.get("floor").and_then(serde_json::Value::as_u64);
        let floor = floor.ok_or_else(|| Divergence::new(line.index, "a floor", "none").about("floor"))?;
        if !matches!(line.source, Source::Hub | Source::Local) {
            let found = source_word(line.source);
            return Err(Divergence::new(line.index, "the word of a hub or of an operator", found).about("source"));
        }
        let tried = self.tried.entry(Stream::State).or_default();
        if floor > tried.version {
            (tried.version, tried.content) = (floor, None);
        }
        Ok(())
    }

    /// The outcome of a change that was decided in the ledger before: what it changed is not known here. What is in force
    /// since stands in the record of the damage. False where it is of another decision.
    pub(super) fn decided_elsewhere(
        &mut self,
        line: &Line<'_>,
        cause: &str,
        report: &ReportLine<'_>,
    ) -> Result<bool, Divergence> {
        use OutcomeKind::{Applied, Broken, RolledBack, Unchanged, Unconfirmed};
        let Some(change) = self.elsewhere.as_mut().filter(|e| cause == format!("#{}", e.index)) else {
            return Ok(false);
        };
        let index = line.index;
        if (change.source, change.version) != (line.source, line.version) {
            let told = |source, version: Option<u64>| format!("{} {}", source_word(source), version.unwrap_or(0));
            let (expected, found) = (told(change.source, change.version), told(line.source, line.version));
            return Err(Divergence::new(index, expected, found).about("source and version"));
        }
        let follows = match change.outcome {
            None => matches!(report.outcome, Applied | Unchanged | RolledBack | Broken | Unconfirmed),
            Some(before) => before == Broken && matches!(report.outcome, RolledBack | Unconfirmed),
        };
        if !follows || (report.outcome == Broken) == report.left.is_empty() {
            let expected = "one end of the change that was under way";
            return Err(Divergence::new(index, expected, outcome_word(report.outcome)));
        }
        change.outcome = Some(report.outcome);
        self.counts.entry(line.source).or_default().add(report.outcome);
        if !matches!(report.outcome, Applied | Unchanged) {
            self.failed(line, None, report);
        }
        Ok(true)
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

    pub(super) fn failed(&mut self, line: &Line<'_>, open: Option<&Open>, report: &ReportLine<'_>) {
        let signers = match open.and_then(|o| o.state.as_ref()) {
            Some((_, state)) => state.signers.clone(),
            None => Vec::new(),
        };
        self.failures.push(Failure {
            record: line.index,
            decision: open.map(|o| o.index),
            source: line.source,
            agent: open.and_then(|o| o.agent.clone()),
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
}
