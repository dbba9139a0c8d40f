//! Messages between agents, in the database: each queue's in the order in which they were sent, each taken by one job.

use std::sync::Arc;

use sqlx::{Connection, Row};

use super::line::Line;
use crate::contract::AgentError;
use crate::error::NodeError;
use crate::queue::Messages;

pub(super) struct Shared(pub(super) Arc<Line>);

impl Shared {
    /// Whether something was done is not known when the node is told to end while the database is away, so nothing may be
    /// recorded: the process is ending, and the job is taken up again.
    fn answered<T>(&self, queue: &str, answer: Result<T, NodeError>) -> Result<T, AgentError> {
        match answer {
            Err(e) if self.0.is_away(&e) => loop {
                std::thread::park();
            },
            Err(e) => Err(AgentError::Failed(format!("queue {queue}: {e}"))),
            Ok(answer) => Ok(answer),
        }
    }
}

impl Messages for Shared {
    fn send(&self, queue: &str, message: &[u8], most: usize) -> Result<Result<(), usize>, AgentError> {
        let (ticket, body) = (self.0.ticket(), String::from_utf8_lossy(message));
        let answer = self.0.ask_patiently(async |conn| {
            let mut tx = conn.begin().await?;
            // One sender at a time: numbers are in the order of commits, and the count holds.
            sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('jos queue ' || $1, 0))")
                .bind(queue)
                .execute(&mut *tx)
                .await?;
            let count = "SELECT count(*) FROM (SELECT 1 FROM jos_messages WHERE queue = $1 AND taken IS NULL AND ticket <> $2 LIMIT $3) AS waiting";
            let waiting: i64 = sqlx::query(count)
                .bind(queue)
                .bind(&ticket)
                .bind(i64::try_from(most).unwrap_or(i64::MAX))
                .fetch_one(&mut *tx)
                .await?
                .try_get(0)?;
            let waiting = usize::try_from(waiting).unwrap_or(0);
            if waiting >= most {
                return Ok(Err(waiting));
            }
            sqlx::query("INSERT INTO jos_messages (queue, ticket, body) VALUES ($1, $2, $3) ON CONFLICT (ticket) DO NOTHING")
                .bind(queue)
                .bind(&ticket)
                .bind(&*body)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(Ok(()))
        });
        self.answered(queue, answer)
    }

    fn receive(&self, queue: &str, job: &str, given: usize) -> Result<Option<Vec<u8>>, AgentError> {
        let given = i64::try_from(given).unwrap_or(i64::MAX);
        let answer = self.0.ask_patiently(async |conn| {
            let before = "SELECT body FROM jos_messages WHERE queue = $1 AND taken = $2 ORDER BY seq OFFSET $3 LIMIT 1";
            let before = sqlx::query(before).bind(queue).bind(job).bind(given);
            let row = match before.fetch_optional(&mut *conn).await? {
                Some(row) => Some(row),
                None => {
                    let oldest = "UPDATE jos_messages SET taken = $2 WHERE seq = (SELECT seq FROM jos_messages \
                                  WHERE queue = $1 AND taken IS NULL ORDER BY seq LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING body";
                    sqlx::query(oldest).bind(queue).bind(job).fetch_optional(&mut *conn).await?
                }
            };
            row.map(|row| row.try_get::<String, _>(0)).transpose()
        });
        Ok(self.answered(queue, answer)?.map(String::into_bytes))
    }

    fn settle(&self, queue: &str, job: &str) -> Result<(), AgentError> {
        let answer = self.0.ask_patiently(async |conn| {
            let drop = sqlx::query("DELETE FROM jos_messages WHERE queue = $1 AND taken = $2");
            drop.bind(queue).bind(job).execute(conn).await.map(|_| ())
        });
        self.answered(queue, answer)
    }
}
