//! The node of the runtime that this daemon runs: a child of its own, watched, and the stream by which it proposes.
//!
//! The child is this very program as `jos serve --joined`. It gets one end of a pair of streams as its standard input, so who
//! proposes is known by construction and nothing listens. It is started again with growing pauses, told to end with the
//! daemon, and ends by itself when the daemon does.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jos_runtime::Proposed;
use jos_schemas::documents::declared::{self, RuntimeConfig};
use jos_schemas::documents::runtime::Change;
use jos_schemas::read::{self, Format};
use jos_schemas::text::Name;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User, chown};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::half::program;

/// Milliseconds of the first pause; each is twice the one before.
const FIRST: u64 = 1_000;
/// The longest.
const LONGEST: u64 = 60_000;
/// One that lived so long begins anew with the first pause.
const SOUND: u64 = 60_000;
/// Milliseconds to end by itself when it is told to.
const GRACE: u16 = 600;
/// How long it may take to hear what is declared: longer than a machine at its limit takes to start a program.
const HEARS: Duration = Duration::from_secs(10);
/// Bytes of one question: a payload's limit and what stands around it.
const LIMIT: usize = 1 << 21;

/// How the node stands, for the status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Its data directory.
    pub(crate) data_dir: String,
    /// Its process; none while it pauses.
    pub(crate) pid: Option<u32>,
    /// How often it was started.
    pub(crate) starts: u64,
    /// Changes that its agents proposed.
    pub(crate) proposed: u64,
    /// What went wrong last, where something did.
    pub(crate) trouble: Option<String>,
}

/// The node, running or not.
pub(super) struct Node {
    /// Whose plane it proposes to.
    name: Name,
    config: RuntimeConfig,
    environment: Vec<(String, String)>,
    running: Option<Running>,
    pause: u64,
    again: u64,
    pub(super) told: Told,
}

struct Running {
    child: Child,
    wire: UnixStream,
    said: Vec<u8>,
    since: u64,
}

/// As the node asks.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    node: String,
    proposed: AskedFor,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedFor {
    agent: Name,
    job: String,
    decision: String,
    change: Change,
}

impl Node {
    pub(super) fn new(name: Name, config: RuntimeConfig, environment: Vec<(String, String)>) -> Self {
        let told = Told {
            data_dir: config.data_dir.as_str().to_owned(),
            ..Told::default()
        };
        Self {
            name,
            config,
            environment,
            running: None,
            pause: FIRST,
            again: 0,
            told,
        }
    }

    /// Whether it was made of these settings.
    pub(super) fn is_of(&self, config: &RuntimeConfig, environment: &[(String, String)]) -> bool {
        self.config == *config && self.environment == environment
    }

    /// Starts it where it is due; gives when to look again, in milliseconds of the daemon's clock.
    pub(super) fn turn(&mut self, now: u64) -> u64 {
        if self.running.is_some() {
            return u64::MAX;
        }
        if now < self.again {
            return self.again;
        }
        self.told.starts += 1;
        match self.start(now) {
            Ok(running) => {
                log::info!(
                    "the node on {} starts, process {}",
                    self.told.data_dir,
                    running.child.id()
                );
                self.told.pid = Some(running.child.id());
                self.running = Some(running);
                u64::MAX
            }
            Err(why) => {
                self.ended(now, &why);
                self.again
            }
        }
    }

    fn start(&self, now: u64) -> Result<Running, String> {
        let failed = |what: &str, e: io::Error| format!("{what}: {e}");
        let root = Uid::effective().is_root();
        let user = match self.config.user.as_deref().filter(|_| root) {
            None => None,
            Some(name) => match User::from_name(name) {
                Ok(Some(user)) => Some(user),
                _ => return Err(format!("runtime.user: no user is called {name:?}")),
            },
        };
        make(Path::new(self.config.data_dir.as_str()), user.as_ref())?;
        let (mut ours, theirs) = UnixStream::pair().map_err(|e| failed("a stream", e))?;
        let mut command = Command::new(program()?);
        command
            .arg0("jos")
            .args([
                "serve",
                "--joined",
                "--declared",
                "--data-dir",
                self.config.data_dir.as_str(),
            ])
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| is_for_node(&name.to_string_lossy())))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit());
        if let Some(workers) = self.config.workers {
            command.arg("--workers").arg(workers.to_string());
        }
        if let Some(user) = user {
            // std drops the supplementary groups as well when root changes the user.
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let child = command.spawn().map_err(|e| failed("cannot start the node", e))?;
        // The child's end is the child's alone: one that ends is heard of.
        drop(command);
        let told = declare(&mut ours, &self.config).and_then(|()| ours.set_nonblocking(true));
        let running = Running {
            child,
            wire: ours,
            said: Vec::new(),
            since: now,
        };
        match told {
            Ok(()) => Ok(running),
            Err(e) => {
                running.stop();
                Err(failed("it does not take what agent.toml declares", e))
            }
        }
    }

    fn ended(&mut self, now: u64, why: &str) {
        if let Some(running) = self.running.take() {
            if now.saturating_sub(running.since) >= SOUND {
                self.pause = FIRST;
            }
            running.stop();
        }
        log::warn!("the node: {why}; started again in {} s", self.pause / 1000);
        self.told.pid = None;
        self.told.trouble = Some(why.to_owned());
        self.again = now.saturating_add(self.pause);
        self.pause = (self.pause * 2).min(LONGEST);
    }

    /// The next change that it proposes, if it said one. What is no question ends it.
    pub(super) fn hear(&mut self, now: u64) -> Option<Proposed> {
        loop {
            let heard = self
                .running
                .as_mut()?
                .line()
                .and_then(|line| line.map(|l| asked(&l)).transpose());
            let asked = match heard {
                Ok(asked) => asked?,
                Err(why) => {
                    self.ended(now, &why);
                    return None;
                }
            };
            self.told.proposed += 1;
            let Change { name, steps } = asked.proposed.change;
            if name == self.name {
                return Some(Proposed {
                    agent: asked.proposed.agent,
                    node: asked.node,
                    job: asked.proposed.job,
                    decision: asked.proposed.decision,
                    steps,
                });
            }
            let why = format!("the plane of this device is {}, not {name}", self.name);
            self.answer(now, &json!({ "outcome": "refused", "reasons": [why] }));
        }
    }

    /// Tells it what came of its change.
    pub(super) fn answer(&mut self, now: u64, answer: &Value) {
        let Some(running) = &mut self.running else { return };
        let mut line = answer.to_string().into_bytes();
        line.push(b'\n');
        if let Err(e) = running.wire.write_all(&line) {
            self.ended(now, &format!("it does not hear: {e}"));
        }
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref().map(|running| running.wire.as_fd())
    }
}

impl Running {
    /// The next line that it said, as far as there is one.
    fn line(&mut self) -> Result<Option<Vec<u8>>, String> {
        let mut bytes = [0; 8192];
        loop {
            if let Some(end) = self.said.iter().position(|b| *b == b'\n') {
                let rest = self.said.split_off(end + 1);
                return Ok(Some(std::mem::replace(&mut self.said, rest)));
            }
            if self.said.len() > LIMIT {
                return Err(format!("it asks with more than {LIMIT} bytes"));
            }
            match self.wire.read(&mut bytes) {
                Ok(0) => return Err("it ended".into()),
                Ok(count) => self.said.extend_from_slice(&bytes[..count]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.to_string()),
            }
        }
    }

    /// Tells it to end, waits a moment, and ends it.
    fn stop(mut self) {
        let pid = i32::try_from(self.child.id()).map(Pid::from_raw);
        if matches!(self.child.try_wait(), Ok(None))
            && let Ok(pid) = pid
        {
            let _ = kill(pid, Signal::SIGTERM);
            // Its end of the stream goes with it.
            let mut gone = [PollFd::new(self.wire.as_fd(), PollFlags::empty())];
            let _ = poll(&mut gone, PollTimeout::from(GRACE));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}

fn asked(line: &[u8]) -> Result<Asked, String> {
    let read = read::document::<Asked>("a proposal", line, Format::Json);
    read.map(|parsed| parsed.value)
        .map_err(|e| format!("it says what is no proposal: {}", e.to_string().trim_end()))
}

/// The first line that it is told: what `[runtime]` declares. It writes that itself, with no rights but its own: whoever
/// owns the data directory cannot have root write elsewhere.
fn declare(wire: &mut UnixStream, config: &RuntimeConfig) -> io::Result<()> {
    let declared = json!({
        "agents": config.agents.iter().map(|(name, table)| (name, declared::agent(name, table))).collect::<BTreeMap<_, _>>(),
        "schedules": config.schedules.iter().map(declared::schedule).collect::<Vec<_>>(),
        "model": config.chosen(),
    });
    let mut line = json!({ "declared": declared }).to_string().into_bytes();
    line.push(b'\n');
    wire.set_write_timeout(Some(HEARS))?;
    wire.write_all(&line)
}

/// What of the daemon's own environment the node is given: how it logs, and which model it asks.
fn is_for_node(name: &str) -> bool {
    name == "PATH" || name.starts_with("JOS_") && name != "JOS_SUPERVISED"
}

/// The data directory, closed to others, the node's own. A state may have put agents there before the node first began. What
/// is made on the way to it is open to pass through: the node may be another user's, now or later.
fn make(dir: &Path, user: Option<&User>) -> Result<(), String> {
    let failed = |e: io::Error| format!("{}: {e}", dir.display());
    if dir.join("state").is_dir() {
        return Ok(());
    }
    let folder = |mode| {
        let mut folder = std::fs::DirBuilder::new();
        folder.recursive(true).mode(mode);
        folder
    };
    let above = dir.parent().map_or(Ok(()), |above| folder(0o755).create(above));
    above.and_then(|()| folder(0o700).create(dir)).map_err(failed)?;
    std::fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(failed)?;
    match user {
        Some(user) => chown(dir, Some(user.uid), Some(user.gid)).map_err(|e| failed(e.into())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proposal_is_read_strictly() {
        let good =
            r#"{"node":"k","proposed":{"agent":"a","job":"j","decision":"d","change":{"name":"box","steps":[]}}}"#;
        assert_eq!(asked(good.as_bytes()).unwrap().proposed.agent.as_str(), "a");
        for wrong in [
            good.replace("\"node\":\"k\"", "\"node\":\"k\",\"source\":\"hub\""),
            good.replace("\"a\"", "\"Not A Name\""),
            good.replace("\"steps\":[]", "\"steps\":[{\"type\":\"reboot\"}]"),
            "{".to_owned(),
        ] {
            assert!(asked(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_node_is_given_no_more_of_the_environment_than_it_needs() {
        for (name, given) in [
            ("PATH", true),
            ("JOS_LLM", true),
            ("JOS_SUPERVISED", false),
            ("HOME", false),
            ("NOTIFY_SOCKET", false),
        ] {
            assert_eq!(is_for_node(name), given, "{name}");
        }
    }
}
