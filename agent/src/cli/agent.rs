//! `jos agent …`: the agent as a service on this machine.

mod apply;
mod applying;
mod common;
mod diff;
mod enrol;
mod fetcher;
mod floors;
mod guard;
mod install;
mod list;
mod logs;
mod plan;
mod recover;
mod run;
mod status;
mod status_hub;
mod supervise;
mod uninstall;

use clap::Subcommand;

use super::{Done, Ui};

/// What an agent's service is called where its configuration does not say; no state may touch it.
pub(crate) const SERVICE: &str = "jos-agent";

/// What can be done with agents.
#[derive(Subcommand)]
#[command(after_help = "\
An agent is a service that runs one .jos artifact, or keeps this machine as one signed desired state says.
It may do what its policy grants and nothing else; `install` writes that policy, shows it and asks.

  jos agent install kiosk.jos                      the artifact's commands are shown, granted and run at every start
  jos agent install state.json --trust trust.json  a signed state is kept converged, drift is put right
  jos agent enrol jos1-…                           makes this device known to its hub
  jos agent status kiosk                           state, version, last outcome, next look, confinement
  jos agent uninstall kiosk                        the service goes, its ledger stays (--purge drops it too)
  jos agent plan state.json --root ./image         what a state would change, in a folder that will be a machine

Files: ~/.jos/agents/NAME/ (artifact, agent.toml, policy.toml, trust.json, environment), data in /var/lib/jos or
~/.jos/state, services in /etc/systemd/system, ~/.config/systemd/user, /etc/init.d, /Library/LaunchDaemons or
~/Library/LaunchAgents.")]
pub(crate) enum AgentCommand {
    Plan(plan::Args),
    Apply(apply::Args),
    Diff(diff::Args),
    Recover(recover::Args),
    Floors(floors::Args),
    Install(install::Args),
    Enrol(enrol::Args),
    Uninstall(uninstall::Args),
    Status(status::Args),
    Logs(logs::Args),
    List(list::Args),
    Run(run::Args),
    #[command(hide = true)]
    Supervise(supervise::Args),
    #[command(hide = true)]
    Fetcher(fetcher::Args),
    #[command(hide = true)]
    Guard(guard::Args),
    #[command(hide = true)]
    Forget(uninstall::ForgetArgs),
}

/// Calls the command.
pub(crate) fn run(command: &AgentCommand, ui: &Ui) -> Done {
    match command {
        AgentCommand::Plan(args) => plan::run(args, ui),
        AgentCommand::Apply(args) => apply::run(args, ui),
        AgentCommand::Recover(args) => recover::run(args, ui),
        AgentCommand::Floors(args) => floors::run(args, ui),
        AgentCommand::Diff(args) => diff::run(args, ui),
        AgentCommand::Install(args) => install::run(args, ui),
        AgentCommand::Enrol(args) => enrol::run(args, ui),
        AgentCommand::Uninstall(args) => uninstall::run(args, ui),
        AgentCommand::Status(args) => status::run(args, ui),
        AgentCommand::Logs(args) => logs::run(args, ui),
        AgentCommand::List(args) => list::run(args, ui),
        AgentCommand::Run(args) => run::run(args),
        AgentCommand::Supervise(args) => supervise::run(args),
        AgentCommand::Fetcher(args) => fetcher::run(args),
        AgentCommand::Guard(args) => guard::run(args),
        AgentCommand::Forget(args) => uninstall::run_forget(args),
    }
}
