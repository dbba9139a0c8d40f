//! What the hub remembers, in one database. Owns every statement of SQL; decides nothing.
//!
//! Each file here is one subject, as functions over a connection, so that several of them make one transaction. The SQL is
//! what SQLite and PostgreSQL both take, with parameters bound and never written into the text.

pub mod agents;
pub mod alarms;
pub mod audit;
pub mod blobs;
pub mod devices;
pub mod glances;
pub mod history;
pub mod rollouts;
mod schema;
pub mod states;
pub mod tenants;
pub mod tokens;
pub mod trusts;
pub mod users;

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Executor, Row, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};

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
    /// Written by another generation of the hub.
    #[error("the database has format {found}, this program knows {expected}")]
    Format {
        /// The number found.
        found: String,
        /// The number known.
        expected: u32,
    },
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
    pool: AnyPool,
    turns: Arc<Mutex<()>>,
}

impl Store {
    /// Makes the database at `path`, which is an empty file that only its owner can read.
    pub async fn create(path: &Path) -> Stored<Self> {
        let store = Self::connect(path).await?;
        let mut tx = store.write().await?;
        for statement in schema::STATEMENTS {
            (&mut *tx).execute(*statement).await?;
        }
        set_meta(&mut tx, "format", &schema::FORMAT.to_string()).await?;
        set_meta(&mut tx, "generation", "0").await?;
        tx.commit().await?;
        Ok(store)
    }

    /// Opens the database at `path`.
    pub async fn open(path: &Path) -> Stored<Self> {
        let store = Self::connect(path).await?;
        let mut conn = store.read().await?;
        let found = meta(&mut conn, "format").await?.unwrap_or_else(|| "none".to_owned());
        if found != schema::FORMAT.to_string() {
            return Err(StoreError::Format {
                found,
                expected: schema::FORMAT,
            });
        }
        drop(conn);
        Ok(store)
    }

    async fn connect(path: &Path) -> Stored<Self> {
        sqlx::any::install_default_drivers();
        let url = format!("sqlite://{}?mode=rw", in_url(path));
        let pool = AnyPoolOptions::new()
            .max_connections(8)
            .acquire_timeout(Duration::from_secs(20))
            // A device's request that ends early drops its query; the connection is good all the same.
            .test_before_acquire(false)
            .after_connect(|conn, _| {
                Box::pin(async move {
                    // FULL: what was acknowledged outlives a power cut. WAL: readers never wait for the writer.
                    conn.execute(
                        "PRAGMA busy_timeout = 15000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                         PRAGMA foreign_keys = ON;",
                    )
                    .await?;
                    Ok(())
                })
            })
            .connect(&url)
            .await?;
        Ok(Self {
            pool,
            turns: Arc::default(),
        })
    }

    /// A connection for reading.
    pub async fn read(&self) -> Stored<sqlx::pool::PoolConnection<sqlx::Any>> {
        Ok(self.pool.acquire().await?)
    }

    /// Begins to write. The writer's lock is taken at once, so that what is read inside stays true until the commit.
    pub async fn write(&self) -> Stored<Tx> {
        let turn = self.turns.clone().lock_owned().await;
        Ok(Tx {
            inner: self.pool.begin_with("BEGIN IMMEDIATE").await?,
            _turn: turn,
        })
    }

    /// Writes a copy of the whole database, as it is at one moment, to `path`, while others go on reading and writing.
    pub async fn copy_to(&self, path: &Path) -> Stored<()> {
        let mut conn = self.read().await?;
        sqlx::query("VACUUM INTO $1")
            .bind(path.display().to_string())
            .execute(&mut *conn)
            .await?;
        Ok(())
    }

    /// What the database finds wrong with itself; nothing where it is sound.
    pub async fn integrity(&self) -> Stored<Vec<String>> {
        let mut conn = self.read().await?;
        let rows = sqlx::query("PRAGMA integrity_check").fetch_all(&mut *conn).await?;
        let lines: Result<Vec<String>, _> = rows.iter().map(|row| row.try_get(0)).collect();
        Ok(lines?.into_iter().filter(|line| line != "ok").collect())
    }

    /// Ends all connections, once what runs is done.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// A path as a URL holds it, whatever characters are in it.
fn in_url(path: &Path) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~".contains(&b);
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes
        .iter()
        .map(|b| {
            if plain(*b) {
                char::from(*b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

/// A setting, if it is there.
pub async fn meta(conn: &mut Conn, key: &str) -> Stored<Option<String>> {
    let row = sqlx::query("SELECT value FROM meta WHERE key = $1").bind(key.to_owned());
    Ok(row.fetch_optional(conn).await?.map(|row| row.try_get(0)).transpose()?)
}

async fn set_meta(conn: &mut Conn, key: &str, value: &str) -> Stored<()> {
    sqlx::query("INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value")
        .bind(key.to_owned())
        .bind(value.to_owned())
        .execute(conn)
        .await?;
    Ok(())
}

/// Counts what may change an offer. Whoever waits for one looks again when it has moved.
pub async fn generation(conn: &mut Conn) -> Stored<u64> {
    let text = meta(conn, "generation").await?.unwrap_or_default();
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
