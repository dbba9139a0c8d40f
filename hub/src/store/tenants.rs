//! Tenants.

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
