//! What jos writes for itself and reads again: files of its data folder, parts of records.
//!
//! Owns one way in and one way out, through a tree, so that a type is compiled for one reader and one writer: a program
//! for small flash has no room for more. Unlike a document, such a file may hold `null` for what is left out and
//! variants with content; a field that is not known is refused where its type says so.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::node::Node;
use crate::read::{self, Format, Limits};

/// As long as a place in it fits [`crate::node::Span`]; whoever opens the file has a bound of its own.
const LIMITS: Limits = Limits {
    bytes: u32::MAX as usize,
    ..Limits::DOCUMENT
};

/// Reads JSON.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    read::own(&tree(bytes)?)
}

fn tree(bytes: &[u8]) -> Result<Node, String> {
    read::parse_within("", bytes, Format::Json, &LIMITS).map_err(|report| {
        let issues = report.issues.iter();
        let lines = issues.map(|issue| format!("{}, at line {} column {}", issue.message, issue.line, issue.column));
        lines.collect::<Vec<_>>().join("; ")
    })
}

/// Reads a value of a record.
///
/// # Errors
/// As [`read`].
pub fn read_value<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    read::own(&Node::from_json(value))
}

/// Writes JSON on one line.
///
/// # Errors
/// A map whose keys are no text, or what serde's own types refuse: a mistake in the type.
pub fn write<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&serde_json::to_value(value)?)
}

/// Writes JSON for people.
///
/// # Errors
/// As [`write`].
pub fn write_pretty<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(&serde_json::to_value(value)?)
}
