//! One device: what it is, what it said, what it is offered and why not, and what can be done about it.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect};
use jos_ui::form::{self as forms, Field, Guard};
use jos_ui::shell::Page;
use jos_ui::{Markup, Tone, html, parts, words};
use serde_json::{Value, json};

use super::answers::{self, Answers};
use super::form;
use super::history;
use super::overview::{device_path, rollout_path, state_path};
use super::reply::{self, At, Shown, tenant_path};
use super::session::Visitor;
use super::standing::{self, Live, Standing};
use crate::api::App;
use crate::api::admin::devices::{self as api, Shown as Known, ShownAgent};
use crate::api::admin::questions;
use crate::fault::{Done, Fault};
use crate::figures;
use crate::offer;
use crate::rights::Deed;
use crate::store::devices::{self, Device, Status};
use crate::store::glances;
use crate::store::users::Role;
use crate::watchman;

/// The page.
pub(super) async fn show(
    State(app): State<App>,
    visitor: Visitor,
    Path((tenant, id)): Path<(String, String)>,
) -> Shown {
    let page = page(&app, &visitor, &tenant, &id, None).await?;
    reply::show(&app.hub, &visitor, at(&tenant), &page).await
}

/// Labels, holds, quarantines, releases or revokes it, or asks it something.
pub(super) async fn change(
    State(app): State<App>,
    visitor: Visitor,
    Path((tenant, id, act)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Shown {
    let fields = form::read(&headers, body, visitor.guard().0).await?;
    let deed = match act.as_str() {
        "revoke" => Deed::Discard,
        "ask" => Deed::Ask,
        _ => Deed::Tend,
    };
    visitor.needs(&tenant, deed)?;
    own(&app, &tenant, &id).await?;
    let reason = Body::from(json!({ "reason": fields.get("reason") }).to_string());
    let (state, asker, path) = (State(app.clone()), visitor.asks(deed)?, Path(id.clone()));
    if act == "ask" {
        let asked = questions::ask(state, asker, path, answers::asked(&fields)).await;
        return ended(&app, &visitor, &tenant, &id, asked.map(drop)).await;
    }
    let done = match act.as_str() {
        "quarantine" => api::quarantine(state, asker, path, reason).await,
        "release" => api::release(state, asker, path, reason).await,
        "hold" => api::hold(state, asker, path, reason).await,
        "unhold" => api::unhold(state, asker, path, reason).await,
        "revoke" => api::revoke(state, asker, path, reason).await,
        "label" => match labels(&app, &id, fields.get("labels")).await {
            Ok(asked) => api::label(state, asker, path, Body::from(asked.to_string())).await,
            Err(fault) => Err(fault),
        },
        _ => return Err(Fault::not_found("there is no such page").into()),
    };
    ended(&app, &visitor, &tenant, &id, done.map(drop)).await
}

/// Back to the page, or the page with what is wrong.
async fn ended(app: &App, visitor: &Visitor, tenant: &str, id: &str, done: Done<()>) -> Shown {
    match done {
        Ok(()) => Ok(Redirect::to(&device_path(tenant, id)).into_response()),
        Err(fault) => {
            let page = page(app, visitor, tenant, id, Some(reply::line(&fault))).await?;
            reply::refused(&app.hub, visitor, at(tenant), &page, &fault).await
        }
    }
}

fn at(tenant: &str) -> At<'_> {
    At {
        tenant: Some(tenant),
        here: "Devices",
    }
}

/// The device, if it is this tenant's.
async fn own(app: &App, tenant: &str, id: &str) -> Done<Device> {
    let device = devices::by_id(&mut *app.hub.store.read().await?, id).await?;
    device
        .filter(|device| device.tenant == tenant)
        .ok_or_else(|| Fault::not_found("there is no such device"))
}

/// What to set and remove, so that the labels are those of the form.
async fn labels(app: &App, id: &str, text: &str) -> Done<Value> {
    let mut wanted = BTreeMap::new();
    for word in text.split_whitespace() {
        let (key, value) = word.split_once('=').ok_or_else(|| {
            Fault::malformed(format!(
                "found the label {word:?}, expected KEY=VALUE, with spaces between labels"
            ))
        })?;
        wanted.insert(key.to_owned(), value.to_owned());
    }
    let device = devices::by_id(&mut *app.hub.store.read().await?, id).await?;
    let remove: Vec<String> = device
        .map(|device| {
            device
                .labels
                .into_keys()
                .filter(|key| !wanted.contains_key(key))
                .collect()
        })
        .unwrap_or_default();
    Ok(json!({ "set": wanted, "remove": remove }))
}

async fn page(app: &App, visitor: &Visitor, tenant: &str, id: &str, said: Option<(Tone, String)>) -> Done<Page> {
    let role = visitor.role(tenant)?;
    own(app, tenant, id).await?;
    let known = api::show(State(app.clone()), visitor.asks(Deed::Look)?, Path(id.to_owned()))
        .await?
        .0;
    let now = app.hub.clock.now();
    let device = &known.device;
    let standing = {
        let mut conn = app.hub.store.read().await?;
        let live = Live::read(&mut conn, tenant, Some(id)).await?;
        // Ids are of one alphabet: what follows `id` without its last character is `id` and its neighbours.
        let before = &id[..id.len().saturating_sub(1)];
        let mut agents = glances::agents(&mut conn, tenant, before, id).await?;
        agents.retain(|agent| agent.device == id);
        Standing::of(device, &agents, &live, now)
    };
    let measured = history::charts(&app.hub, id, &known.agents).await?;
    let asked = questions::list(State(app.clone()), visitor.asks(Deed::Look)?, Path(id.to_owned()));
    let asked = asked.await?.0;
    let told = Answers {
        asked: &asked,
        known: &known,
        guard: (role >= Deed::Ask.role()).then(|| visitor.guard()),
        now,
    };
    let name = device.facts.get("hostname").map_or(id, String::as_str);
    let body = html! {
        div data-live="alarms" { (alarms(&known, now)) }
        div class="columns" {
            div {
                div data-live="agents" {
                    @for agent in &known.agents { (agent_card(agent, tenant, now)) }
                    @if known.agents.is_empty() { (parts::card("States", None, &html! { p class="none" { "No agent of it has called, and no state is meant for it." } })) }
                    (reports(&known, tenant, now))
                    (measured)
                }
                (told.cards())
            }
            div {
                (inventory(device, now))
                @if role >= Deed::Tend.role() { (acts(device, visitor.guard(), role)) }
            }
        }
    };
    let badge = html! { span data-live="badge" { (parts::badge(standing.tone(), standing.words())) } };
    Ok(Page::new(name, body)
        .below("Devices", tenant_path(tenant, "/devices"))
        .beside(badge)
        .saying(said)
        .live())
}

fn alarms(known: &Known, now: i64) -> Markup {
    html! {
        @if let Some(reason) = known.device.reason.as_deref().filter(|_| known.device.status != Status::Active) {
            (parts::notice(Tone::Bad, &html! { strong { @if known.device.status == Status::Revoked { "Revoked" } @else { "In quarantine" } } ": " (reason) }))
        }
        @if let Some(reason) = &known.device.held {
            (parts::notice(Tone::Quiet, &html! { strong { "Held" } " at the version that it has" @if !reason.is_empty() { ": " (reason) } "." }))
        }
        @for alarm in &known.alarms {
            (parts::notice(Tone::Bad, &html! {
                strong { (alarm.kind) } " in " (alarm.name) ": " (alarm.detail)
                div { small { "first " (words::moment(alarm.first, now)) ", last " (words::moment(alarm.latest, now)) ", " (words::counted(alarm.times, "time")) } }
            }))
        }
    }
}

fn agent_card(agent: &ShownAgent, tenant: &str, now: i64) -> Markup {
    let in_force = agent.said.as_ref().and_then(|said| said.version);
    let link = |version: u64| html! { a href=(state_path(tenant, &agent.name, version)) { "version " (version) } };
    let mut facts = vec![
        (
            "In force",
            match in_force {
                Some(version) => link(version),
                None => html! { span class="soft" { "nothing yet" } },
            },
        ),
        (
            "Offered",
            match agent.offered {
                0 => html! { span class="soft" { "nothing" } },
                version if in_force == Some(version) => {
                    html! { (link(version)) " " (parts::badge(Tone::Good, "in step")) }
                }
                // It said that it had tried it, and has another in force: it waits for the next version.
                version if agent.said.as_ref().is_some_and(|said| said.floor >= version) => {
                    html! { (link(version)) " " (parts::badge(Tone::Bad, "tried, not kept")) }
                }
                version => html! { (link(version)) " " (parts::badge(Tone::Busy, "on its way")) },
            },
        ),
    ];
    if let Some(rollout) = &agent.rollout {
        facts.push((
            "Brought by",
            html! { a class="id" href=(rollout_path(tenant, rollout)) { (rollout) } },
        ));
    }
    if let Some(said) = &agent.said {
        if let Some(outcome) = said.outcome {
            let (tone, text) = standing::ending(outcome);
            facts.push(("Last apply", parts::badge(tone, text)));
        }
        facts.push((
            "Called",
            html! { @if said.seen == 0 { "never" } @else { (words::moment(said.seen, now)) } },
        ));
        facts.push(("Program", html! { "jos " (said.program) }));
        if !said.features.is_empty() {
            let features: Vec<&str> = said.features.iter().map(|feature| feature.as_str()).collect();
            facts.push(("Can do", html! { (features.join(", ")) }));
        }
        if let Some(head) = &said.head {
            let hash = head.hash.to_string();
            facts.push((
                "Ledger",
                html! { "record " (head.index) " " span class="mono soft" title=(hash) { (words::short(&hash)) } },
            ));
        }
    }
    parts::card(
        &agent.name,
        None,
        &html! {
            @if let Some(held) = &agent.held { (parts::notice(Tone::Warn, &html! { (offer::sentence(held)) })) }
            (parts::facts(facts))
            @if let Some(said) = agent.said.as_ref().filter(|said| !said.telemetry.is_empty()) {
                h3 { "Telemetry" }
                // Its alarm stands above.
                @let shown = figures::shown(&said.telemetry);
                (parts::facts(shown.iter().filter(|(name, _)| name != watchman::SAID).map(|(name, text)| (name.as_str(), html! { (text) }))))
                @if said.figures_lost > 0 {
                    p class="none" { (said.figures_lost) " samples are lost: it had no room for more while no hub answered." }
                }
            }
        },
    )
}

fn reports(known: &Known, tenant: &str, now: i64) -> Markup {
    let rows: Vec<Vec<Markup>> = known
        .reports
        .iter()
        .map(|report| {
            let (tone, text) = standing::ending(report.outcome);
            vec![
                html! { a href=(state_path(tenant, &report.name, report.version)) { (words::version(&report.name, report.version)) } },
                html! { (parts::badge(tone, text)) },
                html! {
                    @match &report.reason { Some(reason) => { (reason) }, None => { (words::counted(u64::from(report.changed), "step")) " changed" } }
                    span class="sub" { "record " (report.ledger.index) }
                },
                html! { (words::moment(report.received, now)) },
            ]
        })
        .collect();
    parts::tight(
        "Reports",
        None,
        &parts::table(
            &["State", "Ended", "Because", "Received"],
            &rows,
            "It has reported nothing yet.",
        ),
    )
}

fn inventory(device: &Device, now: i64) -> Markup {
    let mut facts: Vec<(&str, Markup)> = vec![("Id", html! { span class="id" { (device.id) } })];
    for (name, value) in &device.facts {
        facts.push((name.as_str(), html! { (value) }));
    }
    facts.push(("Labels", html! { @if device.labels.is_empty() { span class="soft" { "none" } } @else { (parts::labels(&device.labels)) } }));
    facts.push((
        "Seen",
        match (device.last_seen, &device.address) {
            (Some(at), Some(address)) => html! { (words::moment(at, now)) " from " (address) },
            (Some(at), None) => words::moment(at, now),
            (None, _) => html! { span class="soft" { "never" } },
        },
    ));
    facts.push((
        "Enrolled",
        html! { (words::moment(device.enrolled, now)) span class="soft" { " by " span class="id" { (device.token) } } },
    ));
    facts.push(("Certificate", html! { "ends " (words::moment(device.not_after, now)) }));
    facts.push((
        "TLS key",
        html! { span class="mono" title=(device.tls) { (words::short(&device.tls)) } },
    ));
    html! { section class="card" data-live="inventory" { h2 { "Device" } (parts::facts(facts)) p class="soft" { small { "What it says of itself is not who it is: that is its TLS key alone." } } } }
}

fn acts(device: &Device, guard: Guard<'_>, role: Role) -> Markup {
    let path = |act: &str| format!("/t/{}/devices/{}/{act}", device.tenant, device.id);
    let because = |hint: &str| {
        forms::field(&Field {
            name: "reason",
            label: "Because",
            hint,
            optional: true,
            ..Field::default()
        })
    };
    let written: Vec<String> = device
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let written = written.join(" ");
    parts::card(
        "What to do",
        None,
        &html! {
            @if device.status != Status::Revoked {
                (parts::opened("Change its labels", "", &forms::form(&path("label"), guard, &html! {
                    (forms::field(&Field { name: "labels", label: "Labels", value: &written, hint: "KEY=VALUE, with spaces between them. Labels choose the states that it gets.", optional: true, ..Field::default() }))
                    button class="second" { "Set the labels" }
                })))
            }
            @if device.status != Status::Revoked && device.held.is_none() {
                (parts::opened("Hold it at its version", "", &forms::form(&path("hold"), guard, &html! {
                    p { "It is served what it has, and nothing newer, until it is let go on." }
                    (because("One line, for the audit log."))
                    button class="second" { "Hold" }
                })))
            }
            @if device.held.is_some() {
                (parts::opened("Let it go on", "", &forms::form(&path("unhold"), guard, &html! {
                    (because("One line, for the audit log."))
                    button class="second" { "Let it go on" }
                })))
            }
            @if device.status == Status::Active {
                (parts::opened("Put it into quarantine", "", &forms::form(&path("quarantine"), guard, &html! {
                    p { "It keeps the state that it has, and is served nothing until it is released." }
                    (because("One line; the device is told, and the audit log keeps it."))
                    button class="second" { "Quarantine" }
                })))
            }
            @if device.status == Status::Quarantined || device.status == Status::Active {
                (parts::opened("Release it and clear its alarms", "", &forms::form(&path("release"), guard, &html! {
                    (because("One line, for the audit log."))
                    button class="second" { "Release" }
                })))
            }
            @if role >= Deed::Discard.role() && device.status != Status::Revoked {
                (parts::opened("Revoke it", "danger", &forms::form(&path("revoke"), guard, &html! {
                    p { "For good: its keys are never taken again. To come back it enrols anew, with new keys." }
                    (because("One line; the device is told, and the audit log keeps it."))
                    button class="danger" { "Revoke for good" }
                })))
            }
            @if device.status == Status::Revoked { p class="none" { "Nothing: it was revoked." } }
        },
    )
}
