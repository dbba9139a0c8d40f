//! `jos agent fetcher`: the network half; started by the plane only.

use crate::cli::{Done, Failure};

/// Options of `jos agent fetcher`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A name in the folder that is descriptor 0
    #[arg(long)]
    file: String,
    /// The plane is root, so this process must not be
    #[arg(long)]
    of_root: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    crate::run::fetcher::run(&args.file, args.of_root).map_err(|e| Failure::failed(format!("network half: {e}")))?;
    Ok(0)
}
