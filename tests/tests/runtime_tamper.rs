//! A node's ledger after somebody was at it: each damage is seen, named, and answered with exit code 1.

use std::fs;
use std::path::PathBuf;

use jos_tests::node::Node;
use serde_json::{Value, json};

fn worked() -> (Node, PathBuf) {
    let node = Node::new();
    for n in 0..12 {
        node.drop_in(
            &format!("j{n}.json"),
            r#"{"agent":"advance","input":{"note":"a note"}}"#,
        );
    }
    node.jos(&["serve", "--drain"]).ok();
    node.replays();
    let segment = node.path("state/runtime/ledger/00000000.jsl");
    (node, segment)
}

#[track_caller]
fn detected(node: &Node, words: &str) {
    let (code, report) = node.replay();
    assert!(code == Some(1) && report["ok"] == false, "{report:#}");
    assert!(
        report["chain"]["broken"]
            .as_str()
            .is_some_and(|what| what.contains(words)),
        "{words}: {:#}",
        report["chain"]
    );
    assert_eq!(report["byteIdentical"], json!(false));
}

#[test]
fn a_tail_that_was_cut_off_is_seen() {
    let (node, segment) = worked();
    let bytes = fs::read(&segment).unwrap();
    let lines: Vec<usize> = bytes
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'\n')
        .map(|(at, _)| at)
        .collect();
    fs::write(&segment, &bytes[..=lines[lines.len() - 5]]).unwrap();
    detected(&node, "truncated");
}

#[test]
fn a_blank_line_junk_an_extra_member_and_bytes_that_are_no_text_are_seen_and_their_place_is_named() {
    let (node, segment) = worked();
    let good = fs::read(&segment).unwrap();
    let middle = good
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'\n')
        .nth(6)
        .map(|(at, _)| at + 1)
        .unwrap();
    let inserted = |what: &[u8]| [&good[..middle], what, &good[middle..]].concat();
    let mut flipped = good.clone();
    flipped[middle + 200] = 0xff;
    let text = String::from_utf8(good.clone()).unwrap();
    for bytes in [
        inserted(b"\n"),
        inserted(b"junk\n"),
        flipped,
        text.replacen("\"note\":\"a note\"", "\"note\":\"a nota\"", 1)
            .into_bytes(),
        text.replacen("\"agent\":\"advance\"", "\"agent\":\"advance\",\"extra\":1", 1)
            .into_bytes(),
    ] {
        fs::write(&segment, bytes).unwrap();
        detected(&node, "offset");
    }
    fs::write(&segment, &good).unwrap();
    node.replays();
}

#[test]
fn a_torn_last_line_is_cut_and_nothing_else_is_lost() {
    let (node, segment) = worked();
    let good = fs::read(&segment).unwrap();
    let before = node.replays()["records"].as_u64().unwrap();
    fs::write(&segment, [&good[..], b"000001f0 0123456789"].concat()).unwrap();
    node.jos(&["submit", "advance", "--id", "after"]).ok();
    node.jos(&["serve", "--drain"]).ok();
    let after = node.replays();
    assert!(
        after["records"].as_u64().unwrap() > before && after["jobs"]["DONE"] == 13,
        "{after:#}"
    );
}

#[test]
fn a_damaged_ledger_is_set_aside_and_the_node_goes_on() {
    let (node, segment) = worked();
    let good = fs::read_to_string(&segment).unwrap();
    fs::write(&segment, good.replacen("\"note\":\"a note\"", "\"note\":\"a nota\"", 1)).unwrap();
    detected(&node, "offset");
    let damaged = fs::read(&segment).unwrap();
    let serving = node.serve(&[]);
    node.drop_in("after.json", r#"{"agent":"advance"}"#);
    node.comes("outbox/after.json");
    // A job of before is known by its files still.
    let again = node.jos(&["submit", "advance", "--id", "j3"]).exits(2);
    assert!(again.stderr.contains("j3"), "{again}");
    serving.stop();
    let aside = node.path("state/runtime/ledger.damaged-1/00000000.jsl");
    assert_eq!(fs::read(aside).unwrap(), damaged, "it is kept as it is");
    let first = fs::read_to_string(&segment).unwrap();
    let first = first.lines().nth(1).unwrap_or_default();
    assert!(
        first.contains("\"kind\":\"broken\"") && first.contains("offset"),
        "{first}"
    );
    let report = node.replays();
    assert_eq!(report["jobs"]["DONE"], 1, "{report:#}");
    let status = node.jos(&["status"]).ok();
    assert!(
        status.stdout.contains("set aside: state/runtime/ledger.damaged-1"),
        "{status}"
    );
    // A second start finds nothing wrong, and sets nothing aside.
    node.jos(&["serve", "--drain"]).ok();
    assert!(!node.path("state/runtime/ledger.damaged-2").exists());
    node.replays();
}

#[test]
fn of_two_nodes_that_start_on_a_damaged_ledger_one_sets_it_aside_and_a_queue_goes_on() {
    let node = Node::new();
    let sender = |name: &str, propose: Value, permission: &str| {
        json!({
            "id_jos": name, "orchestration_contract": { "version": "0.0.7" },
            "security": { "permissions": [permission] },
            "orchestration": {
                "definitions": { "say": { "type": "prompt", "prompt": "x", "propose": propose } },
                "flows": { "main": { "steps": ["say"] } },
            },
        })
    };
    let send = json!([{ "kind": "queue.send", "payload": { "queue": "work", "message": "{{input}}" } }]);
    let agent = sender("sends", send, "queue.send:work");
    fs::write(node.path("agents/sends.jos"), agent.to_string()).unwrap();
    for n in 0..3 {
        node.drop_in(
            &format!("s{n}.json"),
            &json!({ "agent": "sends", "input": { "n": n } }).to_string(),
        );
    }
    node.jos(&["serve", "--drain"]).ok();
    node.replays();
    let segment = node.path("state/runtime/ledger/00000000.jsl");
    let text = fs::read_to_string(&segment).unwrap();
    fs::write(&segment, text.replacen("\"attempt\":1", "\"attempt\":7", 1)).unwrap();
    let (one, other) = (node.serve(&[]), node.serve(&[]));
    for n in 3..6 {
        node.drop_in(
            &format!("s{n}.json"),
            &json!({ "agent": "sends", "input": { "n": n } }).to_string(),
        );
    }
    (3..6).for_each(|n| drop(node.comes(&format!("outbox/s{n}.json"))));
    one.stop();
    other.stop();
    assert!(
        !node.path("state/runtime/ledger.damaged-2").exists(),
        "one of them did it"
    );
    node.replays();
}
