//! `jos-image inspect`: what a package holds, and whether its parts agree.

use std::path::PathBuf;

use super::ui::{Done, Failure, Ui};
use crate::formats::inspect_file;

/// Show what a .deb, .ipk, .apk or .pkg holds
#[derive(clap::Args)]
#[command(
    after_help = "Example: jos-image inspect dist/captive-portal/*.ipk\n\nExit code 1 when its parts do not agree."
)]
pub(super) struct Args {
    /// The package; its kind is told by its content
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Done {
    let report = inspect_file(&args.file).map_err(|e| {
        Failure::invalid(format!("{}: {e}", args.file.display())).help("give a .deb, .ipk, .apk or .pkg")
    })?;
    ui.result(&report, &report);
    Ok(u8::from(!report.problems.is_empty()))
}
