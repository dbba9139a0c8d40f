//! Which outcome may follow which decision.

use jos_schemas::documents::ledger::OutcomeKind;

use super::Divergence;
use super::line::{ChangeLine, ReportLine, ShapeLine};
use super::machine::{Open, Why};
use crate::outcome::outcome_word;
use crate::plan::Action;
use crate::plane::set_of;

/// Which outcome may follow which.
pub(super) fn allowed(index: u64, open: &Open, report: &ReportLine<'_>) -> Result<(), Divergence> {
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
pub(super) fn check_set(index: u64, open: &Open, report: &ReportLine<'_>) -> Result<(), Divergence> {
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
