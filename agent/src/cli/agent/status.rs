//! `jos agent status`: what the init system says, what the agent says of itself, what its ledger says.

use std::fmt::Write as _;
use std::path::PathBuf;

use jos_schemas::text::Name;
use serde_json::{Value, json};

use super::{common, status_hub};
use crate::cli::{Done, Ui};
use crate::installed::{self, Agent};
use crate::lock::{Held, Lock};
use crate::place::{Place, run_dir};
use crate::run::live::Live;
use crate::services::{Init, State};

/// The word of every init system for a service that runs.
const RUNNING: &str = "running";
/// Ours for one that runs and has not said anything of itself yet.
const STARTING: &str = "starting";

/// Show how an agent is: its process, the version in force, its last outcome, how it is confined
///
/// Puts together what the init system says, what the agent says of itself and what its ledger says. "starting" means
/// that a process runs which has not said anything yet.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos agent status                       all agents of this machine\n  \
    jos agent status kiosk\n  \
    jos agent status kiosk --json | jq .last_outcome\n\n\
    Exit codes: with a NAME 0 when it runs, 1 when not (or there is none); without one 0.")]
pub(crate) struct Args {
    /// The agent's name; all agents when absent
    #[arg(value_parser = common::name)]
    name: Option<Name>,
    /// Look into this folder instead of the running machine
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

/// What there is to see of an agent.
pub(crate) struct Seen {
    /// What the init system says, or the lock where that cannot be asked.
    pub(crate) state: State,
    /// What it last said of itself, or an earlier process did.
    live: Option<Live>,
    /// Whether those are the words of the process that runs now.
    current: bool,
}

/// Asks the init system, the lock and the agent's own words.
pub(crate) fn look(place: &Place, agent: &Agent) -> Seen {
    if !place.is_live() {
        let state = State {
            state: "not started".into(),
            ..State::default()
        };
        let live = Live::read(&run_dir(&place.at(agent.state_dir()), agent.name.as_str()));
        return Seen {
            state,
            live,
            current: false,
        };
    }
    let run_dir = run_dir(&agent.state_dir(), agent.name.as_str());
    // The words first, then the lock: a process that starts meanwhile is never taken for the one that wrote them.
    let live = Live::read(&run_dir);
    let lock = Lock::look(&run_dir.join("lock"));
    let by_lock = || State {
        state: if lock.is_held() { "running" } else { "stopped" }.into(),
        pid: lock.pid(),
        ..State::default()
    };
    let mut state = match common::with_service(place, agent, |service| agent.init(place).state(service)) {
        None => by_lock(),
        // Run by hand, or by something else: it runs all the same.
        Some(known) if lock.is_held() && matches!(known.state.as_str(), "stopped" | "not installed") => State {
            enabled: known.enabled,
            ..by_lock()
        },
        Some(known) => known,
    };
    // Words are those of the process that holds the lock; of no other is it known that it runs.
    let speaker = match lock {
        Held::Hidden => state.pid,
        seen => seen.pid(),
    };
    let current = live
        .as_ref()
        .filter(|l| state.state == RUNNING && Some(l.pid) == speaker);
    match current {
        Some(current) => {
            state.since.get_or_insert_with(|| current.started.clone());
        }
        None if state.state == RUNNING && lock != Held::Hidden => state.state = STARTING.into(),
        None => {}
    }
    let current = current.is_some();
    Seen { state, live, current }
}

fn one(place: &Place, agent: &Agent, ui: &Ui) -> (Value, String, bool) {
    let init = agent.init(place);
    let Seen { state, live, current } = look(place, agent);
    let running = state.state == RUNNING;
    let live = live.as_ref();
    let current = live.filter(|_| current);
    // How an earlier process ended is of interest until there is another.
    let ended = live.filter(|_| state.state != STARTING);
    let config = agent.config.as_ref().ok();
    let hub = live
        .and_then(|l| l.hub.clone())
        .or_else(|| config.and_then(|c| c.hub.as_ref()).map(|h| h.url.clone()));
    let plane = live.map_or(&Value::Null, |l| &l.plane);
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
        "last_turn": live.and_then(|l| l.last_turn.clone()),
        "next_wake": current.and_then(|l| l.next_wake.clone()),
        // The later stream overlays the earlier: the state in force goes before the baseline under it.
        "version": plane["in_force"].as_array().and_then(|all| all.last()).map(|s| s["version"].clone()),
        "last_outcome": plane["last"],
        "ledger": plane["ledger"],
        "plane": plane,
        "flow": ended.and_then(|l| l.flow.clone()),
        "fetcher": current.and_then(|l| l.fetcher),
        "fetcher_restarts": current.map(|l| l.fetcher_restarts),
        "confinement": current.map(Live::shown_confinement),
        "hub": status_hub::value(live.and_then(|l| l.link.as_ref()), hub.as_deref(), agent.baked()),
        "node": current.and_then(|l| l.node.clone()),
        "trouble": ended.and_then(|l| l.trouble.clone()),
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
        RUNNING => "32",
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
    line("image", image(&value["plane"]));
    line("last outcome", outcome(&value["last_outcome"]));
    line("ledger", ledger(&value["ledger"]));
    if let Some(why) = value["plane"]["floors_lost"].as_str() {
        let help = "its hub says how far it had come, or you: jos agent floors --from VERSION";
        line("floors", ui.paint("31", &format!("lost: {why}; {help}")));
    }
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
        for mechanism in live.shown_confinement() {
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
    for (key, text) in status_hub::lines(&value["hub"]) {
        line(key, text);
    }
    line("node", node(&value["node"]));
    if let Some(trouble) = value["trouble"].as_str() {
        line("trouble", ui.paint("31", trouble));
    }
    line("files", agent.folder.display().to_string());
    out
}

/// Which system runs, and which one is on trial.
fn image(plane: &Value) -> String {
    let named = |image: &Value| {
        Some(format!(
            "{} {}",
            image["compatible"].as_str()?,
            image["version"].as_str()?
        ))
    };
    let Some(runs) = named(&plane["image"]) else {
        return String::new();
    };
    let moving = &plane["moving"];
    match (named(&moving["to"]), moving["stage"].as_str(), &moving["version"]) {
        (Some(to), Some(stage), version) => format!("{runs}; version {version} moves to {to} ({stage})"),
        _ => runs,
    }
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

/// The node of the runtime that the agent runs; nothing where it runs none.
fn node(told: &Value) -> String {
    let Some(dir) = told["data_dir"].as_str() else {
        return String::new();
    };
    let state = match told["pid"].as_u64() {
        Some(pid) => format!("process {pid}"),
        None => told["trouble"].as_str().unwrap_or("starting").to_owned(),
    };
    format!("{dir}, {state}, {} changes proposed", told["proposed"])
}

fn ledger(head: &Value) -> String {
    match (head["count"].as_u64(), head["hash"].as_str()) {
        (Some(count), Some(hash)) if count > 0 => format!("{count} records, head {hash}, unanchored"),
        _ => "empty".to_owned(),
    }
}
