//! How much a node keeps: whole old chapters of its ledger go, and what is left verifies, replays and says where it begins.

use std::fs;

use jos_tests::node::{LIMIT, Node};
use jos_tests::postgres::is_queue_wanted;
use jos_tests::wait;
use serde_json::json;

/// The smallest limit that there is.
const BYTES: u64 = 1 << 20;

fn keep(node: &Node, text: &str) {
    fs::write(node.path("config/keep.toml"), text).expect("it can be written");
}

/// Jobs whose input is so large that the ledger has it as blobs, no two of them alike.
fn give(node: &Node, jobs: std::ops::Range<usize>) {
    for number in jobs {
        let note = format!("{number} {}", "x".repeat(9_000));
        let job = json!({ "agent": "advance", "input": { "events": ["start", "complete"], "note": note } });
        node.drop_in(&format!("j{number}.json"), &job.to_string());
    }
}

fn size(node: &Node, folder: &str) -> u64 {
    let entries = fs::read_dir(node.path(folder)).expect("a folder of the node");
    entries
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .map(|meta| meta.len())
        .sum()
}

fn kept(node: &Node) -> u64 {
    size(node, "state/runtime/ledger") + size(node, "state/runtime/blobs")
}

fn verifies(node: &Node) {
    let root = node.root();
    let ledger = root.to_str().expect("a path that is text");
    let verdict = node.jos(&["ledger", "verify", "--ledger", ledger, "--json"]);
    verdict.ok();
}

/// What a replay finds beside a node that writes: its two readings may see another end, and nothing else may be wrong.
fn reads(node: &Node) -> u64 {
    let (_, report) = node.replay();
    assert_eq!(
        (&report["chain"], &report["byteIdentical"], &report["diverged"]),
        (&json!("intact"), &json!(true), &json!(0)),
        "{report:#}\n{}",
        node.log()
    );
    report["since"].as_u64().expect("a number")
}

/// Gives the node work, a little at a time, until no more is kept than may be. Gives how many jobs there are then.
fn comes_within_its_limit(node: &Node, mut jobs: usize) -> usize {
    wait::until("the ledger is within its limit", LIMIT, || {
        give(node, jobs..jobs + 5);
        jobs += 5;
        node.over(jobs);
        match kept(node) {
            few if few <= BYTES => Ok(()),
            many => Err(format!("{many} bytes of {BYTES}\n{}", node.log())),
        }
    });
    jobs
}

/// Every blob that is there stands in a record that is there.
fn no_blob_is_left_over(node: &Node) {
    let records: String = node
        .names("state/runtime/ledger")
        .iter()
        .filter(|name| name.ends_with(".jsl"))
        .filter_map(|name| node.text(&format!("state/runtime/ledger/{name}")))
        .collect();
    for blob in node.names("state/runtime/blobs") {
        assert!(records.contains(&blob), "{blob} is named nowhere");
    }
}

#[test]
fn over_its_limit_a_ledger_loses_whole_old_chapters_and_what_is_left_verifies_and_replays() {
    let node = Node::new();
    keep(&node, &format!("[ledger]\nbytes = {BYTES}\n"));
    let serving = node.serve(&["--workers", "4"]);
    const JOBS: usize = 200;
    for portion in 0..10 {
        give(&node, portion * JOBS / 10..(portion + 1) * JOBS / 10);
        node.over((portion + 1) * JOBS / 10);
    }
    let jobs = comes_within_its_limit(&node, JOBS);
    let said = node.jos(&["status"]).ok().stdout;
    assert!(said.contains("pruned"), "{said}");
    // While the node runs as well: a reader is not robbed of what it reads.
    assert!(reads(&node) > 0, "{}", node.log());
    serving.stop();
    let report = node.replays();
    let ended = report["jobs"]["DONE"].as_u64().expect("a number");
    assert!(ended > 10 && ended < jobs as u64, "{report:#}");
    assert!(report["seals"].as_u64().is_some_and(|seals| seals > 1), "{report:#}");
    let said = node.jos(&["replay"]).ok().stdout;
    assert!(said.contains("history before #"), "{said}");
    verifies(&node);
    no_blob_is_left_over(&node);
    // Their results are nobody's to take.
    assert_eq!(node.names("outbox").len(), jobs);
    let blamed = node.jos(&["blame", "artifacts/none"]);
    assert_eq!(blamed.code, Some(1));
    assert!(blamed.stdout.contains("history before #"), "{blamed}");
    // Where it was pruned a node goes on as anywhere.
    let serving = node.serve(&[]);
    give(&node, jobs..jobs + 5);
    node.over(jobs + 5);
    serving.stop();
    node.replays();
}

#[test]
fn nodes_that_are_killed_while_they_prune_leave_a_ledger_that_replays_each_time() {
    let node = Node::new();
    keep(&node, &format!("[ledger]\nbytes = {BYTES}\n"));
    let begin = || node.serve(&["--workers", "3", "--lease", "2"]);
    let mut serving = vec![begin(), begin()];
    const ROUNDS: usize = 12;
    const PORTION: usize = 30;
    for round in 0..ROUNDS {
        give(&node, round * PORTION..(round + 1) * PORTION);
        // Somewhere in the middle of it, each time somewhere else.
        let some = round * PORTION + (round * 7 + 3) % PORTION;
        wait::until("the nodes are at work", LIMIT, || match node.names("outbox").len() {
            done if done >= some => Ok(()),
            done => Err(format!("{done} of {some}\n{}", node.log())),
        });
        serving.remove(0).kill();
        reads(&node);
        serving.push(begin());
    }
    node.over(ROUNDS * PORTION);
    let jobs = comes_within_its_limit(&node, ROUNDS * PORTION);
    for one in serving {
        one.stop();
    }
    assert_eq!(node.names("failed"), Vec::<String>::new());
    assert_eq!(node.names("outbox").len(), jobs);
    let report = node.replays();
    assert!(report["since"].as_u64().is_some_and(|since| since > 0), "{report:#}");
    assert_eq!(report["unfinished"], 0, "{report:#}");
    verifies(&node);
}

#[test]
fn results_go_where_somebody_said_so_and_not_before() {
    if is_queue_wanted() {
        // A database has results with the ids that it remembers.
        return;
    }
    let node = Node::new();
    let serving = node.serve(&[]);
    for number in 0..30 {
        node.drop_in(&format!("j{number}.json"), r#"{"agent":"advance","input":{}}"#);
    }
    node.over(30);
    assert_eq!(node.names("outbox").len(), 30);
    serving.stop();
    keep(&node, "[results]\ncount = 10\n");
    let serving = node.serve(&[]);
    wait::until("ten results are left", LIMIT, || match node.names("outbox").len() {
        10 => Ok(()),
        many => Err(format!("{many}\n{}", node.log())),
    });
    assert!(node.log().contains("20 results are gone"), "{}", node.log());
    wait::until("the status says so", LIMIT, || {
        let status = node.jos(&["status", "--json"]).json()["status"]["kept"].clone();
        if status["results_gone"] == 20 {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
    serving.stop();
    assert_eq!(node.replays()["jobs"], json!({ "DONE": 30 }));
}

#[test]
fn a_rule_that_does_not_read_is_named_and_nothing_goes_by_it() {
    let node = Node::new();
    keep(&node, "[ledger]\nbytes = 1000\n[results]\ncount = 1\n");
    let serving = node.serve(&[]);
    give(&node, 0..5);
    node.over(5);
    wait::until("the status names it", LIMIT, || {
        let said = node.jos(&["status"]).stdout;
        if said.contains("config/keep.toml: found ledger.bytes = 1000") {
            Ok(())
        } else {
            Err(said)
        }
    });
    serving.stop();
    assert_eq!(node.names("outbox").len(), 5);
}
