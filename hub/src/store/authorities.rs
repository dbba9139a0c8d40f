//! The hub's CAs, one after the other; what the admins of each tenant say of them; which device knows which.
//!
//! The first CA lies in the folder and has a row from the first rotation on. Secrets come sealed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Conn, StoreError, Stored, bump, count, meta, set_meta, signed};

/// Counts what changes of CAs, of words on them and of freshness keys.
const REVISION: &str = "authorities";
/// Server keys that were made before this moment are made anew.
const SERVERS_SINCE: &str = "servers_since";

/// How a CA stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Made; devices get to know it; it signs nothing yet.
    Next,
    /// It signs.
    Current,
    /// It signs no more; what it signed is taken until its devices have other certificates.
    Former,
    /// Nothing that it signed is taken. Its key is gone.
    Retired,
    /// It never signed. Its key is gone.
    Aborted,
}

impl Standing {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Next, "next"),
        (Self::Current, "current"),
        (Self::Former, "former"),
        (Self::Retired, "retired"),
        (Self::Aborted, "aborted"),
    ];

    /// As it is written.
    pub fn word(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(of, _)| *of == self)
            .map_or("", |(_, word)| word)
    }
}

/// One CA.
#[derive(Clone, Debug)]
pub struct Authority {
    /// From 1, in order.
    pub number: u64,
    /// Its certificate, PEM.
    pub certificate: String,
    /// Its key, sealed; none of the first, whose key lies in the folder, and of those whose key is gone.
    pub secret: Option<String>,
    /// Its name and key under the signature of the CA before it, PEM.
    pub vouched: Option<String>,
    /// How it stands.
    pub standing: Standing,
    /// When it was made, in seconds since 1970.
    pub made: i64,
}

/// All of them, by number; none before the first rotation.
pub async fn all(conn: &mut Conn) -> Stored<Vec<Authority>> {
    let sql = "SELECT number, certificate, secret, vouched, standing, made FROM authorities ORDER BY number";
    sqlx::query(sql).fetch_all(conn).await?.iter().map(read).collect()
}

/// Adds one.
pub async fn add(conn: &mut Conn, one: &Authority) -> Stored<()> {
    let sql = "INSERT INTO authorities (number, certificate, secret, vouched, standing, made) VALUES ($1, $2, $3, $4, $5, $6)";
    sqlx::query(sql)
        .bind(signed(one.number))
        .bind(one.certificate.clone())
        .bind(one.secret.clone())
        .bind(one.vouched.clone())
        .bind(one.standing.word())
        .bind(one.made)
        .execute(conn)
        .await?;
    Ok(())
}

/// Sets how one stands. Of those that are done with, the key goes.
pub async fn set_standing(conn: &mut Conn, number: u64, standing: Standing) -> Stored<()> {
    let gone = matches!(standing, Standing::Retired | Standing::Aborted);
    let sql = if gone {
        "UPDATE authorities SET standing = $2, secret = NULL WHERE number = $1"
    } else {
        "UPDATE authorities SET standing = $2 WHERE number = $1"
    };
    sqlx::query(sql)
        .bind(signed(number))
        .bind(standing.word())
        .execute(conn)
        .await?;
    Ok(())
}

/// Another seal on the key of one.
pub async fn set_secret(conn: &mut Conn, number: u64, sealed: String) -> Stored<()> {
    sqlx::query("UPDATE authorities SET secret = $2 WHERE number = $1")
        .bind(signed(number))
        .bind(sealed)
        .execute(conn)
        .await?;
    Ok(())
}

fn read(row: &AnyRow) -> Stored<Authority> {
    let word: String = row.try_get("standing")?;
    let standing = Standing::ALL.iter().find(|(_, known)| *known == word);
    let (standing, _) = standing.ok_or(StoreError::Damaged {
        place: "authorities.standing",
        found: word,
    })?;
    Ok(Authority {
        number: count(row, "number")?,
        certificate: row.try_get("certificate")?,
        secret: row.try_get("secret")?,
        vouched: row.try_get("vouched")?,
        standing: *standing,
        made: row.try_get("made")?,
    })
}

/// The number that [`changed`] raises.
pub async fn revision(conn: &mut Conn) -> Stored<u64> {
    Ok(meta(conn, REVISION)
        .await?
        .and_then(|text| text.parse().ok())
        .unwrap_or(0))
}

/// Every hub on this database reads its CAs, words and keys anew.
pub async fn changed(conn: &mut Conn) -> Stored<()> {
    let next = revision(conn).await? + 1;
    set_meta(conn, REVISION, &next.to_string()).await?;
    bump(conn).await
}

/// Server keys that were made before this are made anew; 0 where nobody asked.
pub async fn servers_since(conn: &mut Conn) -> Stored<i64> {
    let text = meta(conn, SERVERS_SINCE).await?;
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Every hub makes itself another server key.
pub async fn set_servers_since(conn: &mut Conn, now: i64) -> Stored<()> {
    set_meta(conn, SERVERS_SINCE, &now.to_string()).await
}

/// What the admins of a tenant said of a CA.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    /// The tenant.
    pub tenant: String,
    /// Of which CA.
    pub number: u64,
    /// Its content id.
    pub content: String,
    /// Since when the hub has it.
    pub added: i64,
}

/// Keeps one, in the place of an earlier one on the same CA.
pub async fn add_word(conn: &mut Conn, word: &Word, bytes: &[u8]) -> Stored<()> {
    let sql = "INSERT INTO hub_cas (tenant, number, content, bytes, added) VALUES ($1, $2, $3, $4, $5) ON CONFLICT \
               (tenant, number) DO UPDATE SET content = excluded.content, bytes = excluded.bytes, added = excluded.added";
    sqlx::query(sql)
        .bind(word.tenant.clone())
        .bind(signed(word.number))
        .bind(word.content.clone())
        .bind(bytes.to_vec())
        .bind(word.added)
        .execute(conn)
        .await?;
    Ok(())
}

/// All, of all tenants.
pub async fn words(conn: &mut Conn) -> Stored<Vec<Word>> {
    let rows = sqlx::query("SELECT tenant, number, content, added FROM hub_cas ORDER BY tenant, number");
    let word = |row: &AnyRow| {
        Ok(Word {
            tenant: row.try_get("tenant")?,
            number: count(row, "number")?,
            content: row.try_get("content")?,
            added: row.try_get("added")?,
        })
    };
    rows.fetch_all(conn).await?.iter().map(word).collect()
}

/// One's bytes, as they were signed.
pub async fn word(conn: &mut Conn, tenant: &str, number: u64) -> Stored<Option<Vec<u8>>> {
    let row = sqlx::query("SELECT bytes FROM hub_cas WHERE tenant = $1 AND number = $2")
        .bind(tenant.to_owned())
        .bind(signed(number));
    Ok(row
        .fetch_optional(conn)
        .await?
        .map(|row| row.try_get("bytes"))
        .transpose()?)
}

/// Drops one that devices would not take.
pub async fn drop_word(conn: &mut Conn, tenant: &str, number: u64) -> Stored<()> {
    sqlx::query("DELETE FROM hub_cas WHERE tenant = $1 AND number = $2")
        .bind(tenant.to_owned())
        .bind(signed(number))
        .execute(conn)
        .await?;
    Ok(())
}

/// The device says which CA it knows by its admins' word.
pub async fn knows(conn: &mut Conn, device: &str, number: u64) -> Stored<()> {
    sqlx::query("UPDATE devices SET hub_ca = $2 WHERE id = $1 AND hub_ca < $2")
        .bind(device.to_owned())
        .bind(signed(number))
        .execute(conn)
        .await?;
    Ok(())
}

/// Devices that do not know a CA, and devices whose certificates are of another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Tally {
    /// Devices in service.
    pub devices: u64,
    /// Of those, how many know it.
    pub know: u64,
    /// How many do not, and have called within a fortnight.
    pub waited_for: u64,
    /// How many do not, and have been away for longer.
    pub away: u64,
    /// Whose certificate is of another CA and still good.
    pub other_certificate: u64,
}

/// Counts for one CA: `live` is since when a device has to have called to be waited for.
pub async fn tally(conn: &mut Conn, number: u64, live: i64, now: i64) -> Stored<Tally> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS devices, COUNT(CASE WHEN hub_ca >= $1 THEN 1 END) AS know, \
         COUNT(CASE WHEN hub_ca < $1 AND COALESCE(last_seen, enrolled) >= $2 THEN 1 END) AS waited_for, \
         COUNT(CASE WHEN hub_ca < $1 AND COALESCE(last_seen, enrolled) < $2 THEN 1 END) AS away, \
         COUNT(CASE WHEN issuer <> $1 AND not_after > $3 THEN 1 END) AS other_certificate \
         FROM devices WHERE status = 'active'",
    )
    .bind(signed(number))
    .bind(live)
    .bind(now)
    .fetch_one(conn)
    .await?;
    Ok(Tally {
        devices: count(&row, "devices")?,
        know: count(&row, "know")?,
        waited_for: count(&row, "waited_for")?,
        away: count(&row, "away")?,
        other_certificate: count(&row, "other_certificate")?,
    })
}

/// A device that does not know a CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// Its id.
    pub device: String,
    /// Its tenant.
    pub tenant: String,
    /// When it called last.
    pub last_seen: Option<i64>,
    /// When it was enrolled.
    pub enrolled: i64,
}

/// At most `most` devices in service that do not know a CA, those that called last first.
pub async fn behind(conn: &mut Conn, number: u64, most: u32) -> Stored<Vec<Behind>> {
    let rows = sqlx::query(
        "SELECT id, tenant, last_seen, enrolled FROM devices WHERE status = 'active' AND hub_ca < $1 \
         ORDER BY COALESCE(last_seen, enrolled) DESC, id LIMIT $2",
    )
    .bind(signed(number))
    .bind(i64::from(most));
    let one = |row: &AnyRow| {
        Ok(Behind {
            device: row.try_get("id")?,
            tenant: row.try_get("tenant")?,
            last_seen: row.try_get("last_seen")?,
            enrolled: row.try_get("enrolled")?,
        })
    };
    rows.fetch_all(conn).await?.iter().map(one).collect()
}

/// How many devices in service each tenant has.
pub async fn tenants(conn: &mut Conn) -> Stored<Vec<(String, u64)>> {
    let rows = sqlx::query(
        "SELECT tenant, COUNT(*) AS devices FROM devices WHERE status = 'active' GROUP BY tenant ORDER BY tenant",
    );
    let one = |row: &AnyRow| Ok((row.try_get("tenant")?, count(row, "devices")?));
    rows.fetch_all(conn).await?.iter().map(one).collect()
}

/// A freshness key besides the folder's, sealed; none where it is gone.
#[derive(Clone, Debug)]
pub struct Voice {
    /// Its key id.
    pub id: String,
    /// Sealed.
    pub secret: Option<String>,
    /// When it was made.
    pub made: i64,
}

/// All, the oldest first. The folder's own has a row once it is gone.
pub async fn voices(conn: &mut Conn) -> Stored<Vec<Voice>> {
    let rows = sqlx::query("SELECT id, secret, made FROM voices ORDER BY made, id");
    let one = |row: &AnyRow| {
        Ok(Voice {
            id: row.try_get("id")?,
            secret: row.try_get("secret")?,
            made: row.try_get("made")?,
        })
    };
    rows.fetch_all(conn).await?.iter().map(one).collect()
}

/// Keeps one, or drops the secret of one that is there.
pub async fn put_voice(conn: &mut Conn, voice: &Voice) -> Stored<()> {
    let sql = "INSERT INTO voices (id, secret, made) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET secret = excluded.secret";
    sqlx::query(sql)
        .bind(voice.id.clone())
        .bind(voice.secret.clone())
        .bind(voice.made)
        .execute(conn)
        .await?;
    Ok(())
}
