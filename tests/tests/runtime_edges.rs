//! What a runtime of agents may do badly and this one must not, continued: ends that come at a bad moment, histories that were
//! cut, moments in every form, payloads and histories that are large. Through the built program.

use std::fs;
use std::time::Duration;

use jos_tests::node::{LIMIT, Node};
use jos_tests::postgres::is_queue_wanted;
use jos_tests::wait;
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

fn agent(node: &Node, name: &str, perl: &str, grants: &Value) {
    fs::write(node.path(&format!("agents/{name}.pl")), perl).expect("written");
    let words = ["perl", &format!("./{name}.pl")];
    let document = json!({ "kind": "jos.runtime_agent", "name": name, "argv": words, "capabilities": grants });
    fs::write(node.path(&format!("agents/{name}.json")), document.to_string()).expect("written");
}

fn tool(node: &Node, kind: &str, perl: &str, grants: &Value) {
    fs::write(node.path("tools/tool.pl"), perl).expect("written");
    let document = json!({
        "kind": "jos.tool", "name": "tool", "decisions": [kind], "argv": ["perl", "./tool.pl"], "capabilities": grants,
    });
    fs::write(node.path("tools/tool.json"), document.to_string()).expect("written");
}

fn submit(node: &Node, id: &str, agent: &str, input: &Value) {
    node.drop_in(
        &format!("{id}.json"),
        &json!({ "agent": agent, "input": input }).to_string(),
    );
}

fn reason(node: &Node, id: &str) -> String {
    let reason = node.text(&format!("failed/{id}.json.reason"));
    reason.unwrap_or_else(|| panic!("{id} has no reason\n{}", node.log()))
}

/// A tool that reads a file which is not there: asked of the node, or by itself.
const READS: &str = r#"$| = 1; my $said = <STDIN>;
if ($said =~ /^\{"validate"/) { print qq({"done":null}\n); exit }
if ($said =~ /itself/) { open(my $f, '<', 'artifacts/nothing') or die "artifacts/nothing: $!"; }
print qq({"read":"artifacts/nothing"}\n); my $answer = <STDIN>;
$answer =~ /"error":(".*")\}/ and print qq({"fail":$1}\n);
"#;

#[test]
fn a_tool_for_which_a_file_is_not_there_fails_its_job_once_with_the_reason_and_is_never_run_again() {
    let node = Node::new();
    let reads = json!([{ "right": "fs.read", "to": "artifacts" }]);
    let asks = r#"my $job = <STDIN>; my ($how) = $job =~ /"how":"(\w+)"/;
print qq({"propose":{"kind":"reads.it","payload":{"how":"$how"}}}\n{"done":null}\n);"#;
    agent(&node, "asks", asks, &reads);
    tool(&node, "reads.it", READS, &reads);
    submit(&node, "by-the-node", "asks", &json!({ "how": "asked" }));
    submit(&node, "by-itself", "asks", &json!({ "how": "itself" }));
    for _ in 0..2 {
        node.jos(&["serve", "--drain"]).ok();
    }
    let said = reason(&node, "by-the-node");
    assert!(
        said.contains("artifacts/nothing") && said.contains("No such file"),
        "{said}"
    );
    let said = reason(&node, "by-itself");
    assert!(
        said.contains("without \"done\"") && said.contains("artifacts/nothing"),
        "{said}"
    );
    assert!(node.names("claimed").is_empty() && node.names("inbox").is_empty());
    let report = node.replays();
    let failed = report["attribution"].as_array().expect("a list");
    let of = |job: &str| {
        failed
            .iter()
            .filter(|one| one["job"] == job && one["agent"] == "asks")
            .count()
    };
    assert_eq!(
        (of("by-the-node"), of("by-itself"), failed.len()),
        (1, 1, 2),
        "{report:#}"
    );
    assert_eq!((&report["reruns"], &report["decisions"]), (&json!([]), &json!(2)));
}

/// Acts, and for the word `slow` never comes back.
const ACTS: &str = r#"$| = 1; my $said = <STDIN>;
if ($said =~ /^\{"validate"/) { print qq({"done":null}\n); exit 0 }
$said =~ /"n":(\d+)/; my $n = $1;
print qq({"send":{"queue":"acted","message":{"n":$n}}}\n); my $sent = <STDIN>;
if ($said =~ /slow/) { my $never = <STDIN>; }
print qq({"done":{"n":$n}}\n);
"#;

#[test]
fn killed_between_two_transitions_a_job_goes_on_where_it_stopped_and_runs_again_once() {
    // In a database the messages are elsewhere: runtime_queue has the same.
    if is_queue_wanted() {
        return;
    }
    let node = Node::new();
    let sends = json!([{ "right": "queue.send", "to": "acted" }]);
    let proposes = r#"<STDIN>;
print qq({"propose":{"kind":"advance","payload":{"events":["start"]}}}\n);
print qq({"propose":{"kind":"acts.now","payload":{"n":1}}}\n);
print qq({"propose":{"kind":"acts.now","payload":{"n":2,"how":"slow"}}}\n);
print qq({"propose":{"kind":"advance","payload":{"events":["complete"]}}}\n{"done":null}\n);"#;
    agent(&node, "steps", proposes, &sends);
    tool(&node, "acts.now", ACTS, &sends);
    let acted = || {
        let entries = fs::read_dir(node.path("state/queues/acted"))
            .into_iter()
            .flatten()
            .flatten();
        let messages = entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "json"));
        messages.count()
    };
    submit(&node, "j", "steps", &json!({}));
    // Killed twice in the same place, and each time one run more is all that comes of it.
    for turn in 0..2 {
        let dies = node.serve(&["--lease", "1"]);
        wait::until("the second act is under way", LIMIT, || {
            let acted = acted();
            if acted == 2 + turn {
                Ok(())
            } else {
                Err(format!("{acted}\n{}", node.log()))
            }
        });
        dies.kill();
    }
    fs::write(
        node.path("tools/tool.pl"),
        ACTS.replace("if ($said =~ /slow/)", "if (0)"),
    )
    .expect("written");
    let lives = node.serve(&["--lease", "1"]);
    let done = node.comes("outbox/j.json");
    assert!(done.contains("DONE"), "{done}");
    lives.stop();
    assert_eq!(acted(), 4, "the first acted once, the second once a run");
    let report = node.replays();
    let attempts: Vec<(&Value, &Value)> = report["reruns"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|rerun| (&rerun["job"], &rerun["attempt"]))
        .collect();
    assert_eq!(
        attempts,
        [(&json!("j"), &json!(2)), (&json!("j"), &json!(3))],
        "{report:#}"
    );
    assert_eq!(
        (&report["decisions"], &report["finalState"]),
        (&json!(4), &json!("DONE")),
        "{report:#}"
    );
}

#[test]
fn a_tail_that_was_cut_off_is_seen_with_its_head_gone_cut_or_left_and_an_older_whole_is_said_to_be_unanchored() {
    let node = Node::new();
    let work = |from: usize| {
        for n in from..from + 6 {
            node.drop_in(
                &format!("j{n}.json"),
                r#"{"agent":"advance","input":{"note":"a note"}}"#,
            );
        }
        node.jos(&["serve", "--drain"]).ok();
        node.replays()
    };
    let (segment, head) = (
        node.path("state/runtime/ledger/00000000.jsl"),
        node.path("state/runtime/ledger/head"),
    );
    let earlier = work(0);
    let older = (fs::read(&segment).expect("there"), fs::read(&head).expect("there"));
    work(6);
    let whole = (fs::read(&segment).expect("there"), fs::read(&head).expect("there"));
    let ends: Vec<usize> = (0..whole.0.len()).filter(|at| whole.0[*at] == b'\n').collect();
    let cut = whole.0[..=ends[ends.len() - 5]].to_vec();
    let mut blank = whole.1.clone();
    blank.fill(b' ');
    for (what, head_is, expected) in [
        ("the head left", Some(whole.1.clone()), "truncated"),
        ("the head gone", None, "the head file is missing"),
        ("the head cut", Some(whole.1[..127].to_vec()), "wrong length"),
        ("the head blank", Some(blank), "neither slot"),
        ("the head of before", Some(older.1.clone()), ""),
    ] {
        fs::write(&segment, &cut).expect("written");
        match head_is {
            Some(bytes) => fs::write(&head, bytes).expect("written"),
            None => fs::remove_file(&head).expect("removed"),
        }
        let (code, report) = node.replay();
        if expected.is_empty() {
            // Its head may lag by a commit, so this is a history that could be; that it ended elsewhere only a hub knows.
            assert_eq!(code, Some(0), "{what}: {report:#}");
            node.jos(&["replay"]).ok().says("unanchored");
            continue;
        }
        let broken = report["chain"]["broken"].as_str().unwrap_or_default().to_owned();
        assert!(
            code == Some(1) && report["ok"] == false && broken.contains(expected),
            "{what}: {report:#}"
        );
    }
    // All of it rolled back together is a history that was: nothing here can know more, and the replay does not claim it.
    fs::write(&segment, &older.0).expect("written");
    fs::write(&head, &older.1).expect("written");
    assert_eq!(node.replays()["stateHash"], earlier["stateHash"]);
    node.jos(&["replay"]).ok().says("unanchored");
}

#[test]
fn a_moment_with_an_offset_in_a_zone_and_in_utc_is_the_same_moment_and_no_schedule_is_stopped() {
    let node = Node::new();
    let add = |name: &str, words: &[&str]| {
        node.jos(
            &[
                &["schedule", "add", name, "--agent", "advance", "--catch-up", "once"],
                words,
            ]
            .concat(),
        )
        .ok();
    };
    add("utc", &["--at", "2026-01-01T00:00:00Z"]);
    add("offset", &["--at", "2026-01-01T05:30:00+05:30"]);
    add("local", &["--at", "2026-01-01T01:00:00", "--zone", "Europe/Berlin"]);
    add(
        "west",
        &["--at", "2025-12-31T18:00:00", "--zone", "America/Mexico_City"],
    );
    for (name, at, zone) in [
        ("in-a-file", "2026-01-01T02:00:00+02:00", None),
        ("in-a-zone", "2026-01-01T09:00:00", Some("Asia/Tokyo")),
    ] {
        let mut document = json!({ "agent": "advance", "at": at, "catch_up": "once" });
        document["zone"] = zone.map_or(Value::Null, Value::from);
        if zone.is_none() {
            document.as_object_mut().expect("an object").remove("zone");
        }
        fs::write(node.path(&format!("schedules/{name}.json")), document.to_string()).expect("written");
    }
    // An hour that the clocks skip, and one without a zone that there is: the one is the next moment, the other refused.
    add("skipped", &["--at", "2026-03-29T02:30:00", "--zone", "Europe/Berlin"]);
    node.jos(&["schedule", "add", "x", "--agent", "advance", "--at", "tomorrow"])
        .exits(2)
        .says("found the time \"tomorrow\"");
    add("beat", &["--every", "1"]);
    let serving = node.serve(&[]);
    for name in ["utc", "offset", "local", "west", "in-a-file", "in-a-zone"] {
        node.comes(&format!("outbox/{name}-20260101T000000Z.json"));
    }
    node.comes("outbox/skipped-20260329T013000Z.json");
    node.over(9);
    serving.stop();
    let again = node.serve(&[]);
    node.over(node.names("processed").len() + 1);
    again.stop();
    let ran = node.names("processed");
    let moments = ran.iter().filter(|name| !name.starts_with("beat-")).count();
    assert_eq!(moments, 7, "each once, over a restart too: {ran:?}");
    node.replays();
}

#[test]
fn a_payload_of_more_than_one_mebibyte_is_refused_by_name_and_one_below_it_is_taken() {
    let node = Node::new();
    let writes = json!([{ "right": "fs.write", "to": "artifacts" }]);
    let proposes = r#"my $job = <STDIN>; my ($n) = $job =~ /"n":(\d+)/; my $x = 'x' x $n;
print qq({"propose":{"kind":"fs.write","payload":{"path":"artifacts/$n","content":"$x"}}}\n{"done":null}\n);"#;
    agent(&node, "large", proposes, &writes);
    let (below, above) = ((1 << 20) - 100, 1 << 20);
    for n in [below, above] {
        submit(&node, &format!("n{n}"), "large", &json!({ "n": n }));
    }
    node.jos(&["serve", "--drain"]).ok();
    assert_eq!(
        fs::metadata(node.path(&format!("artifacts/{below}")))
            .expect("written")
            .len(),
        below
    );
    let said = reason(&node, &format!("n{above}"));
    assert!(
        said.contains("a payload of 10486") && said.contains("1048576"),
        "{said}"
    );
    assert!(!node.path(&format!("artifacts/{above}")).exists());
    let report = node.replays();
    assert_eq!(report["decisions"], 1, "{report:#}");
}

/// CPU time of all children that ended.
fn spent() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("known");
    let time = |value: nix::sys::time::TimeVal| {
        Duration::from_micros(u64::try_from(value.tv_sec() * 1_000_000 + value.tv_usec()).unwrap_or(0))
    };
    time(usage.user_time()) + time(usage.system_time())
}

/// The least CPU time of three replays of so many decisions.
fn replayed(jobs: u64) -> Duration {
    let node = Node::new();
    let loops = r#"<STDIN>; print qq({"propose":{"kind":"advance","payload":{"events":["start","fail","reset"]}}}\n) x 256, qq({"done":null}\n);"#;
    agent(&node, "loops", loops, &json!([]));
    for n in 0..jobs {
        submit(&node, &format!("j{n}"), "loops", &json!({}));
    }
    node.jos(&["serve", "--drain"]).ok();
    let once = || {
        let before = spent();
        let report = node.replays();
        assert_eq!(report["decisions"], jobs * 256, "{report:#}");
        spent() - before
    };
    (0..3).map(|_| once()).min().unwrap_or_default()
}

#[test]
fn a_replay_of_n_decisions_is_linear() {
    // Eight times the decisions: eight times the work, 64 times where it is quadratic. What each start costs counts for both.
    let (few, many) = (replayed(4), replayed(32));
    assert!(
        many < few * 24,
        "1024 decisions took {few:?} of the CPU, 8192 took {many:?}"
    );
}
