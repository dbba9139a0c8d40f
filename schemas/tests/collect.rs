//! The reader shows every error of a file, each at its place.

use jos_schemas::documents::desired_state::{DesiredState, Step};
use jos_schemas::documents::profile::Profile;
use jos_schemas::{Format, read};

fn errors<T: serde::de::DeserializeOwned>(name: &str, text: &str) -> String {
    match read::document::<T>(name, text.as_bytes(), Format::of_path(name)) {
        Ok(_) => String::new(),
        Err(report) => report.to_string(),
    }
}

#[test]
fn an_unknown_field_names_the_nearest_known_one_with_its_place() {
    let text = "[brand]\nvendor = \"ACME\"\n\n[hub]\nulr = \"https://hub.example\"\n";
    assert_eq!(
        errors::<Profile>("p.toml", text),
        "p.toml:5:1: hub.ulr: unknown field; did you mean \"url\"?\n  \
         5 | ulr = \"https://hub.example\"\n    | ^^^ at /hub/ulr\n  help: known fields: url, ca, token"
    );
}

#[test]
fn all_errors_of_a_state_are_shown_and_none_that_only_follow_from_another() {
    let text = r#"{ "kind": "jos.agent.desired_state",
  "meta": { "name": "Bad Name", "verison": 1 },
  "spec": { "apply": [
    { "type": "file", "path": "etc/x", "mode": 644 },
    { "path": "/etc/y", "type": "directry" },
    { "type": "service", "nmae": "cups" } ],
    "telemetry": { "interval": "60" } } }"#;
    let report =
        read::document::<DesiredState>("s.json", text.as_bytes(), Format::Json).expect_err("wrong in seven places");
    let found: Vec<(u32, u32, String, &str)> = report
        .issues
        .iter()
        .map(|i| (i.line, i.column, i.path(), i.message.as_str()))
        .collect();
    let expected = [
        (
            2,
            21,
            "meta.name",
            "found \"Bad Name\", expected a name of a-z, 0-9 and '-', starting with a letter or digit, 64 at most",
        ),
        (2, 33, "meta.verison", "unknown field; did you mean \"version\"?"),
        (
            4,
            31,
            "spec.apply[0].path",
            "found \"etc/x\", expected an absolute path without '.', '..', '//' or a trailing '/', and without control characters",
        ),
        (4, 48, "spec.apply[0].mode", "found integer 644, expected text"),
        (
            5,
            33,
            "spec.apply[1].type",
            "unknown value \"directry\"; did you mean \"directory\"?",
        ),
        (6, 26, "spec.apply[2].nmae", "unknown field; did you mean \"name\"?"),
        (6, 5, "spec.apply[2].action", "missing field \"action\""),
        (
            7,
            32,
            "spec.telemetry.interval",
            "found text \"60\", expected an integer from 1 to 86400",
        ),
    ];
    for one in expected {
        assert!(
            found.iter().any(|f| *f == (one.0, one.1, one.2.to_owned(), one.3)),
            "{one:?} not in {found:#?}"
        );
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn several_missing_fields_are_all_named() {
    let report = errors::<DesiredState>("s.json", r#"{"kind":"jos.agent.desired_state","meta":{},"extra":1}"#);
    for part in [
        "meta.name: missing field",
        "meta.version: missing field",
        "spec: missing field \"spec\"",
        "extra: unknown field",
    ] {
        assert!(report.contains(part), "{part} not in {report}");
    }
}

#[test]
fn a_missing_field_that_was_given_with_a_wrong_value_is_not_called_missing() {
    let text = r#"{"kind":"jos.agent.desired_state","meta":{"name":"a","version":"1"},"spec":{"apply":[]}}"#;
    let report = errors::<DesiredState>("s.json", text);
    assert!(
        report.contains("found text \"1\"") && !report.contains("missing"),
        "{report}"
    );
}

#[test]
fn a_rule_between_fields_is_told_at_the_field_and_with_what_to_do() {
    let text = "kind = \"jos.agent.desired_state\"\nmeta = { name = \"a\", version = 1 }\n\n[[spec.apply]]\ntype = \"file\"\n\
        path = \"/a\"\n\n[spec.confirm]\n";
    let report = errors::<DesiredState>("s.toml", text);
    assert!(
        report.contains("spec.apply[0]: found neither \"content\" nor \"source\", expected one of them"),
        "{report}"
    );
    assert!(
        report.contains("spec.confirm: found neither \"hub_within\" nor \"command\""),
        "{report}"
    );
    assert!(report.contains("help: content = "), "{report}");
}

#[test]
fn a_step_whose_type_comes_last_is_read_alike_by_every_deserializer() {
    let text = r#"{"path":"/a","content":"x","type":"file"}"#;
    let ours = read::document::<Step>("s", text.as_bytes(), Format::Json)
        .expect("a step")
        .value;
    assert_eq!(serde_json::from_str::<Step>(text).expect("a step"), ours);
    assert_eq!(serde_json::to_value(&ours).expect("plain")["type"], "file");
    let neither = r#"{"path":"/a","type":"file"}"#;
    assert!(
        serde_json::from_str::<Step>(neither).is_err(),
        "rules hold whoever reads"
    );
}
