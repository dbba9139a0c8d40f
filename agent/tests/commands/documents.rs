//! `jos schema`: the documents by name, and their JSON Schemas.

use crate::desk::Desk;

#[cfg(feature = "desk")]
#[test]
fn the_list_names_every_document_and_each_name_gives_its_schema() {
    let desk = Desk::new();
    let list = desk.jos(&["schema", "--json"]).exits(0).json();
    let text = desk.jos(&["schema"]).exits(0).out;
    let all = list.as_array().unwrap();
    assert!(all.len() >= 20 && text.lines().count() == all.len(), "{text}");
    for (document, line) in all.iter().zip(text.lines()) {
        let name = document["name"].as_str().unwrap();
        assert!(line.starts_with(name), "{line}");
        let schema = desk.jos(&["schema", name]).exits(0);
        assert_eq!(schema.json()["$id"], document["id"], "{name}");
        assert_eq!(
            schema.json()["$schema"],
            "https://json-schema.org/draft/2020-12/schema",
            "{name}"
        );
        assert_eq!(
            schema.json(),
            desk.jos(&["schema", name, "--json"]).exits(0).json(),
            "{name}"
        );
    }
}

#[cfg(feature = "desk")]
#[test]
fn all_schemas_are_written_into_a_folder_and_written_again() {
    let desk = Desk::new();
    for _ in 0..2 {
        let written = desk.jos(&["schema", "--all", "new/schemas", "--json"]).exits(0).json();
        let written = written["written"].as_array().unwrap();
        let list = desk.jos(&["schema", "--json"]).exits(0).json();
        assert_eq!(written.len(), list.as_array().unwrap().len());
        for path in written {
            let text = std::fs::read_to_string(desk.path(path.as_str().unwrap())).unwrap();
            let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert!(text.ends_with("}\n") && schema["title"].is_string(), "{path}");
        }
    }
    desk.jos(&["schema", "--all", "new/schemas"])
        .exits(0)
        .says(&["schemas written to new/schemas"]);
    desk.write("file", "");
    desk.jos(&["schema", "--all", "file/below"])
        .exits(1)
        .says(&["file/below", "you may write to"]);
}

#[cfg(feature = "desk")]
#[test]
fn a_name_that_is_none_is_answered_with_the_nearest() {
    let desk = Desk::new();
    desk.jos(&["schema", "desired-sate"])
        .exits(2)
        .says(&["did you mean \"desired-state\"", "`jos schema` lists all"]);
    desk.jos(&["schema", "zzz"])
        .exits(2)
        .says(&["there is no document \"zzz\""]);
    desk.jos(&["schema", "policy", "--all", "x"])
        .exits(2)
        .says(&["cannot be used with"]);
}

#[cfg(not(feature = "desk"))]
#[test]
fn a_device_says_that_it_carries_no_schemas() {
    let desk = Desk::new();
    for arguments in [&["schema"][..], &["schema", "policy"], &["schema", "--all", "x"]] {
        desk.jos(arguments).exits(2).says(&["no JSON Schemas in this build"]);
    }
    assert!(!desk.path("x").exists());
}
