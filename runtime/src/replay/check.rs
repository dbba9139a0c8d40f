//! The executor again: what a plan must have been, given the states, held against the changes that an outcome lists.
//!
//! Owns the paths. `after` follows from the states and the ids that names stood for; `before` follows from the machine,
//! unless the decision recorded that something else was found there; a path that is listed and was not as the states want
//! it must have been changed. What services and commands came to is in `acts`.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use jos_schemas::documents::desired_state::{Content, DesiredState, ServiceAction, Step};
use jos_schemas::documents::ledger::OutcomeKind;

use super::Divergence;
use super::line::{ChangeLine, Ids, ReportLine, ShapeLine};
use super::machine::{Managed, Why};
use super::shared::Shared;
use super::wants::{At, DIRECTORY_MODE, Want, overlaid};
use crate::compare::Part;
use crate::gate::{Recorded, is_label, step_path};
use crate::plan::{Action, Shape};

/// What an outcome is held against.
pub(super) struct Case<'a> {
    /// The outcome's own index.
    pub(super) record: u64,
    pub(super) why: Why,
    pub(super) parts: &'a [Part<'a>],
    /// The state whose health decides.
    pub(super) own: Option<&'a DesiredState>,
    pub(super) adopts: bool,
    /// Whether the root was the running machine.
    pub(super) live: bool,
    /// What the gate knew; none where nothing was decided.
    pub(super) gate: Option<&'a Recorded>,
    pub(super) ids: &'a BTreeMap<String, String>,
    /// What stood at managed paths other than the ledger says.
    pub(super) found: &'a BTreeMap<String, Option<Shape>>,
    /// What the files that steps edit by parts must say.
    pub(super) shared: &'a Shared,
    pub(super) paths: &'a BTreeMap<String, Managed>,
    /// Paths that a rollback left nobody knows how.
    pub(super) uncertain: &'a BTreeSet<String>,
    /// There are states in force of which this ledger knows nothing.
    pub(super) blind: bool,
}

/// What a good outcome did to one path.
pub(super) struct Effect<'r> {
    pub(super) path: &'r str,
    pub(super) action: Action,
    pub(super) after: Option<Shape>,
    /// Which step wanted it; none for what is above or below a listed path.
    pub(super) at: Option<At>,
    /// What an edit of a shared file came to.
    pub(super) text: Option<Rc<[u8]>>,
    /// Taken from the record: the documents alone do not say it.
    pub(super) recorded: bool,
}

/// How a change of a path is accounted for.
enum Reason {
    /// A step lists the path.
    Listed(At),
    /// Made above a listed path.
    Above,
    /// Not listed, and its directory is purged or its state prunes.
    Dropped,
    /// Steps edit it by parts.
    Shared,
    /// The documents alone do not say it: enabling a service in a root that is not running, as its unit there says; or a
    /// state of which only the hash was kept.
    Recorded,
}

impl<'a> Case<'a> {
    /// The paths: every change accounted for, and where the outcome is good, nothing missing.
    pub(super) fn paths<'r>(&self, report: &'r ReportLine<'_>) -> Result<Vec<Effect<'r>>, Divergence> {
        let ids: Ids<'_> = self.ids.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let wants = overlaid(self.parts.iter().map(|p| p.state));
        let secret = self.secret_paths();
        let hidden = |path: &str, want: &Want<'_>| want.is_hidden() || secret.contains(path);
        let mut effects = Vec::with_capacity(report.changes.len());
        let mut touched: BTreeSet<&'r str> = BTreeSet::new();
        for change in &report.changes {
            if !matches!(change.action, Action::Create | Action::Update | Action::Remove) {
                continue;
            }
            let path: &'r str = &change.what;
            let reason = match self.reason(change, &wants) {
                // By a state that the ledger before this one knew.
                Err(_) if self.blind => Reason::Recorded,
                reason => reason?,
            };
            let mut recorded = matches!(reason, Reason::Recorded);
            let mut text = None;
            let at = match reason {
                Reason::Listed(at) => {
                    let (winner, want) = wants.get(path).ok_or_else(|| self.unlisted(change))?;
                    if *winner != at {
                        return Err(self.diverges(path, "the change that the overlaying state wants", &change.step));
                    }
                    if let Some(d) = want.differs(change.after.as_ref(), &ids, hidden(path, want)) {
                        return Err(self.diverges(path, d.expected, d.found));
                    }
                    Some(at)
                }
                Reason::Above => {
                    let want = Want::Dir {
                        mode: DIRECTORY_MODE,
                        owner: "",
                    };
                    if let Some(d) = want.differs(change.after.as_ref(), &ids, false) {
                        return Err(self.diverges(path, d.expected, d.found));
                    }
                    None
                }
                Reason::Shared => {
                    text = self.edited(change)?;
                    recorded = text.is_none() && change.after.is_some();
                    None
                }
                Reason::Dropped | Reason::Recorded => None,
            };
            let removes = change.action == Action::Remove;
            if removes != change.after.is_none() {
                let expected = if removes {
                    "nothing left"
                } else {
                    "something in its place"
                };
                return Err(self.diverges(path, expected, shown(change.after.as_ref())));
            }
            self.before(change, touched.contains(path))?;
            touched.insert(path);
            effects.push(Effect {
                path,
                action: change.action,
                after: change.after.as_ref().map(ShapeLine::to_shape),
                at,
                text,
                recorded,
            });
        }
        self.found_is_used(&touched, &wants, report)?;
        let good = matches!(report.outcome, OutcomeKind::Applied | OutcomeKind::Unchanged);
        if good && self.why == Why::Apply && !self.blind {
            for (path, (_, want)) in &wants {
                if !touched.contains(path) {
                    self.untouched(path, want, &ids, hidden(path, want))?;
                }
            }
            if let Some(path) = self.shared.changed().find(|p| !touched.contains(*p)) {
                return Err(self.diverges(path, "a change: the steps make another text of what it said", "none"));
            }
            self.released(report)?;
        }
        Ok(effects)
    }

    /// Paths that hold a secret, or held one in the state before: their content is known by MAC alone.
    fn secret_paths(&self) -> BTreeSet<&'a str> {
        let states = self.parts.iter().flat_map(|p| p.follows.into_iter().chain([p.state]));
        let holds = |step: &'a Step| match step {
            Step::File(f) if matches!(f.content, Some(Content::Secret(_))) => Some(f.path.as_str()),
            _ => None,
        };
        states.flat_map(|s| s.spec.apply.iter().filter_map(holds)).collect()
    }

    /// Which step of which state a label names, if the label is its label.
    pub(super) fn step(&self, change: &ChangeLine<'_>) -> Option<(At, &'a Step)> {
        let number = change
            .step
            .strip_prefix("step ")?
            .split(' ')
            .next()?
            .parse::<usize>()
            .ok()?;
        let (part, found) = self.parts.iter().enumerate().find(|(_, p)| p.source == change.source)?;
        let step = number.checked_sub(1)?;
        let listed = found.state.spec.apply.get(step)?;
        is_label(&change.step, step, listed).then_some((At { part, step }, listed))
    }

    fn reason(&self, change: &ChangeLine<'_>, wants: &BTreeMap<&str, (At, Want<'_>)>) -> Result<Reason, Divergence> {
        let path: &str = &change.what;
        if self.shared.of(path).is_some() && self.edits(change) {
            return Ok(Reason::Shared);
        }
        if let Some(pruned) = change.step.strip_prefix("prune ") {
            let prunes = |p: &Part<'_>| {
                p.source == change.source && p.state.meta.prune && p.follows.is_some_and(|f| manages(f, path))
            };
            let good = pruned == path && change.action == Action::Remove && !wants.contains_key(path);
            return if good && self.parts.iter().any(prunes) {
                Ok(Reason::Dropped)
            } else {
                Err(self.unlisted(change))
            };
        }
        let (at, step) = self.step(change).ok_or_else(|| self.unlisted(change))?;
        if step_path(step) == Some(path) {
            return Ok(Reason::Listed(at));
        }
        if let Some(listed) = step_path(step)
            && below(path, listed)
            && change.action == Action::Create
        {
            return Ok(Reason::Above);
        }
        match step {
            Step::Directory(dir) if dir.purge && change.action == Action::Remove => {
                let listed = wants
                    .iter()
                    .any(|(p, (_, w))| *w != Want::Gone && (*p == path || below(path, p)));
                if below(dir.path.as_str(), path) && !listed {
                    return Ok(Reason::Dropped);
                }
            }
            Step::User(user) if change.action == Action::Create => {
                // Its home: made once, empty, for whom the numbers say.
                let home = user
                    .home
                    .as_ref()
                    .filter(|_| user.make_home && !user.absent)
                    .map(|h| h.as_str());
                let closed = |a: &ShapeLine<'_>| a.kind == "directory" && a.mode == Some("0700");
                if home == Some(path) && change.after.as_ref().is_some_and(closed) {
                    return Ok(Reason::Recorded);
                }
                if home.is_some_and(|home| below(path, home)) {
                    return Ok(Reason::Above);
                }
            }
            Step::Uci(_) | Step::Cron(_) | Step::Sysctl(_)
                if change.action == Action::Create && self.shared.changed().any(|file| below(path, file)) =>
            {
                return Ok(Reason::Above);
            }
            Step::Service(service) if !self.live => {
                let enables = matches!(service.action, ServiceAction::Enable | ServiceAction::Disable);
                let above = change.action == Action::Create
                    && change.after.as_ref().is_some_and(|a| a.kind == "directory")
                    && ENABLING
                        .iter()
                        .any(|dir| below(path, dir) || *dir == path || below(dir, path));
                if enables && above {
                    return Ok(Reason::Above);
                }
                if enables && is_enabling_link(service.name.as_str(), path, change) {
                    return Ok(Reason::Recorded);
                }
            }
            _ => {}
        }
        Err(self.unlisted(change))
    }

    /// What the record says stood there, against what the ledger says stood there.
    fn before(&self, change: &ChangeLine<'_>, touched: bool) -> Result<(), Divergence> {
        let path: &str = &change.what;
        let before = change.before.as_ref();
        let fits = match change.action {
            Action::Create => before.is_none(),
            Action::Update => before.is_some() || touched,
            _ => before.is_some() || touched,
        };
        if !fits {
            let expected = if before.is_none() {
                "what was changed"
            } else {
                "nothing before it"
            };
            return Err(self.diverges(path, expected, shown(before)));
        }
        if touched || self.why == Why::Report {
            return Ok(());
        }
        if let Some(found) = self.found.get(path) {
            let recorded = found.as_ref().map(ShapeLine::from);
            if recorded.as_ref() != before {
                return Err(self.diverges(path, format!("before: {}", shown(recorded.as_ref())), shown(before)));
            }
            return Ok(());
        }
        match self
            .paths
            .get(path)
            .filter(|m| m.held && !self.uncertain.contains(path))
        {
            Some(managed) if self.why != Why::Flow => self.agrees(path, managed, before),
            _ => Ok(()),
        }
    }

    fn agrees(&self, path: &str, managed: &Managed, before: Option<&ShapeLine<'_>>) -> Result<(), Divergence> {
        let known = managed.shape.as_ref().map(ShapeLine::from);
        let same = match (&known, before) {
            (None, None) => true,
            (Some(a), Some(b)) => {
                let both = |x: Option<&str>, y: Option<&str>| x.is_none() || y.is_none() || x == y;
                let size = |s: &ShapeLine<'_>| s.size.filter(|_| s.secret.is_none());
                a.kind == b.kind
                    && a.mode == b.mode
                    && (a.owner.is_empty() || a.owner == b.owner)
                    && (size(a).is_none() || size(b).is_none() || a.size == b.size)
                    && both(a.sha256, b.sha256)
                    && both(a.mac, b.mac)
                    && (a.target.is_none() || b.target.is_none() || a.target == b.target)
            }
            _ => false,
        };
        if same {
            return Ok(());
        }
        let expected = format!(
            "before: {}, as #{} left it (no drift is recorded)",
            shown(known.as_ref()),
            managed.decision
        );
        Err(self.diverges(path, expected, shown(before)))
    }

    fn unlisted(&self, change: &ChangeLine<'_>) -> Divergence {
        let found = format!("a change by {:?} of {}", change.step, word(change));
        self.diverges(&change.what, "no change: no state in force lists it so", found)
    }

    pub(super) fn diverges(
        &self,
        what: &str,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Divergence {
        Divergence::new(self.record, expected, found).about(what)
    }
}

/// Whether `path` lies below `dir`.
pub(super) fn below(dir: &str, path: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
}

fn word(change: &ChangeLine<'_>) -> &'static str {
    crate::ledger::source_word(change.source)
}

/// Whether `state` manages `path`: lists it, and not as absent.
fn manages(state: &DesiredState, path: &str) -> bool {
    state
        .spec
        .apply
        .iter()
        .any(|s| !matches!(s, Step::Absent(_)) && step_path(s) == Some(path))
}

/// Where the links lie by which init systems enable services.
const ENABLING: [&str; 2] = ["/etc/systemd/system", "/etc/rc.d"];

/// Whether a change is one that enabling or disabling `service` in a root makes. Which links, its unit said: that is the
/// root's own knowledge, taken from the record.
fn is_enabling_link(service: &str, path: &str, change: &ChangeLine<'_>) -> bool {
    let Some((dir, name)) = path.rsplit_once('/') else {
        return false;
    };
    let target = change.after.as_ref().and_then(|a| a.target.as_deref());
    let stem = service.split(['.', '@']).next().unwrap_or(service);
    let is_link = change.action == Action::Remove || change.after.as_ref().is_some_and(|a| a.kind == "link");
    let points = target.is_none_or(|t| t.rsplit('/').next().is_some_and(|n| n.starts_with(stem)));
    let systemd = dir == ENABLING[0]
        || dir.strip_prefix(ENABLING[0]).is_some_and(|rest| {
            rest.matches('/').count() == 1 && (rest.ends_with(".wants") || rest.ends_with(".requires"))
        });
    let procd = dir == ENABLING[1] && name.get(3..).is_some_and(|n| n == service);
    is_link && points && (systemd || procd)
}

pub(super) fn shown(shape: Option<&ShapeLine<'_>>) -> String {
    shape.map_or_else(|| "nothing".to_owned(), ToString::to_string)
}
