//! Jobs: submit one, see all.

use std::time::UNIX_EPOCH;

use jos_node::jobs;
use jos_runtime::disk::Disk;
use jos_schemas::text::Name;
use jos_ui::form::{self, Field};
use jos_ui::shell::Page;
use jos_ui::{Markup, Tone, html, parts, words};
use serde_json::Value;

use super::super::form::Form;
use super::super::frame::Wrong;
use super::super::http::Request;
use super::super::log::text;
use super::super::{Console, page};
use super::{agents_of, guard, job_link, state_badge};

/// Jobs on a page.
const PAGE: usize = 25;
/// The states that the list can be held to: name, folder.
const STATES: [(&str, &str); 4] = [
    ("waiting", "inbox"),
    ("running", "claimed"),
    ("done", "processed"),
    ("failed", "failed"),
];

/// A job's file.
struct Found {
    folder: &'static str,
    file: String,
    /// Its name, or the file's where that names no job.
    id: String,
    changed: i64,
}

pub(super) fn show(console: &Console, request: &Request, form: &Form) -> Page {
    let wanted = request.asked("state");
    let folders: Vec<&'static str> = STATES
        .into_iter()
        .filter(|(state, _)| wanted.is_empty() || *state == wanted)
        .map(|(_, folder)| folder)
        .collect();
    let mut found: Vec<Found> = folders.iter().flat_map(|folder| find(console, folder)).collect();
    found.sort_by(|a, b| b.changed.cmp(&a.changed).then_with(|| a.id.cmp(&b.id)));
    let pages = found.len().div_ceil(PAGE).max(1);
    let at = request.asked("page").parse::<usize>().unwrap_or(1).clamp(1, pages);
    let shown = &found[(at - 1) * PAGE..found.len().min(at * PAGE)];
    let rows: Vec<Vec<Markup>> = shown.iter().map(|job| row(console, job)).collect();
    let query = if STATES.iter().any(|(state, _)| *state == wanted) {
        format!("state={wanted}&")
    } else {
        String::new()
    };
    let list = html! {
        section class="card tight" data-live="jobs" {
            h2 { (words::counted(found.len() as u64, "job")) @if !query.is_empty() { " " (wanted) } }
            (parts::table(&["Job", "Agent", "State", "Submitted"], &rows, "None yet. Submit one beside this list."))
            (parts::pager(at as u64, pages as u64, &format!("{at} of {pages}"), |n| format!("/jobs?{query}page={n}")))
        }
    };
    let filter = html! {
        nav class="beside" aria-label="By state" data-live="filter" {
            a href="/jobs" aria-current=[query.is_empty().then_some("true")] { "all" }
            @for (state, _) in STATES { a href={ "/jobs?state=" (state) } aria-current=[(state == wanted).then_some("true")] { (state) } }
        }
    };
    let intro = "A job is an agent's name and an input, put into inbox/ as one file. Its result comes into outbox/, or it stands in failed/ with the reason.";
    page(
        "Jobs",
        intro,
        html! { div class="columns" { div { (list) } div { (submission(console, form)) } } },
    )
    .beside(filter)
}

fn find(console: &Console, folder: &'static str) -> Vec<Found> {
    let names = console.data.names(folder).unwrap_or_default().into_iter();
    let of = |file: String| {
        if file.ends_with(".reason") {
            return None;
        }
        let meta = console.data.path(&format!("{folder}/{file}")).symlink_metadata().ok()?;
        let since = meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        let stem = file.strip_suffix(".json").unwrap_or(&file);
        let id = if folder == "claimed" {
            stem.split('@').next().unwrap_or(stem)
        } else {
            stem
        };
        Some(Found {
            folder,
            id: id.to_owned(),
            changed: i64::try_from(since.as_secs()).ok()?,
            file,
        })
    };
    names.filter_map(of).collect()
}

/// A file of the data directory as JSON, through no link: null where there is none.
pub(super) fn json(console: &Console, place: &str) -> Value {
    let disk = Disk::open(console.data.root(), "0");
    let bytes = disk
        .and_then(|disk| disk.read(place, jobs::JOB_LIMIT * 4))
        .map(|(bytes, _)| bytes);
    bytes
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

fn row(console: &Console, job: &Found) -> Vec<Markup> {
    let Found {
        folder,
        file,
        id,
        changed,
    } = job;
    let document = json(console, &format!("{folder}/{file}"));
    let agent = document
        .get("agent")
        .or_else(|| document.get("kind"))
        .map(text)
        .unwrap_or_default();
    let (state, reason) = match *folder {
        "inbox" => ("waiting".to_owned(), String::new()),
        "claimed" => ("RUNNING".to_owned(), String::new()),
        "failed" => ("FAILED".to_owned(), reason(console, file)),
        _ => (text(&json(console, &format!("outbox/{file}"))["state"]), String::new()),
    };
    let state = if state.is_empty() { "DONE".to_owned() } else { state };
    vec![
        html! { (job_link(id)) @if !reason.is_empty() { small class="sub" { (reason) } } },
        html! { (agent) },
        state_badge(&state),
        words::moment(*changed, console.now()),
    ]
}

/// Why a job failed, at most so much as a list shows.
pub(super) fn reason(console: &Console, file: &str) -> String {
    let disk = Disk::open(console.data.root(), "0");
    let read = disk.and_then(|disk| disk.read(&format!("failed/{file}.reason"), 1 << 20));
    let text = read
        .map(|(bytes, _)| String::from_utf8_lossy(&bytes).trim().to_owned())
        .unwrap_or_default();
    text.chars().take(2000).collect()
}

fn submission(console: &Console, form: &Form) -> Markup {
    let agents = agents_of(console);
    let options: Vec<(&str, &str)> = agents.iter().map(|name| (name.as_str(), name.as_str())).collect();
    let chosen = if form.get("agent").is_empty() {
        "advance"
    } else {
        form.get("agent")
    };
    let input = if form.exact("input").is_empty() {
        "{}"
    } else {
        form.exact("input")
    };
    let fields = html! {
        (form::select("agent", "Agent", &options, chosen))
        (form::area(&Field { name: "input", label: "Input", value: input, hint: "JSON, handed to the agent as it is.", ..Field::default() }, 5))
        (form::field(&Field {
            name: "id", label: "Id", value: form.get("id"), optional: true,
            hint: "Names the job's files; made when left out. A second job of the same id is refused.", ..Field::default()
        }))
        button { "Submit" }
    };
    html! {
        section class="card" id="submit" {
            h2 { "Submit a job" (parts::tip("a job", "The same as `jos submit AGENT --input JSON`. No node need run: the job waits until one does.")) }
            (form::form("/jobs", guard(console), &fields))
        }
    }
}

/// As `jos submit`.
pub(super) fn submit(console: &Console, form: &Form) -> Result<String, Wrong> {
    let agent = Name::new(form.get("agent")).map_err(|e| Wrong::refused(format!("The agent: {e}")))?;
    let input: Value = serde_json::from_str(form.exact("input"))
        .map_err(|e| Wrong::refused(format!("The input: expected JSON: {e}")))?;
    let id = match form.get("id") {
        "" => format!("{agent}-{}", console.outside.hex(6)),
        id => id.to_owned(),
    };
    jobs::submit(&console.data, &jobs::job(id.clone(), agent, input)).map_err(|e| {
        let help = e.help().map(|help| format!(" ({help})")).unwrap_or_default();
        Wrong::refused(format!("{e}{help}"))
    })?;
    console.say(Tone::Good, format!("Job {id} is submitted."));
    Ok(format!("/jobs/{id}"))
}
