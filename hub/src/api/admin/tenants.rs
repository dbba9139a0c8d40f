//! Tenants.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use jos_schemas::text::Name;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::api::{App, body};
use crate::fault::{Done, Fault};
use crate::rights::Asker;
use crate::store::audit::{self, Act};
use crate::store::tenants::{self, Tenant};

/// A tenant to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct New {
    name: Name,
}

/// All tenants that whoever asks has a role in.
pub async fn list(State(app): State<App>, asker: Asker) -> Done<Json<Vec<Tenant>>> {
    let mut all = tenants::list(&mut *app.hub.store.read().await?).await?;
    all.retain(|tenant| asker.sees(&tenant.name));
    Ok(Json(all))
}

/// Makes one.
pub async fn new(State(app): State<App>, asker: Asker, body: Body) -> Done<Json<Tenant>> {
    let New { name } = body::json(body).await?;
    let now = app.hub.clock.now();
    let mut tx = app.hub.store.write().await?;
    if !tenants::add(&mut tx, name.as_str(), now).await? {
        return Err(Fault::conflict(
            "tenant-exists",
            format!("there is a tenant {:?} already", name.as_str()),
        ));
    }
    let act = Act {
        actor: &asker.actor.0,
        tenant: Some(name.as_str()),
        action: "tenant.new",
        subject: name.as_str(),
        detail: Value::Null,
    };
    audit::append(&mut tx, &act, now).await?;
    tx.commit().await?;
    Ok(Json(Tenant {
        name: name.to_string(),
        created: now,
    }))
}
