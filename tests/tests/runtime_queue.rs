//! Nodes that share a database and no directory: each job once, whoever dies, however often the database goes away.
//!
//! What a queue must do wherever it is, is tested in runtime_node, runtime_rows and runtime_tamper, with `JOS_TEST_QUEUE=postgres`
//! on a database. So is this file; a program without PostgreSQL has the one test at its end.

use std::sync::{Arc, Mutex};

use jos_tests::command::run;
use jos_tests::model::Pair;
use jos_tests::node::{LIMIT, Node};
use jos_tests::postgres::{Cluster, Database, is_queue_wanted};
use jos_tests::programs::workspace;
use jos_tests::wait;
use serde_json::{Value, json};

type Shared = Arc<Mutex<Database>>;

fn shared() -> Shared {
    Arc::new(Mutex::new(Database::fresh()))
}

fn rows(database: &Shared, sql: &str) -> Vec<String> {
    database.lock().expect("no thread panicked with it").rows(sql)
}

/// Puts so many jobs in with one statement, as a program other than ours would.
fn put(database: &Shared, name: &str, jobs: usize) {
    let document = r#"{"agent":"advance","input":{}}"#;
    rows(
        database,
        &format!(
            "INSERT INTO jos_jobs (id, document, ticket, state) \
             SELECT '{name}' || n, '{document}', '{name}' || n, 'waiting' FROM generate_series(1, {jobs}) n; \
             NOTIFY jos_waiting"
        ),
    );
}

fn all_done(database: &Shared, jobs: usize, nodes: &[&Node]) {
    wait::until(&format!("{jobs} jobs are done"), LIMIT, || {
        let there = rows(
            database,
            "SELECT state, count(*) FROM jos_jobs GROUP BY state ORDER BY state",
        );
        if there == [format!("done|{jobs}")] {
            Ok(())
        } else {
            let said: String = nodes.iter().map(|node| node.log()).collect();
            Err(format!("{there:?}\n{said}"))
        }
    });
}

/// The jobs that ended, over the ledgers of several nodes, each of which must replay.
fn ended(nodes: &[&Node]) -> u64 {
    let reports = nodes.iter().map(|node| node.replays());
    reports.map(|report| report["jobs"]["DONE"].as_u64().unwrap_or(0)).sum()
}

#[test]
fn two_nodes_race_for_a_thousand_jobs_and_each_is_done_once() {
    if !is_queue_wanted() {
        return;
    }
    let database = shared();
    let (one, two) = (Node::on(&database), Node::on(&database));
    let serving = [one.serve(&[]), two.serve(&[])];
    put(&database, "j", 1000);
    all_done(&database, 1000, &[&one, &two]);
    for serving in serving {
        assert_eq!(serving.stop().0, Some(0));
    }
    assert_eq!(ended(&[&one, &two]), 1000, "the two ledgers have each job once");
    assert_eq!(rows(&database, "SELECT DISTINCT attempt FROM jos_jobs"), ["1"]);
    let both = rows(&database, "SELECT count(DISTINCT node) FROM jos_jobs");
    assert_eq!(both, ["2"], "both took jobs");
    assert!(rows(&database, "SELECT node FROM jos_nodes").is_empty());
}

#[test]
fn one_of_two_nodes_is_killed_and_the_other_does_what_it_left() {
    if !is_queue_wanted() {
        return;
    }
    let database = shared();
    let (one, two) = (Node::on(&database), Node::on(&database));
    let dies = one.serve(&["--lease", "1", "--workers", "4"]);
    let lives = two.serve(&["--lease", "1", "--workers", "4"]);
    put(&database, "j", 400);
    wait::until("the first is in the middle of it", LIMIT, || {
        let done = rows(&database, "SELECT count(*) FROM jos_jobs WHERE state = 'done'");
        if done[0].parse::<usize>().unwrap() > 50 {
            Ok(())
        } else {
            Err(done[0].clone())
        }
    });
    dies.kill();
    all_done(&database, 400, &[&one, &two]);
    assert_eq!(lives.stop().0, Some(0));
    // Each has one end that counts; a job that the dead one ended in its ledger alone is in both.
    let (of_one, of_two) = (ended(&[&one]), ended(&[&two]));
    let again = rows(&database, "SELECT count(*) FROM jos_jobs WHERE attempt > 1")[0]
        .parse::<u64>()
        .unwrap();
    assert!(again <= 4, "no more than it was at were taken over: {again}");
    assert!(
        of_one + of_two >= 400 && of_one + of_two <= 400 + again,
        "{of_one} and {of_two}, {again} again"
    );
}

/// An agent that proposes two acts.
const PROPOSER: &str = r#"read -r job
printf '{"propose":{"kind":"acts.now","payload":{"n":1}}}\n'
printf '{"propose":{"kind":"acts.now","payload":{"n":2,"how":"slow"}}}\n{"done":null}\n'
"#;
/// A tool that writes down in a place of its own that it acted, and for the word `slow` never comes back.
const ACTS: &str = r#"$| = 1; my $said = <STDIN>;
if ($said =~ /^\{"validate"/) { print qq({"done":null}\n); exit 0 }
$said =~ /"n":(\d+)/; my $n = $1;
print qq({"send":{"queue":"acted","message":{"n":$n}}}\n); my $sent = <STDIN>;
if ($said =~ /slow/) { my $never = <STDIN>; }
print qq({"done":{"n":$n}}\n);
"#;

#[test]
fn what_a_dead_node_of_another_machine_had_acted_is_gone_on_with_and_not_done_again() {
    if !is_queue_wanted() {
        return;
    }
    let database = shared();
    let (one, two) = (Node::on(&database), Node::on(&database));
    for node in [&one, &two] {
        std::fs::write(node.path("agents/proposer.sh"), PROPOSER).unwrap();
        let agent = json!({
            "kind": "jos.runtime_agent", "name": "proposer", "argv": ["sh", "./proposer.sh"],
            "capabilities": [{ "right": "queue.send", "to": "acted" }],
        });
        std::fs::write(node.path("agents/proposer.json"), agent.to_string()).unwrap();
        std::fs::write(node.path("tools/acts.pl"), ACTS).unwrap();
        let tool = json!({
            "kind": "jos.tool", "name": "acts", "decisions": ["acts.now"], "argv": ["perl", "./acts.pl"],
            "capabilities": [{ "right": "queue.send", "to": "acted" }],
        });
        std::fs::write(node.path("tools/acts.json"), tool.to_string()).unwrap();
    }
    let dies = one.serve(&["--lease", "1"]);
    one.jos(&["submit", "proposer", "--id", "two-acts"]).ok();
    wait::until("the second act is under way", LIMIT, || {
        let acted = rows(&database, "SELECT body FROM jos_messages ORDER BY seq");
        if acted.len() == 2 {
            Ok(())
        } else {
            Err(format!("{acted:?}\n{}", one.log()))
        }
    });
    dies.kill();
    // There the second act comes to its end.
    std::fs::write(
        two.path("tools/acts.pl"),
        ACTS.replace("if ($said =~ /slow/)", "if (0)"),
    )
    .unwrap();
    let lives = two.serve(&["--lease", "1"]);
    assert!(two.comes("outbox/two-acts.json").contains("\"n\":2"));
    let acted = rows(&database, "SELECT body FROM jos_messages ORDER BY seq");
    assert_eq!(
        acted,
        [r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":2}"#],
        "the first is not done again; whether the second was is unknown"
    );
    lives.stop();
    let report = two.replays();
    assert_eq!(
        (&report["decisions"], &report["jobs"]["DONE"]),
        (&json!(2), &json!(1)),
        "{report:#}"
    );
    assert_eq!(report["reruns"][0]["attempt"], 2, "{report:#}");
    one.replays();
}

#[test]
fn a_database_that_restarts_under_load_loses_nothing_and_no_node_ends() {
    if !is_queue_wanted() {
        return;
    }
    let database: Shared = Arc::new(Mutex::new(Database::alone()));
    let (one, two) = (Node::on(&database), Node::on(&database));
    let serving = [one.serve(&["--lease", "2"]), two.serve(&["--lease", "2"])];
    for turn in 0..3 {
        put(&database, &format!("t{turn}-"), 300);
        wait::until("some of them are done", LIMIT, || {
            let done = rows(&database, "SELECT count(*) FROM jos_jobs WHERE state = 'done'");
            if done[0].parse::<usize>().unwrap() >= turn * 300 + 30 {
                Ok(())
            } else {
                Err(done[0].clone())
            }
        });
        database.lock().unwrap().cluster().expect("its own").crash();
    }
    all_done(&database, 900, &[&one, &two]);
    for serving in serving {
        assert_eq!(serving.stop().0, Some(0));
    }
    let again = rows(&database, "SELECT count(*) FROM jos_jobs WHERE attempt > 1");
    assert_eq!(
        again,
        ["0"],
        "an outage is nobody's death\n{}\n{}",
        one.log(),
        two.log()
    );
    assert_eq!(ended(&[&one, &two]), 900);
}

#[test]
fn a_schedule_that_two_nodes_have_fires_once() {
    if !is_queue_wanted() {
        return;
    }
    let database = shared();
    let (one, two) = (Node::on(&database), Node::on(&database));
    for node in [&one, &two] {
        node.jos(&["schedule", "add", "beat", "--agent", "advance", "--every", "1"])
            .ok();
    }
    let serving = [one.serve(&[]), two.serve(&[])];
    wait::until("it has fired four times", LIMIT, || {
        let fired = rows(&database, "SELECT coalesce(max(fired), 0) FROM jos_schedules");
        if fired[0].parse::<usize>().unwrap() >= 4 {
            Ok(())
        } else {
            Err(fired[0].clone())
        }
    });
    for serving in serving {
        serving.stop();
    }
    let (jobs, fired) = (
        rows(&database, "SELECT count(*) FROM jos_jobs"),
        rows(&database, "SELECT fired FROM jos_schedules"),
    );
    assert_eq!(jobs, fired, "a job for each firing, and no other");
}

#[test]
fn who_waits_on_one_machine_hears_what_a_node_on_another_did() {
    if !is_queue_wanted() {
        return;
    }
    let database = shared();
    let (works, asks) = (Node::on(&database), Node::on(&database));
    let serving = works.serve(&[]);
    let done = asks
        .jos(&[
            "submit",
            "advance",
            "--id",
            "far",
            "--input",
            r#"{"note":"far"}"#,
            "--wait",
        ])
        .ok();
    assert!(done.stdout.contains("\"far\""), "{done}");
    asks.jos(&["submit", "advance", "--id", "far"])
        .exits(2)
        .says("one of this id already (it is done)");
    asks.jos(&["submit", "nobody", "--id", "bad", "--wait"])
        .exits(1)
        .says("found no agent named nobody");
    let status = asks.jos(&["status", "--json"]).json();
    assert_eq!((&status["processed"], &status["failed"]), (&json!(1), &json!(1)));
    assert_eq!(status["queue"]["nodes"].as_array().map(Vec::len), Some(1), "{status:#}");
    serving.stop();
}

#[test]
fn after_a_restore_the_sentence_of_the_manual_keeps_what_was_done_since_from_being_done_again() {
    if !is_queue_wanted() {
        return;
    }
    let manual = std::fs::read_to_string(workspace().join("docs/runtime.md")).unwrap();
    let sentence = manual.split('`').find(|code| code.starts_with("UPDATE jos_jobs"));
    let sentence = sentence.expect("docs/runtime.md says what to type after a restore");
    let database = shared();
    let node = Node::on(&database);
    node.jos(&["status"]).ok();
    put(&database, "j", 3);
    rows(
        &database,
        "UPDATE jos_jobs SET state = 'claimed', node = 'gone', attempt = 1 WHERE id = 'j3'",
    );
    rows(&database, "CREATE TABLE earlier AS SELECT * FROM jos_jobs");
    let serving = node.serve(&["--lease", "1"]);
    all_done(&database, 3, &[&node]);
    serving.stop();
    let restore = "TRUNCATE jos_jobs; INSERT INTO jos_jobs OVERRIDING SYSTEM VALUE SELECT * FROM earlier";
    rows(&database, restore);
    rows(&database, sentence);
    put(&database, "new", 1);
    node.jos(&["serve", "--drain", "--lease", "1"]).ok();
    let jobs = rows(&database, "SELECT id, state, reason FROM jos_jobs ORDER BY id");
    let restored = [
        "j1|failed|restored",
        "j2|failed|restored",
        "j3|failed|restored",
        "new1|done|",
    ];
    assert_eq!(jobs, restored);
    assert_eq!(ended(&[&node]), 4, "three before the restore, one after it");
}

#[test]
fn tables_of_a_newer_version_are_refused_and_left_alone() {
    if !is_queue_wanted() {
        return;
    }
    let database = shared();
    let node = Node::on(&database);
    node.jos(&["status"]).ok();
    rows(&database, "UPDATE jos_queue SET version = 99");
    node.jos(&["serve", "--drain"])
        .exits(1)
        .says("found the queue's tables in version 99")
        .says("newer jos");
    assert_eq!(rows(&database, "SELECT version FROM jos_queue"), ["99"]);
}

#[test]
fn a_database_that_is_not_there_or_refuses_is_named_with_what_to_do_and_without_the_password() {
    if !is_queue_wanted() {
        return;
    }
    let node = Node::on(&shared());
    let asked = |url: &str| run(node.command(&["submit", "advance"]).env("JOS_QUEUE_URL", url));
    let away = asked("postgres://jos:s3cret@127.0.0.1:1/work");
    let nothing = asked("mysql://jos:s3cret@db/work");
    let missing = node.jos(&["status", "--json"]).json()["queue"]["place"].clone();
    let missing = missing.as_str().unwrap_or_default().to_owned();
    let socket = missing
        .trim_start_matches("postgres://")
        .split(':')
        .next()
        .unwrap_or_default()
        .to_owned();
    let missing = asked(&format!(
        "postgres://hub:s3cret@localhost/no_such_database?host={socket}"
    ));
    for (ran, code, words) in [
        (&away, 1, "cannot be reached"),
        (&nothing, 2, "found the scheme mysql"),
        (&missing, 1, "CREATE DATABASE"),
    ] {
        ran.clone().exits(code).says(words);
        assert!(!ran.to_string().contains("s3cret"), "{ran}");
    }
    assert!(
        node.names("inbox").is_empty(),
        "nothing went into the directory instead"
    );
}

#[test]
fn a_queue_that_is_reached_over_tls_is_believed_by_its_certificate_and_its_name_alone() {
    if !is_queue_wanted() {
        return;
    }
    let (own, other) = (Pair::of(&["localhost"]), Pair::of(&["localhost"]));
    let (_cluster, port) = Cluster::over_tls(&own.certificate_pem, &own.key_pem);
    let node = Node::new();
    let say = |words: &[&str], host: &str, how: &str| {
        let url = format!("postgres://hub@{host}:{port}/postgres?{how}");
        run(node.command(words).env("JOS_QUEUE_URL", url))
    };
    let full = |pair: &Pair| format!("sslmode=verify-full&sslrootcert={}", pair.ca().display());
    for (host, how, expected) in [
        ("localhost", full(&other), "UnknownIssuer"),
        ("localhost", "sslmode=verify-full".to_owned(), "UnknownIssuer"),
        ("127.0.0.1", full(&own), "not valid for name"),
        ("localhost", "sslmode=disable".to_owned(), "no encryption"),
    ] {
        for words in [
            &["submit", "advance", "--id", "j"][..],
            &["serve", "--drain"],
            &["status"],
        ] {
            say(words, host, &how).exits(1).says(expected);
        }
        assert!(
            node.names("inbox").is_empty(),
            "nothing went into the directory instead"
        );
    }
    let good = full(&own);
    say(&["submit", "advance", "--id", "j"], "localhost", &good).ok();
    say(&["serve", "--drain"], "localhost", &good).ok();
    let status = say(&["status", "--json"], "localhost", &good).ok().json();
    assert_eq!(status["processed"], 1, "{status:#}");
    assert_eq!(node.replays()["decisions"], 1);
}

#[test]
fn a_program_without_postgresql_refuses_the_url_by_name_and_never_takes_the_directory() {
    if is_queue_wanted() {
        return;
    }
    let node = Node::new();
    for words in [
        &["submit", "advance"][..],
        &["serve", "--drain"],
        &["status"],
        &["watch"],
        &["console"],
    ] {
        let ran = run(node
            .command(words)
            .env("JOS_QUEUE_URL", "postgres://jos:s3cret@db/work"));
        ran.clone().exits(2).says("JOS_QUEUE_URL");
        assert!(!ran.to_string().contains("s3cret"), "{ran}");
    }
    assert!(node.names("inbox").is_empty());
    let status: Value = node.jos(&["status", "--json"]).json();
    assert_eq!(status["inbox"], 0);
}
