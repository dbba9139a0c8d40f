//! Every desired state that was pushed, and the counters that keep a push from going back.

use jos_schemas::documents::desired_state::Audience;
use jos_schemas::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Conn, Stored, count, fixed, json, signed, to_json};

/// One version of a desired state, without its bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StateRow {
    /// The tenant.
    pub tenant: String,
    /// The state's name.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// SHA-256 of its canonical bytes without signatures.
    pub content: String,
    /// SHA-256 of its bytes as they are served.
    pub sha256: String,
    /// The keys whose signatures counted.
    pub signers: Vec<String>,
    /// Who it is for.
    pub audience: Audience,
    /// Features that a device must have.
    pub requires: Vec<Name>,
    /// When it ends, in seconds since 1970.
    pub expires: i64,
    /// When it was pushed.
    pub pushed: i64,
    /// By whom.
    pub pushed_by: String,
    /// Since when it is no longer offered.
    pub retired: Option<i64>,
    /// Why it is no longer offered.
    pub retired_why: Option<String>,
    /// The rollout by which it is offered; without one it is offered to its whole audience.
    pub rollout: Option<String>,
}

const COLUMNS: &str = "tenant, name, version, content, sha256, signers, audience, requires, expires, pushed, pushed_by, retired, \
                       retired_why, rollout";

/// Adds a version with its bytes. One that was retired and comes again is offered again.
pub async fn add(conn: &mut Conn, state: &StateRow, bytes: &[u8]) -> Stored<()> {
    sqlx::query(
        "INSERT INTO states (tenant, name, version, content, sha256, bytes, signers, audience, requires, expires, pushed, pushed_by, rollout) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (tenant, name, version, content) DO UPDATE SET \
         sha256 = excluded.sha256, bytes = excluded.bytes, signers = excluded.signers, pushed = excluded.pushed, \
         pushed_by = excluded.pushed_by, rollout = excluded.rollout, retired = NULL, retired_why = NULL",
    )
    .bind(state.tenant.clone())
    .bind(state.name.clone())
    .bind(signed(state.version))
    .bind(state.content.clone())
    .bind(state.sha256.clone())
    .bind(bytes.to_vec())
    .bind(to_json(&state.signers))
    .bind(to_json(&state.audience))
    .bind(to_json(&state.requires))
    .bind(state.expires)
    .bind(state.pushed)
    .bind(state.pushed_by.clone())
    .bind(state.rollout.clone())
    .execute(conn)
    .await?;
    Ok(())
}

/// What is offered now under a name.
pub async fn live(conn: &mut Conn, tenant: &str, name: &str) -> Stored<Vec<StateRow>> {
    let sql = fixed(format!(
        "SELECT {COLUMNS} FROM states WHERE tenant = $1 AND name = $2 AND retired IS NULL ORDER BY version"
    ));
    let rows = sqlx::query(sql)
        .bind(tenant.to_owned())
        .bind(name.to_owned())
        .fetch_all(conn)
        .await?;
    rows.iter().map(read).collect()
}

/// Names under which something is offered.
pub async fn live_names(conn: &mut Conn, tenant: &str) -> Stored<Vec<String>> {
    let rows = sqlx::query("SELECT DISTINCT name FROM states WHERE tenant = $1 AND retired IS NULL ORDER BY name")
        .bind(tenant.to_owned())
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok(row.try_get("name")?)).collect()
}

/// All of a tenant, or of all; by name, the newest first.
pub async fn list(conn: &mut Conn, tenant: Option<&str>) -> Stored<Vec<StateRow>> {
    let sql = fixed(format!(
        "SELECT {COLUMNS} FROM states WHERE tenant = $1 OR $1 = '' ORDER BY tenant, name, version DESC, pushed DESC"
    ));
    let rows = sqlx::query(sql)
        .bind(tenant.unwrap_or_default().to_owned())
        .fetch_all(conn)
        .await?;
    rows.iter().map(read).collect()
}

/// The bytes of the newest push of a version.
pub async fn bytes(conn: &mut Conn, tenant: &str, name: &str, version: u64) -> Stored<Option<Vec<u8>>> {
    let row = sqlx::query(
        "SELECT bytes FROM states WHERE tenant = $1 AND name = $2 AND version = $3 ORDER BY pushed DESC, retired IS NULL DESC LIMIT 1",
    )
    .bind(tenant.to_owned())
    .bind(name.to_owned())
    .bind(signed(version))
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| row.try_get("bytes")).transpose()?)
}

/// The bytes with this hash, as they are offered.
pub async fn bytes_of(conn: &mut Conn, state: &StateRow) -> Stored<Option<Vec<u8>>> {
    let row = sqlx::query("SELECT bytes FROM states WHERE tenant = $1 AND name = $2 AND version = $3 AND content = $4")
        .bind(state.tenant.clone())
        .bind(state.name.clone())
        .bind(signed(state.version))
        .bind(state.content.clone())
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|row| row.try_get("bytes")).transpose()?)
}

/// Takes a version out of what is offered; `false` where it was not.
pub async fn retire(conn: &mut Conn, tenant: &str, name: &str, version: u64, why: &str, now: i64) -> Stored<bool> {
    let done = sqlx::query(
        "UPDATE states SET retired = $4, retired_why = $5 WHERE tenant = $1 AND name = $2 AND version = $3 AND retired IS NULL",
    )
    .bind(tenant.to_owned())
    .bind(name.to_owned())
    .bind(signed(version))
    .bind(now)
    .bind(why.to_owned())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// A rollout is over: its version is offered to the whole audience.
pub async fn release(conn: &mut Conn, tenant: &str, name: &str, version: u64) -> Stored<()> {
    sqlx::query(
        "UPDATE states SET rollout = NULL WHERE tenant = $1 AND name = $2 AND version = $3 AND retired IS NULL",
    )
    .bind(tenant.to_owned())
    .bind(name.to_owned())
    .bind(signed(version))
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes every version above `floor` out of what is offered.
pub async fn retire_above(conn: &mut Conn, tenant: &str, name: &str, floor: u64, why: &str, now: i64) -> Stored<u64> {
    let done = sqlx::query(
        "UPDATE states SET retired = $4, retired_why = $5 WHERE tenant = $1 AND name = $2 AND version > $3 AND retired IS NULL",
    )
    .bind(tenant.to_owned())
    .bind(name.to_owned())
    .bind(signed(floor))
    .bind(now)
    .bind(why.to_owned())
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// The highest version that was accepted under a name, or what a trust document set, with its content where it is known.
pub async fn counter(conn: &mut Conn, tenant: &str, name: &str) -> Stored<Option<(u64, Option<String>)>> {
    let row = sqlx::query("SELECT floor, content FROM counters WHERE tenant = $1 AND name = $2")
        .bind(tenant.to_owned())
        .bind(name.to_owned())
        .fetch_optional(conn)
        .await?;
    row.map(|row| Ok((count(&row, "floor")?, row.try_get("content")?)))
        .transpose()
}

/// Sets a counter.
pub async fn set_counter(conn: &mut Conn, tenant: &str, name: &str, floor: u64, content: Option<&str>) -> Stored<()> {
    sqlx::query(
        "INSERT INTO counters (tenant, name, floor, content) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (tenant, name) DO UPDATE SET floor = excluded.floor, content = excluded.content",
    )
    .bind(tenant.to_owned())
    .bind(name.to_owned())
    .bind(signed(floor))
    .bind(content.map(str::to_owned))
    .execute(conn)
    .await?;
    Ok(())
}

fn read(row: &AnyRow) -> Stored<StateRow> {
    Ok(StateRow {
        tenant: row.try_get("tenant")?,
        name: row.try_get("name")?,
        version: count(row, "version")?,
        content: row.try_get("content")?,
        sha256: row.try_get("sha256")?,
        signers: json(row, "signers", "states.signers")?,
        audience: json(row, "audience", "states.audience")?,
        requires: json(row, "requires", "states.requires")?,
        expires: row.try_get("expires")?,
        pushed: row.try_get("pushed")?,
        pushed_by: row.try_get("pushed_by")?,
        retired: row.try_get("retired")?,
        retired_why: row.try_get("retired_why")?,
        rollout: row.try_get("rollout")?,
    })
}
