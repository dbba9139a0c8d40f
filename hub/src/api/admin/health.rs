//! For monitoring: alive, ready, and how much of what.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::App;
use crate::fault::{Done, Fault};
use crate::rotation;
use crate::store::rollouts::{self, Tally};
use crate::store::{alarms, devices};

/// Seconds by which a hub's clock may differ from the one of a database that others share.
const CLOCKS_APART: i64 = 5;
/// A device that called within so many seconds counts as there.
const LATELY: i64 = 300;

/// The process runs.
pub async fn live() -> &'static str {
    "ok\n"
}

/// The database takes writes, and hubs that share it agree on the time.
pub async fn ready(State(app): State<App>) -> Done<&'static str> {
    // Begun and taken back: the writer's lock is what a full disk or a stuck process denies.
    app.hub.store.write().await?.rollback().await?;
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
