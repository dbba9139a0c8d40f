use jos_schemas::read::{self, Format};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn canonical(text: &str) -> String {
    let node = read::parse("test", text.as_bytes(), Format::Json).expect("strict JSON");
    String::from_utf8(to_bytes(&node).expect("canonical")).expect("UTF-8")
}

fn object(entries: &[(&str, Kind)]) -> Node {
    let entry = |(key, kind): &(&str, Kind)| Entry {
        key: (*key).to_owned(),
        key_span: 0..0,
        value: Node::new(kind.clone()),
    };
    Node::new(Kind::Object(entries.iter().map(entry).collect()))
}

#[test]
fn rfc_8785_example_of_strings_and_literals_in_section_3_2_2() {
    // The example without its floats, which lie outside the subset.
    let text = r#"{"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#;
    let expected = "{\"literals\":[null,true,false],\"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
    assert_eq!(canonical(text), expected);
}

#[test]
fn rfc_8785_example_of_sorting_by_utf_16_in_section_3_2_3() {
    let text = r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One",
        "\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#;
    let expected = "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\
        \"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\
        \"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}";
    assert_eq!(canonical(text), expected);
}

#[test]
fn rfc_8785_short_escapes_are_used_where_json_has_them_and_no_others() {
    assert_eq!(
        canonical(r#""\u0008\u0009\u000a\u000c\u000d\u0000\u001f\u007f\u2028\/""#),
        "\"\\b\\t\\n\\f\\r\\u0000\\u001f\u{7f}\u{2028}/\""
    );
}

#[test]
fn unicode_is_never_normalised_so_nfc_and_nfd_are_different_keys() {
    assert_eq!(
        canonical("{\"e\u{301}\":1,\"\u{e9}\":2}"),
        "{\"e\u{301}\":1,\"\u{e9}\":2}"
    );
}

#[test]
fn integers_reach_to_2_53_minus_1_and_floats_have_no_canonical_bytes() {
    assert_eq!(
        canonical("[9007199254740991,-9007199254740991,0]"),
        "[9007199254740991,-9007199254740991,0]"
    );
    for n in [MAX_INT + 1, -MAX_INT - 1, i64::MAX, i64::MIN] {
        let expected = NotCanonical::Range {
            pointer: "/a~1b".to_owned(),
            found: n,
        };
        assert_eq!(to_bytes(&object(&[("a/b", Kind::Int(n))])), Err(expected));
    }
    for n in [0.0, 1.0, 1.5, -0.0] {
        let list = Node::new(Kind::Array(vec![Node::new(Kind::Null), Node::new(Kind::Float(n))]));
        assert!(matches!(to_bytes(&list), Err(NotCanonical::Float { pointer, .. }) if pointer == "/1"));
    }
}

#[test]
fn a_tree_with_a_doubled_key_has_no_canonical_bytes_even_beside_the_signed_part() {
    assert!(matches!(
        to_bytes(&object(&[("a", Kind::Null), ("a", Kind::Null)])),
        Err(NotCanonical::DuplicateKey { .. })
    ));
    let twice = object(&[("signature", Kind::Null), ("signature", Kind::Bool(true))]);
    assert!(matches!(
        signed_bytes("k", &twice),
        Err(NotCanonical::DuplicateKey { .. })
    ));
}

#[test]
fn a_tree_of_any_depth_is_refused_without_using_up_the_stack() {
    let deep = (0..1000).fold(Node::new(Kind::Null), |node, _| Node::new(Kind::Array(vec![node])));
    assert_eq!(to_bytes(&deep), Err(NotCanonical::TooDeep));
}

#[test]
fn the_signed_bytes_name_scheme_and_kind_and_leave_out_the_signatures_alone() {
    let node = Node::from_json(
        &json!({ "kind": "k", "signature": { "sig": "x" }, "a": { "signature": 1 }, "signatures": [] }),
    );
    let bytes = signed_bytes("k", &node).expect("canonical");
    assert_eq!(
        String::from_utf8(bytes).expect("UTF-8"),
        "jos-signature-v1\nk\n{\"a\":{\"signature\":1},\"kind\":\"k\"}"
    );
    assert!(matches!(
        signed_bytes("k", &Node::new(Kind::Null)),
        Err(NotCanonical::NotAnObject { .. })
    ));
}

#[test]
fn a_float_inside_a_signature_is_refused_like_any_other() {
    let node = Node::from_json(&json!({ "signature": { "x": 1.5 } }));
    assert!(matches!(signed_bytes("k", &node), Err(NotCanonical::Float { pointer, .. }) if pointer == "/signature/x"));
}

fn values() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|b| json!(b)),
        (-MAX_INT..=MAX_INT).prop_map(|n| json!(n)),
        any::<String>().prop_map(|s| json!(s)),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(|v| json!(v)),
            prop::collection::hash_map(any::<String>(), inner, 0..6)
                .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
        ]
    })
}

fn sorted(value: &serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(map) => {
            let mut members: Vec<_> = map.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            serde_json::Value::Object(members.into_iter().collect())
        }
        serde_json::Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reading_canonical_bytes_gives_the_value_back_and_they_are_canonical_already(value in values()) {
        let bytes = to_bytes(&Node::from_json(&value)).expect("canonical");
        let read = read::parse("test", &bytes, Format::Json).expect("our own bytes are strict JSON");
        prop_assert_eq!(sorted(&read.to_json()), sorted(&value));
        prop_assert_eq!(to_bytes(&read).expect("canonical"), bytes);
    }

    #[test]
    fn the_order_of_members_does_not_matter(value in values()) {
        let shuffled = Node::from_json(&sorted(&value));
        prop_assert_eq!(to_bytes(&shuffled).expect("canonical"), to_bytes(&Node::from_json(&value)).expect("canonical"));
    }
}
