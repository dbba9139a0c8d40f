//! The way back: everything as the trial found it, in reverse order, stopping at nothing and saying what is left.
//!
//! It may run several times over: a crash in the middle is answered by all of it again.

use std::collections::BTreeSet;
use std::time::Duration;

use zeroize::Zeroizing;

use super::Hands;
use crate::disk::{Attrs, DiskError, Kind, Meta, parent};
use crate::journal::{Before, Trial, Undo};
use crate::world::{PackageChange, ServiceCommand};

/// What going back came to.
#[derive(Default)]
pub(crate) struct Back {
    /// What could not be put back.
    pub(crate) left: Vec<String>,
    /// What nothing can put back: commands without an `undo`.
    pub(crate) notes: Vec<String>,
    /// Services that were told again.
    pub(crate) told: Vec<String>,
}

/// How every package was before the first of the steps that were begun.
fn packages_of(trial: &Trial, progressed: &BTreeSet<String>) -> Vec<PackageChange> {
    let mut all: Vec<PackageChange> = Vec::new();
    for undo in &trial.undo {
        let Undo::Package { number, changes } = undo else {
            continue;
        };
        if !progressed.contains(&format!("package {number}")) {
            continue;
        }
        for change in changes {
            if !all.iter().any(|c| c.name == change.name) {
                all.push(change.clone());
            }
        }
    }
    all
}

impl Hands<'_> {
    /// Puts everything back as the trial found it. Nothing is left when all is as it was.
    pub(crate) fn back(&self, trial: &Trial) -> Back {
        let (mut left, mut notes) = (Vec::new(), Vec::new());
        let progressed = self.journal.progressed().unwrap_or_else(|e| {
            left.push(format!("journal: {e}"));
            BTreeSet::new()
        });
        self.sweep(trial, &mut left);
        let mut accounts = None;
        let mut packages = Some(packages_of(trial, &progressed));
        for undo in trial.undo.iter().rev() {
            match undo {
                Undo::Path { path, before } => {
                    let guarded = self.guard(&mut accounts, path);
                    let restored = guarded.and_then(|()| self.restore(path, before).map_err(|e| e.to_string()));
                    if let Err(e) = restored {
                        left.push(e);
                    }
                }
                Undo::Package { number, .. } => {
                    accounts = None;
                    // All of them at once, in the place of the last that was begun: what one brought another may need.
                    if let Some(changes) = packages.take_if(|_| progressed.contains(&format!("package {number}"))) {
                        self.refresh(&mut true).unwrap_or_else(|e| left.push(e));
                        let back = |folder: std::path::PathBuf| self.world.packages.back(&changes, &folder);
                        if let Err(e) = self.journal.folder().and_then(back) {
                            left.push(format!("packages: {e}"));
                        }
                    }
                }
                Undo::Shell {
                    number,
                    step,
                    argv,
                    seconds,
                } => {
                    accounts = None;
                    if !progressed.contains(&format!("shell {number}")) {
                        continue;
                    }
                    // Without an `undo` of its own a command is not taken back: the outcome names it.
                    let Some(argv) = argv else {
                        notes.push(format!("{step}: the command had begun and has no undo"));
                        continue;
                    };
                    match self.run(argv, Duration::from_secs(*seconds)) {
                        Ok(ran) if ran.ok() => {}
                        Ok(ran) => left.push(format!("{step}: its undo ended with {}", ran.ending())),
                        Err(e) => left.push(format!("{step}: its undo did not start: {e}")),
                    }
                }
            }
        }
        self.settle(trial, &mut left);
        let told = self.services_back(trial, &progressed, &mut left);
        Back { left, notes, told }
    }

    /// Puts the paths back and nothing else: for a moment at which no service runs and none may be waited for.
    pub(crate) fn paths_back(&self, trial: &Trial) -> Vec<String> {
        let mut left = Vec::new();
        self.sweep(trial, &mut left);
        for undo in trial.undo.iter().rev() {
            if let Undo::Path { path, before } = undo
                && let Err(e) = self.restore(path, before)
            {
                left.push(e.to_string());
            }
        }
        self.settle(trial, &mut left);
        left
    }

    /// What is as it was may be so because of a process that was killed before its fsync: the journal goes only after
    /// all of it is durable.
    fn settle(&self, trial: &Trial, left: &mut Vec<String>) {
        for undo in &trial.undo {
            if let Undo::Path { path, .. } = undo
                && let Err(e) = self.disk.settle(path)
            {
                left.push(e.to_string());
            }
        }
    }

    /// Every service that was told anything: back to how it was, and told again where it runs. After a reboot that is
    /// all of them: whatever the init system started since has read the files that were tried.
    fn services_back(&self, trial: &Trial, progressed: &BTreeSet<String>, left: &mut Vec<String>) -> Vec<String> {
        let mut again = Vec::new();
        if !self.live || trial.services.is_empty() {
            return again;
        }
        let rebooted = trial.boot.is_some() && trial.boot != self.world.clock.boot();
        let told = trial
            .services
            .iter()
            .filter(|(n, _)| rebooted || progressed.contains(&format!("service {n}")));
        if let Err(e) = self.world.services.refresh() {
            left.push(e);
        }
        for (name, before) in told {
            let enabled = if before.enabled {
                ServiceCommand::Enable
            } else {
                ServiceCommand::Disable
            };
            let active = if before.active {
                ServiceCommand::Restart
            } else {
                ServiceCommand::Stop
            };
            let result = self.world.services.state(name).and_then(|now| {
                if now.known && now.enabled != before.enabled {
                    self.world.services.command(name, enabled)?;
                }
                if before.active || now.active {
                    self.world.services.command(name, active)?;
                    again.push(name.clone());
                }
                Ok(())
            });
            if let Err(e) = result {
                left.push(format!("service {name}: {e}"));
            }
        }
        again
    }

    /// Temporary files that a crash left beside what was being written.
    fn sweep(&self, trial: &Trial, left: &mut Vec<String>) {
        let mut dirs: BTreeSet<&str> = BTreeSet::new();
        for undo in &trial.undo {
            if let Undo::Path { path, .. } = undo {
                dirs.insert(parent(path).unwrap_or_default());
            }
        }
        for dir in dirs {
            match self.disk.sweep(dir, &trial.tag) {
                Err(e) if !e.is_missing() => left.push(e.to_string()),
                _ => {}
            }
        }
    }

    fn restore(&self, path: &str, before: &Before) -> Result<(), DiskError> {
        let now = self.disk.lstat(path)?;
        let has = |attrs: &Attrs, m: &Meta| (m.mode, m.uid, m.gid) == (attrs.mode, attrs.uid, attrs.gid);
        match before {
            Before::Missing => self.disk.remove(path),
            Before::Meta { attrs } => match now {
                Some(m) if has(attrs, &m) => Ok(()),
                _ => self.disk.set_attrs(path, *attrs),
            },
            Before::File { attrs, xattrs, image } => {
                let bytes = self.journal.image(*image)?;
                if let Some(m) = now.filter(|m| m.kind == Kind::File && has(attrs, m) && m.size == bytes.len() as u64) {
                    let same = Zeroizing::new(self.disk.read(path, m.size)?.0) == bytes;
                    if same && self.disk.xattrs(path)? == *xattrs {
                        return Ok(());
                    }
                }
                self.disk.write_file(path, &bytes, *attrs, xattrs)
            }
            Before::Dir { attrs } => match now {
                Some(m) if m.kind == Kind::Dir && has(attrs, &m) => Ok(()),
                Some(m) if m.kind == Kind::Dir => self.disk.set_attrs(path, *attrs),
                _ => self.disk.make_dir(path, *attrs),
            },
            Before::Link { target, uid, gid } => {
                if now.is_some_and(|m| m.kind == Kind::Link && (m.uid, m.gid) == (*uid, *gid))
                    && self.disk.read_link(path)? == *target
                {
                    return Ok(());
                }
                self.disk.make_link(path, target, (*uid, *gid))
            }
            Before::Aside { to } => {
                if self.disk.lstat(to)?.is_none() {
                    return Ok(());
                }
                if now.is_some() {
                    self.disk.remove(path)?;
                }
                self.disk.rename(to, path)
            }
        }
    }

    /// After a change was kept: what was put aside goes.
    pub(crate) fn drop_asides(&self, trial: &Trial) -> Result<(), DiskError> {
        for undo in &trial.undo {
            if let Undo::Path {
                before: Before::Aside { to },
                ..
            } = undo
            {
                self.disk.remove_tree(to)?;
            }
        }
        Ok(())
    }
}
