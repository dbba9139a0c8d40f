//! Holds the world against what is wanted and makes the plan. Reads only.
//!
//! Owns the question "what differs": step by step, with what earlier steps of the same plan will have done. Whatever
//! would fail for a reason that can be seen now (a link in a path, a device at the target, an unknown owner, a missing
//! secret) is found here, so that nothing is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use jos_schemas::documents::desired_state::{
    AbsentStep, Content, DesiredState, DirectoryStep, FileStep, LinkStep, ServiceAction, ServiceStep, ShellStep, Step,
};
use jos_schemas::documents::policy::Source;
use jos_schemas::text::{Mode, Name, Owner, ServiceName};
use jos_trust::sha256;
use zeroize::Zeroizing;

use crate::accounts;
use crate::diff;
use crate::disk::{Attrs, Disk, DiskError, Kind, Meta, parent};
use crate::gate::{Gate, Judgement, Refusal, label, step_path};
use crate::offline::{self, Enabling};
use crate::plan::{Act, Action, After, Change, Plan, Shape, Task};
use crate::secrets::Secrets;
use crate::world::{ServiceCommand, Services};

/// Larger files are not read to be compared: a state's own content is at most 1 MiB.
const READ_LIMIT: u64 = 16 * 1024 * 1024;
/// Larger texts get no diff.
const DIFF_LIMIT: usize = 64 * 1024;
/// Seconds for a shell step without `timeout`.
const SHELL_TIMEOUT: u32 = 60;

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
        texts: BTreeMap::new(),
        once_secret: once_secret.map(str::to_owned).collect(),
        listed: BTreeSet::new(),
        told: BTreeSet::new(),
    };
    for part in &wanted.parts {
        let judgement = sight.gate.judge(part.source, part.state);
        build.plan.refused.extend(judgement.refused);
        build.plan.unsupported.extend(judgement.unsupported);
    }
    if build.plan.is_possible() {
        let steps = wanted
            .parts
            .iter()
            .flat_map(|p| &p.state.spec.apply)
            .filter(|s| !matches!(s, Step::Absent(_)));
        build.listed = steps.filter_map(step_path).map(str::to_owned).collect();
        for (at, part) in wanted.parts.iter().enumerate() {
            let over: Vec<&DesiredState> = wanted.parts[at + 1..].iter().map(|p| p.state).collect();
            for (index, step) in part.state.spec.apply.iter().enumerate() {
                if !over.iter().any(|state| lists(state, step)) {
                    build.step(part, &label(index, step), step);
                }
            }
        }
        build.dropped(wanted);
        build.finish();
    }
    build.plan
}

/// Paths of a state that hold a secret.
fn secret_paths(state: &DesiredState) -> impl Iterator<Item = &str> {
    state.spec.apply.iter().filter_map(|step| match step {
        Step::File(f) if matches!(f.content, Some(Content::Secret(_))) => Some(f.path.as_str()),
        _ => None,
    })
}

/// Whether `state` says something about the same path or service.
fn lists(state: &DesiredState, step: &Step) -> bool {
    state
        .spec
        .apply
        .iter()
        .any(|other| match (step_path(step), step_path(other)) {
            (Some(a), Some(b)) => a == b,
            _ => matches!((step, other), (Step::Service(a), Step::Service(b)) if a.name == b.name),
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
    texts: BTreeMap<String, Rc<Zeroizing<Vec<u8>>>>,
    once_secret: BTreeSet<String>,
    /// Paths that some state wants to be there.
    listed: BTreeSet<String>,
    /// Services that a step of this plan starts, restarts or stops.
    told: BTreeSet<String>,
}

impl Build<'_> {
    fn step(&mut self, part: &Part<'_>, label: &str, step: &Step) {
        let done = match step {
            Step::File(s) => self.file(part, label, s),
            Step::Directory(s) => self.directory(part, label, s),
            Step::Link(s) => self.link(part, label, s),
            Step::Absent(s) => self.absent(part, label, s),
            Step::Service(s) => self.service(part, label, s),
            Step::Shell(s) => self.shell(part, label, s),
            // The gate has refused the others by name.
            _ => Ok(()),
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

    fn attrs(&self, mode: Option<&Mode>, default: u32, owner: Option<&Owner>) -> Result<Attrs, String> {
        let mode = mode.map_or(default, Mode::bits);
        let own = default_owner();
        let (uid, gid) = match owner {
            None => own,
            Some(owner) => accounts::resolve(self.sight.disk, self.sight.live, owner)?,
        };
        if own.0 != 0 && uid != own.0 {
            return Err(format!("only root can give a file to uid {uid}; this is uid {}", own.0));
        }
        Ok(Attrs { mode, uid, gid })
    }

    fn file(&mut self, part: &Part<'_>, label: &str, step: &FileStep) -> Result<(), String> {
        let path = step.path.as_str();
        self.parents(part, label, path)?;
        let (bytes, secret) = match &step.content {
            Some(Content::Text(text)) => (Zeroizing::new(text.as_bytes().to_vec()), None),
            Some(Content::Secret(s)) => (
                self.sight.secrets.get(&s.secret).map_err(|e| e.to_string())?,
                Some(&s.secret),
            ),
            None => return Err("neither `content` nor `source`".into()),
        };
        let bytes = Rc::new(bytes);
        let attrs = self.attrs(
            step.mode.as_ref(),
            if secret.is_some() { 0o600 } else { 0o644 },
            step.owner.as_ref(),
        )?;
        let (kind, seen) = self.look(path).map_err(|e| e.to_string())?;
        let mut change = bare(label, part.source, Action::Create, path);
        let mut same_bytes = false;
        let hidden = secret.is_some() || self.once_secret.contains(path) || attrs.mode & 0o004 == 0;
        let mut old_text = None;
        if let Some(kind) = kind {
            change.action = Action::Update;
            let disk = self.sight.disk;
            if let Some(meta) = &seen {
                let mut shape = Shape::of(meta);
                if kind == Kind::File && meta.size <= READ_LIMIT {
                    let old = Zeroizing::new(disk.read(path, READ_LIMIT).map_err(|e| e.to_string())?.0);
                    same_bytes = *old == **bytes;
                    let hidden = hidden || meta.mode & 0o004 == 0;
                    self.identify(&mut shape, &old, hidden);
                    if !hidden && !same_bytes {
                        old_text = text(&old).map(str::to_owned);
                    }
                } else if kind == Kind::Link {
                    shape.target = disk.read_link(path).ok();
                }
                differences(&mut change.details, meta, attrs);
                if kind == Kind::File && same_bytes && change.details.is_empty() {
                    self.texts.insert(path.to_owned(), bytes);
                    return Ok(());
                }
                disk.check_changeable(path, meta).map_err(|e| e.to_string())?;
                change.before = Some(shape);
            }
            match kind {
                Kind::Dir => return Err(format!("{path}: a directory stands there, expected a file or nothing")),
                Kind::Link => change.details.insert(0, "replaces a link".into()),
                _ if !same_bytes => change.details.insert(0, "content".into()),
                _ => {}
            }
        }
        if !hidden
            && kind != Some(Kind::Link)
            && let (Some(new), true) = (text(&bytes), kind.is_none() || old_text.is_some())
        {
            change.diff = diff::unified(old_text.as_deref().unwrap_or_default(), new);
        }
        let mut shape = attrs_shape("file", attrs).expect("attributes have a shape");
        shape.size = Some(bytes.len() as u64);
        self.identify(&mut shape, &bytes, hidden);
        if let Some(name) = secret {
            (shape.size, shape.secret) = (None, Some(name.clone()));
            change.details.push(format!("secret {name}"));
        } else if hidden {
            change
                .details
                .push("content not shown: not everybody may read it".into());
        }
        self.planned.insert(path.to_owned(), Planned::Other(Kind::File));
        self.texts.insert(path.to_owned(), Rc::clone(&bytes));
        let same_bytes = same_bytes && seen.is_some_and(|m| m.kind == Kind::File);
        self.path_task(
            part,
            change,
            &step.notify,
            path,
            seen,
            After::File {
                bytes,
                attrs,
                same_bytes,
            },
            Some(shape),
        );
        Ok(())
    }

    /// Hash for what everybody may read, MAC for the rest.
    fn identify(&self, shape: &mut Shape, bytes: &[u8], hidden: bool) {
        if hidden {
            shape.mac = Some(self.sight.secrets.mac(bytes));
        } else {
            shape.sha256 = Some(sha256(bytes).to_string());
        }
    }

    fn directory(&mut self, part: &Part<'_>, label: &str, step: &DirectoryStep) -> Result<(), String> {
        let path = step.path.as_str();
        self.parents(part, label, path)?;
        let attrs = self.attrs(step.mode.as_ref(), 0o755, step.owner.as_ref())?;
        let (kind, seen) = self.look(path).map_err(|e| e.to_string())?;
        let mut change = bare(label, part.source, Action::Create, path);
        match (kind, &seen) {
            (None, _) => {
                self.planned.insert(path.to_owned(), Planned::NewDir);
            }
            (Some(Kind::Dir), Some(meta)) => {
                differences(&mut change.details, meta, attrs);
                if change.details.is_empty() {
                    return Ok(());
                }
                (change.action, change.before) = (Action::Update, Some(Shape::of(meta)));
            }
            // Made above for another step: only its attributes may differ.
            (Some(Kind::Dir), None) => change.action = Action::Update,
            (Some(Kind::Link), _) => {
                let target = self.sight.disk.read_link(path).unwrap_or_default();
                return Err(format!(
                    "{path}: a link to {target} stands there, expected a directory; links are never followed"
                ));
            }
            (Some(_), _) => {
                return Err(format!(
                    "{path}: something else stands there, expected a directory or nothing"
                ));
            }
        }
        self.path_task(
            part,
            change,
            &step.notify,
            path,
            seen,
            After::Dir { attrs },
            attrs_shape("directory", attrs),
        );
        Ok(())
    }

    fn link(&mut self, part: &Part<'_>, label: &str, step: &LinkStep) -> Result<(), String> {
        self.one_link(part, label, step.path.as_str(), &step.target, &step.notify)
    }

    fn one_link(
        &mut self,
        part: &Part<'_>,
        label: &str,
        path: &str,
        target: &str,
        notify: &[ServiceName],
    ) -> Result<(), String> {
        self.parents(part, label, path)?;
        let (kind, seen) = self.look(path).map_err(|e| e.to_string())?;
        let mut change = bare(label, part.source, Action::Create, path);
        change.details.push(format!("→ {target}"));
        if let (Some(kind), Some(meta)) = (kind, &seen) {
            let mut shape = Shape::of(meta);
            if kind == Kind::Link {
                let old = self.sight.disk.read_link(path).map_err(|e| e.to_string())?;
                if old == target {
                    return Ok(());
                }
                change.details = vec![format!("→ {target} (was {old})")];
                shape.target = Some(old);
            }
            self.sight
                .disk
                .check_changeable(path, meta)
                .map_err(|e| e.to_string())?;
            (change.action, change.before) = (Action::Update, Some(shape));
        }
        if kind == Some(Kind::Dir) {
            return Err(format!(
                "{path}: a directory stands there, expected a link, a file or nothing"
            ));
        }
        self.planned.insert(path.to_owned(), Planned::Other(Kind::Link));
        let owner = default_owner();
        let shape = Shape {
            kind: "link".into(),
            mode: None,
            owner: format!("{}:{}", owner.0, owner.1),
            size: None,
            sha256: None,
            mac: None,
            secret: None,
            target: Some(target.to_owned()),
        };
        let after = After::Link {
            target: target.to_owned(),
            owner,
        };
        self.path_task(part, change, notify, path, seen, after, Some(shape));
        Ok(())
    }

    fn absent(&mut self, part: &Part<'_>, label: &str, step: &AbsentStep) -> Result<(), String> {
        // Removed and made again at every look, such a pair would never come to rest.
        let below = format!("{}/", step.path);
        if let Some(listed) = self
            .listed
            .range(below.clone()..)
            .next()
            .filter(|p| p.starts_with(&below))
        {
            return Err(format!("another step wants {listed}, which lies below it"));
        }
        self.remove(part, label, step.path.as_str(), step.recursive, &step.notify)
    }

    fn remove(
        &mut self,
        part: &Part<'_>,
        label: &str,
        path: &str,
        recursive: bool,
        notify: &[ServiceName],
    ) -> Result<(), String> {
        let (kind, seen) = self.look(path).map_err(|e| e.to_string())?;
        let Some(kind) = kind else { return Ok(()) };
        let mut change = bare(label, part.source, Action::Remove, path);
        change.before = seen.as_ref().map(Shape::of);
        let mut after = After::Gone;
        if let Some(meta) = &seen {
            self.sight
                .disk
                .check_changeable(path, meta)
                .map_err(|e| e.to_string())?;
        }
        if kind == Kind::Dir {
            let names = self.sight.disk.list(path).map_err(|e| e.to_string())?;
            let still = |name: &std::ffi::OsString| {
                let below = format!("{path}/{}", name.to_string_lossy());
                self.planned.get(&below) != Some(&Planned::Gone)
            };
            let left = names.iter().filter(|n| still(n)).count();
            if left > 0 && !recursive {
                return Err(format!(
                    "{path}: the directory is not empty ({left} entries); remove them too, or set `recursive`"
                ));
            }
            if left > 0 {
                change.details.push(format!("with {left} entries"));
                after = After::TreeGone;
            }
        }
        self.planned.insert(path.to_owned(), Planned::Gone);
        self.path_task(part, change, notify, path, seen, after, None);
        Ok(())
    }

    fn service(&mut self, part: &Part<'_>, label: &str, step: &ServiceStep) -> Result<(), String> {
        let name = step.name.as_str();
        if !self.sight.live {
            return self.service_in_root(part, label, step);
        }
        let state = self
            .sight
            .services
            .state(name)
            .map_err(|e| format!("service {name}: {e}"))?;
        let commands: &[ServiceCommand] = match step.action {
            ServiceAction::Start if !state.active => &[ServiceCommand::Start],
            ServiceAction::Stop if state.active => &[ServiceCommand::Stop],
            ServiceAction::Restart if part.run_once => &[ServiceCommand::Restart],
            ServiceAction::Reload if part.run_once => &[ServiceCommand::Reload],
            ServiceAction::Enable => match (state.enabled, state.active) {
                (true, true) => &[],
                (true, false) => &[ServiceCommand::Start],
                (false, true) => &[ServiceCommand::Enable],
                (false, false) => &[ServiceCommand::Enable, ServiceCommand::Start],
            },
            ServiceAction::Disable => match (state.active, state.enabled) {
                (false, false) => &[],
                (true, false) => &[ServiceCommand::Stop],
                (false, true) => &[ServiceCommand::Disable],
                (true, true) => &[ServiceCommand::Stop, ServiceCommand::Disable],
            },
            _ => &[],
        };
        let stops = matches!(step.action, ServiceAction::Stop | ServiceAction::Disable);
        if !commands.is_empty() && !state.known && !stops && !self.brings(name) {
            let init = self.sight.services.init();
            return Err(format!("{init} does not know a service {name}, and no step brings it"));
        }
        for command in commands {
            if *command != ServiceCommand::Enable && *command != ServiceCommand::Disable {
                self.told.insert(name.to_owned());
            }
            let mut change = bare(label, part.source, Action::Service, name);
            change.details.push(format!("service {}", command.word()));
            let at = self.plan.changes.len();
            self.plan.changes.push(change);
            let act = Act::Service {
                name: name.to_owned(),
                command: *command,
            };
            self.plan.tasks.push(Task {
                change: at,
                source: part.source,
                notify: Vec::new(),
                act,
            });
        }
        if stops {
            self.told.insert(name.to_owned());
        }
        Ok(())
    }

    /// Whether a file of this plan could be the service's unit, script or plist.
    fn brings(&self, service: &str) -> bool {
        let stem = service.split('@').next().unwrap_or(service);
        self.texts
            .keys()
            .any(|p| p.rsplit('/').next().is_some_and(|n| n.starts_with(stem)))
    }

    fn service_in_root(&mut self, part: &Part<'_>, label: &str, step: &ServiceStep) -> Result<(), String> {
        let name = step.name.as_str();
        let on = match step.action {
            ServiceAction::Enable => true,
            ServiceAction::Disable => false,
            ServiceAction::Stop => return Ok(()),
            ServiceAction::Start | ServiceAction::Restart | ServiceAction::Reload => {
                self.pending(part, label, name, "service start at the first boot");
                return Ok(());
            }
        };
        let read = |path: &str| {
            let text = |b: &[u8]| Some(String::from_utf8_lossy(b).into_owned());
            match self.texts.get(path) {
                Some(bytes) => text(bytes),
                None => self.sight.disk.read(path, 1 << 20).ok().and_then(|(b, _)| text(&b)),
            }
        };
        match offline::enabling(name, &read) {
            Enabling::Links(links) => {
                for link in links {
                    if on {
                        self.one_link(part, label, &link.path, &link.target, &[])?;
                    } else {
                        self.remove(part, label, &link.path, false, &[])?;
                    }
                }
                Ok(())
            }
            Enabling::Unknown => {
                let what = if on {
                    "service enable at the first boot: not in this root yet"
                } else {
                    "service disable at the first boot"
                };
                self.pending(part, label, name, what);
                Ok(())
            }
        }
    }

    fn pending(&mut self, part: &Part<'_>, label: &str, what: &str, why: &str) {
        if part.run_once {
            let mut change = bare(label, part.source, Action::Pending, what);
            change.details.push(why.to_owned());
            self.plan.changes.push(change);
        }
    }

    fn shell(&mut self, part: &Part<'_>, label: &str, step: &ShellStep) -> Result<(), String> {
        if !part.run_once && step.unless.is_none() {
            return Ok(());
        }
        let shown: String = step
            .command
            .chars()
            .take(200)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        if !self.sight.live {
            self.pending(part, label, &shown, "runs at the first boot");
            return Ok(());
        }
        let command = |text: &str| {
            self.sight
                .gate
                .command(part.source, text)
                .ok_or_else(|| format!("the command is not listed: {text:?}"))
        };
        let argv = command(&step.command)?;
        let unless = step.unless.as_deref().map(command).transpose()?;
        let undo = step.undo.as_deref().map(command).transpose()?;
        let timeout = Duration::from_secs(u64::from(step.timeout.unwrap_or(SHELL_TIMEOUT)));
        let mut change = bare(label, part.source, Action::Run, &shown);
        if let Some(unless) = &step.unless {
            change.details.push(format!("unless {unless:?} succeeds"));
        }
        if step.undo.is_none() {
            change.details.push("has no undo".into());
        }
        let at = self.plan.changes.len();
        self.plan.changes.push(change);
        let act = Act::Shell {
            argv,
            unless,
            undo,
            timeout,
        };
        self.plan.tasks.push(Task {
            change: at,
            source: part.source,
            notify: Vec::new(),
            act,
        });
        Ok(())
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

    /// Notified services, once each, unless a step of this plan already says what becomes of them.
    fn finish(&mut self) {
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
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    if uid == 0 { (0, 0) } else { (uid, gid) }
}

fn differences(details: &mut Vec<String>, meta: &Meta, attrs: Attrs) {
    if meta.kind == Kind::Link {
        return;
    }
    if meta.mode != attrs.mode {
        details.push(format!("mode {:04o} → {:04o}", meta.mode, attrs.mode));
    }
    if (meta.uid, meta.gid) != (attrs.uid, attrs.gid) {
        details.push(format!("owner {}:{} → {}:{}", meta.uid, meta.gid, attrs.uid, attrs.gid));
    }
}

/// Bytes as a text worth a diff.
fn text(bytes: &[u8]) -> Option<&str> {
    if bytes.len() > DIFF_LIMIT || bytes.contains(&0) {
        None
    } else {
        std::str::from_utf8(bytes).ok()
    }
}
