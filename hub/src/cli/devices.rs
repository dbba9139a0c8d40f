//! `jos-hub device`.

use clap::Subcommand;
use jos_link::wire::Held;
use serde::Deserialize;
use serde_json::{Value, json};

use super::door::{Door, Sent, Where, escaped};
use super::ui::{Done, Ui, moment, table, text};
use super::{pairs, query, questions, rows};
use crate::{figures, offer};

/// What an act on a device takes.
#[derive(clap::Args)]
pub(super) struct Act {
    /// Its id, as `device list` shows it
    id: String,
    /// One line, for the audit log and for the device
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// List devices
    #[command(after_help = "Example: jos-hub device list --tenant acme --data /var/lib/jos-hub")]
    List {
        /// Of one tenant; of all when absent
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
        /// Only devices with this label
        #[arg(long = "label", value_name = "KEY=VALUE")]
        labels: Vec<String>,
    },
    /// Show a device: what it said, what it is offered and why not, its reports and alarms
    #[command(after_help = "Example: jos-hub device show d-0123456789abcdef --data /var/lib/jos-hub")]
    Show {
        /// Its id
        id: String,
    },
    /// Set and remove labels
    #[command(after_help = "Example: jos-hub device label d-0123456789abcdef site=mx-3 role- --data /var/lib/jos-hub")]
    Label {
        /// Its id
        id: String,
        /// KEY=VALUE sets, KEY- removes
        #[arg(required = true, value_name = "LABEL")]
        labels: Vec<String>,
    },
    Ask(questions::AskArgs),
    Answers(questions::AnswersArgs),
    /// Serve a device nothing until it is released
    #[command(
        after_help = "Example: jos-hub device quarantine d-0123456789abcdef --reason 'stolen van' --data /var/lib/jos-hub"
    )]
    Quarantine(Act),
    /// Take a device out of quarantine and clear its alarms
    #[command(after_help = "Example: jos-hub device release d-0123456789abcdef --data /var/lib/jos-hub")]
    Release(Act),
    /// Keep a device at the version that it has: no push and no rollout gives it another one
    #[command(
        after_help = "Example: jos-hub device hold d-0123456789abcdef --reason 'trade fair' --data /var/lib/jos-hub"
    )]
    Hold(Act),
    /// Let a held device go on
    #[command(after_help = "Example: jos-hub device unhold d-0123456789abcdef --data /var/lib/jos-hub")]
    Unhold(Act),
    /// Put a device out for good: its keys are never taken again
    #[command(
        after_help = "Example: jos-hub device revoke d-0123456789abcdef --reason scrapped --data /var/lib/jos-hub"
    )]
    Revoke(Act),
}

pub(super) fn run(command: &Command, place: &Where, ui: &Ui) -> Done {
    let door = place.open()?;
    match command {
        Command::List { tenant, labels } => {
            let wanted = pairs(labels)?;
            let mut all = everyone(&door, tenant.as_deref())?;
            all.retain(|device| {
                wanted
                    .iter()
                    .all(|(key, value)| device["labels"][key].as_str() == Some(value))
            });
            let row = |device: &Value| {
                vec![
                    text(device, "id"),
                    text(device, "tenant"),
                    text(device, "status"),
                    moment(device, "last_seen"),
                    text(device, "labels"),
                ]
            };
            let list = Value::from(all);
            ui.result(
                &list,
                table(&["id", "tenant", "standing", "last seen", "labels"], &rows(&list, row)),
            );
        }
        Command::Show { id } => {
            let shown = door.json("GET", &format!("/api/v1/devices/{}", escaped(id)), Sent::Nothing)?;
            ui.result(&shown, described(&shown));
        }
        Command::Label { id, labels } => {
            let (remove, set): (Vec<_>, Vec<_>) = labels
                .iter()
                .cloned()
                .partition(|l| l.ends_with('-') && !l.contains('='));
            let remove: Vec<&str> = remove.iter().map(|label| label.trim_end_matches('-')).collect();
            let asked = json!({ "set": pairs(&set)?, "remove": remove });
            let device = door.json(
                "PUT",
                &format!("/api/v1/devices/{}/labels", escaped(id)),
                Sent::Json(asked),
            )?;
            ui.result(&device, format!("{id}: {}", text(&device, "labels")));
        }
        Command::Ask(args) => questions::ask(&door, ui, args)?,
        Command::Answers(args) => questions::answers(&door, ui, args)?,
        Command::Quarantine(act) => stand(&door, ui, act, "quarantine")?,
        Command::Release(act) => stand(&door, ui, act, "release")?,
        Command::Hold(act) => hold(&door, ui, act, "hold")?,
        Command::Unhold(act) => hold(&door, ui, act, "unhold")?,
        Command::Revoke(act) => stand(&door, ui, act, "revoke")?,
    }
    Ok(())
}

fn everyone(door: &Door, tenant: Option<&str>) -> Result<Vec<Value>, super::Failure> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let after = all.last().map(|device| text(device, "id"));
        let path = format!(
            "/api/v1/devices{}",
            query(&[("tenant", tenant), ("after", after.as_deref())])
        );
        let page = door.json("GET", &path, Sent::Nothing)?;
        let page = page.as_array().cloned().unwrap_or_default();
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

fn stand(door: &Door, ui: &Ui, act: &Act, verb: &str) -> Done {
    let path = format!("/api/v1/devices/{}/{verb}", escaped(&act.id));
    let device = door.json("POST", &path, Sent::Json(json!({ "reason": act.reason })))?;
    ui.result(&device, format!("{} is {}", act.id, text(&device, "status")));
    Ok(())
}

fn hold(door: &Door, ui: &Ui, act: &Act, verb: &str) -> Done {
    let path = format!("/api/v1/devices/{}/{verb}", escaped(&act.id));
    let device = door.json("POST", &path, Sent::Json(json!({ "reason": act.reason })))?;
    let held = device["held"].as_str().map_or_else(
        || format!("{} goes on", act.id),
        |why| format!("{} stays at the version that it has: {why}", act.id),
    );
    ui.result(&device, held);
    Ok(())
}

fn described(shown: &Value) -> String {
    let device = &shown["device"];
    let mut out = format!(
        "{}  {}\n  tenant     {}\n  labels     {}\n  enrolled   {} by {}\n  last seen  {} from {}\n  certificate until {}\n  facts      {}\n",
        text(device, "id"),
        text(device, "status"),
        text(device, "tenant"),
        text(device, "labels"),
        moment(device, "enrolled"),
        text(device, "token"),
        moment(device, "last_seen"),
        text(device, "address"),
        moment(device, "not_after"),
        text(device, "facts"),
    );
    if !device["reason"].is_null() {
        out.push_str(&format!("  because    {}\n", text(device, "reason")));
    }
    if !device["held"].is_null() {
        out.push_str(&format!("  held       {}\n", text(device, "held")));
    }
    let agent = |agent: &Value| {
        let said = &agent["said"];
        let head = if said["head"].is_null() {
            "-".to_owned()
        } else {
            said["head"]["index"].to_string()
        };
        vec![
            text(agent, "name"),
            text(said, "program"),
            text(said, "version"),
            text(said, "outcome"),
            head,
            text(agent, "offered"),
            held_back(&agent["held"]),
        ]
    };
    let head = [
        "agent",
        "program",
        "version",
        "outcome",
        "ledger",
        "offered",
        "held back",
    ];
    section(&mut out, &head, &rows(&shown["agents"], agent));
    for agent in shown["agents"].as_array().into_iter().flatten() {
        let metrics: Vec<Vec<String>> = agent["metrics"]
            .as_object()
            .into_iter()
            .flatten()
            .map(measured)
            .collect();
        let name = text(agent, "name");
        section(
            &mut out,
            &[&*name, "last", "least", "mean", "most", "in a day"],
            &metrics,
        );
        let lost = agent["said"]["figures_lost"].as_u64().unwrap_or(0);
        if lost > 0 {
            out.push_str(&format!(
                "  of {name} {lost} samples are lost: it had no room for more while no hub answered\n"
            ));
        }
    }
    let report = |report: &Value| {
        let (at, reason) = (moment(report, "received"), text(report, "reason"));
        vec![
            at,
            text(report, "name"),
            text(report, "version"),
            text(report, "outcome"),
            reason,
        ]
    };
    let head = ["reported", "agent", "version", "outcome", "why"];
    section(&mut out, &head, &rows(&shown["reports"], report));
    let alarm = |alarm: &Value| vec![moment(alarm, "latest"), text(alarm, "kind"), text(alarm, "detail")];
    section(&mut out, &["alarm", "kind", "found"], &rows(&shown["alarms"], alarm));
    out
}

/// Why a state is held back, as the pages say it. A reason that only a newer hub knows is shown as that hub sent it.
fn held_back(held: &Value) -> String {
    if held.is_null() {
        return "-".to_owned();
    }
    Held::deserialize(held).map_or_else(|_| held.to_string(), |held| offer::sentence(&held))
}

/// A table under an empty line; nothing where there is nothing to show.
fn section(out: &mut String, head: &[&str], rows: &[Vec<String>]) {
    if !rows.is_empty() {
        out.push('\n');
        out.push_str(&table(head, rows));
    }
}

/// One metric of the last day.
fn measured((name, stat): (&String, &Value)) -> Vec<String> {
    let number = |member: &str| stat[member].as_f64().unwrap_or(0.0);
    let shown = figures::unit(name);
    vec![
        name.clone(),
        shown(number("last")),
        shown(number("min")),
        shown(number("sum") / number("count").max(1.0)),
        shown(number("max")),
        stat["count"].to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(held: Value) -> String {
        described(&json!({
            "device": { "id": "d-1", "status": "active" },
            "agents": [{ "name": "portal", "offered": 0, "held": held, "said": { "program": "0.1.0" } }],
        }))
    }

    #[test]
    fn why_a_state_is_held_back_is_a_sentence_and_what_to_do() {
        let said = shown(json!({ "why": "features", "version": 7, "missing": ["sysctl"] }));
        let sentence = "Version 7 is held back: the agent lacks sysctl. Update the agent.";
        assert!(said.contains(sentence) && !said.contains("\"why\""), "{said}");
        let said = shown(json!({ "why": "ambiguous", "versions": [3, 4] }));
        assert!(said.contains("the versions [3, 4] both match this device"), "{said}");
        let said = shown(json!({ "why": "expired", "version": 2, "expires": "2026-01-31T00:00:00Z" }));
        assert!(said.contains("its time was over at 2026-01-31T00:00:00Z"), "{said}");
        assert!(!shown(Value::Null).contains("is held back"));
    }

    #[test]
    fn a_reason_that_only_a_newer_hub_knows_is_shown_as_it_came() {
        let said = shown(json!({ "why": "eclipse", "version": 7 }));
        assert!(said.contains("eclipse"), "{said}");
    }
}
