//! A record made again, and held against the one that is there.
//!
//! [`same`] is the rule, and finds the words for what does not agree: it makes the payload as a tree and takes that one's
//! canonical bytes. Nearly every record agrees, so [`Again`] comes before it: it writes the same bytes member by member and
//! takes over what is canonical already. What it does not find alike is left to the rule.

use jos_runtime::ledger::{BLOB_LIMIT, Line, canonical};
use jos_trust::sha256;
use serde_json::{Value, json};

use super::Wrong;

/// `act` is the first member of every record that has one.
const ACT: &[u8] = b"{\"act\":";

/// The bytes of one payload. Whoever writes them keeps the members in the order of their names.
#[derive(Default)]
pub(super) struct Again {
    bytes: Vec<u8>,
}

impl Again {
    /// Begins a record that has an `act`, the members of which follow.
    pub(super) fn act(&mut self) -> &mut Self {
        self.bytes.clear();
        self.bytes.extend_from_slice(ACT);
        self.bytes.push(b'{');
        self
    }

    /// Ends the `act`. The record's other members follow.
    pub(super) fn head(&mut self) -> &mut Self {
        self.bytes.push(b'}');
        let act = &self.bytes[ACT.len()..];
        if act.len() > BLOB_LIMIT {
            let reference = format!(r#"{{"blob":"{}","size":{}}}"#, sha256(act), act.len());
            self.bytes.truncate(ACT.len());
            self.bytes.extend_from_slice(reference.as_bytes());
        }
        self
    }

    /// Begins a record without an `act`.
    pub(super) fn bare(&mut self) -> &mut Self {
        self.bytes.clear();
        self.bytes.push(b'{');
        self
    }

    /// A member that is canonical already.
    pub(super) fn raw(&mut self, name: &str, value: &str) -> &mut Self {
        if self.bytes.last() != Some(&b'{') {
            self.bytes.push(b',');
        }
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b"\":");
        self.bytes.extend_from_slice(value.as_bytes());
        self
    }

    /// A text.
    pub(super) fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.raw(name, "");
        // A text has one spelling, by RFC 8785 and by serde_json; writing to memory does not fail.
        let _ = serde_json::to_writer(&mut self.bytes, value);
        self
    }

    /// A text, or null.
    pub(super) fn maybe(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(name, value),
            None => self.raw(name, "null"),
        }
    }

    /// True or false.
    pub(super) fn truth(&mut self, name: &str, value: bool) -> &mut Self {
        self.raw(name, if value { "true" } else { "false" })
    }

    /// A value of which only the tree is known.
    pub(super) fn value(&mut self, name: &str, value: &Value) -> Result<&mut Self, String> {
        let bytes = canonical(value).map_err(|e| e.to_string())?;
        self.raw(name, "").bytes.extend_from_slice(&bytes);
        Ok(self)
    }

    /// Whether that is what the record says.
    pub(super) fn is(&mut self, line: &Line<'_>) -> bool {
        self.bytes.push(b'}');
        self.bytes == line.payload
    }
}

/// Whether the payload that was made again has the bytes of the one that is there.
pub(super) fn same(line: &Line<'_>, mut head: Value, act: Option<Value>) -> Wrong {
    if let Some(act) = act {
        let bytes = canonical(&act).map_err(|e| e.to_string())?;
        head["act"] = if bytes.len() > BLOB_LIMIT {
            json!({ "blob": sha256(&bytes).to_string(), "size": bytes.len() })
        } else {
            act
        };
    }
    let bytes = canonical(&head).map_err(|e| e.to_string())?;
    if bytes == line.payload {
        return Ok(());
    }
    let (made, there) = (String::from_utf8_lossy(&bytes), String::from_utf8_lossy(line.payload));
    let at = made.bytes().zip(there.bytes()).take_while(|(a, b)| a == b).count();
    let part = |text: &str| {
        text.get(at.saturating_sub(20)..)
            .unwrap_or_default()
            .chars()
            .take(80)
            .collect::<String>()
    };
    Err(format!(
        "found \u{2026}{}, expected \u{2026}{}",
        part(&there),
        part(&made)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_member_by_member_has_the_canonical_bytes() {
        let long = "x".repeat(BLOB_LIMIT);
        for text in [
            "",
            "plain",
            "\u{8}\t\n\u{c}\r\u{1}\u{1f}\u{7f}\"\\/",
            "\u{e9}\u{20ac}\u{1f600}\u{2028}",
            &long,
        ] {
            for payload in [Value::Null, json!({ "b": [1.5, 1e300, -7, true], "a": text })] {
                let mut again = Again::default();
                again
                    .act()
                    .text("id", text)
                    .value("payload", &payload)
                    .unwrap()
                    .maybe("reason", None);
                again
                    .head()
                    .text("agent", text)
                    .truth("ok", true)
                    .maybe("reason", Some(text));
                let act = json!({ "id": text, "payload": payload, "reason": null });
                let kept = canonical(&act).unwrap();
                let act = match kept.len() > BLOB_LIMIT {
                    true => json!({ "blob": sha256(&kept).to_string(), "size": kept.len() }),
                    false => act,
                };
                let record = canonical(&json!({ "act": act, "agent": text, "ok": true, "reason": text })).unwrap();
                again.bytes.push(b'}');
                assert_eq!(String::from_utf8_lossy(&again.bytes), String::from_utf8_lossy(&record));
            }
        }
        let mut again = Again::default();
        again.act().text("id", "left behind");
        again.bare().text("agent", "a").truth("ok", false);
        assert_eq!(again.bytes, b"{\"agent\":\"a\",\"ok\":false");
    }
}
