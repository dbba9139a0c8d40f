//! `jos hub …` and `jos image …`: the programs `jos-hub` and `jos-image`, found beside `jos` or on PATH, as git does it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::{Done, Failure};

/// Everything after the name goes to the program as it is.
#[derive(clap::Args)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

/// Becomes that program; returns only when it is not there.
pub(crate) fn run(program: &str, args: &Args) -> Done {
    let Some(path) = find(program) else {
        let what = program.trim_start_matches("jos-");
        return Err(Failure::failed(format!(
            "{program} is not installed: it is neither beside jos nor on PATH"
        ))
        .help(format!(
            "`jos {what}` runs the program {program}; install it, or run it by its path"
        )));
    };
    let error = Command::new(&path).args(&args.arguments).exec();
    Err(Failure::failed(format!("{}: {error}", path.display())))
}

fn find(program: &str) -> Option<PathBuf> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join(program)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(program));
    beside.into_iter().chain(on_path).find(|p| is_program(p))
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|m| m.is_file() && std::os::unix::fs::PermissionsExt::mode(&m.permissions()) & 0o111 != 0)
}
