//! A node of the runtime as a person has it: a data directory of its own and the built program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::command::{Ran, run};
use crate::postgres::{Database, is_queue_wanted};
use crate::programs::jos;
use crate::wait;

/// What takes longer than this is stuck.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A data directory; the nodes that were started on it are killed with it.
pub struct Node {
    dir: tempfile::TempDir,
    /// Apart, so that a node whose disk is full can still be heard.
    said: tempfile::TempDir,
    /// Where its queue is, if that is no directory.
    database: Option<Arc<Mutex<Database>>>,
}

/// `jos serve`, running.
pub struct Serving {
    child: Child,
}

impl Node {
    /// A fresh one.
    pub fn new() -> Self {
        Self::of(tempfile::tempdir())
    }

    /// One on another file system.
    pub fn within(folder: &Path) -> Self {
        Self::of(tempfile::tempdir_in(folder))
    }

    /// One with its queue in a database, whatever the other tests' are.
    pub fn on(database: &Arc<Mutex<Database>>) -> Self {
        Self::made(tempfile::tempdir(), Some(Arc::clone(database)))
    }

    fn of(dir: std::io::Result<tempfile::TempDir>) -> Self {
        let database = is_queue_wanted().then(|| Arc::new(Mutex::new(Database::fresh())));
        Self::made(dir, database)
    }

    fn made(dir: std::io::Result<tempfile::TempDir>, database: Option<Arc<Mutex<Database>>>) -> Self {
        let node = Self {
            dir: dir.expect("a folder of its own"),
            said: tempfile::tempdir().expect("a folder of its own"),
            database,
        };
        node.jos(&["runtime", "init"]).ok();
        node
    }

    /// What the database of its queue says, if it has one.
    fn rows(&self, sql: &str) -> Option<Vec<String>> {
        let database = self.database.as_ref()?;
        Some(database.lock().expect("a database").rows(sql))
    }

    /// The data directory.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A path in it.
    pub fn path(&self, below: &str) -> PathBuf {
        self.root().join(below)
    }

    /// A command that knows the directory.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = jos();
        command
            .args(words)
            .env("JOS_DATA_DIR", self.root())
            .current_dir(self.dir.path());
        if let Some(database) = &self.database {
            command.env("JOS_QUEUE_URL", database.lock().expect("a database").url());
        }
        command
    }

    /// Runs one.
    pub fn jos(&self, words: &[&str]) -> Ran {
        run(&mut self.command(words))
    }

    /// Starts a node and waits until it serves.
    pub fn serve(&self, words: &[&str]) -> Serving {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.said.path().join("log"))
            .expect("a log");
        let mut command = self.command(&["serve"]);
        command
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let serving = Serving {
            child: command.spawn().expect("jos starts"),
        };
        let pid = serving.child.id();
        wait::until("the node serves", LIMIT, || {
            let nodes = self.jos(&["status", "--json"]).json()["nodes"].clone();
            let here = nodes
                .as_object()
                .is_some_and(|all| all.values().any(|node| node["pid"] == pid));
            if here && self.path("status.json").exists() {
                Ok(())
            } else {
                Err(format!("{nodes}\n{}", self.log()))
            }
        });
        serving
    }

    /// What the nodes said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.said.path().join("log")).unwrap_or_default()
    }

    /// Puts a file into the inbox as others do: a new name, then a rename.
    pub fn drop_in(&self, name: &str, text: &str) {
        let temp = self.path("inbox/.new");
        fs::write(&temp, text).expect("the inbox can be written");
        fs::rename(&temp, self.path("inbox").join(name)).expect("the inbox can be written");
    }

    /// A claim of a node that is dead, and what it leaves of itself in the directory.
    pub fn left_behind(&self, id: &str, dead: &str) {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a Linux");
        let lease = serde_json::json!({ "pid": 1, "boot": boot.trim(), "beat": 3 });
        fs::write(self.path(&format!("state/nodes/{dead}.json")), lease.to_string()).expect("a file");
        let document = r#"{"agent":"advance"}"#;
        let row = format!(
            "INSERT INTO jos_jobs (id, document, ticket, state, node, attempt) \
             VALUES ('{id}', '{document}', 't', 'claimed', '{dead}', 1)"
        );
        if self.rows(&row).is_none() {
            let temp = self.path("claimed/.new");
            fs::write(&temp, document).expect("a file");
            fs::rename(&temp, self.path(&format!("claimed/{id}@{dead}.1.json"))).expect("a file");
        }
    }

    /// The names of jobs as the folders of a directory have them, wherever the queue is.
    fn standing(&self, folder: &str) -> Vec<String> {
        let sql = match folder {
            "inbox" => "SELECT id || '.json' FROM jos_jobs WHERE state = 'waiting'",
            "claimed" => "SELECT id || '@' || node || '.' || attempt || '.json' FROM jos_jobs WHERE state = 'claimed'",
            "processed" | "outbox" => "SELECT id || '.json' FROM jos_jobs WHERE state = 'done'",
            "failed" => {
                "SELECT id || '.json' FROM jos_jobs WHERE state = 'failed' \
                 UNION ALL SELECT id || '.json.reason' FROM jos_jobs WHERE state = 'failed'"
            }
            _ => return Vec::new(),
        };
        let there = self.rows("SELECT to_regclass('jos_jobs') IS NOT NULL");
        match there.as_deref() {
            Some([there]) if there == "t" => self.rows(sql).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// The text of a file below the data directory, or what stands for it in the queue.
    pub fn text(&self, below: &str) -> Option<String> {
        let of_queue = |sql: String| self.rows(&sql).and_then(|rows| rows.first().cloned());
        let file = fs::read_to_string(self.path(below)).ok();
        file.or_else(|| match below.split_once('/')? {
            ("outbox", name) => {
                let id = name.strip_suffix(".json")?;
                of_queue(format!(
                    "SELECT result FROM jos_jobs WHERE id = '{id}' AND state = 'done'"
                ))
            }
            ("failed", name) => {
                let id = name.strip_suffix(".json.reason")?;
                of_queue(format!(
                    "SELECT reason FROM jos_jobs WHERE id = '{id}' AND state = 'failed'"
                ))
            }
            _ => None,
        })
    }

    /// The names in a folder that are whole; of jobs, wherever the queue is.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).expect("a folder of the node");
        let names = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.extend(self.standing(folder));
        names.sort();
        names
    }

    /// Waits for a file below the data directory, and gives its text.
    #[track_caller]
    pub fn comes(&self, below: &str) -> String {
        wait::until(below, LIMIT, || {
            self.text(below)
                .ok_or_else(|| format!("it is not there\n{}", self.log()))
        })
    }

    /// Waits until so many jobs are over.
    #[track_caller]
    pub fn over(&self, jobs: usize) {
        wait::until(&format!("{jobs} jobs are over"), LIMIT, || {
            let failed = self
                .names("failed")
                .iter()
                .filter(|name| name.ends_with(".json"))
                .count();
            let over = self.names("processed").len() + failed;
            if over >= jobs {
                Ok(())
            } else {
                Err(format!("{over}\n{}", self.log()))
            }
        });
    }

    /// A replay, whatever it comes to.
    pub fn replay(&self) -> (Option<i32>, Value) {
        let ran = self.jos(&["replay", "--json"]);
        let value = serde_json::from_str(&ran.stdout).unwrap_or(Value::String(ran.to_string()));
        (ran.code, value)
    }

    /// A replay that must find nothing wrong.
    #[track_caller]
    pub fn replays(&self) -> Value {
        let (code, report) = self.replay();
        assert!(code == Some(0) && report["ok"] == true, "{report:#}\n{}", self.log());
        report
    }
}

impl Default for Node {
    fn default() -> Self {
        Self::new()
    }
}

impl Serving {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: Signal) {
        let _ = kill(
            Pid::from_raw(i32::try_from(self.child.id()).expect("a process id fits")),
            signal,
        );
    }

    /// SIGKILL, as a power cut.
    pub fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
    }

    /// SIGTERM; how it ended, and how long that took.
    pub fn stop(mut self) -> (Option<i32>, Duration) {
        let begin = std::time::Instant::now();
        self.signal(Signal::SIGTERM);
        let code = self.child.wait().ok().and_then(|status| status.code());
        (code, begin.elapsed())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// The CPU time that a process has used, in ticks of 1/100 s.
pub fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).expect("the process runs");
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = after.split_whitespace().collect();
    [11, 12]
        .iter()
        .filter_map(|at| fields.get(*at)?.parse::<u64>().ok())
        .sum()
}
