//! The queue in PostgreSQL, for nodes that share no directory: claimed with `SKIP LOCKED`, told by `NOTIFY`.
//!
//! ```text
//! jos_jobs       one row a job: waiting ─► claimed (node, attempt) ─► done (result) | failed (reason)
//! jos_nodes      one row for each node that has claims: its beat
//! jos_messages   what agents send each other, in its order
//! jos_schedules  how far each schedule has come
//! ```
//!
//! A claim is one row's change, so one node gets it; every later word on that job (how far it came, its end) counts only while
//! the row still names that node and attempt. A node is dead when its beat stood still for the whole lease, by the clock of
//! who looks and without the database having been away meanwhile: no two clocks are compared, and an outage kills nobody.

mod ear;
mod line;
mod messages;
mod node;
mod schema;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jos_schemas::documents::runtime::Job;
use jos_schemas::text::Name;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{Connection, PgConnection, Row};

use super::{Counts, Cursor, End, Ends, Plan};
use crate::error::NodeError;
use crate::jobs;
use crate::join::Outside;
use crate::lease::Others;
use crate::place::{DataDir, Door};
use ear::{ENDED, Ear, WAITING};
use line::Line;

/// Who waits for an end looks so often, whatever is told.
const LOOK: Duration = Duration::from_secs(30);

/// Puts a job in, and tells that it waits: $1 id, $2 document, $3 ticket.
const SUBMIT: &str = "\
WITH put AS (INSERT INTO jos_jobs (id, document, ticket, state) VALUES ($1, $2, $3, 'waiting') \
             ON CONFLICT (id) DO NOTHING RETURNING id) \
SELECT id FROM put, pg_notify('jos_waiting', '')";

/// The queue of a database.
pub(super) struct Postgres {
    line: Arc<Line>,
    data: DataDir,
    door: Door,
    /// As far as this process knows; another node may have moved them on.
    cursors: Mutex<BTreeMap<Name, Cursor>>,
    node: OnceLock<Serving>,
}

/// What a node has besides.
struct Serving {
    lease: Duration,
    ear: Ear,
    beaten: Mutex<Option<Instant>>,
    /// Claims that this process knows to be its own.
    mine: Mutex<HashSet<(String, u32)>>,
    /// Held for reading while a claim is under way.
    flight: RwLock<()>,
    seen: Mutex<Seen>,
}

/// What was seen of other nodes, and after how many outages.
#[derive(Default)]
struct Seen {
    others: Others,
    outages: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Postgres {
    pub(super) fn open(url: &str, data: &DataDir, outside: &Outside) -> Result<Self, NodeError> {
        let line = Line::of(url, outside)?;
        let found = line.ask(async |conn| schema::ready(conn).await)?;
        if found != schema::VERSION {
            return Err(line.newer(found, schema::VERSION));
        }
        Ok(Self {
            line: Arc::new(line),
            data: data.clone(),
            door: Door::of(data)?,
            cursors: Mutex::default(),
            node: OnceLock::new(),
        })
    }

    /// Puts a job in, unless another stands under its id: then says where.
    fn put(&self, id: &str, document: &[u8], ticket: &str) -> Result<Option<&'static str>, NodeError> {
        let document = String::from_utf8_lossy(document);
        self.line.ask(async |conn| {
            let put = sqlx::query(SUBMIT).bind(id).bind(&*document).bind(ticket);
            if put.fetch_optional(&mut *conn).await?.is_some() {
                return Ok(None);
            }
            let row = sqlx::query("SELECT state, ticket FROM jos_jobs WHERE id = $1").bind(id);
            let row = row.fetch_optional(&mut *conn).await?;
            // It is there by an earlier try of ours, whose answer was lost.
            let standing = row.filter(|row| row.try_get::<&str, _>(1).ok() != Some(ticket));
            Ok(standing.map(|row| words(row.try_get(0).unwrap_or_default())))
        })
    }
}

fn words(state: &str) -> &'static str {
    match state {
        "waiting" => "it waits",
        "claimed" => "it runs",
        "done" => "it is done",
        _ => "it failed",
    }
}

/// Of the columns state, result, reason.
fn end_of(row: &PgRow) -> sqlx::Result<Option<End>> {
    Ok(match row.try_get::<&str, _>(0)? {
        "done" => {
            let result: &str = row.try_get(1)?;
            Some(End::Done(serde_json::from_str(result).unwrap_or(Value::Null)))
        }
        "failed" => Some(End::Failed(row.try_get::<String, _>(2)?)),
        _ => None,
    })
}

async fn cursor_of(conn: &mut PgConnection, schedule: &Name) -> sqlx::Result<Option<Cursor>> {
    let row = sqlx::query("SELECT last, fired FROM jos_schedules WHERE name = $1").bind(schedule.as_str());
    let row = row.fetch_optional(conn).await?;
    row.map(|row| {
        Ok(Cursor {
            last: row.try_get(0)?,
            fired: u64::try_from(row.try_get::<i64, _>(1)?).unwrap_or(0),
        })
    })
    .transpose()
}

/// What everybody may ask; what nodes ask besides is in [`node`].
impl Postgres {
    fn submit_job(&self, job: &Job) -> Result<(), NodeError> {
        let document = jobs::document(job)?;
        match self.put(&job.id, &document, &self.line.ticket())? {
            None => Ok(()),
            Some(standing) => Err(NodeError::Duplicate {
                id: job.id.clone(),
                standing,
            }),
        }
    }

    fn end_of_job(&self, id: &str) -> Result<Option<End>, NodeError> {
        self.line.ask(async |conn| {
            let row = sqlx::query("SELECT state, result, reason FROM jos_jobs WHERE id = $1").bind(id);
            row.fetch_optional(conn).await?.map_or(Ok(None), |row| end_of(&row))
        })
    }

    fn count(&self) -> Result<Counts, NodeError> {
        self.line.ask(async |conn| {
            let rows = sqlx::query("SELECT state, count(*) FROM jos_jobs GROUP BY state");
            let mut counts = Counts::default();
            for row in rows.fetch_all(conn).await? {
                let count = u64::try_from(row.try_get::<i64, _>(1)?).unwrap_or(0);
                match row.try_get::<&str, _>(0)? {
                    "waiting" => counts.waiting = count,
                    "claimed" => counts.running = count,
                    "done" => counts.done = count,
                    _ => counts.failed = count,
                }
            }
            Ok(counts)
        })
    }

    fn connected(&self) -> Result<Vec<String>, NodeError> {
        self.line.ask(async |conn| {
            let rows = sqlx::query(
                "SELECT DISTINCT substr(application_name, 10) FROM pg_stat_activity \
                 WHERE datname = current_database() AND application_name LIKE 'jos node %' ORDER BY 1",
            );
            rows.fetch_all(conn).await?.iter().map(|row| row.try_get(0)).collect()
        })
    }

    fn watch_ends(&self) -> Result<Box<dyn Ends>, NodeError> {
        let ear = Ear::start(&self.line, ENDED)?;
        let after = self.line.ask(async |conn| {
            let row = sqlx::query("SELECT coalesce(max(ended), 0) FROM jos_jobs WHERE ended IS NOT NULL");
            row.fetch_one(conn).await?.try_get::<i64, _>(0)
        })?;
        Ok(Box::new(Ended {
            line: Arc::clone(&self.line),
            ear,
            after,
            said: HashSet::new(),
        }))
    }

    fn known_cursor(&self, schedule: &Name) -> Option<Cursor> {
        if let Some(known) = lock(&self.cursors).get(schedule) {
            return Some(*known);
        }
        let found = self.line.ask(async |conn| cursor_of(conn, schedule).await).ok()??;
        lock(&self.cursors).insert(schedule.clone(), found);
        Some(found)
    }

    fn forget_cursor(&self, schedule: &Name) -> Result<(), NodeError> {
        lock(&self.cursors).remove(schedule);
        self.line.ask(async |conn| {
            let gone = sqlx::query("DELETE FROM jos_schedules WHERE name = $1").bind(schedule.as_str());
            gone.execute(conn).await.map(|_| ())
        })
    }

    fn fire_schedule(&self, schedule: &Name, plan: &mut Plan<'_>) -> Result<Vec<String>, NodeError> {
        let plan = RefCell::new(plan);
        let (after, fired) = self.line.ask(async |conn| {
            let mut tx = conn.begin().await?;
            sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('jos schedule ' || $1, 0))")
                .bind(schedule.as_str())
                .execute(&mut *tx)
                .await?;
            let known = cursor_of(&mut tx, schedule).await?;
            let (last, due) = (plan.borrow_mut())(known);
            let mut fired = Vec::new();
            for job in due {
                // The gate of submissions, and of an id that is in use.
                let Ok(document) = jobs::document(&job) else { continue };
                let (document, ticket) = (String::from_utf8_lossy(&document), self.line.ticket());
                let put = sqlx::query(SUBMIT).bind(&job.id).bind(&*document).bind(ticket);
                if put.fetch_optional(&mut *tx).await?.is_some() {
                    fired.push(job.id);
                }
            }
            let count = known.unwrap_or_default().fired + fired.len() as u64;
            sqlx::query(
                "INSERT INTO jos_schedules (name, last, fired) VALUES ($1, $2, $3) \
                 ON CONFLICT (name) DO UPDATE SET last = excluded.last, fired = excluded.fired",
            )
            .bind(schedule.as_str())
            .bind(last)
            .bind(i64::try_from(count).unwrap_or(i64::MAX))
            .execute(&mut *tx)
            .await?;
            tx.commit().await?;
            Ok((Cursor { last, fired: count }, fired))
        })?;
        lock(&self.cursors).insert(schedule.clone(), after);
        Ok(fired)
    }
}

/// Jobs as they end.
struct Ended {
    line: Arc<Line>,
    ear: Ear,
    /// The number of the last end before this began.
    after: i64,
    /// Told already, since ends become visible in another order than they were numbered.
    said: HashSet<String>,
}

impl Ends for Ended {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.ear.fd())
    }

    fn every(&self) -> Option<Duration> {
        Some(LOOK)
    }

    fn hear(&mut self) -> Result<(), NodeError> {
        self.ear.take();
        Ok(())
    }

    fn take(&mut self) -> Result<Vec<(String, End)>, NodeError> {
        // One look for all that was told, and for what was not.
        self.ear.take();
        let rows = self.line.ask(async |conn| {
            let rows = sqlx::query(
                "SELECT state, result, reason, id, ended FROM jos_jobs WHERE ended > $1 AND state IN ('done', 'failed') \
                 ORDER BY ended",
            );
            rows.bind(self.after).fetch_all(conn).await
        })?;
        let mut ended = Vec::new();
        let mut last = self.after;
        for row in &rows {
            let read =
                || -> sqlx::Result<_> { Ok((row.try_get::<String, _>(3)?, end_of(row)?, row.try_get::<i64, _>(4)?)) };
            let (id, end, number) = read().map_err(|e| self.line.refused(&e))?;
            last = last.max(number);
            if let Some(end) = end
                && self.said.insert(id.clone())
            {
                ended.push((id, end));
            }
        }
        // Far enough back that nothing which is still being committed is passed over.
        if last - self.after > 2 * BEHIND {
            self.after = last - BEHIND;
            let kept: HashSet<String> = rows
                .iter()
                .filter(|row| row.try_get::<i64, _>(4).is_ok_and(|number| number > self.after))
                .filter_map(|row| row.try_get(3).ok())
                .collect();
            self.said.retain(|id| kept.contains(id));
        }
        Ok(ended)
    }
}

/// So many ends may be under way at once.
const BEHIND: i64 = 512;
