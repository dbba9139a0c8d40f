//! Merging, as documents say it: tables merge, scalars and lists replace, `"name+"` appends.

use super::*;
use crate::read::{Format, parse};

fn node(toml: &str) -> Node {
    parse("t.toml", toml.as_bytes(), Format::Toml).expect("TOML")
}

fn merged(base: &str, over: &str) -> Result<serde_json::Value, String> {
    let mut refused = None;
    let mut all = Node {
        span: 0..0,
        kind: Kind::Object(Vec::new()),
    };
    merge(&mut all, node(base), &mut |_, _| {});
    merge(&mut all, node(over), &mut |_, key| refused = Some(key.to_owned()));
    refused.map_or(Ok(all.to_json()), Err)
}

#[test]
fn tables_merge_and_scalars_and_lists_replace() {
    let all = merged("[a]\nx = 1\ny = [1, 2]\n", "[a]\nx = 2\ny = [3]\nz = true\n").expect("merges");
    assert_eq!(all, serde_json::json!({"a": {"x": 2, "y": [3], "z": true}}));
}

#[test]
fn a_list_whose_key_ends_in_plus_is_appended() {
    let all = merged("[a]\ny = [1]\n", "[a]\n\"y+\" = [2]\n").expect("merges");
    assert_eq!(all, serde_json::json!({"a": {"y": [1, 2]}}));
    let all = merged("", "[a.b]\n\"y+\" = [2]\n").expect("merges");
    assert_eq!(all, serde_json::json!({"a": {"b": {"y": [2]}}}));
}

#[test]
fn appending_to_what_is_no_list_is_refused_by_name() {
    let said = merged("y = \"text\"\n", "\"y+\" = [2]\n").expect_err("refused");
    assert!(said.contains("\"y+\""), "{said}");
}
