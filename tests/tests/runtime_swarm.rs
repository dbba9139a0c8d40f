//! Four nodes on one directory, killed at random all the while: each job is done, the ledger is one chain, the replay agrees.
//! With `JOS_TEST_QUEUE=postgres` each has a directory of its own, and the jobs are in one database.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jos_tests::command::run;
use jos_tests::node::{Node, Serving};
use jos_tests::postgres::{Database, is_queue_wanted};
use jos_tests::programs::{jos, jos_path};
use jos_tests::wait;
use serde_json::Value;

const NODES: usize = 4;
/// Kills in a run, spread over it.
const KILLS: usize = 40;
const LONG: Duration = Duration::from_secs(600);

/// A small generator of its own (xorshift64): a run is known by its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % most as u64).expect("it is below an usize")
    }
}

/// Four nodes: on one directory, or each on its own and on one database.
struct Hive {
    nodes: Vec<Node>,
    database: Option<Arc<Mutex<Database>>>,
}

impl Hive {
    fn new() -> Self {
        let database = is_queue_wanted().then(|| Arc::new(Mutex::new(Database::fresh())));
        let nodes = match &database {
            Some(database) => (0..NODES).map(|_| Node::on(database)).collect(),
            None => vec![Node::new()],
        };
        Self { nodes, database }
    }

    /// Whose directory the n-th has.
    fn of(&self, n: usize) -> &Node {
        &self.nodes[n % self.nodes.len()]
    }

    fn begin(&self, n: usize) -> Serving {
        self.of(n).serve(&["--lease", "2", "--workers", "4"])
    }

    fn rows(&self, sql: &str) -> Option<Vec<String>> {
        let database = self.database.as_ref()?;
        Some(database.lock().expect("no thread panicked with it").rows(sql))
    }

    /// How many jobs ended. A database forgets the oldest, and counts them all.
    fn ended(&self) -> usize {
        match self.rows("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM jos_ends") {
            Some(rows) => rows.first().and_then(|row| row.parse().ok()).unwrap_or_default(),
            None => self.nodes[0].names("outbox").len(),
        }
    }

    fn log(&self) -> String {
        self.nodes.iter().map(Node::log).collect()
    }

    /// Each job that there was has its result.
    fn has_results(&self, all: usize) {
        let wrong = "SELECT id FROM jos_jobs WHERE state <> 'done' OR result NOT LIKE '%\"DONE\"%'";
        if let Some(wrong) = self.rows(wrong) {
            assert_eq!(wrong, Vec::<String>::new());
            return;
        }
        for number in 0..all {
            let result = self.nodes[0].text(&format!("outbox/j{number}.json")).expect("a result");
            assert!(result.contains("\"DONE\""), "{result}");
        }
    }
}

/// Gives four nodes so many jobs in `KILLS` portions, and kills one at random in the middle of each.
fn works_off(jobs: usize, seed: u64) {
    let mut dice = Dice(seed);
    let hive = Hive::new();
    let mut serving: Vec<_> = (0..NODES).map(|n| hive.begin(n)).collect();
    let portion = jobs / KILLS;
    for turn in 0..KILLS {
        for number in turn * portion..(turn + 1) * portion {
            let job = r#"{"agent":"advance","input":{}}"#;
            hive.of(number).drop_in(&format!("j{number}.json"), job);
        }
        // In the middle of this portion, wherever that is.
        let some = turn * portion + dice.below(portion);
        wait::until("the nodes are at work", LONG, || match hive.ended() {
            done if done >= some => Ok(()),
            done => Err(format!("{done} of {some}\n{}", hive.log())),
        });
        let victim = dice.below(NODES);
        serving.remove(victim).kill();
        serving.insert(victim, hive.begin(victim));
    }
    let all = portion * KILLS;
    wait::until("all jobs are done", LONG, || {
        let (done, claimed) = (hive.ended(), hive.nodes[0].names("claimed").len());
        if done == all && claimed == 0 {
            Ok(())
        } else {
            Err(format!(
                "seed {seed}: {done} of {all}, {claimed} claimed\n{}",
                hive.log()
            ))
        }
    });
    for one in serving {
        one.stop();
    }
    for node in &hive.nodes {
        assert_eq!(node.names("failed"), Vec::<String>::new());
    }
    hive.has_results(all);
    let reports: Vec<Value> = hive.nodes.iter().map(Node::replays).collect();
    let ended = |report: &Value| report["jobs"]["DONE"].as_u64().unwrap_or_default();
    let ended: u64 = reports.iter().map(ended).sum();
    let (mut again, mut unfinished) = (0, 0);
    for report in &reports {
        assert_eq!(report["chain"], "intact", "seed {seed}: {report:#}");
        again += report["reruns"].as_array().map_or(0, Vec::len);
        unfinished += report["unfinished"].as_u64().unwrap_or_default();
    }
    println!(
        "{all} jobs, {KILLS} kills, {again} jobs gone on with, {ended} ends in {} ledgers",
        reports.len()
    );
    // A job is run again only where its node was killed at it.
    let most = KILLS * 4;
    assert!(again <= most, "{again} reruns");
    if hive.database.is_none() {
        assert_eq!((ended, unfinished), (all as u64, 0), "seed {seed}");
    } else {
        // Who was killed when its job had ended, and before the database heard of it, has an end that another has too; who was
        // killed at a job that another took over has one that never ends.
        let most = most as u64;
        assert!(
            (all as u64..=all as u64 + most).contains(&ended),
            "seed {seed}: {ended} ends"
        );
        assert!(unfinished <= most, "seed {seed}: {unfinished} that never end");
    }
}

#[test]
fn four_nodes_that_are_killed_at_random_do_each_of_two_thousand_jobs() {
    works_off(2_000, 0x9e37_79b9_7f4a_7c15);
}

#[test]
#[ignore = "soak: a hundred thousand jobs"]
fn four_nodes_that_are_killed_at_random_do_each_of_a_hundred_thousand_jobs() {
    works_off(100_000, 0x2545_f491_4f6c_dd1d);
}

#[test]
fn the_hive_of_the_examples_is_replayed_without_a_model_and_each_culprit_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    run(jos()
        .args(["runtime", "init", "--with-examples", "--data-dir"])
        .arg(&data))
    .ok();
    let (path, programs) = (std::env::var("PATH").unwrap_or_default(), jos_path());
    let programs = programs.parent().expect("a folder");
    let mut hive = Command::new("sh");
    hive.arg(data.join("swarm/run.sh"))
        .env("PATH", format!("{}:{path}", programs.display()))
        .env("JOS_DATA_DIR", &data)
        .env_remove("JOS_LLM");
    let replayed = run(&mut hive).ok().stdout;
    for said in [
        "12 decisions of 3 agents in 65 records, model calls: 0",
        "byte-identical: yes   deterministic: yes",
        "chain: intact",
        "failed: agent planner, job plan-3 by decision plan-3-1",
        "verdict: agent reviewer, job review-2 by decision review-2-1",
    ] {
        assert!(replayed.contains(said), "{said}: {replayed}");
    }
}
