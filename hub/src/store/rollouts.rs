//! Rollouts, and which devices each has reached.

use std::collections::BTreeMap;

use jos_schemas::documents::rollout::Rollout;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Conn, StoreError, Stored, count, fixed, json, signed, to_json};
use crate::rollout::pace::{Failures, LetIn, Outcome, Pace, Status};

/// One rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutRow {
    /// Its id.
    pub id: String,
    /// The tenant.
    pub tenant: String,
    /// The state's name.
    pub name: String,
    /// The state's version.
    pub version: u64,
    /// As it was asked for.
    pub plan: Rollout,
    /// How far it is.
    #[serde(flatten)]
    pub pace: Pace,
    /// Why it stands where it stands.
    pub why: Option<String>,
    /// Rises with each change.
    pub revision: u64,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// By whom.
    pub created_by: String,
    /// By whom it was approved.
    pub approved_by: Option<String>,
    /// When it ended.
    pub ended: Option<i64>,
}

/// One phase in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tally {
    /// Which one, from 0.
    pub phase: u64,
    /// Devices whose turn has come.
    pub let_in: u64,
    /// Of them those that fetched the version.
    pub offered: u64,
    /// Of them those that have it in force.
    pub well: u64,
    /// Of them those that said that they have not.
    pub failed: u64,
    /// Of them those that said nothing more.
    pub silent: u64,
}

/// One device of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reached {
    /// The device.
    pub device: String,
    /// In which phase its turn came, from 0.
    pub phase: u64,
    /// When its turn came, in seconds since 1970.
    pub let_in: i64,
    /// When it fetched the version.
    pub offered: Option<i64>,
    /// What became of it.
    pub outcome: Option<Outcome>,
    /// Since when that is known.
    pub settled: Option<i64>,
    /// Why, in the device's words.
    pub reason: Option<String>,
}

/// A device of the tenant as a turn reads it.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its id.
    pub id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What it said about itself.
    pub facts: BTreeMap<String, String>,
    /// Served, and not held.
    pub free: bool,
    /// Where its turn has come.
    pub let_in: Option<LetIn>,
}

/// Adds a rollout.
pub async fn add(conn: &mut Conn, row: &RolloutRow) -> Stored<()> {
    sqlx::query(
        "INSERT INTO rollouts (id, tenant, name, version, plan, status, pace, why, revision, created, created_by) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(row.id.clone())
    .bind(row.tenant.clone())
    .bind(row.name.clone())
    .bind(signed(row.version))
    .bind(to_json(&row.plan))
    .bind(row.pace.status.word())
    .bind(to_json(&row.pace))
    .bind(row.why.clone())
    .bind(signed(row.revision))
    .bind(row.created)
    .bind(row.created_by.clone())
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes how far a rollout is, and raises its revision.
pub async fn put(conn: &mut Conn, row: &mut RolloutRow) -> Stored<()> {
    row.revision += 1;
    sqlx::query(
        "UPDATE rollouts SET status = $2, pace = $3, why = $4, revision = $5, approved_by = $6, ended = $7 WHERE id = $1",
    )
    .bind(row.id.clone())
    .bind(row.pace.status.word())
    .bind(to_json(&row.pace))
    .bind(row.why.clone())
    .bind(signed(row.revision))
    .bind(row.approved_by.clone())
    .bind(row.ended)
    .execute(conn)
    .await?;
    Ok(())
}

/// One.
pub async fn get(conn: &mut Conn, id: &str) -> Stored<Option<RolloutRow>> {
    let row = sqlx::query("SELECT * FROM rollouts WHERE id = $1")
        .bind(id.to_owned())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(read).transpose()
}

/// All of a tenant, or of all; the newest first.
pub async fn list(conn: &mut Conn, tenant: Option<&str>) -> Stored<Vec<RolloutRow>> {
    let rows = sqlx::query("SELECT * FROM rollouts WHERE tenant = $1 OR $1 = '' ORDER BY created DESC, id")
        .bind(tenant.unwrap_or_default().to_owned())
        .fetch_all(conn)
        .await?;
    rows.iter().map(read).collect()
}

/// Those of a tenant that have not ended, the newest first; a halted one waits for somebody.
pub async fn open(conn: &mut Conn, tenant: &str) -> Stored<Vec<RolloutRow>> {
    let rows = sqlx::query(
        "SELECT * FROM rollouts WHERE tenant = $1 AND status IN ('waiting', 'running', 'paused', 'halted') \
         ORDER BY created DESC, id",
    )
    .bind(tenant.to_owned())
    .fetch_all(conn)
    .await?;
    rows.iter().map(read).collect()
}

/// Those that a turn may change.
pub async fn under_way(conn: &mut Conn) -> Stored<Vec<RolloutRow>> {
    let rows =
        sqlx::query("SELECT * FROM rollouts WHERE status IN ('waiting', 'running', 'paused') ORDER BY created, id")
            .fetch_all(conn)
            .await?;
    rows.iter().map(read).collect()
}

/// How many rollouts there are of each standing.
pub async fn counts(conn: &mut Conn) -> Stored<Vec<(String, i64)>> {
    let rows = sqlx::query("SELECT status, COUNT(*) AS found FROM rollouts GROUP BY status ORDER BY status")
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("status")?, row.try_get("found")?)))
        .collect()
}

/// What a rollout says about one device: its standing, its plan, and whether the device's turn has come.
pub async fn right(conn: &mut Conn, id: &str, device: &str) -> Stored<Option<(Status, String, Option<LetIn>)>> {
    let row = sqlx::query(
        "SELECT r.status, r.plan, d.phase, d.offered, d.outcome FROM rollouts r \
         LEFT JOIN rollout_devices d ON d.rollout = r.id AND d.device = $2 WHERE r.id = $1",
    )
    .bind(id.to_owned())
    .bind(device.to_owned())
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        let status: String = row.try_get("status")?;
        Ok((Status::of_word(&status), row.try_get("plan")?, let_in_of(&row)?))
    })
    .transpose()
}

/// A plan as [`right`] gives it.
pub fn plan(text: &str) -> Stored<Rollout> {
    serde_json::from_str(text).map_err(|_| StoreError::Damaged {
        place: "rollouts.plan",
        found: text.chars().take(80).collect(),
    })
}

/// All devices of a tenant that are not revoked, with what a rollout has to do with each.
pub async fn fleet(conn: &mut Conn, id: &str, tenant: &str) -> Stored<Vec<Known>> {
    let rows = sqlx::query(
        "SELECT v.id, v.labels, v.facts, v.status, v.held, d.phase, d.offered, d.outcome FROM devices v \
         LEFT JOIN rollout_devices d ON d.rollout = $1 AND d.device = v.id \
         WHERE v.tenant = $2 AND v.status <> 'revoked' ORDER BY v.id",
    )
    .bind(id.to_owned())
    .bind(tenant.to_owned())
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            let (status, held): (String, Option<String>) = (row.try_get("status")?, row.try_get("held")?);
            Ok(Known {
                id: row.try_get("id")?,
                labels: json(row, "labels", "devices.labels")?,
                facts: json(row, "facts", "devices.facts")?,
                free: status == "active" && held.is_none(),
                let_in: let_in_of(row)?,
            })
        })
        .collect()
}

/// A device's turn has come.
pub async fn let_in(conn: &mut Conn, id: &str, device: &str, phase: usize, now: i64) -> Stored<()> {
    sqlx::query(
        "INSERT INTO rollout_devices (rollout, device, phase, let_in) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (rollout, device) DO NOTHING",
    )
    .bind(id.to_owned())
    .bind(device.to_owned())
    .bind(signed(phase as u64))
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// A device fetches the version; `false` where it may not any more. The writer's lock makes this and a halt follow each
/// other.
pub async fn hand_out(conn: &mut Conn, id: &str, device: &str, now: i64) -> Stored<bool> {
    let done = sqlx::query(
        "UPDATE rollout_devices SET offered = $3 WHERE rollout = $1 AND device = $2 AND offered IS NULL \
         AND EXISTS (SELECT 1 FROM rollouts WHERE id = $1 AND status = 'running')",
    )
    .bind(id.to_owned())
    .bind(device.to_owned())
    .bind(now)
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() > 0 {
        return Ok(true);
    }
    let row = sqlx::query("SELECT offered FROM rollout_devices WHERE rollout = $1 AND device = $2")
        .bind(id.to_owned())
        .bind(device.to_owned())
        .fetch_optional(conn)
        .await?;
    let before: Option<i64> = row.map(|row| row.try_get("offered")).transpose()?.flatten();
    Ok(before.is_some())
}

/// Whether a rollout brings this version, or did.
pub async fn brought(conn: &mut Conn, tenant: &str, name: &str, version: u64) -> Stored<bool> {
    let row = sqlx::query("SELECT 1 FROM rollouts WHERE tenant = $1 AND name = $2 AND version = $3 LIMIT 1")
        .bind(tenant.to_owned())
        .bind(name.to_owned())
        .bind(signed(version))
        .fetch_optional(conn)
        .await?;
    Ok(row.is_some())
}

/// The rollouts of a version that reached a device.
pub async fn of_version(conn: &mut Conn, tenant: &str, name: &str, version: u64, device: &str) -> Stored<Vec<String>> {
    let rows = sqlx::query(
        "SELECT r.id FROM rollouts r JOIN rollout_devices d ON d.rollout = r.id \
         WHERE r.tenant = $1 AND r.name = $2 AND r.version = $3 AND d.device = $4",
    )
    .bind(tenant.to_owned())
    .bind(name.to_owned())
    .bind(signed(version))
    .bind(device.to_owned())
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
}

/// What became of the version on a device. A failure stays one; silence is corrected by any word.
pub async fn settle(
    conn: &mut Conn,
    id: &str,
    device: &str,
    outcome: Outcome,
    reason: Option<&str>,
    now: i64,
) -> Stored<()> {
    sqlx::query(
        "UPDATE rollout_devices SET outcome = $3, reason = $4, settled = $5, offered = COALESCE(offered, $5) \
         WHERE rollout = $1 AND device = $2 AND (outcome IS NULL OR ($3 <> 'silent' AND outcome <> 'failed' AND outcome <> $3))",
    )
    .bind(id.to_owned())
    .bind(device.to_owned())
    .bind(outcome.word())
    .bind(reason.map(str::to_owned))
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// A device that is still at it has called: its silence begins anew.
pub async fn heard(conn: &mut Conn, id: &str, device: &str, now: i64) -> Stored<()> {
    sqlx::query("UPDATE rollout_devices SET offered = $3 WHERE rollout = $1 AND device = $2 AND outcome IS NULL AND offered IS NOT NULL")
        .bind(id.to_owned())
        .bind(device.to_owned())
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Each phase in numbers; phases that have let nobody in are left out.
pub async fn tallies(conn: &mut Conn, id: &str) -> Stored<Vec<Tally>> {
    let rows = sqlx::query(
        "SELECT phase, COUNT(*) AS let_in, COUNT(offered) AS offered, COUNT(CASE WHEN outcome = 'well' THEN 1 END) AS well, \
         COUNT(CASE WHEN outcome = 'failed' THEN 1 END) AS failed, COUNT(CASE WHEN outcome = 'silent' THEN 1 END) AS silent \
         FROM rollout_devices WHERE rollout = $1 GROUP BY phase ORDER BY phase",
    )
    .bind(id.to_owned())
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Tally {
                phase: count(row, "phase")?,
                let_in: count(row, "let_in")?,
                offered: count(row, "offered")?,
                well: count(row, "well")?,
                failed: count(row, "failed")?,
                silent: count(row, "silent")?,
            })
        })
        .collect()
}

/// The failures of each of `phases` phases.
pub async fn failures(conn: &mut Conn, id: &str, phases: usize) -> Stored<Vec<Failures>> {
    let mut failures = vec![Failures::default(); phases];
    for tally in tallies(conn, id).await? {
        let phase = usize::try_from(tally.phase).unwrap_or(usize::MAX);
        if let Some(of) = failures.get_mut(phase) {
            *of = Failures {
                failed: tally.failed,
                silent: tally.silent,
            };
        }
    }
    Ok(failures)
}

/// At most `most` devices after the id `after` that a rollout has let in; with one outcome, or all.
pub async fn reached(conn: &mut Conn, id: &str, outcome: &str, after: &str, most: u32) -> Stored<Vec<Reached>> {
    let rows = sqlx::query(
        "SELECT * FROM rollout_devices WHERE rollout = $1 AND (outcome = $2 OR $2 = '') AND device > $3 ORDER BY device LIMIT $4",
    )
    .bind(id.to_owned())
    .bind(outcome.to_owned())
    .bind(after.to_owned())
    .bind(i64::from(most))
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            let outcome: Option<String> = row.try_get("outcome")?;
            Ok(Reached {
                device: row.try_get("device")?,
                phase: count(row, "phase")?,
                let_in: row.try_get("let_in")?,
                offered: row.try_get("offered")?,
                outcome: outcome.as_deref().and_then(Outcome::of_word),
                settled: row.try_get("settled")?,
                reason: row.try_get("reason")?,
            })
        })
        .collect()
}

/// How many devices were let in, fetched the version and settled, by steps of `step` seconds: the start of each step, what
/// happened, how often.
pub async fn steps(conn: &mut Conn, id: &str, step: i64) -> Stored<Vec<(i64, String, u64)>> {
    let part = |column: &str, what: &str| {
        format!(
            "SELECT {column} / $2 * $2 AS at, {what} AS what FROM rollout_devices WHERE rollout = $1 AND {column} IS NOT NULL"
        )
    };
    let sql = fixed(format!(
        "SELECT at, what, COUNT(*) AS found FROM ({} UNION ALL {} UNION ALL {}) AS events GROUP BY at, what ORDER BY at",
        part("let_in", "'let_in'"),
        part("offered", "'offered'"),
        part("settled", "outcome"),
    ));
    let rows = sqlx::query(sql).bind(id.to_owned()).bind(step).fetch_all(conn).await?;
    rows.iter()
        .map(|row| Ok((row.try_get("at")?, row.try_get("what")?, count(row, "found")?)))
        .collect()
}

fn let_in_of(row: &AnyRow) -> Stored<Option<LetIn>> {
    let phase: Option<i64> = row.try_get("phase")?;
    let outcome: Option<String> = row.try_get("outcome")?;
    let offered = row.try_get("offered")?;
    Ok(phase.map(|phase| LetIn {
        phase: usize::try_from(phase).unwrap_or(usize::MAX),
        offered,
        outcome: outcome.as_deref().and_then(Outcome::of_word),
    }))
}

fn read(row: &AnyRow) -> Stored<RolloutRow> {
    Ok(RolloutRow {
        id: row.try_get("id")?,
        tenant: row.try_get("tenant")?,
        name: row.try_get("name")?,
        version: count(row, "version")?,
        plan: json(row, "plan", "rollouts.plan")?,
        pace: json(row, "pace", "rollouts.pace")?,
        why: row.try_get("why")?,
        revision: count(row, "revision")?,
        created: row.try_get("created")?,
        created_by: row.try_get("created_by")?,
        approved_by: row.try_get("approved_by")?,
        ended: row.try_get("ended")?,
    })
}
