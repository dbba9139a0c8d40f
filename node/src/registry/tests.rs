use std::fs;
use std::path::Path;

use serde_json::json;

use super::*;
use crate::contract::Hands as _;
use crate::models::Echo;

fn means() -> Means {
    Means {
        model: Arc::new(Echo),
        device: None,
        messages: None,
        programs: None,
    }
}

fn put(root: &Path, file: &str, content: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, content).expect("a file");
}

fn prompts(name: &str, prompt: &str) -> String {
    json!({
        "id_jos": name,
        "orchestration_contract": { "version": "0.0.7" },
        "orchestration": {
            "definitions": { "judge": { "type": "prompt", "prompt": prompt } },
            "flows": { "main": { "steps": ["judge"] } }
        }
    })
    .to_string()
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn job(agent: &str, input: serde_json::Value) -> jos_schemas::documents::runtime::Job {
    serde_json::from_value(json!({ "id": "job-1", "agent": agent, "input": input })).expect("a job")
}

#[test]
fn the_models_first_word_drives_the_outcome_of_an_agent_without_code() {
    let dir = tempfile::tempdir().expect("a directory");
    put(
        dir.path(),
        "agents/judge.jos",
        &prompts("judge", "{{input.text}}\nAnswer ACCEPT or REJECT."),
    );
    let registry = Registry::new(dir.path(), means());
    assert_eq!(registry.refresh(), Ok(true));
    assert_eq!(registry.broken(), []);
    let agent = registry.agent(&name("judge")).expect("it is there");
    let decided = |text: &str| {
        let mut hands = registry.hands(&name("judge"), "job-1");
        let proposals = agent
            .decide(&job("judge", json!({ "text": text })), &mut hands)
            .expect("proposals");
        assert_eq!(hands.take_captured().asked.len(), 1, "the reply is captured");
        assert_eq!(proposals[0].kind, "advance");
        proposals[0].payload["events"].clone()
    };
    assert_eq!(decided("accept this"), json!(["start", "complete"]));
    assert_eq!(decided("reject this"), json!(["start", "fail"]));
    assert_eq!(decided("who knows"), json!(["start", "fail"]));
    let mut hands = registry.hands(&name("judge"), "job-1");
    let error = agent
        .decide(&job("judge", json!({})), &mut hands)
        .expect_err("nothing to fill in");
    assert!(error.to_string().contains("input.text"), "{error}");
}

#[test]
fn edits_and_removals_are_picked_up_and_nothing_is_read_when_nothing_changed() {
    let dir = tempfile::tempdir().expect("a directory");
    let registry = Registry::new(dir.path(), means());
    assert_eq!(registry.refresh(), Ok(true));
    assert_eq!(registry.refresh(), Ok(false));
    put(dir.path(), "agents/a.jos", &prompts("one", "x"));
    assert_eq!(registry.refresh(), Ok(true));
    assert!(registry.agent(&name("one")).is_some());
    put(dir.path(), "agents/a.jos", &prompts("two", "x"));
    assert_eq!(registry.refresh(), Ok(true));
    assert!(registry.agent(&name("one")).is_none() && registry.agent(&name("two")).is_some());
    fs::remove_file(dir.path().join("agents/a.jos")).expect("removed");
    assert_eq!(registry.refresh(), Ok(true));
    assert!(registry.agents().is_empty());
}

#[test]
fn one_broken_file_is_named_with_its_place_and_the_others_load() {
    let dir = tempfile::tempdir().expect("a directory");
    put(dir.path(), "agents/a-broken.jos", "{\n  \"id_jos\": \"x\",\n  oops\n}");
    put(
        dir.path(),
        "agents/b-shell.jos",
        &prompts("b", "x").replace("\"type\":\"prompt\"", "\"type\":\"shell\""),
    );
    put(dir.path(), "agents/c-good.jos", &prompts("good", "x"));
    put(dir.path(), "agents/d-twice.jos", &prompts("good", "y"));
    put(dir.path(), "agents/e-built-in.jos", &prompts("advance", "y"));
    let greedy = json!({ "kind": "jos.runtime_agent", "name": "greedy", "argv": ["./x"],
        "capabilities": [{ "right": "fs.write", "to": "state/ledger" }] });
    put(dir.path(), "agents/f-greedy.json", &greedy.to_string());
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("agents/g.jos")).expect("a link");
    let registry = Registry::new(dir.path(), means());
    registry.refresh().expect("read");
    assert!(registry.agent(&name("good")).is_some());
    let broken: Vec<(String, String)> = registry.broken().into_iter().map(|b| (b.file, b.reason)).collect();
    let reason = |file: &str| {
        let found = broken.iter().find(|(f, _)| f == file);
        found.map(|(_, reason)| reason.clone()).unwrap_or_default()
    };
    assert!(reason("agents/a-broken.jos").contains('3'), "{broken:?}");
    assert!(reason("agents/b-shell.jos").contains("\"shell\""), "{broken:?}");
    assert!(reason("agents/d-twice.jos").contains("agents/c-good.jos"), "{broken:?}");
    assert!(reason("agents/e-built-in.jos").contains("built in"), "{broken:?}");
    assert!(reason("agents/f-greedy.json").contains("state/ledger"), "{broken:?}");
    assert_eq!(broken.len(), 5);
}

#[test]
fn planner_and_worker_meet_only_in_a_queue_that_both_were_granted() {
    let dir = tempfile::tempdir().expect("a directory");
    let agent = |id: &str, permission: &str, step: serde_json::Value| {
        json!({ "id_jos": id, "orchestration_contract": { "version": "0.0.7" },
            "security": { "permissions": [permission] },
            "orchestration": { "definitions": { "s": step }, "flows": { "main": { "steps": ["definitions.s"] } } } })
        .to_string()
    };
    let work = json!({ "type": "prompt", "prompt": "{{message.task}}", "receive": "work", "verdict": false,
        "propose": [{ "kind": "queue.send", "payload": { "queue": "results", "message": { "draft": "{{reply}}" } } }] });
    put(dir.path(), "agents/w.jos", &agent("w", "role:worker", work.clone()));
    put(dir.path(), "agents/thief.jos", &agent("thief", "role:reader", work));
    let sender = Grants::new(["planner"], &[]).expect("a role");
    let mut planner = Granted::new(Grip {
        root: dir.path().to_owned(),
        agent: name("planner"),
        job: "p".into(),
        grants: Arc::new(sender),
        model: Arc::new(Echo),
        device: None,
        messages: None,
    });
    planner.send("work", &json!({ "task": "sum up" })).expect("granted");
    let registry = Registry::new(dir.path(), means());
    registry.refresh().expect("read");
    let decide = |who: &str| {
        let mut hands = registry.hands(&name(who), "job-1");
        registry
            .agent(&name(who))
            .expect("there")
            .decide(&job(who, json!({})), &mut hands)
    };
    assert!(matches!(
        decide("thief"),
        Err(crate::contract::AgentError::Denied { .. })
    ));
    let proposals = decide("w").expect("it works");
    assert_eq!(proposals[0].kind, "queue.send");
    assert_eq!(proposals[0].payload["message"]["draft"], "sum up");
    assert_eq!(proposals[1].payload["events"], json!(["start", "complete"]));
}

#[test]
fn a_tool_without_code_checks_payloads_and_writes_what_it_says() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("artifacts")).expect("a folder");
    let tool = json!({ "id_jos": "note", "orchestration_contract": { "version": "0.0.7" },
        "capabilities": ["note.write"], "security": { "permissions": ["fs.write:artifacts/notes"] },
        "orchestration": { "definitions": {
            "payload": { "type": "payload", "fields": { "title": "string" } },
            "save": { "type": "file", "path": "artifacts/notes/{{payload.title}}.md", "content": "# {{payload.title}}\n" } },
            "flows": { "main": { "steps": ["save"] } } } });
    put(dir.path(), "tools/note.jos", &tool.to_string());
    put(
        dir.path(),
        "agents/w.jos",
        &prompts("w", "x").replace(
            "\"id_jos\"",
            "\"security\":{\"permissions\":[\"role:writer\"]},\"id_jos\"",
        ),
    );
    let registry = Registry::new(dir.path(), means());
    registry.refresh().expect("read");
    assert_eq!(registry.broken(), []);
    let tool = registry.tool("note.write").expect("there");
    let decision = |title: serde_json::Value| -> jos_schemas::documents::ledger::Decision {
        serde_json::from_value(
            json!({ "id": "d", "source": "runtime-agent", "kind": "note.write", "payload": { "title": title } }),
        )
        .or_else(|_| {
            serde_json::from_value(
                json!({ "id": "d", "source": "local", "kind": "note.write", "payload": { "title": title } }),
            )
        })
        .expect("a decision")
    };
    assert_eq!(
        tool.validate(&decision(json!(3))),
        Err("payload.title: found number, expected string".into())
    );
    let good = decision(json!("today"));
    tool.validate(&good).expect("fits");
    tool.execute(&good, &mut registry.hands(&name("w"), "j"))
        .expect("both were granted");
    assert_eq!(
        fs::read_to_string(dir.path().join("artifacts/notes/today.md")).expect("written"),
        "# today\n"
    );
    tool.execute(&good, &mut registry.hands(&name("nobody"), "j"))
        .expect_err("the agent was granted nothing");
    tool.execute(&decision(json!("../../state/x")), &mut registry.hands(&name("w"), "j"))
        .expect_err("dots");
}
