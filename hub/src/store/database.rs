//! Which database a hub stands on, and the little in which the two kinds differ: how one connects, how a writer begins, the
//! words of a few types.
//!
//! On PostgreSQL any number of hubs share one database. Their writers take turns by one advisory lock, so that what a
//! writer has read stays true until its commit, on every hub, as it is in SQLite; the audit log stays one chain and a
//! rollout halts once. Readers never wait.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::{AnyPool, Connection, Executor};
use zeroize::Zeroizing;

use super::Stored;

/// Connections of one hub, the writer's among them. PostgreSQL gives 100 to all, unless told otherwise.
const CONNECTIONS: u32 = 8;
/// Where generations are told. Written by the trigger on `meta`.
pub(super) const CHANNEL: &str = "jos_hub";
/// The name of the advisory lock that a writer holds: "jos_hub" in ASCII. Advisory locks are a database's own.
const WRITERS: i64 = 0x6a_6f73_5f68_7562;

/// A connection's own settings on PostgreSQL, whatever the server's are.
///
/// A hub that hangs, or whose machine went away, must not keep the others' writers waiting: its transaction is ended for it.
/// `off` and `local` of `synchronous_commit` would acknowledge what a power cut undoes.
const SESSION: &str = "\
SET application_name = 'jos-hub'; \
SET client_min_messages = 'warning'; \
SET idle_in_transaction_session_timeout = '10s'; \
SET lock_timeout = '15s'; \
SET statement_timeout = '60s'; \
SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; \
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// Which database.
#[derive(Clone)]
pub enum Database {
    /// SQLite, in a file that its owner alone can read.
    File(PathBuf),
    /// PostgreSQL, by a URL that may hold a password.
    Postgres(Zeroizing<String>),
}

impl Database {
    /// The database that a URL names.
    ///
    /// # Errors
    /// What was expected, where it names none that a hub can stand on.
    pub fn of_url(url: &str) -> Result<Self, String> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(Zeroizing::new(url.to_owned())));
        }
        let scheme = url.split_once("://").map_or("no scheme", |(scheme, _)| scheme);
        Err(format!(
            "the database's URL: found {scheme}, expected postgres://USER@HOST/NAME"
        ))
    }

    /// Whether several hubs may share it.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Those who read, and the one who writes, which is opened when something is first written.
    pub(super) async fn connect(&self) -> Stored<(AnyPool, AnyPool)> {
        sqlx::any::install_default_drivers();
        let (readers, writer) = (self.options(CONNECTIONS - 1), self.options(1));
        let url = match self {
            Self::File(path) => format!("sqlite://{}?mode=rw", in_url(path)),
            Self::Postgres(url) => url.to_string(),
        };
        let url = Zeroizing::new(url);
        Ok((readers.connect(&url).await?, writer.connect_lazy(&url)?))
    }

    fn options(&self, connections: u32) -> AnyPoolOptions {
        let options = AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(Duration::from_secs(20))
            // SQLite ends a transaction by itself when the disk is full; the pool still counts it, and nothing could begin on
            // that connection any more. It is closed, and another one takes its place.
            .before_acquire(|conn, _| Box::pin(async move { Ok(!conn.is_in_transaction()) }));
        let session = match self {
            // FULL: what was acknowledged outlives a power cut. WAL: readers never wait for the writer.
            Self::File(_) => {
                "PRAGMA busy_timeout = 15000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                 PRAGMA foreign_keys = ON;"
            }
            Self::Postgres(_) => SESSION,
        };
        options
            // A device's request that ends early drops its query; SQLite's connection is good all the same.
            .test_before_acquire(self.is_shared())
            .after_connect(move |conn, _| {
                Box::pin(async move {
                    conn.execute(session).await?;
                    Ok(())
                })
            })
    }

    /// What a writing transaction begins with. The lock is taken at once: statements after it see all that was committed
    /// before, which they do at this level of isolation alone.
    pub(super) fn begin(&self) -> String {
        match self {
            Self::File(_) => "BEGIN IMMEDIATE".to_owned(),
            Self::Postgres(_) => {
                format!("BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({WRITERS})")
            }
        }
    }
}

/// Without what a URL may hold of secrets.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Postgres(url) => {
                let (_, rest) = url.split_once("://").unwrap_or_default();
                let rest = rest.split('?').next().unwrap_or_default();
                let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
                write!(f, "postgres://{place}")
            }
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_named_without_its_password() {
        let database = Database::of_url("postgres://hub:s3:cr@t@db.example:5432/fleet?sslmode=verify-full&password=x");
        let database = database.expect("a URL of PostgreSQL");
        assert_eq!(database.to_string(), "postgres://db.example:5432/fleet");
        assert_eq!(format!("{database:?}"), database.to_string());
    }

    #[test]
    fn another_scheme_is_refused_without_repeating_the_url() {
        let refused = Database::of_url("mysql://hub:secret@db.example/fleet").expect_err("it is none");
        assert!(refused.contains("mysql") && !refused.contains("secret"), "{refused}");
    }
}
