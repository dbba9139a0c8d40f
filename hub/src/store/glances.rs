//! What pages show of many devices at once, read in pieces that no writer waits for.

use jos_schemas::documents::ledger::OutcomeKind;
use jos_schemas::text::Name;
use sqlx::Row;

use super::{Conn, StoreError, Stored, count, json, signed};

/// What one agent of a device last said, in short.
#[derive(Clone, Debug, PartialEq)]
pub struct Glance {
    /// The device.
    pub device: String,
    /// The agent's name.
    pub name: String,
    /// Version of its program.
    pub program: String,
    /// What it can do.
    pub features: Vec<Name>,
    /// Version of the state in force.
    pub version: Option<u64>,
    /// How the last apply ended.
    pub outcome: Option<OutcomeKind>,
}

/// The agents of a tenant's devices whose ids are after `after`, up to `last`; by device.
pub async fn agents(conn: &mut Conn, tenant: &str, after: &str, last: &str) -> Stored<Vec<Glance>> {
    let rows = sqlx::query(
        "SELECT a.device AS device, a.name AS name, a.program AS program, a.features AS features, a.version AS version, \
         a.outcome AS outcome FROM agents a JOIN devices d ON d.id = a.device \
         WHERE d.tenant = $1 AND a.device > $2 AND a.device <= $3 ORDER BY a.device, a.name",
    )
    .bind(tenant.to_owned())
    .bind(after.to_owned())
    .bind(last.to_owned())
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            let (version, outcome): (Option<i64>, Option<String>) = (row.try_get("version")?, row.try_get("outcome")?);
            let outcome = outcome.map(|text| {
                serde_json::from_str(&text).map_err(|_| StoreError::Damaged {
                    place: "agents.outcome",
                    found: text,
                })
            });
            Ok(Glance {
                device: row.try_get("device")?,
                name: row.try_get("name")?,
                program: row.try_get("program")?,
                features: json(row, "features", "agents.features")?,
                version: version.and_then(|version| u64::try_from(version).ok()),
                outcome: outcome.transpose()?,
            })
        })
        .collect()
}

/// When devices of a tenant first reported that this version is in force, and how many at each moment; by time.
pub async fn adoption(conn: &mut Conn, tenant: &str, name: &str, version: u64) -> Stored<Vec<(i64, u64)>> {
    let rows = sqlx::query(
        "SELECT at, COUNT(*) AS devices FROM (SELECT r.device, MIN(r.received) AS at FROM reports r \
         JOIN devices d ON d.id = r.device WHERE d.tenant = $1 AND r.name = $2 AND r.version = $3 \
         AND r.outcome IN ('\"applied\"', '\"unchanged\"') GROUP BY r.device) AS firsts GROUP BY at ORDER BY at",
    )
    .bind(tenant.to_owned())
    .bind(name.to_owned())
    .bind(signed(version))
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("at")?, count(row, "devices")?)))
        .collect()
}

/// How reports on this version ended, over all devices of a tenant: each end, and how often.
pub async fn endings(conn: &mut Conn, tenant: &str, name: &str, version: u64) -> Stored<Vec<(OutcomeKind, u64)>> {
    let rows = sqlx::query(
        "SELECT r.outcome AS outcome, COUNT(DISTINCT r.device) AS devices FROM reports r JOIN devices d ON d.id = r.device \
         WHERE d.tenant = $1 AND r.name = $2 AND r.version = $3 GROUP BY r.outcome ORDER BY r.outcome",
    )
    .bind(tenant.to_owned())
    .bind(name.to_owned())
    .bind(signed(version))
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| Ok((json(row, "outcome", "reports.outcome")?, count(row, "devices")?)))
        .collect()
}

/// The tenant of a token.
pub async fn tenant_of_token(conn: &mut Conn, id: &str) -> Stored<Option<String>> {
    let row = sqlx::query("SELECT tenant FROM tokens WHERE id = $1").bind(id.to_owned());
    Ok(row
        .fetch_optional(conn)
        .await?
        .map(|row| row.try_get("tenant"))
        .transpose()?)
}

/// Devices that came by a token, the newest first; as many as a page shows.
pub async fn devices_of_token(conn: &mut Conn, tenant: &str, token: &str) -> Stored<Vec<(String, i64)>> {
    let rows = sqlx::query(
        "SELECT id, enrolled FROM devices WHERE tenant = $1 AND token = $2 ORDER BY enrolled DESC, id LIMIT 20",
    )
    .bind(tenant.to_owned())
    .bind(token.to_owned())
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("id")?, row.try_get("enrolled")?)))
        .collect()
}
