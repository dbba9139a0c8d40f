//! `config/keep.toml`: how much is kept.

use std::io;

use jos_schemas::read::{self, Format};
use serde::Deserialize;

use crate::place::DataDir;

/// Where the limits are, below the data directory.
pub const FILE: &str = "config/keep.toml";
/// Fewer bytes than this hold no two chapters.
pub(super) const LEAST: u64 = 1 << 20;

/// How much is kept. A member that is 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Of the ledger and its blobs.
    pub ledger: Ledger,
    /// Of the results in `outbox/`.
    pub results: Results,
}

/// Of the ledger and its blobs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ledger {
    /// Bytes.
    pub bytes: u64,
    /// Days.
    pub days: u32,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            bytes: 1 << 30,
            days: 0,
        }
    }
}

/// Of the results in `outbox/`. They are what people came for: nothing goes unless somebody says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Results {
    /// How many.
    pub count: u64,
    /// Days.
    pub days: u32,
}

impl Limits {
    /// Those of a data directory; the defaults where it has none. The error is for people.
    pub fn read(data: &DataDir) -> Result<Self, String> {
        match std::fs::read(data.path(FILE)) {
            Ok(bytes) => Self::parse(&bytes),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(e.to_string()),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let node = read::parse(FILE, bytes, Format::Toml).map_err(|e| e.to_string().trim_end().to_owned())?;
        let limits: Self = read::from_json(&node.to_json())
            .map_err(|e| format!("{}; nothing goes until it reads", e.to_string().trim_end()))?;
        match limits.ledger.bytes {
            found @ 1..LEAST => Err(format!(
                "found ledger.bytes = {found}, expected {LEAST} or more, or 0 for no limit; nothing goes until then"
            )),
            _ => Ok(limits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_has_its_default_and_a_word_that_nobody_knows_is_refused() {
        let limits = Limits::parse(b"[ledger]\ndays = 30\n[results]\ncount = 5\n").unwrap();
        assert_eq!((limits.ledger.bytes, limits.ledger.days), (1 << 30, 30));
        assert_eq!(limits.results, Results { count: 5, days: 0 });
        assert_eq!(Limits::parse(b"[ledger]\nbytes = 0\n").unwrap().ledger.bytes, 0);
        for (wrong, says) in [
            ("[ledger]\nbytes = 1000\n", "1048576"),
            ("[ledger]\nage = 3\n", "age"),
            ("[ledger]\ndays = -1\n", "-1"),
            ("[ledger\n", "keep.toml:1:8"),
        ] {
            let why = Limits::parse(wrong.as_bytes()).unwrap_err();
            assert!(why.contains(says), "{wrong}: {why}");
        }
    }
}
