//! Files that steps edit by parts: UCI files, crontabs, the account files.
//!
//! Owns what such a file will say once all steps of the plan had their turn. However many steps edit a file, one task
//! writes it, so it is never seen half edited, and undo is byte for byte. What it said before is captured in
//! `Plan::inputs`: replay cannot know it from the state alone.

use std::collections::BTreeSet;
use std::rc::Rc;

use jos_schemas::documents::policy::Source;
use jos_schemas::text::ServiceName;
use zeroize::Zeroizing;

use super::{Build, Part, Planned, attrs_shape, bare};
use crate::diff;
use crate::disk::{Attrs, Kind, Meta};
use crate::gate::Refusal;
use crate::plan::{Act, Action, After, Input, Shape, Task};

/// A larger file is not one that is edited by parts.
const LIMIT: u64 = 4 * 1024 * 1024;
/// Larger texts get no diff.
const DIFF_LIMIT: usize = 64 * 1024;
/// More edits of one file are counted, not named.
const NAMED: usize = 30;

type Text = Option<Rc<Zeroizing<Vec<u8>>>>;

/// A file that steps of this plan read or edit.
pub(super) struct Shared {
    before: Text,
    seen: Option<Meta>,
    now: Text,
    /// Not everybody may read it, or it holds a secret: no diff, and a MAC instead of a hash.
    hidden: bool,
    /// Its place among the plan's tasks, once a step changed it.
    task: Option<usize>,
    /// For a file that is not there yet.
    attrs: Attrs,
    details: Vec<String>,
}

/// One step's edit of a file.
pub(super) struct Edit<'e> {
    /// The whole new text; `None` when the file is to go.
    pub(super) text: Option<Vec<u8>>,
    /// What a new file gets. One that is there keeps its own.
    pub(super) attrs: Attrs,
    /// What the step changes in it, in words. No secret.
    pub(super) details: Vec<String>,
    pub(super) notify: &'e [ServiceName],
}

impl Build<'_> {
    /// What a file will say once the steps so far are done; `None` when it is not there. Only for files that are edited
    /// by parts: one that another step lists whole is an error.
    pub(super) fn shared_file(&mut self, path: &str) -> Result<Text, String> {
        if let Some(shared) = self.shared.get(path) {
            return Ok(shared.now.clone());
        }
        let whole =
            |step: &str| format!("{path}: another step {step} it, and the two would undo each other at every turn");
        if self.listed.contains(path) {
            return Err(whole("says what is at"));
        }
        let disk = self.sight.disk;
        let (kind, seen) = self.look(path).map_err(|e| e.to_string())?;
        let before = match (kind, &seen) {
            (None, _) if self.planned.get(path) == Some(&Planned::Gone) => return Err(whole("removes")),
            (None, _) => None,
            (Some(Kind::File), Some(meta)) => {
                disk.check_changeable(path, meta).map_err(|e| e.to_string())?;
                let (bytes, _) = disk.read(path, LIMIT).map_err(|e| e.to_string())?;
                Some(Rc::new(Zeroizing::new(bytes)))
            }
            (Some(Kind::Link), _) => {
                let target = disk.read_link(path).unwrap_or_default();
                return Err(format!(
                    "{path}: a link to {target} stands there, expected a file; links are never followed"
                ));
            }
            _ => {
                return Err(format!(
                    "{path}: something else stands there, expected a file or nothing"
                ));
            }
        };
        let hidden = self.once_secret.contains(path) || seen.is_some_and(|m| m.mode & 0o004 == 0);
        let shared = Shared {
            now: before.clone(),
            attrs: Attrs {
                mode: 0o644,
                uid: 0,
                gid: 0,
            },
            task: None,
            details: Vec::new(),
            before,
            seen,
            hidden,
        };
        let now = shared.now.clone();
        self.shared.insert(path.to_owned(), shared);
        Ok(now)
    }

    /// The task that writes a file, once a step changed it.
    pub(super) fn shared_task(&self, path: &str) -> Option<usize> {
        self.shared.get(path)?.task
    }

    /// From now on `path` holds, or held, what not everybody may know.
    pub(super) fn hide_shared(&mut self, path: &str) {
        if let Some(shared) = self.shared.get_mut(path) {
            shared.hidden = true;
        }
    }

    /// Plans the new text of a file that [`Build::shared_file`] gave.
    pub(super) fn edit_shared(
        &mut self,
        part: &Part<'_>,
        label: &str,
        path: &str,
        edit: Edit<'_>,
    ) -> Result<(), String> {
        let new: Text = edit.text.map(|text| Rc::new(Zeroizing::new(text)));
        let shared = self.shared.get(path).ok_or_else(|| format!("{path} was not read"))?;
        if same(&shared.now, &new) {
            return Ok(());
        }
        let task = match shared.task {
            Some(task) => task,
            None => {
                if shared.seen.is_none() {
                    self.parents(part, label, path)?;
                }
                self.reserve(part.source, label, path)
            }
        };
        match &new {
            Some(text) => drop(self.texts.insert(path.to_owned(), Rc::clone(text))),
            None => drop(self.texts.remove(path)),
        }
        let told = &mut self.plan.tasks[task].notify;
        for service in edit.notify.iter().map(|s| s.as_str()) {
            if !told.iter().any(|t| t == service) {
                told.push(service.to_owned());
            }
        }
        // Where parts of several sources meet in one file, the uppermost answers for it.
        let change = self.plan.tasks[task].change;
        self.plan.tasks[task].source = part.source;
        self.plan.changes[change].source = part.source;
        if let Some(shared) = self.shared.get_mut(path) {
            shared.task = Some(task);
            shared.attrs = edit.attrs;
            shared.details.extend(edit.details);
            shared.now = new;
        }
        Ok(())
    }

    /// A task whose content is filled in when all steps had their turn.
    fn reserve(&mut self, source: Source, label: &str, path: &str) -> usize {
        self.planned.insert(path.to_owned(), Planned::Other(Kind::File));
        let change = self.plan.changes.len();
        self.plan.changes.push(bare(label, source, Action::Update, path));
        let (path, seen) = (path.to_owned(), self.shared.get(path).and_then(|s| s.seen));
        let act = Act::Path {
            path,
            seen,
            after: After::Gone,
        };
        self.plan.tasks.push(Task {
            change,
            source,
            notify: Vec::new(),
            act,
        });
        self.plan.tasks.len() - 1
    }

    /// Fills the reserved tasks in; an edit that another took back is none. Notes what all the files said before.
    pub(super) fn settle_shared(&mut self) {
        let mut nothing: BTreeSet<usize> = BTreeSet::new();
        let all = std::mem::take(&mut self.shared);
        for (path, shared) in all.iter() {
            let input = shared.before.as_ref().zip(shared.seen).map(|(bytes, meta)| {
                let mut shape = Shape::of(&meta);
                self.identify(&mut shape, bytes, shared.hidden);
                let bytes = (!shared.hidden).then(|| Rc::clone(bytes));
                Input { bytes, shape }
            });
            let before = input.as_ref().map(|i| i.shape.clone());
            self.plan.inputs.insert(path.clone(), input);
            let Some(task) = shared.task else { continue };
            if let Some(step) = self.removed_by(path, task) {
                self.plan.problems.push(Refusal {
                    step,
                    why: format!("{path}: another step edits it, and the two would undo each other at every turn"),
                    needed: None,
                });
            }
            let change = self.plan.tasks[task].change;
            if same(&shared.before, &shared.now) {
                nothing.insert(change);
                continue;
            }
            let (after, shape) = self.settled(shared);
            let change = &mut self.plan.changes[change];
            change.action = match (&shared.before, &shared.now) {
                (None, _) => Action::Create,
                (_, None) => Action::Remove,
                _ => Action::Update,
            };
            change.details = shared.details.iter().take(NAMED).cloned().collect();
            if shared.details.len() > NAMED {
                change
                    .details
                    .push(format!("and {} more", shared.details.len() - NAMED));
            }
            if shared.hidden {
                change
                    .details
                    .push("content not shown: not everybody may read it".into());
            } else {
                change.diff = difference(shared);
            }
            (change.before, change.after) = (before, shape);
            if let Act::Path { after: planned, .. } = &mut self.plan.tasks[task].act {
                *planned = after;
            }
        }
        self.shared = all;
        self.strike(&nothing);
    }

    fn settled(&self, shared: &Shared) -> (After, Option<Shape>) {
        let Some(bytes) = shared.now.clone() else {
            return (After::Gone, None);
        };
        let kept = |m: Meta| Attrs {
            mode: m.mode,
            uid: m.uid,
            gid: m.gid,
        };
        let attrs = shared.seen.map_or(shared.attrs, kept);
        let mut shape = attrs_shape("file", attrs).expect("attributes have a shape");
        shape.size = Some(bytes.len() as u64);
        self.identify(&mut shape, &bytes, shared.hidden || attrs.mode & 0o004 == 0);
        let same_bytes = false;
        (
            After::File {
                bytes,
                attrs,
                same_bytes,
            },
            Some(shape),
        )
    }

    /// The step that removes `path` in another task than `own`, should there be one.
    fn removed_by(&self, path: &str, own: usize) -> Option<String> {
        let removes = |(at, task): &(usize, &Task)| match &task.act {
            Act::Path {
                path: gone,
                after: After::Gone | After::TreeGone,
                ..
            } => {
                *at != own
                    && path
                        .strip_prefix(gone.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            _ => false,
        };
        let (_, task) = self.plan.tasks.iter().enumerate().find(removes)?;
        Some(self.plan.changes[task.change].step.clone())
    }

    /// Takes changes and their tasks out of the plan.
    fn strike(&mut self, gone: &BTreeSet<usize>) {
        if gone.is_empty() {
            return;
        }
        self.plan.tasks.retain(|t| !gone.contains(&t.change));
        for task in &mut self.plan.tasks {
            task.change -= gone.range(..task.change).count();
        }
        let mut at = 0;
        self.plan.changes.retain(|_| {
            at += 1;
            !gone.contains(&(at - 1))
        });
    }
}

fn same(a: &Text, b: &Text) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => ***a == ***b,
        (None, None) => true,
        _ => false,
    }
}

fn difference(shared: &Shared) -> String {
    let text = |t: &Text| match t {
        Some(bytes) if bytes.len() > DIFF_LIMIT || bytes.contains(&0) => None,
        Some(bytes) => std::str::from_utf8(bytes).ok().map(str::to_owned),
        None => Some(String::new()),
    };
    match (text(&shared.before), text(&shared.now)) {
        (Some(old), Some(new)) => diff::unified(&old, &new),
        _ => String::new(),
    }
}
