//! The readers: bytes → tree → typed document.

use std::fmt::Debug;

use jos_schemas::documents::policy::Policy;
use jos_schemas::documents::profile::Profile;
use jos_schemas::{Format, Limits, Node, Report, catalogue, read};
use jos_trust::canonical as canon;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Both grammars: the first bytes of an input do not say which it is, and neither may panic on the other's.
pub(crate) const FORMATS: [Format; 2] = [Format::Json, Format::Toml];

/// The JSON reader and the canonical bytes. What it takes, `serde_json` takes too and understands alike; its canonical
/// bytes are never longer than it was, and are a fixed point.
pub fn canonical(data: &[u8]) {
    let Some(node) = tree(data, Format::Json) else { return };
    let Some(bytes) = canonical_again(&node) else { return };
    assert!(
        bytes.len() <= data.len(),
        "{} canonical bytes of {}",
        bytes.len(),
        data.len()
    );
    let other: serde_json::Value = serde_json::from_slice(data).expect("serde_json takes what the strict reader takes");
    assert_eq!(node.to_json(), other, "two readers of one document");
}

/// The TOML reader. What it takes has canonical bytes that mean the same in JSON, or none.
pub fn toml(data: &[u8]) {
    if let Some(node) = tree(data, Format::Toml) {
        canonical_again(&node);
    }
}

/// A policy, in both grammars.
pub fn policy(data: &[u8]) {
    for format in FORMATS {
        typed::<Policy>(data, format);
    }
}

/// A profile, in both grammars: as `jos validate` reads it (its `"name+"` lists laid on nothing), and by its type alone.
pub fn profile(data: &[u8]) {
    let document = catalogue::find("profile").expect("this build knows profiles");
    for format in FORMATS {
        typed::<Profile>(data, format);
        if let (Some(node), Ok(text)) = (tree(data, format), std::str::from_utf8(data))
            && let Err(report) = (document.check)("fuzz", text, &node)
        {
            shown(&report);
        }
    }
}

/// Reads `data` by its type. What is taken is written and read again as the same; what is refused is refused in words.
pub(crate) fn typed<T>(data: &[u8], format: Format) -> Option<T>
where
    T: DeserializeOwned + Serialize + PartialEq + Debug,
{
    match read::document::<T>("fuzz", data, format) {
        Ok(parsed) => {
            let bytes = serde_json::to_vec(&parsed.value).expect("a document is plain data");
            if bytes.len() <= Limits::DOCUMENT.bytes {
                let again = read::document::<T>("again", &bytes, Format::Json)
                    .unwrap_or_else(|report| panic!("what was written is refused: {report}"));
                assert_eq!(again.value, parsed.value, "written and read again");
            }
            Some(parsed.value)
        }
        Err(report) => {
            shown(&report);
            None
        }
    }
}

/// The tree of `data`, if it is taken.
pub(crate) fn tree(data: &[u8], format: Format) -> Option<Node> {
    let node = read::parse("fuzz", data, format);
    node.map_err(|report| shown(&report)).ok()
}

/// The canonical bytes of `node`, if it has any: JSON reads them back, and they are their own canonical bytes.
pub(crate) fn canonical_again(node: &Node) -> Option<Vec<u8>> {
    let bytes = canon::to_bytes(node).ok()?;
    if bytes.len() <= Limits::DOCUMENT.bytes {
        let again = read::parse("again", &bytes, Format::Json)
            .unwrap_or_else(|report| panic!("canonical bytes are refused: {report}"));
        assert_eq!(
            canon::to_bytes(&again).as_ref(),
            Ok(&bytes),
            "canonical bytes are a fixed point"
        );
    }
    Some(bytes)
}

/// A refusal has an issue, and can be printed: no part of a hostile document steers the terminal that shows it.
pub(crate) fn shown(report: &Report) {
    assert!(!report.issues.is_empty(), "a refusal without a reason");
    let text = report.to_string();
    let steering = text.chars().find(|c| c.is_control() && *c != '\n');
    assert!(steering.is_none(), "{steering:?} stands in {text:?}");
}
