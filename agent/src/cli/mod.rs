//! The command line: one file a command, one printer at the edge.
//!
//! Owns the tree of commands, the exit codes (0 done, 1 refused or failed, 2 bad use or bad input) and how results and
//! errors reach a person or a script. Standard output carries the result, standard error the diagnostics.

#[cfg(any(test, not(feature = "full")))]
mod absent;
#[cfg_attr(windows, path = "agent/windows.rs")]
pub(crate) mod agent;
mod archive;
mod blame;
#[cfg(feature = "desk")]
mod desk;
mod ledger;
mod replay;
#[cfg(feature = "runtime")]
mod runtime;
mod signing;
mod trust;
mod ui;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub(crate) use ui::{Done, Failure, Ui};

const NOTES: &str = if cfg!(feature = "desk") {
    "Examples:\n  \
    jos agent install kiosk.jos                                  a service out of a .jos artifact\n  \
    jos key new --out admin.key                                  a signed state, from key to device:\n  \
    jos trust init --key admin.key --out trust.json\n  \
    jos sign --key admin.key state.toml\n  \
    jos agent plan state.json --trust trust.json --policy policy.toml\n  \
    jos agent install state.json --trust trust.json\n\n\
    Every command's --help has examples of its own.\n\
    Exit codes: 0 done, 1 refused or failed, 2 bad use or invalid input.\n\
    With --json the result is JSON on standard output, an error one JSON object on standard error."
} else {
    "Examples:\n  \
    jos agent install kiosk.jos                                  a service out of a .jos artifact\n  \
    jos agent plan state.json --trust trust.json --policy policy.toml\n  \
    jos agent install state.json --trust trust.json\n\n\
    This build is made for devices. Keys, trust, signatures and checks of documents are made on a workstation.\n\
    Every command's --help has examples of its own.\n\
    Exit codes: 0 done, 1 refused or failed, 2 bad use or invalid input.\n\
    With --json the result is JSON on standard output, an error one JSON object on standard error."
};

/// Declarative, config-driven appliances: every change is an inert decision that one plane gates, records and applies.
#[derive(Parser)]
#[command(name = "jos", version, propagate_version = true, arg_required_else_help = true, after_help = NOTES)]
struct Cli {
    /// Print the result, or the error, as JSON
    #[arg(long, global = true)]
    json: bool,
    /// The data directory of a node (`jos runtime`)
    #[cfg(feature = "runtime")]
    #[arg(long, global = true, hide = true, value_name = "DIR")]
    data_dir: Option<std::path::PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install, run and watch agents on this machine
    #[command(subcommand)]
    Agent(agent::AgentCommand),
    Ledger(ledger::LedgerCommand),
    Replay(replay::ReplayArgs),
    Blame(blame::BlameArgs),
    Trust(trust::TrustCommand),
    #[cfg(feature = "desk")]
    #[command(flatten)]
    Desk(desk::DeskCommand),
    #[cfg(feature = "runtime")]
    Runtime(runtime::RuntimeCommand),
    #[cfg(feature = "runtime")]
    #[command(flatten)]
    Short(runtime::ShortVerb),
}

/// Parses the command line, runs the command, prints what went wrong.
pub(crate) fn main() -> ExitCode {
    #[cfg(not(feature = "full"))]
    if let Some(failure) = absent::refusal(std::env::args_os().skip(1).filter_map(|word| word.into_string().ok())) {
        return Ui::new(std::env::args_os().any(|word| word == "--json")).finish(Err(failure));
    }
    let cli = Cli::parse();
    let ui = Ui::new(cli.json);
    let done: Done = match &cli.command {
        Command::Agent(command) => agent::run(command, &ui),
        Command::Ledger(command) => ledger::run(command, &ui),
        #[cfg(feature = "runtime")]
        Command::Replay(args) if args.is_of_a_node(cli.data_dir.is_some()) => {
            runtime::replay_node(cli.data_dir.as_deref(), args.verbose, &ui)
        }
        Command::Replay(args) => replay::run(args, &ui),
        #[cfg(feature = "runtime")]
        Command::Blame(args) if args.is_of_a_node(cli.data_dir.as_deref()) => {
            args.of_a_node(cli.data_dir.as_deref(), &ui)
        }
        Command::Blame(args) => blame::run(args, &ui),
        Command::Trust(command) => trust::run(command, &ui),
        #[cfg(feature = "desk")]
        Command::Desk(command) => desk::run::<Cli>(command, &ui),
        #[cfg(feature = "runtime")]
        Command::Runtime(command) => runtime::run(command, cli.data_dir.as_deref(), &ui),
        #[cfg(feature = "runtime")]
        Command::Short(verb) => runtime::run_short(verb, cli.data_dir.as_deref(), &ui),
    };
    ui.finish(done)
}
