//! `jos agent status`: what the init system says, what the agent says of itself, what its ledger says.

use std::fmt::Write as _;
use std::path::PathBuf;

use jos_schemas::text::Name;
use serde_json::{Value, json};

use super::common::{self, NOT_CONTACTED};
use crate::cli::{Done, Ui};
use crate::installed::{self, Agent};
use crate::lock::Lock;
use crate::place::{Place, run_dir};
use crate::run::live::Live;
use crate::services::{Init, Service, State};

/// Options of `jos agent status`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The agent's name; all agents when absent
    #[arg(value_parser = common::name)]
    name: Option<Name>,
    /// In this folder instead of the running machine
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Done {
    let place = Place::new(args.root.clone());
    if let Some(name) = &args.name {
        let agent = common::find(&place, name)?;
        let (value, text, running) = one(&place, &agent, ui);
        ui.result(&value, text);
        // As `systemctl status`: a script sees whether it runs.
        return Ok(u8::from(!running && place.is_live()));
    }
    let agents = installed::all(&place);
    let mut values = Vec::new();
    let mut text = String::new();
    for agent in &agents {
        let (value, shown, _) = one(&place, agent, ui);
        values.push(value);
        let _ = writeln!(text, "{shown}");
    }
    if agents.is_empty() {
        text.push_str("no agent is installed; `jos agent install ARTIFACT` installs one\n");
    }
    ui.result(&json!({ "agents": values }), text);
    Ok(0)
}

/// The init system's word; where it cannot be asked, the lock's.
pub(crate) fn state(init: Init, service: &Service<'_>) -> State {
    if !service.place.is_live() {
        return State {
            state: "not started".into(),
            ..State::default()
        };
    }
    let holder = Lock::holder(&run_dir(service.state_dir, service.name.as_str()).join("lock"));
    let by_lock = || State {
        state: if holder.is_some() { "running" } else { "stopped" }.into(),
        pid: holder,
        ..State::default()
    };
    match init.state(service) {
        None => by_lock(),
        // Run by hand, or by something else: it runs all the same.
        Some(known) if holder.is_some() && matches!(known.state.as_str(), "stopped" | "not installed") => State {
            enabled: known.enabled,
            ..by_lock()
        },
        Some(known) => known,
    }
}

fn one(place: &Place, agent: &Agent, ui: &Ui) -> (Value, String, bool) {
    let init = agent.init(place);
    let mut state = common::with_service(place, agent, |service| state(init, service));
    let live = Live::read(&run_dir(&place.at(agent.state_dir()), agent.name.as_str()));
    let running = matches!(state.state.as_str(), "running");
    // A file of an earlier process says nothing of this one.
    let current = live
        .as_ref()
        .filter(|l| running && state.pid.is_none_or(|pid| pid == l.pid || pid == 0));
    if let Some(current) = current
        && state.since.is_none()
    {
        state.since = Some(current.started.clone());
    }
    let config = agent.config.as_ref().ok();
    let hub = live
        .as_ref()
        .and_then(|l| l.hub.clone())
        .or_else(|| config.and_then(|c| c.hub.as_ref()).map(|h| h.url.clone()));
    let plane = live.as_ref().map_or(&Value::Null, |l| &l.plane);
    let value = json!({
        "name": agent.name,
        "product": config.and_then(|c| c.product.clone()),
        "kind": if agent.baked() { "baked" } else { "installed" },
        "init": init,
        "service": agent.service(),
        "user": agent.owner.name,
        "state": state.state,
        "since": state.since,
        "pid": state.pid,
        "enabled": state.enabled,
        "restarts": state.restarts,
        "phase": current.map(|l| l.phase.clone()),
        "turns": current.map(|l| l.turns),
        "last_turn": live.as_ref().and_then(|l| l.last_turn.clone()),
        "next_wake": current.and_then(|l| l.next_wake.clone()),
        // The later stream overlays the earlier: the state in force goes before the baseline under it.
        "version": plane["in_force"].as_array().and_then(|all| all.last()).map(|s| s["version"].clone()),
        "last_outcome": plane["last"],
        "ledger": plane["ledger"],
        "plane": plane,
        "flow": live.as_ref().and_then(|l| l.flow.clone()),
        "fetcher": current.and_then(|l| l.fetcher),
        "fetcher_restarts": current.map(|l| l.fetcher_restarts),
        "confinement": current.map(|l| l.confinement.clone()),
        "hub": hub.as_ref().map(|url| json!({ "url": url, "contact": NOT_CONTACTED })),
        "trouble": live.as_ref().and_then(|l| l.trouble.clone()),
        "folder": agent.folder,
        "state_dir": agent.state_dir(),
        "config_error": agent.config.as_ref().err(),
    });
    let text = text(agent, init, &state, current, &value, ui);
    (value, text, running)
}

fn text(agent: &Agent, init: Init, state: &State, live: Option<&Live>, value: &Value, ui: &Ui) -> String {
    let mut out = String::new();
    let colour = match state.state.as_str() {
        "running" => "32",
        "failed" => "31",
        _ => "33",
    };
    let _ = write!(out, "{}", ui.paint("1", agent.name.as_str()));
    if let Some(product) = value["product"].as_str() {
        let _ = write!(out, "  {product}");
    }
    out.push('\n');
    let mut line = |key: &str, text: String| {
        if !text.is_empty() {
            let _ = writeln!(out, "  {key:<12} {text}");
        }
    };
    let since = state.since.as_ref().map(|s| format!(" since {s}")).unwrap_or_default();
    let pid = state.pid.map(|p| format!(", process {p}")).unwrap_or_default();
    line("state", format!("{}{since}{pid}", ui.paint(colour, &state.state)));
    let boot = match state.enabled {
        Some(true) => ", starts at boot",
        Some(false) => ", does not start at boot",
        None => "",
    };
    line(
        "service",
        format!("{} ({}, as {}){boot}", agent.service(), init.word(), agent.owner.name),
    );
    if let Some(error) = value["config_error"].as_str() {
        line("settings", ui.paint("31", error));
    }
    let version = match &value["version"] {
        Value::Null => "none yet".to_owned(),
        other => other.to_string(),
    };
    line("version", version);
    line("last outcome", outcome(&value["last_outcome"]));
    line("ledger", ledger(&value["ledger"]));
    if let Some(flow) = value["flow"].as_object() {
        let done = format!("{} of {} steps", flow["done"], flow["steps"]);
        let failed = match (flow["failed"].as_str(), flow["reason"].as_str()) {
            (Some(step), Some(why)) => format!("; {step} failed: {why}"),
            _ => String::new(),
        };
        line("flow", format!("{done}{failed}"));
    }
    if let Some(live) = live {
        let next = live
            .next_wake
            .as_ref()
            .map(|n| format!(", next at {n}"))
            .unwrap_or_default();
        line("turns", format!("{}, now {}{next}", live.turns, live.phase));
        for mechanism in &live.confinement {
            let mark = if mechanism.active {
                ui.paint("32", "on ")
            } else {
                ui.paint("33", "off")
            };
            line(
                "confinement",
                format!("{mark} {:<12} {}", mechanism.name, mechanism.detail),
            );
        }
    }
    if let Some(hub) = value["hub"].as_object() {
        let said = |key: &str| hub.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        line("hub", format!("{} ({})", said("url"), said("contact")));
    }
    if let Some(trouble) = value["trouble"].as_str() {
        line("trouble", ui.paint("31", trouble));
    }
    line("files", agent.folder.display().to_string());
    out
}

fn outcome(last: &Value) -> String {
    let Some(word) = last["outcome"].as_str() else {
        return "none yet".to_owned();
    };
    let mut text = word.replace('_', " ");
    if let Some(version) = last["version"].as_u64().filter(|v| *v > 0) {
        let _ = write!(text, " version {version}");
    }
    for (before, key) in [("by", "source"), ("at", "time")] {
        if let Some(said) = last[key].as_str() {
            let _ = write!(text, " {before} {said}");
        }
    }
    for reason in last["reasons"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        let _ = write!(text, "; {reason}");
    }
    text
}

fn ledger(head: &Value) -> String {
    match (head["count"].as_u64(), head["hash"].as_str()) {
        (Some(count), Some(hash)) if count > 0 => format!("{count} records, head {hash}, unanchored"),
        _ => "empty".to_owned(),
    }
}
