//! `jos agent plan`: what applying a state would change. Changes nothing.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::applying::{Target, failed};
use crate::cli::{Done, Failure, Ui};

/// Show what applying a signed desired state would change
///
/// Verifies the state, holds it against the policy and compares it with what is there. Secrets are shown by name.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    jos agent plan state.json                      on this machine, by /etc/jos/policy.toml\n  \
    jos agent plan state.json --root ./image       on a folder that will become a machine\n  \
    jos agent plan state.json --trust trust.json --policy policy.toml --root ./scratch --state-dir ./data\n                                                 \
    on nothing but what lies here\n\n\
    Exit codes: 0 it could be applied (or nothing would change), 1 refused, 2 bad use or invalid input.")]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Done {
    let mut ready = args.target.ready()?;
    // Without data there is nothing to read, and a plan makes none: it works in a folder that goes with it.
    let scratch = if ready.state_dir().is_dir() {
        None
    } else {
        Some(Scratch::new()?)
    };
    if let Some(scratch) = &scratch {
        ready.with_state_dir(&scratch.0);
    }
    let plane = ready.plane()?;
    let state = ready.verified(&plane, false)?;
    let plan = plane.plan(&state).map_err(failed)?;
    ui.result(&plan, plan.text(&|sgr, text| ui.paint(sgr, text)));
    Ok(u8::from(!plan.is_possible()))
}

/// A private folder that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let unlike = crate::files::unlike_any_other().map_err(Failure::failed)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "the name is random and the folder is made exclusively, for us alone"
        )]
        let path = std::env::temp_dir().join(format!("jos-plan-{unlike}"));
        let made = jos_runtime::disk::make_private_new(&path);
        made.map_err(|e| Failure::failed(format!("{}: cannot make: {e}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
