//! The command line: one file a command, one printer at the edge.
//!
//! Owns the tree of commands, the exit codes (0 done, 1 refused or failed, 2 bad use or bad input) and how results and
//! errors reach a person or a script. Standard output carries the result, standard error the diagnostics.

mod agent;
mod archive;
mod beside;
mod blame;
mod key;
mod ledger;
#[cfg(feature = "full")]
mod manual;
mod policy;
mod replay;
mod schema;
mod sign;
mod signing;
mod trust;
mod ui;
mod validate;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub(crate) use ui::{Done, Failure, Ui};

/// Declarative, config-driven appliances: every change is an inert decision that one plane gates, records and applies.
#[derive(Parser)]
#[command(name = "jos", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Examples:\n  \
    jos agent install kiosk.jos                                  a service out of a .jos artifact\n  \
    jos key new --out admin.key                                  a signed state, from key to device:\n  \
    jos trust init --key admin.key --out trust.json\n  \
    jos sign --key admin.key state.toml\n  \
    jos agent plan state.json --trust trust.json --policy policy.toml\n  \
    jos agent install state.json --trust trust.json\n\n\
    Every command's --help has examples of its own.\n\
    Exit codes: 0 done, 1 refused or failed, 2 bad use or invalid input.\n\
    With --json the result is JSON on standard output, an error one JSON object on standard error.")]
struct Cli {
    /// Print the result, or the error, as JSON
    #[arg(long, global = true)]
    json: bool,
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
    Key(key::KeyCommand),
    Sign(sign::SignCommand),
    Verify(verify::VerifyCommand),
    Trust(trust::TrustCommand),
    /// Say what a policy grants, and which line of it is missing
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    Validate(validate::ValidateCommand),
    Schema(schema::SchemaCommand),
    /// Run the program jos-hub
    Hub(beside::Args),
    /// Run the program jos-image: bake packages and images
    Image(beside::Args),
    #[cfg(feature = "full")]
    Completions(manual::CompletionsArgs),
    #[cfg(feature = "full")]
    Man(manual::ManArgs),
}

/// Parses the command line, runs the command, prints what went wrong.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let ui = Ui::new(cli.json);
    let done: Done = match &cli.command {
        Command::Ledger(command) => ledger::run(command, &ui),
        Command::Replay(args) => replay::run(args, &ui),
        Command::Blame(args) => blame::run(args, &ui),
        Command::Key(command) => key::run(command, &ui),
        Command::Sign(command) => sign::run(command, &ui),
        Command::Verify(command) => verify::run(command, &ui),
        Command::Trust(command) => trust::run(command, &ui),
        Command::Policy(command) => policy::run(command, &ui),
        Command::Validate(command) => validate::run(command, &ui),
        Command::Schema(command) => schema::run(command, &ui),
        Command::Agent(command) => agent::run(command, &ui),
        Command::Hub(args) => beside::run("jos-hub", args),
        Command::Image(args) => beside::run("jos-image", args),
        #[cfg(feature = "full")]
        Command::Completions(args) => manual::completions(args, &<Cli as clap::CommandFactory>::command(), &ui),
        #[cfg(feature = "full")]
        Command::Man(args) => manual::man(args, <Cli as clap::CommandFactory>::command(), &ui),
    };
    ui.finish(done)
}
