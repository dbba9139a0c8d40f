//! Blobs by SHA-256, in chunks, so that a part is read without the whole and any number of hubs serve them from one
//! database.

use sqlx::Row;

use super::{Conn, Stored, count, signed};
use crate::random;

/// Bytes of a chunk; the last one of a blob may be shorter.
pub const CHUNK: usize = 256 << 10;

/// Bytes of a blob of a tenant, where it has it.
pub async fn size(conn: &mut Conn, tenant: &str, sha256: &str) -> Stored<Option<u64>> {
    let row = sqlx::query("SELECT size FROM blobs WHERE tenant = $1 AND sha256 = $2")
        .bind(tenant.to_owned())
        .bind(sha256.to_owned())
        .fetch_optional(conn)
        .await?;
    row.map(|row| count(&row, "size")).transpose()
}

/// One chunk.
pub async fn chunk(conn: &mut Conn, sha256: &str, number: u64) -> Stored<Option<Vec<u8>>> {
    let row = sqlx::query("SELECT bytes FROM chunks WHERE sha256 = $1 AND number = $2")
        .bind(sha256.to_owned())
        .bind(signed(number))
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|row| row.try_get("bytes")).transpose()?)
}

/// Writes one chunk under a key that is the hash later, or a name nobody asks for until then.
pub async fn add_chunk(conn: &mut Conn, key: &str, number: u64, bytes: &[u8]) -> Stored<()> {
    sqlx::query("INSERT INTO chunks (sha256, number, bytes) VALUES ($1, $2, $3)")
        .bind(key.to_owned())
        .bind(signed(number))
        .bind(bytes.to_vec())
        .execute(conn)
        .await?;
    Ok(())
}

/// The upload `key` is whole and its hash is `sha256`: it is the tenant's from now on. Where the same content is there
/// already the upload goes.
pub async fn finish(conn: &mut Conn, tenant: &str, key: &str, sha256: &str, size: u64, now: i64) -> Stored<()> {
    let there = sqlx::query("SELECT 1 FROM blobs WHERE sha256 = $1 LIMIT 1").bind(sha256.to_owned());
    if there.fetch_optional(&mut *conn).await?.is_some() {
        discard(conn, key).await?;
    } else {
        sqlx::query("UPDATE chunks SET sha256 = $2 WHERE sha256 = $1")
            .bind(key.to_owned())
            .bind(sha256.to_owned())
            .execute(&mut *conn)
            .await?;
    }
    sqlx::query("INSERT INTO blobs (tenant, sha256, size, added) VALUES ($1, $2, $3, $4) ON CONFLICT (tenant, sha256) DO NOTHING")
        .bind(tenant.to_owned())
        .bind(sha256.to_owned())
        .bind(signed(size))
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Drops the chunks of an upload that came to nothing.
pub async fn discard(conn: &mut Conn, key: &str) -> Stored<()> {
    sqlx::query("DELETE FROM chunks WHERE sha256 = $1")
        .bind(key.to_owned())
        .execute(conn)
        .await?;
    Ok(())
}

/// A day: no upload takes longer.
const LONGEST_UPLOAD: i64 = 86_400;

/// A name for the chunks of an upload that begins now, which nobody can ask for.
pub fn upload(now: i64) -> String {
    format!("{}-{}", began(now), *random::hex(16))
}

/// Sorts by time, and before and after every hash.
fn began(now: i64) -> String {
    format!("upload-{:012x}", now.max(0))
}

/// Drops what uploads left behind that a crash cut off. Younger ones may be under way, on another hub too.
pub async fn sweep(conn: &mut Conn, now: i64) -> Stored<u64> {
    let done = sqlx::query("DELETE FROM chunks WHERE sha256 >= 'upload-' AND sha256 < $1")
        .bind(began(now - LONGEST_UPLOAD))
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}

/// Hash and size of every blob of a tenant.
pub async fn list(conn: &mut Conn, tenant: &str) -> Stored<Vec<(String, u64)>> {
    let rows = sqlx::query("SELECT sha256, size FROM blobs WHERE tenant = $1 ORDER BY sha256")
        .bind(tenant.to_owned())
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("sha256")?, count(row, "size")?)))
        .collect()
}
