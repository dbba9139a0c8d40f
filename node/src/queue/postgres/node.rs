//! What a node asks of the queue in the database: claims and their ends, signs of life, what dead nodes left.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jos_runtime::disk::Disk;
use jos_schemas::documents::runtime::Job;
use jos_schemas::text::Name;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::{Ear, Postgres, Seen, Serving, WAITING, lock, messages};
use crate::error::NodeError;
use crate::jobs::{self, Claim, Taken};
use crate::lease;
use crate::place::DataDir;
use crate::queue::{Backend, Counts, Cursor, End, Ends, Heard, Held, Left, Messages, Plan, Rest};
use crate::resume::Progress;

/// The oldest job that waits, for one node: $1.
const CLAIM: &str = "\
UPDATE jos_jobs SET state = 'claimed', node = $1, attempt = attempt + 1 \
WHERE seq = (SELECT seq FROM jos_jobs WHERE state = 'waiting' ORDER BY seq LIMIT 1 FOR UPDATE SKIP LOCKED) \
AND state = 'waiting' RETURNING id, attempt, document, progress";
/// The end of a claim that is still ours, told to whoever waits: $1 id, $2 node, $3 attempt, $4 state, $5 result, $6 reason.
const END: &str = "\
WITH ended AS (UPDATE jos_jobs SET state = $4, result = $5, reason = $6, progress = NULL, ended = nextval('jos_ends'), \
                      ended_at = now() \
               WHERE id = $1 AND node = $2 AND attempt = $3 AND state = 'claimed' RETURNING id) \
SELECT id FROM ended, pg_notify('jos_ended', id)";
/// An end that is ours already: the answer to it was lost.
const ENDED: &str =
    "SELECT 1 FROM jos_jobs WHERE id = $1 AND node = $2 AND attempt = $3 AND state IN ('done', 'failed')";

fn attempt(claim: &Claim) -> i32 {
    i32::try_from(claim.attempt).unwrap_or(i32::MAX)
}

/// Of the columns id, attempt, document, progress.
fn claim_of(row: &PgRow, node: &str) -> sqlx::Result<(Claim, Option<Progress>)> {
    let claim = Claim {
        id: row.try_get(0)?,
        node: node.to_owned(),
        attempt: u32::try_from(row.try_get::<i32, _>(1)?).unwrap_or(1),
        document: Some(row.try_get::<String, _>(2)?.into_bytes()),
    };
    let progress = row.try_get::<Option<String>, _>(3)?;
    let progress = progress.and_then(|text| serde_json::from_str::<Progress>(&text).ok());
    let progress = progress.map(|progress| Progress { told: true, ..progress });
    Ok((claim, progress))
}

impl Postgres {
    fn end_claim(
        &self,
        claim: &Claim,
        state: &str,
        result: Option<&str>,
        reason: Option<&str>,
    ) -> Result<Held, NodeError> {
        let held = self.line.ask_patiently(async |conn| {
            let end = sqlx::query(END).bind(&claim.id).bind(&claim.node).bind(attempt(claim));
            let end = end.bind(state).bind(result).bind(reason);
            if end.fetch_optional(&mut *conn).await?.is_some() {
                return Ok(Held::Yes);
            }
            let ours = sqlx::query(ENDED)
                .bind(&claim.id)
                .bind(&claim.node)
                .bind(attempt(claim));
            let ours = ours.fetch_optional(&mut *conn).await?.is_some();
            Ok(if ours { Held::Yes } else { Held::No })
        })?;
        self.let_go(claim);
        Ok(held)
    }

    fn let_go(&self, claim: &Claim) {
        if let Some(serving) = self.node.get() {
            lock(&serving.mine).remove(&(claim.id.clone(), claim.attempt));
        }
    }

    fn note_mine(serving: &Serving, claim: &Claim) -> bool {
        lock(&serving.mine).insert((claim.id.clone(), claim.attempt))
    }

    /// Hands a file of `inbox/` over to the database.
    fn bring(&self, name: &str) -> Result<Taken, NodeError> {
        let from = format!("inbox/{name}");
        let Some(id) = name.strip_suffix(".json").filter(|id| jobs::is_id(id)) else {
            return jobs::refuse(&self.data, &from, name, &jobs::no_id(name));
        };
        // One node of this directory at a time: two must not take the same file for two jobs.
        let _inside = self.door.enter()?;
        let Ok(meta) = self.data.path(&from).symlink_metadata() else {
            return Ok(Taken::Gone);
        };
        let disk = jobs::disk(self.data.root(), "0")?;
        let read = jobs::read_at(&disk, &from, id);
        let document = read.and_then(|job| jobs::document(&job).map_err(|e| e.to_string()));
        let document = match document {
            Ok(document) => document,
            Err(reason) => return jobs::refuse(&self.data, &from, name, &reason),
        };
        // The same file again is the same job: a node was killed before it removed the file.
        let ticket = format!("file {} {} {}", meta.dev(), meta.ino(), meta.mtime_nsec());
        if self.put(id, &document, &ticket)?.is_some() {
            return jobs::refuse_again(&self.data, id);
        }
        self.data.remove(&from)?;
        Ok(Taken::Gone)
    }

    /// The claims of the dead among `nodes`, which is each node with its beat.
    fn dead(&self, seen: &mut Seen, nodes: &[(String, i64)], lease: Duration, left: &mut Left) -> Vec<String> {
        let mut dead = Vec::new();
        for (node, beat) in nodes {
            // A node of this machine's own directory is known at once, by its lock.
            let local = self.data.path(&format!("state/nodes/{node}.json")).exists();
            let gone = match local {
                true => seen.others.dead(&self.data, node, lease),
                false => seen.others.stands_still(node, *beat, lease),
            };
            if gone {
                left.unclean |= local;
                dead.push(node.clone());
            } else {
                left.foreign = true;
            }
        }
        dead
    }
}

async fn claims_of(conn: &mut PgConnection, node: &str) -> sqlx::Result<Vec<(Claim, Option<Progress>)>> {
    let rows =
        sqlx::query("SELECT id, attempt, document, progress FROM jos_jobs WHERE state = 'claimed' AND node = $1");
    let rows = rows.bind(node).fetch_all(conn).await?;
    rows.iter().map(|row| claim_of(row, node)).collect()
}

impl Backend for Postgres {
    fn place(&self) -> String {
        self.line.place().to_owned()
    }

    fn submit(&self, job: &Job) -> Result<(), NodeError> {
        self.submit_job(job)
    }

    fn end(&self, id: &str) -> Result<Option<End>, NodeError> {
        self.end_of_job(id)
    }

    fn counts(&self) -> Result<Counts, NodeError> {
        self.count()
    }

    fn nodes(&self) -> Result<Option<Vec<String>>, NodeError> {
        self.connected().map(Some)
    }

    fn ends(&self) -> Result<Box<dyn Ends>, NodeError> {
        self.watch_ends()
    }

    fn cursor(&self, schedule: &Name) -> Option<Cursor> {
        self.known_cursor(schedule)
    }

    fn forget(&self, schedule: &Name) -> Result<(), NodeError> {
        self.forget_cursor(schedule)
    }

    fn fire(&self, schedule: &Name, plan: &mut Plan<'_>) -> Result<Vec<String>, NodeError> {
        self.fire_schedule(schedule, plan)
    }

    fn messages(&self) -> Option<Arc<dyn Messages>> {
        Some(Arc::new(messages::Shared(Arc::clone(&self.line))))
    }

    fn begin(&self, node: &str, lease: Duration) -> Result<(), NodeError> {
        self.line.name(&format!("jos node {node}"));
        let _ = self.node.set(Serving {
            lease,
            ear: Ear::start(&self.line, WAITING)?,
            beaten: Default::default(),
            mine: Default::default(),
            flight: RwLock::default(),
            seen: Default::default(),
        });
        Ok(())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.node.get().map(|serving| serving.ear.fd())
    }

    fn hear(&self) -> Heard {
        let Some(serving) = self.node.get() else {
            return Heard::default();
        };
        let (words, lost) = serving.ear.take();
        let tokens = if lost || !words.is_empty() {
            vec![String::new()]
        } else {
            Vec::new()
        };
        Heard { tokens, lost }
    }

    fn trouble(&self) -> Option<String> {
        self.line.trouble()
    }

    fn look_every(&self, lease: Duration) -> Option<Duration> {
        Some(lease)
    }

    fn tokens(&self, mut inbox: Vec<String>) -> Vec<String> {
        inbox.push(String::new());
        inbox
    }

    fn claim(&self, token: &str, node: &str) -> Result<Taken, NodeError> {
        if !token.is_empty() {
            return self.bring(token);
        }
        let Some(serving) = self.node.get() else {
            return Ok(Taken::Gone);
        };
        let _flight = serving.flight.read().unwrap_or_else(PoisonError::into_inner);
        let claimed = self.line.ask_patiently(async |conn| {
            let row = sqlx::query(CLAIM).bind(node).fetch_optional(conn).await?;
            row.map(|row| claim_of(&row, node)).transpose()
        })?;
        Ok(match claimed {
            Some((claim, _)) => {
                Self::note_mine(serving, &claim);
                Taken::Claimed(claim)
            }
            None => Taken::Gone,
        })
    }

    fn read(&self, _: &Disk, claim: &Claim) -> Result<Job, String> {
        jobs::parse(&claim.id, claim.document.as_deref().unwrap_or_default())
    }

    fn keeps(&self) -> bool {
        true
    }

    fn keep(&self, claim: &Claim, progress: &Progress) -> Result<Held, NodeError> {
        let text = serde_json::to_string(progress).map_err(|e| NodeError::invalid(&claim.id, e))?;
        let held = self.line.ask_patiently(async |conn| {
            let keep =
                "UPDATE jos_jobs SET progress = $4 WHERE id = $1 AND node = $2 AND attempt = $3 AND state = 'claimed'";
            let keep = sqlx::query(keep).bind(&claim.id).bind(&claim.node).bind(attempt(claim));
            let rows = keep.bind(&text).execute(conn).await?.rows_affected();
            Ok(if rows == 1 { Held::Yes } else { Held::No })
        })?;
        if held == Held::No {
            self.let_go(claim);
        }
        Ok(held)
    }

    fn finish(&self, claim: &Claim, result: &Value) -> Result<Held, NodeError> {
        let text = serde_json::to_string(result).map_err(|e| NodeError::invalid(&claim.id, e))?;
        self.end_claim(claim, "done", Some(&text), None)
    }

    fn fail(&self, claim: &Claim, reason: &str) -> Result<Held, NodeError> {
        // A text in PostgreSQL holds no NUL.
        let reason = reason.trim_end().replace('\0', "\u{fffd}");
        self.end_claim(claim, "failed", None, Some(&reason))
    }

    fn beat(&self, node: &str) {
        let Some(serving) = self.node.get() else { return };
        let mut beaten = lock(&serving.beaten);
        // A node that is busy and idle by turns begins often; it need not say so each time.
        if beaten.is_some_and(|at| at.elapsed() < serving.lease / 6) {
            return;
        }
        let said = self.line.ask(async |conn| {
            let beat = "INSERT INTO jos_nodes (node, beat) VALUES ($1, 1) \
                        ON CONFLICT (node) DO UPDATE SET beat = jos_nodes.beat + 1, seen = now()";
            sqlx::query(beat).bind(node).execute(conn).await
        });
        if said.is_ok() {
            *beaten = Some(Instant::now());
        }
    }

    fn reclaim(&self, node: &str, lease: Duration) -> Result<Left, NodeError> {
        let Some(serving) = self.node.get() else {
            return Ok(Left::default());
        };
        let nodes = self.line.ask(async |conn| {
            let others = "SELECT j.node, coalesce(max(n.beat), 0) FROM jos_jobs j LEFT JOIN jos_nodes n ON n.node = j.node \
                          WHERE j.state = 'claimed' AND j.node <> $1 GROUP BY j.node";
            let rows = sqlx::query(others).bind(node).fetch_all(conn).await?;
            rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<sqlx::Result<Vec<(String, i64)>>>()
        })?;
        let mut left = Left::default();
        let mut seen = lock(&serving.seen);
        let outages = self.line.outages();
        let been_away = seen.outages != outages;
        if been_away {
            seen.others.begin_anew();
        }
        let dead = self.dead(&mut seen, &nodes, lease, &mut left);
        for other in &dead {
            let taken = self.line.ask(async |conn| {
                let take = "UPDATE jos_jobs SET node = $1, attempt = attempt + 1 WHERE state = 'claimed' AND node = $2 \
                            RETURNING id, attempt, document, progress";
                let rows = sqlx::query(take).bind(node).bind(other).fetch_all(&mut *conn).await?;
                let gone = sqlx::query("DELETE FROM jos_nodes WHERE node = $1").bind(other);
                gone.execute(conn).await?;
                rows.iter()
                    .map(|row| claim_of(row, node))
                    .collect::<sqlx::Result<Vec<_>>>()
            });
            let taken = match taken {
                Ok(taken) => taken,
                Err(e) => {
                    log::warn!("{e}; what node {other} left is looked at again");
                    left.foreign = true;
                    break;
                }
            };
            for (claim, progress) in taken {
                log::warn!("job {}: node {other} ended before it did; taken over", claim.id);
                Self::note_mine(serving, &claim);
                left.taken.push((claim, progress));
            }
            seen.others.bury(&self.data, other);
        }
        // Nodes of this directory that died without a claim.
        let known: BTreeSet<&str> = nodes.iter().map(|(node, _)| node.as_str()).collect();
        for other in lease::names(&self.data)? {
            if other != node && !known.contains(other.as_str()) && seen.others.dead(&self.data, &other, lease) {
                left.unclean = true;
                seen.others.bury(&self.data, &other);
            }
        }
        if been_away {
            // A claim whose answer was lost is ours, and nobody is at it.
            let _nobody = serving.flight.write().unwrap_or_else(PoisonError::into_inner);
            match self.line.ask(async |conn| claims_of(conn, node).await) {
                Ok(all) => {
                    let lost = all.into_iter().filter(|(claim, _)| Self::note_mine(serving, claim));
                    left.taken.extend(lost);
                    seen.outages = outages;
                }
                Err(e) => {
                    log::warn!("{e}; looked again");
                    left.foreign = true;
                }
            }
        }
        Ok(left)
    }

    fn rest(&self, node: &str) -> Result<Rest, NodeError> {
        self.line.ask(async |conn| {
            let left = "SELECT EXISTS (SELECT 1 FROM jos_jobs WHERE state = 'waiting'), \
                        EXISTS (SELECT 1 FROM jos_jobs WHERE state = 'claimed' AND node <> $1)";
            let row = sqlx::query(left).bind(node).fetch_one(conn).await?;
            Ok(match (row.try_get(0)?, row.try_get(1)?) {
                (true, _) => Rest::Waits,
                (_, true) => Rest::Elsewhere,
                _ => Rest::Nothing,
            })
        })
    }

    fn is_settled(&self, data: &DataDir) -> Result<bool, NodeError> {
        let alive = crate::lease::alive(data)?;
        let alive: Vec<String> = alive.into_keys().collect();
        let mut here = crate::lease::names(data)?;
        here.retain(|node| !alive.contains(node));
        self.line.ask(async |conn| {
            let unsettled = "SELECT EXISTS (SELECT 1 FROM jos_jobs WHERE state = 'claimed' \
                             AND ((node = ANY($1) AND attempt > 1) OR node = ANY($2)))";
            let row = sqlx::query(unsettled).bind(&alive).bind(&here).fetch_one(conn).await?;
            row.try_get::<bool, _>(0).map(|unsettled| !unsettled)
        })
    }

    fn trim(&self, kept: usize) -> Result<(), NodeError> {
        let kept = i64::try_from(kept).unwrap_or(i64::MAX);
        self.line.ask(async |conn| {
            for state in ["done", "failed"] {
                let old = "DELETE FROM jos_jobs WHERE state = $1 AND ended <= \
                           (SELECT ended FROM jos_jobs WHERE state = $1 ORDER BY ended DESC OFFSET $2 LIMIT 1)";
                sqlx::query(old).bind(state).bind(kept).execute(&mut *conn).await?;
            }
            // What a job took and did not give back before its end was lost.
            let taken = "DELETE FROM jos_messages m WHERE taken IS NOT NULL AND NOT EXISTS \
                         (SELECT 1 FROM jos_jobs j WHERE j.id = m.taken AND j.state IN ('waiting', 'claimed'))";
            sqlx::query(taken).execute(&mut *conn).await?;
            // Nodes that are long gone, and left no claim.
            let gone = "DELETE FROM jos_nodes n WHERE seen < now() - interval '7 days' AND NOT EXISTS \
                        (SELECT 1 FROM jos_jobs j WHERE j.node = n.node AND j.state = 'claimed')";
            sqlx::query(gone).execute(conn).await.map(|_| ())
        })
    }

    fn stop(&self) {
        self.line.stop();
    }

    fn bury(&self, node: &str) {
        let _ = self.line.ask(async |conn| {
            let gone = sqlx::query("DELETE FROM jos_nodes WHERE node = $1").bind(node);
            gone.execute(conn).await
        });
    }
}
