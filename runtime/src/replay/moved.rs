//! Moves to another system. Which one ran, and what became of it there, only the world could know; but a state comes into
//! force in the system that it names and in no other, and a move is good where that happened.

use std::rc::Rc;

use jos_schemas::documents::desired_state::{DesiredState, ImageStep, Step};
use jos_schemas::documents::ledger::OutcomeKind;

use super::Divergence;
use super::line::{ImageLine, ReportLine};
use super::machine::{Machine, Open, Why};
use crate::gate::label;
use crate::ledger::Line;
use crate::outcome::outcome_word;
use crate::plan::Action;

/// The system that a state names, with the words for its step.
fn image(state: &DesiredState) -> Option<(String, &ImageStep)> {
    let steps = state.spec.apply.iter().enumerate();
    let mut images = steps.filter_map(|(at, step)| match step {
        Step::Image(image) => Some((label(at, step), image)),
        _ => None,
    });
    images.next()
}

/// Whether the system that ran is the one in which this could be decided.
pub(super) fn runs(
    index: u64,
    why: Why,
    state: &DesiredState,
    running: Option<&ImageLine<'_>>,
) -> Result<(), Divergence> {
    let shown = |i: &ImageLine<'_>| format!("{} {}", i.compatible, i.version);
    let found = running.map_or("none".to_owned(), shown);
    let bad = |expected: String| Err(Divergence::new(index, expected, found.clone()).about("image"));
    let Some((_, step)) = image(state) else {
        return match why {
            Why::Move => bad("a step that names a system".into()),
            _ => Ok(()),
        };
    };
    let is = |i: &&ImageLine<'_>| i.compatible == step.compatible;
    let same = running.filter(is).map(|i| i.version == step.version);
    match (why, same) {
        (Why::Move, Some(false)) | (Why::Apply, Some(true)) => Ok(()),
        (Why::Move, _) => bad(format!("another version of {} than {}", step.compatible, step.version)),
        _ => bad(format!("{} {}, which the state names", step.compatible, step.version)),
    }
}

impl Machine {
    /// The outcome of a move.
    pub(super) fn move_ended(
        &mut self,
        line: &Line<'_>,
        mut open: Rc<Open>,
        report: &ReportLine<'_>,
    ) -> Result<(), Divergence> {
        let index = line.index;
        let bad = |what: &str, expected: &str, found: &str| Err(Divergence::new(index, expected, found).about(what));
        let content = match (&open.state, &open.unread) {
            (Some((stream, state)), _) => Some((*stream, state.content)),
            (None, Some((stream, kept))) => Some((*stream, kept.content)),
            (None, None) => None,
        };
        let in_force =
            content.is_some_and(|(stream, content)| self.streams.get(&stream).is_some_and(|k| k.content == content));
        if report.outcome == OutcomeKind::Applied {
            if !in_force {
                return bad("outcome", "rolled_back: its state is not in force", "applied");
            }
            self.one_change(index, &open, report)?;
        } else {
            if report.outcome == OutcomeKind::Unchanged || in_force {
                let found = outcome_word(report.outcome);
                return bad("outcome", "applied: its state is in force, or rolled_back", found);
            }
            if let Some(change) = report.changes.first() {
                return bad(&change.what, "no change: the old system is as it was", "one");
            }
            self.failed(line, Some(&open), report);
        }
        self.counts.entry(line.source).or_default().add(report.outcome);
        Rc::make_mut(&mut open).outcome = Some(report.outcome);
        if self.open.as_ref().is_some_and(|last| last.index == open.index) {
            self.open = Some(Rc::clone(&open));
        }
        self.moved = Some(open);
        Ok(())
    }

    /// A good move changed one thing.
    fn one_change(&self, index: u64, open: &Open, report: &ReportLine<'_>) -> Result<(), Divergence> {
        let [change] = report.changes.as_slice() else {
            let found = format!("{} changes", report.changes.len());
            return Err(Divergence::new(index, "one change: the system", found));
        };
        let named = open.state.as_ref().and_then(|(_, state)| image(&state.document));
        let ours = change.action == Action::Image && change.source == open.source;
        let fits = named.is_none_or(|(label, step)| {
            let to = change.details.first().and_then(|d| d.split_once(" → "));
            change.step == label
                && change.what.strip_prefix("image ") == Some(step.compatible.as_str())
                && to.is_some_and(|(_, to)| to == step.version)
        });
        if ours && fits {
            return Ok(());
        }
        let found = format!("{} {:?}", change.step, change.details);
        Err(Divergence::new(index, "the system that the step names", found).about(&change.what))
    }
}
