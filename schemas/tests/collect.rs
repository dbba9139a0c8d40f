//! The reader shows every error of a file, each at its place.

use jos_schemas::documents::desired_state::DesiredState;
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
         5 | ulr = \"https://hub.example\"\n    | ^^^ at /hub/ulr\n  help: known fields: url, ca"
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
    println!("{}", errors::<DesiredState>("s.json", text));
}
