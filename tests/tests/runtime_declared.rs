//! What `[runtime]` of an agent.toml declares for the node that the device's daemon runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use jos_tests::command::run;
use jos_tests::programs::jos;
use jos_tests::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

/// A daemon in a folder, with a node.
struct Device {
    dir: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Device {
    fn new(tables: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let device = Self { dir, daemon: None };
        fs::write(device.path("policy.toml"), "kind = \"jos.policy\"\n").expect("written");
        device.config("", tables);
        device
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().canonicalize().expect("it is there").join(below)
    }

    /// `top` stands before `[runtime]`, `tables` below it; `@` is the folder.
    fn config(&self, top: &str, tables: &str) {
        let text = format!(
            "name = \"ai-box\"\npolicy = \"@/policy.toml\"\nstate_dir = \"@/plane\"\nsecrets = \"@/secrets\"\n{top}\n\
             [runtime]\ndata_dir = \"@/node\"\n{tables}"
        );
        let here = self.path("").display().to_string();
        fs::write(self.path("agent.toml"), text.replace('@', here.trim_end_matches('/'))).expect("written");
    }

    fn start(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .expect("a log");
        let mut command = jos();
        command.args(["agent", "run", "--config"]).arg(self.path("agent.toml"));
        command
            .env_remove("JOS_LLM")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.daemon = Some(command.spawn().expect("jos starts"));
    }

    fn reload(&self) {
        let daemon = self.daemon.as_ref().expect("it runs").id();
        kill(Pid::from_raw(i32::try_from(daemon).expect("fits")), Signal::SIGHUP).expect("told");
    }

    fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = kill(
                Pid::from_raw(i32::try_from(daemon.id()).expect("fits")),
                Signal::SIGTERM,
            );
            let _ = daemon.wait();
        }
    }

    fn status(&self) -> Value {
        let status = fs::read(self.path("node/status.json")).unwrap_or_default();
        serde_json::from_slice(&status).unwrap_or_default()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    #[track_caller]
    fn has(&self, what: &str, holds: impl Fn(&Value) -> bool) {
        wait::until(what, LIMIT, || {
            let status = self.status();
            if status["serving"] == true && holds(&status) {
                Ok(())
            } else {
                Err(format!("{status:#}\n{}", self.log()))
            }
        });
    }

    fn submit(&self, id: &str, job: &Value) {
        let new = self.path("node/inbox/.new");
        fs::write(&new, job.to_string()).expect("the inbox can be written");
        fs::rename(new, self.path(&format!("node/inbox/{id}.json"))).expect("renamed");
    }

    #[track_caller]
    fn result(&self, id: &str) -> Value {
        let path = self.path(&format!("node/outbox/{id}.json"));
        wait::until(id, LIMIT, || {
            let bytes = fs::read(&path).map_err(|e| format!("{e}\n{}", self.log()))?;
            serde_json::from_slice(&bytes).map_err(|e| e.to_string())
        })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.stop();
    }
}

fn names(list: &Value) -> String {
    list.to_string()
}

/// An agent of prompts that writes what the model says, and one that is a program; a schedule; two models.
const ALL: &str = r#"
model = "loud"

[runtime.models.quiet]
provider = "echo"

[runtime.models.loud]
provider = "uppercase"
options = { temperature = 0 }

[runtime.agents.scribe]
security.permissions = ["fs.write:artifacts"]

[runtime.agents.scribe.orchestration.definitions.say]
type = "prompt"
prompt = "hello {{input.who}}"
propose = [{ kind = "fs.write", payload = { path = "artifacts/said", content = "{{reply}}" } }]

[runtime.agents.scribe.orchestration.flows.main]
steps = ["say"]

[runtime.agents.mover]
argv = ["sh", "-c", "echo '{\"propose\":{\"kind\":\"advance\",\"payload\":{\"events\":[\"start\",\"complete\"]}}}'; echo '{\"done\":true}'"]

[[runtime.schedules]]
name = "often"
agent = "advance"
every = 1
"#;

#[test]
fn agents_schedules_and_a_model_that_are_declared_run_and_go_with_their_tables() {
    let mut device = Device::new(ALL);
    device.start();
    device.has("the declared are there", |status| {
        let agents = names(&status["agents"]);
        agents.contains("scribe") && agents.contains("mover") && names(&status["schedules"]).contains("often")
    });
    device.submit("j1", &json!({ "agent": "scribe", "input": { "who": "box" } }));
    assert_eq!(device.result("j1")["state"], "DONE");
    let said = fs::read_to_string(device.path("node/artifacts/said")).expect("it was written");
    assert_eq!(said.trim(), "HELLO BOX", "by the model that is chosen");
    device.submit("j2", &json!({ "agent": "mover" }));
    assert_eq!(device.result("j2")["state"], "DONE");
    wait::until_true("the schedule fires", LIMIT, || {
        let entries = fs::read_dir(device.path("node/outbox")).expect("a folder");
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("often-"))
    });
    // One agent, the schedule and the models go; another agent comes.
    fs::write(
        device.path("node/agents/mine.json"),
        r#"{"kind":"jos.runtime_agent","name":"mine","argv":["true"]}"#,
    )
    .expect("written");
    let rest = "[runtime.agents.other]\nargv = [\"true\"]\n";
    device.config("", rest);
    device.reload();
    device.has("what is declared no longer is gone", |status| {
        let agents = names(&status["agents"]);
        agents.contains("other") && agents.contains("mine") && !agents.contains("scribe") && !agents.contains("mover")
    });
    assert!(names(&device.status()["schedules"]) == "[]", "{:#}", device.status());
    for gone in [
        "agents/scribe.jos",
        "agents/mover.json",
        "schedules/often.json",
        "config/llm.toml",
    ] {
        assert!(!device.path("node").join(gone).exists(), "{gone}");
    }
    device.stop();
    let replay = run(jos().args(["replay", "--json", "--data-dir"]).arg(device.path("node")))
        .ok()
        .json();
    assert_eq!(replay["ok"], true, "{replay:#}");
}

#[test]
fn a_file_that_people_made_counts_before_a_declared_one_and_the_clash_is_named() {
    let mut device = Device::new("[runtime.agents.greeter]\nargv = [\"true\"]\n");
    run(jos().args(["runtime", "init", "--data-dir"]).arg(device.path("node"))).ok();
    let mine = r#"{"kind":"jos.runtime_agent","name":"greeter","argv":["false"]}"#;
    fs::write(device.path("node/agents/greeter.json"), mine).expect("written");
    device.start();
    device.has("the clash is named", |status| {
        let broken = names(&status["broken"]);
        broken.contains("agents/greeter.json") && broken.contains("agent.toml declares it")
    });
    assert_eq!(
        fs::read_to_string(device.path("node/agents/greeter.json")).expect("there"),
        mine
    );
    let shown = run(jos().args(["status", "--data-dir"]).arg(device.path("node"))).ok();
    assert!(
        shown
            .stdout
            .contains("broken: agents/greeter.json: agent.toml declares it"),
        "{shown}"
    );
    assert!(
        device.log().contains("agents/greeter.json: agent.toml declares it"),
        "{}",
        device.log()
    );
}

#[test]
fn what_is_wrong_in_the_tables_is_named_by_its_place_and_a_reload_keeps_what_ran() {
    let mut device = Device::new("[runtime.agents.greeter]\nargv = [\"true\"]\n");
    device.start();
    device.has("it runs", |status| names(&status["agents"]).contains("greeter"));
    device.config(
        "",
        "[runtime.agents.greeter]\nargw = [\"true\"]\n[[runtime.schedules]]\nname = \"x\"\nagent = \"a\"\n",
    );
    let said = run(jos().args(["validate"]).arg(device.path("agent.toml"))).exits(2);
    for words in [
        "agent.toml:10:",
        "/runtime/agents/greeter/argw",
        "did you mean \"argv\"?",
        "/runtime/schedules/0",
    ] {
        assert!(
            said.stderr.contains(words) || said.stdout.contains(words),
            "{words}: {said}"
        );
    }
    device.reload();
    wait::until("the reload is refused by name", LIMIT, || {
        let log = device.log();
        if log.contains("/runtime/agents/greeter/argw") {
            Ok(())
        } else {
            Err(log)
        }
    });
    assert!(
        names(&device.status()["agents"]).contains("greeter"),
        "what ran goes on"
    );
    device.stop();
    let mut command = jos();
    command
        .args(["agent", "run", "--config"])
        .arg(device.path("agent.toml"));
    let refused = run(&mut command).exits(2);
    assert!(refused.stderr.contains("/runtime/agents/greeter/argw"), "{refused}");
}

#[test]
fn no_state_and_no_agent_takes_the_place_of_what_is_declared() {
    let mut device = Device::new("");
    device.config(
        "state = \"@/state.json\"\ntrust = \"@/trust.json\"",
        "[runtime.agents.greeter]\nargv = [\"true\"]\n",
    );
    let here = device.path("");
    let policy = "kind = \"jos.policy\"\n[grants.local]\nfiles = [{ path = \"@/node/agents/*\", code = true }]\n";
    let policy = policy.replace('@', here.display().to_string().trim_end_matches('/'));
    fs::write(device.path("policy.toml"), policy).expect("written");
    let state = |name: &str| {
        json!({
            "kind": "jos.agent.desired_state", "meta": { "name": "ai-box", "version": 1 },
            "spec": { "apply": [
                { "type": "file", "path": Path::new(&here).join("node/agents").join(name), "content": "{}" }
            ] },
        })
    };
    for words in [
        ["key", "new", "--out", "admin.key"].as_slice(),
        &["trust", "init", "--key", "admin.key", "--out", "trust.json"],
    ] {
        run(jos().args(words).current_dir(&here)).ok();
    }
    let sign = |name: &str| {
        fs::write(here.join("unsigned.json"), state(name).to_string()).expect("written");
        run(jos()
            .args(["sign", "--key", "admin.key", "-o", "state.json", "unsigned.json"])
            .current_dir(&here))
        .ok();
    };
    sign("greeter.json");
    device.start();
    device.has("the declared one is there", |status| {
        names(&status["agents"]).contains("greeter")
    });
    wait::until("the state is refused", LIMIT, || {
        let log = device.log();
        if log.contains("node/agents/greeter.json") && log.contains("is protected whatever is granted") {
            Ok(())
        } else {
            Err(log)
        }
    });
    let text = fs::read_to_string(device.path("node/agents/greeter.json")).expect("there");
    assert!(text.contains("\"argv\""), "{text}");
}
