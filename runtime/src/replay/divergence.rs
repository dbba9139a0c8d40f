//! Where a ledger and what replay makes of it part.

use std::fmt::{self, Display};

use serde::Serialize;

/// The first place at which a record does not say what replay finds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct Divergence {
    /// Which record.
    pub record: u64,
    /// Which path, service or command, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// What follows from the records before it and from the documents that it names.
    pub expected: String,
    /// What the record says.
    pub found: String,
}

impl Divergence {
    pub(super) fn new(record: u64, expected: impl Display, found: impl Display) -> Self {
        Self {
            record,
            what: None,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    pub(super) fn about(mut self, what: impl Display) -> Self {
        self.what = Some(what.to_string());
        self
    }
}

impl Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record #{}", self.record)?;
        if let Some(what) = &self.what {
            write!(f, ", {what}")?;
        }
        write!(f, ": found {}, expected {}", self.found, self.expected)
    }
}
