//! Accounts and packages that a new version no longer lists.

use jos_schemas::documents::desired_state::{PackageState, Step};

use super::{Build, Wanted};
use crate::gate::{Refusal, label};

impl Build<'_> {
    /// What is released like every dropped step, and cannot be pruned: files of an account keep its number, and the next
    /// account would own them; other packages and people may rely on a package by now. Whoever wants either gone says so
    /// by name, so a version that prunes and drops one is refused rather than obeyed in part.
    pub(super) fn dropped_names(&mut self, wanted: &Wanted<'_>) {
        let listed: Vec<(&str, &str)> = wanted
            .parts
            .iter()
            .flat_map(|p| &p.state.spec.apply)
            .filter_map(name)
            .collect();
        for part in &wanted.parts {
            let Some(before) = part.follows.filter(|_| part.state.meta.prune) else {
                continue;
            };
            for (index, step) in before.spec.apply.iter().enumerate() {
                let Some((kind, name)) = brought(step).filter(|named| !listed.contains(named)) else {
                    continue;
                };
                let gone = if kind == "package" {
                    "\"state\": \"absent\""
                } else {
                    "\"absent\": true"
                };
                self.plan.problems.push(Refusal {
                    step: format!("prune {}", label(index, step)),
                    why: format!(
                        "`meta.prune` removes no {kind}: list the {kind} {name} with {gone}, or keep it listed, or prune in \
                         another version than the one that drops it"
                    ),
                    needed: None,
                });
            }
        }
    }
}

/// An account's or a package's kind and name.
fn name(step: &Step) -> Option<(&'static str, &str)> {
    match step {
        Step::User(user) => Some(("user", user.name.as_str())),
        Step::Group(group) => Some(("group", group.name.as_str())),
        Step::Package(package) => Some(("package", package.name.as_str())),
        _ => None,
    }
}

/// The same, of a step that wants it to be there.
fn brought(step: &Step) -> Option<(&'static str, &str)> {
    let there = match step {
        Step::User(user) => !user.absent,
        Step::Group(group) => !group.absent,
        Step::Package(package) => package.state != PackageState::Absent,
        _ => false,
    };
    name(step).filter(|_| there)
}
