//! `jos agent guard`: the process that sees the agent through its own upgrade. Started by the agent, never by a person.

use std::path::PathBuf;

use jos_runtime::{Plane, setup_of};

use crate::cli::{Done, Failure};
use crate::world::{Real, built};

/// Options of `jos agent guard`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The journal of the agent
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Go on with the trial of this tag; otherwise what is found is taken back
    #[arg(long, value_name = "TAG", conflicts_with = "finish")]
    forward: Option<String>,
    /// The new program's part
    #[arg(long)]
    finish: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    if args.finish {
        // Whoever asked takes the change back when this process is gone; so it must not outlive him.
        #[cfg(target_os = "linux")]
        let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
    }
    if !args.folder.join("trial.json").exists() {
        log::info!("{}: there is no upgrade to see to", args.folder.display());
        return Ok(0);
    }
    let setup = setup_of(&args.folder, built()).map_err(Failure::failed)?;
    let real = Real::new();
    let plane = Plane::open(setup, real.world()).map_err(Failure::failed)?;
    if args.finish {
        return plane
            .finish_upgrade()
            .map(|kept| u8::from(!kept))
            .map_err(Failure::failed);
    }
    let outcome = plane.guard_upgrade(args.forward.as_deref()).map_err(Failure::failed)?;
    if let Some(outcome) = &outcome {
        log::info!("upgrade: {outcome}");
    }
    Ok(u8::from(outcome.is_some_and(|o| !o.left.is_empty())))
}
