//! What a runtime of agents may do badly and this one must not, each through the built program; the rows that have no file
//! of their own.

use std::fs;

use jos_tests::command::run;
use jos_tests::node::{LIMIT, Node};
use jos_tests::wait;
use serde_json::{Value, json};

/// Proposes what the job's input says under `propose`, as it stands there.
const PROPOSER: &str = r#"read -r job
rest=${job#*'"propose":'}
printf '{"propose":%s}\n{"done":null}\n' "${rest%\}\}\}}"
"#;

/// A tool whose result is another each time.
const DICE: &str = r#"$| = 1; my $said = <STDIN>;
if ($said =~ /^\{"validate"/) { print qq({"done":null}\n); exit 0 }
printf qq({"done":{"rolled":%d}}\n), int(rand(1 << 30));
"#;

/// Waits for the answer of a file in `inbox/` that nobody writes: as slow as a time limit allows.
const SLOW: &str = "read -r job; read -r never; printf '{\"done\":null}\\n'\n";

fn put(node: &Node, below: &str, text: &str) {
    fs::write(node.path(below), text).expect("the data directory can be written");
}

fn agent(node: &Node, name: &str, shell: &str, roles: &[&str]) {
    put(node, &format!("agents/{name}.sh"), shell);
    let words = ["sh", &format!("./{name}.sh")];
    let document = json!({ "kind": "jos.runtime_agent", "name": name, "argv": words, "roles": roles });
    put(node, &format!("agents/{name}.json"), &document.to_string());
}

fn dice(node: &Node) {
    put(node, "tools/dice.pl", DICE);
    let document =
        json!({ "kind": "jos.tool", "name": "dice", "decisions": ["dice.roll"], "argv": ["perl", "./dice.pl"] });
    put(node, "tools/dice.json", &document.to_string());
}

fn job(node: &Node, id: &str, agent: &str, input: &Value) {
    node.drop_in(
        &format!("{id}.json"),
        &json!({ "agent": agent, "input": input }).to_string(),
    );
}

fn proposes(node: &Node, id: &str, kind: &str, payload: &Value) {
    let proposal = json!({ "kind": kind, "payload": payload });
    job(node, id, "proposer", &json!({ "propose": proposal }));
}

fn drain(node: &Node) {
    node.jos(&["serve", "--drain"]).ok();
}

fn reason(node: &Node, id: &str) -> String {
    node.text(&format!("failed/{id}.json.reason"))
        .unwrap_or_else(|| panic!("{id} has no reason\n{}", node.log()))
}

#[test]
fn a_tool_that_returns_a_random_number_is_captured_and_replayed_and_said_so() {
    let node = Node::new();
    agent(&node, "proposer", PROPOSER, &[]);
    dice(&node);
    for id in ["a", "b"] {
        proposes(&node, id, "dice.roll", &json!({}));
    }
    drain(&node);
    let rolled = |id: &str| node.comes(&format!("outbox/{id}.json"));
    assert!(rolled("a").contains("rolled"), "{}", rolled("a"));
    let report = node.replays();
    assert_eq!(report["capturedResults"]["dice.roll"], 2, "{report:#}");
    assert_eq!(report["modelCalls"], 0);
}

#[test]
fn tools_that_were_removed_before_a_replay_are_named_and_their_results_are_from_the_record() {
    let node = Node::new();
    agent(&node, "proposer", PROPOSER, &[]);
    dice(&node);
    proposes(&node, "a", "dice.roll", &json!({}));
    drain(&node);
    let before = node.replays();
    fs::remove_file(node.path("tools/dice.json")).expect("it is there");
    let after = node.replays();
    assert_eq!(after["missing"], json!(["dice.roll"]));
    assert_eq!(after["stateHash"], before["stateHash"]);
}

#[test]
fn side_effects_are_not_done_again_by_a_replay() {
    let node = Node::new();
    agent(&node, "proposer", PROPOSER, &["writer"]);
    proposes(
        &node,
        "a",
        "fs.write",
        &json!({ "path": "artifacts/said", "content": "once" }),
    );
    drain(&node);
    assert_eq!(node.comes("artifacts/said"), "once");
    fs::remove_file(node.path("artifacts/said")).expect("it is there");
    let report = node.replays();
    assert!(report["files"]["artifacts/said"].is_string(), "{report:#}");
    assert!(!node.path("artifacts/said").exists());
}

#[test]
fn a_guest_that_proposes_fs_write_is_refused_and_audited_under_its_own_name() {
    let node = Node::new();
    agent(&node, "proposer", PROPOSER, &[]);
    for (id, path) in [
        ("a", "artifacts/x"),
        ("b", "agents/proposer.sh"),
        ("c", "state/runtime/ledger/head"),
        ("d", "../out"),
    ] {
        proposes(&node, id, "fs.write", &json!({ "path": path, "content": "mine" }));
    }
    drain(&node);
    for id in ["a", "b", "c", "d"] {
        let reason = reason(&node, id);
        assert!(
            !reason.is_empty() && node.text(&format!("outbox/{id}.json")).is_none(),
            "{reason}"
        );
    }
    assert!(!node.path("artifacts/x").exists());
    assert_eq!(fs::read_to_string(node.path("agents/proposer.sh")).unwrap(), PROPOSER);
    let report = node.replays();
    assert_eq!(report["attribution"].as_array().map(Vec::len), Some(4), "{report:#}");
    let ledger = fs::read_to_string(node.path("state/runtime/ledger/00000000.jsl")).unwrap();
    let denied = r#"{"agent":"proposer","allowed":false,"right":"fs.write","to":"artifacts/x"}"#;
    assert!(ledger.contains(denied), "{ledger}");
}

#[test]
fn a_forged_source_is_refused_or_overwritten_by_the_nodes_own_knowledge() {
    let node = Node::new();
    agent(&node, "proposer", PROPOSER, &[]);
    // Beside the payload there is no place for one.
    let events = json!({ "events": ["start", "complete"] });
    for (id, member) in [("by-source", "source"), ("by-id", "id"), ("by-agent", "agent")] {
        let mut proposal = json!({ "kind": "advance", "payload": events });
        proposal[member] = "operator".into();
        job(&node, id, "proposer", &json!({ "propose": proposal }));
    }
    // Within it, it is a word like any other; and a job cannot say who works on it.
    let forged = json!({ "events": ["start", "complete"], "source": "operator", "agent": "admin", "id": "x" });
    proposes(&node, "in-the-payload", "advance", &forged);
    let proposal = json!({ "kind": "advance", "payload": events });
    let document = json!({ "agent": "proposer", "source": "operator", "input": { "propose": proposal } });
    node.drop_in("in-the-job.json", &document.to_string());
    drain(&node);
    for (id, member) in [("by-source", "source"), ("by-id", "id"), ("by-agent", "agent")] {
        let reason = reason(&node, id);
        assert!(reason.contains(&format!("unknown field `{member}`")), "{reason}");
    }
    assert!(
        reason(&node, "in-the-job").contains("source"),
        "{}",
        reason(&node, "in-the-job")
    );
    let ledger = fs::read_to_string(node.path("state/runtime/ledger/00000000.jsl")).unwrap();
    let records = ledger
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.get(74..)?).ok());
    let decisions: Vec<Value> = records.filter(|record| record["kind"] == "decision").collect();
    assert_eq!(decisions.len(), 1, "{ledger}");
    let decision = &decisions[0];
    assert_eq!(
        (
            &decision["source"],
            &decision["payload"]["agent"],
            &decision["payload"]["act"]["source"]
        ),
        (&json!("agent"), &json!("proposer"), &json!("agent")),
        "{decision:#}"
    );
    assert_ne!(decision["payload"]["act"]["id"], "x");
    assert_eq!(node.replays()["agents"], json!({ "proposer": 1 }));
}

#[test]
fn a_file_that_is_not_there_fails_the_job_once_with_the_reason() {
    let node = Node::new();
    let reads = "read -r job\nprintf '{\"read\":\"artifacts/nothing\"}\\n'\nread -r said\nprintf '{\"fail\":\"it said: no file\"}\\n'\n";
    agent(&node, "reads", reads, &["reader"]);
    job(&node, "a", "reads", &json!({}));
    drain(&node);
    assert!(reason(&node, "a").contains("no file"));
    drain(&node);
    let report = node.replays();
    assert_eq!(report["attribution"].as_array().map(Vec::len), Some(1), "{report:#}");
    assert_eq!(report["reruns"], json!([]));
}

#[test]
fn one_slow_job_holds_up_no_other_and_its_lease_stays_alive() {
    let node = Node::new();
    agent(&node, "slow", SLOW, &[]);
    let one = node.serve(&["--workers", "4", "--lease", "1"]);
    let other = node.serve(&["--workers", "4", "--lease", "1"]);
    job(&node, "slow", "slow", &json!({}));
    wait::until("the slow job runs", LIMIT, || {
        let claimed = node.names("claimed");
        if claimed.iter().any(|name| name.starts_with("slow@")) {
            Ok(())
        } else {
            Err(format!("{claimed:?}"))
        }
    });
    for n in 0..40 {
        node.drop_in(&format!("q{n}.json"), r#"{"agent":"advance","input":{}}"#);
    }
    node.over(40);
    // A beat is a third of the lease: after nine it was due three times over, and nobody took the job for a dead node's.
    wait::until("the lease of the slow job is kept alive", LIMIT, || {
        let beats = node.names("state/nodes");
        let beats = beats.iter().map(|name| node.comes(&format!("state/nodes/{name}")));
        let most = beats
            .filter_map(|text| serde_json::from_str::<Value>(&text).ok()?["beat"].as_u64())
            .max();
        if most >= Some(9) {
            Ok(())
        } else {
            Err(format!("{most:?}"))
        }
    });
    let claimed = node.names("claimed");
    assert!(
        claimed.len() == 1 && claimed[0].starts_with("slow@") && claimed[0].ends_with(".1.json"),
        "{claimed:?}"
    );
    one.stop();
    other.stop();
}

#[test]
fn one_broken_agent_file_is_named_in_the_status_and_the_others_load() {
    let node = Node::new();
    put(
        &node,
        "agents/a-broken.json",
        "{\"kind\": \"jos.runtime_agent\", \"name\": 3",
    );
    agent(&node, "proposer", PROPOSER, &[]);
    proposes(&node, "a", "advance", &json!({ "events": ["start", "complete"] }));
    drain(&node);
    assert!(node.comes("outbox/a.json").contains("DONE"));
    node.jos(&["status"]).ok().says("a-broken.json");
}

#[test]
fn a_schedule_at_a_time_with_a_zone_fires_and_stops_no_other() {
    let node = Node::new();
    let soon = "2026-01-01T00:00:00Z";
    node.jos(&[
        "schedule",
        "add",
        "zoned",
        "--agent",
        "advance",
        "--at",
        soon,
        "--zone",
        "America/Mexico_City",
        "--catch-up",
        "once",
    ])
    .ok();
    node.jos(&["schedule", "add", "again", "--agent", "advance", "--every", "1"])
        .ok();
    let serving = node.serve(&[]);
    node.over(3);
    serving.stop();
    let ledger = fs::read_to_string(node.path("state/runtime/ledger/00000000.jsl")).unwrap();
    let fired = |name: &str| ledger.matches(&format!(r#""schedule":"{name}""#)).count();
    assert!(fired("zoned") == 1 && fired("again") >= 2, "{ledger}");
    node.replays();
}

/// Writes another history with every hash and the head right again; only the key is missing.
const FORGE: &str = r#"
import hashlib, re, sys
path = sys.argv[1]
sha = lambda b: hashlib.sha256(b).hexdigest()
lines = open(path + '/00000000.jsl', 'rb').read().split(b'\n')
out, prev, done = [lines[0]], None, False
for line in lines[1:-1]:
    record = line[74:]
    if not done and b'"kind":"decision"' in record:
        record, done = record.replace(b'"source":"agent"', b'"source":"operator"'), True
    if prev:
        record = re.sub(rb'"prev":"[0-9a-f]{64}","source"', b'"prev":"' + prev.encode() + b'","source"', record)
    prev = sha(b'jos-record-v1\n' + record)
    out.append(b'%08x %s %s' % (len(record), prev.encode(), record))
assert done
open(path + '/00000000.jsl', 'wb').write(b'\n'.join(out) + b'\n')
head = open(path + '/head', 'rb').read()
slots = []
for at in (0, 127):
    slot = head[at:at + 127]
    words = slot.split(b' ')
    if len(words) >= 5:
        words[4] = prev.encode()
        body = b' '.join(words[:5]) + b' '
        for guess in (body, body[:-1]):
            if sha(b' '.join(slot.split(b' ')[:5]) + guess[len(guess.rstrip(b' ')):])[:16].encode() == words[5].strip():
                slot = body + sha(guess)[:16].encode() + b'\n'
    slots.append(slot)
open(path + '/head', 'wb').write(b''.join(slots))
"#;

#[test]
fn a_chain_that_was_computed_again_with_forged_sources_is_seen() {
    let node = Node::new();
    agent(&node, "proposer", PROPOSER, &[]);
    for id in ["a", "b", "c"] {
        proposes(&node, id, "advance", &json!({ "events": ["start", "complete"] }));
    }
    drain(&node);
    assert!(node.replays()["seals"].as_u64() >= Some(1));
    let forge = node.path("forge.py");
    fs::write(&forge, FORGE).unwrap();
    let mut python = std::process::Command::new("python3");
    run(python.arg(&forge).arg(node.path("state/runtime/ledger"))).ok();
    let (code, report) = node.replay();
    assert!(code == Some(1) && report["ok"] == false, "{report:#}");
    assert!(report.to_string().contains("signed for another history"), "{report:#}");
}
