//! The hub's CAs and its own other keys.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use jos_link::wire;

use crate::api::{App, body};
use crate::fault::Done;
use crate::push::Pushed;
use crate::rights::Asker;
use crate::rotation::{self, Finish, Shown, keys};

/// How they stand, and how far a rotation has come.
pub async fn show(State(app): State<App>, _: Asker) -> Done<Json<Shown>> {
    Ok(Json(rotation::show(&app.hub).await?))
}

/// Makes the next CA.
pub async fn rotate(State(app): State<App>, asker: Asker) -> Done<Json<Shown>> {
    Ok(Json(rotation::rotate(&app.hub, &asker.actor).await?))
}

/// Takes what a tenant's admins say of it.
pub async fn push(State(app): State<App>, asker: Asker, body: Body) -> Done<Json<Pushed>> {
    let bytes = body::bytes(body, wire::MAX_SMALL).await?;
    Ok(Json(rotation::push(&app.hub, &asker, &bytes).await?))
}

/// Ends a rotation at once.
pub async fn finish(State(app): State<App>, asker: Asker, body: Body) -> Done<Json<Shown>> {
    let asked: Finish = body::json(body).await?;
    Ok(Json(rotation::finish(&app.hub, &asker.actor, &asked).await?))
}

/// Gives the next CA up.
pub async fn abort(State(app): State<App>, asker: Asker) -> Done<Json<Shown>> {
    Ok(Json(rotation::abort(&app.hub, &asker.actor).await?))
}

/// The hub's own other keys.
pub async fn keys(State(app): State<App>, _: Asker) -> Done<Json<keys::Shown>> {
    Ok(Json(keys::show(&app.hub).await?))
}

/// Makes the next freshness key.
pub async fn rotate_freshness(State(app): State<App>, asker: Asker) -> Done<Json<keys::Shown>> {
    Ok(Json(keys::rotate_freshness(&app.hub, &asker.actor).await?))
}

/// Lets every hub make itself another server key.
pub async fn rotate_server(State(app): State<App>, asker: Asker) -> Done<Json<keys::Shown>> {
    Ok(Json(keys::rotate_server(&app.hub, &asker.actor).await?))
}
