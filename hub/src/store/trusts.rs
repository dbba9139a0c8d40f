//! The trust documents of each tenant, every version: devices walk from one to the next.

use sqlx::Row;

use super::{Conn, Stored, count, signed};

/// Adds a version; the caller has verified that it follows the newest.
pub async fn add(conn: &mut Conn, tenant: &str, version: u64, content: &str, bytes: &[u8], now: i64) -> Stored<()> {
    sqlx::query("INSERT INTO trusts (tenant, version, content, bytes, added) VALUES ($1, $2, $3, $4, $5)")
        .bind(tenant.to_owned())
        .bind(signed(version))
        .bind(content.to_owned())
        .bind(bytes.to_vec())
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// The newest version: its number, content and bytes.
pub async fn newest(conn: &mut Conn, tenant: &str) -> Stored<Option<(u64, String, Vec<u8>)>> {
    let row = sqlx::query("SELECT version, content, bytes FROM trusts WHERE tenant = $1 ORDER BY version DESC LIMIT 1")
        .bind(tenant.to_owned())
        .fetch_optional(conn)
        .await?;
    row.map(|row| Ok((count(&row, "version")?, row.try_get("content")?, row.try_get("bytes")?)))
        .transpose()
}

/// The number of the newest version.
pub async fn newest_version(conn: &mut Conn, tenant: &str) -> Stored<Option<u64>> {
    let row = sqlx::query("SELECT version FROM trusts WHERE tenant = $1 ORDER BY version DESC LIMIT 1")
        .bind(tenant.to_owned())
        .fetch_optional(conn)
        .await?;
    row.map(|row| count(&row, "version")).transpose()
}

/// One version's bytes.
pub async fn get(conn: &mut Conn, tenant: &str, version: u64) -> Stored<Option<Vec<u8>>> {
    let row = sqlx::query("SELECT bytes FROM trusts WHERE tenant = $1 AND version = $2")
        .bind(tenant.to_owned())
        .bind(signed(version))
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|row| row.try_get("bytes")).transpose()?)
}

/// Number and content of every version, in order.
pub async fn list(conn: &mut Conn, tenant: &str) -> Stored<Vec<(u64, String, i64)>> {
    let rows = sqlx::query("SELECT version, content, added FROM trusts WHERE tenant = $1 ORDER BY version")
        .bind(tenant.to_owned())
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| Ok((count(row, "version")?, row.try_get("content")?, row.try_get("added")?)))
        .collect()
}
