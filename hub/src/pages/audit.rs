//! The audit log: who did what, the newest first.

use axum::extract::{Path, Query, State};
use jos_schemas::text::Utc;
use jos_ui::shell::Page;
use jos_ui::{Markup, Tone, html, parts, words};
use serde::Deserialize;
use serde_json::Value;

use super::overview::device_path;
use super::reply::{self, At, Shown, tenant_path};
use super::session::Visitor;
use crate::api::App;
use crate::fault::Done;
use crate::rights::Deed;
use crate::store::audit::{self, Entry};
use crate::store::users::Role;

const A_PAGE: u32 = 100;

/// Which entries.
#[derive(Debug, Deserialize)]
pub(super) struct Which {
    before: Option<u64>,
    #[serde(default)]
    check: bool,
}

/// Of one tenant.
pub(super) async fn of_tenant(
    State(app): State<App>,
    visitor: Visitor,
    Path(tenant): Path<String>,
    Query(which): Query<Which>,
) -> Shown {
    visitor.needs(&tenant, Deed::Audit)?;
    let page = page(&app, &visitor, Some(&tenant), &which).await?;
    reply::show(
        &app.hub,
        &visitor,
        At {
            tenant: Some(&tenant),
            here: "Audit log",
        },
        &page,
    )
    .await
}

/// Of the whole hub.
pub(super) async fn whole(State(app): State<App>, visitor: Visitor, Query(which): Query<Which>) -> Shown {
    visitor.needs_everything()?;
    let page = page(&app, &visitor, None, &which).await?;
    reply::show(
        &app.hub,
        &visitor,
        At {
            tenant: None,
            here: "Audit log",
        },
        &page,
    )
    .await
}

async fn page(app: &App, visitor: &Visitor, tenant: Option<&str>, which: &Which) -> Done<Page> {
    let now = app.hub.clock.now();
    let mut conn = app.hub.store.read().await?;
    let entries = audit::list(&mut conn, tenant, which.before.unwrap_or(u64::MAX), A_PAGE).await?;
    let said = match which.check {
        true => Some(match audit::verify(&mut conn).await? {
            (whole, None) => (
                Tone::Good,
                format!(
                    "The log is whole: each of its {} entries follows the one before.",
                    words::number(whole)
                ),
            ),
            (_, Some(broken)) => (
                Tone::Bad,
                format!("The log was changed: entry {broken} does not follow the one before."),
            ),
        }),
        false => None,
    };
    drop(conn);
    let rows: Vec<Vec<Markup>> = entries.iter().map(|entry| row(entry, now)).collect();
    let path = tenant.map_or("/audit".to_owned(), |tenant| tenant_path(tenant, "/audit"));
    let last = entries
        .last()
        .filter(|entry| entries.len() == A_PAGE as usize && entry.number > 1);
    let body = html! {
        (parts::tight("Entries", None, &parts::table(&["When", "Who", "Did", "With", "More"], &rows, "Nothing was done here yet.")))
        nav class="pager" aria-label="More of this list" {
            @if which.before.is_some() { a href=(path) { "Newest" } } @else { span {} }
            @if let Some(last) = last { a rel="next" href={ (path) "?before=" (last.number) } { "Older" } } @else { span {} }
        }
    };
    let aside = html! {
        @if tenant.is_some() && visitor.user.everywhere() == Some(Role::Admin) { a href="/audit" { "The whole hub" } }
        a class="button second" href={ (path) "?check=true" } { "Check the whole log" }
    };
    Ok(Page::new(
        if tenant.is_some() {
            "Audit log"
        } else {
            "Audit log of the hub"
        },
        body,
    )
    .beside(aside)
    .saying(said))
}

fn row(entry: &Entry, now: i64) -> Vec<Markup> {
    let subject = match (&entry.tenant, entry.subject.starts_with("d-")) {
        (Some(tenant), true) => html! { a class="id" href=(device_path(tenant, &entry.subject)) { (entry.subject) } },
        _ => html! { span class="mono" { (entry.subject) } },
    };
    vec![
        html! { (words::moment(entry.time, now)) span class="sub" { "entry " (entry.number) } },
        html! { @if entry.actor.starts_with("device:") { span class="id" { (entry.actor) } } @else { (entry.actor) } },
        html! { span class="whole" { (entry.action) } },
        subject,
        html! { (more(&entry.detail)) },
    ]
}

/// The detail of an entry, as words: `reason: stolen van`.
fn more(detail: &Value) -> Markup {
    let Value::Object(members) = detail else {
        return html! {};
    };
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Object(pairs) => {
            let pairs = pairs
                .iter()
                .filter(|(_, value)| value.as_object().is_none_or(|inner| !inner.is_empty()));
            let pairs = pairs.map(|(key, value)| {
                format!(
                    "{key}={}",
                    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
                )
            });
            pairs.collect::<Vec<_>>().join(" ")
        }
        Value::Number(seconds) if seconds.as_i64().is_some_and(|seconds| seconds > 1_000_000_000) => {
            Utc::from_unix(seconds.as_i64().unwrap_or(0)).to_string()
        }
        other => other.to_string(),
    };
    let said = members
        .iter()
        .map(|(name, value)| (name, text(value)))
        .filter(|(_, text)| !text.is_empty() && text != "null");
    html! {
        @for (name, text) in said {
            div {
                span class="soft" { (name) ": " }
                @if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
                    span class="mono" title=(text) { (words::short(&text)) "…" }
                } @else { (text) }
            }
        }
    }
}
