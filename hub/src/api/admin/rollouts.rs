//! Rollouts: made with a state, watched, and told what to do.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use jos_schemas::Limits;
use jos_schemas::read::{self, Format};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::devices::Because;
use super::{OfTenant, absent};
use crate::api::{App, body};
use crate::fault::Done;
use crate::metrics::count;
use crate::rights::Asker;
use crate::rollout::act::{self, Verb};
use crate::rollout::make::{self, Made, New};
use crate::rollout::steward;
use crate::store::Conn;
use crate::store::rollouts::{self, Reached, RolloutRow, Tally};

/// Two states as texts, and a plan.
const LONGEST: usize = 5 << 20;
/// Points of a curve, at most.
const POINTS: i64 = 240;
const MOST: u32 = 1000;

/// A rollout with its numbers.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Shown {
    /// It.
    pub rollout: RolloutRow,
    /// Each phase that has let somebody in.
    pub phases: Vec<Tally>,
    /// Seconds between the points of the curve.
    pub step: i64,
    /// What happened until when: numbers that only grow.
    pub curve: Vec<Point>,
}

/// How far a rollout was at one time.
#[derive(Clone, Copy, Debug, Default, Serialize, JsonSchema)]
pub struct Point {
    /// The end of its step, in seconds since 1970.
    pub time: i64,
    /// Devices whose turn had come.
    pub let_in: u64,
    /// Of them those that had fetched the version.
    pub offered: u64,
    /// Of them those that had it in force.
    pub well: u64,
    /// Of them those that had said they had not.
    pub failed: u64,
    /// Of them those that had said nothing more.
    pub silent: u64,
}

/// Which devices of a rollout.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    #[serde(default)]
    outcome: String,
    #[serde(default)]
    after: String,
    limit: Option<u32>,
}

/// All of a tenant, or of all.
pub async fn list(State(app): State<App>, asker: Asker, Query(of): Query<OfTenant>) -> Done<Json<Vec<RolloutRow>>> {
    let tenant = of.some(&asker)?;
    let mut conn = app.hub.store.read().await?;
    Ok(Json(rollouts::list(&mut conn, tenant.as_deref()).await?))
}

/// A rollout that whoever asks knows of, and may do this to.
async fn known(conn: &mut Conn, asker: &Asker, id: &str) -> Done<RolloutRow> {
    let found = rollouts::get(conn, id).await?;
    let rollout = found
        .filter(|rollout| asker.sees(&rollout.tenant))
        .ok_or_else(|| absent("rollout", id))?;
    asker.may(&rollout.tenant)?;
    Ok(rollout)
}

/// Takes a state and the plan by which it reaches its audience.
pub async fn new(State(app): State<App>, asker: Asker, Query(of): Query<OfTenant>, body: Body) -> Done<Json<Made>> {
    let tenant = of.one(&asker)?;
    let bytes = body::bytes(body, LONGEST).await?;
    let limits = Limits {
        bytes: LONGEST,
        ..Limits::DOCUMENT
    };
    let node = read::parse_within("body", &bytes, Format::Json, &limits)?;
    let asked: New = read::from_node("body", "", &node)?;
    let metrics = &app.hub.metrics;
    let made = make::make(&app.hub, &asker.actor, &tenant, &asked).await;
    count(if made.is_ok() {
        &metrics.pushes
    } else {
        &metrics.pushes_refused
    });
    let made = made?;
    app.hub.changed().await?;
    steward::turn(&app.hub).await?;
    Ok(Json(made))
}

/// Shows one, with its curve.
pub async fn show(State(app): State<App>, asker: Asker, Path(id): Path<String>) -> Done<Json<Shown>> {
    let mut conn = app.hub.store.read().await?;
    let rollout = known(&mut conn, &asker, &id).await?;
    let until = rollout.ended.unwrap_or_else(|| app.hub.clock.now());
    let step = ((until - rollout.created) / POINTS).max(1);
    let mut by_time: BTreeMap<i64, Point> = BTreeMap::new();
    for (start, what, number) in rollouts::steps(&mut conn, &id, step).await? {
        let point = by_time.entry(start).or_default();
        match &*what {
            "let_in" => point.let_in += number,
            "offered" => point.offered += number,
            "well" => point.well += number,
            "failed" => point.failed += number,
            _ => point.silent += number,
        }
    }
    let mut sum = Point::default();
    let curve = by_time.into_iter().map(|(start, more)| {
        sum.time = start + step;
        sum.let_in += more.let_in;
        sum.offered += more.offered;
        sum.well += more.well;
        sum.failed += more.failed;
        sum.silent += more.silent;
        sum
    });
    Ok(Json(Shown {
        curve: curve.collect(),
        step,
        phases: rollouts::tallies(&mut conn, &id).await?,
        rollout,
    }))
}

/// The devices that one has let in, by id.
pub async fn devices(
    State(app): State<App>,
    asker: Asker,
    Path(id): Path<String>,
    Query(which): Query<Which>,
) -> Done<Json<Vec<Reached>>> {
    let mut conn = app.hub.store.read().await?;
    known(&mut conn, &asker, &id).await?;
    let most = which.limit.unwrap_or(MOST).clamp(1, MOST);
    Ok(Json(
        rollouts::reached(&mut conn, &id, &which.outcome, &which.after, most).await?,
    ))
}

/// A second person says yes.
pub async fn approve(app: State<App>, asker: Asker, id: Path<String>, body: Body) -> Done<Json<RolloutRow>> {
    told(app, asker, id, body, Verb::Approve).await
}

/// No more devices for now.
pub async fn pause(app: State<App>, asker: Asker, id: Path<String>, body: Body) -> Done<Json<RolloutRow>> {
    told(app, asker, id, body, Verb::Pause).await
}

/// On with it; failures so far are passed over.
pub async fn resume(app: State<App>, asker: Asker, id: Path<String>, body: Body) -> Done<Json<RolloutRow>> {
    told(app, asker, id, body, Verb::Resume).await
}

/// No more devices, for good.
pub async fn abort(app: State<App>, asker: Asker, id: Path<String>, body: Body) -> Done<Json<RolloutRow>> {
    told(app, asker, id, body, Verb::Abort).await
}

async fn told(
    State(app): State<App>,
    asker: Asker,
    Path(id): Path<String>,
    body: Body,
    verb: Verb,
) -> Done<Json<RolloutRow>> {
    known(&mut *app.hub.store.read().await?, &asker, &id).await?;
    let Because { reason } = body::json(body).await?;
    Ok(Json(act::act(&app.hub, &asker.actor, &id, verb, &reason).await?))
}
