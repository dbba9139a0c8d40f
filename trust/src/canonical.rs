//! The bytes that are signed: RFC 8785 (JSON Canonicalization Scheme) on a strict subset.
//!
//! The subset leaves out what readers disagree about: no floats, integers within ±(2^53−1), keys that differ from each
//! other, valid Unicode (a Rust `String` is nothing else). What lies outside has no canonical bytes, so our tools never
//! sign it and no signature over it is ever looked at. Unicode is taken as it is, never normalised (RFC 8785 §3.1).

use jos_schemas::documents::desired_state::Signature;
use jos_schemas::node::{Entry, Kind, Node};

/// The first line of all signed bytes: another scheme will have another name.
pub const CONTEXT: &str = "jos-signature-v1";
/// The largest integer that every JSON reader holds exactly: 2^53−1.
pub const MAX_INT: i64 = 9_007_199_254_740_991;
/// Deeper trees have no canonical bytes; the readers stop at 64 already.
const MAX_DEPTH: usize = 128;

/// Why a value has no canonical bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCanonical {
    /// A number with a fraction or an exponent.
    #[error("{pointer}: found the number {found}, expected an integer: readers disagree about fractions")]
    Float {
        /// Where, as a JSON pointer.
        pointer: String,
        /// The number.
        found: String,
    },
    /// An integer that not every reader holds exactly.
    #[error("{pointer}: found {found}, expected an integer within ±(2^53−1)")]
    Range {
        /// Where, as a JSON pointer.
        pointer: String,
        /// The number.
        found: i64,
    },
    /// Two members of one object have the same key.
    #[error("{pointer}: found the key {key:?} twice")]
    DuplicateKey {
        /// Where, as a JSON pointer to the object.
        pointer: String,
        /// The key.
        key: String,
    },
    /// Nested too deeply.
    #[error("found more than {MAX_DEPTH} lists and tables within each other")]
    TooDeep,
    /// Signatures stand beside members, so only an object can be signed.
    #[error("found {found}, expected a table")]
    NotAnObject {
        /// What it is.
        found: String,
    },
}

/// The canonical bytes of `node`.
pub fn to_bytes(node: &Node) -> Result<Vec<u8>, NotCanonical> {
    let mut writer = Writer {
        out: Vec::new(),
        path: Vec::new(),
    };
    writer.value(node)?;
    Ok(writer.out)
}

/// The canonical bytes of an object without its `signature` and `signatures` members.
pub fn unsigned_bytes(node: &Node) -> Result<Vec<u8>, NotCanonical> {
    let mut writer = Writer {
        out: Vec::new(),
        path: Vec::new(),
    };
    writer.unsigned(node)?;
    Ok(writer.out)
}

/// The bytes under a signature: `"jos-signature-v1" LF kind LF` and [`unsigned_bytes`].
///
/// The value is the received one, never a re-serialised type: a field that this program does not know stays signed.
pub fn signed_bytes(kind: &str, node: &Node) -> Result<Vec<u8>, NotCanonical> {
    let mut writer = Writer {
        out: format!("{CONTEXT}\n{kind}\n").into_bytes(),
        path: Vec::new(),
    };
    writer.unsigned(node)?;
    Ok(writer.out)
}

struct Writer<'a> {
    out: Vec<u8>,
    path: Vec<Step<'a>>,
}

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> Writer<'a> {
    fn unsigned(&mut self, node: &'a Node) -> Result<(), NotCanonical> {
        let Kind::Object(entries) = &node.kind else {
            return Err(NotCanonical::NotAnObject { found: node.describe() });
        };
        // Every member is judged, signatures too: they are received values like all others.
        for member in Signature::MEMBERS {
            if entries.iter().filter(|e| e.key == member).count() > 1 {
                return Err(NotCanonical::DuplicateKey {
                    pointer: self.pointer(),
                    key: member.to_owned(),
                });
            }
        }
        for entry in entries.iter().filter(|e| Signature::MEMBERS.contains(&e.key.as_str())) {
            let length = self.out.len();
            self.path.push(Step::Key(&entry.key));
            self.value(&entry.value)?;
            self.path.pop();
            self.out.truncate(length);
        }
        self.object(
            entries
                .iter()
                .filter(|e| !Signature::MEMBERS.contains(&e.key.as_str()))
                .collect(),
        )
    }

    fn value(&mut self, node: &'a Node) -> Result<(), NotCanonical> {
        if self.path.len() > MAX_DEPTH {
            return Err(NotCanonical::TooDeep);
        }
        match &node.kind {
            Kind::Null => self.out.extend_from_slice(b"null"),
            Kind::Bool(true) => self.out.extend_from_slice(b"true"),
            Kind::Bool(false) => self.out.extend_from_slice(b"false"),
            Kind::Int(n) if (-MAX_INT..=MAX_INT).contains(n) => self.out.extend_from_slice(n.to_string().as_bytes()),
            Kind::Int(n) => {
                return Err(NotCanonical::Range {
                    pointer: self.pointer(),
                    found: *n,
                });
            }
            Kind::Float(n) => {
                return Err(NotCanonical::Float {
                    pointer: self.pointer(),
                    found: n.to_string(),
                });
            }
            Kind::String(text) => self.string(text),
            Kind::Array(items) => {
                self.out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        self.out.push(b',');
                    }
                    self.path.push(Step::Index(at));
                    self.value(item)?;
                    self.path.pop();
                }
                self.out.push(b']');
            }
            Kind::Object(entries) => self.object(entries.iter().collect())?,
        }
        Ok(())
    }

    /// RFC 8785 §3.2.3: members in the order of their keys' UTF-16 code units.
    fn object(&mut self, mut entries: Vec<&'a Entry>) -> Result<(), NotCanonical> {
        entries.sort_by(|a, b| a.key.encode_utf16().cmp(b.key.encode_utf16()));
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].key == pair[1].key) {
            return Err(NotCanonical::DuplicateKey {
                pointer: self.pointer(),
                key: pair[0].key.clone(),
            });
        }
        self.out.push(b'{');
        for (at, entry) in entries.into_iter().enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            self.string(&entry.key);
            self.out.push(b':');
            self.path.push(Step::Key(&entry.key));
            self.value(&entry.value)?;
            self.path.pop();
        }
        self.out.push(b'}');
        Ok(())
    }

    /// RFC 8785 §3.2.2.2: the shortest escapes, and only where JSON needs one.
    fn string(&mut self, text: &str) {
        self.out.push(b'"');
        for byte in text.bytes() {
            match byte {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                0x08 => self.out.extend_from_slice(b"\\b"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                0x0c => self.out.extend_from_slice(b"\\f"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                0x00..=0x1f => self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                _ => self.out.push(byte),
            }
        }
        self.out.push(b'"');
    }

    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in &self.path {
            pointer.push('/');
            match step {
                Step::Key(key) => pointer.push_str(&key.replace('~', "~0").replace('/', "~1")),
                Step::Index(at) => pointer.push_str(&at.to_string()),
            }
        }
        pointer
    }
}

#[cfg(test)]
mod tests;
