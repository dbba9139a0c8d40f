//! For monitoring: alive, ready, and how much of what.

use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::App;
use crate::fault::{Done, Fault};
use crate::hub::Hub;
use crate::rotation;
use crate::store::rollouts::{self, Tally};
use crate::store::{self, alarms, devices};

/// Seconds by which a hub's clock may differ from the one of a database that others share.
const CLOCKS_APART: i64 = 5;
/// A database that had no room within so many seconds takes no writes: what overwrites an old page may go on, as the probe
/// does, while what a device reports finds none.
const NO_ROOM: i64 = 30;
/// A device that called within so many seconds counts as there.
const LATELY: i64 = 300;

/// The process runs.
pub async fn live() -> &'static str {
    "ok\n"
}

/// The database takes writes, and hubs that share it agree on the time.
pub async fn ready(State(app): State<App>) -> Done<&'static str> {
    takes_writes(&app.hub).await?;
    let apart = match app.hub.store.time().await? {
        Some(time) => time - app.hub.clock.now(),
        None => 0,
    };
    if apart.abs() > CLOCKS_APART {
        return Err(Fault::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "clock",
            format!("found the database's clock {apart} s away from this hub's, expected {CLOCKS_APART} s at most"),
        )
        .help("set both by NTP: hubs on one database count sessions by the same time"));
    }
    Ok("ready\n")
}

/// Writes something, as far as the disk: a full one lets a transaction begin, and even be taken back. Once a second is often
/// enough, however many ask.
async fn takes_writes(hub: &Hub) -> Done<()> {
    let now = hub.clock.now();
    if now - hub.no_room.load(Ordering::Relaxed) <= NO_ROOM {
        return Err(no_writes());
    }
    if hub.probed.load(Ordering::Relaxed) == now {
        return Ok(());
    }
    let written = async {
        let mut tx = hub.store.write().await?;
        store::set_meta(&mut tx, "probed", &now.to_string()).await?;
        tx.commit().await
    };
    if let Err(error) = written.await {
        tracing::error!(cause = error.to_string(), "the database takes no writes");
        return Err(no_writes());
    }
    hub.probed.store(now, Ordering::Relaxed);
    Ok(())
}

fn no_writes() -> Fault {
    Fault::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "no-writes",
        "the database takes no writes; the hub's log says why",
    )
    .help("a full disk, a lock that somebody holds, or a database that is away")
}

/// Metrics.
pub async fn metrics(State(app): State<App>) -> Done<Response> {
    let mut conn = app.hub.store.read().await?;
    let mut gauges = Vec::new();
    for (standing, count) in devices::counts(&mut conn, app.hub.clock.now() - LATELY).await? {
        let label = format!("{{standing=\"{standing}\"}}");
        gauges.push((
            "jos_hub_devices",
            "Devices by standing; seen: called within five minutes.",
            label,
            count,
        ));
    }
    for (kind, count) in alarms::counts(&mut conn).await? {
        gauges.push((
            "jos_hub_alarms",
            "Open alarms by kind.",
            format!("{{kind=\"{kind}\"}}"),
            count,
        ));
    }
    for (status, count) in rollouts::counts(&mut conn).await? {
        gauges.push((
            "jos_hub_rollouts",
            "Rollouts by standing.",
            format!("{{status=\"{status}\"}}"),
            count,
        ));
    }
    for row in rollouts::under_way(&mut conn).await? {
        for (what, number) in numbers(&rollouts::tallies(&mut conn, &row.id).await?) {
            let label = format!("{{rollout=\"{}\",devices=\"{what}\"}}", row.id);
            gauges.push((
                "jos_hub_rollout_devices",
                "Devices of the rollouts that are under way, by what became of them.",
                label,
                i64::try_from(number).unwrap_or(i64::MAX),
            ));
        }
    }
    if let Some((_, tally)) = rotation::under_way(&app.hub).await? {
        for (what, number) in [
            ("know", tally.know),
            ("waited-for", tally.waited_for),
            ("away", tally.away),
            ("other-certificate", tally.other_certificate),
        ] {
            gauges.push((
                "jos_hub_ca_rotation_devices",
                "Devices in a rotation of the CA, by whether they know the new one and have a certificate of it.",
                format!("{{devices=\"{what}\"}}"),
                i64::try_from(number).unwrap_or(i64::MAX),
            ));
        }
    }
    let waiting = i64::try_from(app.hub.waiting()).unwrap_or(i64::MAX);
    gauges.push((
        "jos_hub_waiting",
        "Long polls that wait for a change.",
        String::new(),
        waiting,
    ));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4");
    Ok(([(header::CONTENT_TYPE, kind)], app.hub.metrics.text(&gauges)).into_response())
}

fn numbers(tallies: &[Tally]) -> [(&'static str, u64); 5] {
    let sum = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum();
    [
        ("let-in", sum(|tally| tally.let_in)),
        ("offered", sum(|tally| tally.offered)),
        ("well", sum(|tally| tally.well)),
        ("failed", sum(|tally| tally.failed)),
        ("silent", sum(|tally| tally.silent)),
    ]
}
