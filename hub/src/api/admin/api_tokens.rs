//! API tokens, for people's programs. The line is given once, when it is made; the hub keeps the hash of its secret.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{absent, check_comment};
use crate::api::{App, body};
use crate::api_token::ApiToken;
use crate::fault::{Done, Fault};
use crate::hub::Hub;
use crate::random;
use crate::rights::{Asker, Rights};
use crate::store::api_tokens::{self, ApiTokenRow};
use crate::store::audit::{self, Act};
use crate::store::users::{self as stored, EVERY_TENANT, Role};
use crate::users;

pub(crate) const DAY: u32 = 86_400;
const LONGEST: u32 = 3650 * DAY;

/// An API token to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct New {
    /// Whose it will be: it may never do more than they may, and what it does is theirs.
    pub user: String,
    /// What it may do at most.
    pub role: Role,
    /// The tenant that it is for; every one that its user has a role in when absent.
    #[serde(default)]
    pub tenant: Option<String>,
    /// Seconds until it ends; 90 days when absent.
    #[serde(default)]
    pub valid_for: Option<u32>,
    /// For people.
    #[serde(default)]
    pub comment: String,
}

/// An API token that was made, with its line.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Made {
    /// The line that `--token-file` takes. It is not shown again.
    pub line: String,
    /// What the hub keeps.
    pub token: ApiTokenRow,
}

/// All of them.
pub async fn list(State(app): State<App>, _: Asker) -> Done<Json<Vec<ApiTokenRow>>> {
    Ok(Json(api_tokens::list(&mut *app.hub.store.read().await?).await?))
}

/// Makes one.
pub async fn new(State(app): State<App>, asker: Asker, body: Body) -> Done<Json<Made>> {
    Ok(Json(make(&app.hub, &asker, body::json(body).await?).await?))
}

/// The same, for whoever may.
pub(crate) async fn make(hub: &Hub, asker: &Asker, asked: New) -> Done<Made> {
    let tenant = asked.tenant.unwrap_or_else(|| EVERY_TENANT.to_owned());
    let valid_for = asked.valid_for.unwrap_or(90 * DAY);
    if valid_for == 0 || valid_for > LONGEST {
        return Err(Fault::malformed("valid_for: expected an end within ten years"));
    }
    check_comment(&asked.comment)?;
    let now = hub.clock.now();
    let mut tx = hub.store.write().await?;
    users::known_tenant(&mut tx, &tenant).await?;
    let user = stored::get(&mut tx, &asked.user).await?;
    let user = user.ok_or_else(|| users::absent(&asked.user))?;
    if Rights::of(&user.roles).at_most(Role::Admin, &tenant).anywhere() < Some(asked.role) {
        let place = if tenant == EVERY_TENANT { "any tenant" } else { &tenant };
        let message = format!("{} has not the role {} in {place}", user.name, asked.role.word());
        return Err(
            Fault::conflict("role", message).help("a token may do no more than its user: `jos-hub user role` first")
        );
    }
    let line = ApiToken::new(hub.authorities().ca().fingerprint());
    let token = ApiTokenRow {
        id: random::id("a"),
        user: Some(user.name),
        role: asked.role,
        tenant,
        comment: asked.comment,
        expires: Some(now + i64::from(valid_for)),
        created: now,
        created_by: asker.actor.0.clone(),
        revoked: None,
    };
    api_tokens::add(&mut tx, &token, &line.hash()).await?;
    let act = Act {
        actor: &asker.actor.0,
        tenant: (token.tenant != EVERY_TENANT).then_some(token.tenant.as_str()),
        action: "api-token.new",
        subject: &token.id,
        detail: json!({ "user": token.user, "role": token.role, "tenant": token.tenant, "expires": token.expires }),
    };
    audit::append(&mut tx, &act, now).await?;
    tx.commit().await?;
    Ok(Made {
        line: line.line().to_string(),
        token,
    })
}

/// Revokes one: the next request that shows it is refused.
pub async fn revoke(State(app): State<App>, asker: Asker, Path(id): Path<String>) -> Done<StatusCode> {
    end(&app.hub, &asker, &id, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The same, for whoever may; the audit log of `tenant` has it.
pub(crate) async fn end(hub: &Hub, asker: &Asker, id: &str, tenant: Option<&str>) -> Done<()> {
    let now = hub.clock.now();
    let mut tx = hub.store.write().await?;
    if !api_tokens::revoke(&mut tx, id, now).await? {
        return Err(absent("API token", id).help("`jos-hub api-token list` shows them"));
    }
    let act = Act {
        actor: &asker.actor.0,
        tenant,
        action: "api-token.revoke",
        subject: id,
        detail: Value::Null,
    };
    audit::append(&mut tx, &act, now).await?;
    Ok(tx.commit().await?)
}
