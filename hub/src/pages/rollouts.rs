//! Rollouts: how far each has come, why it stopped, and what to tell it.

use std::cmp::Ordering;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect};
use jos_ui::chart::{self, Curve, Line, Share};
use jos_ui::form::{self as forms, Field, Guard};
use jos_ui::shell::Page;
use jos_ui::{Markup, Tone, html, parts, words};
use serde_json::json;

use super::form;
use super::overview::{device_path, rollout_path, state_path};
use super::reply::{self, At, Shown, tenant_path};
use super::session::Visitor;
use crate::api::App;
use crate::api::admin::rollouts::{self as api, Shown as Known};
use crate::fault::{Done, Fault};
use crate::rights::Deed;
use crate::rollout::pace::Status;
use crate::store::rollouts::{self, Reached, RolloutRow};
use crate::store::users::Role;

/// Devices that failed, at most, that the page names.
const NAMED: u32 = 50;

/// All of a tenant.
pub(super) async fn list(State(app): State<App>, visitor: Visitor, Path(tenant): Path<String>) -> Shown {
    visitor.role(&tenant)?;
    let now = app.hub.clock.now();
    let all = rollouts::list(&mut *app.hub.store.read().await?, Some(&tenant)).await?;
    let rows: Vec<Vec<Markup>> = all.iter().map(|rollout| row(rollout, &tenant, now)).collect();
    let none = "None yet. A rollout brings a version to a fleet in phases, and stops by itself when devices fail.";
    let head = ["Brings", "Standing", "Phase", "Because", "Made"];
    let command = format!("jos-hub push state.json --rollout rollout.toml --tenant {tenant}");
    let body = html! {
        (parts::tight("Rollouts", Some("rollouts"), &parts::table(&head, &rows, none)))
        (parts::card("The next one", None, &html! {
            p { "It is handed over with the signed state, where the keys are:" }
            (parts::copied("command", &command))
        }))
    };
    reply::show(&app.hub, &visitor, at(&tenant), &Page::new("Rollouts", body).live()).await
}

/// One.
pub(super) async fn show(
    State(app): State<App>,
    visitor: Visitor,
    Path((tenant, id)): Path<(String, String)>,
) -> Shown {
    let page = page(&app, &visitor, &tenant, &id, None).await?;
    reply::show(&app.hub, &visitor, at(&tenant), &page).await
}

/// Approves, pauses, resumes or aborts it.
pub(super) async fn change(
    State(app): State<App>,
    visitor: Visitor,
    Path((tenant, id, act)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Shown {
    let fields = form::read(&headers, body, visitor.guard().0).await?;
    let deed = if act == "abort" { Deed::Abort } else { Deed::Steer };
    visitor.needs(&tenant, deed)?;
    own(&app, &tenant, &id).await?;
    let reason = Body::from(json!({ "reason": fields.get("reason") }).to_string());
    let (state, asker, path) = (State(app.clone()), visitor.asks(deed)?, Path(id.clone()));
    let done = match act.as_str() {
        "approve" => api::approve(state, asker, path, reason).await,
        "pause" => api::pause(state, asker, path, reason).await,
        "resume" => api::resume(state, asker, path, reason).await,
        "abort" => api::abort(state, asker, path, reason).await,
        _ => return Err(Fault::not_found("there is no such page").into()),
    };
    match done {
        Ok(_) => Ok(Redirect::to(&rollout_path(&tenant, &id)).into_response()),
        Err(fault) => {
            let page = page(&app, &visitor, &tenant, &id, Some(reply::line(&fault))).await?;
            reply::refused(&app.hub, &visitor, at(&tenant), &page, &fault).await
        }
    }
}

fn at(tenant: &str) -> At<'_> {
    At {
        tenant: Some(tenant),
        here: "Rollouts",
    }
}

/// The rollout, if it is this tenant's.
async fn own(app: &App, tenant: &str, id: &str) -> Done<RolloutRow> {
    let rollout = rollouts::get(&mut *app.hub.store.read().await?, id).await?;
    rollout
        .filter(|rollout| rollout.tenant == tenant)
        .ok_or_else(|| Fault::not_found("there is no such rollout"))
}

pub(super) fn standing(status: Status) -> (Tone, &'static str) {
    match status {
        Status::Waiting => (Tone::Warn, "waits for approval"),
        Status::Running => (Tone::Busy, "under way"),
        Status::Paused => (Tone::Warn, "paused"),
        Status::Halted => (Tone::Bad, "halted by itself"),
        Status::Aborted => (Tone::Quiet, "aborted"),
        Status::Done => (Tone::Good, "done"),
    }
}

fn row(rollout: &RolloutRow, tenant: &str, now: i64) -> Vec<Markup> {
    let (tone, text) = standing(rollout.pace.status);
    let brings = words::version(&rollout.name, rollout.version);
    vec![
        html! { a href=(rollout_path(tenant, &rollout.id)) { (brings) } span class="sub id" { (rollout.id) } },
        html! { (parts::badge(tone, text)) },
        html! { (rollout.pace.phase + 1) " of " (rollout.plan.phases.len()) },
        html! { @match &rollout.why { Some(why) => { (why) }, None => { span class="soft" { "–" } } } },
        html! { (words::moment(rollout.created, now)) span class="sub" { "by " (rollout.created_by) } },
    ]
}

async fn page(app: &App, visitor: &Visitor, tenant: &str, id: &str, said: Option<(Tone, String)>) -> Done<Page> {
    let role = visitor.role(tenant)?;
    own(app, tenant, id).await?;
    let known = api::show(State(app.clone()), visitor.asks(Deed::Look)?, Path(id.to_owned()))
        .await?
        .0;
    let failed = rollouts::reached(&mut *app.hub.store.read().await?, id, "failed", "", NAMED).await?;
    let now = app.hub.clock.now();
    let rollout = &known.rollout;
    let (tone, text) = standing(rollout.pace.status);
    let body = html! {
        div data-live="why" {
            @if let Some(why) = &rollout.why { (parts::notice(tone, &html! { (why) })) }
        }
        (progress(&known))
        div class="columns" {
            div data-live="phases" { (phases(&known)) (failures(&failed, tenant, now)) }
            div {
                (facts(rollout, tenant, now))
                div data-live="acts" { @if role >= Deed::Steer.role() { (acts(rollout, visitor.guard(), role)) } }
            }
        }
    };
    let title = format!("Rollout of {}", words::version(&rollout.name, rollout.version));
    Ok(Page::new(title, body)
        .below("Rollouts", tenant_path(tenant, "/rollouts"))
        .beside(html! { span data-live="badge" { (parts::badge(tone, text)) } })
        .saying(said)
        .live())
}

/// The whole in its parts, and how it came to be so.
fn progress(known: &Known) -> Markup {
    let last = known.curve.last().copied().unwrap_or_default();
    let planned = known.rollout.pace.planned.iter().sum::<u64>().max(last.let_in);
    let settled = last.well + last.failed + last.silent;
    let shares = [
        (Tone::Good, "have it", last.well),
        (Tone::Bad, "failed", last.failed),
        (Tone::Warn, "said nothing more", last.silent),
        (Tone::Busy, "at it", last.let_in.saturating_sub(settled)),
        (Tone::Quiet, "still to come", planned.saturating_sub(last.let_in)),
    ];
    let shares = shares.map(|(tone, name, value)| Share { tone, name, value });
    type Value = fn(&api::Point) -> u64;
    let lines: [(Tone, &str, Value); 4] = [
        (Tone::Busy, "turn has come", |point| point.let_in),
        (Tone::Good, "have it", |point| point.well),
        (Tone::Bad, "failed", |point| point.failed),
        (Tone::Warn, "said nothing more", |point| point.silent),
    ];
    let lines = lines.into_iter().filter(|(_, _, value)| value(&last) > 0);
    let lines = lines.map(|(tone, name, value)| {
        let start = (known.rollout.created, 0.0);
        let points = known.curve.iter().map(|point| (point.time, value(point) as f64));
        Line {
            name,
            tone,
            points: std::iter::once(start).chain(points).collect(),
        }
    });
    let curve = Curve {
        lines: lines.collect(),
        most: planned.max(1) as f64,
        steps: true,
        say: |value| words::number(value as u64),
    };
    parts::card(
        "How far it has come",
        Some("progress"),
        &html! {
            (chart::shares(&shares))
            p { @for share in shares.iter().filter(|share| share.value > 0) {
                (parts::badge(share.tone, &format!("{} {}", words::number(share.value), share.name))) " "
            } }
            @if known.curve.is_empty() { p class="none" { "Nobody's turn has come yet." } } @else { (chart::curve(&curve)) }
        },
    )
}

fn phases(known: &Known) -> Markup {
    let rollout = &known.rollout;
    let row = |(at, phase): (usize, &jos_schemas::documents::rollout::Phase)| {
        let tally = known.phases.iter().find(|tally| tally.phase == at as u64);
        let tally = tally.copied().unwrap_or_default();
        let planned = rollout.pace.planned.get(at).copied().unwrap_or(0).max(tally.let_in);
        let (tone, text) = match (at.cmp(&rollout.pace.phase), rollout.pace.status) {
            (_, Status::Done) | (Ordering::Less, _) => (Tone::Good, "over"),
            (Ordering::Equal, status) => standing(status),
            (Ordering::Greater, _) => (Tone::Quiet, "to come"),
        };
        vec![
            html! { (at + 1) span class="sub" { "up to " (phase.percent) " %" } @if !phase.labels.is_empty() { (parts::labels(&phase.labels)) } },
            parts::badge(tone, text),
            html! { @if planned == 0 { span class="soft" { "–" } } @else { (words::number(tally.let_in)) " of " (words::number(planned)) (chart::bar(Tone::Busy, tally.let_in, planned)) } },
            html! { (words::number(tally.well)) },
            html! { (words::number(tally.failed)) @if tally.silent > 0 { ", " (words::number(tally.silent)) " silent" } },
        ]
    };
    let rows: Vec<Vec<Markup>> = rollout.plan.phases.iter().enumerate().map(row).collect();
    let head = ["Phase", "Standing", "Let in", "Have it", "Failed"];
    parts::tight("Phases", None, &parts::table(&head, &rows, "None."))
}

fn failures(failed: &[Reached], tenant: &str, now: i64) -> Markup {
    let row = |reached: &Reached| {
        vec![
            html! { a class="id" href=(device_path(tenant, &reached.device)) { (reached.device) } },
            html! { (reached.phase + 1) },
            html! { @match &reached.reason { Some(reason) => { (reason) }, None => { span class="soft" { "it did not say why" } } } },
            html! { @if let Some(at) = reached.settled { (words::moment(at, now)) } },
        ]
    };
    let rows: Vec<Vec<Markup>> = failed.iter().map(row).collect();
    let head = ["Device", "Phase", "Because", "When"];
    html! { @if !rows.is_empty() { (parts::tight("Devices that failed", None, &parts::table(&head, &rows, ""))) } }
}

fn facts(rollout: &RolloutRow, tenant: &str, now: i64) -> Markup {
    let plan = &rollout.plan;
    let link = |version: u64| {
        html! { a href=(state_path(tenant, &rollout.name, version)) { (words::version(&rollout.name, version)) } }
    };
    let mut facts = vec![
        ("Brings", link(rollout.version)),
        (
            "Made",
            html! { (words::moment(rollout.created, now)) " by " (rollout.created_by) },
        ),
        (
            "Halts above",
            html! { (plan.halt_percent.unwrap_or(5)) " % of a phase" },
        ),
    ];
    if let Some(by) = &rollout.approved_by {
        facts.push(("Approved by", html! { (by) }));
    } else if plan.approval {
        facts.push(("Approved by", html! { span class="soft" { "nobody yet" } }));
    }
    if let Some(version) = plan.revert_with {
        facts.push(("After a halt", html! { "offers " (link(version)) }));
    }
    if !plan.windows.is_empty() {
        let windows = words::counted(plan.windows.len() as u64, "window");
        facts.push(("When", html! { "in " (windows) ", by each device's clock on the wall" }));
    }
    if let Some(ended) = rollout.ended {
        facts.push(("Ended", words::moment(ended, now)));
    }
    facts.push(("Id", html! { span class="id" { (rollout.id) } }));
    parts::card("Plan", Some("plan"), &parts::facts(facts))
}

fn acts(rollout: &RolloutRow, guard: Guard<'_>, role: Role) -> Markup {
    let act = |act: &str, words: &str, class: &str, more: &str| {
        let because = Field {
            name: "reason",
            label: "Because",
            hint: "One line, for the audit log.",
            optional: true,
            ..Field::default()
        };
        let button = if class.is_empty() { "second" } else { class };
        let inside = html! { p { (more) } (forms::field(&because)) button class=(button) { (words) } };
        let path = format!("{}/{act}", rollout_path(&rollout.tenant, &rollout.id));
        parts::opened(words, class, &forms::form(&path, guard, &inside))
    };
    let status = rollout.pace.status;
    let open = !matches!(status, Status::Done | Status::Aborted);
    let inside = html! {
        @if status == Status::Waiting { (act("approve", "Approve it", "", "It begins. Somebody else than who made it says so.")) }
        @if status == Status::Running { (act("pause", "Pause it", "", "No more devices get it for now.")) }
        @if matches!(status, Status::Paused | Status::Halted) {
            (act("resume", "Resume it", "", "On with it; failures so far are passed over."))
        }
        @if open && role >= Deed::Abort.role() { (act("abort", "Abort it", "danger", "No more devices get it, for good.")) }
        @if !open { p class="none" { "Nothing: it has ended." } }
    };
    parts::card("What to do", None, &inside)
}
