//! What the tests of this crate share: a machine in a temporary folder, keys from seed bytes, a world that is played.

mod documents;
mod guardian;
pub(crate) mod lossy;
mod packages;
mod slots;
mod taps;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use jos_schemas::documents::desired_state::{self, DesiredState};
use jos_schemas::documents::policy::Policy;
use jos_schemas::read;
use jos_schemas::text::{Name, Utc};
use jos_trust::root::Received;
use jos_trust::{Channel, Context, Refused, Verified, verify_state};
use serde_json::{Value, json};

use crate::disk::Tap;
use crate::outcome::Outcome;
use crate::plane::{Plane, PlaneError, Setup};
use crate::world::{
    Clock, Fetch, Hub, Invocation, Offered, Probe, Processes, Ran, Random, ServiceCommand, ServiceState, Services,
    World,
};

use documents::signed;
pub(crate) use documents::{admin_key, root, state};
pub(crate) use guardian::Guarded;
pub(crate) use slots::{FOR, Slotted};
pub(crate) use taps::{Cut, OnPath};

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A machine in a folder, with a world that is played.
pub(crate) struct Machine {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) name: Name,
    pub(crate) policy: Policy,
    pub(crate) live: bool,
    pub(crate) wait: Duration,
    pub(crate) clock: Cell<i64>,
    /// Monotonic time: pauses let it pass.
    pub(crate) passed: Cell<Duration>,
    /// How often the machine was started.
    pub(crate) boots: Cell<u32>,
    pub(crate) has_hub: Cell<bool>,
    /// Whether the hub answers, by how the machine is.
    #[allow(clippy::type_complexity)]
    pub(crate) hub: RefCell<Box<dyn Fn(&Machine) -> bool>>,
    /// How often it was asked.
    pub(crate) asked: Cell<u32>,
    pub(crate) seed: Cell<u64>,
    pub(crate) services: RefCell<BTreeMap<String, ServiceState>>,
    /// What the init system was told, in order.
    pub(crate) told: RefCell<Vec<String>>,
    /// Services that do not start.
    pub(crate) lame: RefCell<Vec<String>>,
    /// What was run, in order.
    pub(crate) ran: RefCell<Vec<String>>,
    /// The timeout that the last command was given.
    pub(crate) allowed: Cell<Option<Duration>>,
    /// Commands that fail.
    pub(crate) failing: RefCell<Vec<String>>,
    /// What a GET answers.
    pub(crate) answer: Cell<Result<u16, &'static str>>,
    /// What a URL, or the machine itself under a hash, gives.
    pub(crate) shelf: RefCell<BTreeMap<String, Vec<u8>>>,
    /// The next content that is offered breaks off before this byte.
    pub(crate) breaks_off: Cell<Option<usize>>,
    /// From which byte contents were asked for.
    pub(crate) asked_from: RefCell<Vec<u64>>,
    /// What is installed, by name; and what the repository has, with what each needs.
    pub(crate) installed: RefCell<BTreeMap<String, String>>,
    pub(crate) repository: RefCell<Vec<(&'static str, &'static str, &'static [&'static str])>>,
    /// Called with each command before it "runs".
    #[allow(clippy::type_complexity)]
    pub(crate) on_run: RefCell<Option<Box<dyn Fn(&str)>>>,
    /// Called with path and value where a kernel parameter is set.
    #[allow(clippy::type_complexity)]
    pub(crate) on_set: RefCell<Option<Box<dyn Fn(&str, &str)>>>,
    /// How an upgrade of the agent's own package goes.
    pub(crate) guardian: Guarded,
    /// Its two systems, where it has two.
    pub(crate) slots: Slotted,
}

/// Grants everything that the tests do below /srv and /etc, as data.
pub(crate) fn policy(grants: Value) -> Policy {
    read::from_json(&json!({ "kind": "jos.policy", "grants": grants })).unwrap()
}

pub(crate) fn wide() -> Value {
    json!({ "files": ["/srv/**", "/etc/**", { "path": "/etc/systemd/system/**", "code": true }],
            "services": ["cups", "web"], "users": ["kiosk", "ops"], "shell": ["do it", "undo it", "is it done", "is it well"] })
}

impl Machine {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["root/etc", "root/srv", "secrets", "data"] {
            std::fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        std::fs::set_permissions(dir.path().join("data"), std::fs::Permissions::from_mode(0o700)).unwrap();
        Self {
            dir,
            name: name("portal"),
            policy: policy(json!({ "local": wide(), "baseline": wide(), "hub": wide(), "artifact": wide() })),
            live: true,
            wait: Duration::ZERO,
            clock: Cell::new(1_800_000_000),
            passed: Cell::default(),
            boots: Cell::new(1),
            has_hub: Cell::new(false),
            hub: RefCell::new(Box::new(|_| true)),
            asked: Cell::new(0),
            seed: Cell::new(1),
            services: RefCell::default(),
            told: RefCell::default(),
            lame: RefCell::default(),
            ran: RefCell::default(),
            allowed: Cell::new(None),
            failing: RefCell::default(),
            answer: Cell::new(Ok(200)),
            shelf: RefCell::default(),
            breaks_off: Cell::default(),
            asked_from: RefCell::default(),
            installed: RefCell::default(),
            repository: RefCell::default(),
            on_run: RefCell::default(),
            on_set: RefCell::default(),
            guardian: Guarded::default(),
            slots: Slotted::default(),
        }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn write(&self, path: &str, bytes: impl AsRef<[u8]>, mode: u32) {
        let path = self.at(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.at(path)).unwrap()
    }

    pub(crate) fn secret(&self, name: &str, value: &str) {
        let path = self.dir.path().join("secrets").join(name);
        std::fs::write(&path, value).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn service(&self, name: &str, enabled: bool, active: bool) {
        self.services.borrow_mut().insert(
            name.into(),
            ServiceState {
                known: true,
                enabled,
                active,
            },
        );
    }

    pub(crate) fn setup(&self) -> Setup {
        Setup {
            name: self.name.clone(),
            root: self.root(),
            state_dir: self.data(),
            secrets: self.dir.path().join("secrets"),
            policy: self.policy.clone(),
            protected: vec!["/usr/bin/vendor-agent".into()],
            own_services: vec!["jos-agent".into()],
            built: Utc::new("2026-01-01T00:00:00Z").unwrap(),
            wait: self.wait,
            node: None,
        }
    }

    pub(crate) fn world(&self) -> World<'_> {
        World {
            clock: self,
            random: self,
            processes: self,
            services: self,
            probe: self,
            fetch: self,
            packages: self,
            hub: self.has_hub.get().then_some(self),
            guardian: Some(self),
            slots: self.slots.has.get().then_some(self),
        }
    }

    pub(crate) fn plane(&self) -> Plane<'_> {
        self.plane_with(None).unwrap()
    }

    pub(crate) fn plane_with(&self, tap: Option<Rc<dyn Tap>>) -> Result<Plane<'_>, PlaneError> {
        let plane = Plane::open_tapped(self.setup(), self.world(), tap)?;
        Ok(if self.live { plane.pretend_live() } else { plane })
    }

    /// A state of these steps, signed and verified for this machine.
    pub(crate) fn verified(&self, channel: Channel, state: &Value) -> Result<Verified<DesiredState>, Refused> {
        let bytes = signed(state, desired_state::KIND, &[&admin_key()]);
        let (floors, labels) = (self.plane().floors().unwrap(), BTreeMap::new());
        let now = self.plane().now().unwrap();
        let context = Context {
            channel,
            name: &self.name,
            tenant: None,
            device: None,
            labels: &labels,
            now: &now,
            floors: &floors,
            allow_unscoped: true,
        };
        verify_state(Received::json("state.json", &bytes), &root(), &context)
    }

    pub(crate) fn local(&self, version: u64, spec: Value) -> Verified<DesiredState> {
        self.verified(Channel::Local, &state(self.name.as_str(), version, spec))
            .unwrap()
    }

    pub(crate) fn apply(&self, version: u64, spec: Value) -> Outcome {
        let outcome = self.plane().apply(&self.local(version, spec)).unwrap();
        self.replays();
        outcome
    }

    /// Whatever was done so far: replay finds nothing wrong with the ledger.
    pub(crate) fn replays(&self) {
        let disk = crate::disk::Disk::open(&self.data().join(self.name.as_str()), "").unwrap();
        let archive = crate::ledger::Archive::folder(&disk, "ledger", "blobs");
        let run = crate::replay::run(&archive, crate::replay::Watch::Nothing).unwrap();
        if let Some(divergence) = run.divergence {
            panic!("replay of what was just done diverges: {divergence}");
        }
    }

    /// Everything below the root: path → kind, mode, owner, content.
    pub(crate) fn snapshot(&self) -> BTreeMap<String, String> {
        tree(&self.root())
    }

    /// All bytes below the data directory but the MAC key, with their paths.
    pub(crate) fn stored_bytes(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all = Vec::new();
        let mut open = vec![self.data()];
        while let Some(dir) = open.pop() {
            for entry in std::fs::read_dir(dir).unwrap().flatten() {
                if entry.file_type().unwrap().is_dir() {
                    open.push(entry.path());
                } else {
                    all.push((entry.path(), std::fs::read(entry.path()).unwrap()));
                }
            }
        }
        all
    }
}

pub(crate) fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let meta = entry.path().symlink_metadata().unwrap();
            let what = if meta.is_dir() {
                open.push(entry.path());
                "dir".to_owned()
            } else if meta.is_symlink() {
                format!("link {:?}", std::fs::read_link(entry.path()).unwrap())
            } else if meta.is_file() {
                format!(
                    "file {:?}",
                    String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap())
                )
            } else {
                "special".to_owned()
            };
            let shown = entry.path().strip_prefix(root).unwrap().display().to_string();
            let mode = if meta.is_symlink() { 0 } else { meta.mode() & 0o7777 };
            found.insert(shown, format!("{mode:04o} {}:{} {what}", meta.uid(), meta.gid()));
        }
    }
    found
}

impl Clock for Machine {
    fn now(&self) -> i64 {
        self.clock.get()
    }
    fn pause(&self, how_long: Duration) {
        self.passed.set(self.passed.get() + how_long);
    }
    fn monotonic(&self) -> Duration {
        self.passed.get()
    }
    fn boot(&self) -> Option<String> {
        Some(format!("boot {}", self.boots.get()))
    }
}

impl Hub for Machine {
    fn reachable(&self, _: Duration) -> Result<(), String> {
        self.asked.set(self.asked.get() + 1);
        let answers = self.hub.borrow();
        if answers(self) {
            Ok(())
        } else {
            Err("no route to the hub".into())
        }
    }
}

impl Random for Machine {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            // xorshift64: seeded, so that a failing test fails again.
            let mut x = self.seed.get();
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            self.seed.set(x);
            *byte = x.to_le_bytes()[3];
        }
    }
}

impl Processes for Machine {
    fn run(&self, invocation: &Invocation) -> Result<Ran, String> {
        let text = invocation.argv.last().unwrap().clone();
        self.allowed.set(Some(invocation.timeout));
        if let ([_, _, script, _, path, value], Some(on_set)) = (&invocation.argv[..], &*self.on_set.borrow())
            && script.starts_with("printf")
        {
            on_set(path, value);
        }
        if let Some(on_run) = &*self.on_run.borrow() {
            on_run(&text);
        }
        self.ran.borrow_mut().push(text.clone());
        let code = Some(i32::from(self.failing.borrow().contains(&text)));
        Ok(Ran {
            code,
            output: b"said\n".to_vec(),
            output_sha256: "ab".repeat(32),
            ..Ran::default()
        })
    }
}

impl Services for Machine {
    fn init(&self) -> &'static str {
        "played"
    }
    fn state(&self, service: &str) -> Result<ServiceState, String> {
        Ok(self.services.borrow().get(service).copied().unwrap_or_default())
    }
    fn command(&self, service: &str, command: ServiceCommand) -> Result<(), String> {
        self.told.borrow_mut().push(format!("{} {service}", command.word()));
        let mut services = self.services.borrow_mut();
        let state = services.entry(service.to_owned()).or_default();
        state.known = true;
        match command {
            ServiceCommand::Enable => state.enabled = true,
            ServiceCommand::Disable => state.enabled = false,
            ServiceCommand::Stop => state.active = false,
            ServiceCommand::Start | ServiceCommand::Restart | ServiceCommand::Reload => {
                state.active = !self.lame.borrow().iter().any(|s| s == service);
                if !state.active {
                    return Err(format!("{service} does not start"));
                }
            }
        }
        Ok(())
    }
    fn refresh(&self) -> Result<(), String> {
        Ok(())
    }
}

impl Probe for Machine {
    fn http(&self, _: &str, _: Duration) -> Result<u16, String> {
        self.answer.get().map_err(str::to_owned)
    }
    fn tcp(&self, _: &str, _: u16, _: Duration) -> Result<(), String> {
        self.answer.get().map(drop).map_err(str::to_owned)
    }
    fn schemes(&self) -> &'static [&'static str] {
        &["http"]
    }
}

/// A source that breaks off.
struct BrokenOff;

impl io::Read for BrokenOff {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the line broke off"))
    }
}

impl Fetch for Machine {
    fn offered(&self, sha256: &str, from: u64) -> Option<Offered> {
        let bytes = self.shelf.borrow().get(sha256)?.clone();
        self.asked_from.borrow_mut().push(from);
        let broken = self.breaks_off.get().filter(|at| *at as u64 > from);
        if broken.is_some() {
            self.breaks_off.set(None);
        }
        let end = broken.unwrap_or(bytes.len());
        let rest = bytes.get(from as usize..end).unwrap_or_default().to_vec();
        let rest = io::Cursor::new(rest);
        let content: Box<dyn io::Read> = match broken {
            Some(_) => Box::new(io::Read::chain(rest, BrokenOff)),
            None => Box::new(rest),
        };
        let place = "the shelf".into();
        Some(Offered { place, from, content })
    }
    fn fetch(&self, url: &str, _: u64, into: &mut dyn FnMut(&[u8]) -> Result<(), String>) -> Result<(), String> {
        let bytes = self.shelf.borrow().get(url).cloned().ok_or("nobody answers")?;
        bytes.chunks(1000).try_for_each(into)
    }
    fn schemes(&self) -> &'static [&'static str] {
        &["http"]
    }
}
