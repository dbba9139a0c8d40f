//! `jos hub …` and `jos image …`: programs of a Linux or macOS workstation.

use std::ffi::OsString;

use crate::cli::{Done, Failure};

/// Everything after the name.
#[derive(clap::Args)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub(crate) struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

/// Refuses, by name.
pub(crate) fn run(program: &str, args: &Args) -> Done {
    let _ = &args.arguments;
    let failure = Failure::failed(format!("the program {program} is not on Windows"));
    Err(failure.help("run it on Linux or macOS; documents that it takes and gives are the same everywhere"))
}
