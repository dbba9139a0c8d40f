//! The gate: what a source was granted, held against every step, notification, health and confirm command.
//!
//! Owns the judgement and nothing else: it reads no disk and changes nothing. Default deny. A refusal names the step,
//! why, and the line of policy that would be needed. What this program does not know to do is refused by name too, as
//! `unsupported`, so that a later version may take the same state.

mod agents;
mod commands;
mod facts;
mod image;
mod paths;
mod review;
pub(crate) mod software;
mod system;
#[cfg(any(windows, test))]
mod windows;
mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use jos_schemas::documents::desired_state::{Content, DesiredState, HealthCheck, ShellStep, Step};
use jos_schemas::documents::policy::{Grant, Policy, Source};
use jos_schemas::text::{Mode, Name, ServiceName};
use serde::Serialize;

use crate::globs;
pub(crate) use facts::{GateFacts, Recorded};
use paths::Paths;
pub use paths::is_code_path;
pub(crate) use review::line;
pub use review::{Line, Review};
pub use system::uci_grant;
pub(crate) use system::{keys as system_keys, uci_words, user};
pub(crate) use words::{is_label, label, step_path};

/// What `meta.requires` may name: what this program can do.
pub const FEATURES: &[&str] = &[
    "absent",
    "blobs",
    "command",
    "confirm-command",
    "cron",
    "directory",
    "file",
    "group",
    "http",
    "link",
    "package",
    "prune",
    "purge",
    "secrets",
    "service",
    "shell",
    "sysctl",
    "tcp",
    "uci",
    "user",
];

/// And where there is a hub to ask.
const HUB_WITHIN: &str = "hub-within";
/// And where the daemon runs a node of the runtime.
const RUNTIME: &str = "runtime";
/// And where there are two root file systems.
const IMAGE: &str = "image";

/// The bits above the nine permission bits: setuid, setgid, sticky.
const SPECIAL_BITS: u32 = 0o7000;
const EXECUTE_BITS: u32 = 0o111;

/// Why a step does not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Which step, in words: `step 3 (file /etc/cups/cupsd.conf)`, `health_check`, `meta`.
    pub step: String,
    /// Why.
    pub why: String,
    /// The line of policy that would be needed, where one would help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed: Option<Line>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.why)?;
        match &self.needed {
            Some(line) => write!(f, "; needed in the policy: {line}"),
            None => Ok(()),
        }
    }
}

/// What the gate says of a state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// What policy does not grant.
    pub refused: Vec<Refusal>,
    /// What this program cannot do.
    pub unsupported: Vec<Refusal>,
}

/// The gate of one device.
pub struct Gate<'a> {
    policy: &'a Policy,
    paths: Rc<Paths>,
    own_services: &'a [String],
    schemes: &'static [&'static str],
    hub: bool,
    runtime: bool,
    slots: bool,
    /// The agent of the runtime whose proposals are judged.
    agent: Option<Name>,
}

/// How a path is touched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Touch {
    File { mode: u32 },
    Dir { mode: u32 },
    Link,
    Remove { recursive: bool },
}

impl<'a> Gate<'a> {
    /// `protected` and `own_services` are the agent's own besides the built-in ones; `schemes` are the URL schemes that
    /// the world can probe.
    pub fn new(
        policy: &'a Policy,
        protected: &[String],
        own_services: &'a [String],
        schemes: &'static [&'static str],
    ) -> Self {
        Self {
            policy,
            paths: Rc::new(Paths::new(policy, protected)),
            own_services,
            schemes,
            hub: false,
            runtime: false,
            slots: false,
            agent: None,
        }
    }

    /// The same where there is a hub that can be asked to confirm.
    #[must_use]
    pub fn with_hub(mut self, hub: bool) -> Self {
        self.hub = hub;
        self
    }

    /// The same where the device has two root file systems.
    #[must_use]
    pub fn with_slots(mut self, slots: bool) -> Self {
        self.slots = slots;
        self
    }

    /// The same where the daemon runs a node of the runtime on this data directory.
    #[must_use]
    pub fn with_node(mut self, data_dir: Option<&str>) -> Self {
        self.runtime = data_dir.is_some();
        if let Some(paths) = Rc::get_mut(&mut self.paths)
            && let Some(dir) = data_dir
        {
            paths.run_node(dir);
        }
        self
    }

    /// What `meta.requires` may name on this device.
    pub fn features(&self) -> impl Iterator<Item = &'static str> {
        let runtime = self.runtime.then_some(RUNTIME);
        FEATURES
            .iter()
            .copied()
            .chain(self.hub.then_some(HUB_WITHIN))
            .chain(runtime)
            .chain(self.slots.then_some(IMAGE))
            .filter(|feature| here::has(feature))
    }

    /// Holds a whole state against what `source` was granted.
    pub fn judge(&self, source: Source, state: &DesiredState) -> Judgement {
        let mut found = Judgement::default();
        for feature in &state.meta.requires {
            if !self.features().any(|known| known == feature.as_str()) {
                found.unsupported(
                    "meta.requires",
                    format!("this agent does not have the feature {:?}", feature.as_str()),
                );
            }
        }
        if state.meta.version == 0 {
            found.refuse("meta.version", "0 is no version; the first is 1".into(), None);
        }
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for (at, step) in state.spec.apply.iter().enumerate() {
            let label = label(at, step);
            if let Some(key) = step_path(step)
                && let Some(first) = seen.insert(key.to_owned(), at)
            {
                let why = format!("its path is already that of step {}; a path is listed once", first + 1);
                found.refuse(&label, why, None);
            }
            for key in system::keys(step) {
                if let Some(first) = seen.insert(key.clone(), at) {
                    let why = format!("the {key} is already that of step {}; it is listed once", first + 1);
                    found.refuse(&label, why, None);
                }
            }
            self.step(source, &label, step, &mut found);
        }
        system::contradictions(&state.spec.apply, &mut found);
        image::one_at_most(&state.spec.apply, &mut found);
        if let Some(check) = &state.spec.health_check {
            self.health(source, check, &mut found);
        }
        if let Some(confirm) = &state.spec.confirm {
            if confirm.hub_within.is_some() && !self.hub {
                found.unsupported("spec.confirm.hub_within", "this agent has no hub to ask".into());
            }
            if let Some(command) = &confirm.command {
                self.command_listed(source, "spec.confirm.command", command, &mut found);
            }
        }
        self.name_agent(&mut found);
        found
    }

    fn step(&self, source: Source, label: &str, step: &Step, found: &mut Judgement) {
        agents::limits(source, label, step, found);
        if let Some(why) = here::why_not(step) {
            found.unsupported(label, why.to_owned());
            return;
        }
        match step {
            Step::File(file) => {
                let secret = matches!(file.content, Some(Content::Secret(_)));
                let mode = file
                    .mode
                    .as_ref()
                    .map_or(if secret { 0o600 } else { 0o644 }, Mode::bits);
                self.path(source, label, file.path.as_str(), Touch::File { mode }, found);
                self.services(source, label, &file.notify, found);
            }
            Step::Directory(dir) => {
                let mode = dir.mode.as_ref().map_or(0o755, Mode::bits);
                self.path(source, label, dir.path.as_str(), Touch::Dir { mode }, found);
                self.services(source, label, &dir.notify, found);
            }
            Step::Link(link) => {
                if link.target.contains('\0') {
                    found.refuse(label, "its target contains a NUL byte".into(), None);
                }
                self.path(source, label, link.path.as_str(), Touch::Link, found);
                self.services(source, label, &link.notify, found);
            }
            Step::Absent(absent) => {
                self.path(
                    source,
                    label,
                    absent.path.as_str(),
                    Touch::Remove {
                        recursive: absent.recursive,
                    },
                    found,
                );
                self.services(source, label, &absent.notify, found);
            }
            Step::Service(service) => self.services(source, label, std::slice::from_ref(&service.name), found),
            Step::Shell(shell) => self.shell(source, label, shell, found),
            Step::User(user) => self.user(source, label, user, found),
            Step::Group(group) => self.group(source, label, group, found),
            Step::Package(package) => self.package(source, label, package, found),
            Step::Uci(uci) => self.uci(source, label, uci, found),
            Step::Cron(cron) => self.cron(source, label, cron, found),
            Step::Sysctl(sysctl) => self.sysctl(source, label, sysctl, found),
            Step::Image(image) => self.image(source, label, image, found),
        }
    }

    /// Whether a step may take back what an earlier version did.
    pub(crate) fn judge_step(&self, source: Source, label: &str, step: &Step, found: &mut Judgement) {
        self.step(source, label, step, found);
    }

    /// Whether a path dropped from a state may be removed.
    pub(crate) fn judge_removal(&self, source: Source, label: &str, path: &str, found: &mut Judgement) {
        self.path(source, label, path, Touch::Remove { recursive: false }, found);
    }

    fn path(&self, source: Source, label: &str, path: &str, touch: Touch, found: &mut Judgement) {
        if let Some(own) = self.paths.protected(path) {
            found.refuse(label, format!("{own} is protected whatever is granted"), None);
            return;
        }
        if let Some(own) = self
            .paths
            .protected_below(path)
            .filter(|_| !matches!(touch, Touch::Dir { .. }))
        {
            found.refuse(
                label,
                format!("{own} lies below it and is protected whatever is granted"),
                None,
            );
            return;
        }
        let recursive = touch == Touch::Remove { recursive: true };
        let around = matches!(touch, Touch::Dir { .. }) || recursive;
        let executable = matches!(touch, Touch::File { mode } if mode & EXECUTE_BITS != 0 || here::runs(path));
        let code = self.paths.is_code(path) || executable || around && self.paths.has_code_below(path);
        let special = matches!(touch, Touch::File { mode } | Touch::Dir { mode } if mode & SPECIAL_BITS != 0);
        let covers = |glob: &str| {
            globs::matches(glob, path) && (!recursive || globs::covers_all_below(glob, path))
                || recursive && globs::covers_all_below(glob, path) && self.path_granted(source, path)
        };
        let (mut granted, mut with_code, mut with_setuid, mut with_both) = (false, false, false, false);
        for grant in self.grant(source).map(|g| g.files.as_slice()).unwrap_or_default() {
            if !covers(grant.path().as_str()) {
                continue;
            }
            let (code, setuid) = match grant {
                jos_schemas::documents::policy::FileGrant::Glob(_) => (false, false),
                jos_schemas::documents::policy::FileGrant::Wide(w) => (w.code, w.setuid),
            };
            granted = true;
            with_code |= code;
            with_setuid |= setuid;
            with_both |= code && setuid;
        }
        let good = granted
            && match (code, special) {
                (false, false) => true,
                (true, false) => with_code,
                (false, true) => with_setuid,
                (true, true) => with_both,
            };
        if good {
            return;
        }
        let shown = if recursive && self.path_granted(source, path) {
            format!("{path}/**")
        } else {
            path.to_owned()
        };
        let mut wanted = format!("{{ path = {shown:?}");
        if code {
            wanted += ", code = true";
        }
        if special {
            wanted += ", setuid = true";
        }
        let wanted = if code || special {
            wanted + " }"
        } else {
            format!("{shown:?}")
        };
        let why = match (granted, code && !with_code, special && !with_setuid) {
            (false, ..) if recursive => "not everything below it is granted".to_owned(),
            (false, ..) => "the path is not granted".to_owned(),
            (true, true, _) if executable => "the file is executable, and only data is granted there".to_owned(),
            (true, true, _) => "the path becomes code, and only data is granted there".to_owned(),
            (true, _, _) => "setuid, setgid and sticky bits are not granted there".to_owned(),
        };
        found.refuse(label, why, Some(line(source, "files", &wanted)));
    }

    fn path_granted(&self, source: Source, path: &str) -> bool {
        self.grant(source)
            .is_some_and(|g| g.files.iter().any(|f| globs::matches(f.path().as_str(), path)))
    }

    fn services(&self, source: Source, label: &str, names: &[ServiceName], found: &mut Judgement) {
        for name in names {
            let bare = name.as_str().strip_suffix(".service").unwrap_or(name.as_str());
            // Windows takes a service's name in any case.
            let same = |own: &str, said: &str| own == said || (cfg!(windows) && own.eq_ignore_ascii_case(said));
            if self
                .own_services
                .iter()
                .any(|own| same(own, bare) || same(own, name.as_str()))
            {
                found.refuse(label, format!("the service {name} is jos itself"), None);
            } else if !self.grant(source).is_some_and(|g| g.services.contains(name)) {
                let needed = line(source, "services", &format!("{:?}", name.as_str()));
                found.refuse(label, format!("the service {name} is not granted"), Some(needed));
            }
        }
    }

    fn shell(&self, source: Source, label: &str, shell: &ShellStep, found: &mut Judgement) {
        let parts = [
            ("command", Some(&shell.command)),
            ("unless", shell.unless.as_ref()),
            ("undo", shell.undo.as_ref()),
        ];
        for (part, text) in parts {
            if let Some(text) = text {
                self.command_listed(source, &format!("{label}: {part}"), text, found);
            }
        }
    }

    fn health(&self, source: Source, check: &HealthCheck, found: &mut Judgement) {
        let label = "spec.health_check";
        match check {
            HealthCheck::Command(c) => self.command_listed(source, label, &c.command, found),
            HealthCheck::Http(h) => {
                let scheme = h.url.split("://").next().unwrap_or_default();
                if !self.schemes.contains(&scheme) {
                    found.unsupported(label, format!("this build cannot probe {scheme}:// URLs"));
                }
            }
            HealthCheck::Tcp(_) | HealthCheck::Service(_) => {}
        }
    }

    fn command_listed(&self, source: Source, label: &str, text: &str, found: &mut Judgement) {
        if self.command(source, text).is_none() {
            let needed = line(source, "shell", &format!("{text:?}"));
            found.refuse(
                label,
                "the command is not listed, byte for byte or by a template".into(),
                Some(needed),
            );
        }
    }

    /// The argv of a command that `source` may run.
    pub fn command(&self, source: Source, text: &str) -> Option<Vec<String>> {
        commands::resolve(self.grant(source)?, text)
    }

    /// What `source` was granted.
    pub fn grant(&self, source: Source) -> Option<&'a Grant> {
        self.own_grant(source).or_else(|| self.policy.grants.get(&source))
    }
}

/// What this system lacks, and what it runs by name: on most, nothing.
#[cfg(not(windows))]
mod here {
    use jos_schemas::documents::desired_state::Step;

    pub(super) const fn has(_: &str) -> bool {
        true
    }
    pub(super) const fn why_not(_: &Step) -> Option<&'static str> {
        None
    }
    pub(super) const fn runs(_: &str) -> bool {
        false
    }
}

#[cfg(windows)]
mod here {
    pub(super) use super::windows::{runs, why_not};

    pub(super) fn has(feature: &str) -> bool {
        !super::windows::ABSENT.contains(&feature)
    }
}

impl Judgement {
    fn refuse(&mut self, step: &str, why: String, needed: Option<Line>) {
        self.refused.push(Refusal {
            step: step.to_owned(),
            why,
            needed,
        });
    }
    fn unsupported(&mut self, step: &str, why: String) {
        self.unsupported.push(Refusal {
            step: step.to_owned(),
            why,
            needed: None,
        });
    }
}
