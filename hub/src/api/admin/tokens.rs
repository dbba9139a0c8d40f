//! Enrolment tokens. The line is given once, when it is made; the hub keeps the hash of its secret.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use jos_link::token::{SECRET, Token};
use jos_trust::sha256;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{OfTenant, absent, check_comment, check_labels};
use crate::api::{App, body};
use crate::fault::{Done, Fault};
use crate::random;
use crate::rights::Asker;
use crate::store::audit::{self, Act};
use crate::store::tokens::{self, TokenRow};
use crate::store::{glances, tenants, trusts};

const LONGEST: i64 = 10 * 365 * 86_400;

/// A token to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct New {
    /// The tenant that devices join; when absent `default`, or the only one that whoever asks has a role in.
    #[serde(default)]
    tenant: Option<String>,
    /// How many devices may use it; 1 when absent.
    #[serde(default)]
    uses: Option<u32>,
    /// Seconds until it ends; a day when absent.
    #[serde(default)]
    valid_for: Option<u32>,
    /// Labels that devices get by it.
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// For people.
    #[serde(default)]
    comment: String,
    /// Where devices find the hub, best first; the hub's own addresses when absent.
    #[serde(default)]
    addresses: Vec<String>,
}

/// A token that was made, with its line.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Made {
    /// The line that a device takes. It is not shown again.
    pub line: String,
    /// What the hub keeps.
    pub token: TokenRow,
}

/// All tokens of a tenant, or of all.
pub async fn list(State(app): State<App>, asker: Asker, Query(of): Query<OfTenant>) -> Done<Json<Vec<TokenRow>>> {
    let tenant = of.some(&asker)?;
    let mut conn = app.hub.store.read().await?;
    Ok(Json(tokens::list(&mut conn, tenant.as_deref()).await?))
}

/// Makes one.
pub async fn new(State(app): State<App>, asker: Asker, body: Body) -> Done<Json<Made>> {
    let asked: New = body::json(body).await?;
    let hub = &app.hub;
    let tenant = asker.one(asked.tenant.as_deref())?;
    check_labels(&asked.labels)?;
    let (uses, valid_for) = (asked.uses.unwrap_or(1), i64::from(asked.valid_for.unwrap_or(86_400)));
    if uses == 0 || valid_for == 0 || valid_for > LONGEST {
        return Err(Fault::malformed(
            "expected at least one use, and an end within ten years",
        ));
    }
    check_comment(&asked.comment)?;
    let addresses = if asked.addresses.is_empty() {
        hub.addresses.clone()
    } else {
        asked.addresses
    };
    if addresses.len() > 8 || !addresses.iter().all(|address| jos_link::token::is_address(address)) {
        return Err(Fault::malformed(format!(
            "addresses: found {addresses:?}, expected 1 to 8 of the form \"https://HOST:PORT\""
        )));
    }
    let now = hub.clock.now();
    let mut tx = hub.store.write().await?;
    if !tenants::exists(&mut tx, &tenant).await? {
        return Err(absent("tenant", &tenant));
    }
    let mut secret = [0; SECRET];
    random::fill(&mut secret);
    let trust = trusts::newest(&mut tx, &tenant).await?;
    let line = Token {
        addresses,
        ca: hub.authorities().ca().fingerprint(),
        trust: trust.and_then(|(_, content, _)| content.parse().ok()),
        secret,
    };
    let token = TokenRow {
        id: random::id("t"),
        tenant,
        labels: asked.labels,
        comment: asked.comment,
        uses: u64::from(uses),
        used: 0,
        expires: now + valid_for,
        created: now,
        created_by: asker.actor.0.clone(),
        revoked: None,
    };
    tokens::add(&mut tx, &token, &sha256(line.secret_text().as_bytes()).to_string()).await?;
    let act = Act {
        actor: &asker.actor.0,
        tenant: Some(&token.tenant),
        action: "token.new",
        subject: &token.id,
        detail: json!({ "uses": uses, "expires": token.expires, "labels": token.labels }),
    };
    audit::append(&mut tx, &act, now).await?;
    tx.commit().await?;
    Ok(Json(Made {
        line: line.to_string(),
        token,
    }))
}

/// Revokes one: nothing enrols by it any more; what it let in stays.
pub async fn revoke(State(app): State<App>, asker: Asker, Path(id): Path<String>) -> Done<StatusCode> {
    let now = app.hub.clock.now();
    let mut tx = app.hub.store.write().await?;
    let tenant = glances::tenant_of_token(&mut tx, &id).await?;
    let tenant = tenant
        .filter(|tenant| asker.sees(tenant))
        .ok_or_else(|| absent("token", &id))?;
    asker.may(&tenant)?;
    tokens::revoke(&mut tx, &id, now).await?;
    let act = Act {
        actor: &asker.actor.0,
        tenant: Some(&tenant),
        action: "token.revoke",
        subject: &id,
        detail: Value::Null,
    };
    audit::append(&mut tx, &act, now).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
