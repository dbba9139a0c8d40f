//! Which blobs records name.
//!
//! Two questions with two answers. *May this blob go?* must never be answered wrongly with yes: whatever looks like the
//! name of a blob in a record, in a kept blob, in the journal or in a state in force keeps it. *Is a blob missing?* must
//! not be asked of what others wrote into their documents: only where the format itself puts a reference.

use std::collections::BTreeSet;

use jos_trust::Digest;
use serde_json::Value;

use super::Line;

/// Every text of 64 lower-case hex digits between quotes: what may be the name of a blob.
pub fn blob_names(bytes: &[u8], found: &mut BTreeSet<Digest>) {
    let mut at = 0;
    while let Some(quote) = bytes[at..].iter().position(|b| *b == b'"') {
        let start = at + quote + 1;
        let name = bytes
            .get(start..start + 64)
            .filter(|_| bytes.get(start + 64) == Some(&b'"'));
        let digest = name
            .and_then(|name| std::str::from_utf8(name).ok())
            .and_then(|name| name.parse().ok());
        match digest {
            Some(digest) => {
                found.insert(digest);
                at = start + 65;
            }
            None => at = start,
        }
    }
}

/// The blobs that must be there for `line` to be whole.
pub fn required_blobs(line: &Line<'_>, found: &mut BTreeSet<Digest>) {
    // Most records name none, which is cheap to see.
    let marks: [&[u8]; 2] = [b"\"blob\":\"", b"\"gate\":\""];
    let named = marks
        .iter()
        .any(|mark| line.payload.windows(mark.len()).any(|w| w == *mark));
    if !named {
        return;
    }
    if let Ok(payload) = line.payload() {
        required(&payload, line.kind != super::CHECKPOINT, found);
    }
}

/// References are `{"blob": SHA256, …}` and `"gate": SHA256`. The `documents` of others (`state`, `act`) are not looked
/// into, but for being a reference themselves; a checkpoint holds none.
fn required(value: &Value, documents: bool, found: &mut BTreeSet<Digest>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| required(item, documents, found)),
        Value::Object(members) => {
            for (key, value) in members {
                match (key.as_str(), value) {
                    ("blob" | "gate", Value::String(text)) => found.extend(text.parse::<Digest>().ok()),
                    ("state" | "act", Value::Object(document)) if documents => {
                        let reference = document.get("blob").and_then(Value::as_str);
                        // `{"blob", "size"}`; a document has a type or a kind beside.
                        let reference = reference.filter(|_| document.len() <= 2);
                        found.extend(reference.and_then(|r| r.parse::<Digest>().ok()));
                    }
                    _ => required(value, documents, found),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_looks_like_a_name_keeps_a_blob() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let text = format!(
            r#"{{"x":"{a}","y":["{b}"],"z":"{}","w":"\"{}\""}}"#,
            "A".repeat(64),
            "c".repeat(64)
        );
        let mut found = BTreeSet::new();
        blob_names(text.as_bytes(), &mut found);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, [a, b]);
        blob_names(b"\"", &mut BTreeSet::new());
        blob_names(b"\"abc", &mut BTreeSet::new());
    }
}
