//! The command line: one file a command, one printer at the edge.
//!
//! Owns the tree of commands, the exit codes (0 done, 1 refused or failed, 2 bad use or bad input) and how results and
//! errors reach a person or a script. Standard output carries the result, standard error the diagnostics.

mod ui;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub(crate) use ui::{Done, Failure, Ui};

/// Declarative, config-driven appliances: every change is an inert decision that one plane gates, records and applies.
#[derive(Parser)]
#[command(name = "jos", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 refused or failed, 2 bad use or invalid input.\n\
    Every command takes --json; errors are then one JSON object on standard error.")]
struct Cli {
    /// Print the result as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {}

/// Parses the command line, runs the command, prints what went wrong.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let ui = Ui::new(cli.json);
    let done: Done = match cli.command {};
    ui.finish(done)
}
