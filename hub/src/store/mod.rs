//! What the hub remembers, in one database. Owns every statement of SQL; decides nothing.
//!
//! Each file here is one subject, as functions over a connection, so that several of them make one transaction. The SQL is
//! what SQLite and PostgreSQL both take, with parameters bound and never written into the text.

pub mod agents;
pub mod alarms;
pub mod api_tokens;
pub mod audit;
pub mod authorities;
pub mod blobs;
mod database;
pub mod devices;
pub mod glances;
pub mod history;
mod listen;
mod many;
pub mod questions;
pub mod rollouts;
mod schema;
pub mod states;
pub mod tenants;
pub mod tokens;
pub mod trusts;
pub mod users;

use std::collections::HashSet;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;

use sqlx::any::AnyRow;
use sqlx::pool::PoolConnection;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Executor, Row, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore, SemaphorePermit};

pub use database::Database;
pub use listen::Listener;

/// A connection, or the inside of a transaction.
pub type Conn = AnyConnection;

/// Writes that happen together or not at all. Dropped without a commit it leaves nothing.
#[derive(Debug)]
pub struct Tx {
    inner: Transaction<'static, sqlx::Any>,
    /// Writers of one process take turns here: SQLite would have them ask again and again, and readers without a connection.
    _turn: OwnedMutexGuard<()>,
}

impl Tx {
    /// Makes the writes durable.
    pub async fn commit(self) -> Stored<()> {
        Ok(self.inner.commit().await?)
    }

    /// Takes the writes back.
    pub async fn rollback(self) -> Stored<()> {
        Ok(self.inner.rollback().await?)
    }
}

impl Deref for Tx {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.inner
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.inner
    }
}

/// A connection for reading that is taken when somebody first needs it.
#[derive(Debug)]
pub struct Lazily<'a> {
    store: &'a Store,
    turns: Option<&'a Semaphore>,
    conn: Option<(PoolConnection<sqlx::Any>, Option<SemaphorePermit<'a>>)>,
}

impl Lazily<'_> {
    /// The connection.
    pub async fn get(&mut self) -> Stored<&mut Conn> {
        if self.conn.is_none() {
            // Nobody closes these turns: an error could only mean that there are none to wait for.
            let turn = match self.turns {
                Some(turns) => turns.acquire().await.ok(),
                None => None,
            };
            self.conn = Some((self.store.read().await?, turn));
        }
        let (conn, _) = self.conn.as_mut().expect("it was taken just now");
        Ok(conn)
    }

    /// Gives it back before its time.
    pub fn put_back(&mut self) {
        self.conn = None;
    }
}

/// The database could not do it. What a caller did wrong is never told by this.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database said no.
    #[error("the database: {0}")]
    Database(#[source] sqlx::Error),
    /// It holds what no hub writes.
    #[error("the database holds {found} in {place}, which no hub writes")]
    Damaged {
        /// Table and column.
        place: &'static str,
        /// What is there, shortened.
        found: String,
    },
    /// A new hub was to be made in a database that has one.
    #[error("the database holds a hub already; a hub is never made over another")]
    Taken,
    /// Nothing is in it.
    #[error("the database holds no hub")]
    Empty,
    /// Written by another generation of the hub.
    #[error("the database has format {found}, this program knows {expected}")]
    Format {
        /// The number found.
        found: String,
        /// The number known.
        expected: u32,
    },
}

impl StoreError {
    /// Whether the same may be done some time later: the disk is full, another writer takes long, the database is away.
    pub fn passes(&self) -> bool {
        let Self::Database(error) = self else { return false };
        match error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
            // PostgreSQL's classes: connection, resources, the operator's hand; a lock that was not given in time, a
            // transaction that was ended because it stood still.
            sqlx::Error::Database(found) => {
                let code = found.code().unwrap_or_default();
                let text = found.message();
                ["08", "53", "57P"].iter().any(|class| code.starts_with(class))
                    || ["55P03", "25P03", "57014", "40001", "40P01"].contains(&&*code)
                    || ["disk is full", "disk I/O error", "database is locked"]
                        .iter()
                        .any(|words| text.contains(words))
            }
            other => other.to_string().contains("timed out"),
        }
    }

    /// Whether the disk below the database is full: what needs a new page fails, while what overwrites an old one may go on.
    pub fn has_no_room(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(found))
            if found.code().as_deref() == Some("53100") || found.message().contains("disk is full"))
    }

    /// Whether a text was to be looked for or kept that has a zero byte in it: PostgreSQL has none such.
    pub fn is_no_text(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(found)) if found.code().as_deref() == Some("22021"))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// What a store function comes to.
pub type Stored<T> = Result<T, StoreError>;

/// The database.
#[derive(Clone, Debug)]
pub struct Store {
    database: Database,
    pool: AnyPool,
    /// The one connection that writes: what it has read of the file stays true, as nobody else changes it.
    writer: AnyPool,
    turns: Arc<Mutex<()>>,
}

impl Store {
    /// Makes the tables in a database that is empty: a file that only its owner can read, or one of PostgreSQL.
    pub async fn create(database: &Database) -> Stored<Self> {
        let store = Self::connect(database).await?;
        let mut tx = store.write().await?;
        if is_taken(&mut tx, database).await? {
            return Err(StoreError::Taken);
        }
        for statement in schema::statements(database) {
            (&mut *tx).execute(fixed(statement)).await?;
        }
        set_meta(&mut tx, "format", &schema::FORMAT.to_string()).await?;
        set_meta(&mut tx, "generation", "0").await?;
        tx.commit().await?;
        Ok(store)
    }

    /// Opens a database that a hub was made in.
    pub async fn open(database: &Database) -> Stored<Self> {
        let store = Self::connect(database).await?;
        let mut conn = store.read().await?;
        if !is_taken(&mut conn, database).await? {
            return Err(StoreError::Empty);
        }
        let found = format(&mut conn).await?;
        if found != schema::FORMAT {
            drop(conn);
            store.bring_up().await?;
            return Ok(store);
        }
        drop(conn);
        Ok(store)
    }

    /// Brings a database of an earlier format up to ours, whole or not at all.
    async fn bring_up(&self) -> Stored<()> {
        let mut tx = self.write().await?;
        // Another hub may have done it meanwhile.
        let found = format(&mut tx).await?;
        let steps = schema::steps(found, &self.database).filter(|_| found <= schema::FORMAT);
        let steps = steps.ok_or_else(|| StoreError::Format {
            found: found.to_string(),
            expected: schema::FORMAT,
        })?;
        for statement in steps {
            (&mut *tx).execute(fixed(statement)).await?;
        }
        set_meta(&mut tx, "format", &schema::FORMAT.to_string()).await?;
        tx.commit().await
    }

    /// Whether a database of PostgreSQL holds no hub yet. A file is always a new one.
    pub async fn is_free(database: &Database) -> Stored<bool> {
        if !database.is_shared() {
            return Ok(true);
        }
        let store = Self::connect(database).await?;
        let taken = is_taken(&mut *store.read().await?, database).await?;
        store.close().await;
        Ok(!taken)
    }

    async fn connect(database: &Database) -> Stored<Self> {
        let (pool, writer) = database.connect().await?;
        Ok(Self {
            database: database.clone(),
            pool,
            writer,
            turns: Arc::default(),
        })
    }

    /// Which database it is.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// A connection for reading.
    pub async fn read(&self) -> Stored<PoolConnection<sqlx::Any>> {
        Ok(self.pool.acquire().await?)
    }

    /// A connection for reading, taken where it is needed.
    pub fn lazily(&self) -> Lazily<'_> {
        Lazily {
            store: self,
            turns: None,
            conn: None,
        }
    }

    /// The same for one of many that come at once: only so many as `turns` has of them hold a connection.
    pub fn in_turn<'a>(&'a self, turns: &'a Semaphore) -> Lazily<'a> {
        Lazily {
            turns: Some(turns),
            ..self.lazily()
        }
    }

    /// Begins to write. The writer's lock is taken at once, so that what is read inside stays true until the commit.
    pub async fn write(&self) -> Stored<Tx> {
        let turn = self.turns.clone().lock_owned().await;
        Ok(Tx {
            inner: self.writer.begin_with(fixed(self.database.begin())).await?,
            _turn: turn,
        })
    }

    /// Writes a copy of the whole SQLite database, as it is at one moment, to `path`, while others go on reading and writing.
    pub async fn copy_to(&self, path: &Path) -> Stored<()> {
        let mut conn = self.read().await?;
        sqlx::query("VACUUM INTO $1")
            .bind(path.display().to_string())
            .execute(&mut *conn)
            .await?;
        Ok(())
    }

    /// What SQLite finds wrong with its file; nothing where it is sound. PostgreSQL looks after its own.
    pub async fn integrity(&self) -> Stored<Vec<String>> {
        if self.database.is_shared() {
            return Ok(Vec::new());
        }
        let mut conn = self.read().await?;
        let rows = sqlx::query("PRAGMA integrity_check").fetch_all(&mut *conn).await?;
        let lines: Result<Vec<String>, _> = rows.iter().map(|row| row.try_get(0)).collect();
        Ok(lines?.into_iter().filter(|line| line != "ok").collect())
    }

    /// The database's own time, in seconds since 1970, where several hubs share it.
    pub async fn time(&self) -> Stored<Option<i64>> {
        if !self.database.is_shared() {
            return Ok(None);
        }
        let mut conn = self.read().await?;
        let row = sqlx::query("SELECT CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp())) AS BIGINT) AS time");
        Ok(Some(row.fetch_one(&mut *conn).await?.try_get("time")?))
    }

    /// Ends all connections, once what runs is done.
    pub async fn close(&self) {
        self.writer.close().await;
        self.pool.close().await;
    }
}

async fn format(conn: &mut Conn) -> Stored<u32> {
    let found = meta(conn, "format").await?.unwrap_or_else(|| "none".to_owned());
    found.parse().map_err(|_| StoreError::Format {
        found,
        expected: schema::FORMAT,
    })
}

async fn is_taken(conn: &mut Conn, database: &Database) -> Stored<bool> {
    let sql = match database {
        Database::File(_) => "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'meta'",
        Database::Postgres(_) => "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'meta'",
    };
    Ok(sqlx::query(sql).fetch_optional(conn).await?.is_some())
}

/// A setting, if it is there.
pub async fn meta(conn: &mut Conn, key: &str) -> Stored<Option<String>> {
    let row = sqlx::query("SELECT value FROM meta WHERE key = $1").bind(key.to_owned());
    Ok(row.fetch_optional(conn).await?.map(|row| row.try_get(0)).transpose()?)
}

/// Sets it.
pub async fn set_meta(conn: &mut Conn, key: &str, value: &str) -> Stored<()> {
    sqlx::query("INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value")
        .bind(key.to_owned())
        .bind(value.to_owned())
        .execute(conn)
        .await?;
    Ok(())
}

/// Counts what may change an offer. Whoever waits for one looks again when it has moved.
pub async fn generation(conn: &mut Conn) -> Stored<u64> {
    parsed_generation(meta(conn, "generation").await?.unwrap_or_default())
}

fn parsed_generation(text: String) -> Stored<u64> {
    text.parse().map_err(|_| StoreError::Damaged {
        place: "meta.generation",
        found: text,
    })
}

/// Something changed that may change an offer.
pub async fn bump(conn: &mut Conn) -> Stored<()> {
    let next = generation(conn).await? + 1;
    set_meta(conn, "generation", &next.to_string()).await
}

/// Devices that are named to other hubs, at most; where there are more, all look.
const MOST_CONCERNED: usize = 1000;

/// The same where it may change the offers of these devices alone; gives the generation.
pub async fn bump_for(conn: &mut Conn, devices: &HashSet<String>) -> Stored<u64> {
    let next = generation(conn).await? + 1;
    if devices.len() <= MOST_CONCERNED {
        set_meta(conn, "concerned", &to_json(&(next, devices))).await?;
    }
    set_meta(conn, "generation", &next.to_string()).await?;
    Ok(next)
}

/// The last generation that concerned some devices alone, and which.
pub async fn concerned(conn: &mut Conn) -> Stored<Option<(u64, HashSet<String>)>> {
    let text = meta(conn, "concerned").await?;
    // Whatever else it holds, all look.
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// A column that holds JSON.
fn json<T: serde::de::DeserializeOwned>(row: &AnyRow, column: &str, place: &'static str) -> Stored<T> {
    let text: String = row.try_get(column)?;
    serde_json::from_str(&text).map_err(|_| StoreError::Damaged {
        place,
        found: text.chars().take(80).collect(),
    })
}

fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("plain data")
}

/// A column that counts.
fn count(row: &AnyRow, column: &str) -> Stored<u64> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Text that this program put together from constants.
fn fixed(text: String) -> AssertSqlSafe<String> {
    AssertSqlSafe(text)
}

#[cfg(test)]
mod tests;
