//! Desired states, trust documents and blobs.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jos_schemas::Limits;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::OfTenant;
use super::devices::Because;
use crate::actor::Actor;
use crate::api::{App, body};
use crate::blob::{self, Blob};
use crate::fault::{Done, Fault};
use crate::push::{self, Pushed};
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
pub async fn list(State(app): State<App>, Query(of): Query<OfTenant>) -> Done<Json<Vec<StateRow>>> {
    Ok(Json(states::list(&mut *app.hub.store.read().await?, of.all()).await?))
}

/// Takes a signed state.
pub async fn push(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Query(of): Query<OfTenant>,
    body: Body,
) -> Done<Json<Pushed>> {
    let bytes = body::bytes(body, Limits::DOCUMENT.bytes).await?;
    Ok(Json(push::state(&app.hub, &actor, of.one(), &bytes).await?))
}

/// One version, as it was signed.
pub async fn show(
    State(app): State<App>,
    Path((name, version)): Path<(String, u64)>,
    Query(of): Query<OfTenant>,
) -> Done<Response> {
    let mut conn = app.hub.store.read().await?;
    let bytes = states::bytes(&mut conn, of.one(), &name, version).await?;
    let bytes = bytes
        .ok_or_else(|| Fault::not_found(format!("there is no version {version} of {name:?} in {:?}", of.one())))?;
    let kind = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}

/// Offers a version no longer. Devices that have it keep it.
pub async fn retire(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Path((name, version)): Path<(String, u64)>,
    Query(of): Query<OfTenant>,
    body: Body,
) -> Done<StatusCode> {
    let Because { reason } = body::json(body).await?;
    let now = app.hub.clock.now();
    let mut tx = app.hub.store.write().await?;
    let why = if reason.is_empty() {
        "retired by an admin"
    } else {
        &reason
    };
    if !states::retire(&mut tx, of.one(), &name, version, why, now).await? {
        return Err(Fault::not_found(format!(
            "version {version} of {name:?} is not offered in {:?}",
            of.one()
        )));
    }
    let act = Act {
        actor: &actor.0,
        tenant: Some(of.one()),
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
pub async fn trusts(State(app): State<App>, Query(of): Query<OfTenant>) -> Done<Json<Vec<TrustVersion>>> {
    let versions = stored_trusts::list(&mut *app.hub.store.read().await?, of.one()).await?;
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
    Extension(actor): Extension<Actor>,
    Query(of): Query<OfTenant>,
    body: Body,
) -> Done<Json<Pushed>> {
    let bytes = body::bytes(body, Limits::DOCUMENT.bytes).await?;
    Ok(Json(push::trust(&app.hub, &actor, of.one(), &bytes).await?))
}

/// The blobs of a tenant.
pub async fn blobs(State(app): State<App>, Query(of): Query<OfTenant>) -> Done<Json<Vec<Blob>>> {
    let blobs = stored_blobs::list(&mut *app.hub.store.read().await?, of.one()).await?;
    Ok(Json(
        blobs.into_iter().map(|(sha256, size)| Blob { sha256, size }).collect(),
    ))
}

/// Takes a blob.
pub async fn push_blob(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Query(of): Query<OfTenant>,
    body: Body,
) -> Done<Json<Blob>> {
    Ok(Json(blob::take(&app.hub, &actor, of.one(), body).await?))
}
