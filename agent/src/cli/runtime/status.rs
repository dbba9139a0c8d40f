//! `jos status`: what a node is at.

use std::fmt::Write as _;

use jos_node::lease;
use serde_json::{Value, json};

use super::data::{Place, failure};
use crate::cli::{Done, Ui};

/// Show what waits, runs, is done and failed, and which agents there are
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos status\n  \
    jos status --json --data-dir /srv/hive")]
pub(crate) struct Args {}

pub(crate) fn run(place: &Place, ui: &Ui, _: &Args) -> Done {
    let data = place.open()?;
    let nodes = lease::alive(&data).map_err(failure)?;
    let said = std::fs::read(data.path("status.json")).ok();
    let said: Value = said
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let queue = place.queue(&data)?;
    let counts = queue.counts().map_err(failure)?;
    let mut value = json!({
        "data_dir": data.root(), "nodes": nodes, "inbox": counts.waiting, "claimed": counts.running,
        "processed": counts.done, "failed": counts.failed, "status": said,
    });
    if let Some(connected) = queue.nodes().map_err(failure)? {
        value["queue"] = json!({ "place": queue.place(), "nodes": connected });
    }
    ui.result(&value, text(ui, &value));
    Ok(0)
}

fn text(ui: &Ui, value: &Value) -> String {
    let mut out = String::new();
    let nodes = value["nodes"].as_object().map_or(0, serde_json::Map::len);
    let running = match nodes {
        0 => ui.paint("33", "no node runs here; `jos serve` starts one"),
        1 => "one node runs".to_owned(),
        n => format!("{n} nodes run"),
    };
    let _ = writeln!(out, "{}: {running}", value["data_dir"].as_str().unwrap_or_default());
    if let Some(place) = value["queue"]["place"].as_str() {
        let connected = value["queue"]["nodes"].as_array().map_or(0, Vec::len);
        let _ = writeln!(out, "  queue {place}: {connected} connected");
    }
    let _ = writeln!(
        out,
        "  {} waiting, {} running, {} done, {} failed (of the ids that are remembered)",
        value["inbox"], value["claimed"], value["processed"], value["failed"]
    );
    let status = &value["status"];
    if let Some(why) = status["waiting"].as_str() {
        let _ = writeln!(out, "  {} {why}", ui.paint("33", "waits:"));
    }
    for job in status["running"].as_array().into_iter().flatten() {
        let _ = writeln!(
            out,
            "  runs: {} ({}), since {}",
            word(&job["id"]),
            word(&job["agent"]),
            word(&job["since"])
        );
    }
    let names = |list: &Value| {
        list.as_array()
            .into_iter()
            .flatten()
            .map(word)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let _ = writeln!(out, "agents: {}", names(&status["agents"]));
    if status["kinds"].as_array().is_some_and(|kinds| !kinds.is_empty()) {
        let _ = writeln!(out, "tools for: {}", names(&status["kinds"]));
    }
    for broken in status["broken"].as_array().into_iter().flatten() {
        let _ = writeln!(
            out,
            "{} {}: {}",
            ui.paint("31", "broken:"),
            word(&broken["place"]),
            word(&broken["reason"])
        );
    }
    for folder in status["set_aside"].as_array().into_iter().flatten() {
        let about = "a damaged ledger from before; jobs of then are not replayed";
        let _ = writeln!(out, "{} {}: {about}", ui.paint("33", "set aside:"), word(folder));
    }
    let kept = &status["kept"];
    if kept["from"].as_u64().is_some_and(|from| from > 0) {
        let since = word(&kept["since"]);
        let _ = writeln!(
            out,
            "ledger: history before #{} ({since}) pruned, {} bytes are kept",
            kept["from"], kept["bytes"]
        );
    }
    if let Some(why) = kept["waits"].as_str() {
        let _ = writeln!(
            out,
            "{} {} bytes of {}: {why}",
            ui.paint("33", "ledger is over its limit:"),
            kept["bytes"],
            kept["limit"]
        );
    }
    for schedule in status["schedules"].as_array().into_iter().flatten() {
        let next = schedule["next"].as_str().unwrap_or("never");
        let _ = writeln!(out, "schedule {}: next {next}", word(&schedule["name"]));
    }
    out
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
