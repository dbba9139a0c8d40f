//! The tables, made and brought up to date by whoever comes first, under an advisory lock.

use sqlx::{Connection, Executor, PgConnection, Row};

/// Rises when the tables change. A program opens its own version and brings older ones up to it; a newer one it refuses.
pub(super) const VERSION: i32 = 1;
/// The name of the advisory lock, "jos queu" in ASCII. Advisory locks are a database's own.
const LOCK: i64 = 0x6a6f_7320_7175_6575;

/// What brings the tables from each version to the next, beginning with an empty database.
const STEPS: [&[&str]; 1] = [&[
    "CREATE TABLE jos_queue (version INTEGER NOT NULL)",
    "INSERT INTO jos_queue (version) VALUES (0)",
    // In the order of `seq` jobs are begun; in the order of `ended` they ended. A ticket is one submission or one claim: whoever
    // lost the answer asks by it whether it was done.
    "CREATE TABLE jos_jobs (\
        id TEXT COLLATE \"C\" PRIMARY KEY, seq BIGINT GENERATED ALWAYS AS IDENTITY, document TEXT NOT NULL, \
        state TEXT COLLATE \"C\" NOT NULL CHECK (state IN ('waiting', 'claimed', 'done', 'failed')), \
        node TEXT COLLATE \"C\", attempt INTEGER NOT NULL DEFAULT 0, ticket TEXT COLLATE \"C\" NOT NULL, \
        progress TEXT, result TEXT, reason TEXT, ended BIGINT, submitted_at TIMESTAMPTZ NOT NULL DEFAULT now(), \
        ended_at TIMESTAMPTZ)",
    "CREATE INDEX jos_jobs_waiting ON jos_jobs (seq) WHERE state = 'waiting'",
    "CREATE INDEX jos_jobs_claimed ON jos_jobs (node) WHERE state = 'claimed'",
    "CREATE INDEX jos_jobs_ended ON jos_jobs (state, ended) WHERE ended IS NOT NULL",
    "CREATE SEQUENCE jos_ends",
    "CREATE TABLE jos_nodes (node TEXT COLLATE \"C\" PRIMARY KEY, beat BIGINT NOT NULL, seen TIMESTAMPTZ NOT NULL DEFAULT now())",
    "CREATE TABLE jos_messages (\
        seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, queue TEXT COLLATE \"C\" NOT NULL, \
        ticket TEXT COLLATE \"C\" NOT NULL UNIQUE, body TEXT NOT NULL, taken TEXT COLLATE \"C\")",
    "CREATE INDEX jos_messages_waiting ON jos_messages (queue, seq) WHERE taken IS NULL",
    "CREATE INDEX jos_messages_taken ON jos_messages (taken, queue, seq) WHERE taken IS NOT NULL",
    "CREATE TABLE jos_schedules (name TEXT COLLATE \"C\" PRIMARY KEY, last BIGINT NOT NULL, fired BIGINT NOT NULL)",
]];

/// The version of the tables after this: ours, or a newer one.
pub(super) async fn ready(conn: &mut PgConnection) -> Result<i32, sqlx::Error> {
    // A role that may not make tables gets along with those that are there.
    if let Some(version) = version(conn).await?.filter(|version| *version >= VERSION) {
        return Ok(version);
    }
    let mut tx = conn.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *tx)
        .await?;
    // Another one may have made them while this one waited.
    let there = version(&mut tx).await?.unwrap_or(0);
    if there >= VERSION {
        return Ok(there);
    }
    let done = usize::try_from(there).unwrap_or(0);
    for statement in STEPS.iter().skip(done).flat_map(|step| step.iter()) {
        tx.execute(*statement).await?;
    }
    sqlx::query("UPDATE jos_queue SET version = $1")
        .bind(VERSION)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(VERSION)
}

async fn version(conn: &mut PgConnection) -> Result<Option<i32>, sqlx::Error> {
    // to_regclass would answer what this session remembers, which may be older than the lock.
    let there =
        "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class WHERE relname = 'jos_queue' AND pg_table_is_visible(oid))";
    let row = conn.fetch_one(there).await?;
    if !row.try_get::<bool, _>(0)? {
        return Ok(None);
    }
    let row = conn.fetch_optional("SELECT version FROM jos_queue").await?;
    row.map(|row| row.try_get(0)).transpose()
}
