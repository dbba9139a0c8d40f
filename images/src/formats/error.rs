//! What can go wrong while writing or reading a package.

use std::path::PathBuf;

/// A refusal by one of the package formats. Each variant says what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// A path of the file tree that no package may hold.
    #[error("path {path:?}: {problem}")]
    Path {
        /// The path as it was given.
        path: String,
        /// What is wrong with it, and what to do instead.
        problem: String,
    },
    /// A control field, script or other named value that the format does not allow.
    #[error("{field}: found {found:?}, expected {expected}")]
    Field {
        /// Name of the field as the format spells it.
        field: String,
        /// What was given.
        found: String,
        /// What the format asks for, with its clause.
        expected: &'static str,
    },
    /// Something larger than the format, or our limit for it, allows.
    #[error("{what}: {size} is more than the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size; bytes unless `what` says otherwise.
        size: u64,
        /// The largest allowed.
        limit: u64,
    },
    /// A file or directory that could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A compressor or decompressor that gave up.
    #[error("{what}: {source}")]
    Codec {
        /// Which member, and what was being done to it.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file that claims to be a known package and is not a sound one.
    #[error("{part}: {problem}")]
    Damaged {
        /// The part of the package that is wrong.
        part: String,
        /// What was found there and what was expected.
        problem: String,
    },
    /// A file that is no package we know.
    #[error(
        "the file begins with {found}, expected an ar archive (.deb), gzip (.ipk), a xar archive (.pkg) or a compound file (.msi)"
    )]
    UnknownKind {
        /// The first bytes, in hexadecimal.
        found: String,
    },
}

impl FormatError {
    pub(crate) fn path(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Path {
            path: path.into(),
            problem: problem.into(),
        }
    }

    pub(crate) fn field(field: impl Into<String>, found: impl Into<String>, expected: &'static str) -> Self {
        Self::Field {
            field: field.into(),
            found: found.into(),
            expected,
        }
    }

    pub(crate) fn damaged(part: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Damaged {
            part: part.into(),
            problem: problem.into(),
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io {
            path: path.into(),
            source,
        }
    }
}

impl From<jos_apk::ApkError> for FormatError {
    fn from(error: jos_apk::ApkError) -> Self {
        match error {
            jos_apk::ApkError::Field { field, found, expected } => Self::field(field, found, expected),
            jos_apk::ApkError::Damaged { part, problem } => Self::damaged(part, problem),
            other => Self::damaged("apk", other.to_string()),
        }
    }
}
