//! `jos completions` and `jos man`: made from the command tree itself.

use std::path::PathBuf;

use serde_json::json;

use super::{Done, Failure, Ui};

/// Options of `jos completions`.
#[derive(clap::Args)]
#[command(after_help = "For bash: jos completions bash > ~/.local/share/bash-completion/completions/jos")]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

/// Options of `jos man`.
#[derive(clap::Args)]
pub(crate) struct ManArgs {
    /// The folder that the pages go to; made when it is not there
    dir: PathBuf,
}

/// Prints the script.
pub(crate) fn completions(args: &CompletionsArgs, mut tree: clap::Command, ui: &Ui) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut tree, "jos", &mut script);
    let script = String::from_utf8(script).map_err(Failure::failed)?;
    ui.result(&json!({ "shell": args.shell.to_string(), "script": script }), &script);
    Ok(0)
}

/// Writes one page a command.
pub(crate) fn man(args: &ManArgs, tree: clap::Command, ui: &Ui) -> Done {
    let failed = |e: std::io::Error| Failure::failed(format!("{}: {e}", args.dir.display()));
    std::fs::create_dir_all(&args.dir).map_err(failed)?;
    clap_mangen::generate_to(tree, &args.dir).map_err(failed)?;
    let mut pages: Vec<String> = std::fs::read_dir(&args.dir)
        .map_err(failed)?
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .filter(|n| n.ends_with(".1"))
        .collect();
    pages.sort();
    let text = format!("{} pages in {}", pages.len(), args.dir.display());
    ui.result(&json!({ "dir": args.dir, "pages": pages }), text);
    Ok(0)
}
