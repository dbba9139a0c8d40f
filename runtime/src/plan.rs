//! The plan: what would change, for people and scripts, and the tasks that would do it.
//!
//! Owns the shape of a change and its printing. Secrets appear by name and MAC; content that not everybody may read is
//! not shown and known by MAC too.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::rc::Rc;
use std::time::Duration;

use jos_schemas::documents::policy::Source;
use jos_schemas::text::Name;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::content::Needed;
use crate::disk::{Attrs, Kind, Meta};
use crate::gate::Refusal;
use crate::world::{Image, PackageChange, PackageWish, ServiceCommand};

/// What happens to one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is not there yet.
    Create,
    /// It is there and differs.
    Update,
    /// It goes.
    Remove,
    /// A service is told something.
    Service,
    /// A command runs.
    Run,
    /// It waits for the first boot of this root.
    Pending,
    /// The machine is moved to another system.
    Image,
}

/// What a path is or will be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// `file`, `directory`, `link`.
    pub kind: String,
    /// Four octal digits; none for a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// `uid:gid`.
    pub owner: String,
    /// Bytes of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// SHA-256 of a file that everybody may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Device-keyed MAC of a file that not everybody may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// The secret that it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Name>,
    /// What a link holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The step in words.
    pub step: String,
    /// Whose state lists it.
    pub source: Source,
    /// What happens.
    pub action: Action,
    /// Which path, service or command.
    pub what: String,
    /// What exactly, in words: `mode 0644 → 0600`, `restart`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// What stands there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Shape>,
    /// What will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Shape>,
    /// Unified diff of a small text that everybody may read; never recorded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub diff: String,
}

/// What would happen, before it does.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The agent.
    pub name: Name,
    /// The state's version.
    pub version: u64,
    /// Who proposes it.
    pub source: Source,
    /// Whether this very state is in force already.
    pub in_force: bool,
    /// In order.
    pub changes: Vec<Change>,
    /// Services restarted once, at the end.
    pub notify: Vec<String>,
    /// Paths that are no longer managed and stay as they are.
    pub released: Vec<String>,
    /// What policy does not grant.
    pub refused: Vec<Refusal>,
    /// What this program cannot do.
    pub unsupported: Vec<Refusal>,
    /// What stands in the way: links in paths, devices, unknown owners.
    pub problems: Vec<Refusal>,
    /// Whether a health check decides at the end.
    pub health_check: bool,
    #[serde(skip)]
    pub(crate) tasks: Vec<Task>,
    /// A package is not known, or not in the version that is wanted.
    #[serde(skip)]
    pub(crate) unknown_package: bool,
    /// What the files that steps edit by parts said before, by path; `None` where there was no such file.
    #[serde(skip)]
    pub(crate) inputs: BTreeMap<String, Option<Input>>,
    /// What the names of owners stand for on this device, as `uid:gid`; the empty name for what no step names.
    #[serde(skip)]
    pub(crate) ids: BTreeMap<String, String>,
    /// The system that runs, where a step names one.
    #[serde(skip)]
    pub(crate) running: Option<Image>,
}

/// A file as it stood before steps edited parts of it.
#[derive(Clone)]
pub(crate) struct Input {
    /// What it said; not kept where not everybody may read it.
    pub(crate) bytes: Option<Rc<Zeroizing<Vec<u8>>>>,
    pub(crate) shape: Shape,
}

/// Content stays out of logs.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Input({:?})", self.shape)
    }
}

/// A change as it is done.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    /// Which of the plan's changes.
    pub(crate) change: usize,
    pub(crate) source: Source,
    pub(crate) notify: Vec<String>,
    pub(crate) act: Act,
}

/// What is done.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Path {
        path: String,
        seen: Option<Meta>,
        after: After,
    },
    Service {
        name: String,
        command: ServiceCommand,
    },
    /// A look whether others can read what was written; changes nothing.
    Check {
        what: String,
        argv: Vec<String>,
        timeout: Duration,
    },
    Package {
        wish: PackageWish,
        changes: Vec<PackageChange>,
        allow_no_undo: bool,
        /// The agent's own: the last task, done by somebody else (see `plane/upgrade.rs`).
        itself: bool,
    },
    Shell {
        argv: Vec<String>,
        unless: Option<Vec<String>>,
        undo: Option<Vec<String>>,
        timeout: Duration,
    },
    /// Another system: a transaction of its own (see `plane/image.rs`).
    Image {
        needed: Needed,
        to: Image,
    },
}

/// How a path is to be.
#[derive(Clone)]
pub(crate) enum After {
    File {
        bytes: Rc<Zeroizing<Vec<u8>>>,
        attrs: Attrs,
        same_bytes: bool,
    },
    /// Content named by its hash, which is not held in memory.
    Blob {
        needed: Needed,
        attrs: Attrs,
        same_bytes: bool,
    },
    Dir {
        attrs: Attrs,
    },
    Link {
        target: String,
        owner: (u32, u32),
    },
    Gone,
    /// A directory with what is below it, put aside until the change is confirmed.
    TreeGone,
}

/// Content may be a secret: the debug form leaves it out.
impl fmt::Debug for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            After::File { attrs, .. } => write!(f, "File({attrs:?})"),
            After::Blob { needed, attrs, .. } => write!(f, "Blob({} {attrs:?})", needed.sha256),
            After::Dir { attrs } => write!(f, "Dir({attrs:?})"),
            After::Link { target, .. } => write!(f, "Link({target:?})"),
            After::Gone => f.write_str("Gone"),
            After::TreeGone => f.write_str("TreeGone"),
        }
    }
}

impl Shape {
    pub(crate) fn of(meta: &Meta) -> Self {
        let kind = match meta.kind {
            Kind::File => "file",
            Kind::Dir => "directory",
            Kind::Link => "link",
            Kind::Special(what) => what,
        };
        let mode = (meta.kind != Kind::Link).then(|| format!("{:04o}", meta.mode));
        let size = (meta.kind == Kind::File).then_some(meta.size);
        let owner = format!("{}:{}", meta.uid, meta.gid);
        Self {
            kind: kind.into(),
            mode,
            owner,
            size,
            sha256: None,
            mac: None,
            secret: None,
            target: None,
        }
    }
}

impl Plan {
    /// Contents that must be at hand before it is done.
    pub(crate) fn needed(&self) -> Vec<Needed> {
        let content = |task: &Task| match &task.act {
            Act::Path {
                after:
                    After::Blob {
                        needed,
                        same_bytes: false,
                        ..
                    },
                ..
            } => Some(needed.clone()),
            Act::Image { needed, .. } => Some(needed.clone()),
            _ => None,
        };
        self.tasks.iter().filter_map(content).collect()
    }

    /// The system that it moves the device to, with the change that says so.
    pub(crate) fn image(&self) -> Option<(&Change, &Needed, &Image)> {
        self.tasks.iter().find_map(|task| match &task.act {
            Act::Image { needed, to } => Some((&self.changes[task.change], needed, to)),
            _ => None,
        })
    }

    /// Nothing would change.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Nothing stands against applying it.
    pub fn is_possible(&self) -> bool {
        self.refused.is_empty() && self.unsupported.is_empty() && self.problems.is_empty()
    }

    /// The plan for a person; `paint` wraps a text in an SGR colour, or gives it back as it is.
    pub fn text(&self, paint: &dyn Fn(&str, &str) -> String) -> String {
        let mut out = String::new();
        for (title, list) in [
            ("refused", &self.refused),
            ("unsupported", &self.unsupported),
            ("in the way", &self.problems),
        ] {
            for refusal in list {
                let _ = writeln!(out, "{} {refusal}", paint("31", &format!("{title}:")));
            }
        }
        out += &changes_text(&self.changes, paint);
        for service in &self.notify {
            let _ = writeln!(
                out,
                "{} service {service} restarts once, after the files",
                paint("33", "~")
            );
        }
        for path in &self.released {
            let _ = writeln!(out, "  {path} is no longer managed; it stays as it is");
        }
        let count = |a: Action| self.changes.iter().filter(|c| c.action == a).count();
        let (name, version) = (&self.name, self.version);
        let _ = if self.changes.is_empty() && self.is_possible() {
            writeln!(out, "{name} version {version}: nothing would change")
        } else {
            let pending = match count(Action::Pending) {
                0 => String::new(),
                n => format!(", {n} waiting for the first boot"),
            };
            let acts = count(Action::Service) + count(Action::Run) + count(Action::Image);
            let (new, changed, gone) = (count(Action::Create), count(Action::Update), count(Action::Remove));
            let verdict = if self.is_possible() {
                ""
            } else {
                "; it would not be applied"
            };
            writeln!(
                out,
                "{name} version {version}: {new} to create, {changed} to update, {gone} to remove, {acts} to run{pending}{verdict}"
            )
        };
        out
    }
}

/// Changes, one or more lines each.
pub(crate) fn changes_text(changes: &[Change], paint: &dyn Fn(&str, &str) -> String) -> String {
    let mut out = String::new();
    for change in changes {
        let (colour, sign) = match change.action {
            Action::Create => ("32", "+"),
            Action::Update => ("33", "~"),
            Action::Remove => ("31", "-"),
            Action::Service | Action::Run | Action::Image => ("33", "!"),
            Action::Pending => ("36", "…"),
        };
        let details = if change.details.is_empty() {
            String::new()
        } else {
            format!(": {}", change.details.join(", "))
        };
        let kind = change
            .after
            .as_ref()
            .or(change.before.as_ref())
            .map(|s| format!("{} ", s.kind))
            .unwrap_or_default();
        let _ = writeln!(out, "{} {kind}{}{details}", paint(colour, sign), change.what);
        for line in change.diff.lines() {
            let colour = match line.as_bytes().first() {
                Some(b'+') => "32",
                Some(b'-') => "31",
                Some(b'@') => "36",
                _ => "0",
            };
            let _ = writeln!(
                out,
                "    {}",
                if colour == "0" {
                    line.to_owned()
                } else {
                    paint(colour, line)
                }
            );
        }
    }
    out
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(&|_, text| text.to_owned()))
    }
}
