//! The users of the dashboard.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{App, body};
use crate::fault::Done;
use crate::rights::Asker;
use crate::store::users::{self as stored, EVERY_TENANT, Role, User};
use crate::users;

/// A user to be added.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct New {
    /// The name that they sign in with.
    name: String,
    /// One is made where this is absent.
    #[serde(default)]
    password: Option<String>,
    /// The tenant that the role is for; every one when absent.
    #[serde(default)]
    tenant: Option<String>,
    /// What they may do there.
    role: Role,
}

/// A password to be set.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// One is made where this is absent.
    #[serde(default)]
    password: Option<String>,
}

/// A role to be set.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRole {
    /// The tenant that it is for; every one when absent.
    #[serde(default)]
    tenant: Option<String>,
    /// What they may do there; nothing when absent.
    #[serde(default)]
    role: Option<Role>,
}

/// A user, with the password that was made.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Added {
    /// The user.
    user: String,
    /// The password that was made. It is not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

/// Lists users.
pub async fn list(State(app): State<App>, _: Asker) -> Done<Json<Vec<User>>> {
    Ok(Json(stored::list(&mut *app.hub.store.read().await?).await?))
}

/// Adds one.
pub async fn new(State(app): State<App>, asker: Asker, body: Body) -> Done<Json<Added>> {
    let asked: New = body::json(body).await?;
    let made = asked.password.is_none().then(users::new_password);
    let password = made.as_deref().or(asked.password.as_ref()).map_or("", String::as_str);
    let tenant = asked.tenant.as_deref().unwrap_or(EVERY_TENANT);
    let user = users::add(&app.hub, &asker.actor, &asked.name, password, tenant, asked.role).await?;
    Ok(Json(Added {
        user: user.name,
        password: made.map(|made| made.to_string()),
    }))
}

/// Sets a password. Every session of the user ends.
pub async fn password(State(app): State<App>, asker: Asker, Path(name): Path<String>, body: Body) -> Done<Json<Added>> {
    let asked: NewPassword = body::json(body).await?;
    let made = asked.password.is_none().then(users::new_password);
    let password = made.as_deref().or(asked.password.as_ref()).map_or("", String::as_str);
    users::set_password(&app.hub, &asker.actor, &name, password, "").await?;
    Ok(Json(Added {
        user: name,
        password: made.map(|made| made.to_string()),
    }))
}

/// Sets a role.
pub async fn role(State(app): State<App>, asker: Asker, Path(name): Path<String>, body: Body) -> Done<Json<User>> {
    let asked: NewRole = body::json(body).await?;
    let tenant = asked.tenant.as_deref().unwrap_or(EVERY_TENANT);
    Ok(Json(
        users::set_role(&app.hub, &asker.actor, &name, tenant, asked.role).await?,
    ))
}

/// Removes one.
pub async fn remove(State(app): State<App>, asker: Asker, Path(name): Path<String>) -> Done<StatusCode> {
    users::remove(&app.hub, &asker.actor, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
