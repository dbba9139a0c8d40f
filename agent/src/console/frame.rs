//! The frame of every page: where one can go, the tour for who is here for the first time, what was just done.

use jos_ui::form::{self, Guard};
use jos_ui::shell::{self, Page, Place, Shell};
use jos_ui::{Markup, Tone, html, parts};

use super::Console;
use super::http::{Reply, Request};

pub(super) const PRODUCT: &str = "jos console";
/// Says in a browser that somebody has taken the tour, or did not want it.
const TOUR: &str = "jos-console-tour";

/// The pages: name, path, and what the tour says of each.
pub(super) const PAGES: [(&str, &str, &str); 9] = [
    (
        "Overview",
        "/",
        "Start here. It says whether a node runs, what it is at, and what to do first: the list lights up as you go.",
    ),
    (
        "Jobs",
        "/jobs",
        "Work enters as a job: an agent and an input. Submit one here, watch it end, open it to see every decision that was made.",
    ),
    (
        "Agents and tools",
        "/agents",
        "Agents propose, tools act. Drop a file in, and a running node has it at once. What could not be loaded is named with the reason.",
    ),
    (
        "Reproducibility",
        "/replay",
        "One click computes the whole history again from the ledger alone, with no model, and names whoever caused a failure.",
    ),
    (
        "Schedules",
        "/schedules",
        "Jobs that submit themselves: every so often, by cron, or at one moment. Each firing happens once, over restarts and nodes.",
    ),
    (
        "Evaluations",
        "/evals",
        "Cases that your agents must pass. Each runs on a fresh node of its own, apart from the live one.",
    ),
    (
        "State machine",
        "/machine",
        "Every job drives this machine. The drawing is made from the runtime's own table; the log beside it is live.",
    ),
    (
        "Harness",
        "/harness",
        "What stands between an agent and the machine: the rules, the roles, and every access that was allowed or denied.",
    ),
    (
        "Help",
        "/help",
        "Pictures and commands to copy. The tour can be taken again from there.",
    ),
];

/// What a page comes to.
pub(super) type Shown = Result<Page, Wrong>;

/// Why there is no page, or why nothing was done.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) status: u16,
    pub(super) message: String,
}

impl Wrong {
    pub(super) fn not_found(what: &str) -> Self {
        Self {
            status: 404,
            message: format!("There is no {what}."),
        }
    }

    pub(super) fn refused(why: impl Into<String>) -> Self {
        Self {
            status: 400,
            message: why.into(),
        }
    }
}

/// A page as a document of its own.
pub(super) fn document(console: &Console, request: &Request, mut page: Page, status: u16) -> Reply {
    let path = path(request);
    page.body = html! { (tour(console, request, &path)) (page.body) };
    let places = places(console, &path);
    Reply::html(status, shell::document(&shell_of(&places), &page).into_string())
}

/// What of it may change while it is open.
pub(super) fn fragment(console: &Console, request: &Request, page: &Page) -> String {
    let places = places(console, &path(request));
    shell::fragment(&shell_of(&places), page).into_string()
}

/// A page of its own, where nobody is let in or something is wrong.
pub(super) fn alone(status: u16, title: &str, body: Markup) -> Reply {
    Reply::html(status, shell::alone(PRODUCT, &Page::new(title, body)).into_string())
}

/// What is said where something was asked that is not there or not done.
pub(super) fn wrong(console: &Console, request: &Request, wrong: &Wrong) -> Reply {
    let title = match wrong.status {
        403 => "Not allowed",
        404 => "Not found",
        _ => "Not done",
    };
    let body = html! {
        (parts::notice(Tone::Warn, &html! { (wrong.message) }))
        p { a class="button second" href="/" { "To the overview" } }
    };
    document(console, request, Page::new(title, body), wrong.status)
}

fn shell_of<'a>(places: &'a [Place]) -> Shell<'a> {
    Shell {
        product: PRODUCT,
        home: "/",
        choices: &[],
        places,
        who: None,
    }
}

fn path(request: &Request) -> String {
    format!("/{}", request.path.first().map_or("", String::as_str))
}

fn places(console: &Console, here: &str) -> Vec<Place> {
    let broken = console.registry().broken().len() as u64;
    let place = |(name, path, _): (&'static str, &str, &str)| Place {
        name,
        path: path.to_owned(),
        alert: if path == "/agents" { broken } else { 0 },
        here: path == here,
    };
    PAGES.into_iter().map(place).collect()
}

/// The cookie that ends the tour.
pub(super) fn ended() -> String {
    format!("{TOUR}=done; Path=/; Max-Age=31536000; HttpOnly; SameSite=Strict")
}

fn tour(console: &Console, request: &Request, here: &str) -> Markup {
    let end = |word: &str, class: &str| {
        form::form(
            "/tour",
            Guard(&console.door.guard),
            &html! { button class=(class) { (word) } },
        )
    };
    if let Some((step, (name, _, text))) = request.asked("tour").parse::<usize>().ok().and_then(|n| {
        let step = n.checked_sub(1)?;
        Some((step, *PAGES.get(step)?)).filter(|(_, (_, path, _))| *path == here)
    }) {
        let next = PAGES.get(step + 1);
        return html! {
            section class="card tour" id="tour" aria-label="Tour" {
                h2 { (name) small { " " (step + 1) " of " (PAGES.len()) } }
                p { (text) }
                div class="beside" {
                    @if let Some((name, path, _)) = next { a class="button" href={ (path) "?tour=" (step + 2) } { "Next: " (name) } }
                    (end(if next.is_some() { "End the tour" } else { "Done" }, if next.is_some() { "plain" } else { "" }))
                }
            }
        };
    }
    if here != "/" || request.cookie(TOUR).is_some() || request.is_post {
        return html! {};
    }
    html! {
        section class="card tour" id="tour" aria-label="Welcome" {
            h2 { "Welcome" }
            p { "Agents propose, a node decides and records, and the whole run can be computed again. The tour shows the nine pages in two minutes." }
            div class="beside" { a class="button" href="/?tour=1" { "Take the tour" } (end("Not now", "plain")) }
        }
    }
}
