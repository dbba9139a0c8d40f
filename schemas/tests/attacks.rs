//! `Parsing` of the attack catalogue: each row is a test, and none may panic, hang or allocate without bound.

use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::documents::trust::Trust;
use jos_schemas::{Format, read};
use proptest::prelude::*;

fn refused(text: &[u8], format: Format) -> String {
    read::parse("hostile", text, format)
        .expect_err("must be refused")
        .to_string()
}

#[test]
fn a_duplicate_key_is_refused_also_when_written_by_escapes() {
    for text in [
        r#"{"run":1,"run":2}"#,
        r#"{"run":1,"ru\u006E":2}"#,
        r#"{"run":1,"\u0072\u0075\u006e":2}"#,
    ] {
        let report = refused(text.as_bytes(), Format::Json);
        assert!(
            report.contains("duplicate key \"run\"") && report.contains("at /run"),
            "{report}"
        );
    }
    assert!(refused(b"run = 1\n\"ru\\u006E\" = 2\n", Format::Toml).contains("duplicate key"));
}

#[test]
fn escape_sequences_in_a_key_do_not_reach_the_terminal_that_shows_the_refusal() {
    for text in [
        r#"{"ki\u001b[2Jnd":1}"#,
        r#"{"flo\u007frs":1}"#,
        r#"{"a\u001b":1,"a\u001b":2}"#,
        r#"{"meta":{"\u009b31m":[-0]}}"#,
    ] {
        let report = read::document::<Trust>("hostile", text.as_bytes(), Format::Json).expect_err("must be refused");
        let shown = report.to_string();
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    }
    let forged = r#"{"a\nother.json:1:1: all is well":1}"#;
    let report = read::document::<Trust>("hostile", forged.as_bytes(), Format::Json).expect_err("must be refused");
    assert!(!report.to_string().contains("\nother.json"), "{report}");
}

#[test]
fn a_key_in_other_case_or_other_normal_form_is_an_unknown_key() {
    let state = |key: &str| {
        format!(r#"{{"{key}":"jos.agent.desired_state","meta":{{"name":"a","version":1}},"spec":{{"apply":[]}}}}"#)
    };
    assert!(read::document::<DesiredState>("s", state("kind").as_bytes(), Format::Json).is_ok());
    for key in ["Kind", "KIND", "kind ", "ki\u{301}nd", "\u{212a}ind"] {
        let report = read::document::<DesiredState>("s", state(key).as_bytes(), Format::Json)
            .expect_err(key)
            .to_string();
        assert!(report.contains("unknown field"), "{report}");
    }
    // NFC and NFD of one text are two different names: neither is rewritten into the other.
    let both = "{\"\u{e9}\":1,\"e\u{301}\":2}";
    assert_eq!(
        read::parse("n", both.as_bytes(), Format::Json)
            .expect("two keys")
            .entries()
            .len(),
        2
    );
}

#[test]
fn lone_surrogates_are_refused_and_pairs_are_read() {
    for text in [
        r#""\ud800""#,
        r#""\udc00""#,
        r#""\udc00\ud800""#,
        r#""\ud800\ud800""#,
        r#""\ud800x""#,
        r#""\ud83d\n""#,
    ] {
        assert!(
            refused(text.as_bytes(), Format::Json).contains("half a surrogate pair"),
            "{text}"
        );
    }
    let node = read::parse("n", br#""\ud83e\udd8a""#, Format::Json).expect("a fox");
    assert_eq!(node.as_str(), Some("\u{1f98a}"));
}

#[test]
fn minus_zero_numbers_beyond_2_53_and_beyond_binary64_are_refused() {
    for text in [
        "-0",
        "-0.0",
        "-0e0",
        "9007199254740992",
        "-9007199254740992",
        "18446744073709551616",
        "1e400",
        "-1e400",
    ] {
        refused(text.as_bytes(), Format::Json);
        refused(format!("a = {text}\n").as_bytes(), Format::Toml);
    }
    for text in ["0", "9007199254740991", "-9007199254740991", "1e3", "1.5"] {
        read::parse("n", text.as_bytes(), Format::Json).expect(text);
    }
}

#[test]
fn a_float_is_no_integer_of_a_document() {
    let text = r#"{"kind":"jos.agent.desired_state","meta":{"name":"a","version":1.0},"spec":{"apply":[]}}"#;
    let report = read::document::<DesiredState>("s", text.as_bytes(), Format::Json)
        .expect_err("a float")
        .to_string();
    assert!(
        report.contains("meta.version: found number 1, expected an integer from 1 to 9007199254740991"),
        "{report}"
    );
}

#[test]
fn a_byte_order_mark_and_bytes_after_the_value_are_refused() {
    assert!(refused(b"\xef\xbb\xbf{}", Format::Json).contains("byte order mark"));
    assert!(refused(b"\xef\xbb\xbfa = 1", Format::Toml).contains("byte order mark"));
    for tail in ["{}", "x", ",", "\0", "\u{feff}", "]"] {
        assert!(
            refused(format!("{{}}{tail}").as_bytes(), Format::Json).contains("the end of the document"),
            "{tail:?}"
        );
    }
}

#[test]
fn a_hundred_thousand_brackets_are_refused_at_depth_64() {
    for open in ["[", "{\"a\":"] {
        assert!(refused(open.repeat(100_000).as_bytes(), Format::Json).contains("nested deeper than 64"));
    }
    refused(format!("a = {}", "[".repeat(100_000)).as_bytes(), Format::Toml);
    refused(format!("a = {}", "{ a = ".repeat(100_000)).as_bytes(), Format::Toml);
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(read::parse("n", deep(64).as_bytes(), Format::Json).is_ok());
    assert!(read::parse("n", format!("a = {}", deep(63)).as_bytes(), Format::Toml).is_ok());
    refused(deep(65).as_bytes(), Format::Json);
    refused(format!("a = {}", deep(64)).as_bytes(), Format::Toml);
}

#[test]
fn toml_with_a_million_dotted_keys_is_refused_before_a_table_is_built() {
    let long = format!("{} = 1\n", vec!["a"; 500_000].join("."));
    assert!(refused(long.as_bytes(), Format::Toml).contains("a key of more than 64 parts"));
    let million = format!("{} = 1\n", vec!["a"; 1_000_000].join("."));
    assert!(refused(million.as_bytes(), Format::Toml).contains("bytes"));
    let mut many = String::new();
    for n in 0..16_000 {
        many.push_str(&format!("k{n}.{} = 1\n", ["a"; 25].join(".")));
    }
    assert!(many.len() < 1 << 20);
    assert!(refused(many.as_bytes(), Format::Toml).contains("more than 50000 tables and lists"));
    let headers = "[a.b]\n".repeat(100_000);
    refused(headers.as_bytes(), Format::Toml);
}

#[test]
fn a_text_of_a_gibibyte_is_refused_by_its_length() {
    // The pages are never touched: the limit is looked at before the first byte.
    let huge = vec![0_u8; 1 << 30];
    assert!(refused(&huge, Format::Json).contains("found 1073741824 bytes, expected 1048576 at most"));
    assert!(refused(&huge, Format::Toml).contains("found 1073741824 bytes"));
}

#[test]
fn a_text_of_a_whole_document_is_not_repeated_in_its_errors() {
    let text = format!(r#"{{"kind":"{}"}}"#, "x".repeat(900_000));
    let report = read::document::<DesiredState>("s", text.as_bytes(), Format::Json)
        .expect_err("no state")
        .to_string();
    assert!(report.len() < 4_000, "{} bytes", report.len());
    let key = format!(r#"{{"{}":1}}"#, "k".repeat(900_000));
    let report = read::document::<DesiredState>("s", key.as_bytes(), Format::Json)
        .expect_err("no state")
        .to_string();
    assert!(report.len() < 4_000, "{} bytes", report.len());
}

#[test]
fn a_document_of_nothing_but_errors_is_answered_with_a_hundred_of_them() {
    let steps = r#"{"type":"file","pth":1,"mode":2},"#.repeat(9_000);
    let text = format!(
        r#"{{"kind":"jos.agent.desired_state","meta":{{"name":"a","version":1}},"spec":{{"apply":[{}]}}}}"#,
        steps.trim_end_matches(',')
    );
    let report = read::document::<DesiredState>("s", text.as_bytes(), Format::Json).expect_err("wrong all over");
    assert_eq!((report.issues.len(), report.more), (100, true));
}

/// Bytes that look like a document for a while.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\u00",
        "\\ud800",
        "\"type\"",
        "\"file\"",
        "\"kind\":",
        "null",
        "true",
        "-",
        "0",
        "1e9",
        ".5",
        "1e400",
        "\u{feff}",
        "\0",
        "\n",
        " ",
        "\"meta\":{",
        "\"spec\":{\"apply\":[",
        "jos.agent.desired_state",
        "a.b.c = ",
        "[[a]]\n",
        "'''",
        "\"\"\"",
        "#",
        "=",
        "0x",
        "inf",
        "2027-01-01T00:00:00Z",
        "é",
        "\u{1f98a}",
    ];
    let piece = prop_oneof![
        6 => proptest::sample::select(pieces.to_vec()).prop_map(|p| p.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, rng_seed: proptest::test_runner::RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn malformed_input_never_panics(bytes in hostile()) {
        for format in [Format::Json, Format::Toml] {
            if let Err(report) = read::document::<DesiredState>("h", &bytes, format) {
                prop_assert!(!report.issues.is_empty());
                let _ = report.to_string();
            }
            let _ = read::document::<Trust>("h", &bytes, format);
        }
    }

    #[test]
    fn what_is_read_as_json_says_the_same_to_another_reader(bytes in hostile()) {
        if let Ok(node) = read::parse("h", &bytes, Format::Json) {
            let other: serde_json::Value = serde_json::from_slice(&bytes).expect("ours is the stricter one");
            prop_assert_eq!(node.to_json(), other);
        }
    }

    #[test]
    fn every_json_value_is_read_back_as_it_was_written(text in "\\PC{0,20}", n in -9_007_199_254_740_991_i64..=9_007_199_254_740_991) {
        let value = serde_json::json!({ "a": [n, text.clone(), null, true], text: {} });
        let written = serde_json::to_vec(&value).expect("plain data");
        prop_assert_eq!(read::parse("h", &written, Format::Json).expect("valid").to_json(), value);
    }
}
