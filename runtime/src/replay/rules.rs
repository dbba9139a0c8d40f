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

/// A drift is known by what had drifted and how. A command whose `unless` succeeded is not among the changes any more; all
/// else that was decided on is.
pub(super) fn check_set(index: u64, open: &Open, report: &ReportLine<'_>) -> Result<(), Divergence> {
    let Some(set) = &open.set else { return Ok(()) };
    let found = report.changes.len() as u64;
    if found > set.count {
        let expected = format!("{} changes, as decided", set.count);
        return Err(Divergence::new(index, expected, format!("{found} of them")));
    }
    // Nothing was touched, or the list is too long to be kept.
    if report.changes.is_empty() || set.count != set.changes.len() as u64 {
        return Ok(());
    }
    let mut rest = report.changes.iter().peekable();
    let mut drifted = Vec::new();
    for (action, what) in &set.changes {
        match rest.next_if(|c| c.action == *action && c.what == what.as_str()) {
            Some(change) => drifted.push((*action, what.as_str(), change.before.as_ref().map(ShapeLine::to_shape))),
            None if *action == Action::Run => drifted.push((*action, what.as_str(), None)),
            None => return Err(Divergence::new(index, "this change, as decided", "none").about(what)),
        }
    }
    if let Some(more) = rest.next() {
        return Err(Divergence::new(index, "no change that was not decided on", "one").about(&more.what));
    }
    let hash = set_of(drifted.into_iter());
    if hash == set.hash {
        return Ok(());
    }
    Err(Divergence::new(
        index,
        format!("the drift that was decided on, {}", set.hash),
        format!("another, {hash}"),
    ))
}
