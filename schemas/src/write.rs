//! TOML as text, for the files that an install writes: a value in, tables out.
//!
//! The `toml` crate reads; its writer would be compiled into every device for two files.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value};

/// Writes a document as TOML: plain members first, then each table under its header. `null` is left out.
///
/// # Errors
/// A value that is no table, or that serde's own types refuse: a mistake in the type.
pub fn toml<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    match serde_json::to_value(value)? {
        Value::Object(members) => {
            let mut out = String::new();
            table(&members, "", &mut out);
            Ok(out)
        }
        _ => Err(serde::ser::Error::custom("a TOML document is a table")),
    }
}

fn table(members: &Map<String, Value>, path: &str, out: &mut String) {
    let plain = |value: &Value| !matches!(value, Value::Object(_) | Value::Null);
    for (name, value) in members.iter().filter(|(_, value)| plain(value)) {
        key(name, out);
        out.push_str(" = ");
        inline(value, out);
        out.push('\n');
    }
    for (name, value) in members {
        let Value::Object(below) = value else { continue };
        let mut path = path.to_owned();
        if !path.is_empty() {
            path.push('.');
        }
        key(name, &mut path);
        if !out.is_empty() {
            out.push('\n');
        }
        let _ = writeln!(out, "[{path}]");
        table(below, &path, out);
    }
}

fn key(name: &str, out: &mut String) {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !name.is_empty() && name.bytes().all(bare) {
        out.push_str(name);
    } else {
        text(name, out);
    }
}

fn inline(value: &Value, out: &mut String) {
    match value {
        // TOML has no null; in a list there is none either, for no type of a document writes one there.
        Value::Null => {}
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => drop(write!(out, "{n}")),
        Value::String(s) => text(s, out),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                inline(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (at, (name, value)) in members.iter().filter(|(_, value)| !value.is_null()).enumerate() {
                out.push_str(if at > 0 { ", " } else { " " });
                key(name, out);
                out.push_str(" = ");
                inline(value, out);
            }
            out.push_str(" }");
        }
    }
}

/// A basic string (TOML 1.0, "String"): control characters, quotes and backslashes are escaped.
fn text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => drop(write!(out, "\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::toml;
    use crate::read::{Format, parse};

    fn read_back(text: &str) -> Value {
        match parse("written", text.as_bytes(), Format::Toml) {
            Ok(node) => node.to_json(),
            Err(report) => panic!("{report}\n{text}"),
        }
    }

    #[test]
    fn plain_members_come_before_tables_and_null_is_left_out() {
        let value =
            json!({ "hub": { "url": "https://a" }, "name": "kiosk", "ca": null, "list": [{ "a": 1, "b": null }] });
        let text = toml(&value).unwrap();
        assert!(text.ends_with("\n\n[hub]\nurl = \"https://a\"\n"), "{text}");
        assert!(text.contains("list = [{ a = 1 }]\n") && !text.contains("ca"), "{text}");
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            (-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                members(inner).prop_map(Value::from),
            ]
        })
    }

    fn members(of: impl Strategy<Value = Value>) -> impl Strategy<Value = serde_json::Map<String, Value>> {
        proptest::collection::vec((any::<String>(), of), 0..5).prop_map(|members| members.into_iter().collect())
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_it_was(members in members(value())) {
            let written = toml(&members).unwrap();
            prop_assert_eq!(read_back(&written), Value::Object(members), "{}", written);
        }
    }
}
