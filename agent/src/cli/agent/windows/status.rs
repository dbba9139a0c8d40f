//! `jos agent status` on Windows: what the service control manager says, what the agent says of itself, what its ledger says.

use std::fmt::Write as _;

use jos_schemas::text::Name;
use serde_json::{Value, json};
use windows_service::service::{ServiceAccess, ServiceStartType, ServiceState};

use crate::cli::{Done, Failure, Ui};
use crate::daemon::{Live, run_dir};
use crate::installed::{self, Agent};
use crate::lock::Lock;
use crate::place::Place;
use crate::world::services;

/// Show how the agent is: its process, the version in force, its last outcome
///
/// Puts together what the service control manager says, what the agent says of itself and what its ledger says.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos agent status\n  \
    jos agent status --json\n\n\
    Exit codes: 0 it runs, 1 it does not (or there is none).")]
pub(crate) struct Args {
    /// The agent's name; must be the one of this machine
    #[arg(value_parser = name)]
    name: Option<Name>,
}

fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|e| e.to_string())
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Done {
    let place = Place::new(None);
    let agent = installed::read(&place).map_err(Failure::invalid)?;
    let agent = agent.filter(|agent| args.name.as_ref().is_none_or(|name| *name == agent.name));
    let Some(agent) = agent else {
        let message = match &args.name {
            Some(name) => format!("no agent is called {:?}", name.as_str()),
            None => "no agent is installed".to_owned(),
        };
        return Err(Failure::failed(message).help("`jos agent install STATE --trust TRUST` installs one"));
    };
    let (value, running) = look(&agent)?;
    ui.result(&value, text(&value, ui));
    Ok(u8::from(!running))
}

fn look(agent: &Agent) -> Result<(Value, bool), Failure> {
    let access = ServiceAccess::QUERY_STATUS | ServiceAccess::QUERY_CONFIG;
    let service = services::open(agent.service(), access).map_err(Failure::failed)?;
    let status = service.as_ref().and_then(|s| s.query_status().ok());
    let enabled = service.as_ref().and_then(|s| s.query_config().ok());
    let enabled = enabled.map(|config| config.start_type == ServiceStartType::AutoStart);
    let run_dir = run_dir(&agent.state_dir(), agent.name.as_str());
    // Only the words of a process that runs are of now.
    let held = Lock::is_held(&run_dir.join("lock"));
    let live = Live::read(&run_dir);
    let state = match status.as_ref().map(|s| s.current_state) {
        _ if held => "running",
        Some(ServiceState::Running | ServiceState::StartPending) => "starting",
        Some(ServiceState::StopPending) => "stopping",
        Some(_) => "stopped",
        None => "not installed",
    };
    let current = live.as_ref().filter(|_| held);
    let plane = live.as_ref().map_or(Value::Null, |l| l.plane.clone());
    let value = json!({
        "name": agent.name,
        "product": agent.config.product,
        "init": "windows",
        "service": agent.service(),
        "user": "LocalSystem",
        "state": state,
        "since": current.map(|l| &l.started),
        "pid": current.map(|l| l.pid),
        "enabled": enabled,
        "phase": current.map(|l| &l.phase),
        "turns": current.map(|l| l.turns),
        "last_turn": live.as_ref().and_then(|l| l.last_turn.clone()),
        "next_wake": current.and_then(|l| l.next_wake.clone()),
        "version": plane["in_force"].as_array().and_then(|all| all.last()).map(|s| s["version"].clone()),
        "last_outcome": plane["last"],
        "ledger": plane["ledger"],
        "plane": plane,
        "trouble": live.as_ref().and_then(|l| l.trouble.clone()),
        "state_dir": agent.state_dir(),
    });
    Ok((value, held))
}

fn text(value: &Value, ui: &Ui) -> String {
    let mut out = String::new();
    let word = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let _ = writeln!(out, "{}", ui.paint("1", &word("name")));
    let mut line = |key: &str, text: String| {
        if !text.is_empty() {
            let _ = writeln!(out, "  {key:<12} {text}");
        }
    };
    let colour = if value["state"] == "running" { "32" } else { "33" };
    let since = value["since"]
        .as_str()
        .map(|s| format!(" since {s}"))
        .unwrap_or_default();
    let pid = value["pid"]
        .as_u64()
        .map(|p| format!(", process {p}"))
        .unwrap_or_default();
    line("state", format!("{}{since}{pid}", ui.paint(colour, &word("state"))));
    let boot = match value["enabled"].as_bool() {
        Some(true) => ", starts with Windows",
        Some(false) => ", does not start with Windows",
        None => "",
    };
    line("service", format!("{} (as LocalSystem){boot}", word("service")));
    line(
        "version",
        value["version"].as_u64().map(|v| v.to_string()).unwrap_or_default(),
    );
    line("last turn", word("last_turn"));
    line("next look", word("next_wake"));
    let head = &value["ledger"];
    if let (Some(count), Some(hash)) = (head["count"].as_u64(), head["hash"].as_str()) {
        line("ledger", format!("{count} records, head {hash}, unanchored"));
    }
    line("trouble", word("trouble"));
    line("data", word("state_dir"));
    out
}
