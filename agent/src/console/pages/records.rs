//! The decision log: every record of the ledger, newest first, a page at a time.

use jos_ui::shell::Page;
use jos_ui::{Markup, Tone, html, parts, words};

use super::super::http::Request;
use super::super::{Console, page};
use super::{job, job_link, moment};
use crate::console::log::text;

/// Records on a page.
const PAGE: u64 = 50;

pub(super) fn show(console: &Console, request: &Request) -> Page {
    let glance = console.log.glance(&console.data);
    let asked = request.asked("before").parse::<u64>().ok();
    let before = asked.unwrap_or(glance.records).min(glance.records);
    let (records, unread) = match console.log.before(&console.data, before, PAGE) {
        Ok(records) => (records, None),
        Err(e) => (Vec::new(), Some(e)),
    };
    let rows: Vec<Vec<Markup>> = records
        .iter()
        .rev()
        .map(|record| {
            let (tone, about) = job::about(record);
            let (id, agent) = (text(&record.payload["job"]), text(&record.payload["agent"]));
            vec![
                html! { span class="id" { "#" (record.index) } },
                parts::badge(tone, &record.kind),
                html! { @if !id.is_empty() { (job_link(&id)) } @if !agent.is_empty() { small class="sub" { (agent) } } },
                about,
                moment(&record.time, console.now()),
            ]
        })
        .collect();
    let older = records.first().map(|first| first.index).filter(|first| *first > 0);
    let body = html! {
        @if let Some(e) = &unread { (parts::notice(Tone::Bad, &html! { "The ledger could not be read: " (e) })) }
        @if let Some(broken) = &glance.broken { (parts::notice(Tone::Bad, &html! { "The ledger is damaged: " (broken) })) }
        section class="card tight" data-live="records" {
            h2 { (words::counted(glance.records, "record")) (parts::tip("a record", "A line of the ledger, chained to the one before it by its hash. What an agent or a tool said is in it, or beside it by its hash.")) }
            (parts::table(&["Record", "Kind", "Job", "What", "When"], &rows, "None: nothing was recorded yet, or it was pruned."))
        }
        nav class="beside" aria-label="Pages" data-live="pages" {
            @if before < glance.records { a href="/log" { "Newest" } }
            @if let Some(older) = older { a href={ "/log?before=" (older) } rel="next" { "Older" } }
        }
    };
    let intro = "Everything that was decided, by whom, and what came of it, newest first. A decision is durable before it acts; \
                 a replay computes all of this again.";
    page("Decision log", intro, body).below("Reproducibility", "/replay")
}
