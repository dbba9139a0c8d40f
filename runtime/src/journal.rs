//! The undo journal: how everything was, durable before the first change.
//!
//! Owns the directory `journal/` of one NAME. Writes what undo needs, never what it would reveal: images of files lie
//! in files of their own, 0600, and go when the trial ends.
//!
//! ```text
//! journal/image-N      bytes of the N-th file that changes, as they were
//! journal/trial.json   the trial: who, what, every path and service as it was; its appearance begins the trial
//! journal/progress     one line before each act that no comparison could find later: `shell N`, `service NAME`
//! journal/phase.json   trying (also when missing) → confirming → confirmed | reverting, with the outcome to record;
//!                      upgrading → … in the hands of the guardian (`plane/upgrade.rs`)
//! journal/guardian     while the agent's own package is replaced: the program that began it, and what it was given
//! journal/guard.json, hub.json
//! ```
//! Removing `trial.json` ends the trial; what else lies there is swept by the next one. A trial that replaces the agent is
//! begun by one version of this program and finished by another: members are added here, with defaults, and none is
//! renamed or dropped.

use std::collections::BTreeSet;

use jos_schemas::documents::desired_state::{Confirm, HealthCheck};
use jos_schemas::documents::policy::Source;
use jos_schemas::own;
use jos_trust::Digest;
use jos_trust::floors::{Counter, InForce};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::act::Cause;
use crate::disk::{Attrs, Disk, DiskError, Kind, Xattrs};
use crate::plan::{Act, After, Plan};
use crate::world::{Image, PackageChange, PackageWish, Packages, ServiceState, Services};

const LIMIT: u64 = 64 * 1024 * 1024;
/// A larger file is not copied: it keeps its bytes under a name beside its own until the change is kept.
const COPIED: u64 = if cfg!(test) { 16 * 1024 } else { 4 * 1024 * 1024 };
/// No image is larger, whoever wrote it.
const IMAGE_LIMIT: u64 = 64 * 1024 * 1024;
const FORMAT: u32 = 1;

/// How far a trial is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Changing.
    Trying,
    /// All else is changed; the agent's own package is being replaced, and its guardian has the trial.
    Upgrading,
    /// All is changed and healthy; whoever has to confirm it is being asked.
    Confirming,
    /// To be kept. Where a state comes into force, whether it was kept shows in the floors; else it was.
    Confirmed,
    /// Being taken back.
    Reverting,
}

/// A trial as it is kept over a crash.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trial {
    pub(crate) format: u32,
    /// Random part of temporary names.
    pub(crate) tag: String,
    /// Which start of the machine it began in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) boot: Option<String>,
    /// Index of the decision in the ledger.
    pub(crate) decision: u64,
    pub(crate) source: Source,
    pub(crate) version: u64,
    /// Counter and content that confirming moves; none when the states in force are only put right.
    pub(crate) adopts: Option<(Counter, Digest)>,
    /// What waited for the first boot is done with this.
    pub(crate) completes: bool,
    /// The drifted set that it puts right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) drift: Option<Digest>,
    /// In the order of the plan.
    pub(crate) undo: Vec<Undo>,
    pub(crate) services: Vec<(String, ServiceState)>,
    /// The agent's own package changes too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) own: Option<Own>,
    /// The system that it began in, on a device with two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<Image>,
}

/// The agent's own package, replaced as the last act of a trial; with all that deciding about the trial takes, since whoever
/// decides is another process, and another version of this program.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Own {
    /// Which of the plan's tasks.
    pub(crate) number: usize,
    /// The step in words.
    pub(crate) step: String,
    pub(crate) wish: PackageWish,
    /// The agent's services that ran.
    pub(crate) services: Vec<String>,
    /// What comes into force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keeps: Option<InForce>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) health: Option<(Source, HealthCheck)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) confirm: Option<Confirm>,
    pub(crate) health_decides: bool,
}

/// How one thing was.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Undo {
    Path {
        path: String,
        before: Before,
    },
    /// What came and went with one package; saved files lie beside this journal.
    Package {
        number: usize,
        changes: Vec<PackageChange>,
    },
    Shell {
        number: usize,
        step: String,
        argv: Option<Vec<String>>,
        seconds: u64,
    },
}

/// How a path was.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Before {
    Missing,
    File {
        attrs: Attrs,
        xattrs: Xattrs,
        image: usize,
    },
    /// Only mode and owner change.
    Meta {
        attrs: Attrs,
    },
    Dir {
        attrs: Attrs,
    },
    Link {
        target: String,
        uid: u32,
        gid: u32,
    },
    /// A tree, or a large file, moved to a name beside it.
    Aside {
        to: String,
    },
}

/// How far a trial is, as it is kept.
#[derive(Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) phase: Phase,
    /// The outcome that was to be recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<Value>,
    /// Why it is being taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<Cause>,
}

/// The journal of one NAME.
pub(crate) struct Journal<'d> {
    data: &'d Disk,
    dir: String,
}

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It does not read.
    #[error("{file}: {what}; the trial that it describes cannot be taken back by itself")]
    Damaged {
        /// Which file.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl<'d> Journal<'d> {
    pub(crate) fn open(data: &'d Disk, dir: &str) -> Result<Self, DiskError> {
        data.ensure_dir(dir)?;
        Ok(Self {
            data,
            dir: dir.to_owned(),
        })
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.dir)
    }

    /// Notes how everything is that `plan` changes, and begins the trial. Nothing has changed before it returns.
    pub(crate) fn begin(
        &self,
        world: &Disk,
        services: Option<&dyn Services>,
        packages: &dyn Packages,
        plan: &Plan,
        trial: Trial,
    ) -> Result<Trial, String> {
        self.sweep().map_err(|e| e.to_string())?;
        let mut trial = Trial {
            format: FORMAT,
            ..trial
        };
        let mut names: BTreeSet<&str> = plan.notify.iter().map(String::as_str).collect();
        let mut noted: BTreeSet<&str> = BTreeSet::new();
        for (number, task) in plan.tasks.iter().enumerate() {
            match &task.act {
                Act::Path { path, after, .. } => {
                    // A path that two tasks touch (made for one step, given its mode by another) is noted once.
                    if noted.insert(path) {
                        let before = self.note(world, path, after, number, &trial.tag)?;
                        trial.undo.push(Undo::Path {
                            path: path.clone(),
                            before,
                        });
                    }
                }
                Act::Service { name, .. } => drop(names.insert(name)),
                Act::Package {
                    changes, allow_no_undo, ..
                } => {
                    let changes = self.save(packages, changes, *allow_no_undo)?;
                    trial.undo.push(Undo::Package { number, changes });
                }
                Act::Check { .. } | Act::Image { .. } => {}
                Act::Shell { undo, timeout, .. } => {
                    let step = plan.changes[task.change].step.clone();
                    trial.undo.push(Undo::Shell {
                        number,
                        step,
                        argv: undo.clone(),
                        seconds: timeout.as_secs(),
                    });
                }
            }
        }
        if let Some(services) = services {
            for name in names {
                let state = services.state(name).map_err(|e| format!("service {name}: {e}"))?;
                trial.services.push((name.to_owned(), state));
            }
        }
        let bytes = own::write(&trial).map_err(|e| e.to_string())?;
        self.data
            .write_private(&self.at("trial.json"), &bytes)
            .map_err(|e| e.to_string())?;
        Ok(trial)
    }

    /// Saves the package files that undo would need.
    fn save(
        &self,
        packages: &dyn Packages,
        changes: &[PackageChange],
        allow_no_undo: bool,
    ) -> Result<Vec<PackageChange>, String> {
        let folder = self.folder()?;
        let mut all = changes.to_vec();
        for change in &mut all {
            let Some(before) = change.before.as_ref().filter(|_| change.before != change.after) else {
                continue;
            };
            match packages.save(&change.name, before, &folder) {
                Ok(file) => change.file = Some(file),
                Err(why) if allow_no_undo => log::warn!("{} {before} could not be saved: {why}", change.name),
                Err(why) => return Err(format!("{} {before} could not be saved: {why}", change.name)),
            }
        }
        Ok(all)
    }

    /// The journal's folder, for tools that are given a path.
    pub(crate) fn folder(&self) -> Result<std::path::PathBuf, String> {
        let path = self.data.root().join(&self.dir);
        std::fs::canonicalize(&path).map_err(|e| format!("{}: {e}", path.display()))
    }

    fn note(&self, world: &Disk, path: &str, after: &After, number: usize, tag: &str) -> Result<Before, String> {
        let text = |e: DiskError| e.to_string();
        let Some(meta) = world.lstat(path).map_err(text)? else {
            return Ok(Before::Missing);
        };
        world.check_changeable(path, &meta).map_err(text)?;
        let attrs = Attrs {
            mode: meta.mode,
            uid: meta.uid,
            gid: meta.gid,
        };
        let aside = || {
            let dir = crate::disk::parent(path).unwrap_or_default();
            Before::Aside {
                to: format!("{dir}/.jos-aside-{tag}-{number}"),
            }
        };
        Ok(match meta.kind {
            Kind::File
                if matches!(
                    after,
                    After::File { same_bytes: true, .. } | After::Blob { same_bytes: true, .. }
                ) =>
            {
                Before::Meta { attrs }
            }
            Kind::File if meta.size > COPIED => aside(),
            Kind::File => {
                let (bytes, _) = world.read(path, IMAGE_LIMIT).map_err(text)?;
                let bytes = zeroize::Zeroizing::new(bytes);
                let xattrs = world.xattrs(path).map_err(text)?;
                self.data
                    .write_private(&self.at(&format!("image-{number}")), &bytes)
                    .map_err(text)?;
                Before::File {
                    attrs,
                    xattrs,
                    image: number,
                }
            }
            Kind::Dir if matches!(after, After::TreeGone) => aside(),
            Kind::Dir => Before::Dir { attrs },
            Kind::Link => {
                let target = world.read_link(path).map_err(text)?;
                Before::Link {
                    target,
                    uid: meta.uid,
                    gid: meta.gid,
                }
            }
            Kind::Special(what) => return Err(format!("{path}: {what} stands there")),
        })
    }

    /// The trial that is under way, if one is.
    pub(crate) fn trial(&self) -> Result<Option<Trial>, JournalError> {
        self.json("trial.json")
    }

    /// How far it is.
    pub(crate) fn phase(&self) -> Result<Progress, JournalError> {
        Ok(self.json("phase.json")?.unwrap_or(Progress {
            phase: Phase::Trying,
            outcome: None,
            cause: None,
        }))
    }

    fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, JournalError> {
        let path = self.at(name);
        let bytes = match self.data.read(&path, LIMIT) {
            Ok((bytes, _)) => bytes,
            Err(e) if e.is_missing() => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let damaged = |what| JournalError::Damaged {
            file: self.data.show(&path),
            what,
        };
        own::read(&bytes).map(Some).map_err(damaged)
    }

    pub(crate) fn set_phase(&self, phase: Phase, outcome: Value, cause: Option<Cause>) -> Result<(), DiskError> {
        let outcome = Some(outcome);
        let bytes = own::write(&Progress { phase, outcome, cause }).expect("plain data");
        self.data.write_private(&self.at("phase.json"), &bytes)
    }

    /// Notes an act before it is done.
    pub(crate) fn progress(&self, line: &str) -> Result<(), DiskError> {
        self.data.append(&self.at("progress"), format!("{line}\n").as_bytes())
    }

    /// What was noted so. A line that a crash cut short belongs to an act that was not begun.
    pub(crate) fn progressed(&self) -> Result<BTreeSet<String>, DiskError> {
        match self.data.read(&self.at("progress"), LIMIT) {
            Ok((bytes, _)) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let whole = text.split_inclusive('\n').filter_map(|l| l.strip_suffix('\n'));
                Ok(whole.map(str::to_owned).collect())
            }
            Err(e) if e.is_missing() => Ok(BTreeSet::new()),
            Err(e) => Err(e),
        }
    }

    /// The bytes that a file had.
    pub(crate) fn image(&self, number: usize) -> Result<zeroize::Zeroizing<Vec<u8>>, DiskError> {
        self.data
            .read(&self.at(&format!("image-{number}")), IMAGE_LIMIT)
            .map(|(b, _)| zeroize::Zeroizing::new(b))
    }

    /// Ends the trial.
    pub(crate) fn end(&self) -> Result<(), DiskError> {
        self.data.remove(&self.at("trial.json"))?;
        self.sweep()
    }

    /// Removes what a trial without `trial.json` left.
    pub(crate) fn sweep(&self) -> Result<(), DiskError> {
        for name in self.data.list(&self.dir)? {
            if let Some(name) = name.to_str() {
                // A package manager that was killed may have left a folder.
                self.data.remove_tree(&self.at(name))?;
            }
        }
        Ok(())
    }
}
