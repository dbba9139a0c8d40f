//! What can be wrong with a path. Each error names the path, and what to do where that is not plain.

use std::io;

/// A disk operation that did not happen.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Not a path below the root at all.
    #[error("{path}: not a path: {why}")]
    BadPath {
        /// As it was given, escaped.
        path: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// A component is a symbolic link; it is never followed.
    #[error("{path}: {component} is a symbolic link to {target}; links are never followed, name the real path instead")]
    LinkInPath {
        /// The whole path.
        path: String,
        /// The component that is the link.
        component: String,
        /// What the link holds.
        target: String,
    },
    /// A component is a file.
    #[error("{path}: {component} is not a directory")]
    NotADirectory {
        /// The whole path.
        path: String,
        /// The component.
        component: String,
    },
    /// A FIFO, socket or device stands there; neither read nor replaced nor removed.
    #[error("{path}: {what} stands there; only files, directories and links are managed")]
    Special {
        /// The path.
        path: String,
        /// `a FIFO`, `a socket`, …
        what: &'static str,
    },
    /// Other names for the same file exist; undo could not join them again.
    #[error("{path}: the file has {links} hard links; a file with more than one name is neither changed nor removed")]
    HardLinked {
        /// The path.
        path: String,
        /// How many names.
        links: u64,
    },
    /// Something of another kind is in the way.
    #[error("{path}: {found} stands there, expected {expected}")]
    InTheWay {
        /// The path.
        path: String,
        /// What is there.
        found: &'static str,
        /// What could be replaced.
        expected: &'static str,
    },
    /// It leads to what no step may touch, under a name that the gate did not know.
    #[error(
        "{path}: it leads to {own}, which is protected whatever is granted; something is mounted or linked under two names"
    )]
    Own {
        /// The path.
        path: String,
        /// What is protected, by the name or pattern that says so.
        own: String,
    },
    /// More bytes than are read into memory.
    #[error("{path}: {size} bytes, at most {limit} are read")]
    TooLarge {
        /// The path.
        path: String,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The operating system said no.
    #[error("{path}: cannot {doing}: {source}")]
    Io {
        /// The path.
        path: String,
        /// What was tried, as a verb.
        doing: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl DiskError {
    pub(crate) fn io(path: String, doing: &'static str, source: io::Error) -> Self {
        Self::Io { path, doing, source }
    }

    /// Whether it means that nothing stands at the path.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}
