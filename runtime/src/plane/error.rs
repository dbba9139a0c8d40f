//! Why the plane could not do its work at all.

use jos_schemas::text::Name;

use crate::disk::DiskError;
use crate::journal::JournalError;
use crate::ledger::LedgerError;
use crate::store::StoreError;

/// Why the plane could not do its work at all. Whatever a state does wrong is an [`crate::Outcome`], not an error.
#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    /// Another apply is under way.
    #[error("another apply of {name} is under way (process {holder}); wait for it with --wait SECONDS")]
    Locked {
        /// The agent.
        name: Name,
        /// Its process id, as it left it.
        holder: String,
    },
    /// The agent's own package is being replaced.
    #[error("the package of {name} itself is being replaced; nothing else changes until that has ended")]
    Upgrading {
        /// The agent.
        name: Name,
    },
    /// The machine is being started anew, into another system.
    #[error(
        "{name}: the machine is being started anew, to run {image}; what becomes of the state is decided there (`jos agent status`)"
    )]
    Restarting {
        /// The agent.
        name: Name,
        /// The version of that system.
        image: String,
    },
    /// Another system is on trial, and nobody here can say whether it is good.
    #[error(
        "{name}: {image} is on trial; the agent itself goes on with that, for the hub has to confirm it (`jos agent status`)"
    )]
    OnTrial {
        /// The agent.
        name: Name,
        /// The version of that system.
        image: String,
    },
    /// An earlier trial could not be taken back, and still cannot.
    #[error("an earlier change could not be taken back completely; left to do:\n  {}\nPut that right, then run this again", left.join("\n  "))]
    Unfinished {
        /// What is left.
        left: Vec<String>,
    },
    /// The state is for another agent.
    #[error("the state is for {found}, this plane is {expected}")]
    OtherName {
        /// Whose it is.
        found: Name,
        /// Who this is.
        expected: Name,
    },
    /// See [`LedgerError`].
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
    /// See [`JournalError`].
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// See [`DiskError`].
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl PlaneError {
    /// What is kept here was written by a newer program: nothing of this one's should touch it.
    pub fn is_newer(&self) -> bool {
        matches!(
            self,
            Self::Ledger(LedgerError::Newer { .. }) | Self::Store(StoreError::Newer { .. })
        )
    }
}
