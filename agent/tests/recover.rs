//! `jos agent recover`, driven as at a shell: an apply of the running machine is killed in the middle.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// A desk, and a folder of the running machine that an agent of its own looks after.
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
        let grant = json!({ "files": [bench.at("srv/**")], "shell": [bench.halt()] });
        let policy = json!({ "kind": "jos.policy", "grants": { "local": grant } });
        fs::write(bench.path("policy.json"), policy.to_string()).expect("written");
        let config = format!(
            "name = \"desk\"\npolicy = {:?}\ntrust = {:?}\nstate_dir = {:?}\nsecrets = {:?}\n",
            bench.at("policy.json"),
            bench.at("trust.json"),
            bench.at("data"),
            bench.at("secrets")
        );
        fs::write(bench.path("agent.toml"), config).expect("written");
        bench
    }

    /// The folder without a link in it: the plane follows none.
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().expect("there").join(name)
    }

    fn at(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// A command that says that it has begun, and then waits until somebody opens the other end.
    fn halt(&self) -> String {
        format!("echo begun >{}; exec cat {}", self.at("begun"), self.at("end"))
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jos"));
        command.args(line.split(' ')).current_dir(self.dir.path());
        command
    }

    fn run(&self, line: &str) -> (Option<i32>, String) {
        let Output { status, stdout, stderr } = self.command(line).output().expect("it runs");
        let said = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (status.code(), said.concat())
    }

    fn ok(&self, line: &str) -> String {
        let (code, said) = self.run(line);
        assert_eq!(code, Some(0), "jos {line}\n{said}");
        said
    }

    fn content(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Applies a change of `srv/a` and a new `srv/b`, and kills it when both stand.
    fn die_in_the_middle(&self) {
        for pipe in ["begun", "end"] {
            nix::unistd::mkfifo(&self.path(pipe), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        }
        fs::write(self.path("srv/a"), "old\n").expect("written");
        let steps = json!([
            { "type": "file", "path": self.at("srv/a"), "content": "new\n" },
            { "type": "file", "path": self.at("srv/b"), "content": "new\n" },
            { "type": "shell", "command": self.halt() },
        ]);
        let state = json!({ "kind": "jos.agent.desired_state", "meta": { "name": "desk", "version": 1 },
                            "spec": { "apply": steps } });
        fs::write(self.path("state.json"), state.to_string()).expect("written");
        self.ok("sign --key desk.key state.json");
        let mut apply = self
            .command(
                "agent apply state.json --policy policy.json --trust trust.json --state-dir data --secrets secrets",
            )
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        // Opening the pipe waits for the command.
        assert_eq!(self.content("begun"), "begun\n");
        apply.kill().expect("killed");
        apply.wait().expect("waited for");
        // The command that it left alone ends.
        drop(fs::File::options().write(true).open(self.path("end")).expect("opened"));
        assert_eq!(
            (self.content("srv/a"), self.content("srv/b")),
            ("new\n".into(), "new\n".into())
        );
    }
}

#[test]
fn recover_with_files_puts_the_files_back_without_policy_or_trust_and_leaves_the_rest_to_the_agent() {
    let bench = Bench::new();
    assert!(
        bench
            .ok("agent recover --files --config agent.toml")
            .contains("nothing to recover")
    );
    assert!(!bench.path("data").exists(), "where nothing is, nothing is made");
    bench.die_in_the_middle();
    // Neither can be read early at boot, and a broken one must not keep the old files away.
    fs::write(bench.path("policy.json"), "broken").expect("written");
    fs::rename(bench.path("trust.json"), bench.path("away.json")).expect("moved");
    let said = bench.ok("agent recover --files --config agent.toml --json");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said, json!({ "recovered": true, "left": [] }));
    assert_eq!(bench.content("srv/a"), "old\n");
    assert!(!bench.path("srv/b").exists());
    // Once more does no harm; the trial is still open, and the ledger has no outcome yet.
    bench.ok("agent recover --files --config agent.toml");
    assert!(bench.path("data/desk/journal/trial.json").exists());
    assert_eq!(
        bench.run("agent recover --config agent.toml").0,
        Some(2),
        "the rest needs the policy"
    );

    let grant = json!({ "files": [bench.at("srv/**")], "shell": [bench.halt()] });
    let policy = json!({ "kind": "jos.policy", "grants": { "local": grant } });
    fs::write(bench.path("policy.json"), policy.to_string()).expect("written");
    fs::rename(bench.path("away.json"), bench.path("trust.json")).expect("moved");
    let whole = bench.ok("agent recover --config agent.toml --json");
    assert!(
        whole.contains("rolled_back") && whole.contains("interrupted before it was confirmed"),
        "{whole}"
    );
    assert!(!bench.path("data/desk/journal/trial.json").exists());
    bench.ok("ledger verify desk --state-dir data");
    assert!(
        bench
            .ok("agent recover --config agent.toml")
            .contains("nothing to recover")
    );
}
