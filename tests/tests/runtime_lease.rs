//! A lease by its beat alone: of a node on a machine whose locks are not seen here, only that it beats says that it lives.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use jos_tests::node::Node;
use jos_tests::postgres::is_queue_wanted;
use serde_json::json;

const DAY: Duration = Duration::from_secs(86_400);
const LONG_AGO: SystemTime = SystemTime::UNIX_EPOCH;

/// Says of itself what a node elsewhere does, with a clock that is far off.
fn beats(path: &Path, beat: u64, at: SystemTime) {
    let temp = path.with_extension("new");
    let lease = json!({ "pid": 1, "boot": "another start of another machine", "beat": beat });
    fs::write(&temp, lease.to_string()).expect("a file");
    File::options()
        .write(true)
        .open(&temp)
        .and_then(|file| file.set_modified(at))
        .expect("its time");
    fs::rename(&temp, path).expect("a file");
}

/// A node elsewhere that has claimed a job.
fn claims(node: &Node, name: &str, at: SystemTime) -> PathBuf {
    let path = node.path(&format!("state/nodes/{name}.json"));
    beats(&path, 1, at);
    let temp = node.path("claimed/.new");
    fs::write(&temp, r#"{"agent":"advance"}"#).expect("a file");
    fs::rename(&temp, node.path(&format!("claimed/of-{name}@{name}.1.json"))).expect("a file");
    path
}

/// Beats until it is told to end.
struct Beating {
    end: Sender<()>,
    thread: JoinHandle<u64>,
}

impl Beating {
    fn start(path: PathBuf) -> Self {
        let (end, ended) = channel();
        let thread = std::thread::spawn(move || {
            let mut beat = 1;
            while ended.recv_timeout(Duration::from_millis(100)) == Err(RecvTimeoutError::Timeout) {
                beat += 1;
                beats(&path, beat, LONG_AGO);
            }
            beat
        });
        Self { end, thread }
    }

    fn stop(self) -> u64 {
        drop(self.end);
        self.thread.join().expect("it ends")
    }
}

#[test]
fn a_node_that_stops_beating_loses_its_job_and_one_that_beats_does_not_whatever_the_clock_says() {
    if is_queue_wanted() {
        // In a database beats are rows; runtime_queue has that.
        return;
    }
    let node = Node::new();
    let lives = Beating::start(claims(&node, "lives", LONG_AGO));
    let serving = node.serve(&["--lease", "2"]);
    // Each stands still for the whole lease before it is held to be dead: three leases in which the other one beats.
    for name in ["still-1", "still-2", "still-3"] {
        let far = SystemTime::UNIX_EPOCH + 50_000 * DAY;
        claims(&node, name, far);
        assert!(node.comes(&format!("outbox/of-{name}.json")).contains("DONE"));
        assert!(!node.path(&format!("state/nodes/{name}.json")).exists(), "it is buried");
        assert!(node.path("claimed/of-lives@lives.1.json").exists(), "{}", node.log());
    }
    assert!(lives.stop() > 20, "it beat all the while");
    assert!(node.comes("outbox/of-lives.json").contains("DONE"));
    serving.stop();
    let report = node.replays();
    let again = report["reruns"].as_array().expect("a list");
    assert_eq!(again.len(), 4, "{report:#}");
    assert!(again.iter().all(|one| one["attempt"] == 2), "{report:#}");
}
