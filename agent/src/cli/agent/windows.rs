//! `jos agent …` on Windows: one agent a machine, a Windows service, kept by the state of a local folder.

#[path = "apply.rs"]
mod apply;
#[path = "applying.rs"]
mod applying;
#[path = "diff.rs"]
mod diff;
#[path = "windows/install.rs"]
mod install;
#[path = "plan.rs"]
mod plan;
#[path = "windows/run.rs"]
mod run;
#[path = "windows/status.rs"]
mod status;
#[path = "windows/uninstall.rs"]
mod uninstall;

use std::ffi::OsString;

use clap::Subcommand;

use super::{Done, Failure, Ui};

/// The service where the configuration does not say otherwise, and how the service manager shows it.
pub(crate) const SERVICE: &str = "jos";
pub(crate) const TITLE: &str = "jos agent";
pub(crate) const DESCRIPTION: &str = "Keeps this machine as its signed desired state says";

/// What can be done with the agent.
#[derive(Subcommand)]
#[command(after_help = "\
The agent is the service \"jos\", which keeps this machine as one signed desired state says.
It may do what its policy grants and nothing else; `install` writes that policy, shows it and asks.

  jos agent install state.json --trust trust.json  a signed state is kept converged, drift is put right
  jos agent install                                the service alone, for an agent.toml that is there
  jos agent status                                 state, version, last outcome, next look
  jos agent uninstall                              the service goes, its ledger stays (--purge drops it too)
  jos agent plan state.json                        what a state would change

Documents name paths from / on, which is the drive that Windows is on: /ProgramData/acme/app.ini.
Files: C:\\ProgramData\\jos (agent.toml, policy.toml, share, state); only the system and administrators may enter it.
There is no hub on Windows yet, no .jos artifact and no [runtime]: each is refused by name.")]
pub(crate) enum AgentCommand {
    Plan(plan::Args),
    Apply(apply::Args),
    Diff(diff::Args),
    Install(install::Args),
    Uninstall(uninstall::Args),
    Status(status::Args),
    Run(run::Args),
    #[command(hide = true)]
    Enrol(Absent),
    #[command(hide = true)]
    Recover(Absent),
    #[command(hide = true)]
    Floors(Absent),
    #[command(hide = true)]
    Logs(Absent),
    #[command(hide = true)]
    List(Absent),
}

/// What a command that is not here was given.
#[derive(clap::Args)]
pub(crate) struct Absent {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    arguments: Vec<OsString>,
}

/// Calls the command.
pub(crate) fn run(command: &AgentCommand, ui: &Ui) -> Done {
    match command {
        AgentCommand::Plan(args) => plan::run(args, ui),
        AgentCommand::Apply(args) => apply::run(args, ui),
        AgentCommand::Diff(args) => diff::run(args, ui),
        AgentCommand::Install(args) => install::run(args, ui),
        AgentCommand::Uninstall(args) => uninstall::run(args, ui),
        AgentCommand::Status(args) => status::run(args, ui),
        AgentCommand::Run(args) => run::run(args, ui),
        AgentCommand::Enrol(args) => absent("enrol", args, "a hub is called from Linux and macOS so far"),
        AgentCommand::Recover(args) => absent(
            "recover",
            args,
            "the agent does it at its start, and so does `jos agent apply`",
        ),
        AgentCommand::Floors(args) => absent("floors", args, "`jos agent status` shows the version in force"),
        AgentCommand::Logs(args) => absent("logs", args, "read C:\\ProgramData\\jos\\agent.log"),
        AgentCommand::List(args) => absent("list", args, "a machine has one agent: `jos agent status` shows it"),
    }
}

fn absent(command: &str, args: &Absent, help: &str) -> Done {
    let _ = &args.arguments;
    Err(Failure::failed(format!("`jos agent {command}` is not on Windows yet")).help(help))
}
