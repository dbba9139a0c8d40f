//! What a person should look at: one row for a device, a kind and an agent, counted while it goes on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::Row;

use super::{Conn, Stored, count};

/// The kinds of alarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A device's keys are used in two places.
    Clone,
    /// A ledger is shorter than it was.
    LedgerRollback,
    /// A ledger holds another record where it was anchored.
    LedgerFork,
    /// Several states match one device.
    Ambiguous,
    /// A device says that somebody should look at it, and why.
    ByDevice,
}

impl Kind {
    /// As the database and the metrics write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Clone => "clone",
            Self::LedgerRollback => "ledger-rollback",
            Self::LedgerFork => "ledger-fork",
            Self::Ambiguous => "ambiguous",
            Self::ByDevice => "by-device",
        }
    }
}

/// One alarm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Alarm {
    /// The tenant.
    pub tenant: String,
    /// The device.
    pub device: String,
    /// What it is about.
    pub kind: String,
    /// The agent.
    pub name: String,
    /// What was found.
    pub detail: String,
    /// When it was first raised, in seconds since 1970.
    pub first: i64,
    /// When it was last raised.
    pub latest: i64,
    /// How often.
    pub times: u64,
    /// When somebody cleared it, or the device said that it is over.
    pub cleared: Option<i64>,
}

/// About whom an alarm is.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The device.
    pub device: &'a str,
    /// The agent.
    pub name: &'a str,
}

/// Raises an alarm, or counts it once more. A cleared one is raised anew.
pub async fn raise(conn: &mut Conn, about: About<'_>, kind: Kind, detail: &str, now: i64) -> Stored<()> {
    sqlx::query(
        "INSERT INTO alarms (tenant, device, kind, name, detail, first, latest, times) VALUES ($1, $2, $3, $4, $5, $6, $6, 1) \
         ON CONFLICT (device, kind, name) DO UPDATE SET detail = excluded.detail, latest = excluded.latest, \
         times = alarms.times + 1, cleared = NULL",
    )
    .bind(about.tenant.to_owned())
    .bind(about.device.to_owned())
    .bind(kind.word())
    .bind(about.name.to_owned())
    .bind(detail.to_owned())
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// What was found, of an alarm that was raised, and whether it is open.
pub async fn raised(conn: &mut Conn, about: About<'_>, kind: Kind) -> Stored<Option<(String, bool)>> {
    let row = sqlx::query("SELECT detail, cleared FROM alarms WHERE device = $1 AND kind = $2 AND name = $3")
        .bind(about.device.to_owned())
        .bind(kind.word())
        .bind(about.name.to_owned())
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let cleared: Option<i64> = row.try_get("cleared")?;
    Ok(Some((row.try_get("detail")?, cleared.is_none())))
}

/// Clears one alarm, where it is open.
pub async fn over(conn: &mut Conn, about: About<'_>, kind: Kind, now: i64) -> Stored<()> {
    sqlx::query("UPDATE alarms SET cleared = $4 WHERE device = $1 AND kind = $2 AND name = $3 AND cleared IS NULL")
        .bind(about.device.to_owned())
        .bind(kind.word())
        .bind(about.name.to_owned())
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Clears all alarms of a device.
pub async fn clear(conn: &mut Conn, device: &str, now: i64) -> Stored<u64> {
    let done = sqlx::query("UPDATE alarms SET cleared = $2 WHERE device = $1 AND cleared IS NULL")
        .bind(device.to_owned())
        .bind(now)
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}

/// Alarms of a tenant, or of all, and of a device, or of all; the latest first. Cleared ones only with `all`.
pub async fn list(conn: &mut Conn, tenant: Option<&str>, device: Option<&str>, all: bool) -> Stored<Vec<Alarm>> {
    let rows = sqlx::query(
        "SELECT * FROM alarms WHERE (tenant = $1 OR $1 = '') AND (device = $2 OR $2 = '') AND (cleared IS NULL OR $3 = 1) \
         ORDER BY latest DESC, device, kind",
    )
    .bind(tenant.unwrap_or_default().to_owned())
    .bind(device.unwrap_or_default().to_owned())
    .bind(i64::from(all))
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Alarm {
                tenant: row.try_get("tenant")?,
                device: row.try_get("device")?,
                kind: row.try_get("kind")?,
                name: row.try_get("name")?,
                detail: row.try_get("detail")?,
                first: row.try_get("first")?,
                latest: row.try_get("latest")?,
                times: count(row, "times")?,
                cleared: row.try_get("cleared")?,
            })
        })
        .collect()
}

/// How many alarms of a tenant are open.
pub async fn open(conn: &mut Conn, tenant: &str) -> Stored<u64> {
    let row = sqlx::query("SELECT COUNT(*) AS open FROM alarms WHERE tenant = $1 AND cleared IS NULL")
        .bind(tenant.to_owned())
        .fetch_one(conn)
        .await?;
    count(&row, "open")
}

/// How many alarms of each kind are open.
pub async fn counts(conn: &mut Conn) -> Stored<Vec<(String, i64)>> {
    let rows =
        sqlx::query("SELECT kind, COUNT(*) AS open FROM alarms WHERE cleared IS NULL GROUP BY kind ORDER BY kind")
            .fetch_all(conn)
            .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("kind")?, row.try_get("open")?)))
        .collect()
}
