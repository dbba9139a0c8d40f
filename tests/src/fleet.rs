//! A hub and a device as real processes in one folder: what the tests of the loop between them stand on.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::command::{Ran, run};
use crate::programs::{jos, jos_hub};
use crate::wait::until;

/// How long a step of the loop may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// A process that ends with its holder.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Its id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// SIGKILL: nothing is told of the end.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A hub with its folder and the admin's keys beside it.
#[derive(Debug)]
pub struct Hub {
    dir: tempfile::TempDir,
    process: Option<Process>,
    listen: String,
    admin: String,
}

impl Hub {
    /// One that listens for devices on `host`, by any free port.
    ///
    /// # Panics
    /// If anything does not work.
    pub fn on(host: &str) -> Self {
        Self::known_as(host, host)
    }

    /// The same for devices that reach it as `name`: from an emulated machine's own network.
    ///
    /// # Panics
    /// If anything does not work.
    pub fn known_as(host: &str, name: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("jos-fleet-")
            .tempdir()
            .expect("a folder");
        // A port that was free a moment ago: tokens name it, so it must stay the same when the hub comes back.
        let port = std::net::TcpListener::bind((host, 0))
            .expect("a port")
            .local_addr()
            .expect("an address")
            .port();
        let mut hub = Self {
            dir,
            process: None,
            listen: format!("{host}:{port}"),
            admin: String::new(),
        };
        hub.hub(&["init", "--address", &format!("https://{name}:{port}")]).ok();
        hub.serve();
        hub.jos(&["key", "new", "--out", "root.key"]).ok();
        hub.jos(&[
            "trust",
            "init",
            "--key",
            "root.key",
            "--tenant",
            "default",
            "--out",
            "trust.json",
        ])
        .ok();
        hub.jos(&[
            "trust",
            "add",
            "trust.json",
            "--role",
            "freshness=hub/freshness.key.pub",
            "--key",
            "root.key",
        ])
        .ok();
        hub.remote(&["trust", "push", "trust.json", "trust.v2.json"]).ok();
        hub
    }

    /// A path in its folder.
    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// Starts to serve, on the addresses of before.
    ///
    /// # Panics
    /// If it does not.
    pub fn serve(&mut self) {
        let mut command = jos_hub();
        command.current_dir(self.dir.path());
        command.args([
            "serve",
            "--json",
            "--log",
            "warn",
            "--data",
            "hub",
            "--listen",
            &self.listen,
        ]);
        command.args(["--admin-listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the hub starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        self.process = Some(Process(child));
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let addresses: Value = serde_json::from_str(&line).expect("the hub says where it listens");
        addresses["admins"]
            .as_str()
            .expect("an address")
            .clone_into(&mut self.admin);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// The hub's command line on its own folder.
    pub fn hub(&self, words: &[&str]) -> Ran {
        run(jos_hub()
            .current_dir(self.dir.path())
            .args(words)
            .args(["--data", "hub"]))
    }

    /// The hub's command line over the network.
    pub fn remote(&self, words: &[&str]) -> Ran {
        let url = format!("https://{}", self.admin);
        let token = ["--url", &url, "--token-file", "hub/admin.token"];
        run(jos_hub().current_dir(self.dir.path()).args(words).args(token))
    }

    /// The admin's own `jos`, in the folder.
    pub fn jos(&self, words: &[&str]) -> Ran {
        run(jos().current_dir(self.dir.path()).args(words))
    }

    /// A new token.
    pub fn token(&self) -> String {
        self.remote(&["token", "new"]).ok().text().to_owned()
    }

    /// Signs a state of `kiosk` for the whole tenant and pushes it.
    pub fn push(&self, version: u64, spec: &Value) {
        self.push_with(version, spec, &[]);
    }

    /// The same with more words for `push`.
    ///
    /// # Panics
    /// If it is not taken.
    pub fn push_with(&self, version: u64, spec: &Value, more: &[&str]) {
        let state = json!({
            "kind": "jos.agent.desired_state",
            "meta": {
                "name": "kiosk", "version": version, "expires": "2030-01-01T00:00:00Z",
                "audience": { "tenant": "default" }
            },
            "spec": spec,
        });
        let file = format!("state-{version}.json");
        fs::write(self.path(&file), state.to_string()).expect("a file");
        self.jos(&["sign", "--key", "root.key", &file]).ok();
        self.remote(&[&["push", &file], more].concat()).ok();
    }

    /// The one device, as the hub sees it.
    pub fn device(&self) -> Value {
        let all = self.remote(&["device", "list", "--json"]).ok().json();
        let id = all[0]["id"].as_str().expect("a device").to_owned();
        self.remote(&["device", "show", &id, "--json"]).ok().json()
    }

    /// Waits until the hub has a report of `version` with `outcome`, and gives the device.
    pub fn until_reported(&self, version: u64, outcome: &str) -> Value {
        until(&format!("version {version} is reported as {outcome}"), SOON, || {
            let device = self.device();
            let reports = device["reports"].as_array().cloned().unwrap_or_default();
            let is = |r: &Value| r["version"] == version && r["outcome"] == outcome;
            if reports.iter().any(is) {
                Ok(device)
            } else {
                Err(device.to_string())
            }
        })
    }
}

/// A device: a scratch folder with the settings of one agent, and its process.
#[derive(Debug)]
pub struct Device {
    dir: tempfile::TempDir,
    process: Option<Process>,
    /// What the command line begins with: another network namespace.
    around: Vec<String>,
}

impl Device {
    /// One that grants its hub `files` below its `www` folder, and these commands.
    ///
    /// # Panics
    /// If anything does not work.
    pub fn new(commands: &[&str], more: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("jos-device-")
            .tempdir()
            .expect("a folder");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).expect("a mode");
        let path = |below: &str| dir.path().join(below);
        fs::create_dir(path("www")).expect("a folder");
        let commands = serde_json::to_string(commands).expect("texts");
        let policy = format!(
            "kind = \"jos.policy\"\n[grants.hub]\nfiles = [\"{}/**\"]\nshell = {commands}\n",
            path("www").display()
        );
        fs::write(path("policy.toml"), policy).expect("a file");
        let config = format!(
            "name = \"kiosk\"\npolicy = {:?}\ntrust = {:?}\nstate_dir = {:?}\ninterval = 1\n{more}",
            path("policy.toml"),
            path("none.json"),
            path("state")
        );
        fs::write(path("agent.toml"), config).expect("a file");
        Self {
            dir,
            process: None,
            around: Vec::new(),
        }
    }

    /// The same inside of this network namespace.
    #[must_use]
    pub fn in_namespace(mut self, name: &str) -> Self {
        self.around = ["ip", "netns", "exec", name].map(str::to_owned).to_vec();
        self
    }

    /// A path in its folder.
    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = match self.around.split_first() {
            None => jos(),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(crate::programs::jos_path());
                command
            }
        };
        command.current_dir(self.dir.path()).args(words);
        command
    }

    /// Its `jos`.
    pub fn jos(&self, words: &[&str]) -> Ran {
        run(&mut self.command(words))
    }

    /// Starts the agent.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(&mut self) {
        let log = fs::File::options()
            .append(true)
            .create(true)
            .open(self.path("log"))
            .expect("a log");
        let mut command = self.command(&["agent", "run", "--config", "agent.toml"]);
        let child = command
            .env("JOS_LOG", "debug")
            .stderr(log)
            .spawn()
            .expect("the agent starts");
        self.process = Some(Process(child));
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// What it says of itself.
    pub fn live(&self) -> Value {
        let text = fs::read_to_string(self.path("state/kiosk/run/status.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Enrols it with a token of `hub`.
    pub fn enrol(&self, hub: &Hub) -> Ran {
        fs::write(self.path("given"), hub.token()).expect("a file");
        fs::set_permissions(self.path("given"), fs::Permissions::from_mode(0o600)).expect("a mode");
        self.jos(&["agent", "enrol", "--config", "agent.toml", "--token-file", "given"])
    }

    /// Waits until `so`, and gives what it says of itself then.
    pub fn until(&self, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        until(what, SOON, || {
            let live = self.live();
            if so(&live) {
                Ok(live)
            } else {
                Err(format!("{live:#}\n{}", self.log()))
            }
        })
    }

    /// One file step for its `www` folder.
    pub fn file(&self, name: &str, content: &str) -> Value {
        let path = self.path("www").join(name);
        json!({ "type": "file", "path": path, "content": content, "owner": owner(&self.path("www")) })
    }

    /// What stands in a file of its `www` folder.
    pub fn content(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path("www").join(name)).ok()
    }
}

/// `UID:GID` of a path.
fn owner(path: &Path) -> String {
    let meta = fs::metadata(path).expect("it is there");
    format!("{}:{}", meta.uid(), meta.gid())
}
