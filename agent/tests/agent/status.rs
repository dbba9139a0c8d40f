//! What `jos agent status` says while one process follows another.

use std::fs::{self, File};
use std::io::Write;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::home::{Home, artifact, shell, text};

/// A process that does nothing, ended with the test.
struct Idle(Child);

impl Idle {
    fn start() -> Self {
        let child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn();
        Self(child.unwrap())
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_words_of_an_earlier_process_are_never_shown_as_those_of_the_one_that_starts() {
    let home = Home::new();
    home.write("hello.jos", artifact("hello", json!({ "a": shell("exit 3") }), &["a"]));
    assert!(home.install("hello.jos", &[]).status.success());
    let before = home.until("hello", "it waits", |s| s["phase"] == "waiting");
    assert!(
        before["trouble"].is_string() && before["flow"]["ok"] == false,
        "{before:#}"
    );

    // Ended with its supervisor, it leaves its words and its lock file.
    let run = home.path("state/hello/run");
    let supervisor = fs::read_to_string(run.join("supervisor.lock")).unwrap();
    kill(Pid::from_raw(supervisor.trim().parse().unwrap()), Signal::SIGTERM).unwrap();
    let stopped = home.until("hello", "it is gone", |s| s["state"] == "stopped");
    assert_eq!((&stopped["pid"], &stopped["phase"]), (&Value::Null, &Value::Null));
    assert_eq!(stopped["flow"], before["flow"], "how it ended can still be read");

    // The next process has the lock: first the file still names the old one, then it names nobody, then the new one.
    let mut lock = File::options().write(true).open(run.join("lock")).unwrap();
    lock.lock().unwrap();
    let next = Idle::start();
    let starting = |said: Value| {
        let output = home.jos(&["agent", "status", "hello", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert_eq!(
            (&status["state"], &status["pid"]),
            (&json!("starting"), &said),
            "{status:#}"
        );
        for word in ["phase", "turns", "next_wake", "fetcher", "flow", "trouble", "since"] {
            assert_eq!(status[word], Value::Null, "{word}: {status:#}");
        }
        assert_eq!(
            status["ledger"], before["ledger"],
            "the ledger is the agent's, not the process's"
        );
        let list: Value = serde_json::from_str(&home.ok(&["agent", "list", "--json"])).unwrap();
        let own = list["agents"].as_array().unwrap().iter().find(|a| a["name"] == "hello");
        assert_eq!(own.unwrap()["state"], "starting", "{list:#}");
    };
    starting(Value::Null);
    lock.set_len(0).unwrap();
    starting(Value::Null);
    write!(lock, "{}", next.0.id()).unwrap();
    starting(json!(next.0.id()));

    // Its first words make it one that runs.
    let words = run.join("status.json");
    let mut live: Value = serde_json::from_slice(&fs::read(&words).unwrap()).unwrap();
    live["pid"] = json!(next.0.id());
    live["phase"] = json!("recovering");
    fs::write(&words, live.to_string()).unwrap();
    let running = home.status("hello");
    assert_eq!(
        (&running["state"], &running["phase"]),
        (&json!("running"), &json!("recovering")),
        "{running:#}"
    );
    drop(lock);
    assert_eq!(home.status("hello")["state"], "stopped");
}
