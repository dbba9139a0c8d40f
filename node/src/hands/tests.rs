use std::fs;
use std::path::Path;
use std::sync::Arc;

use jos_schemas::documents::runtime::{Capability, Right};
use jos_schemas::text::Name;
use serde_json::json;

use super::*;
use crate::models::Echo;

fn hands_for(root: &Path, job: &str, roles: &[&str], single: &[(Right, &str)]) -> Granted {
    let single: Vec<Capability> = single
        .iter()
        .map(|(right, to)| Capability {
            right: *right,
            to: (*to).to_owned(),
        })
        .collect();
    Granted::new(Grip {
        root: root.to_owned(),
        agent: Name::new("guest").expect("a name"),
        job: job.to_owned(),
        grants: Arc::new(Grants::new(roles.iter().copied(), &single).expect("grants")),
        model: Arc::new(Echo),
        device: None,
        messages: None,
    })
}

fn data() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for folder in ["artifacts", "state", "agents", "config", "outbox"] {
        fs::create_dir(dir.path().join(folder)).expect("a folder");
    }
    dir
}

#[test]
fn a_guest_without_grants_reaches_nothing_and_every_try_is_on_record() {
    let dir = data();
    fs::write(dir.path().join("outbox/1.json"), "{}").expect("a file");
    let mut hands = hands_for(dir.path(), "j", &[], &[]);
    hands.read("outbox/1.json").expect_err("denied");
    hands.write("artifacts/a", b"x").expect_err("denied");
    hands.write("agents/advance.json", b"x").expect_err("denied");
    hands.send("work", &json!({})).expect_err("denied");
    hands.receive("work").expect_err("denied");
    let captured = hands.take_captured();
    let tried: Vec<(&str, bool)> = captured.accesses.iter().map(|a| (a.to.as_str(), a.allowed)).collect();
    let denied = |to| (to, false);
    assert_eq!(
        tried,
        [
            denied("outbox/1.json"),
            denied("artifacts/a"),
            denied("agents/advance.json"),
            denied("work"),
            denied("work")
        ]
    );
    assert!(captured.accesses.iter().all(|a| a.agent.as_str() == "guest"));
    assert!(!dir.path().join("artifacts/a").exists());
}

#[test]
fn a_writer_leaves_the_artifacts_neither_by_dots_nor_by_links() {
    let dir = data();
    let outside = tempfile::tempdir().expect("a directory");
    fs::write(outside.path().join("secret"), "s").expect("a file");
    std::os::unix::fs::symlink(outside.path(), dir.path().join("artifacts/link")).expect("a link");
    std::os::unix::fs::symlink(outside.path().join("secret"), dir.path().join("artifacts/file")).expect("a link");
    let mut hands = hands_for(dir.path(), "j", &["writer"], &[]);
    for path in [
        "artifacts/../state/ledger",
        "artifacts/link/secret",
        "artifacts/file",
        "/etc/passwd",
        "artifacts//x",
        "artifacts/./x",
        "state/x",
        "Artifacts/x",
    ] {
        hands.read(path).expect_err(path);
    }
    hands.write("artifacts/link/secret", b"x").expect_err("through a link");
    hands.write("artifacts/../agents/x", b"x").expect_err("dots");
    assert_eq!(fs::read(outside.path().join("secret")).expect("still there"), b"s");
    hands.write("artifacts/deep/er/note", b"kept").expect("granted");
    assert_eq!(hands.read("artifacts/deep/er/note").expect("granted"), b"kept");
    let too_large = hands
        .write("artifacts/large", &vec![0; FILE_LIMIT + 1])
        .expect_err("limit");
    assert!(matches!(too_large, AgentError::Limit(_)), "{too_large}");
}

#[test]
fn a_queue_gives_each_message_once_in_order_and_again_to_a_job_that_runs_again() {
    let dir = data();
    let both = [(Right::QueueSend, "work"), (Right::QueueReceive, "work")];
    let mut first = hands_for(dir.path(), "one", &[], &both);
    for n in 0..3 {
        first.send("work", &json!({ "n": n })).expect("sent");
    }
    assert_eq!(first.receive("work").expect("taken"), Some(json!({ "n": 0 })));
    assert_eq!(first.receive("work").expect("taken"), Some(json!({ "n": 1 })));
    // It dies here: nothing is settled. Another job gets the next, the same job again what it had.
    drop(first);
    let mut other = hands_for(dir.path(), "two", &[], &both);
    assert_eq!(other.receive("work").expect("taken"), Some(json!({ "n": 2 })));
    assert_eq!(other.receive("work").expect("empty"), None);
    let mut again = hands_for(dir.path(), "one", &[], &both);
    assert_eq!(again.receive("work").expect("again"), Some(json!({ "n": 0 })));
    assert_eq!(again.receive("work").expect("again"), Some(json!({ "n": 1 })));
    assert_eq!(again.receive("work").expect("empty"), None);
    again.settle().expect("settled");
    let mut after = hands_for(dir.path(), "one", &[], &both);
    assert_eq!(after.receive("work").expect("empty"), None);
}

#[test]
fn a_queue_takes_only_messages_of_its_type_and_only_so_many() {
    let dir = data();
    fs::write(
        dir.path().join("config/queues.toml"),
        "[work]\ntask = \"string\"\nweight = \"number?\"\n",
    )
    .expect("a file");
    let mut hands = hands_for(
        dir.path(),
        "j",
        &[],
        &[(Right::QueueSend, "work"), (Right::QueueSend, "free")],
    );
    hands.send("work", &json!({ "task": "t" })).expect("fits");
    hands.send("work", &json!({ "task": "t", "weight": 1 })).expect("fits");
    for wrong in [
        json!({}),
        json!({ "task": 1 }),
        json!({ "task": "t", "more": 1 }),
        json!("t"),
    ] {
        let e = hands.send("work", &wrong).expect_err("does not fit").to_string();
        assert!(e.contains("queue work"), "{e}");
    }
    hands
        .send("free", &json!({ "any": [1] }))
        .expect("not named: any object");
    let long = "x".repeat(70_000);
    let e = hands.send("free", &json!({ "any": long })).expect_err("too long");
    assert!(matches!(e, AgentError::Limit(_)));
}

#[test]
fn what_a_model_said_is_captured_with_the_question() {
    let dir = data();
    let mut hands = hands_for(dir.path(), "j", &[], &[]);
    let prompt = Prompt {
        prompt: "hello".into(),
        ..Prompt::default()
    };
    assert_eq!(hands.ask(&prompt).expect("echo").text, "hello");
    let captured = hands.take_captured();
    assert_eq!(captured.asked.len(), 1);
    assert_eq!(captured.asked[0].reply.model, "echo");
    for _ in 0..QUESTIONS {
        hands.ask(&prompt).expect("echo");
    }
    hands.ask(&prompt).expect_err("so many questions are a loop");
}

#[test]
fn facts_are_read_where_they_are_granted_and_nowhere_else() {
    let dir = data();
    let mut blind = hands_for(dir.path(), "j", &["writer"], &[]);
    blind.read("facts/disk").expect_err("not granted");
    let mut hands = hands_for(dir.path(), "j", &["observer"], &[]);
    let text = String::from_utf8(hands.read("facts/disk").expect("granted")).expect("text");
    assert!(text.contains("disk_used_percent "), "{text}");
    assert!(!hands.read("facts/system").expect("granted").is_empty());
    hands.read("facts/none").expect_err("no such fact");
}

#[test]
fn a_tool_borrows_nothing_that_only_one_of_the_two_was_granted() {
    let dir = data();
    let mut agents = hands_for(dir.path(), "j", &["writer"], &[]);
    let none = Grants::default();
    Narrowed::new(&mut agents, &none)
        .write("artifacts/a", b"x")
        .expect_err("the tool was granted nothing");
    let writer = Grants::new(["writer"], &[]).expect("a role");
    Narrowed::new(&mut agents, &writer)
        .write("artifacts/a", b"x")
        .expect("both were");
    let allowed: Vec<bool> = agents.take_captured().accesses.iter().map(|a| a.allowed).collect();
    assert_eq!(allowed, [false, true]);
    let mut guest = hands_for(dir.path(), "j", &[], &[]);
    Narrowed::new(&mut guest, &writer)
        .write("artifacts/b", b"x")
        .expect_err("the agent was granted nothing");
}

/// A plane that says what it was handed.
struct Says;

impl Device for Says {
    fn propose(&self, proposed: &Proposed<'_>) -> Result<Value, AgentError> {
        Ok(json!([
            proposed.agent,
            proposed.job,
            proposed.decision,
            proposed.change.name
        ]))
    }
}

#[test]
fn a_change_of_the_device_takes_the_right_to_that_plane_and_a_daemon_that_runs_the_node() {
    let dir = data();
    let change = |name: &str| -> Change {
        let steps = json!([{ "type": "absent", "path": "/srv/x" }]);
        jos_schemas::read::from_json(&json!({ "name": name, "steps": steps })).expect("a change")
    };
    let hands = |granted: &[(Right, &str)], device: Option<Arc<dyn Device>>| {
        let mut hands = hands_for(dir.path(), "j7", &[], granted);
        hands.grip.device = device;
        hands
    };
    let granted = [(Right::DevicePropose, "ai-box")];
    let joined = || Some(Arc::new(Says) as Arc<dyn Device>);
    let mut none = hands(&[], joined());
    assert!(matches!(
        none.propose("d", &change("ai-box")),
        Err(AgentError::Denied { .. })
    ));
    let mut other = hands(&granted, joined());
    assert!(matches!(
        other.propose("d", &change("portal")),
        Err(AgentError::Denied { .. })
    ));
    let audited = other.take_captured().accesses;
    assert_eq!(
        (audited[0].right, audited[0].to.as_str(), audited[0].allowed),
        (Right::DevicePropose, "portal", false)
    );
    let alone = hands(&granted, None)
        .propose("d", &change("ai-box"))
        .expect_err("no daemon");
    assert!(alone.to_string().contains("[runtime] in agent.toml"), "{alone}");
    let said = hands(&granted, joined())
        .propose("d", &change("ai-box"))
        .expect("it is handed over");
    assert_eq!(said, json!(["guest", "j7", "d", "ai-box"]));
    // A tool's hands do not reach it, whatever both were granted.
    let grants = Grants::new(
        [],
        &[Capability {
            right: Right::DevicePropose,
            to: "ai-box".into(),
        }],
    )
    .expect("grants");
    let mut whole = hands(&granted, joined());
    Narrowed::new(&mut whole, &grants)
        .propose("d", &change("ai-box"))
        .expect_err("a tool");
}
