//! `jos agent diff`: the device against its ledger.

use std::path::{Path, PathBuf};

use jos_runtime::disk::Disk;
use jos_runtime::replay::{self, Watch};
use serde_json::json;

use crate::cli::archive::At;
use crate::cli::replay::differences;
use crate::cli::{Done, Failure, Ui};

/// Show where the device is not as its ledger says
///
/// Only reads. Paths that a flow wrote once, or that are shared with others, may differ and are said to.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos agent diff portal\n  \
    jos agent diff --ledger data/portal --root scratch\n\n\
    Exit codes: 0 no managed path differs, 1 one does, 2 bad use.")]
pub(crate) struct Args {
    #[command(flatten)]
    at: At,
    /// The tree that is looked at [default: /]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Done {
    let found = args.at.find()?;
    let root = args.root.as_deref().unwrap_or(Path::new("/"));
    let disk = Disk::open(root, "0").map_err(Failure::invalid)?;
    let archive = found.archive()?;
    let run = replay::run(&archive, Watch::Nothing).map_err(|e| found.damaged(&e))?;
    if let Some(divergence) = &run.divergence {
        let help = "a ledger that does not follow says nothing of the device; `jos replay` says more";
        return Err(Failure::failed(format!("{}: {divergence}", found.shown())).help(help));
    }
    let mut blob = |digest: &jos_trust::Digest| archive.blob(digest).ok().flatten();
    let all = run
        .machine
        .differences(&disk, &|_| None, &mut blob)
        .map_err(Failure::failed)?;
    let paths = run.machine.paths().len();
    let mut text = differences(&all, ui);
    if all.is_empty() {
        text = format!("{}: {paths} paths are as the ledger says\n", found.shown());
    }
    ui.result(
        &json!({ "ledger": found.shown(), "root": root, "paths": paths, "differences": all }),
        text,
    );
    Ok(u8::from(all.iter().any(|d| d.held)))
}
