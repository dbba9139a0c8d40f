//! `jos validate` over the committed corpus and over what people get wrong.

use std::fs;
use std::path::{Path, PathBuf};

use crate::desk::Desk;

fn fixtures(verdict: &str) -> Vec<(String, Vec<PathBuf>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../schemas/fixtures")
        .join(verdict);
    let sorted = |folder: &Path| {
        let mut all: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        all.sort();
        all
    };
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let kinds = sorted(&folder).into_iter().map(|kind| (name(&kind), sorted(&kind)));
    kinds.filter(|(kind, _)| known(kind)).collect()
}

/// A device's build reads only what a device meets.
fn known(kind: &str) -> bool {
    let device = ["artifact", "desired-state", "policy", "trust", "agent-config"];
    // `reject` also holds what no reader takes, and what JSON Schema cannot say.
    device.contains(&kind) || cfg!(feature = "desk") && !["parse", "beyond"].contains(&kind)
}

const STATE: &str = "kind = \"jos.agent.desired_state\"\n[meta]\nname = \"portal\"\nversion = 1\n[spec]\napply = []\n";

#[test]
fn every_document_of_the_corpus_is_taken_or_refused_with_a_reason() {
    let desk = Desk::new();
    for (kind, files) in fixtures("accept") {
        let shown: Vec<&str> = files.iter().map(|p| p.to_str().unwrap()).collect();
        let ran = desk
            .jos(&[&["validate", "--json", "--kind", &kind], &shown[..]].concat())
            .exits(0);
        assert_eq!(ran.json()["valid"], true);
        assert_eq!(ran.json()["files"].as_array().unwrap().len(), files.len());
        // By its content alone it is told to be the same.
        let ran = desk.jos(&[&["validate", "--json"], &shown[..]].concat()).exits(0);
        for file in ran.json()["files"].as_array().unwrap() {
            assert_eq!(file["kind"], kind.as_str(), "{file}");
        }
    }
    for (kind, files) in fixtures("reject") {
        let shown: Vec<&str> = files.iter().map(|p| p.to_str().unwrap()).collect();
        let ran = desk
            .jos(&[&["validate", "--json", "--kind", &kind], &shown[..]].concat())
            .exits(2);
        for file in ran.json()["details"]["files"].as_array().unwrap() {
            assert_eq!(file["valid"], false, "{file}");
            assert!(!file["issues"].as_array().unwrap().is_empty(), "{file}");
        }
    }
}

#[test]
fn all_errors_of_all_files_are_shown_with_their_places() {
    let desk = Desk::new();
    desk.write("good.toml", STATE);
    desk.write(
        "bad.toml",
        STATE.replace("version = 1", "versoin = 1").replace("portal", "Portal"),
    );
    desk.write("worse.json", "{\"kind\": \"jos.policy\",\n }");
    let ran = desk
        .jos(&["validate", "good.toml", "bad.toml", "worse.json", "absent.toml"])
        .exits(2);
    ran.says(&[
        "4 errors in 3 of 4 files",
        "bad.toml:4:",
        "did you mean \"version\"",
        "worse.json:2:",
        "absent.toml",
    ]);
    let ran = desk.jos(&["validate", "bad.toml"]).exits(2);
    assert!(ran.err.starts_with("jos: there are 2 errors\n"), "{}", ran.err);
}

#[test]
fn the_kind_is_told_by_the_content_or_said_and_a_typing_error_is_named() {
    let desk = Desk::new();
    desk.write("state.toml", STATE);
    desk.write("what.toml", "colour = \"blue\"\n");
    desk.jos(&["validate", "state.toml"])
        .exits(0)
        .says(&["state.toml: valid, desired-state"]);
    desk.jos(&["validate", "--kind", "policy", "state.toml"]).exits(2);
    desk.jos(&["validate", "--kind", "polcy", "state.toml"])
        .exits(2)
        .says(&["did you mean \"policy\""]);
    desk.jos(&["validate", "--kind", "nothing-like-it", "state.toml"])
        .exits(2)
        .says(&["agent-config, ", "desired-state"]);
    desk.jos(&["validate", "what.toml"])
        .exits(2)
        .says(&["cannot tell what kind of document this is", "--kind"]);
    desk.jos(&["validate"]).exits(2).says(&["<FILE>"]);
}

#[test]
fn placeholders_are_noted_in_a_valid_state() {
    let desk = Desk::new();
    let example =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/fixtures/accept/desired-state/seed-example.json");
    desk.jos(&["validate", example.to_str().unwrap()]).exits(0).says(&[
        "valid, desired-state",
        "note: \"...\" is still to be filled in at /spec/apply/0/command, /spec/apply/1/path, /spec/apply/2/name",
    ]);
}

#[test]
fn a_broken_key_file_shows_nothing_of_itself() {
    let desk = Desk::new();
    let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ";
    for text in [
        format!("{{\"kind\": \"jos.key\", \"secret\": \"{secret}\", }}"),
        format!("{{\"kind\": \"jos.key\", \"secrte\": \"{secret}\"}}"),
        format!("{{\"kind\": \"jos.key\", \"alg\": \"ed25519\", \"secret\": \"{secret}!\"}}"),
    ] {
        desk.write("broken.key", &text);
        for more in [&[][..], &["--json"]] {
            let ran = desk.jos(&[&["validate", "broken.key"], more].concat()).exits(2);
            assert!(!ran.err.contains(&secret[..12]), "{}", ran.err);
        }
    }
}
