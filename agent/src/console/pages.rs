//! The pages: which path is which, and what each form does.

mod agents;
mod evals;
mod harness;
mod help;
mod job;
mod jobs;
mod machine;
mod overview;
mod records;
mod replay;
mod schedules;

use jos_ui::form::Guard;
use jos_ui::shell::Page;
use jos_ui::{Markup, html};
use serde_json::Value;

use super::Console;
use super::form::Form;
use super::frame::{Shown, Wrong};
use super::http::Request;
use super::words;

/// Characters of a document that are shown.
const SHOWN: usize = 16 << 10;

/// A page as it is now.
pub(super) fn show(console: &Console, request: &Request) -> Shown {
    match words(request)[..] {
        [] => Ok(overview::show(console)),
        ["jobs"] => Ok(jobs::show(console, request, &Form::default())),
        ["jobs", id] => job::show(console, id),
        ["agents"] => Ok(agents::show(console)),
        ["replay"] => Ok(replay::show(console)),
        ["log"] => Ok(records::show(console, request)),
        ["schedules"] => Ok(schedules::show(console, &Form::default())),
        ["evals"] => Ok(evals::show(console)),
        ["machine"] => Ok(machine::show(console)),
        ["harness"] => Ok(harness::show(console)),
        ["help"] => Ok(help::show(console)),
        _ => Err(Wrong::not_found("such page")),
    }
}

/// Does what a form asks for; gives the page to go to.
pub(super) fn change(console: &Console, request: &Request, form: &Form) -> Result<String, Wrong> {
    match words(request)[..] {
        ["jobs"] => jobs::submit(console, form),
        ["agents", act @ ("agent" | "tool" | "remove")] => agents::change(console, act, form),
        ["replay"] => replay::run(console),
        ["schedules", act @ ("add" | "enable" | "disable" | "remove")] => schedules::change(console, act, form),
        ["evals"] => evals::run(console, form),
        _ => Err(Wrong::not_found("such thing to do")),
    }
}

/// The page on which a form stood, with what was written in it.
pub(super) fn again(console: &Console, request: &Request, form: &Form) -> Option<Page> {
    match words(request)[..] {
        ["jobs"] => Some(jobs::show(console, request, form)),
        ["agents", _] => Some(agents::show(console)),
        ["schedules", _] => Some(schedules::show(console, form)),
        ["evals"] => Some(evals::show(console)),
        ["replay"] => Some(replay::show(console)),
        _ => None,
    }
}

fn guard(console: &Console) -> Guard<'_> {
    Guard(&console.door.guard)
}

/// A document as people read it; the beginning of one that is long.
fn document(value: &Value) -> Markup {
    let text = match value {
        Value::String(text) => text.clone(),
        other => format!("{other:#}"),
    };
    let shown: String = text.chars().take(SHOWN).collect();
    html! {
        pre class="code" tabindex="0" { (shown) }
        @if shown.len() < text.len() { p class="soft" { "The first " (shown.len()) " of " (text.len()) " bytes." } }
    }
}

/// The name of an agent or a case as a choice of a form.
fn listed(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort();
    names.dedup();
    names
}

/// Every agent that can be given a job.
fn agents_of(console: &Console) -> Vec<String> {
    let built_in = jos_node::registry::BUILT_IN_AGENTS.into_iter().map(str::to_owned);
    listed(
        console
            .registry()
            .agents()
            .into_iter()
            .map(|listed| listed.name.to_string())
            .chain(built_in),
    )
}

/// Of how a job stands, in one badge.
fn state_badge(state: &str) -> Markup {
    use jos_ui::Tone;
    let (tone, word) = match state {
        "DONE" => (Tone::Good, "done"),
        "FAILED" => (Tone::Bad, "failed"),
        "RUNNING" => (Tone::Busy, "running"),
        "BLOCKED" => (Tone::Warn, "blocked"),
        "PENDING" => (Tone::Quiet, "pending"),
        other => (Tone::Quiet, other),
    };
    jos_ui::parts::badge(tone, word)
}

/// A moment of a record, in the words of now.
fn moment(time: &str, now: i64) -> Markup {
    match jos_schemas::text::Utc::new(time) {
        Ok(utc) => jos_ui::words::moment(utc.unix(), now),
        Err(_) => html! { (time) },
    }
}

/// A link to a job; only what is a job's name leads anywhere.
fn job_link(id: &str) -> Markup {
    if jos_node::jobs::is_id(id) {
        html! { a href={ "/jobs/" (id) } { (id) } }
    } else {
        html! { span class="mono" { (id) } }
    }
}
