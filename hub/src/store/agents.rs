//! What the agents of a device last said: heartbeats, reports, and where their ledgers stood.

use std::collections::BTreeMap;

use jos_schemas::documents::hub::LedgerHead;
use jos_schemas::documents::ledger::OutcomeKind;
use jos_schemas::text::{Name, Sha256Hex, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::many::{parts, places};
use super::{Conn, StoreError, Stored, count, fixed, json, signed, to_json};
use crate::history::Slot;

/// Anchors of a ledger that are kept.
const HEADS_KEPT: i64 = 64;

/// One agent of one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Agent {
    /// Its name.
    pub name: String,
    /// The session that it is in.
    pub session: String,
    /// Sessions before: id, and when it was superseded.
    #[serde(skip)]
    pub sessions: Vec<(String, i64)>,
    /// Version of its program.
    pub program: String,
    /// What it can do.
    pub features: Vec<Name>,
    /// Version of the state in force.
    pub version: Option<u64>,
    /// How the last apply ended.
    pub outcome: Option<OutcomeKind>,
    /// Where its ledger stood.
    pub head: Option<LedgerHead>,
    /// The highest version that it said it had tried.
    pub floor: u64,
    /// What policy lets out.
    pub telemetry: BTreeMap<Name, Value>,
    /// The step of its history that is being filled.
    #[serde(skip)]
    pub slot: Slot,
    /// The batches of figures that were taken last.
    #[serde(skip)]
    pub batches: Vec<String>,
    /// How often it has had to give up what it measured, for want of room while no hub was there.
    pub figures_lost: u64,
    /// When it last called, in seconds since 1970.
    pub seen: i64,
}

/// One report, as it was acknowledged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reported {
    /// The agent.
    pub name: String,
    /// The state's version.
    pub version: u64,
    /// How it ended.
    pub outcome: OutcomeKind,
    /// When, by the device's reading.
    pub time: Utc,
    /// Why, where it did not go well.
    pub reason: Option<String>,
    /// Steps that changed something.
    pub changed: u32,
    /// The record that holds the outcome.
    pub ledger: LedgerHead,
    /// When it arrived, in seconds since 1970.
    pub received: i64,
}

/// Where the ledger of an agent was seen to stand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Anchor {
    /// The agent.
    pub name: String,
    /// The record.
    pub index: u64,
    /// Its hash.
    pub hash: String,
    /// When it was first seen, in seconds since 1970.
    pub seen: i64,
}

/// What an agent last said.
pub async fn get(conn: &mut Conn, device: &str, name: &str) -> Stored<Option<Agent>> {
    let row = sqlx::query("SELECT * FROM agents WHERE device = $1 AND name = $2")
        .bind(device.to_owned())
        .bind(name.to_owned())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(read).transpose()
}

/// All agents of a device.
pub async fn list(conn: &mut Conn, device: &str) -> Stored<Vec<Agent>> {
    let rows = sqlx::query("SELECT * FROM agents WHERE device = $1 ORDER BY name")
        .bind(device.to_owned())
        .fetch_all(conn)
        .await?;
    rows.iter().map(read).collect()
}

/// What these agents, by device and name, last said; each with its device.
pub async fn of(conn: &mut Conn, asked: &[(&str, &str)]) -> Stored<Vec<(String, Agent)>> {
    let mut found = Vec::with_capacity(asked.len());
    for part in parts(asked) {
        let sql = fixed(format!(
            "WITH asked (of_device, of_name) AS (VALUES {}) \
             SELECT agents.* FROM asked JOIN agents ON device = of_device AND name = of_name",
            places(part.len(), 2, 1)
        ));
        let query = part.iter().fold(sqlx::query(sql), |query, (device, name)| {
            query.bind((*device).to_owned()).bind((*name).to_owned())
        });
        for row in query.fetch_all(&mut *conn).await? {
            found.push((row.try_get("device")?, read(&row)?));
        }
    }
    Ok(found)
}

/// Remembers what an agent said.
pub async fn put(conn: &mut Conn, device: &str, agent: &Agent) -> Stored<()> {
    put_all(conn, &[(device, agent)]).await
}

/// Remembers what agents said, each once.
pub async fn put_all(conn: &mut Conn, said: &[(&str, &Agent)]) -> Stored<()> {
    for part in parts(said) {
        let sql = fixed(format!(
            "INSERT INTO agents (device, name, session, sessions, program, features, version, outcome, head_index, head_hash, \
             floor, telemetry, slot, seen, batches, figures_lost) VALUES {} \
             ON CONFLICT (device, name) DO UPDATE SET session = excluded.session, sessions = excluded.sessions, \
             program = excluded.program, features = excluded.features, version = excluded.version, \
             outcome = excluded.outcome, head_index = excluded.head_index, head_hash = excluded.head_hash, \
             floor = excluded.floor, telemetry = excluded.telemetry, slot = excluded.slot, seen = excluded.seen, \
             batches = excluded.batches, figures_lost = excluded.figures_lost",
            places(part.len(), 16, 1)
        ));
        let query = part.iter().fold(sqlx::query(sql), |query, (device, agent)| {
            query
                .bind((*device).to_owned())
                .bind(agent.name.clone())
                .bind(agent.session.clone())
                .bind(to_json(&agent.sessions))
                .bind(agent.program.clone())
                .bind(to_json(&agent.features))
                .bind(agent.version.map(signed))
                .bind(agent.outcome.map(|outcome| to_json(&outcome)))
                .bind(agent.head.as_ref().map(|head| signed(head.index)))
                .bind(agent.head.as_ref().map(|head| head.hash.to_string()))
                .bind(signed(agent.floor))
                .bind(to_json(&agent.telemetry))
                .bind(to_json(&agent.slot))
                .bind(agent.seen)
                .bind(to_json(&agent.batches))
                .bind(signed(agent.figures_lost))
        });
        query.execute(&mut *conn).await?;
    }
    Ok(())
}

/// Sets what the hub holds as the floor of every agent of this name in the tenant, down to `floor` where it is above.
pub async fn lower_floors(conn: &mut Conn, tenant: &str, name: &str, floor: u64) -> Stored<()> {
    sqlx::query(
        "UPDATE agents SET floor = $3 WHERE name = $2 AND floor > $3 \
         AND device IN (SELECT id FROM devices WHERE tenant = $1)",
    )
    .bind(tenant.to_owned())
    .bind(name.to_owned())
    .bind(signed(floor))
    .execute(conn)
    .await?;
    Ok(())
}

/// The hash that the ledger of an agent was seen with at this position, if it was.
pub async fn anchor(conn: &mut Conn, device: &str, name: &str, position: u64) -> Stored<Option<String>> {
    let row = sqlx::query("SELECT hash FROM heads WHERE device = $1 AND name = $2 AND position = $3")
        .bind(device.to_owned())
        .bind(name.to_owned())
        .bind(signed(position))
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|row| row.try_get("hash")).transpose()?)
}

/// The same for many: device, name and position of each, one for a device. Gives device and hash of those that were seen.
pub async fn anchors(conn: &mut Conn, asked: &[(&str, &str, u64)]) -> Stored<Vec<(String, String)>> {
    let mut found = Vec::new();
    for part in parts(asked) {
        let sql = fixed(format!(
            "WITH asked (of_device, of_name, of_position) AS (VALUES {}) \
             SELECT device, hash FROM asked JOIN heads ON device = of_device AND name = of_name AND position = of_position",
            places(part.len(), 3, 1)
        ));
        let query = part.iter().fold(sqlx::query(sql), |query, (device, name, position)| {
            query
                .bind((*device).to_owned())
                .bind((*name).to_owned())
                .bind(signed(*position))
        });
        for row in query.fetch_all(&mut *conn).await? {
            found.push((row.try_get("device")?, row.try_get("hash")?));
        }
    }
    Ok(found)
}

/// All that are kept of a device.
pub async fn heads(conn: &mut Conn, device: &str) -> Stored<Vec<Anchor>> {
    let rows = sqlx::query("SELECT name, position, hash, seen FROM heads WHERE device = $1 ORDER BY name, position")
        .bind(device.to_owned())
        .fetch_all(conn)
        .await?;
    let anchor = |row: &AnyRow| {
        Ok(Anchor {
            name: row.try_get("name")?,
            index: count(row, "position")?,
            hash: row.try_get("hash")?,
            seen: row.try_get("seen")?,
        })
    };
    rows.iter().map(anchor).collect()
}

/// Anchors where a ledger stands. The first hash seen at a position stays; the oldest anchors go.
pub async fn add_anchor(conn: &mut Conn, device: &str, name: &str, head: &LedgerHead, now: i64) -> Stored<()> {
    sqlx::query(
        "INSERT INTO heads (device, name, position, hash, seen) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (device, name, position) DO NOTHING",
    )
    .bind(device.to_owned())
    .bind(name.to_owned())
    .bind(signed(head.index))
    .bind(head.hash.to_string())
    .bind(now)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "DELETE FROM heads WHERE device = $1 AND name = $2 AND position < (SELECT MIN(position) FROM (SELECT position FROM heads \
         WHERE device = $1 AND name = $2 ORDER BY position DESC LIMIT $3) AS kept)",
    )
    .bind(device.to_owned())
    .bind(name.to_owned())
    .bind(HEADS_KEPT)
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps reports, each of its device; the same one again changes nothing.
pub async fn add_reports(conn: &mut Conn, reports: &[(&str, &Reported)]) -> Stored<()> {
    for part in parts(reports) {
        let sql = fixed(format!(
            "INSERT INTO reports (device, name, position, hash, version, outcome, device_time, reason, changed, received) \
             VALUES {} ON CONFLICT (device, name, position, hash) DO NOTHING",
            places(part.len(), 10, 1)
        ));
        let query = part.iter().fold(sqlx::query(sql), |query, (device, report)| {
            query
                .bind((*device).to_owned())
                .bind(report.name.clone())
                .bind(signed(report.ledger.index))
                .bind(report.ledger.hash.to_string())
                .bind(signed(report.version))
                .bind(to_json(&report.outcome))
                .bind(report.time.to_string())
                .bind(report.reason.clone())
                .bind(i64::from(report.changed))
                .bind(report.received)
        });
        query.execute(&mut *conn).await?;
    }
    Ok(())
}

/// The latest reports of a device, the newest first.
pub async fn reports(conn: &mut Conn, device: &str, most: u32) -> Stored<Vec<Reported>> {
    let rows = sqlx::query("SELECT * FROM reports WHERE device = $1 ORDER BY received DESC, position DESC LIMIT $2")
        .bind(device.to_owned())
        .bind(i64::from(most))
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| {
            let (time, changed): (String, i64) = (row.try_get("device_time")?, row.try_get("changed")?);
            Ok(Reported {
                name: row.try_get("name")?,
                version: count(row, "version")?,
                outcome: json(row, "outcome", "reports.outcome")?,
                time: Utc::new(time).map_err(|broken| damaged("reports.device_time", broken.found))?,
                reason: row.try_get("reason")?,
                changed: u32::try_from(changed).unwrap_or(u32::MAX),
                ledger: LedgerHead {
                    index: count(row, "position")?,
                    hash: hash(row.try_get("hash")?, "reports.hash")?,
                },
                received: row.try_get("received")?,
            })
        })
        .collect()
}

fn hash(text: String, place: &'static str) -> Stored<Sha256Hex> {
    Sha256Hex::new(text).map_err(|broken| damaged(place, broken.found))
}

fn damaged(place: &'static str, found: String) -> StoreError {
    StoreError::Damaged { place, found }
}

fn read(row: &AnyRow) -> Stored<Agent> {
    let number = |column: &str| -> Stored<Option<u64>> {
        let found: Option<i64> = row.try_get(column)?;
        Ok(found.and_then(|n| u64::try_from(n).ok()))
    };
    let head_hash: Option<String> = row.try_get("head_hash")?;
    let outcome: Option<String> = row.try_get("outcome")?;
    let head = match (number("head_index")?, head_hash) {
        (Some(index), Some(text)) => Some(LedgerHead {
            index,
            hash: hash(text, "agents.head_hash")?,
        }),
        _ => None,
    };
    Ok(Agent {
        name: row.try_get("name")?,
        session: row.try_get("session")?,
        sessions: json(row, "sessions", "agents.sessions")?,
        program: row.try_get("program")?,
        features: json(row, "features", "agents.features")?,
        version: number("version")?,
        outcome: outcome
            .map(|text| serde_json::from_str(&text).map_err(|_| damaged("agents.outcome", text)))
            .transpose()?,
        head,
        floor: count(row, "floor")?,
        telemetry: json(row, "telemetry", "agents.telemetry")?,
        slot: json(row, "slot", "agents.slot")?,
        batches: json(row, "batches", "agents.batches")?,
        figures_lost: count(row, "figures_lost")?,
        seen: row.try_get("seen")?,
    })
}
