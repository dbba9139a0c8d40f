//! `jos agent run`: in the foreground; what the services call.

use std::path::PathBuf;

use super::common;
use crate::cli::Done;
use crate::run::settings::Given;

/// Run an agent in the foreground: what the services call
///
/// Takes back what a crash left half done, runs the artifact's flow once, then looks at the world every interval and puts
/// right what is not as the state says. SIGHUP reads everything again; SIGTERM and Ctrl-C end it within a second. Its log
/// goes to standard error.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos agent run --config /etc/jos/agent.toml\n  \
    jos agent run state.json --policy policy.toml --trust trust.json --state-dir ./data --once\n\n\
    JOS_LOG says how much is logged: off, error, warn, info (default) or debug. An artifact runs only where the policy lists\n\
    its SHA-256, which `jos agent install` does.\n\
    Exit codes: 0 ended as told, 1 refused or failed, 2 bad use or invalid input.")]
pub(crate) struct Args {
    /// The .jos artifact or desired state [default: what agent.toml names]
    #[arg(value_name = "ARTIFACT")]
    artifact: Option<PathBuf>,
    /// Settings [default: /etc/jos/agent.toml where no artifact is given]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of the hub (https), tried before those that the device was enrolled with
    #[arg(long, value_name = "URL", value_parser = common::hub)]
    hub: Option<String>,
    /// What it may do [default: what agent.toml names, else /etc/jos/policy.toml]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Whose signatures count [default: what agent.toml names, else /usr/share/jos/trust.json]
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Where its data lies [default: what agent.toml names, else /var/lib/jos as root, else ~/.jos/state]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Seconds between two looks at the world, 1 to 86400 [default: what agent.toml says, else 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    interval: Option<u32>,
    /// Run the flow and one turn, then end; exit code 1 when something is not as it should be
    #[arg(long)]
    once: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    crate::logger::start();
    let given = Given {
        config: args.config.clone(),
        artifact: args.artifact.clone(),
        hub: args.hub.clone(),
        policy: args.policy.clone(),
        trust: args.trust.clone(),
        state_dir: args.state_dir.clone(),
        interval: args.interval,
    };
    crate::run::daemon(&given, args.once)
}
