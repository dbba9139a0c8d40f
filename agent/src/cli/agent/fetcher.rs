//! `jos agent fetcher`: the network half; started by the plane only.

use crate::cli::{Done, Failure};
use crate::run::fetcher::Work;

/// Options of `jos agent fetcher`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A name in the folder that is descriptor 0
    #[arg(long)]
    file: Option<String>,
    /// Speak to the hub that the first message names
    #[arg(long, conflicts_with = "file", required_unless_present = "file")]
    hub: bool,
    /// The plane is root, so this process must not be
    #[arg(long)]
    of_root: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    let work = args.file.as_deref().map_or(Work::Hub, Work::File);
    crate::run::fetcher::run(&work, args.of_root).map_err(|e| Failure::failed(format!("network half: {e}")))?;
    Ok(0)
}
