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
/// As [`read()`].
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
/// As [`write()`].
pub fn write_pretty<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(&serde_json::to_value(value)?)
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::{read, read_value, write};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case", deny_unknown_fields)]
    enum How {
        Missing,
        Moved { to: String, mode: Option<u32> },
        Pair(u8, bool),
        Named(String),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Kept {
        ways: Vec<(String, How)>,
        next: Option<i64>,
    }

    fn kept() -> Kept {
        let moved = How::Moved {
            to: "/b".into(),
            mode: None,
        };
        let ways = [How::Missing, moved, How::Pair(7, true), How::Named("a\n\"b\"".into())];
        Kept {
            ways: ways.into_iter().map(|how| ("/a".to_owned(), how)).collect(),
            next: None,
        }
    }

    #[test]
    fn variants_with_content_and_null_are_read_back_as_they_were_written() {
        let bytes = write(&kept()).unwrap();
        assert!(String::from_utf8_lossy(&bytes).contains("\"next\":null"));
        assert_eq!(read::<Kept>(&bytes).unwrap(), kept());
        assert_eq!(
            read_value::<Kept>(&serde_json::to_value(kept()).unwrap()).unwrap(),
            kept()
        );
        // Another reader of the same bytes agrees.
        assert_eq!(serde_json::from_slice::<Kept>(&bytes).unwrap(), kept());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let said = |text: &str| read::<Kept>(text.as_bytes()).unwrap_err();
        assert_eq!(
            said(r#"{"ways":[["/a","gone"]],"next":1}"#),
            "unknown value \"gone\", at /ways/0/1"
        );
        assert_eq!(said(r#"{"ways":[],"next":1,"more":1}"#), "unknown field, at /more");
        assert_eq!(
            said(r#"{"next":"x","ways":[]}"#),
            "found text \"x\", expected an integer, at /next"
        );
        assert_eq!(
            said(r#"{"ways":[["/a",{"named":null}]]}"#),
            "found null, expected text, at /ways/0/1"
        );
        let torn = said("{\"ways\":[\n[");
        assert!(
            torn.contains("end of the file") && torn.ends_with("at line 2 column 2"),
            "{torn}"
        );
    }
}
