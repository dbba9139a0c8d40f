//! Reproducibility: one click computes the history again.

use jos_ui::form;
use jos_ui::shell::Page;
use jos_ui::{Markup, Tone, html, parts, words};
use serde_json::Value;

use super::super::frame::Wrong;
use super::super::log::text;
use super::super::tasks::Ended;
use super::super::{Console, page};
use super::{guard, job_link};

/// Failures that are shown.
const SHOWN: usize = 50;

pub(super) fn show(console: &Console) -> Page {
    let running = console.replay.is_running();
    let last = console.replay.last(&console.data);
    let body = html! {
        section class="card" {
            div class="beside" {
                (form::form("/replay", guard(console), &html! { button { "Replay now" } }))
                a href="/log" { "Browse the decision log" }
                span data-live="running" { @if running { span class="waiting" { (Tone::Busy) "computing the whole history again" } } }
            }
        }
        div data-live="report" {
            @match &last {
                None => section class="card" { p class="none" { "Not replayed from here yet." } },
                Some((time, ended)) => (report(console, *time, ended)),
            }
        }
    };
    let intro = "The whole history, computed again from the ledger alone: no agent is asked, no tool runs, no model answers, nothing is written. \
                 It is done twice and compared, byte for byte, in a process that the kernel keeps from doing more.";
    page("Reproducibility", intro, body)
}

fn report(console: &Console, time: i64, ended: &Ended) -> Markup {
    let said = &ended.said;
    if let Some(why) = ended.why() {
        return parts::notice(Tone::Bad, &html! { "It could not be replayed: " (why) });
    }
    if ended.code == 2 {
        return parts::notice(
            Tone::Warn,
            &html! { "Nothing was decided yet. " a href="/jobs" { "Submit a job" } " first." },
        );
    }
    let yes = |good: bool, yes: &str, no: &str| {
        if good {
            parts::badge(Tone::Good, yes)
        } else {
            parts::badge(Tone::Bad, no)
        }
    };
    let intact = said["chain"] == "intact";
    let broken = text(&said["chain"]["broken"]);
    let since = said["since"].as_u64().unwrap_or_default();
    let number = |name: &str| html! { (words::number(said[name].as_u64().unwrap_or_default())) };
    let facts = parts::facts([
        ("Result", yes(said["ok"] == true, "reproduced", "NOT reproduced")),
        ("Byte-identical", yes(said["byteIdentical"] == true, "yes", "no")),
        ("Deterministic", yes(said["deterministic"] == true, "yes", "no")),
        ("Model calls", number("modelCalls")),
        (
            "Chain",
            html! { (yes(intact, "intact", "broken")) @if !intact { p { (broken) } } },
        ),
        ("Decisions", number("decisions")),
        (
            "Records",
            html! { (number("records")) @if since > 0 { small class="sub" { "what was before #" (since) " was pruned" } } },
        ),
        (
            "From capture",
            html! { (number("capturedReplies")) " replies of models, " (words::number(captured(said))) " results of tools" },
        ),
        ("Final state", html! { (text(&said["finalState"])) }),
        (
            "State's hash",
            html! { span class="mono" { (text(&said["stateHash"])) } },
        ),
        ("When", words::moment(time, console.now())),
    ]);
    html! {
        div class="columns" {
            div { (parts::card("What came out", None, &facts)) (failures(said)) }
            div { (agents(said)) (results(said)) (missing(said)) }
        }
    }
}

fn agents(said: &Value) -> Markup {
    let all = said["agents"].as_object();
    let most = all
        .into_iter()
        .flatten()
        .filter_map(|(_, n)| n.as_u64())
        .max()
        .unwrap_or(0);
    let rows: Vec<Vec<Markup>> = all
        .into_iter()
        .flatten()
        .map(|(agent, n)| {
            let n = n.as_u64().unwrap_or_default();
            vec![
                html! { (agent) (jos_ui::chart::bar(Tone::Busy, n, most)) },
                html! { (words::number(n)) },
            ]
        })
        .collect();
    html! {
        section class="card tight" {
            h2 { "Whose decisions" (parts::tip("this", "Every decision carries the agent that proposed it; the node sets it, no agent can.")) }
            (parts::table(&["Agent", "Decisions"], &rows, "None."))
        }
    }
}

/// Results that only the live run could know.
fn captured(said: &Value) -> u64 {
    let all = said["capturedResults"].as_object().into_iter().flatten();
    all.filter_map(|(_, n)| n.as_u64()).sum()
}

fn results(said: &Value) -> Markup {
    let all = said["capturedResults"].as_object().into_iter().flatten();
    let rows: Vec<Vec<Markup>> = all
        .map(|(kind, n)| {
            vec![
                html! { (kind) },
                html! { (words::number(n.as_u64().unwrap_or_default())) },
            ]
        })
        .collect();
    html! {
        @if !rows.is_empty() {
            section class="card tight" {
                h2 { "Captured results" (parts::tip("a captured result", "What a tool gave when it ran. No tool runs in a replay: it takes what was given then. The job's page shows it.")) }
                (parts::table(&["Kind", "Results"], &rows, ""))
            }
        }
    }
}

fn failures(said: &Value) -> Markup {
    let all = said["attribution"].as_array().map_or(&[][..], Vec::as_slice);
    let diverged = said["divergences"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| (one, "diverges".to_owned()));
    let rows: Vec<Vec<Markup>> = diverged
        .chain(all.iter().map(|one| (one, text(&one["kind"]))))
        .take(SHOWN)
        .map(|(one, kind)| {
            vec![
                html! { (text(&one["agent"])) small class="sub" { (parts::badge(Tone::Bad, &kind)) } },
                html! { (job_link(&text(&one["job"]))) small class="sub" { "record #" (one["record"]) @if let Some(id) = one["decision"].as_str() { ", decision " (id) } } },
                html! { (text(&one["reason"])) },
            ]
        })
        .collect();
    html! {
        section class="card tight" {
            h2 { "Whose failures" @if all.len() > SHOWN { small { " the first " (SHOWN) " of " (all.len()) } } }
            (parts::table(&["Agent", "Job", "Why"], &rows, "Nobody's: nothing failed."))
        }
    }
}

fn missing(said: &Value) -> Markup {
    let kinds: Vec<String> = said["missing"].as_array().into_iter().flatten().map(text).collect();
    html! {
        @if !kinds.is_empty() {
            (parts::notice(Tone::Warn, &html! { "No tool here executes " (kinds.join(", ")) " any more; what they gave is from the record." }))
        }
    }
}

pub(super) fn run(console: &Console) -> Result<String, Wrong> {
    console
        .replay
        .begin(&console.data, console.now(), vec!["replay".into()])
        .map_err(Wrong::refused)?;
    Ok("/replay".into())
}
