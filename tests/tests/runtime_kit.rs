//! What people begin with, driven through the built program: the tools of the examples, and the schedules of examples and kit.

use std::fs;
use std::path::Path;

use jos_tests::node::{LIMIT, Node};
use jos_tests::programs::workspace;
use jos_tests::wait;
use serde_json::{Value, json};

/// A node with the examples, and what the kit has besides.
fn node() -> Node {
    let node = Node::new();
    node.jos(&["runtime", "init", "--with-examples", "--force"]).ok();
    for folder in ["agents", "tools", "schedules"] {
        let kit = workspace().join("docs/agent-kit/template").join(folder);
        for entry in fs::read_dir(kit).expect("the kit").flatten() {
            fs::copy(entry.path(), node.path(folder).join(entry.file_name())).expect("copied");
        }
    }
    node
}

/// An agent without code that proposes these, with these rights.
fn clerk(node: &Node, name: &str, propose: &Value, permissions: &[&str]) {
    let agent = json!({
        "id_jos": name, "orchestration_contract": { "version": "0.0.7" }, "security": { "permissions": permissions },
        "orchestration": {
            "definitions": { "say": { "type": "prompt", "prompt": "{{input.text}}", "propose": propose } },
            "flows": { "main": { "steps": ["say"] } },
        },
    });
    fs::write(node.path(&format!("agents/{name}.jos")), agent.to_string()).expect("a file");
}

fn give(node: &Node, agent: &str, input: &Value) {
    let job = json!({ "agent": agent, "input": input });
    node.drop_in(&format!("{agent}-1.json"), &job.to_string());
}

#[test]
fn the_tools_note_and_tally_act_for_who_may_and_their_results_are_replayed_from_the_record() {
    let node = node();
    let note = json!({ "kind": "note.write", "payload": { "title": "{{input.title}}", "text": "{{reply}}" } });
    let tally = json!({ "kind": "tally.add", "payload": { "of": "{{reply}}" } });
    let notes = "fs.write:artifacts/notes";
    clerk(&node, "clerk", &json!([note, tally]), &[notes]);
    clerk(&node, "stranger", &json!([note]), &[]);
    clerk(
        &node,
        "counter",
        &json!([{ "kind": "tally.add", "payload": { "on": "{{reply}}" } }]),
        &[notes],
    );
    clerk(&node, "climber", &json!([note]), &[notes]);
    let about = json!({ "title": "today", "text": "seven oaks" });
    give(&node, "clerk", &about);
    give(&node, "stranger", &json!({ "title": "stranger", "text": "x" }));
    give(&node, "counter", &about);
    give(
        &node,
        "climber",
        &json!({ "title": "../../agents/climber", "text": "x" }),
    );
    node.jos(&["serve", "--drain"]).ok();

    let result: Value = serde_json::from_str(&node.comes("outbox/clerk-1.json")).expect("JSON");
    let tallied = result["results"]
        .as_array()
        .expect("several")
        .iter()
        .find(|one| one["kind"] == "tally.add");
    assert_eq!(
        tallied.map(|one| &one["result"]),
        Some(&json!({ "bytes": 10 })),
        "{result:#}"
    );
    assert_eq!(node.comes("artifacts/notes/today.md"), "# today\n\nseven oaks\n");

    // A tool has no more rights than the agent that it acts for, and what its payload has to be it says itself.
    let reason = |id: &str| node.comes(&format!("failed/{id}.json.reason"));
    assert!(reason("stranger-1").contains("fs.write"), "{}", reason("stranger-1"));
    assert!(!node.path("artifacts/notes/stranger.md").exists());
    assert!(
        reason("counter-1").contains("payload.of: found nothing"),
        "{}",
        reason("counter-1")
    );
    assert!(!reason("climber-1").is_empty() && !node.path("agents/climber.md").exists());

    let report = node.replays();
    assert_eq!(report["capturedResults"]["tally.add"], 1, "{report:#}");
    assert_eq!(report["capturedResults"]["note.write"], 1, "{report:#}");
    assert_eq!((&report["modelCalls"], &report["missing"]), (&json!(0), &json!([])));
    // Without the tools the history stays what it was, and it is said who is missing.
    for tool in ["note.jos", "tally.json", "tally.wat"] {
        fs::remove_file(node.path("tools").join(tool)).expect("it was there");
    }
    assert_eq!(node.replays()["missing"], json!(["note.write", "tally.add"]));
}

/// How a schedule stands, by `jos schedule list`.
fn listed(node: &Node, name: &str) -> Value {
    let all = node.jos(&["schedule", "list", "--json"]).json();
    let list = all["schedules"].as_array().cloned().unwrap_or_default();
    let found = list.iter().find(|one| one["name"] == name).cloned();
    found.unwrap_or_else(|| panic!("{name} is not in {all:#}"))
}

#[test]
fn the_schedules_of_examples_and_kit_rest_until_they_are_enabled_and_then_give_their_agents_work() {
    let node = node();
    let names = ["disk-monitor", "system-health", "greeter"];
    for name in names {
        let rests = listed(&node, name);
        assert_eq!(
            (&rests["disabled"], &rests["next"]),
            (&json!(true), &Value::Null),
            "{rests:#}"
        );
    }
    let serving = node.serve(&[]);
    for name in names {
        node.jos(&["schedule", "enable", name]).ok();
        assert!(
            listed(&node, name)["next"].is_string(),
            "{name}: {:#}",
            listed(&node, name)
        );
    }
    // Nine o'clock in Berlin, whichever time of the year it is there.
    let next = listed(&node, "greeter")["next"].as_str().unwrap_or_default().to_owned();
    assert!(next.ends_with("T07:00:00Z") || next.ends_with("T08:00:00Z"), "{next}");
    let next = listed(&node, "system-health")["next"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(next.ends_with("T06:00:00Z"), "{next}");
    // An hour is long: the same schedules, often.
    for name in names {
        let path = node.path(&format!("schedules/{name}.json"));
        let mut schedule: Value = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
        let members = schedule.as_object_mut().expect("an object");
        members.retain(|member, _| !["cron", "zone", "every", "disabled"].contains(&member.as_str()));
        members.insert("every".into(), json!(1));
        fs::write(Path::new(&path), schedule.to_string()).expect("it can be written");
    }
    for name in names {
        wait::until(&format!("{name} has given its agent work"), LIMIT, || {
            let outbox = node.names("outbox");
            if outbox.iter().any(|job| job.starts_with(&format!("{name}-"))) {
                Ok(())
            } else {
                Err(format!("{outbox:?} {:?}\n{}", node.names("failed"), node.log()))
            }
        });
        node.jos(&["schedule", "disable", name]).ok();
    }
    serving.stop();
    assert!(node.comes("artifacts/notes/Ada.txt").contains("Hello Ada!"));
    node.replays();
}
