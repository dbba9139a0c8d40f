//! What can go wrong with a node, each with its place and what to do next.

use std::io;
use std::path::{Path, PathBuf};

use jos_runtime::disk::DiskError;
use jos_runtime::ledger::LedgerError;

/// Why a node did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The operating system said no.
    #[error("{path}: cannot {doing}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// What was tried, as a verb.
        doing: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// No data directory of a node.
    #[error("{path}: this is not the data directory of a node: {missing}/ is missing")]
    NotADataDir {
        /// Where it was looked for.
        path: PathBuf,
        /// The first folder that is not there.
        missing: &'static str,
    },
    /// An id that is none.
    #[error("found the job id {found:?}, expected {expected}")]
    BadId {
        /// As it was given, shortened.
        found: String,
        /// The rule.
        expected: &'static str,
    },
    /// An id that was used before.
    #[error("job {id}: there is one of this id already ({standing}); the first is kept")]
    Duplicate {
        /// The id.
        id: String,
        /// Where the first one stands.
        standing: &'static str,
    },
    /// A document that is not as it must be.
    #[error("{place}: {what}")]
    Invalid {
        /// Which file or input.
        place: String,
        /// What was found and expected.
        what: String,
    },
    /// A record of another runtime that does not hold.
    #[error("{place}: {what}")]
    Tampered {
        /// Which file, and which of its lines.
        place: String,
        /// What was found and expected.
        what: String,
    },
    /// The queue of jobs, where it is no directory.
    #[error("{place}: {what}")]
    Queue {
        /// Which, without its password.
        place: String,
        /// What it said.
        what: String,
        /// What to do next.
        help: &'static str,
        /// The use is wrong, rather than the database.
        bad_use: bool,
    },
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl NodeError {
    /// An error of the operating system at a path.
    pub(crate) fn io<'p>(path: &'p Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self + 'p {
        move |source| Self::Io {
            path: path.to_owned(),
            doing,
            source,
        }
    }

    /// A document that is not as it must be.
    pub(crate) fn invalid(place: impl ToString, what: impl ToString) -> Self {
        Self::Invalid {
            place: place.to_string(),
            what: what.to_string(),
        }
    }

    /// The use or the input is wrong, rather than work that failed.
    pub fn is_bad_use(&self) -> bool {
        matches!(
            self,
            Self::NotADataDir { .. }
                | Self::BadId { .. }
                | Self::Duplicate { .. }
                | Self::Invalid { .. }
                | Self::Queue { bad_use: true, .. }
        )
    }

    /// What to do next, where that is not plain.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::NotADataDir { .. } => Some("`jos runtime init` makes one; --data-dir or $JOS_DATA_DIR names another"),
            Self::Tampered { .. } => Some(
                "nothing was imported; a copy from before the damage can be, or the part of the log in front of this line",
            ),
            Self::Queue { help, .. } => Some(help),
            Self::Duplicate { .. } => Some("leave --id out: a new one is made for each job"),
            _ => None,
        }
    }
}
