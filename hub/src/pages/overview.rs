//! The fleet at one look: how devices stand, what runs on them, what somebody should look at. A tenant without devices
//! gets the way to its first one instead.

use axum::extract::{Path, State};
use jos_ui::chart::{self, Share};
use jos_ui::shell::Page;
use jos_ui::{Markup, Tone, html, parts, words};

use super::enrol;
use super::fleet::{self, Fleet};
use super::reply::{self, At, Shown, tenant_path};
use super::session::Visitor;
use super::standing::Standing;
use crate::api::App;
use crate::fault::Done;
use crate::hub::Hub;
use crate::rights::Deed;
use crate::rotation;
use crate::store::alarms::{self, Alarm};
use crate::store::authorities::Tally;
use crate::store::rollouts;

/// Alarms and versions that the page has room for.
const MOST: usize = 12;

/// The page.
pub(super) async fn show(State(app): State<App>, visitor: Visitor, Path(tenant): Path<String>) -> Shown {
    let role = visitor.role(&tenant)?;
    let hub = &app.hub;
    let at = At {
        tenant: Some(&tenant),
        here: "Fleet",
    };
    let fleet = fleet::of(hub, &tenant).await?;
    if fleet.lines.is_empty() {
        let page = enrol::first(&app, &visitor, &tenant).await?;
        return reply::show(hub, &visitor, at, &page).await;
    }
    let open = alarms::list(&mut *hub.store.read().await?, Some(&tenant), None, false).await?;
    let now = hub.clock.now();
    let rotation = rotation::under_way(hub).await?;
    let rollouts = rollouts_card(hub, &tenant).await?;
    let body = html! {
        div data-live="standing" {
            @if let Some((number, tally)) = &rotation { (rotating(*number, tally)) }
            (bar(&fleet))
            (stats(&fleet, &tenant, None))
        }
        div class="columns" {
            div {
                (rollouts)
                (alarms_card(&open, &tenant, now))
                (versions(&fleet, &tenant))
            }
            (programs(&fleet))
        }
    };
    let mut page = Page::new("Fleet", body).live();
    if role >= Deed::Enrol.role() {
        page = page.beside(html! { a class="button" href=(tenant_path(&tenant, "/enrol")) { "Enrol a device" } });
    }
    reply::show(hub, &visitor, at, &page).await
}

/// A rotation of the CA is under way: how far it has come, in a line. It is of the whole hub.
fn rotating(number: u64, tally: &Tally) -> Markup {
    let behind = tally.waited_for + tally.away;
    html! {
        p {
            (parts::badge(Tone::Busy, "CA rotation"))
            @if behind > 0 {
                " " (words::counted(behind, "device")) " of " (words::number(tally.devices)) " know only the CA before CA " (number)
            } @else {
                " every device knows CA " (number) "; " (words::counted(tally.other_certificate, "certificate")) " of the one before left"
            }
            ". " code { "jos-hub ca show" } " says what it waits for."
        }
    }
}

fn bar(fleet: &Fleet) -> Markup {
    let shares = Standing::ALL.map(|standing| Share {
        tone: standing.tone(),
        name: standing.words(),
        value: fleet.count(standing),
    });
    chart::shares(&shares)
}

/// How many devices stand how; each leads to those.
pub(super) fn stats(fleet: &Fleet, tenant: &str, here: Option<Standing>) -> Markup {
    // What is always worth a place, and what is there only sometimes.
    let always = [
        Standing::InStep,
        Standing::OnItsWay,
        Standing::Failed,
        Standing::Quarantined,
        Standing::Silent,
    ];
    let devices = tenant_path(tenant, "/devices");
    html! {
        div class="stats" {
            (parts::stat(Tone::Quiet, fleet.lines.len() as u64, "all devices", &devices, false))
            @for standing in Standing::ALL {
                @let count = fleet.count(standing);
                @if count > 0 || always.contains(&standing) || here == Some(standing) {
                    (parts::stat(standing.tone(), count, standing.words(), &format!("{devices}?standing={}", standing.slug()), here == Some(standing)))
                }
            }
        }
    }
}

fn alarms_card(open: &[Alarm], tenant: &str, now: i64) -> Markup {
    let rows: Vec<Vec<Markup>> = open
        .iter()
        .take(MOST)
        .map(|alarm| {
            vec![
                html! { (parts::badge(Tone::Bad, &alarm.kind)) },
                html! { a href=(device_path(tenant, &alarm.device)) class="id" { (alarm.device) } },
                html! { (alarm.detail) @if alarm.times > 1 { span class="sub" { (words::counted(alarm.times, "time")) } } },
                html! { (words::moment(alarm.latest, now)) },
            ]
        })
        .collect();
    let more = open.len().saturating_sub(MOST);
    parts::tight(
        "To look at",
        Some("alarms"),
        &html! {
            (parts::table(&["Alarm", "Device", "Found", "Last"], &rows, "No alarms are open."))
            @if more > 0 { p class="soft" { "and " (words::number(more as u64)) " more: " code { "jos-hub alarms" } " lists all" } }
        },
    )
}

/// What is on its way to the fleet, or stopped on it: how far, and how many devices it failed on.
async fn rollouts_card(hub: &Hub, tenant: &str) -> Done<Markup> {
    let mut conn = hub.store.read().await?;
    let open = rollouts::open(&mut conn, tenant).await?;
    let mut rows = Vec::new();
    for rollout in open.iter().take(MOST) {
        let tallies = rollouts::tallies(&mut conn, &rollout.id).await?;
        let sum = |of: fn(&rollouts::Tally) -> u64| tallies.iter().map(of).sum::<u64>();
        let (well, failed) = (sum(|tally| tally.well), sum(|tally| tally.failed + tally.silent));
        let planned = rollout.pace.planned.iter().sum::<u64>().max(sum(|tally| tally.let_in));
        let (tone, text) = super::rollouts::standing(rollout.pace.status);
        rows.push(vec![
            html! { a href=(rollout_path(tenant, &rollout.id)) { (words::version(&rollout.name, rollout.version)) } },
            html! {
                (parts::badge(tone, text))
                @if let Some(why) = &rollout.why { span class="sub" { (why) } }
            },
            html! { (rollout.pace.phase + 1) " of " (rollout.plan.phases.len()) },
            html! {
                @if planned == 0 { span class="soft" { "–" } } @else {
                    (words::number(well)) " of " (words::number(planned)) (chart::bar(tone, well, planned))
                }
            },
            html! { @if failed == 0 { span class="soft" { "none" } } @else { (words::number(failed)) } },
        ]);
    }
    let head = ["Brings", "Standing", "Phase", "Have it", "Failed"];
    let more = open.len().saturating_sub(MOST);
    let inside = html! {
        (parts::table(&head, &rows, "No rollout is under way."))
        @if more > 0 { p class="soft" { a href=(tenant_path(tenant, "/rollouts")) { "and " (more) " more" } } }
    };
    Ok(parts::tight("Rollouts under way", Some("rollouts"), &inside))
}

fn versions(fleet: &Fleet, tenant: &str) -> Markup {
    let mut all: Vec<_> = fleet.versions.iter().collect();
    all.sort_by_key(|(of, devices)| (std::cmp::Reverse(**devices), *of));
    let most = all.first().map_or(0, |(_, devices)| **devices);
    let rows: Vec<Vec<Markup>> = all
        .iter()
        .take(MOST)
        .map(|((name, version), devices)| {
            vec![
                html! { a href=(state_path(tenant, name, *version)) { (words::version(name, *version)) } },
                html! { (words::counted(**devices, "device")) (chart::bar(Tone::Good, **devices, most)) },
            ]
        })
        .collect();
    parts::tight(
        "States in force",
        Some("versions"),
        &parts::table(&["State", "On"], &rows, "No device has a state in force yet."),
    )
}

fn programs(fleet: &Fleet) -> Markup {
    let most = fleet.programs.values().copied().max().unwrap_or(0);
    let rows: Vec<Vec<Markup>> = fleet
        .programs
        .iter()
        .rev()
        .take(MOST)
        .map(|(program, devices)| {
            let program = if program.is_empty() {
                "unknown"
            } else {
                program.as_str()
            };
            vec![
                html! { (program) },
                html! { (words::counted(*devices, "agent")) (chart::bar(Tone::Busy, *devices, most)) },
            ]
        })
        .collect();
    parts::tight(
        "Agents by version",
        Some("programs"),
        &parts::table(&["jos", "Runs as"], &rows, "No agent has called yet."),
    )
}

/// The page of a device.
pub(super) fn device_path(tenant: &str, id: &str) -> String {
    tenant_path(tenant, &format!("/devices/{}", escaped(id)))
}

/// The page of a version of a state.
pub(super) fn state_path(tenant: &str, name: &str, version: u64) -> String {
    tenant_path(tenant, &format!("/states/{}/{version}", escaped(name)))
}

/// The page of a rollout.
pub(super) fn rollout_path(tenant: &str, id: &str) -> String {
    tenant_path(tenant, &format!("/rollouts/{}", escaped(id)))
}

/// One part of a path or a query.
pub(super) fn escaped(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}
