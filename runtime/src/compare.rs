//! Holds the world against what is wanted and makes the plan. Reads only.
//!
//! Owns the question "what differs": step by step, with what earlier steps of the same plan will have done. Whatever
//! would fail for a reason that can be seen now (a link in a path, a device at the target, an unknown owner, a missing
//! secret) is found here, so that nothing is touched.

mod accounts;
mod blobs;
mod dropped;
mod image;
mod packages;
mod paths;
mod purge;
mod services;
mod shared;
mod system;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use jos_schemas::documents::desired_state::{Content, DesiredState, Step, UciValue};
use jos_schemas::documents::policy::Source;
use jos_schemas::sorted::Map;
use jos_schemas::text::{Name, ServiceName};
use zeroize::Zeroizing;

use crate::content::Store;
use crate::disk::{Attrs, Disk, DiskError, Kind, Meta, parent};
use crate::gate::{Gate, Judgement, Refusal, label, step_path, system_keys};
use crate::plan::{Act, Action, After, Change, Plan, Shape, Task};
use crate::secrets::Secrets;
use crate::world::{Fetch, Packages, Services, Slots};

pub(crate) use accounts::{GROUP, GSHADOW, PASSWD, SHADOW};
pub(crate) use system::without;

/// A state that takes part in a plan.
pub(crate) struct Part<'s> {
    pub(crate) source: Source,
    pub(crate) state: &'s DesiredState,
    /// The state that this one follows, where it is new: what it drops is released or pruned.
    pub(crate) follows: Option<&'s DesiredState>,
    /// Whether `restart`, `reload` and `shell` without `unless` run: they do once a version.
    pub(crate) run_once: bool,
}

/// What the comparison needs.
pub(crate) struct Sight<'a> {
    pub(crate) disk: &'a Disk,
    pub(crate) live: bool,
    pub(crate) gate: &'a Gate<'a>,
    pub(crate) secrets: &'a Secrets,
    pub(crate) services: &'a dyn Services,
    /// Contents at hand.
    pub(crate) content: &'a Store<'a>,
    pub(crate) fetch: &'a dyn Fetch,
    pub(crate) packages: &'a dyn Packages,
    /// There is somebody who outlives this program while its own package is replaced.
    pub(crate) outlives: bool,
    pub(crate) slots: Option<&'a dyn Slots>,
}

/// Which plan is wanted.
pub(crate) struct Wanted<'s> {
    pub(crate) name: &'s Name,
    pub(crate) version: u64,
    pub(crate) source: Source,
    pub(crate) in_force: bool,
    /// Baseline first: what comes later overlays what came before, path by path.
    pub(crate) parts: Vec<Part<'s>>,
}

/// The plan.
pub(crate) fn plan(sight: &Sight<'_>, wanted: &Wanted<'_>) -> Plan {
    let plan = Plan {
        name: wanted.name.clone(),
        version: wanted.version,
        source: wanted.source,
        in_force: wanted.in_force,
        changes: Vec::new(),
        notify: Vec::new(),
        released: Vec::new(),
        refused: Vec::new(),
        unsupported: Vec::new(),
        problems: Vec::new(),
        health_check: wanted.parts.last().is_some_and(|p| p.state.spec.health_check.is_some()),
        tasks: Vec::new(),
        unknown_package: false,
        inputs: BTreeMap::new(),
        ids: BTreeMap::from([(String::new(), {
            let (uid, gid) = default_owner();
            format!("{uid}:{gid}")
        })]),
        running: None,
    };
    let once_secret = wanted
        .parts
        .iter()
        .flat_map(|p| p.follows.into_iter().chain([p.state]))
        .flat_map(secret_paths);
    let mut build = Build {
        sight,
        plan,
        planned: BTreeMap::new(),
        texts: Map::new(),
        once_secret: once_secret.collect(),
        listed: BTreeSet::new(),
        looked_after: BTreeSet::new(),
        installs: false,
        told: BTreeSet::new(),
        shared: Map::new(),
    };
    for part in &wanted.parts {
        let judgement = sight.gate.judge(part.source, part.state);
        build.plan.refused.extend(judgement.refused);
        build.plan.unsupported.extend(judgement.unsupported);
    }
    if build.plan.is_possible() && !build.moves(wanted) {
        let steps = wanted
            .parts
            .iter()
            .flat_map(|p| &p.state.spec.apply)
            .filter(|s| !matches!(s, Step::Absent(_)));
        build.listed = steps.clone().filter_map(step_path).map(str::to_owned).collect();
        build.looked_after = steps.flat_map(accounts::looks_after).collect();
        for (at, part) in wanted.parts.iter().enumerate() {
            let over: Vec<&DesiredState> = wanted.parts[at + 1..].iter().map(|p| p.state).collect();
            for (index, step) in part.state.spec.apply.iter().enumerate() {
                if !over.iter().any(|state| lists(state, step)) {
                    build.step(part, &label(index, step), step);
                }
            }
        }
        build.dropped(wanted);
        build.dropped_entries(wanted);
        build.dropped_names(wanted);
        build.finish();
    }
    build.plan
}

/// Paths of a state that hold a secret.
fn secret_paths(state: &DesiredState) -> impl Iterator<Item = String> {
    state.spec.apply.iter().filter_map(|step| match step {
        Step::File(f) if matches!(f.content, Some(Content::Secret(_))) => Some(f.path.to_string()),
        Step::Uci(u) if u.options.values().any(|v| matches!(v, UciValue::Secret(_))) => {
            Some(format!("/etc/config/{}", u.config))
        }
        _ => None,
    })
}

/// Whether `state` says something about the same path or service.
pub(crate) fn lists(state: &DesiredState, step: &Step) -> bool {
    state
        .spec
        .apply
        .iter()
        .any(|other| match (step_path(step), step_path(other)) {
            (Some(a), Some(b)) => a == b,
            _ => match (step, other) {
                (Step::Service(a), Step::Service(b)) => a.name == b.name,
                (Step::User(a), Step::User(b)) => a.name == b.name,
                (Step::Group(a), Step::Group(b)) => a.name == b.name,
                (Step::Package(a), Step::Package(b)) => a.name == b.name,
                (Step::Image(_), Step::Image(_)) => true,
                (Step::Cron(_), Step::Cron(_)) | (Step::Sysctl(_), Step::Sysctl(_)) => {
                    system_keys(step) == system_keys(other)
                }
                _ => false,
            },
        })
}

/// What a path will be once the tasks so far are done.
#[derive(Clone, Copy, PartialEq)]
enum Planned {
    Gone,
    NewDir,
    Other(Kind),
}

struct Build<'a> {
    sight: &'a Sight<'a>,
    plan: Plan,
    planned: BTreeMap<String, Planned>,
    /// Contents that will stand in the root: units that the same state writes.
    texts: Map<String, Rc<Zeroizing<Vec<u8>>>>,
    once_secret: BTreeSet<String>,
    /// Paths that some state wants to be there.
    listed: BTreeSet<String>,
    /// Paths that steps look after which do not list them.
    looked_after: BTreeSet<String>,
    /// A package of this plan may bring any service.
    installs: bool,
    /// Services that a step of this plan starts, restarts or stops.
    told: BTreeSet<String>,
    /// Files that steps edit by parts.
    shared: Map<String, shared::Shared>,
}

impl Build<'_> {
    fn step(&mut self, part: &Part<'_>, label: &str, step: &Step) {
        let done = match step {
            Step::File(s) => self.file(part, label, s),
            Step::Directory(s) if s.purge => self.directory(part, label, s).and_then(|()| self.purge(part, label, s)),
            Step::Directory(s) => self.directory(part, label, s),
            Step::Link(s) => self.link(part, label, s),
            Step::Absent(s) => self.absent(part, label, s),
            Step::Service(s) => self.service(part, label, s),
            Step::Shell(s) => self.shell(part, label, s),
            Step::User(s) => self.user(part, label, s),
            Step::Group(s) => self.group(part, label, s),
            Step::Package(s) => self.package(part, label, s),
            Step::Uci(s) => self.uci(part, label, s, false),
            Step::Cron(s) => self.cron(part, label, s),
            Step::Sysctl(s) => self.sysctl(part, label, s),
            // Looked at before all others.
            Step::Image(_) => Ok(()),
        };
        if let Err(why) = done {
            self.plan.problems.push(Refusal {
                step: label.to_owned(),
                why,
                needed: None,
            });
        }
    }

    /// What stands at `path`, after the tasks so far.
    fn look(&self, path: &str) -> Result<(Option<Kind>, Option<Meta>), DiskError> {
        if let Some(planned) = self.planned.get(path) {
            return Ok(match planned {
                Planned::Gone => (None, None),
                Planned::NewDir => (Some(Kind::Dir), None),
                Planned::Other(kind) => (Some(*kind), None),
            });
        }
        let mut above = path;
        while let Some(dir) = parent(above).filter(|d| !d.is_empty()) {
            if matches!(self.planned.get(dir), Some(Planned::Gone | Planned::NewDir)) {
                return Ok((None, None));
            }
            above = dir;
        }
        let meta = self.sight.disk.lstat(path)?;
        Ok((meta.map(|m| m.kind), meta))
    }

    /// Plans the directories above `path` that are missing: 0755, owned by root, taken back by undo like the rest.
    fn parents(&mut self, part: &Part<'_>, label: &str, path: &str) -> Result<(), String> {
        let mut ends: Vec<usize> = path.match_indices('/').map(|(i, _)| i).filter(|i| *i > 0).collect();
        ends.sort_unstable();
        for end in ends {
            let dir = &path[..end];
            match self.look(dir).map_err(|e| e.to_string())?.0 {
                Some(Kind::Dir) => {}
                Some(Kind::Link) if self.planned.contains_key(dir) => {
                    return Err(format!(
                        "{dir} is a symbolic link by another step; links are never followed"
                    ));
                }
                Some(Kind::Link) => {
                    let target = self.sight.disk.read_link(dir).unwrap_or_default();
                    let show = |p| self.sight.disk.show(p);
                    let (path, component) = (show(path), show(dir));
                    return Err(DiskError::LinkInPath {
                        path,
                        component,
                        target,
                    }
                    .to_string());
                }
                Some(_) => return Err(format!("{dir} is not a directory")),
                None => {
                    let (uid, gid) = default_owner();
                    let attrs = Attrs { mode: 0o755, uid, gid };
                    self.planned.insert(dir.to_owned(), Planned::NewDir);
                    let change = Change {
                        details: vec!["above what follows".into()],
                        ..bare(label, part.source, Action::Create, dir)
                    };
                    self.path_task(
                        part,
                        change,
                        &[],
                        dir,
                        None,
                        After::Dir { attrs },
                        attrs_shape("directory", attrs),
                    );
                }
            }
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn path_task(
        &mut self,
        part: &Part<'_>,
        change: Change,
        notify: &[ServiceName],
        path: &str,
        seen: Option<Meta>,
        after: After,
        shape: Option<Shape>,
    ) {
        let at = self.plan.changes.len();
        self.plan.changes.push(Change { after: shape, ..change });
        let notify: Vec<String> = notify.iter().map(|n| n.as_str().to_owned()).collect();
        let act = Act::Path {
            path: path.to_owned(),
            seen,
            after,
        };
        self.plan.tasks.push(Task {
            change: at,
            source: part.source,
            notify,
            act,
        });
    }

    /// What an earlier version managed and no state lists any more: released, or removed where the new one prunes.
    fn dropped(&mut self, wanted: &Wanted<'_>) {
        for part in &wanted.parts {
            let Some(before) = part.follows else { continue };
            let listed = |path: &str| {
                let states = wanted.parts.iter().map(|p| p.state);
                states
                    .flat_map(|s| &s.spec.apply)
                    .filter_map(step_path)
                    .any(|p| p == path)
            };
            let managed = before
                .spec
                .apply
                .iter()
                .filter(|s| !matches!(s, Step::Absent(_)))
                .filter_map(step_path);
            let mut gone: Vec<&str> = managed.filter(|p| !listed(p)).collect();
            gone.retain(|path| !self.goes(path));
            if !part.state.meta.prune {
                self.plan.released.extend(gone.into_iter().map(str::to_owned));
                continue;
            }
            // What lies below goes first.
            gone.sort_unstable_by(|a, b| b.cmp(a));
            for path in gone {
                let label = format!("prune {path}");
                let mut judgement = Judgement::default();
                self.sight.gate.judge_removal(part.source, &label, path, &mut judgement);
                if !judgement.refused.is_empty() {
                    self.plan.refused.extend(judgement.refused);
                } else if let Err(why) = self.remove(part, &label, path, false, &[]) {
                    // A directory that others use stays; that is no reason not to apply.
                    if why.contains("is not empty") {
                        self.plan.released.push(path.to_owned());
                    } else {
                        self.plan.problems.push(Refusal {
                            step: label,
                            why,
                            needed: None,
                        });
                    }
                }
            }
        }
    }

    /// Whether an earlier task of this plan removes `path`, or a directory above it.
    fn goes(&self, path: &str) -> bool {
        let mut above = Some(path);
        while let Some(at) = above.filter(|p| !p.is_empty()) {
            if self.planned.get(at) == Some(&Planned::Gone) {
                return true;
            }
            above = parent(at);
        }
        false
    }

    /// Notified services, once each, unless a step of this plan already says what becomes of them.
    fn finish(&mut self) {
        self.settle_shared();
        // The agent's own package comes last: after it this program may be another.
        let itself = |task: &Task| matches!(task.act, Act::Package { itself: true, .. });
        self.plan.tasks.sort_by_key(itself);
        let mut notified = Vec::new();
        for service in self.plan.tasks.iter().flat_map(|t| &t.notify) {
            if !notified.contains(service) && !self.told.contains(service) {
                notified.push(service.clone());
            }
        }
        if !self.sight.live {
            return;
        }
        for service in &notified {
            let why = match self.sight.services.state(service) {
                Ok(state) if state.known || self.brings(service) => continue,
                Ok(_) => format!(
                    "{} does not know a service {service}, and no step brings it",
                    self.sight.services.init()
                ),
                Err(e) => e,
            };
            self.plan.problems.push(Refusal {
                step: format!("notify {service}"),
                why,
                needed: None,
            });
        }
        self.plan.notify = notified;
    }
}

fn bare(label: &str, source: Source, action: Action, what: &str) -> Change {
    let (step, what) = (label.to_owned(), what.to_owned());
    Change {
        step,
        source,
        action,
        what,
        details: Vec::new(),
        before: None,
        after: None,
        diff: String::new(),
    }
}

#[allow(clippy::unnecessary_wraps)]
fn attrs_shape(kind: &str, attrs: Attrs) -> Option<Shape> {
    Some(Shape {
        kind: kind.into(),
        mode: Some(format!("{:04o}", attrs.mode)),
        owner: format!("{}:{}", attrs.uid, attrs.gid),
        size: None,
        sha256: None,
        mac: None,
        secret: None,
        target: None,
    })
}

/// root:root; an ordinary user, who cannot give files away, owns what he makes.
fn default_owner() -> (u32, u32) {
    let (uid, gid) = crate::disk::me();
    if uid == 0 { (0, 0) } else { (uid, gid) }
}
