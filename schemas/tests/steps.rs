//! The examples of docs/steps.md are steps that a device takes.

use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::read;

#[test]
fn every_example_of_the_steps_is_taken() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/steps.md");
    let text = std::fs::read_to_string(path).expect("docs/steps.md");
    let blocks: Vec<&str> = text
        .split("```json\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(blocks.len() > 3, "{} examples", blocks.len());
    for block in blocks {
        let step: serde_json::Value = serde_json::from_str(block).unwrap_or_else(|e| panic!("{e}: {block}"));
        let state = serde_json::json!({
            "kind": "jos.agent.desired_state", "meta": { "name": "example", "version": 1 }, "spec": { "apply": [step] },
        });
        read::from_json::<DesiredState>(&state).unwrap_or_else(|e| panic!("{e}: {block}"));
        let kind = format!("## `{}`", state["spec"]["apply"][0]["type"].as_str().expect("a type"));
        let headed = text.contains(&kind) || text.lines().any(|l| l.starts_with("## ") && l.contains(&kind[3..]));
        assert!(headed, "no heading {kind:?} in {path}");
    }
}
