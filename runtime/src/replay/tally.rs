//! What replay counts and remembers beside the machine's state: who did how much, what failed, what happened to a path.

use jos_schemas::documents::ledger::OutcomeKind;
use jos_schemas::documents::policy::Source;
use jos_schemas::text::Name;
use serde::Serialize;

use crate::plan::Action;

/// What one source did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Decisions.
    pub decisions: u64,
    /// Outcomes of each kind.
    pub applied: u64,
    /// See [`OutcomeKind::Unchanged`].
    pub unchanged: u64,
    /// See [`OutcomeKind::RolledBack`].
    pub rolled_back: u64,
    /// See [`OutcomeKind::Refused`].
    pub refused: u64,
    /// See [`OutcomeKind::Unsupported`].
    pub unsupported: u64,
    /// See [`OutcomeKind::Broken`].
    pub broken: u64,
    /// See [`OutcomeKind::Drifted`].
    pub drifted: u64,
    /// See [`OutcomeKind::Unconfirmed`].
    pub unconfirmed: u64,
}

impl Counts {
    pub(super) fn add(&mut self, outcome: OutcomeKind) {
        let counter = match outcome {
            OutcomeKind::Applied => &mut self.applied,
            OutcomeKind::Unchanged => &mut self.unchanged,
            OutcomeKind::RolledBack => &mut self.rolled_back,
            OutcomeKind::Refused => &mut self.refused,
            OutcomeKind::Unsupported => &mut self.unsupported,
            OutcomeKind::Broken => &mut self.broken,
            OutcomeKind::Drifted => &mut self.drifted,
            OutcomeKind::Unconfirmed => &mut self.unconfirmed,
        };
        *counter += 1;
    }
}

/// Something that failed, and who caused it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The record that says so.
    pub record: u64,
    /// The decision that led to it, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<u64>,
    /// Who proposed it.
    pub source: Source,
    /// Which agent of the runtime, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<Name>,
    /// The version of the state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Who had signed it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<String>,
    /// When.
    pub time: String,
    /// How it ended; none for a ledger that was damaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<OutcomeKind>,
    /// Why.
    pub reasons: Vec<String>,
}

/// Which paths have their history kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Watch {
    /// None: replay of a long ledger stays small.
    #[default]
    Nothing,
    /// This one.
    One(String),
    /// All.
    Everything,
}

impl Watch {
    pub(super) fn covers(&self, path: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::One(one) => one == path,
            Self::Everything => true,
        }
    }
}

/// What happened to a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The record that says so.
    pub record: u64,
    /// The decision.
    pub decision: u64,
    /// Who proposed it.
    pub source: Source,
    /// Which agent of the runtime, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<Name>,
    /// The version of the state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Who had signed it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<String>,
    /// When.
    pub time: String,
    /// What.
    pub event: Happened,
    /// SHA-256 of a file's content afterwards, where everybody may read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// See [`Event::event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    /// It was made.
    Created,
    /// It was changed.
    Updated,
    /// It was removed.
    Removed,
    /// It stood there as the state wants it, and is managed from here on.
    TakenOver,
    /// No state lists it any more; it was left as it is.
    Released,
    /// It was changed and taken back.
    RolledBack,
    /// It had drifted, and that was only reported.
    Drifted,
}

impl From<Action> for Happened {
    fn from(action: Action) -> Self {
        match action {
            Action::Create => Self::Created,
            Action::Remove => Self::Removed,
            _ => Self::Updated,
        }
    }
}
