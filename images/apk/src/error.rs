//! What can go wrong.

/// A refusal. Each says what was found and what was expected.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApkError {
    /// A file that is not in the format, or not whole.
    #[error("{part}: {problem}")]
    Damaged {
        /// The part that is wrong.
        part: &'static str,
        /// What was found there, and what was expected.
        problem: String,
    },
    /// Something that the format allows and this crate does not do.
    #[error("{0}")]
    Unsupported(String),
    /// A name, version, dependency or path outside its grammar.
    #[error("{field}: found {found:?}, expected {expected}")]
    Field {
        /// Which value.
        field: &'static str,
        /// What was given.
        found: String,
        /// What the format asks for.
        expected: &'static str,
    },
    /// More than the format holds, or than [`Limits`](crate::Limits) allows.
    #[error("{what}: more than the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The most that is allowed.
        limit: u64,
    },
    /// No signature by one of the given keys.
    #[error("{0}")]
    Untrusted(String),
    /// A key that cannot be read.
    #[error("key: {0}")]
    Key(String),
}

impl ApkError {
    pub(crate) fn damaged(part: &'static str, problem: impl Into<String>) -> Self {
        Self::Damaged {
            part,
            problem: problem.into(),
        }
    }

    pub(crate) fn field(field: &'static str, found: impl Into<String>, expected: &'static str) -> Self {
        Self::Field {
            field,
            found: found.into(),
            expected,
        }
    }
}
