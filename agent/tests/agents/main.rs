//! Agents of a node, driven as at a shell: the examples, the kit, and programs that mean harm.

mod forms;
mod hostile;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

/// A data directory and the program.
struct Node {
    dir: tempfile::TempDir,
}

impl Node {
    fn new(words: &[&str]) -> Self {
        let node = Self {
            dir: tempfile::tempdir().expect("a directory"),
        };
        node.ok(&[&["runtime", "init"], words].concat());
        node
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jos"));
        command
            .args(words)
            .current_dir(self.dir.path())
            .env("JOS_DATA_DIR", self.data());
        command
            .env("JOS_PROGRAM_SECONDS", "5")
            .env("JOS_TEST_SECRET", "s3cret")
            .env_remove("JOS_LLM");
        command.output().expect("the program runs")
    }

    fn ok(&self, words: &[&str]) -> Value {
        let output = self.run(&[&["--json"], words].concat());
        let shown = format!("{words:?}: {output:?}");
        assert_eq!(output.status.code(), Some(0), "{shown}");
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    fn put(&self, file: &str, content: &str) {
        let path = self.data().join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("written");
    }

    /// The verdicts of all cases, failed ones too.
    fn eval(&self) -> (Option<i32>, Value) {
        let output = self.run(&["--json", "eval"]);
        let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
        (output.status.code(), value)
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
            fs::copy(entry.path(), to).expect("copied");
        }
    }
}

fn passed(value: &Value) -> u64 {
    assert_eq!(value["ok"], json!(true), "{value:#}");
    value["passed"].as_u64().expect("a number")
}

#[test]
fn the_examples_pass_their_own_evals() {
    let node = Node::new(&["--with-examples"]);
    let (code, value) = node.eval();
    assert_eq!(passed(&value), 9);
    assert_eq!(code, Some(0));
    let left: Vec<_> = fs::read_dir(node.data().join("state"))
        .expect("a folder")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("eval-"))
        .collect();
    assert_eq!(left, Vec::<String>::new(), "an eval leaves nothing behind");
    assert!(
        !node.data().join("artifacts/inventory.txt").exists(),
        "an eval is isolated from the node's data"
    );
}

#[test]
fn the_kits_templates_pass_unmodified() {
    let node = Node::new(&[]);
    copy(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/agent-kit/template"),
        &node.data(),
    );
    let (_, value) = node.eval();
    assert_eq!(passed(&value), 8);
}

#[test]
fn a_case_without_a_check_and_one_that_differs_fail_by_name() {
    let node = Node::new(&[]);
    let case = |name: &str, expect: Value| {
        json!({ "kind": "jos.eval", "name": name, "agent": "advance",
            "input": { "events": ["start", "complete"] }, "expect": expect })
        .to_string()
    };
    node.put("evals/empty.json", &case("empty", json!({})));
    node.put("evals/good.json", &case("good", json!({ "state": "DONE" })));
    node.put(
        "evals/wrong.json",
        &case("wrong", json!({ "state": "FAILED", "reason": "x" })),
    );
    let (code, value) = node.eval();
    assert_eq!(code, Some(1));
    assert_eq!(
        (value["passed"].as_u64(), value["failed"].as_u64()),
        (Some(1), Some(2)),
        "{value:#}"
    );
    let text = value.to_string();
    assert!(text.contains("at least one"), "{text}");
    assert!(
        text.contains("state: found \\\"DONE\\\", expected \\\"FAILED\\\""),
        "{text}"
    );
    assert_eq!(node.run(&["eval", "nobody"]).status.code(), Some(2));
    node.ok(&["eval", "good"]);
}

#[test]
fn an_agent_of_each_form_is_added_and_works_and_one_that_cannot_be_loaded_is_not_put_there() {
    let node = Node::new(&[]);
    let kit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/agent-kit/template/agents");
    let file = |name: &str| kit.join(name).display().to_string();
    assert_eq!(node.ok(&["add-agent", &file("judge.jos")])["agent"], "judge");
    node.ok(&["add-agent", &file("first.wat"), "--name", "second"]);
    node.ok(&["add-agent", &file("doubler.sh"), "--name", "twice"]);
    assert_eq!(
        node.run(&["add-agent", &file("judge.jos")]).status.code(),
        Some(2),
        "it is there already"
    );
    node.put("../bad.wat", "(module)");
    assert_eq!(node.run(&["add-agent", "bad.wat"]).status.code(), Some(2));
    assert!(!node.data().join("agents/bad.json").exists());
    for (agent, input) in [
        ("judge", r#"{"text":"accept"}"#),
        ("second", r#"{"go":true}"#),
        ("twice", r#"{"n":4}"#),
    ] {
        node.ok(&["submit", agent, "--id", agent, "--input", input]);
    }
    node.ok(&["serve", "--drain"]);
    for agent in ["judge", "second", "twice"] {
        let result = fs::read_to_string(node.data().join(format!("outbox/{agent}.json")));
        let result = result.unwrap_or_else(|e| panic!("{agent}: {e}"));
        assert!(result.contains("DONE"), "{result}");
    }
}
