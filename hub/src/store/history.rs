//! What devices measured, by steps.

use sqlx::Row;

use super::{Conn, Stored, json, to_json};
use crate::history::{COARSE, FINE, Slot};

/// Keeps a step that is over, with what is there of it already.
pub async fn add(conn: &mut Conn, device: &str, name: &str, slot: &Slot) -> Stored<()> {
    let new = sqlx::query(
        "INSERT INTO history (device, name, step, start, metrics) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (device, name, step, start) DO NOTHING",
    )
    .bind(device.to_owned())
    .bind(name.to_owned())
    .bind(FINE)
    .bind(slot.start)
    .bind(to_json(&slot.metrics))
    .execute(&mut *conn)
    .await?;
    if new.rows_affected() == 0 {
        into(conn, device, name, (FINE, slot.start), slot).await?;
    }
    Ok(())
}

/// The steps of an agent that begin at `since` or later and before `until`, with their length; the oldest first.
pub async fn list(conn: &mut Conn, device: &str, name: &str, since: i64, until: i64) -> Stored<Vec<(i64, Slot)>> {
    let rows = sqlx::query(
        "SELECT step, start, metrics FROM history WHERE device = $1 AND name = $2 AND start >= $3 AND start < $4 ORDER BY start, step",
    )
    .bind(device.to_owned())
    .bind(name.to_owned())
    .bind(since)
    .bind(until)
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            let slot = Slot {
                start: row.try_get("start")?,
                metrics: json(row, "metrics", "history.metrics")?,
            };
            Ok((row.try_get("step")?, slot))
        })
        .collect()
}

/// Merges at most `most` fine steps that begin before `until` into hours; gives how many.
pub async fn merge(conn: &mut Conn, until: i64, most: u32) -> Stored<u32> {
    let rows = sqlx::query(
        "SELECT device, name, start, metrics FROM history WHERE step = $1 AND start < $2 ORDER BY start, device, name LIMIT $3",
    )
    .bind(FINE)
    .bind(until)
    .bind(i64::from(most))
    .fetch_all(&mut *conn)
    .await?;
    for row in &rows {
        let (device, name): (String, String) = (row.try_get("device")?, row.try_get("name")?);
        let fine = Slot {
            start: row.try_get("start")?,
            metrics: json(row, "metrics", "history.metrics")?,
        };
        into_hour(conn, &device, &name, &fine).await?;
    }
    Ok(u32::try_from(rows.len()).unwrap_or(u32::MAX))
}

const PLACE: &str = "WHERE device = $1 AND name = $2 AND step = $3 AND start = $4";

/// Adds what came later to the step of this length that begins then.
async fn into(conn: &mut Conn, device: &str, name: &str, (step, start): (i64, i64), later: &Slot) -> Stored<()> {
    let of = super::fixed(format!("SELECT metrics FROM history {PLACE}"));
    let known = sqlx::query(of)
        .bind(device.to_owned())
        .bind(name.to_owned())
        .bind(step)
        .bind(start)
        .fetch_optional(&mut *conn)
        .await?;
    let mut whole = Slot {
        start,
        metrics: known
            .map(|row| json(&row, "metrics", "history.metrics"))
            .transpose()?
            .unwrap_or_default(),
    };
    whole.merge(later);
    sqlx::query(
        "INSERT INTO history (device, name, step, start, metrics) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (device, name, step, start) DO UPDATE SET metrics = excluded.metrics",
    )
    .bind(device.to_owned())
    .bind(name.to_owned())
    .bind(step)
    .bind(start)
    .bind(to_json(&whole.metrics))
    .execute(conn)
    .await?;
    Ok(())
}

async fn into_hour(conn: &mut Conn, device: &str, name: &str, fine: &Slot) -> Stored<()> {
    let hour = fine.start.div_euclid(COARSE) * COARSE;
    into(conn, device, name, (COARSE, hour), fine).await?;
    let gone = super::fixed(format!("DELETE FROM history {PLACE}"));
    sqlx::query(gone)
        .bind(device.to_owned())
        .bind(name.to_owned())
        .bind(FINE)
        .bind(fine.start)
        .execute(conn)
        .await?;
    Ok(())
}

/// Forgets hours that begin before `until`.
pub async fn forget(conn: &mut Conn, until: i64) -> Stored<()> {
    sqlx::query("DELETE FROM history WHERE step = $1 AND start < $2")
        .bind(COARSE)
        .bind(until)
        .execute(conn)
        .await?;
    Ok(())
}
