//! The state machine, drawn from its own table, and what drives it now.

use jos_node::machine::{EVENTS, STATES, TRANSITIONS, word};
use jos_ui::shell::Page;
use jos_ui::{Markup, html, parts};

use super::super::{Console, page};
use super::{job_link, moment, state_badge};

/// Where a state is drawn.
fn place(state: &str) -> (u16, u16) {
    match state {
        "PENDING" => (90, 50),
        "RUNNING" => (340, 50),
        "DONE" => (590, 50),
        "BLOCKED" => (340, 180),
        _ => (340, 310),
    }
}

/// The way of a transition, where its word stands, and where its arrow ends: point, and the direction as a rotation.
type Way = (&'static str, (u16, u16), (u16, u16, i16));

fn way(from: &str, event: &str) -> Option<Way> {
    Some(match (from, event) {
        ("PENDING", "start") => ("M150 50H276", (213, 40), (280, 50, 0)),
        ("PENDING", "fail") => ("M110 74V298H276", (192, 290), (280, 298, 0)),
        ("RUNNING", "block") => ("M322 74V152", (296, 118), (322, 156, 90)),
        ("RUNNING", "complete") => ("M400 50H526", (463, 40), (530, 50, 0)),
        ("RUNNING", "fail") => ("M388 74C500 130 500 240 404 296", (494, 190), (400, 298, 150)),
        ("BLOCKED", "unblock") => ("M358 156V78", (390, 118), (358, 74, -90)),
        ("BLOCKED", "fail") => ("M340 204V282", (358, 248), (340, 286, 90)),
        ("FAILED", "reset") => ("M280 322H70V78", (168, 342), (70, 74, -90)),
        _ => return None,
    })
}

pub(super) fn show(console: &Console) -> Page {
    let glance = console.log.glance(&console.data);
    let here = glance.transitions.front().map_or("", |last| last.to.as_str());
    let rows: Vec<Vec<Markup>> = glance
        .transitions
        .iter()
        .take(50)
        .map(|one| {
            vec![
                html! { (job_link(&one.job)) small class="sub" { (one.agent) ", record #" (one.index) } },
                html! { (state_badge(&one.from)) },
                html! { (one.events) },
                state_badge(&one.to),
                moment(&one.time, console.now()),
            ]
        })
        .collect();
    let table: Vec<Vec<Markup>> = TRANSITIONS
        .iter()
        .map(|(from, event, to)| vec![html! { (word(*from)) }, html! { (event) }, html! { (word(*to)) }])
        .collect();
    let body = html! {
        section class="card" data-live="drawing" {
            h2 { "The model" (parts::tip("the drawing", "Made from the runtime's own table of transitions, the one that gates every advance. The state that was reached last is marked.")) }
            (drawing(here))
        }
        div class="columns" {
            section class="card tight" data-live="log" {
                h2 { "Transitions, as they come" }
                (parts::table(&["Job", "From", "Events", "To", "When"], &rows, "None yet: no job has driven it."))
            }
            (parts::tight("All that is allowed", None, &parts::table(&["From", "Event", "To"], &table, "")))
        }
    };
    let intro = format!(
        "Every job drives a machine of {} states by {} events. What its table does not allow does not happen, whoever proposes it.",
        STATES.len(),
        EVENTS.len()
    );
    page("State machine", &intro, body)
}

fn drawing(here: &str) -> Markup {
    let tone = |state: &str| match state {
        "DONE" => "good",
        "FAILED" => "bad",
        "BLOCKED" => "warn",
        _ => "busy",
    };
    html! {
        svg class="drawing" viewBox="0 0 680 360" role="img" aria-label="States and transitions; the table below says the same" {
            @for (from, event, _) in TRANSITIONS {
                @if let Some((path, (x, y), (tip_x, tip_y, turn))) = way(word(from), event) {
                    path class="way" d=(path) {}
                    path class="head" d="M0 0l-9 -4.5v9z" transform={ "translate(" (tip_x) " " (tip_y) ") rotate(" (turn) ")" } {}
                    text class="soft" x=(x) y=(y) { (event) }
                }
            }
            @for state in STATES {
                @let (x, y) = place(word(state));
                g class=(tone(word(state))) {
                    rect class={ "box" @if word(state) == here { " here" } } x=(x - 60) y=(y - 24) width="120" height="48" rx="10" {}
                    text x=(x) y=(y + 5) { (word(state)) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_transition_of_the_runtimes_table_is_drawn() {
        for (from, event, to) in TRANSITIONS {
            assert!(
                way(word(from), event).is_some(),
                "{event} leads from {from:?} to {to:?}, and no arrow does"
            );
        }
        let mut places: Vec<(u16, u16)> = STATES.map(|state| place(word(state))).to_vec();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), STATES.len(), "two states are drawn at one place");
    }
}
