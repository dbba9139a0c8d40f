//! Who did what. Append-only, and each entry's hash covers the one before, so that an edited copy shows.

use jos_trust::sha256;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Conn, Stored, count, json as column, signed};

/// One entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// From 1, without gaps.
    pub number: u64,
    /// When, in seconds since 1970.
    pub time: i64,
    /// Who: `local:USER`, `user:NAME`, `user:NAME/TOKEN` by an API token of theirs, `token:admin`, `device:ID`, `hub`.
    pub actor: String,
    /// In which tenant.
    pub tenant: Option<String>,
    /// What, as `device.quarantine`.
    pub action: String,
    /// With what.
    pub subject: String,
    /// More of it; never a secret.
    pub detail: Value,
    /// SHA-256 of the hash before and this entry.
    pub hash: String,
}

/// What is to be written down.
#[derive(Clone, Debug)]
pub struct Act<'a> {
    /// Who.
    pub actor: &'a str,
    /// In which tenant.
    pub tenant: Option<&'a str>,
    /// What.
    pub action: &'a str,
    /// With what.
    pub subject: &'a str,
    /// More of it; never a secret.
    pub detail: Value,
}

/// Appends an entry. Inside a writing transaction, so that numbers and hashes follow each other.
pub async fn append(conn: &mut Conn, act: &Act<'_>, now: i64) -> Stored<()> {
    let last = sqlx::query("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1")
        .fetch_optional(&mut *conn)
        .await?;
    let (number, before) = match &last {
        Some(row) => (count(row, "number")? + 1, row.try_get("hash")?),
        None => (1, String::new()),
    };
    let mut entry = Entry {
        number,
        time: now,
        actor: act.actor.to_owned(),
        tenant: act.tenant.map(str::to_owned),
        action: act.action.to_owned(),
        subject: act.subject.to_owned(),
        detail: act.detail.clone(),
        hash: String::new(),
    };
    entry.hash = hash(&before, &entry);
    sqlx::query(
        "INSERT INTO audit (number, time, actor, tenant, action, subject, detail, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(signed(entry.number))
    .bind(entry.time)
    .bind(entry.actor)
    .bind(entry.tenant)
    .bind(entry.action)
    .bind(entry.subject)
    .bind(entry.detail.to_string())
    .bind(entry.hash)
    .execute(conn)
    .await?;
    Ok(())
}

/// At most `most` entries before the number `before`, the newest first; of one tenant, or of all.
pub async fn list(conn: &mut Conn, tenant: Option<&str>, before: u64, most: u32) -> Stored<Vec<Entry>> {
    let rows =
        sqlx::query("SELECT * FROM audit WHERE number < $1 AND (tenant = $2 OR $2 = '') ORDER BY number DESC LIMIT $3")
            .bind(signed(before))
            .bind(tenant.unwrap_or_default().to_owned())
            .bind(i64::from(most))
            .fetch_all(conn)
            .await?;
    rows.iter().map(read).collect()
}

/// Reads the whole log and gives the number of the first entry whose hash does not follow, and how many there are.
pub async fn verify(conn: &mut Conn) -> Stored<(u64, Option<u64>)> {
    let (mut seen, mut before) = (0, String::new());
    loop {
        let rows = sqlx::query("SELECT * FROM audit WHERE number > $1 ORDER BY number LIMIT 1000")
            .bind(signed(seen))
            .fetch_all(&mut *conn)
            .await?;
        if rows.is_empty() {
            return Ok((seen, None));
        }
        for row in &rows {
            let entry = read(row)?;
            if entry.number != seen + 1 || entry.hash != hash(&before, &entry) {
                return Ok((seen, Some(seen + 1)));
            }
            seen = entry.number;
            before = entry.hash;
        }
    }
}

fn hash(before: &str, entry: &Entry) -> String {
    let line = json!([
        before,
        entry.number,
        entry.time,
        entry.actor,
        entry.tenant,
        entry.action,
        entry.subject,
        entry.detail
    ]);
    sha256(line.to_string().as_bytes()).to_string()
}

fn read(row: &AnyRow) -> Stored<Entry> {
    Ok(Entry {
        number: count(row, "number")?,
        time: row.try_get("time")?,
        actor: row.try_get("actor")?,
        tenant: row.try_get("tenant")?,
        action: row.try_get("action")?,
        subject: row.try_get("subject")?,
        detail: column(row, "detail", "audit.detail")?,
        hash: row.try_get("hash")?,
    })
}
