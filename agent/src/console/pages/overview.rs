//! Whether a node runs, what it is at, what to do first.

use std::path::Path;

use jos_node::lease;
use jos_ui::chart::{self, Curve, Share};
use jos_ui::shell::Page;
use jos_ui::{Markup, Tone, html, parts, words};
use serde_json::Value;

use super::super::log::text;
use super::super::{Console, page};
use super::{job_link, moment, state_badge};

pub(super) fn show(console: &Console) -> Page {
    let nodes = lease::alive(&console.data).unwrap_or_default();
    let counts = ["inbox", "claimed", "processed", "failed"].map(|folder| count(console, folder));
    let [waiting, running, done, failed] = counts;
    let said: Value = std::fs::read(console.data.path("status.json"))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let stats = html! {
        div data-live="stats" {
            div class="stats" {
                (parts::stat(Tone::Quiet, waiting, "waiting", "/jobs?state=waiting", false))
                (parts::stat(Tone::Busy, running, "running", "/jobs?state=running", false))
                (parts::stat(Tone::Good, done, "done", "/jobs?state=done", false))
                (parts::stat(Tone::Bad, failed, "failed", "/jobs?state=failed", false))
            }
            @if counts.iter().sum::<u64>() > 0 {
                (chart::shares(&[
                    Share { tone: Tone::Good, name: "done", value: done },
                    Share { tone: Tone::Busy, name: "running", value: running },
                    Share { tone: Tone::Quiet, name: "waiting", value: waiting },
                    Share { tone: Tone::Bad, name: "failed", value: failed },
                ]))
            }
        }
    };
    let body = html! {
        (stats)
        div class="columns" {
            div {
                (first(console, !nodes.is_empty(), done + failed))
                (last(console, &said))
            }
            div { (node(console, nodes.len(), &said)) (throughput(console)) (pool(console)) (profile()) }
        }
    };
    let intro =
        "What this node is at, live. Everything here is files below one directory: no server, no database, no broker.";
    page("Overview", intro, body).beside(html! { span data-live="alive" { (alive(nodes.len())) } })
}

fn count(console: &Console, folder: &str) -> u64 {
    let names = console.data.names(folder).unwrap_or_default();
    names.iter().filter(|name| name.ends_with(".json")).count() as u64
}

fn alive(nodes: usize) -> Markup {
    match nodes {
        0 => parts::badge(Tone::Warn, "no node runs"),
        1 => parts::badge(Tone::Good, "a node runs"),
        nodes => parts::badge(Tone::Good, &format!("{nodes} nodes run")),
    }
}

fn first(console: &Console, runs: bool, ended: u64) -> Markup {
    let own = !console.registry().agents().is_empty();
    let replayed = console
        .replay
        .last(&console.data)
        .is_some_and(|(_, ended)| ended.code == 0);
    let evaluated = console
        .evals
        .last(&console.data)
        .is_some_and(|(_, ended)| ended.code == 0);
    let steps = [
        (
            runs,
            "Run a node",
            html! { "In a terminal: " code { "jos serve --data-dir " (shown(console.data.root())) } },
        ),
        (
            ended > 0,
            "Submit a job",
            html! { a href="/jobs" { "Give " code { "advance" } " a job" } ": it is built in and needs no model." },
        ),
        (
            own,
            "Install an agent",
            html! { a href="/agents" { "Drop a file in" } ", or begin with " code { "jos runtime init --with-examples --force" } "." },
        ),
        (
            replayed,
            "Replay the run",
            html! { a href="/replay" { "One click" } " computes it again, without a model." },
        ),
        (
            evaluated,
            "Pass the evaluations",
            html! { a href="/evals" { "Run the cases" } " that your agents must pass." },
        ),
    ];
    let done = steps.iter().filter(|(done, ..)| *done).count();
    html! {
        section class="card" data-live="first" {
            h2 { "Get started " small { (done) " of " (steps.len()) } }
            @if done == steps.len() { p class="none" { "All done. " a href="/help" { "Help" } " has more to try." } }
            @else { (parts::checklist(&steps)) }
        }
    }
}

fn shown(path: &Path) -> String {
    let whole = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    whole.display().to_string()
}

fn last(console: &Console, said: &Value) -> Markup {
    let now = console.now();
    let running = said["running"].as_array().into_iter().flatten();
    let jobs = running.map(|job| (job, "RUNNING".to_owned(), &job["since"])).chain(
        said["last"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|job| (job, text(&job["state"]), &job["at"])),
    );
    let rows: Vec<Vec<Markup>> = jobs
        .take(10)
        .map(|(job, state, at)| {
            let reason = text(&job["reason"]);
            vec![
                html! { (job_link(&text(&job["id"]))) @if !reason.is_empty() { small class="sub" { (reason) } } },
                html! { (text(&job["agent"])) },
                state_badge(&state),
                moment(&text(at), now),
            ]
        })
        .collect();
    parts::tight(
        "Last jobs",
        Some("last"),
        &parts::table(&["Job", "Agent", "State", "When"], &rows, "None yet."),
    )
}

fn node(console: &Console, nodes: usize, said: &Value) -> Markup {
    let glance = console.log.glance(&console.data);
    let state = text(&said["state"]);
    let waits = text(&said["waiting"]);
    let about = html! {
        @if nodes == 0 { p { "Jobs wait in " code { "inbox/" } " until one runs." } }
        @if !waits.is_empty() && nodes > 0 { (parts::notice(Tone::Warn, &html! { "It waits: " (waits) })) }
        @if let Some(broken) = &glance.broken { (parts::notice(Tone::Bad, &html! { "The ledger is damaged: " (broken) })) }
        (parts::facts([
            ("Machine", if state.is_empty() { html! { "not driven yet" } } else { state_badge(&state) }),
            ("Records", html! { (words::number(glance.records)) }),
            ("Decisions", html! { (words::number(glance.decisions.values().sum())) }),
            ("Accesses", html! { (words::number(glance.allowed)) " allowed, " (words::number(glance.denied)) " denied" }),
            ("Head", html! { span class="id" title=(glance.head) { (glance.head.chars().take(16).collect::<String>()) } }),
            ("Directory", html! { span class="mono" { (shown(console.data.root())) } }),
        ]))
    };
    html! {
        section class="card" data-live="node" {
            h2 { "The node" (parts::tip("the node", "jos serve: takes jobs, asks agents, records each decision before it acts. This console is beside it and only looks.")) }
            (about)
        }
    }
}

/// Jobs that ended, minute by minute, of the last hour in which some did.
fn throughput(console: &Console) -> Markup {
    let glance = console.log.glance(&console.data);
    let now = console.now().div_euclid(60) * 60;
    let in_minute = |minute: i64| {
        let found = glance.ended.iter().find(|one| one.0 == minute);
        found.map_or((0, 0), |one| (one.1, one.2))
    };
    let hour: Vec<(i64, (u64, u64))> = (0..60)
        .rev()
        .map(|back| now - back * 60)
        .map(|minute| (minute, in_minute(minute)))
        .collect();
    let ended: u64 = hour.iter().map(|(_, (done, failed))| done + failed).sum();
    let (done, failed) = hour.last().map_or((0, 0), |last| last.1);
    let points = |which: fn(&(u64, u64)) -> u64| hour.iter().map(|(at, both)| (*at, which(both) as f64)).collect();
    let curve = Curve {
        lines: vec![
            chart::Line {
                name: "done",
                tone: Tone::Good,
                points: points(|both| both.0),
            },
            chart::Line {
                name: "failed",
                tone: Tone::Bad,
                points: points(|both| both.1),
            },
        ],
        most: 1.0,
        steps: true,
        say: |value| format!("{value:.0}"),
    };
    html! {
        section class="card" data-live="throughput" {
            h2 { "Throughput" (parts::tip("the throughput", "Jobs that ended, by the minute, in the last hour, as the ledger has them.")) }
            @if ended == 0 { p class="none" { "No job ended in the last hour." } }
            @else {
                p { (words::counted(ended, "job")) " in the last hour, " (words::number(done + failed)) " in this minute." }
                (chart::curve(&curve))
            }
        }
    }
}

fn pool(console: &Console) -> Markup {
    let registry = console.registry();
    let broken = registry.broken().len() as u64;
    let rows = [
        (
            "Agents",
            registry.agents().len() as u64 + jos_node::registry::BUILT_IN_AGENTS.len() as u64,
        ),
        ("Tools", registry.tools().len() as u64),
    ];
    html! {
        section class="card" data-live="pool" {
            h2 { "Agents and tools" }
            (parts::facts(rows.map(|(name, n)| (name, html! { (words::number(n)) }))))
            @if broken > 0 { p { a href="/agents" { (parts::badge(Tone::Bad, &format!("{} not loaded", words::counted(broken, "file")))) } } }
        }
    }
}

fn profile() -> Markup {
    let none = || parts::badge(Tone::Good, "none");
    html! {
        section class="card" {
            h2 { "What it takes" (parts::tip("this list", "Held by tests of the source: no listening socket in a node, no crate of a database or a broker.")) }
            (parts::facts([("Servers", none()), ("Databases", none()), ("Brokers", none()), ("Ticks while idle", none())]))
        }
    }
}
