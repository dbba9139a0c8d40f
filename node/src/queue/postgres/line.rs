//! The connections to the database, and patience with it: it may restart, be away for a night, or come back under load.
//!
//! What is asked must be safe to ask twice: an answer that is lost may have been a yes. While the database is away all threads
//! wait for one moment, which moves further off with each try that fails, with a part that is left to chance, so that the
//! nodes of a fleet do not come back in one wave.

use std::str::FromStr;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};
use tokio::runtime::Runtime;

use crate::error::NodeError;
use crate::join::Outside;

/// Connections of one node; threads beyond that wait for one another. PostgreSQL gives 100 to all, unless told otherwise.
const CONNECTIONS: usize = 8;
/// Connecting takes no longer, or it failed.
const PATIENCE: Duration = Duration::from_secs(3);
/// An answer takes no longer, or the connection is dead.
const ANSWER: Duration = Duration::from_secs(40);
/// The first pause, and the longest: well below a lease, so that who lives says so in time.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// A connection's own settings, whatever the server's are. A node that hangs must not hold up others; `off` and `local` of
/// `synchronous_commit` would acknowledge what a power cut undoes.
const SESSION: &str = "\
SET client_min_messages = 'warning'; \
SET idle_in_transaction_session_timeout = '10s'; \
SET lock_timeout = '15s'; \
SET statement_timeout = '30s'; \
SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; \
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// What a URL may say besides user, host and database.
const PARAMETERS: [&str; 11] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "options",
];

/// The line to one database.
pub(super) struct Line {
    options: PgConnectOptions,
    name: OnceLock<String>,
    place: String,
    outside: Outside,
    state: Mutex<State>,
    changed: Condvar,
    // Dropped last.
    runtime: Runtime,
}

#[derive(Default)]
struct State {
    idle: Vec<PgConnection>,
    /// Connections that are in use.
    out: usize,
    /// Tries in a row that failed, when the next may be made, and why the last failed.
    failures: u32,
    not_before: Option<Instant>,
    why: Option<String>,
    /// How often the database came back.
    outages: u64,
    stopped: bool,
}

impl Line {
    /// To the database of a URL. Nothing is asked yet.
    pub(super) fn of(url: &str, outside: &Outside) -> Result<Self, NodeError> {
        let options = options(url)?;
        let place = place(&options);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("queue")
            .enable_all()
            .build();
        let runtime = runtime.map_err(|e| NodeError::invalid(&place, format!("no thread for its connections: {e}")))?;
        Ok(Self {
            options,
            name: OnceLock::new(),
            place,
            outside: outside.clone(),
            state: Mutex::default(),
            changed: Condvar::new(),
            runtime,
        })
    }

    /// In words that hold no password.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn options(&self) -> PgConnectOptions {
        let options = self.options.clone();
        match self.name.get() {
            Some(name) => options.application_name(name),
            None => options,
        }
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Something that nobody else has.
    pub(super) fn ticket(&self) -> String {
        self.outside.hex(12)
    }

    /// What connections say of themselves from now on.
    pub(super) fn name(&self, name: &str) {
        let _ = self.name.set(name.to_owned());
        let before = std::mem::take(&mut self.lock().idle);
        let _inside = self.runtime.enter();
        drop(before);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks once. While the database is away the answer is no at once.
    pub(super) fn ask<T>(&self, deed: impl AsyncFn(&mut PgConnection) -> sqlx::Result<T>) -> Result<T, NodeError> {
        {
            let state = self.lock();
            if state.not_before.is_some_and(|at| at > Instant::now()) {
                return Err(self.away(state.why.as_deref().unwrap_or_default()));
            }
        }
        self.once(&deed)
    }

    /// Asks until there is an answer, or nobody waits for it any more.
    pub(super) fn ask_patiently<T>(
        &self,
        deed: impl AsyncFn(&mut PgConnection) -> sqlx::Result<T>,
    ) -> Result<T, NodeError> {
        loop {
            let mut state = self.lock();
            while let Some(left) = state.not_before.map(|at| at.saturating_duration_since(Instant::now()))
                && !left.is_zero()
                && !state.stopped
            {
                state = self
                    .changed
                    .wait_timeout(state, left)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
            if state.stopped && state.failures > 0 {
                return Err(self.away(state.why.as_deref().unwrap_or_default()));
            }
            drop(state);
            match self.once(&deed) {
                Err(NodeError::Queue { help: AWAY, .. }) => {}
                answer => return answer,
            }
        }
    }

    fn once<T>(&self, deed: &impl AsyncFn(&mut PgConnection) -> sqlx::Result<T>) -> Result<T, NodeError> {
        let idle = {
            let mut state = self.lock();
            while state.out >= CONNECTIONS {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.out += 1;
            state.idle.pop()
        };
        let asked = self.runtime.block_on(async {
            let mut conn = match idle {
                Some(conn) => conn,
                None => self.connect().await?,
            };
            let answer = match tokio::time::timeout(ANSWER, deed(&mut conn)).await {
                Ok(answer) => answer,
                Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
            };
            match answer {
                Ok(answer) => Ok((answer, conn)),
                Err(e) => {
                    // Whatever it is in the middle of.
                    let _ = tokio::time::timeout(Duration::from_millis(100), conn.close()).await;
                    Err(e)
                }
            }
        });
        let mut state = self.lock();
        state.out -= 1;
        self.changed.notify_all();
        match asked {
            Ok((answer, conn)) => {
                state.idle.push(conn);
                if state.failures > 0 {
                    log::info!("{}: the database answers again", self.place);
                    state.outages += 1;
                }
                state.failures = 0;
                (state.not_before, state.why) = (None, None);
                Ok(answer)
            }
            Err(e) if passes(&e) => {
                let why = said(&e);
                if state.failures == 0 {
                    log::warn!("{}: {why}; asked again until it answers", self.place);
                }
                // The others are as dead as this one.
                let dead = std::mem::take(&mut state.idle);
                state.failures = state.failures.saturating_add(1);
                state.not_before = Some(Instant::now() + self.pause(state.failures));
                state.why = Some(why.clone());
                drop(state);
                let _inside = self.runtime.enter();
                drop(dead);
                Err(self.away(&why))
            }
            Err(e) => Err(self.refused(&e)),
        }
    }

    /// Half of it fixed, half by chance.
    fn pause(&self, failures: u32) -> Duration {
        let most = PAUSES.1.min(PAUSES.0.saturating_mul(1 << failures.min(10)));
        let mut chance = [0];
        (self.outside.random)(&mut chance);
        most / 2 + most.mul_f64(f64::from(chance[0]) / 510.0)
    }

    async fn connect(&self) -> sqlx::Result<PgConnection> {
        let connect = async {
            let mut conn = PgConnection::connect_with(&self.options()).await?;
            conn.execute(SESSION).await?;
            Ok(conn)
        };
        match tokio::time::timeout(PATIENCE, connect).await {
            Ok(connected) => connected,
            Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
        }
    }

    /// What is waited for.
    pub(super) fn trouble(&self) -> Option<String> {
        let state = self.lock();
        let why = state.why.as_ref()?;
        Some(format!("the queue {}: {why}", self.place))
    }

    /// How often the database came back.
    pub(super) fn outages(&self) -> u64 {
        self.lock().outages
    }

    /// Nobody waits any more.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    fn away(&self, why: &str) -> NodeError {
        NodeError::Queue {
            place: self.place.clone(),
            what: why.to_owned(),
            help: AWAY,
            bad_use: false,
        }
    }

    pub(super) fn refused(&self, e: &sqlx::Error) -> NodeError {
        let code = e.as_database_error().and_then(|e| e.code()).unwrap_or_default();
        let help = match &*code {
            "28P01" | "28000" => {
                "the user and the password are those of $JOS_QUEUE_URL, of $PGPASSWORD or of ~/.pgpass"
            }
            "3D000" => "CREATE DATABASE makes it; the tables jos makes itself",
            "42501" => {
                "the role needs CREATE on its schema once, or USAGE and the rights on the jos_ tables; see docs/runtime.md"
            }
            _ => "the database's own log says more",
        };
        NodeError::Queue {
            place: self.place.clone(),
            what: said(e),
            help,
            bad_use: false,
        }
    }

    /// Whether an error is that the database is away.
    pub(super) fn is_away(&self, e: &NodeError) -> bool {
        matches!(e, NodeError::Queue { help: AWAY, .. })
    }

    /// The database has tables of a newer program.
    pub(super) fn newer(&self, found: i32, ours: i32) -> NodeError {
        NodeError::Queue {
            place: self.place.clone(),
            what: format!("found the queue's tables in version {found}, expected {ours} at most"),
            help: "a newer jos made them; every node on this database needs that version or a later one",
            bad_use: false,
        }
    }
}

/// What the help says of a database that is away: by it such an error is known.
const AWAY: &str = "is the database up, and is it the one that $JOS_QUEUE_URL names? \
nodes that run wait for it and lose nothing";

/// Whether it may go away by itself: the connection, a restart, a deadlock, too many connections.
fn passes(e: &sqlx::Error) -> bool {
    match e {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed | sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(e) => e.code().is_some_and(|code| {
            ["08", "40", "53", "57P", "58"]
                .iter()
                .any(|class| code.starts_with(class))
                || matches!(&*code, "25P03" | "55P03" | "57014")
        }),
        _ => false,
    }
}

fn said(e: &sqlx::Error) -> String {
    match e {
        sqlx::Error::Io(e) => format!("cannot be reached: {e}"),
        sqlx::Error::Tls(e) => format!("TLS: {e}"),
        sqlx::Error::Database(e) => e.message().to_owned(),
        e => e.to_string(),
    }
}

/// What a URL says. No part of it is repeated in an error: it may hold a password.
fn options(url: &str) -> Result<PgConnectOptions, NodeError> {
    let wrong = |what: &str| NodeError::Queue {
        place: "JOS_QUEUE_URL".into(),
        what: what.to_owned(),
        help: "expected postgres://USER@HOST/DATABASE, with special characters as %XX; the password may stand in ~/.pgpass",
        bad_use: true,
    };
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    match scheme {
        Some("postgres" | "postgresql") => {}
        Some(scheme) if scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+') && scheme.len() < 20 => {
            return Err(wrong(&format!("found the scheme {scheme}, expected postgres")));
        }
        _ => return Err(wrong("found no URL")),
    }
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let keys: Vec<&str> = query
        .split('&')
        .filter_map(|pair| pair.split('=').next())
        .filter(|key| !key.is_empty())
        .collect();
    if let Some(key) = keys.iter().find(|key| !PARAMETERS.contains(key)) {
        let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && key.len() < 30;
        let key = if plain { key } else { "…" };
        return Err(wrong(&format!(
            "found the parameter {key}, expected one of {}",
            PARAMETERS.join(", ")
        )));
    }
    let options = PgConnectOptions::from_str(url).map_err(|_| wrong("it cannot be read"))?;
    let options = options.disable_statement_logging().application_name("jos");
    // Across a network nobody is believed without a certificate, unless the URL says so.
    let local = options.get_socket().is_some()
        || matches!(options.get_host(), "localhost" | "127.0.0.1" | "::1" | "[::1]")
        || options.get_host().starts_with('/');
    let said = keys.contains(&"sslmode") || std::env::var_os("PGSSLMODE").is_some();
    Ok(if local || said {
        options
    } else {
        options.ssl_mode(PgSslMode::VerifyFull)
    })
}

fn place(options: &PgConnectOptions) -> String {
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => options.get_host().to_owned(),
    };
    let database = options.get_database().unwrap_or(options.get_username());
    format!("postgres://{host}:{}/{database}", options.get_port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        let error = options(url).expect_err("it is none");
        assert!(error.is_bad_use() && error.help().is_some());
        error.to_string()
    }

    #[test]
    fn a_queue_is_named_without_its_password() {
        let read = options("postgres://jos:s3:cr@t@db.example:5433/work?password=x").expect("a URL");
        assert_eq!(place(&read), "postgres://db.example:5433/work");
    }

    #[test]
    fn another_url_is_refused_without_repeating_it() {
        for url in [
            "mysql://jos:secret@db/work",
            "secret",
            "postgres://jos:secret@db:port/work",
            "postgres://jos@db/work?passwrod=secret",
        ] {
            let said = refused(url);
            assert!(!said.contains("secret"), "{said}");
        }
        assert!(refused("postgres://db/work?passwrod=secret").contains("passwrod"));
    }

    #[test]
    fn another_machine_has_to_show_a_certificate_unless_the_url_says_otherwise() {
        for (url, verified) in [
            ("postgres://jos@db.example/work", true),
            ("postgres://jos@db.example/work?sslmode=require", false),
            ("postgres://jos@localhost/work", false),
            ("postgres://jos@localhost/work?host=/run/postgresql", false),
        ] {
            let read = options(url).expect("a URL");
            assert_eq!(matches!(read.get_ssl_mode(), PgSslMode::VerifyFull), verified, "{url}");
        }
    }
}
