//! `jos-image diff`: what differs between two packages.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::ui::{Done, Failure, Ui};
use crate::diff::diff;
use crate::formats::{Report, inspect_file};

/// Say what differs between two packages
#[derive(clap::Args)]
#[command(after_help = "\
Control fields, scripts, files with mode, owner and content; of texts the lines. The two may be of different kinds: an .ipk
and the .apk of the same build hold the same files.

Example: jos-image diff old/portal_1.0.0-1_mipsel_24kc.ipk dist/portal/portal_1.0.1-1_mipsel_24kc.ipk

Exit codes: 0 the same to the byte, 1 something differs, 2 one of them is no package.")]
pub(super) struct Args {
    /// The first package
    #[arg(value_name = "A")]
    old: PathBuf,
    /// The second package
    #[arg(value_name = "B")]
    new: PathBuf,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Done {
    let (old, new) = (read(&args.old)?, read(&args.new)?);
    let all = diff(&old, &new);
    let text: String = match all.is_empty() {
        true => "the same to the byte\n".to_owned(),
        false => all.iter().map(|one| format!("{one}\n")).collect(),
    };
    ui.result(&json!({ "differences": all }), text);
    Ok(u8::from(!all.is_empty()))
}

fn read(path: &Path) -> Result<Report, Failure> {
    inspect_file(path)
        .map_err(|e| Failure::invalid(format!("{}: {e}", path.display())).help("give a .deb, .ipk, .apk or .pkg"))
}
