//! What happened: alarms, the audit log, and everything at once for another program.

use axum::Json;
use axum::extract::{Query, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::App;
use crate::fault::Done;
use crate::store::alarms::{self, Alarm};
use crate::store::audit::{self, Entry};
use crate::store::devices::{self, Device};
use crate::store::questions::{self, Asked};
use crate::store::rollouts::{self, RolloutRow};
use crate::store::states::{self, StateRow};
use crate::store::tenants::{self, Tenant};
use crate::store::tokens::{self, TokenRow};

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

/// Everything but secrets and the content of blobs.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Export {
    /// Tenants.
    tenants: Vec<Tenant>,
    /// Enrolment tokens, without secrets.
    tokens: Vec<TokenRow>,
    /// Devices.
    devices: Vec<Device>,
    /// Every version of every state.
    states: Vec<StateRow>,
    /// Rollouts.
    rollouts: Vec<RolloutRow>,
    /// Alarms, the cleared ones too.
    alarms: Vec<Alarm>,
    /// What people asked of devices, and what those answered.
    questions: Vec<Asked>,
    /// The audit log, the newest first.
    audit: Vec<Entry>,
}

/// Lists alarms.
pub async fn alarms(State(app): State<App>, Query(which): Query<Which>) -> Done<Json<Vec<Alarm>>> {
    let mut conn = app.hub.store.read().await?;
    Ok(Json(
        alarms::list(&mut conn, which.tenant.as_deref(), None, which.all).await?,
    ))
}

/// Shows the audit log.
pub async fn audit(State(app): State<App>, Query(page): Query<Page>) -> Done<Json<Audit>> {
    let mut conn = app.hub.store.read().await?;
    let (before, most) = (
        page.before.unwrap_or(u64::MAX),
        page.limit.unwrap_or(100).clamp(1, 10_000),
    );
    let entries = audit::list(&mut conn, page.tenant.as_deref(), before, most).await?;
    let (whole, broken) = audit::verify(&mut conn).await?;
    Ok(Json(Audit { entries, whole, broken }))
}

/// Everything at once.
pub async fn export(State(app): State<App>) -> Done<Json<Export>> {
    let mut conn = app.hub.store.read().await?;
    let mut all: Vec<Device> = Vec::new();
    loop {
        let after = all.last().map(|device| device.id.clone()).unwrap_or_default();
        let more = devices::list(&mut conn, None, &after, 1000).await?;
        if more.is_empty() {
            break;
        }
        all.extend(more);
    }
    Ok(Json(Export {
        tenants: tenants::list(&mut conn).await?,
        tokens: tokens::list(&mut conn, None).await?,
        devices: all,
        states: states::list(&mut conn, None).await?,
        rollouts: rollouts::list(&mut conn, None).await?,
        alarms: alarms::list(&mut conn, None, None, true).await?,
        questions: questions::all(&mut conn).await?,
        audit: audit::list(&mut conn, None, u64::MAX, u32::MAX).await?,
    }))
}
