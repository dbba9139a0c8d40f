//! `jos agent supervise`: what stands in for an init system (see `services::generic`).

use std::path::{Path, PathBuf};

use crate::cli::{Done, Failure};
use crate::place::{Place, run_dir};
use crate::{files, installed, services};

/// Options of `jos agent supervise`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// agent.toml
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Log file [default: ~/.jos/logs/NAME.log]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// End when the first start fails
    #[arg(long, hide = true)]
    must_start: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    let bytes = files::read(&args.config, 1 << 20).map_err(Failure::invalid)?;
    let config = installed::parse(&args.config, &bytes).map_err(Failure::invalid)?;
    let owner = Place::new(None).caller();
    let state_dir = config
        .state_dir
        .as_ref()
        .map_or_else(|| owner.state_dir(), |p| PathBuf::from(p.as_str()));
    let log = args
        .log
        .clone()
        .unwrap_or_else(|| owner.logs().join(format!("{}.log", config.name)));
    services::supervise(
        &args.config,
        &log,
        &run_dir(Path::new(&state_dir), config.name.as_str()),
        args.must_start,
    )
    .map_err(Failure::failed)?;
    Ok(0)
}
