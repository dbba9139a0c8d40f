//! `jos agent run`: in the foreground; what the services call.

use std::path::PathBuf;

use super::common;
use crate::cli::Done;
use crate::run::settings::Given;

/// Options of `jos agent run`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The .jos artifact or desired state [default: what agent.toml names]
    artifact: Option<PathBuf>,
    /// Settings [default: /etc/jos/agent.toml where no artifact is given]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of the hub; checked and shown, not contacted by this build
    #[arg(long, value_name = "URL", value_parser = common::hub)]
    hub: Option<String>,
    /// What it may do [default: what agent.toml names, else /etc/jos/policy.toml]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Whose signatures count [default: what agent.toml names, else /usr/share/jos/trust.json]
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Where its data lies [default: /var/lib/jos as root, else ~/.jos/state]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Seconds between two looks at the world [default: 60]
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
