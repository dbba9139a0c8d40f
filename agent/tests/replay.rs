//! `jos replay` and `jos agent diff` of an agent that manages the running machine, driven as at a shell.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

/// A folder of this machine under an agent of its own: a file, a secret, a link.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            dir: tempfile::tempdir().expect("a directory"),
        };
        for folder in ["srv", "secrets"] {
            fs::create_dir(bench.path(folder)).expect("made");
        }
        bench.ok("key new --out desk.key --id desk");
        bench.ok("trust init --key desk.key --out trust.json");
        let policy = json!({ "kind": "jos.policy", "grants": { "local": { "files": [bench.at("srv/**")] } } });
        fs::write(bench.path("policy.json"), policy.to_string()).expect("written");
        fs::write(bench.path("secrets/wifi"), "hunter2").expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(bench.path("secrets/wifi"), mode).expect("set");
        let steps = json!([
            { "type": "file", "path": bench.at("srv/motd"), "content": "hello\n" },
            { "type": "file", "path": bench.at("srv/wpa.conf"), "content": { "secret": "wifi" } },
            { "type": "link", "path": bench.at("srv/current"), "target": "motd" },
        ]);
        let state = json!({ "kind": "jos.agent.desired_state", "meta": { "name": "desk", "version": 1 },
                            "spec": { "apply": steps } });
        fs::write(bench.path("state.json"), state.to_string()).expect("written");
        bench.ok("sign --key desk.key state.json");
        bench.ok("agent apply state.json --policy policy.json --trust trust.json --state-dir data --secrets secrets");
        bench
    }

    /// The folder without a link in it: the plane follows none.
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().expect("there").join(name)
    }

    fn at(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn run(&self, line: &str) -> (Option<i32>, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_jos"))
            .args(line.split(' '))
            .env("HOME", self.dir.path())
            .current_dir(self.dir.path())
            .output()
            .expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    fn ok(&self, line: &str) -> String {
        let (code, out, err) = self.run(line);
        assert_eq!(code, Some(0), "jos {line}\n{out}{err}");
        out
    }

    /// What replay wrote for a managed file.
    fn rebuilt(&self, into: &str, name: &str) -> String {
        let path = self.at(name);
        fs::read_to_string(self.path(into).join("tree").join(path.trim_start_matches('/'))).expect("rebuilt")
    }
}

#[test]
fn replay_of_an_agent_by_name_is_held_against_the_running_machine() {
    let bench = Bench::new();
    let value: Value = serde_json::from_str(&bench.ok("replay desk --state-dir data --json")).expect("JSON");
    assert_eq!(value["tree"], json!({ "root": "/", "differences": [] }), "{value:#}");
    fs::write(bench.path("srv/motd"), "somebody else\n").expect("written");
    let (code, out, err) = bench.run("replay desk --state-dir data");
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(out.contains(&bench.at("srv/motd")), "{out}");
}

#[test]
fn replay_writes_a_marker_for_a_secret_and_its_value_only_when_asked() {
    let bench = Bench::new();
    bench.ok("replay --ledger data/desk --into plain");
    assert_eq!(bench.rebuilt("plain", "srv/motd"), "hello\n");
    let marker = bench.rebuilt("plain", "srv/wpa.conf");
    assert!(!marker.contains("hunter2") && marker.contains("wifi"), "{marker}");
    bench.ok("replay --ledger data/desk --into full --with-secrets --secrets secrets");
    assert_eq!(bench.rebuilt("full", "srv/wpa.conf"), "hunter2");
    assert_eq!(bench.rebuilt("full", "srv/motd"), "hello\n");
}
