//! One job: its input, what was decided, what came of it.

use jos_node::{jobs, machine};
use jos_ui::{Markup, Tone, html, parts};
use serde_json::Value;

use super::super::frame::{Shown, Wrong};
use super::super::log::{Record, text};
use super::super::{Console, page};
use super::{document, moment, state_badge};

pub(super) fn show(console: &Console, id: &str) -> Shown {
    if !jobs::is_id(id) {
        return Err(Wrong::not_found("such job"));
    }
    let standing = jobs::standing(&console.data, id).ok().flatten();
    let records = console.log.of_job(&console.data, id);
    let (records, unread) = match records {
        Ok(records) => (records, None),
        Err(e) => (Vec::new(), Some(e)),
    };
    if standing.is_none() && records.is_empty() && unread.is_none() {
        return Err(Wrong::not_found("job of that id"));
    }
    let file = ["inbox", "processed", "failed"]
        .iter()
        .map(|folder| super::jobs::json(console, &format!("{folder}/{id}.json")))
        .find(|found| !found.is_null())
        .unwrap_or_default();
    let asked = records
        .iter()
        .find(|record| record.kind == "job")
        .map(|record| &record.payload["act"]);
    let input = asked.map_or(&file["input"], |act| &act["input"]);
    let agent = asked.map_or_else(|| text(&file["agent"]), |act| text(&act["agent"]));
    let result = super::jobs::json(console, &format!("outbox/{id}.json"));
    let reason = super::jobs::reason(console, &format!("{id}.json"));
    let state = state(standing, &result);
    let body = html! {
        div data-live="job" {
            @if let Some(e) = &unread { (parts::notice(Tone::Bad, &html! { "The ledger could not be read: " (e) })) }
            @if !reason.is_empty() { (parts::notice(Tone::Bad, &html! { strong { "It failed: " } (reason) })) }
            div class="columns" {
                div { (decisions(console, &records)) }
                div {
                    (parts::card("Job", None, &parts::facts([
                        ("Agent", html! { (agent) }),
                        ("Recorded", html! { @if let Some(first) = records.first() { (moment(&first.time, console.now())) } @else { "not yet" } }),
                    ])))
                    (parts::card("Input", None, &document(input)))
                    @if !result.is_null() { (parts::card("Result", None, &document(result.get("result").unwrap_or(&result)))) }
                    (talk(&records))
                    (accesses(&records))
                }
            }
        }
    };
    let intro = "What the agent was given, what it proposed, what the gate and the machine made of it, in the order of the ledger.";
    Ok(page(id, intro, body)
        .below("Jobs", "/jobs")
        .beside(html! { span data-live="state" { (state_badge(state.as_str())) } }))
}

fn state(standing: Option<&'static str>, result: &Value) -> String {
    let state = text(&result["state"]);
    match standing {
        Some("it failed") => machine::word(jos_schemas::documents::runtime::MachineState::Failed).to_owned(),
        Some("it waits") => "waiting".to_owned(),
        Some("it runs") => "RUNNING".to_owned(),
        _ if state.is_empty() => "DONE".to_owned(),
        _ => state,
    }
}

fn decisions(console: &Console, records: &[Record]) -> Markup {
    let rows: Vec<Vec<Markup>> = records
        .iter()
        .map(|record| {
            let (tone, about) = about(record);
            vec![
                html! { span class="id" { "#" (record.index) } },
                parts::badge(tone, &record.kind),
                about,
                moment(&record.time, console.now()),
            ]
        })
        .collect();
    html! {
        section class="card tight" {
            h2 { "Record" (parts::tip("the record", "Every line is in the ledger, chained by hash. A decision is durable before it acts; what came of it follows.")) }
            (parts::table(&["Record", "Kind", "What", "When"], &rows, "Nothing is recorded yet: no node has taken it."))
        }
    }
}

/// What a record says, in a line.
pub(super) fn about(record: &Record) -> (Tone, Markup) {
    let payload = &record.payload;
    let act = &payload["act"];
    let (agent, reason) = (text(&payload["agent"]), text(&payload["reason"]));
    let code = |value: &Value| {
        let text = value.to_string();
        let shown: String = text.chars().take(400).collect();
        html! { code class="mono" { (shown) @if shown.len() < text.len() { "…" } } }
    };
    match record.kind.as_str() {
        "job" => (Tone::Quiet, html! { (agent) " was asked, run " (payload["attempt"]) }),
        "resumed" => (
            Tone::Warn,
            html! { "goes on where another run stopped, run " (payload["attempt"]) },
        ),
        "decision" => (
            Tone::Busy,
            html! { strong { (text(&act["kind"])) } " " (code(&act["payload"])) },
        ),
        "refused" => (
            Tone::Bad,
            html! { "the gate refused " strong { (text(&act["kind"])) } ": " (reason) },
        ),
        "outcome" if payload["ok"] == true => (
            Tone::Good,
            html! { strong { (text(&payload["kind"])) } " " (code(&act["result"])) },
        ),
        "outcome" => (
            Tone::Bad,
            html! { strong { (text(&payload["kind"])) } " failed: " (text(&act["reason"])) },
        ),
        "ended" if payload["ok"] == true => (Tone::Good, html! { "ended in " (text(&payload["state"])) }),
        "ended" => (
            Tone::Bad,
            html! { "ended in " (text(&payload["state"])) @if !reason.is_empty() { ": " (reason) } },
        ),
        "fired" => (
            Tone::Quiet,
            html! { "submitted by schedule " (text(&payload["schedule"])) },
        ),
        "imported" => (
            Tone::Busy,
            html! { "taken over from another log: " strong { (text(&payload["kind"])) } " " (code(&act["result"])) },
        ),
        "node" => (Tone::Quiet, html! { "a node " (text(&payload["word"])) }),
        "checkpoint" => (
            Tone::Quiet,
            html! { "signed: all up to record #" (text(&payload["head"]["index"])) },
        ),
        "broken" => (
            Tone::Bad,
            html! { "the ledger before was damaged: " (text(&payload["what"])) },
        ),
        _ => (Tone::Quiet, code(payload)),
    }
}

fn trails<'a>(records: &'a [Record], what: &'a str) -> impl Iterator<Item = &'a Value> {
    records
        .iter()
        .flat_map(move |record| record.payload["act"]["trail"][what].as_array().into_iter().flatten())
}

fn talk(records: &[Record]) -> Markup {
    let asked: Vec<&Value> = trails(records, "asked").collect();
    html! {
        @if !asked.is_empty() {
            section class="card" {
                h2 { "The model" (parts::tip("this", "What the agent asked and what the model answered, as it was captured. A replay takes the answer from here and asks nobody.")) }
                @for asked in asked {
                    h3 { "Asked" }
                    (document(&asked["prompt"]["prompt"]))
                    h3 { (text(&asked["reply"]["model"])) " answered" }
                    (document(&asked["reply"]["text"]))
                }
            }
        }
    }
}

fn accesses(records: &[Record]) -> Markup {
    let rows: Vec<Vec<Markup>> = trails(records, "accesses")
        .map(|access| {
            let badge = if access["allowed"] == true {
                parts::badge(Tone::Good, "allowed")
            } else {
                parts::badge(Tone::Bad, "denied")
            };
            vec![
                html! { (text(&access["right"])) },
                html! { span class="mono" { (text(&access["to"])) } },
                badge,
            ]
        })
        .collect();
    html! { @if !rows.is_empty() { (parts::tight("Accesses", None, &parts::table(&["Right", "To", ""], &rows, ""))) } }
}
