//! Desired states: which versions there are, who signed them, what changed from one to the next, how far each has come.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect};
use jos_schemas::documents::desired_state::Audience;
use jos_ui::chart::{self, Curve, Line};
use jos_ui::form::{self as forms, Field};
use jos_ui::shell::Page;
use jos_ui::{Markup, Tone, html, parts, words};
use serde::Deserialize;
use serde_json::{Value, json};

use super::fleet;
use super::overview::state_path;
use super::reply::{self, At, Shown, tenant_path};
use super::session::Visitor;
use super::{form, standing};
use crate::api::App;
use crate::api::admin::{OfTenant, states as api};
use crate::fault::{Done, Fault};
use crate::rights::Deed;
use crate::store::states::{self, StateRow};
use crate::store::{Conn, glances};

/// Points of a curve.
const POINTS: usize = 200;
/// Lines around a change that are shown.
const AROUND: usize = 4;

/// All versions of all states.
pub(super) async fn list(State(app): State<App>, visitor: Visitor, Path(tenant): Path<String>) -> Shown {
    visitor.role(&tenant)?;
    let hub = &app.hub;
    let now = hub.clock.now();
    let all = states::list(&mut *hub.store.read().await?, Some(&tenant)).await?;
    let fleet = fleet::of(hub, &tenant).await?;
    let row = |state: &StateRow| {
        row(
            state,
            &tenant,
            fleet.versions.get(&(state.name.clone(), state.version)),
            now,
        )
    };
    let (offered, before): (Vec<_>, Vec<_>) = all.iter().partition(|state| state.retired.is_none());
    let offered: Vec<_> = offered.into_iter().map(row).collect();
    let before: Vec<_> = before.into_iter().map(row).collect();
    let head = ["State", "For", "Signed by", "In force on", "Ends", "Pushed"];
    let body = html! {
        (parts::tight("Offered now", Some("offered"), &parts::table(&head, &offered, "Nothing is offered yet.")))
        @if !before.is_empty() {
            (parts::tight("Before", Some("before"), &parts::table(&head, &before, "")))
        }
        (parts::card("The next version", None, &html! {
            p { "States are signed where the keys are, which is not here. Raise " code { "meta.version" } ", sign, and hand it over:" }
            (parts::copied("push", &format!("jos sign --key admin.key --trust trust.json state.toml\njos-hub push state.json --tenant {tenant} --url https://HUB:8444 --token-file admin.token")))
        }))
    };
    let page = Page::new("Desired states", body).live();
    reply::show(hub, &visitor, at(&tenant), &page).await
}

fn at(tenant: &str) -> At<'_> {
    At {
        tenant: Some(tenant),
        here: "States",
    }
}

fn row(state: &StateRow, tenant: &str, devices: Option<&u64>, now: i64) -> Vec<Markup> {
    vec![
        html! {
            a href=(state_path(tenant, &state.name, state.version)) { (words::version(&state.name, state.version)) }
            @if let Some(why) = &state.retired_why { span class="sub" { (why) } }
            @if state.retired.is_none() && state.expires <= now { " " (parts::badge(Tone::Warn, "over")) }
        },
        html! { (audience(&state.audience)) },
        html! { (state.signers.join(", ")) },
        html! { (words::counted(devices.copied().unwrap_or(0), "device")) },
        html! { (words::moment(state.expires, now)) },
        html! { (words::moment(state.pushed, now)) span class="sub" { "by " (state.pushed_by) } },
    ]
}

fn audience(audience: &Audience) -> Markup {
    html! {
        @if !audience.labels.is_empty() { (parts::labels(&audience.labels)) }
        @else if audience.devices.is_empty() { "every device" }
        @if !audience.devices.is_empty() { span { (words::counted(audience.devices.len() as u64, "device")) } }
    }
}

/// With which version it is compared.
#[derive(Debug, Deserialize)]
pub(super) struct Against {
    against: Option<u64>,
}

/// One version.
pub(super) async fn show(
    State(app): State<App>,
    visitor: Visitor,
    Path((tenant, name, version)): Path<(String, String, u64)>,
    Query(against): Query<Against>,
) -> Shown {
    let page = page(&app, &visitor, (&tenant, &name, version), against.against, None).await?;
    reply::show(&app.hub, &visitor, at(&tenant), &page).await
}

/// Offers a version no longer.
pub(super) async fn retire(
    State(app): State<App>,
    visitor: Visitor,
    Path((tenant, name, version)): Path<(String, String, u64)>,
    headers: HeaderMap,
    body: Body,
) -> Shown {
    let fields = form::read(&headers, body, visitor.guard().0).await?;
    visitor.needs(&tenant, Deed::Retire)?;
    let of = Query(OfTenant {
        tenant: Some(tenant.clone()),
    });
    let reason = Body::from(json!({ "reason": fields.get("reason") }).to_string());
    let (state, asker, path) = (
        State(app.clone()),
        visitor.asks(Deed::Retire)?,
        Path((name.clone(), version)),
    );
    match api::retire(state, asker, path, of, reason).await {
        Ok(_) => Ok(Redirect::to(&state_path(&tenant, &name, version)).into_response()),
        Err(fault) => {
            let page = page(
                &app,
                &visitor,
                (&tenant, &name, version),
                None,
                Some(reply::line(&fault)),
            )
            .await?;
            reply::refused(&app.hub, &visitor, at(&tenant), &page, &fault).await
        }
    }
}

async fn page(
    app: &App,
    visitor: &Visitor,
    (tenant, name, version): (&str, &str, u64),
    against: Option<u64>,
    said: Option<(Tone, String)>,
) -> Done<Page> {
    let role = visitor.role(tenant)?;
    let now = app.hub.clock.now();
    let fleet = fleet::of(&app.hub, tenant).await?;
    let mut conn = app.hub.store.read().await?;
    let mut versions = states::list(&mut conn, Some(tenant)).await?;
    versions.retain(|state| state.name == name);
    let found = versions
        .iter()
        .filter(|state| state.version == version)
        .max_by_key(|state| (state.retired.is_none(), state.pushed));
    let Some(state) = found else {
        return Err(Fault::not_found("there is no such version"));
    };
    let text = text(&mut conn, state).await?;
    let older = versions
        .iter()
        .filter(|other| against.map_or(other.version < version, |against| other.version == against))
        .max_by_key(|other| (other.version, other.pushed));
    let before = match older {
        Some(other) => Some((other.version, self::text(&mut conn, other).await?)),
        None => None,
    };
    let adoption = glances::adoption(&mut conn, tenant, name, version).await?;
    let endings = glances::endings(&mut conn, tenant, name, version).await?;
    drop(conn);
    let in_force = fleet.versions.get(&(name.to_owned(), version)).copied().unwrap_or(0);
    let body = html! {
        @if let Some(why) = &state.retired_why { (parts::notice(Tone::Quiet, &html! { "It is offered no longer: " (why) "." })) }
        div class="columns" {
            (progress(&adoption, &endings, in_force, now))
            div {
                (facts(state, now))
                @if role >= Deed::Retire.role() && state.retired.is_none() { (retiring(state, visitor)) }
            }
        }
        @if let Some((other, before)) = &before {
            section class="card tight" {
                h2 { "What changed since version " (other) }
                (compared(before, &text))
                @if versions.len() > 2 { p { small { "Compare with " @for other in versions.iter().filter(|other| other.version != version) {
                    a href={ (state_path(tenant, name, version)) "?against=" (other.version) } { (other.version) } " "
                } } } }
            }
        }
        (parts::card("As it was signed", None, &html! { pre class="code" tabindex="0" { (text) } }))
    };
    let standing = match state.retired {
        Some(_) => parts::badge(Tone::Quiet, "retired"),
        None if state.expires <= now => parts::badge(Tone::Warn, "over"),
        None => parts::badge(Tone::Good, "offered"),
    };
    Ok(Page::new(format!("{name} {version}"), body)
        .below("States", tenant_path(tenant, "/states"))
        .beside(standing)
        .saying(said)
        .live())
}

/// The document, one member a line, without what differs from signature to signature.
async fn text(conn: &mut Conn, state: &StateRow) -> Done<String> {
    let bytes = states::bytes_of(conn, state).await?.unwrap_or_default();
    let mut value: Value =
        serde_json::from_slice(&bytes).map_err(|error| Fault::inside(format!("states.bytes: {error}")))?;
    if let Some(members) = value.as_object_mut() {
        members.remove("signatures");
        members.remove("signature");
    }
    Ok(format!("{value:#}"))
}

fn progress(
    adoption: &[(i64, u64)],
    endings: &[(jos_schemas::documents::ledger::OutcomeKind, u64)],
    in_force: u64,
    now: i64,
) -> Markup {
    let mut sum = 0;
    let mut points: Vec<(i64, f64)> = Vec::new();
    for (at, devices) in adoption {
        if points.is_empty() {
            points.push((*at, 0.0));
        }
        sum += devices;
        points.push((*at, sum as f64));
    }
    // A curve is as wide as a window: more points than that are none that anybody sees.
    let every = points.len().div_ceil(POINTS).max(1);
    let last = points.last().copied();
    let mut points: Vec<(i64, f64)> = points.into_iter().step_by(every).collect();
    points.extend(last.map(|(_, value)| (now, value)));
    let rows: Vec<(Tone, &str, u64)> = endings
        .iter()
        .map(|(outcome, devices)| {
            let (tone, words) = standing::ending(*outcome);
            (tone, words, *devices)
        })
        .collect();
    parts::card(
        "How far it has come",
        Some("progress"),
        &html! {
            p { strong { (words::counted(in_force, "device")) } " " (if in_force == 1 { "has" } else { "have" }) " it in force now." }
            @if !points.is_empty() {
                (chart::curve(&Curve {
                lines: vec![Line { name: "devices that took it", tone: Tone::Good, points }],
                most: 1.0, steps: true, say: |value| words::number(value as u64),
            }))
            }
            @if rows.is_empty() { p class="none" { "No device has reported on it yet." } }
            @else { p { @for (tone, text, devices) in rows { (parts::badge(tone, text)) " " (words::counted(devices, "device")) " " } } }
        },
    )
}

fn facts(state: &StateRow, now: i64) -> Markup {
    let requires: Vec<&str> = state.requires.iter().map(|feature| feature.as_str()).collect();
    let mut facts = vec![
        ("For", audience(&state.audience)),
        ("Signed by", html! { (state.signers.join(", ")) }),
        ("Ends", words::moment(state.expires, now)),
        (
            "Pushed",
            html! { (words::moment(state.pushed, now)) " by " (state.pushed_by) },
        ),
        ("Content", html! { span class="mono" { (state.content) } }),
    ];
    if !requires.is_empty() {
        facts.insert(1, ("Needs", html! { (requires.join(", ")) }));
    }
    parts::card("Version", None, &parts::facts(facts))
}

fn retiring(state: &StateRow, visitor: &Visitor) -> Markup {
    let path = format!("{}/retire", state_path(&state.tenant, &state.name, state.version));
    parts::card(
        "What to do",
        None,
        &parts::opened(
            "Offer it no longer",
            "danger",
            &forms::form(
                &path,
                visitor.guard(),
                &html! {
                    p { "Devices that have it keep it; no other gets it." }
                    (forms::field(&Field { name: "reason", label: "Because", hint: "One line, for the audit log.", optional: true, ..Field::default() }))
                    button class="danger" { "Retire it" }
                },
            ),
        ),
    )
}

/// The difference of two texts, with some lines around each change.
fn compared(before: &str, after: &str) -> Markup {
    let difference = similar::TextDiff::configure()
        .timeout(std::time::Duration::from_millis(200))
        .diff_lines(before, after);
    let mut lines = Vec::new();
    for (at, group) in difference.grouped_ops(AROUND).iter().enumerate() {
        if at > 0 {
            lines.push(('…', None, None, String::new()));
        }
        for change in group.iter().flat_map(|op| difference.iter_changes(op)) {
            let sign = match change.tag() {
                similar::ChangeTag::Equal => ' ',
                similar::ChangeTag::Insert => '+',
                similar::ChangeTag::Delete => '-',
            };
            let line = change.value().trim_end_matches('\n').to_owned();
            let number = |index: Option<usize>| index.map(|index| index + 1);
            lines.push((sign, number(change.old_index()), number(change.new_index()), line));
        }
    }
    parts::difference(&lines)
}
