//! One line of a segment: its frame and its record, read in place.
//!
//! Reading is one pass for the SHA-256 and one over the bytes for their form; no tree is made and nothing is copied.
//! Whoever needs a record whole asks for [`Line::record`].

use jos_schemas::documents::ledger::Record;
use jos_schemas::documents::policy::Source;
use jos_schemas::text::{Name, Sha256Hex, Utc};
use jos_trust::Digest;
use jos_trust::digest::Hasher;
use serde_json::Value;

use super::scan::plain_end;
use super::{Entry, LedgerError, jcs};

/// `LLLLLLLL HASH `
const FRAME: usize = 8 + 1 + 64 + 1;
/// The largest integer in a record: 2^53−1.
const MAX_INT: u64 = 9_007_199_254_740_991;

/// A record as it stands in the ledger: checked, and borrowed from the bytes that were read.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Position, from 0.
    pub index: u64,
    /// Its own hash.
    pub hash: Digest,
    /// The plane's reading of now.
    pub time: &'a str,
    /// Who proposed it.
    pub source: Source,
    /// The agent.
    pub name: &'a str,
    /// Version of the state, where it belongs to one.
    pub version: Option<u64>,
    /// What led to it, as `#12`.
    pub cause: Option<&'a str>,
    /// `decision`, `outcome`, `refused`, `broken`, `checkpoint`.
    pub kind: &'a str,
    /// Hash of the record before, in hex.
    pub prev: &'a str,
    /// Content: canonical JSON.
    pub payload: &'a [u8],
    /// The whole record as it was hashed.
    pub json: &'a [u8],
}

impl Line<'_> {
    /// The payload as a tree.
    pub fn payload(&self) -> Result<Value, LedgerError> {
        serde_json::from_slice(self.payload)
            .map_err(|e| LedgerError::Unreadable(format!("record #{}: its payload: {e}", self.index)))
    }

    /// The index of the record in this ledger that led to this one.
    pub fn cause_index(&self) -> Option<u64> {
        self.cause?.strip_prefix('#')?.parse().ok()
    }

    /// The record as a document of its own.
    pub fn record(&self) -> Result<Record, LedgerError> {
        let wrong = |e: &dyn std::fmt::Display| LedgerError::Unreadable(format!("record #{}: {e}", self.index));
        Ok(Record {
            index: self.index,
            prev: Sha256Hex::new(self.prev).map_err(|e| wrong(&e))?,
            time: Utc::new(self.time).map_err(|e| wrong(&e))?,
            source: self.source,
            name: Name::new(self.name).map_err(|e| wrong(&e))?,
            version: self.version,
            cause: self.cause.map(str::to_owned),
            kind: self.kind.to_owned(),
            payload: self.payload()?,
        })
    }
}

/// Appends the line of `entry` as record `index` behind `prev`, and gives its hash.
pub(super) fn write(entry: &Entry, index: u64, prev: &Digest, out: &mut Vec<u8>) -> Result<Digest, LedgerError> {
    let unwritable = |what: String| LedgerError::Unwritable(what);
    if entry.version.is_some_and(|v| v > MAX_INT) || index > MAX_INT {
        return Err(unwritable("found a number beyond 2^53−1".into()));
    }
    let simple = |text: &str| !text.bytes().any(|b| b < b' ' || b == b'"' || b == b'\\');
    if !simple(entry.kind) || !entry.cause.as_deref().is_none_or(simple) {
        return Err(unwritable("a kind or a cause with quotes or control characters".into()));
    }
    // Members in the order of their names; what is optional is left out.
    let mut json = Vec::with_capacity(512);
    json.push(b'{');
    if let Some(cause) = &entry.cause {
        json.extend_from_slice(format!("\"cause\":\"{cause}\",").as_bytes());
    }
    let head = format!(
        "\"index\":{index},\"kind\":\"{}\",\"name\":\"{}\",\"payload\":",
        entry.kind, entry.name
    );
    json.extend_from_slice(head.as_bytes());
    jcs::write(&entry.payload, &mut json).map_err(unwritable)?;
    let (source, time) = (source_word(entry.source), &entry.time);
    json.extend_from_slice(format!(",\"prev\":\"{prev}\",\"source\":\"{source}\",\"time\":\"{time}\"").as_bytes());
    if let Some(version) = entry.version {
        json.extend_from_slice(format!(",\"version\":{version}").as_bytes());
    }
    json.push(b'}');
    if u32::try_from(json.len()).is_err() || json.len() as u64 > super::RECORD_LIMIT {
        let (found, most) = (json.len(), super::RECORD_LIMIT);
        return Err(unwritable(format!(
            "a record of {found} bytes, expected {most} at most"
        )));
    }
    let hash = record_hash(&json);
    out.extend_from_slice(format!("{:08x} {hash} ", json.len()).as_bytes());
    out.extend_from_slice(&json);
    out.push(b'\n');
    Ok(hash)
}

/// The hash that chains records.
fn record_hash(canonical: &[u8]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(b"jos-record-v1\n");
    hasher.update(canonical);
    hasher.finish()
}

/// The hash in hex, without going through the formatter.
fn hex(digest: &Digest) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(digest.as_bytes()) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

/// Reads lines one behind the other and holds each against the one before.
pub(super) struct Chain {
    /// Records before the next one.
    pub(super) count: u64,
    /// Hash of the one before.
    pub(super) hash: Digest,
    prev: [u8; 64],
    /// The last time and name that were found good: they mostly repeat.
    time: [u8; 20],
    name: String,
}

impl Chain {
    pub(super) fn new(count: u64, hash: Digest) -> Self {
        let (prev, time, name) = (hex(&hash), [0; 20], String::new());
        Self {
            count,
            hash,
            prev,
            time,
            name,
        }
    }

    /// The line that starts at `at`, and where the next one does.
    pub(super) fn next<'a>(&mut self, bytes: &'a [u8], at: usize) -> Result<(Line<'a>, usize), &'static str> {
        let frame = bytes.get(at..at + FRAME).ok_or("an unfinished record")?;
        if frame[8] != b' ' || frame[73] != b' ' {
            return Err("a frame in another spelling");
        }
        let mut length = 0_usize;
        for digit in &frame[..8] {
            let digit = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return Err("a frame without a length"),
            };
            length = length << 4 | usize::from(digit);
        }
        if length as u64 > super::RECORD_LIMIT {
            return Err("a frame with an impossible length");
        }
        let start = at + FRAME;
        let end = start + length;
        let json = bytes.get(start..end).ok_or("an unfinished record")?;
        if *bytes.get(end).ok_or("an unfinished record")? != b'\n' {
            return Err("a record that does not end where its frame says");
        }
        let hash = record_hash(json);
        let text = hex(&hash);
        if frame[9..73] != text {
            return Err("a record that does not have its hash");
        }
        let line = self.parse(json, hash)?;
        if line.index != self.count {
            return Err("a record with another index than its place");
        }
        if line.prev.as_bytes() != self.prev {
            return Err("a record that does not continue the one before");
        }
        (self.count, self.hash, self.prev) = (self.count + 1, hash, text);
        Ok((line, end + 1))
    }

    fn parse<'a>(&mut self, json: &'a [u8], hash: Digest) -> Result<Line<'a>, &'static str> {
        const SHAPE: &str = "a record of an unknown shape";
        let text = std::str::from_utf8(json).map_err(|_| "a record that is not text")?;
        let mut at = Fields { text, at: 1 };
        if !text.starts_with('{') {
            return Err(SHAPE);
        }
        let mut read = || {
            let cause = at.skip("\"cause\":").then(|| at.simple()).transpose_flat()?;
            if cause.is_some() && !at.skip(",") {
                return None;
            }
            let index = at.member("\"index\":").and_then(|()| at.int())?;
            let kind = at.member(",\"kind\":").and_then(|()| at.simple())?;
            let name = at.member(",\"name\":").and_then(|()| at.simple())?;
            at.member(",\"payload\":")?;
            let start = at.at;
            at.at = jcs::value_end(json, start)?;
            let payload = &json[start..at.at];
            let prev = at.member(",\"prev\":").and_then(|()| at.simple())?;
            let source = at.member(",\"source\":").and_then(|()| at.simple())?;
            let time = at.member(",\"time\":").and_then(|()| at.simple())?;
            let version = at.skip(",\"version\":").then(|| at.int()).transpose_flat()?;
            (at.rest() == "}").then_some(Line {
                index,
                hash,
                time,
                source: source_named(source)?,
                name,
                version,
                cause,
                kind,
                prev,
                payload,
                json,
            })
        };
        let line = read().ok_or(SHAPE)?;
        self.judge(&line).ok_or(SHAPE)?;
        Ok(line)
    }

    /// The rules of the types, for what differs from the line before.
    fn judge(&mut self, line: &Line<'_>) -> Option<()> {
        if line.time.as_bytes() != self.time {
            Utc::new(line.time).ok()?;
            self.time.copy_from_slice(line.time.as_bytes().get(..20)?);
        }
        if line.name != self.name {
            Name::new(line.name).ok()?;
            line.name.clone_into(&mut self.name);
        }
        Some(())
    }
}

/// What may be left out: absent is good, there but wrong is not.
trait TransposeFlat<T> {
    fn transpose_flat(self) -> Option<Option<T>>;
}

impl<T> TransposeFlat<T> for Option<Option<T>> {
    fn transpose_flat(self) -> Option<Option<T>> {
        match self {
            None => Some(None),
            Some(None) => None,
            Some(found) => Some(found),
        }
    }
}

/// The members of a record, in the one order they can have.
struct Fields<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Fields<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn member(&mut self, text: &str) -> Option<()> {
        self.skip(text).then_some(())
    }

    /// A string without escapes.
    fn simple(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let (end, _) = plain_end(bytes, start).filter(|_| bytes.get(self.at) == Some(&b'"'))?;
        if bytes[end] != b'"' {
            return None;
        }
        self.at = end + 1;
        self.text.get(start..end)
    }

    /// An integer from 0 to 2^53−1, as it is written canonically.
    fn int(&mut self) -> Option<u64> {
        let rest = self.rest();
        let length = rest.bytes().take_while(u8::is_ascii_digit).count();
        let digits = rest.get(..length)?;
        if length == 0 || length > 16 || (length > 1 && digits.starts_with('0')) {
            return None;
        }
        self.at += length;
        digits.parse().ok().filter(|n| *n <= MAX_INT)
    }
}

/// A source as records write it.
pub fn source_word(source: Source) -> &'static str {
    match source {
        Source::Baseline => "baseline",
        Source::Hub => "hub",
        Source::Local => "local",
        Source::Artifact => "artifact",
        Source::Drift => "drift",
        Source::Operator => "operator",
        Source::Schedule => "schedule",
        Source::Agent => "agent",
    }
}

const SOURCES: [Source; 8] = [
    Source::Baseline,
    Source::Hub,
    Source::Local,
    Source::Artifact,
    Source::Drift,
    Source::Operator,
    Source::Schedule,
    Source::Agent,
];

fn source_named(word: &str) -> Option<Source> {
    SOURCES.into_iter().find(|source| source_word(*source) == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_written_as_its_document_says() {
        for source in SOURCES {
            assert_eq!(serde_json::to_value(source).unwrap(), source_word(source));
        }
    }
}
