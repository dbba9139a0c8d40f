//! The node's end of the stream to the plane of the device whose daemon runs it: one line of JSON each way for each change.
//!
//! Nothing listens: the stream was there before this process was. A daemon that ends ends the node with it; what was asked
//! then is asked again by the next one, and the plane knows it by its id.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};

use jos_node::contract::{AgentError, Device, Proposed};
use jos_node::declared::Declared;
use jos_runtime::public_ledger_key;
use jos_schemas::own;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use serde_json::{Value, json};

/// The stream, for one question at a time: the plane does one change after the other anyway.
pub(super) struct Joined {
    wire: Mutex<Wire>,
    /// The data directory's `state/`, whose key says which node this is.
    state: std::path::PathBuf,
}

/// The first line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    declared: Declared,
}

struct Wire {
    stream: UnixStream,
    replies: Receiver<String>,
}

impl Joined {
    /// Over standard input; the end of the stream ends this process.
    pub(super) fn start(data: &Path) -> Result<Self, String> {
        #[cfg(target_os = "linux")]
        {
            // Nobody's child goes on alone, and nothing that it starts gains rights.
            let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGTERM);
            nix::sys::prctl::set_no_new_privs().map_err(|e| format!("no_new_privs: {e}"))?;
        }
        let failed = |e: io::Error| format!("the stream to the plane: {e}");
        let own = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
        let stream = UnixStream::from(own);
        stream.peer_addr().map_err(|e| {
            format!(
                "standard input is no stream to a plane ({e}); a daemon with [runtime] in its agent.toml starts this"
            )
        })?;
        let lines = BufReader::new(stream.try_clone().map_err(failed)?).lines();
        let (say, replies) = channel();
        let listen = move || {
            for line in lines.map_while(Result::ok) {
                if say.send(line).is_err() {
                    return;
                }
            }
            log::warn!("the device's daemon is gone; the node ends with it");
            let _ = kill(Pid::this(), Signal::SIGTERM);
        };
        let thread = std::thread::Builder::new().name("plane".into());
        thread.spawn(listen).map_err(failed)?;
        Ok(Self {
            wire: Mutex::new(Wire { stream, replies }),
            state: data.join("state"),
        })
    }

    /// What the daemon's `agent.toml` declares for this node: the first line on the stream.
    pub(super) fn declared(&self) -> Result<Declared, String> {
        let wire = self.wire.lock().unwrap_or_else(PoisonError::into_inner);
        let line = wire
            .replies
            .recv()
            .map_err(|_| "the device's daemon ended".to_owned())?;
        let first: First = own::read(line.as_bytes()).map_err(|e| format!("what the daemon declares: {e}"))?;
        Ok(first.declared)
    }

    fn ask(&self, proposed: &Proposed<'_>) -> Result<String, String> {
        let key = public_ledger_key(&self.state).map_err(|e| e.to_string())?;
        let node = key
            .map(|(id, _)| id.to_string())
            .ok_or("the data directory has no key")?;
        let mut line = serde_json::to_vec(&json!({ "node": node, "proposed": proposed })).map_err(|e| e.to_string())?;
        line.push(b'\n');
        let mut wire = self.wire.lock().unwrap_or_else(PoisonError::into_inner);
        if wire.stream.write_all(&line).is_ok()
            && let Ok(reply) = wire.replies.recv()
        {
            return Ok(reply);
        }
        // Whether it was done is not known here, so nothing may be recorded: the process is being ended.
        loop {
            std::thread::park();
        }
    }
}

impl Device for Joined {
    fn propose(&self, proposed: &Proposed<'_>) -> Result<Value, AgentError> {
        let reply = self.ask(proposed).map_err(AgentError::Failed)?;
        let reply: Value = serde_json::from_str(&reply).map_err(|e| AgentError::Failed(format!("the plane: {e}")))?;
        let outcome = reply["outcome"].as_str().unwrap_or("failed");
        if matches!(outcome, "applied" | "unchanged") {
            return Ok(reply);
        }
        let reasons = reply["reasons"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        let why = reasons.collect::<Vec<_>>().join("; ");
        Err(AgentError::Failed(format!("the plane: {outcome}: {why}")))
    }
}
