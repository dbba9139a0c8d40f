//! `jos agent list`: installed agents and a baked one alike.

use std::fmt::Write as _;

use serde_json::json;

use super::status;
use crate::cli::{Done, Ui};
use crate::installed;
use crate::place::Place;

/// List the agents on this machine, installed and baked in
///
/// As root those of all users, else your own and the one that a package brought.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos agent list\n  \
    jos agent list --root ./image          of a folder that will be a machine")]
pub(crate) struct Args {
    /// Look into this folder instead of the running machine
    #[arg(long, value_name = "DIR")]
    root: Option<std::path::PathBuf>,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Done {
    let place = Place::new(args.root.clone());
    let agents = installed::all(&place);
    let mut values = Vec::new();
    let mut text = String::new();
    for agent in &agents {
        let state = status::look(&place, agent).state;
        let kind = if agent.baked() { "baked" } else { "installed" };
        let what = agent
            .config
            .as_ref()
            .ok()
            .and_then(|c| c.artifact.as_ref().or(c.state.as_ref()))
            .map(ToString::to_string);
        values.push(json!({
            "name": agent.name, "kind": kind, "init": agent.init(&place), "service": agent.service(),
            "user": agent.owner.name, "state": state.state, "artifact": what, "folder": agent.folder,
        }));
        let what = what.as_deref().unwrap_or("-");
        let _ = writeln!(
            text,
            "{:<24} {:<9} {:<8} {:<12} {:<8} {what}",
            agent.name.as_str(),
            kind,
            agent.init(&place).word(),
            state.state,
            agent.owner.name
        );
    }
    if agents.is_empty() {
        text.push_str("no agent is installed; `jos agent install ARTIFACT` installs one\n");
    } else {
        text.insert_str(
            0,
            &format!(
                "{:<24} {:<9} {:<8} {:<12} {:<8} {}\n",
                "NAME", "KIND", "INIT", "STATE", "USER", "RUNS"
            ),
        );
    }
    ui.result(&json!({ "agents": values }), text);
    Ok(0)
}
