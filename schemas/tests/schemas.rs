//! The committed JSON Schemas are those of the types. `JOS_BLESS=1` writes them.
#![cfg(feature = "json-schema")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use jos_schemas::catalogue::catalogue;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("json")
}

#[test]
fn the_committed_schemas_are_those_of_the_types() {
    let bless = std::env::var_os("JOS_BLESS").is_some();
    let mut stale = Vec::new();
    let mut expected = BTreeSet::new();
    for document in catalogue() {
        let file = format!("{}.json", document.name);
        let path = folder().join(&file);
        let text = format!(
            "{}\n",
            serde_json::to_string_pretty(&(document.schema)(&document)).expect("plain data")
        );
        if bless {
            fs::write(&path, &text).expect("schemas/json is writable");
        } else if fs::read_to_string(&path).unwrap_or_default() != text {
            stale.push(file.clone());
        }
        expected.insert(file);
    }
    let found = fs::read_dir(folder()).expect("schemas/json is there");
    let found: BTreeSet<String> = found
        .map(|e| e.expect("readable").file_name().to_string_lossy().into_owned())
        .collect();
    assert!(
        stale.is_empty(),
        "stale: {stale:?}; run JOS_BLESS=1 cargo test -p jos-schemas --all-features --test schemas"
    );
    assert_eq!(
        found, expected,
        "schemas/json holds one file for each document and nothing else"
    );
}

#[test]
fn every_schema_is_valid_2020_12_and_names_itself() {
    for document in catalogue() {
        let schema = (document.schema)(&document);
        jsonschema::draft202012::meta::validate(&schema).unwrap_or_else(|e| panic!("{}: {e}", document.name));
        assert_eq!(schema["$id"], document.id());
        jsonschema::draft202012::new(&schema).unwrap_or_else(|e| panic!("{}: {e}", document.name));
    }
}
