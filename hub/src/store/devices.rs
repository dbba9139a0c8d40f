//! The registry of devices. A device is its TLS key: everything else about it is looked up by that.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::many::{parts, places};
use super::{Conn, Stored, count, fixed, json, parsed_generation, signed, to_json};
use crate::ca::Issued;

/// Whether a device is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Served.
    Active,
    /// Waits for a person to look at it; gets nothing.
    Quarantined,
    /// Out for good.
    Revoked,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Device {
    /// The id that the hub gave it.
    pub id: String,
    /// Its tenant, pinned at enrolment.
    pub tenant: String,
    /// The enrolment token that it came by.
    pub token: String,
    /// SHA-256 of its TLS public key (SubjectPublicKeyInfo, DER): who it is.
    pub tls: String,
    /// Its ed25519 `ledger` key, base64.
    pub ledger: String,
    /// Its X25519 key that secrets are sealed to, base64.
    pub encryption: Option<String>,
    /// Its labels; they select, they do not authorise.
    pub labels: BTreeMap<String, String>,
    /// What it said about itself; never taken for identity.
    pub facts: BTreeMap<String, String>,
    /// Whether it is served.
    pub status: Status,
    /// Why it is not.
    pub reason: Option<String>,
    /// Since when it is known, in seconds since 1970.
    pub enrolled: i64,
    /// Serial number of its newest certificate, in hex.
    pub serial: String,
    /// Whether the newest certificate was seen in use.
    pub serial_used: bool,
    /// Serial number of the certificate before.
    pub serial_before: Option<String>,
    /// When its newest certificate ends.
    pub not_after: i64,
    /// When it last called.
    pub last_seen: Option<i64>,
    /// From where.
    pub address: Option<String>,
    /// Why it stays at the version that it has, where a person holds it there.
    pub held: Option<String>,
    /// The number of the hub's CA that it knows.
    pub hub_ca: u64,
    /// The number of the hub's CA that signed its certificate.
    pub issuer: u64,
}

const COLUMNS: &str = "id, tenant, token, tls, ledger, encryption, labels, facts, status, reason, enrolled, serial, \
                       serial_used, serial_before, not_after, last_seen, address, held, hub_ca, issuer";

/// Adds a device.
pub async fn add(conn: &mut Conn, device: &Device) -> Stored<()> {
    sqlx::query(
        "INSERT INTO devices (id, tenant, token, tls, ledger, encryption, labels, facts, status, enrolled, serial, \
         serial_used, not_after, hub_ca, issuer) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, $12, $13, $14)",
    )
    .bind(device.id.clone())
    .bind(device.tenant.clone())
    .bind(device.token.clone())
    .bind(device.tls.clone())
    .bind(device.ledger.clone())
    .bind(device.encryption.clone())
    .bind(to_json(&device.labels))
    .bind(to_json(&device.facts))
    .bind(word(device.status))
    .bind(device.enrolled)
    .bind(device.serial.clone())
    .bind(device.not_after)
    .bind(signed(device.hub_ca))
    .bind(signed(device.issuer))
    .execute(conn)
    .await?;
    Ok(())
}

/// The device whose TLS key has this hash.
pub async fn by_tls(conn: &mut Conn, tls: &str) -> Stored<Option<Device>> {
    one(conn, "tls", tls).await
}

/// Those whose TLS keys have these hashes, each with the database's generation as of then.
pub async fn calling(conn: &mut Conn, keys: &[&str]) -> Stored<Vec<(Device, u64)>> {
    let mut found = Vec::with_capacity(keys.len());
    for part in parts(keys) {
        let sql = fixed(format!(
            "SELECT {COLUMNS}, (SELECT value FROM meta WHERE key = 'generation') AS generation FROM devices \
             WHERE tls IN {}",
            places(1, part.len(), 1)
        ));
        let query = part
            .iter()
            .fold(sqlx::query(sql), |query, key| query.bind((*key).to_owned()));
        for row in query.fetch_all(&mut *conn).await? {
            found.push((read(&row)?, parsed_generation(row.try_get("generation")?)?));
        }
    }
    Ok(found)
}

/// The device of this id.
pub async fn by_id(conn: &mut Conn, id: &str) -> Stored<Option<Device>> {
    one(conn, "id", id).await
}

/// The device with this `ledger` key.
pub async fn by_ledger(conn: &mut Conn, ledger: &str) -> Stored<Option<Device>> {
    one(conn, "ledger", ledger).await
}

async fn one(conn: &mut Conn, column: &'static str, value: &str) -> Stored<Option<Device>> {
    let sql = fixed(format!("SELECT {COLUMNS} FROM devices WHERE {column} = $1"));
    let row = sqlx::query(sql).bind(value.to_owned()).fetch_optional(conn).await?;
    row.as_ref().map(read).transpose()
}

/// At most `most` devices after the id `after`, by id; of one tenant, or of all.
pub async fn list(conn: &mut Conn, tenant: Option<&str>, after: &str, most: u32) -> Stored<Vec<Device>> {
    let sql = fixed(format!(
        "SELECT {COLUMNS} FROM devices WHERE (tenant = $1 OR $1 = '') AND id > $2 ORDER BY id LIMIT $3"
    ));
    let rows = sqlx::query(sql)
        .bind(tenant.unwrap_or_default().to_owned())
        .bind(after.to_owned())
        .bind(i64::from(most))
        .fetch_all(conn)
        .await?;
    rows.iter().map(read).collect()
}

/// Ids and labels of a tenant's devices that are not revoked.
pub async fn labels(conn: &mut Conn, tenant: &str) -> Stored<Vec<(String, BTreeMap<String, String>)>> {
    let rows = sqlx::query("SELECT id, labels FROM devices WHERE tenant = $1 AND status <> 'revoked' ORDER BY id")
        .bind(tenant.to_owned())
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("id")?, json(row, "labels", "devices.labels")?)))
        .collect()
}

/// Replaces a device's labels.
pub async fn set_labels(conn: &mut Conn, id: &str, labels: &BTreeMap<String, String>) -> Stored<()> {
    sqlx::query("UPDATE devices SET labels = $2 WHERE id = $1")
        .bind(id.to_owned())
        .bind(to_json(labels))
        .execute(conn)
        .await?;
    Ok(())
}

/// Sets whether a device is served, and why not.
pub async fn set_status(conn: &mut Conn, id: &str, status: Status, reason: Option<&str>) -> Stored<()> {
    sqlx::query("UPDATE devices SET status = $2, reason = $3 WHERE id = $1")
        .bind(id.to_owned())
        .bind(word(status))
        .bind(reason.map(str::to_owned))
        .execute(conn)
        .await?;
    Ok(())
}

/// Holds a device at the version that it has, or lets it go.
pub async fn set_held(conn: &mut Conn, id: &str, held: Option<&str>) -> Stored<()> {
    sqlx::query("UPDATE devices SET held = $2 WHERE id = $1")
        .bind(id.to_owned())
        .bind(held.map(str::to_owned))
        .execute(conn)
        .await?;
    Ok(())
}

/// A new certificate was issued for a key with the hash `tls`.
pub async fn set_certificate(conn: &mut Conn, id: &str, tls: &str, issued: &Issued) -> Stored<()> {
    sqlx::query(
        "UPDATE devices SET tls = $2, serial_before = serial, serial = $3, serial_used = 0, not_after = $4, issuer = $5 \
         WHERE id = $1",
    )
    .bind(id.to_owned())
    .bind(tls.to_owned())
    .bind(issued.serial.clone())
    .bind(issued.not_after)
    .bind(signed(issued.issuer))
    .execute(conn)
    .await?;
    Ok(())
}

/// A call: of which device, with the certificate of which serial number, from where.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The device's id.
    pub id: &'a str,
    /// The certificate's serial number.
    pub serial: &'a str,
    /// Where it came from.
    pub address: &'a str,
}

/// These devices called, each once: gives those that are served.
pub async fn saw(conn: &mut Conn, seen: &[Seen<'_>], now: i64) -> Stored<Vec<Device>> {
    let mut served = Vec::with_capacity(seen.len());
    for part in parts(seen) {
        let sql = fixed(format!(
            "WITH said (said_id, said_serial, said_address) AS (VALUES {}) \
             UPDATE devices SET last_seen = $1, address = said_address, \
             serial_used = CASE WHEN serial = said_serial THEN 1 ELSE serial_used END \
             FROM said WHERE id = said_id AND status = 'active' RETURNING {COLUMNS}",
            places(part.len(), 3, 2)
        ));
        let query = part.iter().fold(sqlx::query(sql).bind(now), |query, seen| {
            query
                .bind(seen.id.to_owned())
                .bind(seen.serial.to_owned())
                .bind(seen.address.to_owned())
        });
        for row in query.fetch_all(&mut *conn).await? {
            served.push(read(&row)?);
        }
    }
    Ok(served)
}

/// How many devices there are of each standing: active, quarantined, revoked; and how many called since `since`.
pub async fn counts(conn: &mut Conn, since: i64) -> Stored<[(&'static str, i64); 4]> {
    let row = sqlx::query(
        "SELECT COUNT(CASE WHEN status = 'active' THEN 1 END) AS active, \
         COUNT(CASE WHEN status = 'quarantined' THEN 1 END) AS quarantined, \
         COUNT(CASE WHEN status = 'revoked' THEN 1 END) AS revoked, \
         COUNT(CASE WHEN last_seen >= $1 THEN 1 END) AS seen FROM devices",
    )
    .bind(since)
    .fetch_one(conn)
    .await?;
    Ok([
        ("active", row.try_get("active")?),
        ("quarantined", row.try_get("quarantined")?),
        ("revoked", row.try_get("revoked")?),
        ("seen", row.try_get("seen")?),
    ])
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Active => "active",
        Status::Quarantined => "quarantined",
        Status::Revoked => "revoked",
    }
}

fn read(row: &AnyRow) -> Stored<Device> {
    let status: String = row.try_get("status")?;
    Ok(Device {
        id: row.try_get("id")?,
        tenant: row.try_get("tenant")?,
        token: row.try_get("token")?,
        tls: row.try_get("tls")?,
        ledger: row.try_get("ledger")?,
        encryption: row.try_get("encryption")?,
        labels: json(row, "labels", "devices.labels")?,
        facts: json(row, "facts", "devices.facts")?,
        status: match status.as_str() {
            "active" => Status::Active,
            "quarantined" => Status::Quarantined,
            // What nobody knows is not served.
            _ => Status::Revoked,
        },
        reason: row.try_get("reason")?,
        enrolled: row.try_get("enrolled")?,
        serial: row.try_get("serial")?,
        serial_used: row.try_get::<i64, _>("serial_used")? != 0,
        serial_before: row.try_get("serial_before")?,
        not_after: row.try_get("not_after")?,
        last_seen: row.try_get("last_seen")?,
        address: row.try_get("address")?,
        held: row.try_get("held")?,
        hub_ca: count(row, "hub_ca")?,
        issuer: count(row, "issuer")?,
    })
}
