//! People who come from jaros bring their decision log: verified, imported, replayed, through the built program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jos_tests::command::run;
use jos_tests::node::Node;
use serde_json::{Value, json};

/// Writes a log as jaros does, by the same calls of Python's own library. `type` is how later versions call the kind.
const WRITER: &str = r#"
import hashlib, json, sys
path, spelled, decisions = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
prev, lines = "0" * 64, []
dump = lambda value: json.dumps(value, sort_keys=True, separators=(",", ":"))
for index, (source, kind, payload) in enumerate(decisions, 1):
    decision = {"id": f"{source}-{index}", "source": source, spelled: kind, "payload": payload}
    record = {"index": index, "prev": prev, "decision": decision}
    record["checksum"] = prev = hashlib.sha256(dump(record).encode()).hexdigest()
    lines.append(dump(record) + "\n")
open(path, "w").write("".join(lines))
"#;

fn log(node: &Node, spelled: &str, decisions: &Value) -> PathBuf {
    let path = node.path("decisions.log");
    run(Command::new("python3")
        .args(["-c", WRITER])
        .arg(&path)
        .args([spelled, &decisions.to_string()]))
    .ok();
    path
}

/// A day's work of three agents.
fn day() -> Value {
    json!([
        ["planner", "advance", { "events": ["start", "complete"], "note": "größer als 1.50 \u{1f600}", "score": 1e16 }],
        ["worker", "text.count", { "path": "README.md", "ratio": 0.1 }],
        ["worker", "fs.write", { "path": "artifacts/report.txt", "data": "all is well\n" }],
        ["reviewer", "advance", { "events": ["start", "fail"], "note": "the handoff was wrong" }],
        ["planner", "advance", { "events": ["explode"] }],
        ["planner", "advance", {}],
    ])
}

fn import(node: &Node, path: &Path, more: &[&str]) -> Value {
    let path = path.display().to_string();
    let words = [&["runtime", "import", &path, "--json"], more].concat();
    node.jos(&words).ok().json()
}

#[test]
fn a_decision_log_of_jaros_is_verified_imported_and_replayed_with_every_failure_put_down_to_its_agent() {
    for spelled in ["kind", "type"] {
        let node = Node::new();
        let path = log(&node, spelled, &day());
        let said = import(&node, &path, &["--check"]);
        assert_eq!((&said["decisions"], &said["imported"]), (&json!(6), &json!(0)));
        let said = import(&node, &path, &[]);
        assert_eq!((&said["imported"], &said["before"]), (&json!(6), &json!(0)));
        assert!(
            !node.path("artifacts/report.txt").exists(),
            "an imported decision acted"
        );

        let report = node.replays();
        assert_eq!((&report["imported"], &report["modelCalls"]), (&json!(6), &json!(0)));
        assert_eq!(report["agents"], json!({ "planner": 3, "reviewer": 1, "worker": 2 }));
        assert_eq!(report["unrecorded"], json!({ "text.count": 1 }));
        assert_eq!(report["finalState"], "DONE");
        let failures: Vec<(&str, &str)> = report["attribution"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|f| {
                (
                    f["agent"].as_str().unwrap_or_default(),
                    f["kind"].as_str().unwrap_or_default(),
                )
            })
            .collect();
        assert_eq!(failures, [("reviewer", "verdict"), ("planner", "failed")]);
        let blame = node
            .jos(&["runtime", "blame", "artifacts/report.txt", "--json"])
            .ok()
            .json();
        assert_eq!(blame["events"][0]["agent"], "worker", "{blame:#}");
        node.jos(&[
            "ledger",
            "verify",
            "--ledger",
            &node.path("state/runtime/ledger").display().to_string(),
        ])
        .ok();
    }
}

#[test]
fn a_log_that_grows_brings_what_is_new_beside_a_node_at_work() {
    let node = Node::new();
    let mut decisions = day();
    let path = log(&node, "kind", &decisions);
    assert_eq!(import(&node, &path, &[])["imported"], 6);
    assert_eq!(import(&node, &path, &[])["imported"], 0);
    let serving = node.serve(&[]);
    decisions
        .as_array_mut()
        .expect("a list")
        .push(json!(["worker", "advance", {}]));
    let path = log(&node, "kind", &decisions);
    // What the power left of a last line is not taken.
    let mut text = fs::read_to_string(&path).expect("the log");
    text.push_str("{\"checksum\":\"00");
    fs::write(&path, text).expect("the log");
    node.drop_in("j.json", r#"{"agent":"advance","input":{}}"#);
    let said = import(&node, &path, &[]);
    assert_eq!(
        (&said["imported"], &said["before"], &said["torn"]),
        (&json!(1), &json!(6), &json!(15))
    );
    node.over(1);
    serving.stop();
    let report = node.replays();
    assert_eq!((&report["imported"], &report["decisions"]), (&json!(7), &json!(8)));
}

#[test]
fn a_log_that_was_edited_is_refused_with_its_line_and_nothing_of_it_is_taken() {
    let node = Node::new();
    let path = log(&node, "kind", &day());
    let good = fs::read_to_string(&path).expect("the log");
    let lines: Vec<&str> = good.lines().collect();
    let swapped = [lines[0], lines[2], lines[1], lines[3]].join("\n") + "\n";
    let cases = [
        (good.replace("all is well", "all is lost"), ":3:"),
        (good.replace("\"source\":\"reviewer\"", "\"source\":\"planner\""), ":4:"),
        (swapped, ":2:"),
        (lines[1..].join("\n") + "\n", ":1:"),
        (good.replacen('\n', "\n\n", 1), ":2:"),
        (good.replacen("{\"checksum\"", "{\"by\":1,\"checksum\"", 1), ":1:"),
    ];
    for (text, place) in cases {
        fs::write(&path, &text).expect("the log");
        let said = node.jos(&["runtime", "import", &path.display().to_string()]);
        assert_eq!(said.code, Some(1), "{said}");
        assert!(said.stderr.contains(place), "{place}: {said}");
        assert_eq!(node.jos(&["replay", "--json"]).code, Some(2), "something was taken");
    }
    // Records that were imported before, and are others now.
    fs::write(&path, &good).expect("the log");
    assert_eq!(import(&node, &path, &[])["imported"], 6);
    let mut other = day();
    other[3][0] = json!("planner");
    let path = log(&node, "kind", &other);
    let said = node.jos(&["runtime", "import", &path.display().to_string()]);
    assert!(said.code == Some(1) && said.stderr.contains(":6:"), "{said}");
    node.replays();
    let missing = node.jos(&["runtime", "import", "nowhere.log"]);
    assert_eq!(missing.code, Some(2), "{missing}");
}
