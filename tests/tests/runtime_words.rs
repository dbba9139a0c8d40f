//! The words of a node at a shell that no other test says: flags of the verbs, whose ledger is meant, schedules over a restart,
//! edits under a running node. Through the built program.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use jos_tests::command::run;
use jos_tests::node::{LIMIT, Node};
use jos_tests::postgres::is_queue_wanted;
use jos_tests::programs::jos;
use jos_tests::wait;
use serde_json::{Value, json};

const WRITES: &str = r#"read -r job
printf '{"propose":{"kind":"fs.write","payload":{"path":"artifacts/said","content":"one"}}}\n{"done":null}\n'
"#;

fn agent(node: &Node, name: &str, shell: &str) {
    fs::write(node.path(&format!("agents/{name}.sh")), shell).expect("written");
    let words = ["sh", &format!("./{name}.sh")];
    let document = json!({ "kind": "jos.runtime_agent", "name": name, "argv": words, "roles": ["writer"] });
    fs::write(node.path(&format!("agents/{name}.json")), document.to_string()).expect("written");
}

fn wrote() -> Node {
    let node = Node::new();
    agent(&node, "writes", WRITES);
    node.jos(&["submit", "writes", "--id", "w"]).ok();
    node.jos(&["serve", "--drain"]).ok();
    node
}

#[test]
fn a_file_that_agents_wrote_is_blamed_by_its_path_wherever_the_directory_is_named() {
    let node = wrote();
    let whole = node.path("artifacts/said").display().to_string();
    let root = node.root().display().to_string();
    let ledger = node.path("state/runtime/ledger").display().to_string();
    for words in [
        &["blame", "artifacts/said"][..],
        &["blame", &whole],
        &["runtime", "blame", "artifacts/said"],
        &["blame", "artifacts/said", "--data-dir", &root],
        &["blame", "artifacts/said", "--ledger", &root],
        &["blame", "artifacts/said", "--ledger", &ledger],
    ] {
        let said = node.jos(&[words, &["--json"]].concat()).ok().json();
        assert_eq!(
            (&said["events"][0]["agent"], &said["events"][0]["job"]),
            (&json!("writes"), &json!("w")),
            "{words:?}"
        );
    }
    node.jos(&["blame", "artifacts/other"])
        .exits(1)
        .says("no decision wrote it");
    // The directory of the place, with no variable: and still a device's path is a device's.
    let mut here = jos();
    fs::rename(node.root(), node.root().with_file_name(".jos-data")).expect("renamed");
    let place = node.root().parent().expect("a folder").to_owned();
    run(here.args(["blame", "artifacts/said"]).current_dir(&place))
        .ok()
        .says("agent writes");
    let mut below = jos();
    run(below.args(["blame", "./.jos-data/artifacts/said"]).current_dir(&place))
        .ok()
        .says("agent writes");
    let mut device = jos();
    let device = device
        .args(["blame", "/etc/motd", "--state-dir"])
        .arg(place.join("none"));
    run(device.current_dir(&place))
        .exits(2)
        .says("no agent has a ledger here");
}

#[test]
fn a_nodes_ledger_that_is_named_is_replayed_as_a_nodes() {
    let node = wrote();
    let state = node.replays()["stateHash"].clone();
    let export = node.path("artifacts/node.jos-ledger").display().to_string();
    let (root, folder, ledger) = (
        node.root(),
        node.path("state/runtime"),
        node.path("state/runtime/ledger"),
    );
    let [root, folder, ledger] = [root, folder, ledger].map(|path| path.display().to_string());
    node.jos(&["ledger", "export", "--ledger", &ledger, "--out", &export])
        .ok();
    for named in [&root, &folder, &ledger, &export] {
        let said = node.jos(&["replay", "--json", "--ledger", named]).ok().json();
        assert_eq!(
            (&said["stateHash"], &said["modelCalls"]),
            (&state, &json!(0)),
            "{named}: {said:#}"
        );
    }
    node.jos(&["replay", "--ledger", &ledger, "--into", "tree"])
        .exits(2)
        .says("manages no tree");
    node.jos(&["replay", "--verbose"]).ok().says("file artifacts/said ");
    node.jos(&["replay", "--verbose", "--ledger", &ledger])
        .ok()
        .says("file artifacts/said ");
}

#[test]
fn init_with_force_makes_what_is_missing_and_keeps_what_is_there() {
    let node = wrote();
    fs::remove_dir_all(node.path("evals")).expect("removed");
    fs::write(node.path("config/llm.toml"), "provider = \"uppercase\"\n").expect("written");
    node.jos(&["status"]).exits(2).says("evals/ is missing");
    node.jos(&["runtime", "init", "--force", "--with-examples"])
        .ok()
        .says("made evals");
    node.jos(&["runtime", "init"]).exits(2).says("--force");
    node.jos(&["runtime", "init", "--force"])
        .ok()
        .says("all folders were there");
    assert_eq!(
        fs::read_to_string(node.path("config/llm.toml")).expect("kept"),
        "provider = \"uppercase\"\n"
    );
    assert_eq!(fs::read_to_string(node.path("agents/writes.sh")).expect("kept"), WRITES);
    node.replays();
}

#[test]
fn an_input_is_taken_out_of_a_file_and_one_that_is_none_is_refused() {
    let node = Node::new();
    fs::write(node.path("artifacts/input.json"), r#"{"note":"out of a file"}"#).expect("written");
    fs::write(node.path("artifacts/no.json"), "{").expect("written");
    let file = |name: &str| format!("@{}", node.path(name).display());
    node.jos(&[
        "submit",
        "advance",
        "--id",
        "a",
        "--input",
        &file("artifacts/input.json"),
    ])
    .ok();
    node.jos(&["submit", "advance", "--input", &file("artifacts/no.json")])
        .exits(2)
        .says("expected JSON");
    node.jos(&["submit", "advance", "--input", "@nowhere.json"])
        .exits(2)
        .says("nowhere.json");
    node.jos(&["serve", "--drain"]).ok();
    assert!(node.comes("outbox/a.json").contains("out of a file"));
}

#[test]
fn watch_says_each_end_as_it_comes_and_logs_say_the_last_records() {
    let node = Node::new();
    let serving = node.serve(&[]);
    let mut watch = node.command(&["watch", "--json", "--count", "2"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().expect("jos starts");
    let mut lines = BufReader::new(watch.stdout.take().expect("a pipe")).lines();
    // It may not watch yet when the first jobs end.
    let (tell, told) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in lines.by_ref().map_while(Result::ok) {
            let _ = tell.send(line);
        }
    });
    let mut said = Vec::new();
    let mut n = 0;
    wait::until("two ends were said", LIMIT, || {
        let events = if n % 2 == 0 {
            json!({})
        } else {
            json!({ "events": ["complete"] })
        };
        node.drop_in(
            &format!("j{n}.json"),
            &json!({ "agent": "advance", "input": events }).to_string(),
        );
        n += 1;
        node.over(n);
        said.extend(told.try_iter());
        if said.len() >= 2 {
            Ok(())
        } else {
            Err(format!("{said:?}"))
        }
    });
    assert_eq!(watch.wait().expect("it ends").code(), Some(0));
    reader.join().expect("it ends");
    said.extend(told.try_iter());
    assert_eq!(said.len(), 2, "{said:?}");
    let ends: Vec<Value> = said
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert!(
        ends.iter().any(|end| end["state"] == "DONE") && ends.iter().any(|end| end["failed"].is_string()),
        "{ends:?}"
    );
    serving.stop();
    let all = node.jos(&["logs", "-n", "0", "--json"]).ok();
    let records: Vec<Value> = all
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(
        records.len() as u64,
        node.replays()["records"].as_u64().expect("a number")
    );
    let indices: Vec<u64> = records.iter().filter_map(|record| record["index"].as_u64()).collect();
    assert_eq!(indices, (0..records.len() as u64).collect::<Vec<_>>());
    let last = node.jos(&["logs", "-n", "3", "--json"]).ok();
    assert_eq!(
        last.stdout.lines().collect::<Vec<_>>(),
        all.stdout.lines().skip(records.len() - 3).collect::<Vec<_>>()
    );
    node.jos(&["logs"]).ok().says("advance decides advance");
}

/// A decision log of jaros with so many decisions.
const LOG: &str = r#"
import hashlib, json, sys
dump = lambda value: json.dumps(value, sort_keys=True, separators=(",", ":"))
prev, out = "0" * 64, open(sys.argv[1], "w")
for index in range(1, int(sys.argv[2]) + 1):
    record = {"index": index, "prev": prev, "decision": {"id": f"a-{index}", "source": "a", "kind": "x.y", "payload": {}}}
    record["checksum"] = prev = hashlib.sha256(dump(record).encode()).hexdigest()
    out.write(dump(record) + "\n")
"#;

/// Bytes that a process has read.
fn bytes_read(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).expect("it runs");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("rchar: "))
        .expect("a Linux");
    line.parse().expect("a number")
}

#[test]
fn whoever_follows_a_ledger_of_a_hundred_thousand_records_reads_what_is_new_and_not_all_of_it_again() {
    let node = Node::new();
    let log = node.path("artifacts/decisions.log");
    run(Command::new("python3").args(["-c", LOG]).arg(&log).arg("100000")).ok();
    node.jos(&["runtime", "import", &log.display().to_string()]).ok();
    let segments = fs::read_dir(node.path("state/runtime/ledger"))
        .expect("a ledger")
        .flatten();
    let size: u64 = segments.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum();
    assert!(size > 20 << 20, "{size}");
    let mut follow = node.command(&["logs", "--follow", "-n", "1", "--json"]);
    let mut follow = follow.stdout(Stdio::piped()).spawn().expect("jos starts");
    let mut lines = BufReader::new(follow.stdout.take().expect("a pipe")).lines();
    let mut until = |wanted: &str| loop {
        let line = lines.next().expect("it goes on").expect("text");
        if line.contains(wanted) {
            return;
        }
    };
    until("\"index\"");
    let serving = node.serve(&[]);
    let before = bytes_read(follow.id());
    for n in 0..20 {
        node.jos(&["submit", "advance", "--id", &format!("j{n}"), "--wait"])
            .ok();
        until(&format!("\"job\":\"j{n}\""));
    }
    let read = bytes_read(follow.id()) - before;
    let _ = follow.kill();
    let _ = follow.wait();
    serving.stop();
    // Each look reads the last segment of 128 KiB at most, and there are some looks a job.
    assert!(read < size, "{read} bytes for 20 jobs, the ledger has {size}");
}

fn now() -> i64 {
    let date = run(Command::new("date").arg("+%s")).ok();
    date.text().parse().expect("a time")
}

#[test]
fn what_a_schedule_by_cron_missed_while_no_node_ran_is_dropped_made_up_once_or_made_up_each() {
    // In a database the cursors are rows.
    if is_queue_wanted() {
        return;
    }
    let node = Node::new();
    // Half an hour off the present minute: none is due while the test runs.
    let minute = (now() / 60 + 30) % 60;
    let cron = format!("{minute} * * * *");
    for policy in ["skip", "once", "all"] {
        let words = [
            "schedule",
            "add",
            policy,
            "--agent",
            "advance",
            "--cron",
            &cron,
            "--catch-up",
            policy,
        ];
        node.jos(&words).ok();
    }
    node.jos(&[
        "schedule",
        "add",
        "off",
        "--agent",
        "advance",
        "--cron",
        &cron,
        "--catch-up",
        "all",
    ])
    .ok();
    node.jos(&["schedule", "disable", "off"]).ok().says("disabled");
    let cursor = |name: &str| node.path(&format!("state/schedules/{name}.json"));
    let first = node.serve(&[]);
    // Something to do wakes it; else it looks at its schedules within a minute.
    node.jos(&["submit", "advance", "--id", "wakes", "--wait"]).ok();
    wait::until_true("the schedules were seen", LIMIT, || {
        ["skip", "once", "all"].iter().all(|name| cursor(name).exists())
    });
    first.stop();
    assert_eq!(
        node.names("processed"),
        ["wakes.json"],
        "nothing is due before its time"
    );
    // Five hours without a node.
    for name in ["skip", "once", "all"] {
        let mut known: Value = serde_json::from_str(&fs::read_to_string(cursor(name)).expect("there")).expect("JSON");
        known["last"] = json!(now() - 5 * 3600);
        fs::write(cursor(name), known.to_string()).expect("written");
    }
    for turn in 0..2 {
        let serving = node.serve(&[]);
        node.over(7);
        serving.stop();
        let ran = node.names("processed");
        let of = |name: &str| {
            ran.iter()
                .filter(|job| job.starts_with(&format!("{name}-")))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (of("skip").len(), of("once").len(), of("all").len()),
            (0, 1, 5),
            "start {turn}: {ran:?}"
        );
        assert_eq!(
            of("once")[0].strip_prefix("once"),
            of("all")[4].strip_prefix("all"),
            "the last that was missed"
        );
    }
    node.jos(&["schedule", "enable", "off"]).ok();
    let listed = node.jos(&["schedule", "list", "--json"]).ok().json();
    assert!(
        listed["schedules"]
            .as_array()
            .expect("a list")
            .iter()
            .all(|one| one["disabled"] != true),
        "{listed:#}"
    );
    node.jos(&["schedule", "enable", "nobody"])
        .exits(2)
        .says("found no schedule nobody");
    node.replays();
}

#[test]
fn agents_and_tools_that_are_edited_and_removed_under_a_running_node_count_at_once() {
    let node = Node::new();
    let serving = node.serve(&[]);
    let once = |id: &str| {
        node.jos(&["submit", "edited", "--id", id, "--wait"]);
        let done = node.text(&format!("outbox/{id}.json"));
        done.or_else(|| node.text(&format!("failed/{id}.json.reason")))
            .unwrap_or_default()
    };
    assert!(once("before").contains("found no agent named edited"));
    let proposes = |kind: &str| {
        format!(
            "read -r job\nprintf '{{\"propose\":{{\"kind\":\"{kind}\",\"payload\":{{}}}}}}\\n{{\"done\":null}}\\n'\n"
        )
    };
    agent(&node, "edited", &proposes("advance"));
    assert!(once("added").contains("DONE"));
    agent(&node, "edited", &proposes("dice.roll"));
    assert!(once("no-tool").contains("dice.roll"));
    let tool = |gives: &str| {
        let shell = format!("read -r said\nprintf '{{\"done\":{gives}}}\\n'\n");
        fs::write(node.path("tools/dice.sh"), shell).expect("written");
        let document =
            json!({ "kind": "jos.tool", "name": "dice", "decisions": ["dice.roll"], "argv": ["sh", "./dice.sh"] });
        fs::write(node.path("tools/dice.json"), document.to_string()).expect("written");
    };
    tool("{\"rolled\":1}");
    assert!(once("tool").contains("\"rolled\":1"));
    tool("{\"rolled\":2}");
    assert!(once("tool-edited").contains("\"rolled\":2"));
    fs::remove_file(node.path("tools/dice.json")).expect("removed");
    assert!(once("tool-gone").contains("which nothing here executes"));
    fs::write(node.path("agents/edited.json"), "{").expect("written");
    assert!(once("broken").contains("found no agent named edited"));
    wait::until("the broken file is named", LIMIT, || {
        let said = node.jos(&["status"]).ok();
        if said.stdout.contains("agents/edited.json") {
            Ok(())
        } else {
            Err(said)
        }
    });
    fs::remove_file(node.path("agents/edited.json")).expect("removed");
    assert!(once("gone").contains("found no agent named edited"));
    serving.stop();
    node.replays();
}
