use proptest::prelude::*;

use super::*;

#[test]
fn a_stanza_reads_back_as_it_was_written() {
    let mut stanza = Stanza::default();
    stanza.push("Package", "probe").unwrap();
    stanza
        .push("Description", "short\nlong line\n\nsecond paragraph\n  verbatim")
        .unwrap();
    stanza.insert_before("Description", "Size", "12").unwrap();
    let text = stanza.to_string();
    assert_eq!(
        text,
        "Package: probe\nSize: 12\nDescription: short\n long line\n .\n second paragraph\n   verbatim\n"
    );
    assert_eq!(Stanza::parse("control", &text).unwrap(), stanza);
    assert_eq!(stanza.get("pAcKaGe"), Some("probe"));
}

#[test]
fn a_value_cannot_smuggle_in_a_second_field() {
    let mut stanza = Stanza::default();
    stanza.push("Description", "short\nDepends: evil").unwrap();
    let back = Stanza::parse("control", &stanza.to_string()).unwrap();
    assert_eq!(back.get("Depends"), None);
    assert!(stanza.push("X", "a\rDepends: b").is_err());
    assert!(stanza.push("X:", "a").is_err());
    assert!(stanza.push("-X", "a").is_err());
    assert!(stanza.push("description", "again").is_err());
    assert!(one_line("Homepage", "a\nDepends: b").is_err());
}

#[test]
fn a_damaged_stanza_is_refused_with_its_line() {
    for (text, why) in [
        (" x", "control:1: starts with a continuation"),
        ("A: 1\nno colon", "control:2"),
        ("A: 1\na: 2", "control:2: the field is there twice"),
        ("A: 1\n\nB: 2", "control:2"),
    ] {
        let said = Stanza::parse("control", text).unwrap_err().to_string();
        assert!(said.contains(why), "{text:?}: {said}");
    }
}

#[test]
fn names_versions_and_relations_follow_policy() {
    for good in ["jos-agent", "a1", "libc6.1+x"] {
        check_package(good).unwrap();
    }
    for bad in ["", "a", "Jos", "-a", "a_b", "a b", "ä1"] {
        assert!(check_package(bad).is_err(), "{bad:?}");
    }
    for good in ["1", "1.2.3", "1.2.3-r1", "2:1.0~rc1-2+b1"] {
        check_version(good).unwrap();
    }
    for bad in ["", "v1", "1.0-", ":1", "a:1", "1_2", "1 2", "1/2", "12345678901:1"] {
        assert!(check_version(bad).is_err(), "{bad:?}");
    }
    let list = ["libc6 (>= 2.31)".to_owned(), "a | b".to_owned()];
    assert_eq!(relations("Depends", &list).unwrap(), "libc6 (>= 2.31), a | b");
    for bad in ["", " a", "a,b", "a\nConflicts: b"] {
        assert!(relations("Depends", &[bad.to_owned()]).is_err(), "{bad:?}");
    }
}

#[test]
fn a_description_needs_its_one_line() {
    let long = "x".repeat(81);
    for bad in ["", "  ", "two\nlines", &long] {
        let d = Description {
            synopsis: bad.into(),
            extended: String::new(),
        };
        assert!(d.value().is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_stanza_or_an_error(text in "\\PC{0,40}(\n[ .a:A-Z-]{0,8}){0,6}") {
        if let Ok(stanza) = Stanza::parse("t", &text) {
            let _ = stanza.to_string();
        }
    }

    #[test]
    fn an_extended_description_never_becomes_a_field(lines in proptest::collection::vec("[ .A-Za-z:]{0,12}", 0..8)) {
        let value = Description { synopsis: "short".into(), extended: lines.join("\n") }.value().unwrap();
        let mut stanza = Stanza::default();
        stanza.push("Description", &value).unwrap();
        let text = stanza.to_string();
        prop_assert!(text.lines().skip(1).all(|l| l.starts_with(' ') && l.trim() != ""), "{text}");
        prop_assert_eq!(Stanza::parse("t", &text).unwrap().fields.len(), 1);
    }
}
