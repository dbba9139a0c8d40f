//! A home with agents of its own under the generic init, and what its tests say to them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// A home of its own; whatever still runs when a test ends is ended.
pub(crate) struct Home {
    dir: tempfile::TempDir,
}

impl Drop for Home {
    fn drop(&mut self) {
        for lock in ["supervisor.lock", "lock"] {
            for name in fs::read_dir(self.path("state")).into_iter().flatten().flatten() {
                let held = fs::read_to_string(name.path().join("run").join(lock)).unwrap_or_default();
                let ours = |pid: &i32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|c| c.starts_with(b"/"));
                if let Some(pid) = held.trim().parse::<i32>().ok().filter(ours) {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
        }
    }
}

impl Home {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("jos-agent-").tempdir().unwrap();
        // The network half runs as another user and reaches its folder by a descriptor, not by this path.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn jos(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jos"));
        command
            .args(arguments)
            .env("HOME", self.dir.path())
            .current_dir(self.dir.path());
        command.stdin(std::process::Stdio::null()).output().unwrap()
    }

    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.jos(arguments);
        assert!(output.status.success(), "jos {arguments:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn install(&self, artifact: &str, more: &[&str]) -> Output {
        let state = self.path("state");
        let state = state.to_str().unwrap();
        let common = [
            "agent",
            "install",
            artifact,
            "--init",
            "generic",
            "--state-dir",
            state,
            "--yes",
        ];
        self.jos(&[&common[..], more].concat())
    }

    pub(crate) fn status(&self, name: &str) -> Value {
        serde_json::from_slice(&self.jos(&["agent", "status", name, "--json"]).stdout).unwrap()
    }

    pub(crate) fn until(&self, name: &str, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let status = self.status(name);
            if so(&status) {
                return status;
            }
            if Instant::now() > deadline {
                let log = fs::read_to_string(self.path(&format!(".jos/logs/{name}.log"))).unwrap_or_default();
                panic!("not within 30 s: {what}; status {status:#}; log {log}");
            }
            let _ = nix::poll::poll(&mut [], 20u8);
        }
    }

    /// A signed state `name` of one file, and its trust root.
    pub(crate) fn state(&self, name: &str, version: u64, file: &Path, content: &str) -> String {
        if !self.path("admin.key").exists() {
            self.ok(&["key", "new", "--out", "admin.key"]);
            self.ok(&["trust", "init", "--key", "admin.key", "--out", "trust.json"]);
        }
        let state = json!({
            "kind": "jos.agent.desired_state", "meta": {"name": name, "version": version},
            "spec": {"apply": [{"type": "file", "path": file, "content": content, "owner": owner(file.parent().unwrap())}]},
        });
        let path = format!("{name}-{version}.json");
        self.write(&path, state.to_string());
        self.ok(&["sign", "--key", "admin.key", &path]);
        path
    }

    /// A state `name` that still holds the standard's placeholders, signed by a program that does not look at them.
    pub(crate) fn unfilled(&self, name: &str, version: u64) -> String {
        let state = json!({
            "kind": "jos.agent.desired_state", "meta": {"name": name, "version": version},
            "spec": {"apply": [
                {"type": "file", "path": "...", "content": "..."},
                {"type": "service", "name": "...", "action": "restart"},
                {"type": "shell", "command": "..."},
            ]},
        });
        let key = jos_trust::keyfile::read_secret(&self.path("admin.key")).unwrap();
        let node = jos_schemas::Node::from_json(&state);
        let signed = jos_trust::sign::sign_document("open", "", &node, "jos.agent.desired_state", &key).unwrap();
        let path = format!("{name}-{version}-open.json");
        self.write(&path, jos_trust::sign::to_json_text(&signed));
        path
    }
}

pub(crate) fn owner(of: &Path) -> String {
    let meta = fs::metadata(of).unwrap();
    format!("{}:{}", meta.uid(), meta.gid())
}

pub(crate) fn text(output: &Output) -> String {
    format!(
        "{} {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

pub(crate) fn artifact(id: &str, definitions: Value, steps: &[&str]) -> String {
    json!({
        "id_jos": id, "orchestration_contract": {"version": "1.0.0"},
        "orchestration": {"definitions": definitions, "flows": {"main": {"steps": steps}}},
    })
    .to_string()
}

pub(crate) fn shell(command: impl Into<String>) -> Value {
    json!({ "type": "shell", "command": command.into() })
}

pub(crate) fn send(status: &Value, key: &str, signal: Signal) {
    kill(
        Pid::from_raw(i32::try_from(status[key].as_i64().unwrap()).unwrap()),
        signal,
    )
    .unwrap();
}

pub(crate) fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}
