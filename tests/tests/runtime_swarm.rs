//! Four nodes on one directory, killed at random all the while: each job is done, the ledger is one chain, the replay agrees.

use std::process::Command;
use std::time::Duration;

use jos_tests::command::run;
use jos_tests::node::Node;
use jos_tests::programs::{jos, jos_path};
use jos_tests::wait;
use serde_json::json;

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

/// Gives four nodes so many jobs in `KILLS` portions, and kills one at random in the middle of each.
fn works_off(jobs: usize, seed: u64) {
    let mut dice = Dice(seed);
    let node = Node::new();
    let begin = || node.serve(&["--lease", "2", "--workers", "4"]);
    let mut serving: Vec<_> = (0..NODES).map(|_| begin()).collect();
    let portion = jobs / KILLS;
    for turn in 0..KILLS {
        for number in turn * portion..(turn + 1) * portion {
            node.drop_in(&format!("j{number}.json"), r#"{"agent":"advance","input":{}}"#);
        }
        // In the middle of this portion, wherever that is.
        let some = turn * portion + dice.below(portion);
        wait::until("the nodes are at work", LONG, || {
            let done = node.names("outbox").len();
            if done >= some {
                Ok(())
            } else {
                Err(format!("{done} of {some}\n{}", node.log()))
            }
        });
        let victim = dice.below(NODES);
        serving.swap_remove(victim).kill();
        serving.push(begin());
    }
    let all = portion * KILLS;
    wait::until("all jobs are done", LONG, || {
        let (done, claimed) = (node.names("outbox").len(), node.names("claimed").len());
        if done == all && claimed == 0 {
            Ok(())
        } else {
            Err(format!(
                "seed {seed}: {done} of {all}, {claimed} claimed\n{}",
                node.log()
            ))
        }
    });
    for one in serving {
        one.stop();
    }
    assert_eq!(node.names("failed"), Vec::<String>::new());
    for number in 0..all {
        let result = node.text(&format!("outbox/j{number}.json")).expect("a result");
        assert!(result.contains("\"DONE\""), "{result}");
    }
    let report = node.replays();
    assert_eq!(report["jobs"], json!({ "DONE": all }), "seed {seed}: {report:#}");
    assert_eq!((&report["unfinished"], &report["chain"]), (&json!(0), &json!("intact")));
    // A job is run again only where its node was killed at it.
    let again = report["reruns"].as_array().map_or(0, Vec::len);
    println!(
        "{all} jobs, {KILLS} kills, {again} jobs gone on with, {} decisions",
        report["decisions"]
    );
    assert!(again <= KILLS * 4, "{again} reruns");
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
