//! What happened: alarms and the audit log.

use axum::Json;
use axum::extract::{Query, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::App;
use crate::fault::Done;
use crate::rights::Asker;
use crate::store::alarms::{self, Alarm};
use crate::store::audit::{self, Entry};

/// Which alarms.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    tenant: Option<String>,
    #[serde(default)]
    all: bool,
}

/// Which entries.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    tenant: Option<String>,
    before: Option<u64>,
    limit: Option<u32>,
}

/// A part of the audit log.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Audit {
    /// The newest first.
    entries: Vec<Entry>,
    /// How many entries follow each other from the first one on.
    whole: u64,
    /// The first entry that does not follow: the log was changed there.
    broken: Option<u64>,
}

/// Lists alarms.
pub async fn alarms(State(app): State<App>, asker: Asker, Query(which): Query<Which>) -> Done<Json<Vec<Alarm>>> {
    let tenant = asker.some(which.tenant.as_deref())?;
    let mut conn = app.hub.store.read().await?;
    Ok(Json(alarms::list(&mut conn, tenant.as_deref(), None, which.all).await?))
}

/// Shows the audit log.
pub async fn audit(State(app): State<App>, asker: Asker, Query(page): Query<Page>) -> Done<Json<Audit>> {
    let tenant = asker.some(page.tenant.as_deref())?;
    let mut conn = app.hub.store.read().await?;
    let (before, most) = (
        page.before.unwrap_or(u64::MAX),
        page.limit.unwrap_or(100).clamp(1, 10_000),
    );
    let entries = audit::list(&mut conn, tenant.as_deref(), before, most).await?;
    let (whole, broken) = audit::verify(&mut conn).await?;
    Ok(Json(Audit { entries, whole, broken }))
}
