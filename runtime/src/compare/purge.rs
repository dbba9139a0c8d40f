//! A directory that holds what the states list and nothing else.
//!
//! Owns the question what goes. Every path that would be removed is held against the policy by itself, however deep it
//! lies, and everything that could not be given back exactly (a device, a socket, a file with several names, another
//! file system, a name that no document could hold) is found before anything is touched.

use std::collections::BTreeSet;

use jos_schemas::documents::desired_state::DirectoryStep;

use super::{Build, Part, Planned};
use crate::disk::{DiskError, Kind};
use crate::gate::{Judgement, Refusal};

/// What a walk has found.
#[derive(Default)]
struct Found {
    /// What goes, each with all below it.
    doomed: Vec<String>,
    judgement: Judgement,
    problems: Vec<String>,
}

impl Build<'_> {
    /// Plans the removal of all below the step's directory that no state lists.
    pub(super) fn purge(&mut self, part: &Part<'_>, label: &str, step: &DirectoryStep) -> Result<(), String> {
        let dir = step.path.as_str();
        // One that this plan makes is empty.
        if !self.sight.disk.is_dir(dir) {
            return Ok(());
        }
        let mounts = self.sight.disk.mounts();
        let mut found = Found::default();
        self.unlisted(part, label, dir, &mounts, &mut found)?;
        self.plan.refused.append(&mut found.judgement.refused);
        let problems = found.problems.into_iter().map(|why| Refusal {
            step: label.to_owned(),
            why,
            needed: None,
        });
        self.plan.problems.extend(problems);
        for path in found.doomed {
            self.remove(part, label, &path, true, &step.notify)?;
            if let Some(change) = self.plan.changes.last_mut() {
                change.details.insert(0, format!("not listed, and {dir} is purged"));
            }
        }
        Ok(())
    }

    /// Looks through one directory that stays.
    fn unlisted(
        &self,
        part: &Part<'_>,
        label: &str,
        dir: &str,
        mounts: &[String],
        found: &mut Found,
    ) -> Result<(), String> {
        for name in self.sight.disk.list(dir).map_err(|e| e.to_string())? {
            let Some(name) = name.to_str() else {
                found.problems.push(not_text(dir, &name));
                continue;
            };
            let path = format!("{dir}/{name}");
            if self.planned.get(&path) == Some(&Planned::Gone) {
                continue;
            }
            if !self.stays(&path) {
                let before = found.problems.len() + found.judgement.refused.len();
                self.doom(part, label, &path, mounts, found)?;
                if found.problems.len() + found.judgement.refused.len() == before {
                    found.doomed.push(path);
                }
            } else if self.sight.disk.is_dir(&path) && !mounts.contains(&path) {
                self.unlisted(part, label, &path, mounts, found)?;
            }
        }
        Ok(())
    }

    /// Whether a state lists `path` or something below it.
    fn stays(&self, path: &str) -> bool {
        let below = format!("{path}/");
        let in_set = |set: &BTreeSet<String>| {
            set.contains(path) || set.range(below.clone()..).next().is_some_and(|p| p.starts_with(&below))
        };
        in_set(&self.listed)
            || in_set(&self.looked_after)
            || matches!(self.planned.get(path), Some(Planned::NewDir | Planned::Other(_)))
    }

    /// Holds `path` and all below it against policy and against what cannot be given back.
    fn doom(
        &self,
        part: &Part<'_>,
        label: &str,
        path: &str,
        mounts: &[String],
        found: &mut Found,
    ) -> Result<(), String> {
        let text = |e: DiskError| e.to_string();
        let meta = match self.sight.disk.lstat(path) {
            Ok(Some(meta)) => Some(meta),
            Ok(None) => return Ok(()),
            // The gate says so too, in its own words, where it knows the name.
            Err(DiskError::Own { .. }) => None,
            Err(e) => return Err(text(e)),
        };
        let refused = found.judgement.refused.len();
        self.sight
            .gate
            .judge_removal(part.source, label, path, &mut found.judgement);
        let Some(meta) = meta else {
            if found.judgement.refused.len() == refused {
                found
                    .problems
                    .push(format!("{path}: it leads to what is protected whatever is granted"));
            }
            return Ok(());
        };
        if mounts.iter().any(|m| m == path) {
            found.problems.push(format!(
                "{path}: something is mounted there; unmount it, or list the path"
            ));
            return Ok(());
        }
        if let Err(e) = self.sight.disk.check_changeable(path, &meta) {
            found.problems.push(e.to_string());
        }
        if meta.kind != Kind::Dir {
            return Ok(());
        }
        for name in self.sight.disk.list(path).map_err(text)? {
            match name.to_str() {
                Some(name) => self.doom(part, label, &format!("{path}/{name}"), mounts, found)?,
                None => found.problems.push(not_text(path, &name)),
            }
        }
        Ok(())
    }
}

fn not_text(dir: &str, name: &std::ffi::OsStr) -> String {
    let name = crate::disk::escaped(name);
    format!("{dir}/{name}: the name is not UTF-8, and no document could list it; rename or remove it by hand")
}
