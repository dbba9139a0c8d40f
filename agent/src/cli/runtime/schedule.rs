//! `jos schedule`: jobs that are submitted by themselves.

use clap::Subcommand;
use jos_node::place::DataDir;
use jos_node::queue::Queue;
use jos_node::schedules::{self, Schedules, moment};
use jos_schemas::documents::runtime::{CatchUp, Schedule};
use jos_schemas::text::{Name, Utc};
use serde_json::{Value, json};

use super::data::{Place, failure, outside};
use crate::cli::{Done, Failure, Ui};

/// Have jobs submitted by themselves: every so many seconds, by cron in a time zone, or once
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos schedule add health --agent system-health --every 30\n  \
    jos schedule add nightly --agent planner --cron '30 2 * * *' --zone Europe/Berlin --catch-up once\n  \
    jos schedule add party --agent advance --at 2026-12-31T23:59:00 --zone America/Mexico_City\n  \
    jos schedule list\n\n\
    A schedule is a file in schedules/, picked up by the nodes that run. Each firing is one job, over restarts and nodes.")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Add one, or write one anew
    Add(Box<Add>),
    /// List them, and when each is due next
    List,
    /// Take one away
    Remove(Named),
    /// Let one fire again
    Enable(Named),
    /// Keep one, but do not let it fire
    Disable(Named),
}

#[derive(clap::Args)]
struct Named {
    /// The schedule
    #[arg(value_name = "NAME", value_parser = name)]
    name: Name,
}

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("when").required(true).args(["every", "cron", "at"])))]
struct Add {
    /// Its name
    #[arg(value_name = "NAME", value_parser = name)]
    name: Name,
    /// The agent that is asked
    #[arg(long, value_name = "AGENT", value_parser = name)]
    agent: Name,
    /// Every so many seconds
    #[arg(long, value_name = "SECONDS")]
    every: Option<u32>,
    /// Five cron fields, in --zone
    #[arg(long, value_name = "FIELDS")]
    cron: Option<String>,
    /// Once: a time with Z or an offset, or as the clocks of --zone show it
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// IANA time zone [default: UTC]
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// What becomes of firings while no node ran: skip, once or all
    #[arg(long, value_name = "HOW", default_value = "skip", value_parser = ["skip", "once", "all"])]
    catch_up: String,
    /// What the agent is given
    #[arg(long, value_name = "JSON", default_value = "{}")]
    input: String,
}

fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|e| e.to_string())
}

pub(crate) fn run(args: &Args, place: &Place, ui: &Ui) -> Done {
    let data = place.open()?;
    let queue = place.queue(&data)?;
    match &args.verb {
        Verb::Add(add) => added(add, &data, &queue, ui),
        Verb::List => list(&data, &queue, ui),
        Verb::Remove(named) => {
            if !schedules::remove(&data, &queue, &named.name).map_err(failure)? {
                return Err(unknown(&data, &named.name));
            }
            ui.result(&json!({ "removed": named.name }), format!("{} removed\n", named.name));
            Ok(0)
        }
        Verb::Enable(named) => able(&data, &queue, &named.name, false, ui),
        Verb::Disable(named) => able(&data, &queue, &named.name, true, ui),
    }
}

fn added(add: &Add, data: &DataDir, queue: &Queue, ui: &Ui) -> Done {
    let input: Value =
        serde_json::from_str(&add.input).map_err(|e| Failure::invalid(format!("--input: expected JSON: {e}")))?;
    let at = add
        .at
        .as_deref()
        .map(|at| moment(at, add.zone.as_deref()))
        .transpose()
        .map_err(Failure::invalid)?;
    let schedule = Schedule {
        schema: None,
        kind: Default::default(),
        name: add.name.clone(),
        agent: add.agent.clone(),
        input,
        every: add.every,
        cron: add.cron.clone(),
        at,
        zone: add.zone.clone(),
        catch_up: match add.catch_up.as_str() {
            "once" => CatchUp::Once,
            "all" => CatchUp::All,
            _ => CatchUp::Skip,
        },
        disabled: false,
    };
    schedules::write(data, &schedule).map_err(failure)?;
    list_one(data, queue, &add.name, ui)
}

fn unknown(data: &DataDir, name: &Name) -> Failure {
    let there = Schedules::load(data).map(|all| {
        all.all()
            .map(|p| p.schedule.name.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    });
    Failure::invalid(format!(
        "found no schedule {name}, expected one of {}",
        there.unwrap_or_default()
    ))
}

fn able(data: &DataDir, queue: &Queue, name: &Name, disabled: bool, ui: &Ui) -> Done {
    let all = Schedules::load(data).map_err(failure)?;
    let planned = all.get(name).ok_or_else(|| unknown(data, name))?;
    let schedule = Schedule {
        disabled,
        ..planned.schedule.clone()
    };
    schedules::write(data, &schedule).map_err(failure)?;
    list_one(data, queue, name, ui)
}

fn about(queue: &Queue, all: &Schedules) -> Vec<Value> {
    let now = (outside().now)();
    all.all()
        .map(|planned| {
            let next = planned.next(queue, now).map(Utc::from_unix);
            let mut value = serde_json::to_value(&planned.schedule).unwrap_or_default();
            value["next"] = json!(next);
            value
        })
        .collect()
}

fn line(value: &Value) -> String {
    let when = ["every", "cron", "at"]
        .into_iter()
        .find_map(|how| value.get(how).map(|at| format!("{how} {at}")));
    let next = value["next"].as_str().unwrap_or("never");
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let disabled = if value["disabled"] == true { ", disabled" } else { "" };
    format!(
        "{:<20} {:<20} {:<28} next {next}{disabled}\n",
        text("name"),
        text("agent"),
        when.unwrap_or_default()
    )
}

fn list_one(data: &DataDir, queue: &Queue, name: &Name, ui: &Ui) -> Done {
    let all = Schedules::load(data).map_err(failure)?;
    let value = about(queue, &all)
        .into_iter()
        .find(|value| value["name"] == name.as_str())
        .unwrap_or_default();
    ui.result(&value, line(&value));
    Ok(0)
}

fn list(data: &DataDir, queue: &Queue, ui: &Ui) -> Done {
    let all = Schedules::load(data).map_err(failure)?;
    let values = about(queue, &all);
    let mut text: String = values.iter().map(line).collect();
    for broken in &all.broken {
        text.push_str(&format!(
            "{} {}: {}\n",
            ui.paint("31", "broken:"),
            broken.place,
            broken.reason
        ));
    }
    if text.is_empty() {
        text = "no schedules; `jos schedule add --help` has examples\n".into();
    }
    ui.result(&json!({ "schedules": values, "broken": all.broken }), text);
    Ok(0)
}
