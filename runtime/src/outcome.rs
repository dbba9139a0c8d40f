//! What an apply came to: for the person at the shell, for the ledger, for scripts.

use std::fmt::{self, Write as _};

use jos_schemas::documents::ledger::OutcomeKind;
use jos_schemas::documents::policy::Source;
use jos_schemas::text::Name;
use serde::{Deserialize, Serialize};

use crate::act::Captured;
use crate::ledger::LedgerHead;
use crate::plan::{Change, changes_text};

/// How it ended, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The agent.
    pub name: Name,
    /// The state's version; none where the document never became one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Who proposed it.
    pub source: Source,
    /// What the ledger keeps of it.
    #[serde(flatten)]
    pub report: Report,
    /// Whether a record was appended: nothing is when nothing changed.
    pub recorded: bool,
    /// The ledger afterwards.
    pub ledger: LedgerHead,
    /// Where it stood with the record of this outcome as its last, where one was appended.
    #[serde(skip)]
    pub record: Option<LedgerHead>,
}

/// The payload of an `outcome` or `refused` record.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// How it ended.
    #[serde(rename = "outcome")]
    pub kind: OutcomeKind,
    /// Why, where it is not plainly good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// What was changed, or was and has been taken back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// What commands came to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub captured: Vec<Captured>,
    /// Services restarted because a file changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notified: Vec<String>,
    /// What the health check said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// What the health check of the state that came back said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_after: Option<String>,
    /// Services told again after the old files were back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told_again: Vec<String>,
    /// What could not be taken back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
    /// Paths no longer managed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub released: Vec<String>,
    /// Steps wait for the first boot of this root.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
}

impl Report {
    pub(crate) fn new(kind: OutcomeKind) -> Self {
        Self {
            kind,
            reasons: Vec::new(),
            changes: Vec::new(),
            captured: Vec::new(),
            notified: Vec::new(),
            health: None,
            health_after: None,
            told_again: Vec::new(),
            left: Vec::new(),
            released: Vec::new(),
            pending: false,
        }
    }

    pub(crate) fn because(mut self, reasons: Vec<String>) -> Self {
        self.reasons = reasons;
        self
    }
}

/// The outcome as the documents write it.
pub const fn outcome_word(kind: OutcomeKind) -> &'static str {
    match kind {
        OutcomeKind::Applied => "applied",
        OutcomeKind::Unchanged => "unchanged",
        OutcomeKind::RolledBack => "rolled_back",
        OutcomeKind::Refused => "refused",
        OutcomeKind::Unsupported => "unsupported",
        OutcomeKind::Broken => "broken",
        OutcomeKind::Drifted => "drifted",
        OutcomeKind::Unconfirmed => "unconfirmed",
    }
}

impl Outcome {
    /// 0 for applied, unchanged and drifted, 1 for the rest.
    pub fn exit_code(&self) -> u8 {
        match self.report.kind {
            OutcomeKind::Applied | OutcomeKind::Unchanged | OutcomeKind::Drifted => 0,
            OutcomeKind::RolledBack
            | OutcomeKind::Refused
            | OutcomeKind::Unsupported
            | OutcomeKind::Broken
            | OutcomeKind::Unconfirmed => 1,
        }
    }

    /// The outcome for a person; `paint` wraps a text in an SGR colour, or gives it back as it is.
    pub fn text(&self, paint: &dyn Fn(&str, &str) -> String) -> String {
        let mut out = changes_text(&self.report.changes, paint);
        for service in &self.report.notified {
            let _ = writeln!(out, "  service {service} restarted, because a file of its changed");
        }
        for path in &self.report.released {
            let _ = writeln!(out, "  {path} is no longer managed; it stays as it is");
        }
        if let Some(health) = &self.report.health {
            let _ = writeln!(out, "health: {health}");
        }
        for service in &self.report.told_again {
            let _ = writeln!(out, "  service {service} told again, because its files are back");
        }
        if let Some(health) = &self.report.health_after {
            let _ = writeln!(out, "health of what came back: {health}");
        }
        for reason in &self.report.reasons {
            let _ = writeln!(out, "{} {reason}", paint("31", "reason:"));
        }
        for left in &self.report.left {
            let _ = writeln!(out, "{} {left}", paint("31", "left:"));
        }
        let version = self.version.map(|v| format!(" version {v}")).unwrap_or_default();
        let (word, colour) = match self.report.kind {
            OutcomeKind::Applied => ("applied", "32"),
            OutcomeKind::Unchanged => ("unchanged", "32"),
            OutcomeKind::RolledBack => ("rolled back: everything is as it was before", "31"),
            OutcomeKind::Refused => ("refused: nothing was touched", "31"),
            OutcomeKind::Unsupported => ("unsupported: nothing was touched", "33"),
            OutcomeKind::Broken => (
                "BROKEN: taken back only in part, see what is left; the journal is kept",
                "31",
            ),
            OutcomeKind::Drifted => ("drifted: reported only", "33"),
            OutcomeKind::Unconfirmed => (
                "unconfirmed: the hub does not answer; everything is as it was before, tried again later",
                "33",
            ),
        };
        let pending = if self.report.pending {
            " (services, commands and health wait for the first boot)"
        } else {
            ""
        };
        let _ = writeln!(out, "{}{version}: {}{pending}", self.name, paint(colour, word));
        let note = if self.recorded { "" } else { ", nothing appended" };
        let _ = writeln!(
            out,
            "ledger: {} records, head {}{note}",
            self.ledger.count, self.ledger.hash
        );
        out
    }
}

impl std::ops::Deref for Outcome {
    type Target = Report;
    fn deref(&self) -> &Report {
        &self.report
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(&|_, text| text.to_owned()))
    }
}
