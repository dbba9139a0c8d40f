//! A node through the built program: jobs in, results out, replay, several nodes, crashes, hostile names.

use std::fs;
use std::time::Duration;

use jos_tests::node::{Node, cpu_ticks};
use jos_tests::wait;
use serde_json::{Value, json};

#[test]
fn a_job_is_submitted_run_and_replayed_without_a_model() {
    let node = Node::new();
    let serving = node.serve(&[]);
    let done = node
        .jos(&[
            "submit",
            "advance",
            "--input",
            r#"{"note":"hello"}"#,
            "--id",
            "j1",
            "--wait",
        ])
        .ok();
    assert!(done.stdout.contains("\"DONE\""), "{done}");
    let result: Value = serde_json::from_str(&node.comes("outbox/j1.json")).unwrap();
    assert_eq!(result["result"]["note"], "hello");
    assert_eq!(node.names("processed"), ["j1.json"]);
    let bad = node.jos(&[
        "submit",
        "advance",
        "--input",
        r#"{"events":["start","start"]}"#,
        "--id",
        "j2",
        "--wait",
    ]);
    bad.exits(1).says("the machine is RUNNING");
    assert!(node.comes("failed/j2.json.reason").contains("RUNNING"));
    let report = node.replays();
    assert_eq!((&report["decisions"], &report["modelCalls"]), (&json!(2), &json!(0)));
    assert_eq!(
        (&report["chain"], &report["byteIdentical"], &report["deterministic"]),
        (&json!("intact"), &json!(true), &json!(true))
    );
    assert_eq!(report["attribution"][0]["job"], "j2");
    let (code, took) = serving.stop();
    assert!(
        code == Some(0) && took < Duration::from_secs(1),
        "{code:?} after {took:?}"
    );
    assert_eq!(node.names("state/nodes"), Vec::<String>::new());
}

#[test]
fn a_replay_beside_a_node_at_work_is_whole_and_confined() {
    let node = Node::new();
    let serving = node.serve(&[]);
    const ROUNDS: usize = 15;
    const PORTION: usize = 40;
    for round in 0..ROUNDS {
        for number in 0..PORTION {
            let job = r#"{"agent":"advance","input":{"events":["start","complete"]}}"#;
            node.drop_in(&format!("j{}.json", round * PORTION + number), job);
        }
        // Wherever the node is: its two readings find another end each as often as not.
        node.over(round * PORTION + 1);
        let report = node.replays();
        assert_eq!(report["confined"], true, "{report:#}");
    }
    node.over(ROUNDS * PORTION);
    serving.stop();
    assert_eq!(node.replays()["decisions"], ROUNDS * PORTION);
}

#[test]
fn a_node_that_is_to_work_off_what_is_there_ends_also_where_nothing_is() {
    let node = Node::new();
    node.jos(&["serve", "--drain"]).ok();
    node.jos(&["submit", "advance"]).ok();
    node.jos(&["serve", "--drain"]).ok();
    node.jos(&["serve", "--drain"]).ok();
    node.jos(&["status"]).ok().says("1 done");
}

#[test]
fn the_data_directory_is_named_before_or_after_the_verb_and_the_later_counts() {
    // In a database no job lies in a directory.
    if jos_tests::postgres::is_queue_wanted() {
        return;
    }
    let node = Node::new();
    let other = Node::new();
    let [ours, theirs] = [node.root(), other.root()].map(|root| root.display().to_string());
    for words in [
        vec!["--data-dir", &theirs, "submit", "advance", "--data-dir", &ours],
        vec![
            "runtime",
            "--data-dir",
            &theirs,
            "submit",
            "--data-dir",
            &ours,
            "advance",
        ],
        vec!["submit", "advance", "--data-dir", &ours],
        vec!["--data-dir", &ours, "runtime", "submit", "advance"],
    ] {
        let before = node.names("inbox").len();
        other.jos(&words).ok();
        assert_eq!(node.names("inbox").len(), before + 1, "{words:?}");
    }
    node.jos(&["status", "--data-dir", "/nowhere"])
        .exits(2)
        .says("jos runtime init");
    node.jos(&["replay"]).exits(2);
    node.jos(&["runtime", "init"]).exits(2);
}

#[test]
fn a_name_that_is_no_id_is_refused_before_anything_is_recorded() {
    let node = Node::new();
    for id in ["../schedules/x", "../inbox/loop", "a/b", "", "-x"] {
        node.jos(&["submit", "advance", &format!("--id={id}")]).exits(2);
    }
    let serving = node.serve(&[]);
    node.drop_in("evil.json", r#"{"id":"../schedules/x","agent":"advance"}"#);
    node.drop_in("a b.json", r#"{"agent":"advance"}"#);
    node.drop_in("other.json", r#"{"id":"else","agent":"advance"}"#);
    node.drop_in("junk.json", "{");
    node.over(4);
    for name in ["evil", "a b", "other", "junk"] {
        assert!(!node.comes(&format!("failed/{name}.json.reason")).trim().is_empty());
    }
    assert!(node.names("schedules").is_empty() && node.names("outbox").is_empty() && node.names("inbox").is_empty());
    node.jos(&["replay"]).exits(2);
    serving.stop();
}

#[test]
fn a_second_job_of_the_same_id_is_refused_and_the_first_result_is_kept() {
    let node = Node::new();
    let _serving = node.serve(&[]);
    node.jos(&["submit", "advance", "--id", "one", "--input", r#"{"note":1}"#, "--wait"])
        .ok();
    node.jos(&["submit", "advance", "--id", "one"])
        .exits(2)
        .says("one of this id already");
    node.drop_in("one.json", r#"{"agent":"advance","input":{"note":2}}"#);
    assert!(
        node.comes("failed/one.again-1.json.reason")
            .contains("the first is kept")
    );
    let result: Value = serde_json::from_str(&node.comes("outbox/one.json")).unwrap();
    assert_eq!(result["result"]["note"], 1);
    assert_eq!(node.replays()["decisions"], 1);
}

#[test]
fn the_spelling_of_the_original_is_taken() {
    let node = Node::new();
    let _serving = node.serve(&[]);
    node.drop_in(
        "old.json",
        r#"{"id":"old","kind":"advance","input":{"events":["start","complete"]}}"#,
    );
    assert!(node.comes("outbox/old.json").contains("DONE"));
}

#[test]
fn a_job_beyond_the_limit_is_refused_by_name_and_the_idle_node_stays_idle() {
    let node = Node::new();
    let serving = node.serve(&[]);
    node.drop_in(
        "big.json",
        &format!(r#"{{"agent":"advance","input":"{}"}}"#, "x".repeat(30 << 20)),
    );
    assert!(
        node.comes("failed/big.json.reason")
            .contains("expected 1048576 at most")
    );
    node.jos(&["submit", "advance", "--id", "after", "--wait"]).ok();
    let status = fs::read_to_string(format!("/proc/{}/status", serving.pid())).unwrap();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap_or_default()
        .to_owned();
    let peak: u64 = peak
        .split_whitespace()
        .nth(1)
        .and_then(|kb| kb.parse().ok())
        .unwrap_or(u64::MAX);
    assert!(peak < 40 * 1024, "{peak} KiB at most were resident");
    // One second without work: the clock of the tests' own wait, and no tick of the node's.
    let before = cpu_ticks(serving.pid());
    let begin = std::time::Instant::now();
    wait::until_true("a second passes", Duration::from_secs(5), || {
        begin.elapsed() > Duration::from_secs(1)
    });
    assert!(
        cpu_ticks(serving.pid()) - before <= 1,
        "the node works although it has nothing to do"
    );
}

#[test]
fn two_nodes_on_one_directory_run_forty_jobs_once_each_in_one_intact_chain() {
    let node = Node::new();
    let (one, two) = (node.serve(&["--workers", "4"]), node.serve(&["--workers", "4"]));
    for n in 0..40 {
        node.drop_in(&format!("job-{n:02}.json"), r#"{"agent":"advance"}"#);
    }
    node.over(40);
    let report = node.replays();
    assert_eq!(
        (&report["decisions"], &report["jobs"]["DONE"]),
        (&json!(40), &json!(40))
    );
    assert_eq!(report["reruns"], json!([]));
    assert_eq!(node.names("outbox").len(), 40);
    for serving in [one, two] {
        let (code, took) = serving.stop();
        assert!(
            code == Some(0) && took < Duration::from_secs(1),
            "{code:?} after {took:?}"
        );
    }
}

#[test]
fn killed_at_any_moment_a_node_recovers_and_its_ledger_replays() {
    let node = Node::new();
    let mut submitted = 0;
    // How often a node died that was at a job.
    let mut deaths = std::collections::BTreeMap::<String, usize>::new();
    for round in 0..8_u32 {
        let serving = node.serve(&["--workers", "4"]);
        for n in 0..30 {
            node.drop_in(&format!("r{round}-{n}.json"), r#"{"agent":"advance"}"#);
            submitted += 1;
        }
        // Killed after another number of jobs each time.
        let some = usize::try_from(round * 3).unwrap();
        let before = submitted - 30;
        node.over(before.min(node.names("processed").len()) + some);
        serving.kill();
        for name in node.names("claimed") {
            let id = name.split_once('@').map_or("", |(id, _)| id);
            *deaths.entry(id.to_owned()).or_default() += 1;
        }
    }
    let serving = node.serve(&["--lease", "1"]);
    node.over(submitted);
    assert_eq!(node.names("outbox").len(), submitted);
    assert!(node.names("claimed").is_empty());
    let report = node.replays();
    assert_eq!(report["jobs"]["DONE"], submitted);
    let reruns = report["reruns"].as_array().unwrap();
    assert!(reruns.iter().all(|rerun| rerun["agent"] == "advance"), "{reruns:?}");
    // At most one for each death, of the jobs that died alone.
    for rerun in reruns {
        let job = rerun["job"].as_str().unwrap();
        let again = reruns.iter().filter(|other| other["job"] == job).count();
        let died = deaths.get(job).copied().unwrap_or(0);
        assert!(
            again <= died,
            "{job} ran again {again} times after {died} deaths: {reruns:?}"
        );
    }
    assert!(deaths.values().sum::<usize>() >= reruns.len());
    assert!(node.names("failed").is_empty(), "{:?}", node.names("failed"));
    serving.stop();
}

#[test]
fn another_node_takes_over_what_a_dead_one_left() {
    let node = Node::new();
    let alive = node.serve(&["--lease", "1"]);
    node.left_behind("left", "dead");
    assert!(node.comes("outbox/left.json").contains("DONE"));
    let report = node.replays();
    assert_eq!(
        (&report["reruns"][0]["job"], &report["reruns"][0]["attempt"]),
        (&json!("left"), &json!(2))
    );
    assert!(!node.path("state/nodes/dead.json").exists());
    alive.stop();
}

#[test]
fn the_status_is_bounded_however_many_jobs_there_were() {
    let node = Node::new();
    for n in 0..300 {
        node.drop_in(
            &format!("s{n}.json"),
            r#"{"agent":"advance","input":{"note":"0123456789012345678901234567890123456789"}}"#,
        );
    }
    node.jos(&["serve", "--drain"]).ok();
    let size = fs::metadata(node.path("status.json")).unwrap().len();
    assert!(size < 8192, "{size} bytes");
    let said: Value = serde_json::from_str(&node.comes("status.json")).unwrap();
    assert_eq!(said["counts"]["done"], 300);
    node.jos(&["status"]).ok().says("300 done");
    node.replays();
}

#[test]
fn a_schedule_fires_once_over_two_nodes_and_a_restart() {
    let node = Node::new();
    node.jos(&["schedule", "add", "beat", "--agent", "advance", "--every", "1"])
        .ok();
    node.jos(&[
        "schedule",
        "add",
        "bad",
        "--agent",
        "advance",
        "--cron",
        "0 0 * * *",
        "--zone",
        "No/Where",
    ])
    .exits(2)
    .says("No/Where");
    fs::write(node.path("schedules/junk.json"), "{").unwrap();
    let (one, two) = (node.serve(&[]), node.serve(&[]));
    node.over(2);
    one.kill();
    two.stop();
    let again = node.serve(&[]);
    node.over(4);
    node.jos(&["schedule", "disable", "beat"]).ok();
    node.jos(&["schedule", "list"]).ok().says("disabled").says("junk.json");
    let report = node.replays();
    let names = node.names("processed");
    assert_eq!(report["decisions"], names.len(), "each firing is one job: {names:?}");
    assert!(node.names("failed").is_empty());
    again.stop();
    node.jos(&["schedule", "remove", "beat"]).ok();
    node.jos(&["schedule", "remove", "beat"]).exits(2);
}
