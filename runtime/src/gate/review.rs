//! The gate's judgement step by step, for whoever writes a policy: what is granted, what is not, and what it would take.

use std::fmt;

use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::documents::policy::Source;
use serde::{Serialize, Serializer};

use super::{Gate, Refusal, label};
use crate::ledger::source_word;

/// What a policy lacks: a value in a list of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// `grants.hub`.
    pub table: String,
    /// `files`.
    pub key: String,
    /// As TOML writes it: `"/etc/motd"`, `{ path = "/etc/rc.local", code = true }`.
    pub value: String,
}

/// As one line that can be read and searched for.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {} = [{}]", self.table, self.key, self.value)
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The line that grants `wanted` to `source`.
pub(crate) fn line(source: Source, list: &str, wanted: &str) -> Line {
    Line {
        table: format!("grants.{}", source_word(source)),
        key: list.to_owned(),
        value: wanted.to_owned(),
    }
}

/// What the gate says of one step, or of another part of a state that it judges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Review {
    /// The step in words, or the field.
    pub step: String,
    /// Policy grants it.
    pub granted: bool,
    /// Why policy does not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refusal>,
    /// What this program cannot do of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unsupported: Vec<Refusal>,
}

impl Gate<'_> {
    /// [`Gate::judge`], told apart by step.
    pub fn review(&self, source: Source, state: &DesiredState) -> Vec<Review> {
        let judgement = self.judge(source, state);
        let steps = state.spec.apply.iter().enumerate().map(|(at, step)| label(at, step));
        let confirm = state.spec.confirm.as_ref();
        let parts = [
            ("spec.health_check", state.spec.health_check.is_some()),
            ("spec.confirm.command", confirm.is_some_and(|c| c.command.is_some())),
            (
                "spec.confirm.hub_within",
                confirm.is_some_and(|c| c.hub_within.is_some()),
            ),
        ];
        let parts = parts
            .iter()
            .filter(|(_, there)| *there)
            .map(|(name, _)| (*name).to_owned());
        let mut reviews: Vec<Review> = steps.chain(parts).map(Review::of).collect();
        for (refusal, is_refused) in judgement
            .refused
            .into_iter()
            .map(|r| (r, true))
            .chain(judgement.unsupported.into_iter().map(|r| (r, false)))
        {
            // `step 2 (shell): undo` belongs to `step 2 (shell)`.
            let belongs = |review: &Review| {
                let rest = refusal.step.strip_prefix(&review.step);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
            };
            let at = reviews.iter().position(belongs).unwrap_or_else(|| {
                reviews.push(Review::of(refusal.step.clone()));
                reviews.len() - 1
            });
            let review = &mut reviews[at];
            review.granted &= !is_refused;
            if is_refused {
                &mut review.refused
            } else {
                &mut review.unsupported
            }
            .push(refusal);
        }
        reviews
    }

    /// What no step may touch, whatever is granted: jos' own, the policy's, the agent's.
    pub fn protected(&self) -> impl Iterator<Item = &str> {
        self.paths.all_protected()
    }
}

impl Review {
    fn of(step: String) -> Self {
        Self {
            step,
            granted: true,
            refused: Vec::new(),
            unsupported: Vec::new(),
        }
    }
}
