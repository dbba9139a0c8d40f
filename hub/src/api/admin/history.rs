//! What a device measured.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{absent, device};
use crate::api::App;
use crate::fault::Done;
use crate::history::{COARSE_KEPT, FINE, Slot, Stat};
use crate::rights::Asker;
use crate::store::agents::Agent;
use crate::store::{Conn, Stored, agents, history};

/// Seconds that a summary covers.
const SUMMARY: i64 = 86_400;

/// Which part of a history.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    agent: String,
    metric: Option<String>,
    since: Option<i64>,
    until: Option<i64>,
}

/// One step of a history.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Step {
    /// Seconds that it covers.
    pub step: i64,
    /// What was measured.
    #[serde(flatten)]
    pub slot: Slot,
}

/// The history of one agent, the oldest step first, the one that is being filled last.
pub async fn show(
    State(app): State<App>,
    asker: Asker,
    Path(id): Path<String>,
    Query(part): Query<Part>,
) -> Done<Json<Vec<Step>>> {
    let now = app.hub.clock.now();
    let mut conn = app.hub.store.read().await?;
    device(&mut conn, &asker, &id).await?;
    let agent = agents::get(&mut conn, &id, &part.agent).await?;
    let agent = agent.ok_or_else(|| absent("agent", &part.agent))?;
    let since = part.since.unwrap_or(now - COARSE_KEPT);
    let mut steps = steps(&mut conn, &id, &agent, since, part.until.unwrap_or(i64::MAX)).await?;
    if let Some(metric) = &part.metric {
        for (_, slot) in &mut steps {
            slot.metrics.retain(|name, _| name == metric);
        }
    }
    let steps = steps.into_iter().filter(|(_, slot)| !slot.metrics.is_empty());
    Ok(Json(steps.map(|(step, slot)| Step { step, slot }).collect()))
}

/// The last day of an agent, each metric in one.
pub(super) async fn summary(conn: &mut Conn, id: &str, agent: &Agent, now: i64) -> Stored<BTreeMap<String, Stat>> {
    let mut day = Slot::default();
    for (_, slot) in steps(conn, id, agent, now - SUMMARY, i64::MAX).await? {
        day.merge(&slot);
    }
    Ok(day.metrics)
}

async fn steps(conn: &mut Conn, id: &str, agent: &Agent, since: i64, until: i64) -> Stored<Vec<(i64, Slot)>> {
    let mut steps = history::list(conn, id, &agent.name, since, until).await?;
    if (since..until).contains(&agent.slot.start) && !agent.slot.metrics.is_empty() {
        steps.push((FINE, agent.slot.clone()));
    }
    Ok(steps)
}
