//! Enrolment tokens. Only the hash of a secret is kept.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Conn, Stored, count, json, signed, to_json};

/// One enrolment token, without its secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TokenRow {
    /// Its id.
    pub id: String,
    /// The tenant that devices join by it.
    pub tenant: String,
    /// The labels that devices get by it.
    pub labels: BTreeMap<String, String>,
    /// For people.
    pub comment: String,
    /// How many devices may use it.
    pub uses: u64,
    /// How many have.
    pub used: u64,
    /// When it ends, in seconds since 1970.
    pub expires: i64,
    /// When it was made.
    pub created: i64,
    /// Who made it.
    pub created_by: String,
    /// When it was revoked.
    pub revoked: Option<i64>,
}

/// Adds a token whose secret has the hash `secret`.
pub async fn add(conn: &mut Conn, token: &TokenRow, secret: &str) -> Stored<()> {
    sqlx::query(
        "INSERT INTO tokens (id, tenant, secret, labels, comment, uses, used, expires, created, created_by) \
         VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9)",
    )
    .bind(token.id.clone())
    .bind(token.tenant.clone())
    .bind(secret.to_owned())
    .bind(to_json(&token.labels))
    .bind(token.comment.clone())
    .bind(signed(token.uses))
    .bind(token.expires)
    .bind(token.created)
    .bind(token.created_by.clone())
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes one use of the token with this hash, in one statement: of two devices at the same instant one wins. `None` where
/// there is no such token, or it is used up, over or revoked.
pub async fn take(conn: &mut Conn, secret: &str, now: i64) -> Stored<Option<TokenRow>> {
    let row = sqlx::query(
        "UPDATE tokens SET used = used + 1 WHERE secret = $1 AND used < uses AND expires > $2 AND revoked IS NULL \
         RETURNING id, tenant, labels, comment, uses, used, expires, created, created_by, revoked",
    )
    .bind(secret.to_owned())
    .bind(now)
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(read).transpose()
}

/// The token with this hash, whatever its standing.
pub async fn by_secret(conn: &mut Conn, secret: &str) -> Stored<Option<TokenRow>> {
    let row = sqlx::query(
        "SELECT id, tenant, labels, comment, uses, used, expires, created, created_by, revoked FROM tokens WHERE secret = $1",
    )
    .bind(secret.to_owned())
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(read).transpose()
}

/// All of a tenant, or of all; the newest first.
pub async fn list(conn: &mut Conn, tenant: Option<&str>) -> Stored<Vec<TokenRow>> {
    let rows = sqlx::query(
        "SELECT id, tenant, labels, comment, uses, used, expires, created, created_by, revoked FROM tokens \
         WHERE tenant = $1 OR $1 = '' ORDER BY created DESC, id",
    )
    .bind(tenant.unwrap_or_default().to_owned())
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// Revokes a token; `false` where there is none of this id.
pub async fn revoke(conn: &mut Conn, id: &str, now: i64) -> Stored<bool> {
    let done = sqlx::query("UPDATE tokens SET revoked = COALESCE(revoked, $2) WHERE id = $1")
        .bind(id.to_owned())
        .bind(now)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

fn read(row: &AnyRow) -> Stored<TokenRow> {
    Ok(TokenRow {
        id: row.try_get("id")?,
        tenant: row.try_get("tenant")?,
        labels: json(row, "labels", "tokens.labels")?,
        comment: row.try_get("comment")?,
        uses: count(row, "uses")?,
        used: count(row, "used")?,
        expires: row.try_get("expires")?,
        created: row.try_get("created")?,
        created_by: row.try_get("created_by")?,
        revoked: row.try_get("revoked")?,
    })
}
