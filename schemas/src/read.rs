//! The strict readers: bytes → located tree → typed document, with every error of the file.
//!
//! Owns the limits, both grammars (JSON of our own, TOML by the `toml` crate), and the collection of errors. Reading
//! never panics, whatever the bytes: it is the first thing that happens to what came over the network.

mod collect;
mod de;
mod hole;
mod json;
mod toml;
mod wrong;

pub(crate) use collect::{nearest, own};
pub(crate) use de::TAGGED;

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::node::Node;
use crate::report::{Issue, Report};

/// The two grammars of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 8259, strict: see [`parse`].
    Json,
    /// TOML 1.1; dates and times become text.
    Toml,
}

impl Format {
    /// By extension: `.toml` is TOML, everything else (`.json`, `.jos`) is JSON.
    pub fn of_path(path: impl AsRef<Path>) -> Self {
        let toml = path
            .as_ref()
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("toml"));
        if toml { Format::Toml } else { Format::Json }
    }
}

/// What is refused before it is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole document.
    pub bytes: usize,
    /// Lists and tables within each other.
    pub depth: usize,
}

impl Limits {
    /// Every document: 1 MiB, depth 64.
    pub const DOCUMENT: Limits = Limits {
        bytes: 1 << 20,
        depth: 64,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DOCUMENT
    }
}

/// A typed document and the tree it was read from.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed<T> {
    /// The typed document.
    pub value: T,
    /// The tree as received: what signatures are taken over.
    pub node: Node,
}

/// Reads `bytes` under [`Limits::DOCUMENT`]. `name` is how errors name the file.
///
/// Refused: a byte order mark, invalid UTF-8, anything after the value, duplicate keys (compared after unescaping), lone
/// surrogates, `-0`, integers beyond ±(2^53−1), numbers beyond binary64.
pub fn parse(name: &str, bytes: &[u8], format: Format) -> Result<Node, Report> {
    parse_within(name, bytes, format, &Limits::DOCUMENT)
}

/// Reads `bytes` under other limits.
pub fn parse_within(name: &str, bytes: &[u8], format: Format, limits: &Limits) -> Result<Node, Report> {
    if bytes.len() > limits.bytes || bytes.len() >= u32::MAX as usize {
        let message = format!("found {} bytes, expected {} at most", bytes.len(), limits.bytes);
        return Err(Report::one(
            name,
            Issue::new(message).help("a document is small: large content goes into blobs, by hash"),
        ));
    }
    let text = text_of(name, bytes)?;
    match format {
        Format::Json => json::parse(name, text, limits),
        Format::Toml => toml::parse(name, text, limits),
    }
}

fn text_of<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str, Report> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let valid = std::str::from_utf8(&bytes[..at]).unwrap_or_default();
        let found = format!(
            "found byte 0x{:02x} at offset {at}, expected UTF-8",
            bytes.get(at).copied().unwrap_or_default()
        );
        let issue = Issue::new(found).at(valid, &(at as u32..at as u32));
        Report::one(
            name,
            Issue {
                line: issue.line.max(1),
                column: issue.column.max(1),
                ..issue
            },
        )
    })?;
    if text.starts_with('\u{feff}') {
        let issue = Issue::new("found a byte order mark, expected the document itself").at(text, &(0..0));
        return Err(Report::one(
            name,
            Issue {
                excerpt: None,
                line: 1,
                column: 1,
                ..issue
            }
            .help("save the file as UTF-8 without BOM"),
        ));
    }
    Ok(text)
}

/// Reads a typed document, with the tree it was read from.
pub fn document<T: DeserializeOwned>(name: &str, bytes: &[u8], format: Format) -> Result<Parsed<T>, Report> {
    let node = parse(name, bytes, format)?;
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let value = from_node(name, text, &node)?;
    Ok(Parsed { value, node })
}

/// Reads a typed document from a tree; `text` is the tree's source, or empty where there is none.
pub fn from_node<T: DeserializeOwned>(name: &str, text: &str, node: &Node) -> Result<T, Report> {
    collect::typed(name, text, node)
}

/// Reads a typed document from a value that was never text. Errors have pointers, but no lines.
pub fn from_json<T: DeserializeOwned>(value: &Value) -> Result<T, Report> {
    from_node("value", "", &Node::from_json(value))
}
