//! A real PostgreSQL for tests: a cluster in a folder of its own, reached by a socket there and by no port.
//!
//! `JOS_TEST_DATABASE=postgres` lets the tests of the hub stand on it instead of on SQLite, and `JOS_TEST_QUEUE=postgres` those of
//! a node's queue instead of on a directory. With `JOS_TEST_POSTGRES`, the
//! folder of a cluster that runs already, each test makes a database there, which takes less time than a cluster.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::disk::Disk;

/// Who PostgreSQL runs as: it refuses root.
const NOBODY: u32 = 65534;
/// A cluster that takes longer to come up does not.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the tests of the hub are to stand on PostgreSQL.
pub fn is_wanted() -> bool {
    says("JOS_TEST_DATABASE", "sqlite")
}

/// Whether the tests of a node are to have its queue in PostgreSQL.
pub fn is_queue_wanted() -> bool {
    says("JOS_TEST_QUEUE", "directory")
}

fn says(variable: &str, usual: &str) -> bool {
    match std::env::var(variable).as_deref() {
        Err(_) | Ok("") => false,
        Ok("postgres") => true,
        Ok(other) if other == usual => false,
        Ok(other) => panic!("{variable}: found {other:?}, expected {usual:?} or \"postgres\""),
    }
}

/// One database, empty at first; gone with its holder.
#[derive(Debug)]
pub struct Database {
    name: String,
    sockets: PathBuf,
    own: Option<Cluster>,
}

impl Database {
    /// A new one, in the cluster that runs already or in one of its own.
    ///
    /// # Panics
    /// If PostgreSQL is not there or does not come up.
    pub fn fresh() -> Self {
        match std::env::var_os("JOS_TEST_POSTGRES").map(PathBuf::from) {
            Some(folder) => Self::within(folder, None),
            None => Self::alone(),
        }
    }

    /// One in a cluster of its own.
    ///
    /// # Panics
    /// If PostgreSQL is not there or does not come up.
    pub fn alone() -> Self {
        let cluster = Cluster::start();
        Self::within(cluster.folder().to_owned(), Some(cluster))
    }

    /// One in a cluster whose data lies on a disk of its own of so many MiB, which can be filled.
    ///
    /// # Panics
    /// If PostgreSQL is not there or does not come up, or the disk is not mounted: only root can.
    pub fn on_a_small_disk(size: u32) -> Self {
        let cluster = Cluster::made(&|_| Vec::new(), Some(size));
        Self::within(cluster.folder().to_owned(), Some(cluster))
    }

    fn within(sockets: PathBuf, own: Option<Cluster>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("jos_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let database = Self { name, sockets, own };
        database.query("postgres", &format!("CREATE DATABASE {}", database.name));
        database
    }

    /// As a hub is told of it.
    pub fn url(&self) -> String {
        format!("postgres://hub@localhost/{}?host={}", self.name, self.sockets.display())
    }

    /// The cluster, where it is this database's own.
    pub fn cluster(&mut self) -> Option<&mut Cluster> {
        self.own.as_mut()
    }

    /// The rows that a statement gives: of one column, or of several with `|` between them.
    ///
    /// # Panics
    /// If the database refuses it.
    pub fn rows(&self, sql: &str) -> Vec<String> {
        self.query(&self.name, sql).lines().map(str::to_owned).collect()
    }

    /// Whether a statement is done.
    ///
    /// # Panics
    /// If psql does not run.
    pub fn tries(&self, sql: &str) -> bool {
        let ran = self.psql(&self.name, sql).output().expect("psql runs");
        ran.status.success()
    }

    fn query(&self, database: &str, sql: &str) -> String {
        let ran = self.psql(database, sql).output().expect("psql runs");
        assert!(ran.status.success(), "{sql}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    fn psql(&self, database: &str, sql: &str) -> Command {
        let mut psql = program("psql");
        psql.args(["-X", "-q", "-A", "-t", "-U", "hub", "-d", database, "-c", sql, "-h"])
            .arg(&self.sockets);
        psql
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.own.is_none() && !std::thread::panicking() {
            self.query("postgres", &format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}

/// A running cluster. Its processes and files are gone with its holder.
#[derive(Debug)]
pub struct Cluster {
    /// Under its data, where they lie on a disk of their own. Goes before the folder.
    disk: Option<Disk>,
    dir: TempDir,
    /// What its server is told besides.
    more: Vec<String>,
    process: Child,
}

impl Cluster {
    /// Makes one and starts it.
    ///
    /// # Panics
    /// If PostgreSQL is not there or does not come up.
    pub fn start() -> Self {
        Self::made(&|_| Vec::new(), None)
    }

    /// One that is reached by `localhost` and the port that is given back as well, over TLS with this certificate and key
    /// (PEM), and by nothing else.
    ///
    /// # Panics
    /// If PostgreSQL is not there or does not come up.
    pub fn over_tls(certificate: &str, key: &str) -> (Self, u16) {
        let probe = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = probe.local_addr().expect("an address").port();
        drop(probe);
        let prepare = |folder: &Path| {
            let write = |name: &str, text: &str| {
                let path = folder.join(name);
                std::fs::write(&path, text).expect("a file");
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
                if is_root() {
                    std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).expect("it is ours");
                }
                path.display().to_string()
            };
            let hba = "local all all trust\nhostssl all all 127.0.0.1/32 trust\n";
            let settings = [
                ("listen_addresses", "127.0.0.1".to_owned()),
                ("port", port.to_string()),
                ("ssl", "on".to_owned()),
                ("ssl_cert_file", write("server.pem", certificate)),
                ("ssl_key_file", write("server.key", key)),
                ("hba_file", write("hba.conf", hba)),
            ];
            settings
                .into_iter()
                .flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")])
                .collect()
        };
        (Self::made(&prepare, None), port)
    }

    fn made(prepare: &dyn Fn(&Path) -> Vec<String>, disk: Option<u32>) -> Self {
        // The path of a socket has about 100 bytes.
        let dir = tempfile::Builder::new().prefix("jos-pg-").tempdir().expect("a folder");
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("a mode");
        if is_root() {
            std::os::unix::fs::chown(dir.path(), Some(NOBODY), Some(NOBODY)).expect("it is ours");
        }
        let disk = disk.map(|size| Disk::mount(&dir.path().join("data"), size));
        if disk.is_some() {
            std::os::unix::fs::chown(dir.path().join("data"), Some(NOBODY), Some(NOBODY)).expect("only root mounts");
        }
        let made =
            as_nobody(program("initdb").args(["-U", "hub", "-A", "trust", "-E", "UTF8", "--no-locale", "-N", "-D"]))
                .arg(dir.path().join("data"))
                .current_dir(dir.path())
                .output()
                .expect("initdb runs");
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let more = prepare(dir.path());
        let process = Self::spawn(dir.path(), &more);
        let mut cluster = Self {
            disk,
            dir,
            more,
            process,
        };
        cluster.until_ready();
        cluster
    }

    /// Ends it at once, as a crash does, and starts it again.
    ///
    /// # Panics
    /// If it does not come up again.
    pub fn crash(&mut self) {
        self.end();
        self.process = Self::spawn(self.dir.path(), &self.more);
        self.until_ready();
    }

    /// Fills the disk under its data to the last byte.
    ///
    /// # Panics
    /// If it has none of its own.
    pub fn fill(&self) {
        self.disk.as_ref().expect("a disk of its own").fill();
    }

    /// Gives the room back.
    ///
    /// # Panics
    /// If it was not filled.
    pub fn empty(&self) {
        self.disk.as_ref().expect("a disk of its own").empty();
    }

    /// Waits until its server has ended by itself.
    ///
    /// # Panics
    /// If it does not.
    pub fn until_ended(&mut self) {
        let begin = Instant::now();
        while self.process.try_wait().expect("it is ours").is_none() {
            assert!(begin.elapsed() < PATIENCE, "PostgreSQL goes on: {}", self.log());
            std::thread::yield_now();
        }
    }

    fn folder(&self) -> &Path {
        self.dir.path()
    }

    fn spawn(folder: &Path, more: &[String]) -> Child {
        let log = std::fs::File::options()
            .append(true)
            .create(true)
            .open(folder.join("log"))
            .expect("a log");
        // A test ends processes, never the power: what the kernel has it keeps.
        let mut command = program("postgres");
        command.args([
            "-c",
            "listen_addresses=",
            "-c",
            "fsync=off",
            "-c",
            "max_connections=200",
            "-k",
        ]);
        as_nobody(command.arg(folder).args(more).arg("-D").arg(folder.join("data")))
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("postgres starts")
    }

    fn until_ready(&mut self) {
        let begin = Instant::now();
        loop {
            let mut probe = program("pg_isready");
            probe.arg("-q").arg("-h").arg(self.dir.path());
            if let Some(port) = self.more.iter().find_map(|text| text.strip_prefix("port=")) {
                probe.args(["-p", port]);
            }
            if probe.status().expect("pg_isready runs").success() {
                return;
            }
            let over = self.process.try_wait().expect("it is ours").is_some();
            assert!(
                !over && begin.elapsed() < PATIENCE,
                "PostgreSQL does not come up: {}",
                self.log()
            );
        }
    }

    fn log(&self) -> String {
        let mut text = String::new();
        let read = std::fs::File::open(self.dir.path().join("log")).and_then(|mut log| log.read_to_string(&mut text));
        read.map_or_else(|error| error.to_string(), |_| text)
    }

    fn end(&mut self) {
        // SIGQUIT: its children end with it, and nothing is tidied up.
        let pid = i32::try_from(self.process.id()).expect("a pid");
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGQUIT);
        let _ = self.process.wait();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end();
    }
}

fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

fn as_nobody(command: &mut Command) -> &mut Command {
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// A program of PostgreSQL: Debian keeps most of them outside of PATH.
fn program(name: &str) -> Command {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions
        .map(|version| version.path().join("bin").join(name))
        .filter(|path| path.is_file())
        .max();
    let mut command = Command::new(found.unwrap_or_else(|| PathBuf::from(name)));
    command
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}
