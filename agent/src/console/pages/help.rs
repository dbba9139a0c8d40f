//! Help: how it works in one picture, and commands to copy.

use jos_ui::shell::Page;
use jos_ui::{Markup, html, parts};

use super::super::{Console, page};

/// What to copy: id, heading, text, command.
const COMMANDS: [(&str, &str, &str, &str); 8] = [
    (
        "c-init",
        "Begin",
        "A directory with agents, tools, evaluations and schedules to try.",
        "jos runtime init --with-examples",
    ),
    (
        "c-serve",
        "Run the node",
        "It sleeps until a file comes. Any number may share a directory.",
        "jos serve",
    ),
    (
        "c-submit",
        "Give work",
        "And wait for its end.",
        "jos submit advance --wait",
    ),
    (
        "c-add",
        "Add an agent",
        "An artifact of prompts, a module, or a program.",
        "jos add-agent reviewer.jos",
    ),
    ("c-watch", "Watch", "Results and failures as they come.", "jos watch"),
    (
        "c-replay",
        "Replay",
        "The history again, from the ledger alone. Exit code 1 where it diverges.",
        "jos runtime replay",
    ),
    (
        "c-eval",
        "Evaluate",
        "Every case; exit code 1 where one fails.",
        "jos eval",
    ),
    (
        "c-blame",
        "Blame",
        "Which agent's decision wrote a file.",
        "jos runtime blame artifacts/inventory.txt",
    ),
];

pub(super) fn show(console: &Console) -> Page {
    let root = std::fs::canonicalize(console.data.root()).unwrap_or_else(|_| console.data.root().to_owned());
    let body = html! {
        section class="card" {
            h2 { "From a job to its result" }
            (flow())
            p class="soft" { "The model decides what is proposed. The node decides whether it happens, and how; it writes each step down before it is taken. So the run can be computed again without the model." }
        }
        div class="columns even" {
            section class="card" {
                h2 { "By keyboard, from a terminal" }
                p { "Each of these is what a button here does. The directory is " code { (root.display()) } "; add " code { "--data-dir" } " where you are not beside it." }
                @for (id, heading, text, command) in COMMANDS {
                    h3 { (heading) }
                    p class="soft" { (text) }
                    (parts::copied(id, command))
                }
            }
            div {
                section class="card" {
                    h2 { "The pages" }
                    dl class="facts" {
                        @for (name, path, text) in super::super::frame::PAGES { div { dt { a href=(path) { (name) } } dd { (text) } } }
                    }
                }
                section class="card" {
                    h2 { "More" }
                    p { a class="button second" href="/?tour=1" { "Take the tour again" } }
                    p class="soft" { "Every command has examples: " code { "jos submit --help" } ". How agents are built is in docs/building-agents.md." }
                    p class="soft" { "This console listens to this machine alone, and to who has its token: the address that it printed. It lasts until Ctrl-C." }
                }
            }
        }
    };
    page(
        "Help",
        "Pictures and commands: what happens to a job, and how to do from a terminal what the pages do.",
        body,
    )
}

/// A job's way, in two rows.
fn flow() -> Markup {
    let boxes = [
        (20, 30, "inbox/", "a job, one file"),
        (190, 30, "agent", "asks the model"),
        (360, 30, "proposal", "data, nothing more"),
        (530, 30, "gate", "or it is refused"),
        (530, 150, "ledger", "durable, chained"),
        (360, 150, "executor", "by its grants"),
        (190, 150, "ledger", "what came of it"),
        (20, 150, "outbox/", "or failed/, and why"),
    ];
    let arrows = [
        "M160 60H186",
        "M330 60H356",
        "M500 60H526",
        "M600 90V146",
        "M530 180H504",
        "M360 180H334",
        "M190 180H164",
    ];
    let heads = [
        (190, 60, 0),
        (360, 60, 0),
        (530, 60, 0),
        (600, 150, 90),
        (500, 180, 180),
        (330, 180, 180),
        (160, 180, 180),
    ];
    html! {
        svg class="drawing" viewBox="0 0 690 226" role="img"
            aria-label="A job in inbox goes to an agent, which asks the model and proposes; the gate checks; the ledger records the decision; the executor acts with the agent's grants; the ledger records what came of it; the result is in outbox" {
            @for arrow in arrows { path class="way" d=(arrow) {} }
            @for (x, y, turn) in heads { path class="head" d="M0 0l-9 -4.5v9z" transform={ "translate(" (x) " " (y) ") rotate(" (turn) ")" } {} }
            @for (x, y, name, about) in boxes {
                rect class="box" x=(x) y=(y) width="140" height="60" rx="10" {}
                text x=(x + 70) y=(y + 27) { (name) }
                text class="soft" x=(x + 70) y=(y + 46) { (about) }
            }
        }
    }
}
