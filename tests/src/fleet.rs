//! A hub and a device as real processes in one folder: what the tests of the loop between them stand on.

mod ask;
mod battery;
mod clock;
mod disk;
mod emulated;
mod net;
mod one;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::{Value, json};

use crate::command::{Ran, run};
use crate::disk::Disk;
use crate::postgres::Database;
use crate::programs::{jos, jos_hub};
use crate::wait::until;

pub use net::Net;
use one::One;

/// How long a step of the loop may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// A process that ends with its holder.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Takes charge of it.
    pub fn of(child: Child) -> Self {
        Self(child)
    }

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

/// A hub with its folder and the admin's keys beside it. On PostgreSQL, where that is wanted, it is two on one database:
/// devices come to the second one first, and the admin to the first.
#[derive(Debug)]
pub struct Hub {
    hubs: Vec<One>,
    /// Under the hub's folder, where that lies on a disk of its own. Goes after the processes, and before the folder.
    disk: Option<Disk>,
    dir: tempfile::TempDir,
    /// Last: it goes when nobody stands on it any more.
    database: Option<Database>,
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
        Self::made(host, name, None)
    }

    fn made(host: &str, name: &str, disk: Option<u32>) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("jos-fleet-")
            .tempdir()
            .expect("a folder");
        // Ports that were free a moment ago: tokens name them, so they must stay the same when a hub comes back.
        let free = || {
            let probe = std::net::TcpListener::bind((host, 0)).expect("a port");
            let address = probe.local_addr().expect("an address");
            (probe, format!("{host}:{}", address.port()))
        };
        let database = crate::postgres::is_wanted().then(Database::fresh);
        let folders: &[&'static str] = if database.is_some() { &["hub", "hub2"] } else { &["hub"] };
        let probes: Vec<_> = folders.iter().map(|_| free()).collect();
        let one = |(data, (_, listen)): (&&'static str, &(_, String))| One {
            data,
            process: None,
            listen: listen.clone(),
            admin: String::new(),
        };
        let hubs = folders.iter().zip(&probes).map(one).collect();
        drop(probes);
        let disk = disk.map(|size| Disk::mount(&dir.path().join("hub"), size));
        let mut hub = Self {
            hubs,
            disk,
            dir,
            database,
        };
        let mut init = jos_hub();
        init.current_dir(hub.dir.path()).args(["init", "--data", "hub"]);
        for one in hub.hubs.iter().rev() {
            let port = one.listen.rsplit(':').next().unwrap_or_default();
            init.args(["--address", &format!("https://{name}:{port}")]);
        }
        if let Some(database) = &hub.database {
            init.env("JOS_HUB_DATABASE_URL", database.url());
        }
        run(&mut init).ok();
        if hub.hubs.len() > 1 {
            // What every hub of a database has; each makes its own certificate.
            run(Command::new("cp")
                .current_dir(hub.dir.path())
                .args(["-a", "hub", "hub2"]))
            .ok();
            for own in ["hub2/server.key", "hub2/server.pem"] {
                fs::remove_file(hub.path(own)).expect("it was copied");
            }
        }
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

    /// Starts to serve, on the addresses of before: all its processes that do not run.
    ///
    /// # Panics
    /// If it does not.
    pub fn serve(&mut self) {
        for one in self.hubs.iter_mut().filter(|one| one.process.is_none()) {
            one.serve(self.dir.path(), None);
        }
    }

    /// The same by a clock that is so far off, as faketime writes it: `+20d`.
    ///
    /// # Panics
    /// If it does not, or libfaketime is not there.
    pub fn serve_at(&mut self, clock: &str) {
        for one in self.hubs.iter_mut().filter(|one| one.process.is_none()) {
            one.serve(self.dir.path(), Some(clock));
        }
    }

    /// `HOST:PORT` where devices come to first.
    pub fn address(&self) -> &str {
        self.hubs.last().map_or("", |one| &one.listen)
    }

    /// SIGKILL, for all of it.
    pub fn kill(&mut self) {
        for one in &mut self.hubs {
            one.process = None;
        }
    }

    /// SIGKILL for the process that devices come to first; the other one goes on. Gives whether there is another one.
    pub fn kill_one(&mut self) -> bool {
        let several = self.hubs.len() > 1;
        if let Some(one) = self.hubs.last_mut().filter(|_| several) {
            one.process = None;
        }
        several
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
        let url = format!("https://{}", self.hubs[0].admin);
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

    /// The same for one device.
    pub fn push_to(&self, device: &str, version: u64, spec: &Value) {
        self.push_for(&json!({ "devices": [device] }), version, spec, &[]);
    }

    /// The same where it may be refused: the hub's disk may be full.
    pub fn try_push_to(&self, device: &str, version: u64, spec: &Value) -> Ran {
        let file = self.sign(&Self::state(&json!({ "devices": [device] }), version, spec));
        self.remote(&["push", &file])
    }

    /// The same with more words for `push`.
    ///
    /// # Panics
    /// If it is not taken.
    pub fn push_with(&self, version: u64, spec: &Value, more: &[&str]) {
        self.push_for(&json!({ "tenant": "default" }), version, spec, more);
    }

    fn push_for(&self, audience: &Value, version: u64, spec: &Value, more: &[&str]) {
        self.push_state(&Self::state(audience, version, spec), more);
    }

    fn state(audience: &Value, version: u64, spec: &Value) -> Value {
        json!({
            "kind": "jos.agent.desired_state",
            "meta": {
                "name": "kiosk", "version": version, "expires": "2030-01-01T00:00:00Z",
                "audience": audience
            },
            "spec": spec,
        })
    }

    fn sign(&self, state: &Value) -> String {
        let file = format!("state-{}.json", state["meta"]["version"]);
        fs::write(self.path(&file), state.to_string()).expect("a file");
        self.jos(&["sign", "--key", "root.key", &file]).ok();
        file
    }

    /// Signs this state and pushes it.
    ///
    /// # Panics
    /// If it is not taken.
    pub fn push_state(&self, state: &Value, more: &[&str]) {
        let file = self.sign(state);
        self.remote(&[&["push", file.as_str()], more].concat()).ok();
    }

    /// The one device, as the hub sees it.
    pub fn device(&self) -> Value {
        let all = self.remote(&["device", "list", "--json"]).ok().json();
        self.show(all[0]["id"].as_str().expect("a device"))
    }

    /// One device, as the hub sees it.
    pub fn show(&self, id: &str) -> Value {
        self.remote(&["device", "show", id, "--json"]).ok().json()
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
    /// What the command line begins with: another network namespace, another processor.
    around: Vec<String>,
    /// Its program, where that is not this machine's.
    program: Option<PathBuf>,
    /// Its agent has a clock that can be set.
    clock: bool,
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
            program: None,
            clock: false,
        }
    }

    /// The same inside of this network namespace.
    #[must_use]
    pub fn in_namespace(mut self, name: &str) -> Self {
        self.around = ["ip", "netns", "exec", name].map(str::to_owned).to_vec();
        self
    }

    /// The same with a `program` for another processor, which `emulator` of qemu-user is as `cpu`.
    ///
    /// # Panics
    /// If the program cannot be read.
    #[must_use]
    pub fn emulated(mut self, emulator: &str, cpu: &str, program: &Path) -> Self {
        self.around = emulated::around(emulator, cpu, program);
        self.program = Some(program.to_owned());
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
                let program = self.program.as_deref();
                command
                    .args(rest)
                    .arg(program.unwrap_or_else(|| crate::programs::jos_path()));
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
        self.add_clock(&mut command);
        let child = command
            .env("JOS_LOG", "debug")
            .stderr(log)
            .spawn()
            .expect("the agent starts");
        self.process = Some(Process(child));
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            let id = process.id();
            drop(process);
            self.sweep(id);
        }
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
