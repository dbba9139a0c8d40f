//! Tenants, and the API tokens of people and scripts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::Row;

use super::{Conn, Stored};

/// One tenant: devices, states and trust documents of one never meet those of another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tenant {
    /// Its name.
    pub name: String,
    /// Since when, in seconds since 1970.
    pub created: i64,
}

/// Makes a tenant; `false` where there is one of this name.
pub async fn add(conn: &mut Conn, name: &str, now: i64) -> Stored<bool> {
    let done = sqlx::query("INSERT INTO tenants (name, created) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
        .bind(name.to_owned())
        .bind(now)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// All, by name.
pub async fn list(conn: &mut Conn) -> Stored<Vec<Tenant>> {
    let rows = sqlx::query("SELECT name, created FROM tenants ORDER BY name")
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Tenant {
                name: row.try_get("name")?,
                created: row.try_get("created")?,
            })
        })
        .collect()
}

/// Whether there is one of this name.
pub async fn exists(conn: &mut Conn, name: &str) -> Stored<bool> {
    let row = sqlx::query("SELECT 1 FROM tenants WHERE name = $1").bind(name.to_owned());
    Ok(row.fetch_optional(conn).await?.is_some())
}

/// Makes an API token known by the hash of its secret.
pub async fn add_api_token(conn: &mut Conn, id: &str, secret: &str, comment: &str, now: i64) -> Stored<()> {
    sqlx::query("INSERT INTO api_tokens (id, secret, comment, created) VALUES ($1, $2, $3, $4)")
        .bind(id.to_owned())
        .bind(secret.to_owned())
        .bind(comment.to_owned())
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// The id of the API token with this hash, unless it was revoked.
pub async fn api_token(conn: &mut Conn, secret: &str) -> Stored<Option<String>> {
    let row = sqlx::query("SELECT id FROM api_tokens WHERE secret = $1 AND revoked IS NULL").bind(secret.to_owned());
    Ok(row
        .fetch_optional(conn)
        .await?
        .map(|row| row.try_get("id"))
        .transpose()?)
}
