//! `jos agent apply`: brings a signed desired state about, or leaves everything as it was.

use clap::Args as ClapArgs;

use super::applying::{Target, failed};
use crate::cli::{Done, Ui};

/// Apply a signed desired state, with rollback
///
/// Verifies the state, holds every step against the policy, records the decision in the ledger, notes how everything
/// is, then acts. A step or a health check that fails takes everything back. Applying the same state twice changes
/// nothing the second time and says so. A version that failed is not tried again: issue a higher one.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    jos agent apply state.json                            on this machine\n  \
    jos agent apply baseline.json --source baseline --root ./image\n                                                        \
    into an image: services, commands and health wait for its first boot\n  \
    jos agent apply state.json --wait 60                  when the agent may be at work itself\n\n\
    Exit codes: 0 applied or unchanged, 1 refused, unsupported or rolled back, 2 bad use or invalid input.")]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Done {
    let ready = args.target.ready()?;
    let plane = ready.plane()?;
    // First of all what an earlier apply left half done.
    if let Some(recovered) = plane.recover().map_err(failed)? {
        eprint!("jos: an interrupted change was found\n{recovered}");
    }
    let state = ready.verified(&plane, true)?;
    let outcome = plane.apply(&state).map_err(failed)?;
    ui.result(&outcome, outcome.text(&|sgr, text| ui.paint(sgr, text)));
    Ok(outcome.exit_code())
}
