//! What a model decided, out of what it said.
//!
//! Its first word counts: a model is asked to begin with ACCEPT or REJECT. A reply that is an object says it in its member
//! `verdict`. Anything else is no verdict, and no verdict is no acceptance.

use serde_json::Value;

const YES: [&str; 6] = ["accept", "accepted", "approve", "approved", "yes", "done"];
const NO: [&str; 6] = ["reject", "rejected", "refuse", "refused", "no", "fail"];

/// Accepted or not, with a note for the record.
pub(super) fn read(reply: &str) -> (bool, String) {
    let said = match serde_json::from_str::<Value>(reply.trim()) {
        Ok(Value::Object(object)) => object.get("verdict").and_then(Value::as_str).map(str::to_owned),
        _ => reply
            .split(|c: char| !c.is_alphanumeric())
            .find(|word| !word.is_empty())
            .map(str::to_owned),
    };
    let word = said.unwrap_or_default().to_lowercase();
    if YES.contains(&word.as_str()) {
        (true, shown(reply))
    } else if NO.contains(&word.as_str()) {
        (false, shown(reply))
    } else {
        (
            false,
            format!("no verdict, expected ACCEPT or REJECT first: {}", shown(reply)),
        )
    }
}

fn shown(reply: &str) -> String {
    let line = reply.trim().lines().next().unwrap_or_default();
    line.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_counts_and_silence_is_no_acceptance() {
        for yes in ["ACCEPT", "**Accept**: fine", "yes, because", "{\"verdict\":\"accept\"}"] {
            assert!(read(yes).0, "{yes}");
        }
        for no in [
            "REJECT: spam",
            "no",
            "{\"verdict\":\"reject\"}",
            "",
            "I would ACCEPT",
            "{}",
            "[1]",
        ] {
            assert!(!read(no).0, "{no}");
        }
        assert!(read("well").1.starts_with("no verdict"));
    }
}
