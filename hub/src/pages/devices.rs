//! The devices of a tenant: searched, filtered, fifty a page.

use axum::extract::{Path, Query, State};
use jos_ui::shell::Page;
use jos_ui::{Markup, html, parts, words};
use serde::Deserialize;

use super::fleet::{self, Line};
use super::overview::{device_path, escaped, stats};
use super::reply::{self, At, Shown, tenant_path};
use super::session::Visitor;
use super::standing::Standing;
use crate::api::App;
use crate::rights::Deed;
use crate::store::{agents, devices};

const A_PAGE: u64 = 50;

/// Which devices.
#[derive(Debug, Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    q: String,
    #[serde(default)]
    standing: String,
    page: Option<u64>,
}

/// The page.
pub(super) async fn show(
    State(app): State<App>,
    visitor: Visitor,
    Path(tenant): Path<String>,
    Query(which): Query<Which>,
) -> Shown {
    let role = visitor.role(&tenant)?;
    let hub = &app.hub;
    let (fleet, now) = (fleet::of(hub, &tenant).await?, hub.clock.now());
    let standing = Standing::of_slug(&which.standing);
    let found = fleet.find(standing, &which.q);
    let pages = (found.len() as u64).div_ceil(A_PAGE).max(1);
    let page = which.page.unwrap_or(1).clamp(1, pages);
    let first = (page - 1) * A_PAGE;
    let mut rows = Vec::new();
    let mut conn = hub.store.read().await?;
    for line in found
        .iter()
        .skip(usize::try_from(first).unwrap_or(usize::MAX))
        .take(A_PAGE as usize)
    {
        if let Some(row) = row(&mut conn, &tenant, line, now).await? {
            rows.push(row);
        }
    }
    drop(conn);
    let path = |page: u64| {
        let standing = standing.map_or("", Standing::slug);
        tenant_path(
            &tenant,
            &format!("/devices?q={}&standing={standing}&page={page}", escaped(&which.q)),
        )
    };
    let shown = format!(
        "{}–{} of {}",
        words::number(first + 1),
        words::number(first + rows.len() as u64),
        words::number(found.len() as u64)
    );
    let none = if fleet.lines.is_empty() {
        "No device is enrolled yet."
    } else {
        "No device is like that."
    };
    let body = html! {
        form class="search" role="search" method="get" {
            label class="unseen" for="q" { "Search" }
            input id="q" name="q" type="search" value=(which.q) placeholder="Id, label, host name, address, state@version" autocapitalize="none" spellcheck="false";
            @if let Some(standing) = standing { input type="hidden" name="standing" value=(standing.slug()); }
            button class="second" { "Search" }
        }
        div data-live="standing" { (stats(&fleet, &tenant, standing)) }
        section class="card tight" data-live="devices" {
            h2 { (words::counted(found.len() as u64, "device")) @if let Some(standing) = standing { " " (standing.words()) } }
            (parts::table(&["Device", "Standing", "In force", "Seen", "Labels"], &rows, none))
        }
        div data-live="pager" { (parts::pager(page, pages, &shown, path)) }
    };
    let mut page = Page::new("Devices", body).live();
    if role >= Deed::Enrol.role() {
        page = page.beside(html! { a class="button" href=(tenant_path(&tenant, "/enrol")) { "Enrol a device" } });
    }
    reply::show(
        hub,
        &visitor,
        At {
            tenant: Some(&tenant),
            here: "Devices",
        },
        &page,
    )
    .await
}

async fn row(
    conn: &mut crate::store::Conn,
    tenant: &str,
    line: &Line,
    now: i64,
) -> Result<Option<Vec<Markup>>, crate::store::StoreError> {
    let Some(device) = devices::by_id(conn, &line.id).await? else {
        return Ok(None);
    };
    let agents = agents::list(conn, &line.id).await?;
    Ok(Some(vec![
        html! {
            a class="id" href=(device_path(tenant, &device.id)) { (device.id) }
            @if let Some(name) = device.facts.get("hostname") { span class="sub" { (name) } }
        },
        html! { (parts::badge(line.standing.tone(), line.standing.words())) },
        html! {
            @for agent in &agents { @if let Some(version) = agent.version { div { (words::version(&agent.name, version)) } } }
            @if agents.iter().all(|agent| agent.version.is_none()) { span class="soft" { "nothing" } }
        },
        html! { @match device.last_seen { Some(at) => { (words::moment(at, now)) }, None => { span class="soft" { "never" } } } },
        html! { @if !device.labels.is_empty() { (parts::labels(&device.labels)) } @else { span class="soft" { "none" } } },
    ]))
}
