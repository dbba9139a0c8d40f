//! What a good outcome must hold and does not: changes that the states want, drift put right, paths let go.

use std::collections::{BTreeMap, BTreeSet};

use jos_schemas::documents::desired_state::{DesiredState, Step};
use jos_schemas::documents::ledger::OutcomeKind;

use super::Divergence;
use super::check::{Case, below};
use super::line::{Ids, ReportLine, ShapeLine};
use super::machine::Why;
use super::wants::{At, KNOWN_BY, Want};
use crate::gate::{step_path, system_keys};
use crate::plan::Action;

impl Case<'_> {
    /// A listed path without a change must have been as the states want it.
    pub(super) fn untouched(&self, path: &str, want: &Want<'_>, ids: &Ids<'_>, hidden: bool) -> Result<(), Divergence> {
        let shape = match self.found.get(path) {
            Some(found) => found.as_ref(),
            None => match self
                .paths
                .get(path)
                .filter(|m| m.held && !self.uncertain.contains(path))
            {
                Some(managed) => managed.shape.as_ref(),
                None => return Ok(()),
            },
        };
        let line = shape.map(ShapeLine::from);
        let by_mac = line.as_ref().is_some_and(|l| l.mac.is_some());
        let Some(d) = want.differs(line.as_ref(), ids, hidden || by_mac) else {
            return Ok(());
        };
        // What is known by MAC here and by hash there cannot be compared; nor can an owner that was never seen.
        let unseen = line.as_ref().is_some_and(|l| l.owner.is_empty());
        if d.what == KNOWN_BY || d.what == "owner" && unseen {
            return Ok(());
        }
        Err(self.diverges(
            path,
            format!("a change: {}", d.expected),
            format!("none, and it was left with {}", d.found),
        ))
    }

    /// What drifted must have been put right, or the record of the drift means nothing.
    pub(super) fn found_is_used(
        &self,
        touched: &BTreeSet<&str>,
        wants: &BTreeMap<&str, (At, Want<'_>)>,
        report: &ReportLine<'_>,
    ) -> Result<(), Divergence> {
        if report.outcome != OutcomeKind::Applied || self.why != Why::Converge {
            return Ok(());
        }
        for path in self.found.keys() {
            if !touched.contains(path.as_str()) {
                let known = if wants.contains_key(path.as_str()) {
                    "none"
                } else {
                    "a path that no state in force lists"
                };
                return Err(self.diverges(path, "a change that puts the drift right", known));
            }
        }
        Ok(())
    }

    /// What the state before managed and none lists any more: released, or removed where the new one prunes.
    pub(super) fn released(&self, report: &ReportLine<'_>) -> Result<(), Divergence> {
        let removed: Vec<&str> = report
            .changes
            .iter()
            .filter(|c| c.action == Action::Remove)
            .map(|c| &*c.what)
            .collect();
        let mut said: BTreeSet<&str> = report.released.iter().map(AsRef::as_ref).collect();
        for part in self.parts {
            let Some(before) = part.follows else { continue };
            let dropped = before
                .spec
                .apply
                .iter()
                .filter(|s| !matches!(s, Step::Absent(_)))
                .filter_map(step_path);
            for path in dropped.filter(|p| !self.parts.iter().any(|other| lists(other.state, p))) {
                let released = said.remove(path);
                if removed.iter().any(|dir| *dir == path || below(dir, path)) {
                    continue;
                }
                if part.state.meta.prune {
                    let gone = self.found.get(path).is_some_and(Option::is_none)
                        || self.paths.get(path).is_none_or(|m| m.shape.is_none());
                    let is_dir = self
                        .paths
                        .get(path)
                        .and_then(|m| m.shape.as_ref())
                        .is_some_and(|s| s.kind == "directory");
                    if !(gone || released && is_dir || self.uncertain.contains(path)) {
                        return Err(self.diverges(path, "its removal: the state prunes", "no change"));
                    }
                } else if !released {
                    return Err(self.diverges(
                        path,
                        "to be released: no state lists it any more",
                        "nothing said of it",
                    ));
                }
            }
        }
        // What steps set in files that they share with others has names of its own.
        for part in self.parts.iter().filter(|p| !p.state.meta.prune) {
            let dropped = part
                .follows
                .iter()
                .flat_map(|before| &before.spec.apply)
                .flat_map(system_keys);
            for key in dropped {
                said.remove(key.as_str());
            }
        }
        match said.first() {
            None => Ok(()),
            Some(path) => Err(self.diverges(path, "to stay managed, or never to have been", "released")),
        }
    }
}

fn lists(state: &DesiredState, path: &str) -> bool {
    state.spec.apply.iter().any(|s| step_path(s) == Some(path))
}
