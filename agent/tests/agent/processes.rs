//! The agent's processes: killed, stopped, doubled.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::home::{Home, artifact, send, shell, text};

#[test]
fn a_killed_agent_is_started_again_and_takes_its_network_half_with_it() {
    let home = Home::new();
    fs::create_dir(home.path("www")).unwrap();
    let state = home.state("keeper", 1, &home.path("www/a"), "one\n");
    assert!(home.install(&state, &["--trust", "trust.json"]).status.success());
    let before = home.until("keeper", "it keeps version 1", |s| {
        s["phase"] == "waiting" && s["fetcher"].is_u64() && s["version"] == 1
    });
    send(&before, "pid", Signal::SIGKILL);
    let after = home.until("keeper", "it runs again", |s| {
        s["phase"] == "waiting" && s["fetcher"].is_u64() && s["pid"] != before["pid"]
    });
    assert_ne!(after["fetcher"], before["fetcher"], "{after:#}");
    assert_eq!(after["version"], 1, "{after:#}");
    let gone = |pid: &Value| fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |s| s.contains(") Z "));
    home.until("keeper", "the old network half is gone", |_| gone(&before["fetcher"]));

    // The network half alone: noticed, started again, the agent stays.
    send(&after, "fetcher", Signal::SIGKILL);
    let again = home.until("keeper", "another network half", |s| {
        s["fetcher"].is_u64() && s["fetcher"] != after["fetcher"]
    });
    assert_eq!(again["pid"], after["pid"], "{again:#}");
    assert_eq!(again["fetcher_restarts"], 1, "{again:#}");
}

#[test]
fn a_stop_takes_less_than_a_second_also_while_a_command_runs_and_ends_the_command() {
    let home = Home::new();
    let marker = home.path("pid");
    let command = format!(
        "trap '' TERM; echo $$ > {}; while :; do sleep 1; done",
        marker.display()
    );
    home.write("slow.jos", artifact("slow", json!({ "a": shell(command) }), &["a"]));
    assert!(home.install("slow.jos", &[]).status.success());
    let child = home.until("slow", "the command runs", |_| {
        fs::read_to_string(&marker).is_ok_and(|t| t.ends_with('\n'))
    });
    assert_eq!(child["phase"], "running the flow", "{child:#}");
    let pid: i32 = fs::read_to_string(&marker).unwrap().trim().parse().unwrap();
    let started = Instant::now();
    home.ok(&["agent", "uninstall", "slow"]);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    let gone = kill(Pid::from_raw(pid), None).is_err()
        || fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |s| s.contains(") Z "));
    assert!(gone, "the command still runs");
    assert!(home.path("state/slow").exists(), "without --purge the data stays");
}

#[test]
fn a_second_agent_of_the_same_name_is_refused_and_names_the_first() {
    let home = Home::new();
    home.write("hello.jos", artifact("hello", json!({ "a": shell("true") }), &["a"]));
    assert!(home.install("hello.jos", &[]).status.success());
    let status = home.until("hello", "it waits", |s| s["phase"] == "waiting");
    let second = home.jos(&["agent", "run", "--config", ".jos/agents/hello/agent.toml"]);
    assert_eq!(second.status.code(), Some(1), "{}", text(&second));
    assert!(
        text(&second).contains(&format!("process {}", status["pid"])),
        "{}",
        text(&second)
    );
}
