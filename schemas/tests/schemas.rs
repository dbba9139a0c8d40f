//! The committed JSON Schemas are those of the types. `JOS_BLESS=1` writes them.
#![cfg(feature = "json-schema")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use jos_schemas::catalogue::catalogue;
use serde_json::Value;

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

const MARK: &str =
    "<!-- generated from here on by `JOS_BLESS=1 cargo test -p jos-schemas --all-features --test schemas` -->\n";

#[test]
fn the_reference_in_docs_is_that_of_the_schemas() {
    let path = folder().join("../../docs/documents.md");
    let text = fs::read_to_string(&path).expect("docs/documents.md is there");
    let (head, tail) = text.split_once(MARK).expect("the mark is there");
    let mut reference = String::new();
    for document in catalogue() {
        let schema = (document.schema)(&document);
        let kind = document.kind.map(|kind| format!(" (`{kind}`)")).unwrap_or_default();
        reference.push_str(&format!("\n## {}{kind}\n\n{}.\n", document.name, document.title));
        if let Some(about) = schema["description"].as_str() {
            reference.push_str(&format!("{about}\n"));
        }
        described(&mut reference, None, &schema);
        for (name, part) in schema["$defs"].as_object().into_iter().flatten() {
            described(&mut reference, Some(name), part);
        }
    }
    if std::env::var_os("JOS_BLESS").is_some() {
        fs::write(&path, format!("{head}{MARK}{reference}")).expect("docs is writable");
    } else {
        assert!(
            tail == reference,
            "docs/documents.md is stale; run JOS_BLESS=1 cargo test -p jos-schemas --all-features"
        );
    }
}

/// A table of the fields of one object, or the variants of one enum.
fn described(out: &mut String, name: Option<&str>, schema: &Value) {
    if let Some(variants) = schema["oneOf"]
        .as_array()
        .filter(|v| v.iter().all(|v| v["properties"]["type"]["const"].is_string()))
    {
        for variant in variants {
            let tag = variant["properties"]["type"]["const"].as_str().unwrap_or_default();
            described(out, Some(&format!("{} `{tag}`", name.unwrap_or_default())), variant);
        }
        return;
    }
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    if let Some(name) = name {
        let about = schema["description"].as_str().unwrap_or_default();
        out.push_str(&format!("\n**{name}.** {about}\n"));
    }
    out.push_str("\n| field | is | |\n|---|---|---|\n");
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (field, value) in properties
        .iter()
        .filter(|(field, _)| *field != "$schema" && !field.ends_with('+'))
    {
        let star = if required.contains(&field.as_str()) {
            ", required"
        } else {
            ""
        };
        let about = value["description"]
            .as_str()
            .unwrap_or_default()
            .replace('\n', " ")
            .replace('|', "\\|");
        out.push_str(&format!("| `{field}` | {}{star} | {about} |\n", is(value)));
    }
}

/// The type of a value in a few words.
fn is(value: &Value) -> String {
    if let Some(name) = value["$ref"].as_str().and_then(|r| r.rsplit('/').next()) {
        return name.to_owned();
    }
    if let Some(constant) = value.get("const") {
        return format!("`{constant}`").replace('|', "\\|");
    }
    if let Some(choices) = value["anyOf"].as_array() {
        return choices.iter().map(is).collect::<Vec<_>>().join(" or ");
    }
    let word = match &value["type"] {
        Value::String(word) => word.clone(),
        Value::Array(words) => words
            .iter()
            .filter_map(Value::as_str)
            .filter(|w| *w != "null")
            .collect::<Vec<_>>()
            .join(" or "),
        _ => "any".to_owned(),
    };
    match (word.as_str(), value["minimum"].as_u64(), value["maximum"].as_u64()) {
        ("integer", Some(least), Some(9_007_199_254_740_991)) => format!("integer from {least}"),
        ("integer", Some(least), Some(most)) => format!("integer, {least} to {most}"),
        ("array", ..) => format!("list of {}", is(&value["items"])),
        ("object", ..) if value["additionalProperties"].is_object() => {
            format!("table of {}", is(&value["additionalProperties"]))
        }
        ("object", ..) => match value["patternProperties"]
            .as_object()
            .and_then(|patterns| patterns.values().next())
        {
            Some(values) => format!("table of {}", is(values)),
            None => "table".to_owned(),
        },
        ("string", ..) => "text".to_owned(),
        (word, ..) => word.to_owned(),
    }
}
