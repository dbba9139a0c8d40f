//! Does what a plan says, and takes it back.
//!
//! Owns the two directions: forward, task by task, stopping at the first failure; back (`act/back.rs`), in reverse order,
//! stopping at nothing and saying what is left. Both run under a journal that was durable before.

mod back;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::accounts::Lock;
use crate::content::Store;
use crate::disk::{Disk, DiskError, Kind, Meta};
use crate::journal::{Before, Journal, Trial, Undo};
use crate::plan::{Act, After, Plan};
use crate::world::{Invocation, PackageChange, Packages, Ran, ServiceCommand, World};

/// What a command came to, as the ledger keeps it: never its output, which may hold anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captured {
    /// Which step.
    pub step: String,
    /// How it ended, in words.
    pub ending: String,
    /// Exit code, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// SHA-256 of all its output.
    pub output_sha256: String,
    /// What became of the package that the step names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<PackageResult>,
}

/// What a package manager made of a package, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageResult {
    /// The version that was installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The version that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl Captured {
    pub(crate) fn of(step: &str, ran: &Ran) -> Self {
        Self {
            step: step.to_owned(),
            ending: ran.ending(),
            code: ran.code,
            output_sha256: ran.output_sha256.clone(),
            package: None,
        }
    }

    /// The same for a package, which the manager is asked about.
    pub(crate) fn of_package(
        step: &str,
        ran: &Ran,
        packages: &dyn Packages,
        name: &str,
        changes: &[PackageChange],
    ) -> Self {
        let before = changes.iter().find(|c| c.name == name).and_then(|c| c.before.clone());
        let package = packages.installed(name).map(|after| PackageResult { before, after });
        Self {
            package: package.ok(),
            ..Self::of(step, ran)
        }
    }
}

/// What doing a plan came to.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) captured: Vec<Captured>,
    /// Changes that turned out not to be needed: `unless` succeeded.
    pub(crate) skipped: BTreeSet<usize>,
    pub(crate) notified: Vec<String>,
    /// The last command that ran, with its output.
    pub(crate) last: Option<Ran>,
}

/// Why going forward stopped.
pub(crate) struct Failed {
    pub(crate) why: String,
    pub(crate) cause: Cause,
}

/// Whose fault it was. Kept over a crash: it decides what becomes of the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cause {
    /// The state's: it is not tried again.
    State,
    /// The device's (a full disk, somebody else at work): it may be tried again.
    Device,
    /// The hub did not answer in time. Whether it answers under the old state says whose fault that is.
    Hub {
        /// Seconds that it was given.
        within: u32,
    },
}

impl Failed {
    pub(crate) fn state(why: String) -> Self {
        let cause = Cause::State;
        Self { why, cause }
    }

    pub(crate) fn device(why: String) -> Self {
        let cause = Cause::Device;
        Self { why, cause }
    }
}

/// The hands of the plane.
pub(crate) struct Hands<'a> {
    pub(crate) disk: &'a Disk,
    pub(crate) journal: &'a Journal<'a>,
    pub(crate) world: World<'a>,
    /// False for a root that is not running: no service is told anything.
    pub(crate) live: bool,
    /// Environment of commands.
    pub(crate) env: &'a [(String, String)],
    /// Contents that are named by their hash.
    pub(crate) content: Store<'a>,
}

/// The name that what stands at `path` takes until the change is kept, where it is not copied.
fn aside_of<'t>(trial: &'t Trial, path: &str) -> Option<&'t str> {
    trial.undo.iter().find_map(|undo| match undo {
        Undo::Path {
            path: at,
            before: Before::Aside { to },
        } if at == path => Some(to.as_str()),
        _ => None,
    })
}

impl Hands<'_> {
    /// Does the plan, then restarts the notified services. The error says which step failed and why.
    pub(crate) fn forward(&self, plan: &Plan, trial: &Trial, done: &mut Done) -> Result<(), Failed> {
        let mut files_changed = false;
        let mut accounts = None;
        for (number, task) in plan.tasks.iter().enumerate() {
            let step = &plan.changes[task.change].step;
            let failed = |why: String| Failed::state(format!("{step}: {why}"));
            match &task.act {
                Act::Path { path, seen, after } => {
                    self.guard(&mut accounts, path)
                        .map_err(|e| Failed::device(format!("{step}: {e}")))?;
                    self.path(number, path, seen.as_ref(), after, trial)
                        .map_err(|e| Failed::device(format!("{step}: {e}")))?;
                    files_changed = true;
                }
                Act::Service { name, command } => {
                    self.refresh(&mut files_changed).map_err(failed)?;
                    self.tell(name, *command).map_err(failed)?;
                }
                Act::Check { what, argv, timeout } => {
                    let ran = self.run(argv, *timeout).map_err(failed)?;
                    done.captured.push(Captured::of(&format!("{step}: {what}"), &ran));
                    if !ran.ok() {
                        return Err(failed(format!("{what}: it ended with {}", ran.ending())));
                    }
                }
                // The guardian's affair, after everything else.
                Act::Package { itself: true, .. } => {}
                Act::Image { .. } => return Err(failed("a system is moved to by a transaction of its own".into())),
                Act::Package { wish, changes, .. } => {
                    accounts = None;
                    self.refresh(&mut files_changed).map_err(failed)?;
                    let packages = self.world.packages;
                    packages
                        .download(wish)
                        .map_err(|e| Failed::device(format!("{step}: {e}")))?;
                    self.journal
                        .progress(&format!("package {number}"))
                        .map_err(|e| Failed::device(format!("{step}: {e}")))?;
                    let ran = packages.act(wish).map_err(failed)?;
                    let captured = Captured::of_package(step, &ran, packages, &wish.name, changes);
                    done.captured.push(captured);
                    // It may have brought units.
                    files_changed = true;
                    let (ok, ending) = (ran.ok(), ran.ending());
                    done.last = Some(ran);
                    if !ok {
                        return Err(failed(format!("{} ended with {ending}", packages.manager())));
                    }
                }
                Act::Shell {
                    argv, unless, timeout, ..
                } => {
                    accounts = None;
                    self.refresh(&mut files_changed).map_err(failed)?;
                    let run = |argv: &[String]| self.run(argv, *timeout).map_err(failed);
                    if let Some(unless) = unless {
                        let ran = run(unless)?;
                        done.captured.push(Captured::of(&format!("{step}: unless"), &ran));
                        if ran.ok() {
                            done.skipped.insert(task.change);
                            continue;
                        }
                    }
                    self.journal
                        .progress(&format!("shell {number}"))
                        .map_err(|e| failed(e.to_string()))?;
                    let ran = run(argv)?;
                    done.captured.push(Captured::of(step, &ran));
                    let (ok, ending) = (ran.ok(), ran.ending());
                    done.last = Some(ran);
                    if !ok {
                        return Err(failed(format!("the command ended with {ending}")));
                    }
                }
            }
        }
        for service in &plan.notify {
            let failed = |e| Failed::state(format!("notify {service}: {e}"));
            self.refresh(&mut files_changed).map_err(failed)?;
            self.tell(service, ServiceCommand::Restart).map_err(failed)?;
            done.notified.push(service.clone());
        }
        Ok(())
    }

    /// Holds the lock of the account files from the first of them to the last in a row: what the plan saw is looked at
    /// again under it, and no other program edits them in between.
    fn guard(&self, held: &mut Option<Lock>, path: &str) -> Result<(), String> {
        if !self.live || !Lock::guards(path) {
            *held = None;
        } else if held.is_none() {
            *held = Some(Lock::take(self.disk, self.world.clock)?);
        }
        Ok(())
    }

    fn refresh(&self, files_changed: &mut bool) -> Result<(), String> {
        if std::mem::take(files_changed) && self.live {
            self.world.services.refresh()
        } else {
            Ok(())
        }
    }

    fn tell(&self, service: &str, command: ServiceCommand) -> Result<(), String> {
        self.journal
            .progress(&format!("service {service}"))
            .map_err(|e| e.to_string())?;
        self.world.services.command(service, command)
    }

    fn run(&self, argv: &[String], timeout: Duration) -> Result<Ran, String> {
        self.world.processes.run(&Invocation {
            argv: argv.to_vec(),
            env: self.env.to_vec(),
            timeout,
        })
    }

    fn path(
        &self,
        number: usize,
        path: &str,
        seen: Option<&Meta>,
        after: &After,
        trial: &Trial,
    ) -> Result<(), DiskError> {
        // What was seen when the plan was made must be what is there: somebody else may be at work.
        if let Some(seen) = seen {
            // A directory's size and links tell of what lies in it, which earlier steps change.
            let same = |now: &Meta| {
                (now.kind, now.inode, now.mode, now.uid, now.gid)
                    == (seen.kind, seen.inode, seen.mode, seen.uid, seen.gid)
                    && (now.kind == Kind::Dir || (now.size, now.links) == (seen.size, seen.links))
            };
            if !self.disk.lstat(path)?.is_some_and(|now| same(&now)) {
                let (found, expected) = ("something else than when the plan was made", "what the plan saw");
                return Err(DiskError::InTheWay {
                    path: path.to_owned(),
                    found,
                    expected,
                });
            }
        }
        let aside = aside_of(trial, path);
        let xattrs = || match seen {
            Some(meta) if meta.kind == Kind::File => self.disk.xattrs(path),
            _ => Ok(Vec::new()),
        };
        match after {
            After::File {
                attrs,
                same_bytes: true,
                ..
            }
            | After::Blob {
                attrs,
                same_bytes: true,
                ..
            } => self.disk.set_attrs(path, *attrs),
            After::File { bytes, attrs, .. } => self
                .disk
                .write_with(path, *attrs, &xattrs()?, aside, &mut |sink| sink.put(bytes)),
            After::Blob { needed, attrs, .. } => self.disk.write_with(path, *attrs, &xattrs()?, aside, &mut |sink| {
                self.content.pour(needed, sink)
            }),
            After::Dir { attrs } => match self.disk.lstat(path)? {
                Some(meta) if meta.kind == Kind::Dir => self.disk.set_attrs(path, *attrs),
                _ => self.disk.make_dir(path, *attrs),
            },
            After::Link { target, owner } => {
                if let Some(to) = aside.filter(|_| seen.is_some()) {
                    self.disk.rename(path, to)?;
                }
                self.disk.make_link(path, target, *owner)
            }
            After::Gone => match aside.filter(|_| seen.is_some()) {
                Some(to) => self.disk.rename(path, to),
                None => self.disk.remove(path),
            },
            After::TreeGone => match aside {
                Some(to) => self.disk.rename(path, to),
                None => Err(DiskError::BadPath {
                    path: format!("{path} (task {number})"),
                    why: "it is not in the journal",
                }),
            },
        }
    }
}
