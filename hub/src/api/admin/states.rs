//! Desired states, trust documents and blobs.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jos_schemas::Limits;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::OfTenant;
use super::devices::Because;
use crate::api::{App, body};
use crate::blob::{self, Blob};
use crate::fault::{Done, Fault};
use crate::push::{self, Pushed};
use crate::rights::Asker;
use crate::store::audit::{self, Act};
use crate::store::states::{self, StateRow};
use crate::store::{self, blobs as stored_blobs, trusts as stored_trusts};

/// One version of a tenant's trust document.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TrustVersion {
    /// Its number.
    version: u64,
    /// SHA-256 of its canonical bytes without signatures.
    content: String,
    /// When it was handed over, in seconds since 1970.
    added: i64,
}

/// Every version of every state.
pub async fn list(State(app): State<App>, asker: Asker, Query(of): Query<OfTenant>) -> Done<Json<Vec<StateRow>>> {
    let tenant = of.some(&asker)?;
    let mut conn = app.hub.store.read().await?;
    Ok(Json(states::list(&mut conn, tenant.as_deref()).await?))
}

/// Takes a signed state.
pub async fn push(State(app): State<App>, asker: Asker, Query(of): Query<OfTenant>, body: Body) -> Done<Json<Pushed>> {
    let tenant = of.one(&asker)?;
    let bytes = body::bytes(body, Limits::DOCUMENT.bytes).await?;
    Ok(Json(push::state(&app.hub, &asker.actor, &tenant, &bytes).await?))
}

/// One version, as it was signed.
pub async fn show(
    State(app): State<App>,
    asker: Asker,
    Path((name, version)): Path<(String, u64)>,
    Query(of): Query<OfTenant>,
) -> Done<Response> {
    let tenant = of.one(&asker)?;
    let mut conn = app.hub.store.read().await?;
    let bytes = states::bytes(&mut conn, &tenant, &name, version).await?;
    let bytes =
        bytes.ok_or_else(|| Fault::not_found(format!("there is no version {version} of {name:?} in {tenant:?}")))?;
    let kind = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}

/// Offers a version no longer. Devices that have it keep it.
pub async fn retire(
    State(app): State<App>,
    asker: Asker,
    Path((name, version)): Path<(String, u64)>,
    Query(of): Query<OfTenant>,
    body: Body,
) -> Done<StatusCode> {
    let tenant = of.one(&asker)?;
    let Because { reason } = body::json(body).await?;
    let now = app.hub.clock.now();
    let mut tx = app.hub.store.write().await?;
    let why = if reason.is_empty() {
        "retired by an admin"
    } else {
        &reason
    };
    if !states::retire(&mut tx, &tenant, &name, version, why, now).await? {
        return Err(Fault::not_found(format!(
            "version {version} of {name:?} is not offered in {tenant:?}"
        )));
    }
    let act = Act {
        actor: &asker.actor.0,
        tenant: Some(&tenant),
        action: "state.retire",
        subject: &format!("{name}@{version}"),
        detail: json!({ "reason": why }),
    };
    audit::append(&mut tx, &act, now).await?;
    store::bump(&mut tx).await?;
    tx.commit().await?;
    app.hub.changed().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The versions of a tenant's trust document.
pub async fn trusts(State(app): State<App>, asker: Asker, Query(of): Query<OfTenant>) -> Done<Json<Vec<TrustVersion>>> {
    let tenant = of.one(&asker)?;
    let versions = stored_trusts::list(&mut *app.hub.store.read().await?, &tenant).await?;
    let versions = versions.into_iter().map(|(version, content, added)| TrustVersion {
        version,
        content,
        added,
    });
    Ok(Json(versions.collect()))
}

/// Takes a trust document.
pub async fn push_trust(
    State(app): State<App>,
    asker: Asker,
    Query(of): Query<OfTenant>,
    body: Body,
) -> Done<Json<Pushed>> {
    let tenant = of.one(&asker)?;
    let bytes = body::bytes(body, Limits::DOCUMENT.bytes).await?;
    Ok(Json(push::trust(&app.hub, &asker.actor, &tenant, &bytes).await?))
}

/// The blobs of a tenant.
pub async fn blobs(State(app): State<App>, asker: Asker, Query(of): Query<OfTenant>) -> Done<Json<Vec<Blob>>> {
    let tenant = of.one(&asker)?;
    let blobs = stored_blobs::list(&mut *app.hub.store.read().await?, &tenant).await?;
    Ok(Json(
        blobs.into_iter().map(|(sha256, size)| Blob { sha256, size }).collect(),
    ))
}

/// Takes a blob.
pub async fn push_blob(
    State(app): State<App>,
    asker: Asker,
    Query(of): Query<OfTenant>,
    body: Body,
) -> Done<Json<Blob>> {
    let tenant = of.one(&asker)?;
    Ok(Json(blob::take(&app.hub, &asker.actor, &tenant, body).await?))
}
