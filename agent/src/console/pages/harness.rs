//! What stands between an agent and the machine.

use jos_node::roles::{ROLES, right_word};
use jos_ui::shell::Page;
use jos_ui::{Markup, Tone, html, parts, words};

use super::super::{Console, page};
use super::{job_link, moment};

/// The rules, and what holds each.
const RULES: [(&str, &str); 7] = [
    (
        "An agent proposes; it never acts",
        "What it returns is data: id, kind, payload. Nothing in it is called.",
    ),
    (
        "Every proposal passes one gate",
        "Type, ids, JSON alone, then the validator of the tool; the first refusal counts for the whole proposal.",
    ),
    (
        "Durable before it acts",
        "A decision is in the ledger, on the disk, before anybody executes it; what came of it follows.",
    ),
    (
        "The node says who",
        "Agent and source of a decision are set by the node. What an agent says of itself is not read.",
    ),
    (
        "Nothing is granted that is not named",
        "Rights are by queue or path prefix. A tool acts with the grants of the agent that proposed, never with the node's.",
    ),
    (
        "Some places are never granted",
        "Where the node keeps its keys, its ledger, its jobs, agents and tools: no document can name them.",
    ),
    (
        "Every access is written down",
        "Allowed or denied, with path and the true agent, in the same ledger.",
    ),
];

pub(super) fn show(console: &Console) -> Page {
    let now = console.now();
    let glance = console.log.glance(&console.data);
    let registry = console.registry();
    let roles: Vec<Vec<Markup>> = ROLES
        .iter()
        .map(|role| {
            let rights =
                html! { @for (right, to) in role.rights { div class="mono" { (right_word(*right)) " " (to) } } };
            vec![
                html! { strong { (role.name) } small class="sub" { (role.what) } },
                rights,
            ]
        })
        .collect();
    let grants: Vec<Vec<Markup>> = registry
        .agents()
        .iter()
        .map(|agent| {
            let granted = html! { @if agent.grants.is_empty() { span class="soft" { "nothing" } } @for grant in &agent.grants { div class="mono" { (grant) } } };
            vec![html! { strong { (agent.name) } }, granted]
        })
        .collect();
    let accesses: Vec<Vec<Markup>> = glance
        .accesses
        .iter()
        .take(50)
        .map(|one| {
            let badge = if one.allowed {
                parts::badge(Tone::Good, "allowed")
            } else {
                parts::badge(Tone::Bad, "denied")
            };
            vec![
                html! { strong { (one.agent) } small class="sub" { (job_link(&one.job)) ", record #" (one.index) } },
                html! { (one.right) " " span class="mono" { (one.to) } },
                badge,
                moment(&one.time, now),
            ]
        })
        .collect();
    let refusals: Vec<Vec<Markup>> = glance
        .refusals
        .iter()
        .take(50)
        .map(|one| {
            vec![
                html! { strong { (one.agent) } small class="sub" { (job_link(&one.job)) ", record #" (one.index) } },
                html! { (one.reason) },
                moment(&one.time, now),
            ]
        })
        .collect();
    let body = html! {
        div class="stats" data-live="stats" {
            (parts::stat(Tone::Good, glance.allowed, "allowed", "#audit", false))
            (parts::stat(Tone::Bad, glance.denied, "denied", "#audit", false))
            (parts::stat(Tone::Warn, glance.refusals.len() as u64, "refused or failed", "#refused", false))
        }
        div class="columns" {
            div {
                section class="card tight" id="audit" data-live="audit" {
                    h2 { "Accesses" (parts::tip("an access", "What an agent, or a tool in its name, asked for through its hands. The last fifty; the ledger has them all.")) }
                    (parts::table(&["Agent", "What", "", "When"], &accesses, "None yet."))
                }
                section class="card tight" id="refused" data-live="refused" {
                    h2 { "Refused and failed" }
                    (parts::table(&["Agent", "Why", "When"], &refusals, "Nothing."))
                }
                section class="card tight" data-live="grants" {
                    h2 { (words::counted(grants.len() as u64, "agent")) ", and what each was granted" }
                    (parts::table(&["Agent", "Granted"], &grants, "No agent but advance, which is granted nothing."))
                }
            }
            div {
                section class="card" {
                    h2 { "The rules" }
                    dl class="facts" { @for (rule, held) in RULES { div { dt { strong { (rule) } } dd { (held) } } } }
                }
                section class="card tight" {
                    h2 { "Roles" (parts::tip("a role", "A named bundle of rights. A document names roles, single rights, or both.")) }
                    (parts::table(&["Role", "Rights"], &roles, ""))
                }
            }
        }
    };
    let intro = "Agents hold only what they were granted, and each access is written down. This is what mediates between them and the machine.";
    page("Harness", intro, body)
}
