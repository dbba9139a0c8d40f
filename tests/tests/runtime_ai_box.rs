//! A device's daemon that runs a node: its agents propose changes of the device, the plane gates, records and does them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jos_tests::command::{Ran, run};
use jos_tests::programs::{jos, jos_path, workspace};
use jos_tests::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

/// A device in a folder: a daemon without a state, a node, and agents that propose what their jobs say.
struct Device {
    dir: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Device {
    /// `agents` of the policy, as TOML; `@` stands for the folder.
    fn new(agents: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let device = Self { dir, daemon: None };
        let here = device.path("").display().to_string();
        let here = here.trim_end_matches('/');
        fs::create_dir(device.path("box")).expect("a folder");
        let config = format!(
            "name = \"ai-box\"\npolicy = \"{here}/policy.toml\"\nstate_dir = \"{here}/plane\"\nsecrets = \"{here}/secrets\"\n\
             [runtime]\ndata_dir = \"{here}/node\"\n"
        );
        fs::write(device.path("agent.toml"), config).expect("written");
        device.policy(agents);
        run(jos().args(["runtime", "init", "--data-dir"]).arg(device.path("node"))).ok();
        for agent in ["tuner", "stranger"] {
            let document = json!({
                "id_jos": agent,
                "orchestration_contract": { "version": "0.0.7" },
                "security": { "permissions": ["device.propose:ai-box"] },
                "orchestration": {
                    "definitions": { "say": { "type": "prompt", "prompt": "x",
                        "propose": [{ "kind": "device.propose", "payload": "{{input}}" }] } },
                    "flows": { "main": { "steps": ["say"] } },
                },
            });
            fs::write(device.path(&format!("node/agents/{agent}.jos")), document.to_string()).expect("written");
        }
        device
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().canonicalize().expect("it is there").join(below)
    }

    fn text(&self, below: &str) -> String {
        self.path(below).display().to_string()
    }

    fn policy(&self, agents: &str) {
        let here = self.text("");
        let text = format!("kind = \"jos.policy\"\n{agents}").replace('@', here.trim_end_matches('/'));
        fs::write(self.path("policy.toml"), text).expect("written");
    }

    fn start(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .expect("a log");
        let mut command = jos();
        command.args(["agent", "run", "--config"]).arg(self.path("agent.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.daemon = Some(command.spawn().expect("jos starts"));
    }

    fn daemon(&self) -> Pid {
        pid(self.daemon.as_ref().expect("it runs").id())
    }

    /// What the daemon says of its node.
    fn node(&self) -> Value {
        let status = fs::read(self.path("plane/ai-box/run/status.json")).unwrap_or_default();
        let status: Value = serde_json::from_slice(&status).unwrap_or_default();
        status["node"].clone()
    }

    fn submit(&self, agent: &str, id: &str, steps: &Value) {
        let job = json!({ "agent": agent, "input": { "name": "ai-box", "steps": steps } });
        self.drop_in(id, &job);
    }

    fn drop_in(&self, id: &str, job: &Value) {
        fs::write(self.path("node/inbox/.new"), job.to_string()).expect("the inbox can be written");
        fs::rename(
            self.path("node/inbox/.new"),
            self.path(&format!("node/inbox/{id}.json")),
        )
        .expect("renamed");
    }

    fn file(&self, name: &str, content: &str) -> Value {
        json!({ "type": "file", "path": self.text(name), "content": content })
    }

    /// How a job ended: its result, or why it failed.
    #[track_caller]
    fn ended(&self, id: &str) -> Result<Value, String> {
        wait::until(&format!("{id} is over"), LIMIT, || {
            if let Ok(reason) = fs::read_to_string(self.path(&format!("node/failed/{id}.json.reason"))) {
                return Ok(Err(reason));
            }
            let result = fs::read(self.path(&format!("node/outbox/{id}.json"))).map_err(|e| e.to_string());
            match result.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|e| e.to_string())) {
                Ok(result) => Ok(Ok(result)),
                Err(e) => Err(format!(
                    "{e}\n{}",
                    fs::read_to_string(self.path("log")).unwrap_or_default()
                )),
            }
        })
    }

    #[track_caller]
    fn refused(&self, id: &str, agent: &str, steps: &Value, why: &str) {
        self.submit(agent, id, steps);
        let reason = self.ended(id).expect_err("refused");
        assert!(reason.contains(why), "expected {why:?} in {reason}");
    }

    /// Stops the daemon, and finds nothing wrong with either history.
    #[track_caller]
    fn replays(&mut self) -> (Value, Value) {
        self.stop();
        let node = run(jos().args(["replay", "--json", "--data-dir"]).arg(self.path("node"))).ok();
        let plane = run(jos()
            .args(["replay", "ai-box", "--json", "--state-dir"])
            .arg(self.path("plane")))
        .ok();
        (node.json(), plane.json())
    }

    fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = kill(pid(daemon.id()), Signal::SIGTERM);
            let _ = daemon.wait();
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        // A command that a killed daemon left behind waits at this pipe.
        let _ = Command::new("timeout")
            .args(["1", "sh", "-c", "echo > \"$0\""])
            .arg(self.path("gate"))
            .status();
    }
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).expect("a process id fits"))
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

#[test]
fn the_example_runs_from_the_refusal_to_the_replay_without_a_model() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    let programs = jos_path().parent().expect("a folder");
    let mut command = Command::new("sh");
    command
        .arg(workspace().join("examples/ai-box/run.sh"))
        .arg(dir.path().join("box"))
        .env("PATH", format!("{}:{path}", programs.display()))
        .env_remove("JOS_DATA_DIR")
        .env_remove("JOS_LLM");
    let ran: Ran = run(&mut command).ok();
    for said in [
        "needed in the policy: [agents.tuner] files = ",
        "\"applied\"",
        "rolled_back",
        "by agent tuner",
    ] {
        assert!(ran.stdout.contains(said), "{said}: {ran}");
    }
}

#[test]
fn an_agent_reaches_nothing_that_it_was_not_granted_by_its_own_name() {
    let mut device = Device::new("[agents.tuner]\nfiles = [\"@/box/**\", \"@/**\"]\nservices = []\n");
    device.start();
    let own = json!([device.file("box/limits", "x")]);
    device.refused("stranger", "stranger", &own, "[agents.stranger] files");
    let policy = json!([device.file("policy.toml", "kind = \"jos.policy\"")]);
    device.refused("protected", "tuner", &policy, "is protected whatever is granted");
    let ledger = json!([device.file("plane/ai-box/ledger/x", "")]);
    device.refused("plane", "tuner", &ledger, "is protected whatever is granted");
    let agent = json!([device.file("node/agents/another.jos", "{}")]);
    device.refused("agents", "tuner", &agent, "only data is granted there");
    let state = json!([device.file("node/state/x", "")]);
    device.refused("state", "tuner", &state, "is protected whatever is granted");
    device.refused(
        "command",
        "tuner",
        &json!([{ "type": "shell", "command": "reboot" }]),
        "[agents.tuner] shell",
    );
    device.refused(
        "service",
        "tuner",
        &json!([{ "type": "service", "name": "sshd", "action": "stop" }]),
        "[agents.tuner] services",
    );
    // A source, an agent, a plane that are not its own: there is no field for them, or they are not there.
    for (id, field) in [("source", "source"), ("agent", "agent"), ("node", "node")] {
        let mut input = json!({ "name": "ai-box", "steps": own });
        input[field] = json!("hub");
        device.drop_in(id, &json!({ "agent": "tuner", "input": input }));
        assert!(
            device.ended(id).expect_err("refused").contains("unknown field"),
            "{field}"
        );
    }
    device.drop_in(
        "other",
        &json!({ "agent": "tuner", "input": { "name": "portal", "steps": own } }),
    );
    assert!(
        device
            .ended("other")
            .expect_err("denied")
            .contains("device.propose on portal")
    );
    assert_eq!(fs::read_dir(device.path("box")).expect("a folder").count(), 0);
    device.submit("tuner", "good", &own);
    assert_eq!(
        device.ended("good").expect("granted")["results"][0]["result"]["outcome"],
        "applied"
    );
    let (node, plane) = device.replays();
    assert_eq!(
        (&node["ok"], &node["modelCalls"]),
        (&json!(true), &json!(0)),
        "{node:#}"
    );
    assert_eq!(plane["divergence"], Value::Null, "{plane:#}");
}

#[test]
fn the_lines_that_policy_check_names_for_an_agent_are_the_ones_its_plane_asks_for() {
    let mut device = Device::new("[agents.stranger]\nfiles = [\"@/**\"]\n[grants.hub]\nfiles = [\"@/**\"]\n");
    let steps = json!([device.file("box/limits", "x"), { "type": "service", "name": "box", "action": "restart" }]);
    let state = json!({ "kind": "jos.agent.desired_state", "meta": { "name": "ai-box", "version": 1 }, "spec": { "apply": steps } });
    fs::write(device.path("steps.json"), state.to_string()).expect("written");
    let check = |device: &Device| {
        let mut command = jos();
        command.args(["policy", "check", "--source", "agent:tuner", "--json", "--policy"]);
        run(command.arg(device.path("policy.toml")).arg(device.path("steps.json")))
    };
    // What others were granted does not count.
    let needed = check(&device).exits(1).json()["needed"].clone();
    // As they are written in a policy.
    let list = |key: &str| {
        let values = needed["agents.tuner"][key].as_array().into_iter().flatten();
        let values: Vec<&str> = values.filter_map(Value::as_str).collect();
        format!("{key} = [{}]\n", values.join(", "))
    };
    assert_eq!(
        list("files"),
        format!("files = [{:?}]\n", device.text("box/limits")),
        "{needed:#}"
    );
    assert_eq!(list("services"), "services = [\"box\"]\n", "{needed:#}");
    device.start();
    let first = json!([steps[0]]);
    device.refused("before", "tuner", &first, "[agents.tuner] files");
    device.stop();
    device.policy(&format!("[agents.tuner]\n{}{}", list("files"), list("services")));
    check(&device).ok();
    device.start();
    device.submit("tuner", "after", &first);
    assert_eq!(
        device.ended("after").expect("granted")["results"][0]["result"]["outcome"],
        "applied"
    );
    device.replays();
}

#[test]
fn a_desired_state_brings_an_agent_to_the_node_and_takes_it_away() {
    let mut device = Device::new("[grants.local]\nfiles = [{ path = \"@/node/agents/*\", code = true }]\n");
    let config = fs::read_to_string(device.path("agent.toml")).expect("settings");
    let own = format!(
        "state = \"{}\"\ntrust = \"{}\"\n",
        device.text("state.json"),
        device.text("trust.json")
    );
    fs::write(device.path("agent.toml"), own + &config).expect("written");
    let sign = |device: &Device, version: u64, steps: Value| {
        let state = json!({
            "kind": "jos.agent.desired_state", "spec": { "apply": steps },
            "meta": { "name": "ai-box", "version": version, "requires": ["runtime"], "prune": true },
        });
        fs::write(device.path("unsigned.json"), state.to_string()).expect("written");
        let words = ["sign", "--key", "admin.key", "-o", "state.json", "unsigned.json"];
        run(jos().args(words).current_dir(device.path(""))).ok();
    };
    run(jos()
        .args(["key", "new", "--out", "admin.key"])
        .current_dir(device.path("")))
    .ok();
    run(jos()
        .args(["trust", "init", "--key", "admin.key", "--out", "trust.json"])
        .current_dir(device.path("")))
    .ok();
    let artifact = fs::read_to_string(device.path("node/agents/stranger.jos")).expect("an agent");
    let guest = artifact.replace("stranger", "guest");
    sign(&device, 1, json!([device.file("node/agents/guest.jos", &guest)]));
    device.start();
    let agents = |device: &Device| {
        let status = fs::read(device.path("node/status.json")).unwrap_or_default();
        let status: Value = serde_json::from_slice(&status).unwrap_or_default();
        status["agents"].to_string()
    };
    wait::until_true("the agent is there", LIMIT, || agents(&device).contains("guest"));
    let mine = json!([device.file("node/agents/mine.jos", &guest)]);
    device.refused("mine", "guest", &mine, "[agents.guest] files");
    sign(&device, 2, json!([]));
    kill(device.daemon(), Signal::SIGHUP).expect("told");
    wait::until_true("the agent is gone", LIMIT, || !agents(&device).contains("guest"));
    assert!(agents(&device).contains("tuner"), "others stay");
    device.replays();
}

#[test]
fn two_proposals_at_once_are_decided_one_after_the_other() {
    let mut device = Device::new("[agents.tuner]\nfiles = [\"@/box/*\"]\n[agents.stranger]\nfiles = [\"@/box/*\"]\n");
    for number in 0..8 {
        let agent = ["tuner", "stranger"][number % 2];
        let name = if number < 4 {
            "box/same".to_owned()
        } else {
            format!("box/{number}")
        };
        device.submit(
            agent,
            &format!("j{number}"),
            &json!([device.file(&name, &format!("{number}\n"))]),
        );
    }
    device.start();
    for number in 0..8 {
        let result = device.ended(&format!("j{number}")).expect("all are granted");
        assert_eq!(result["results"][0]["result"]["outcome"], "applied", "{result:#}");
    }
    let same = fs::read_to_string(device.path("box/same")).expect("it is there");
    assert!(["0\n", "1\n", "2\n", "3\n"].contains(&same.as_str()), "{same:?}");
    device.replays();
}

/// A command that says that it began, and waits until it is told to go on.
fn slow(device: &Device) -> String {
    let command = format!("echo ran >> {}; cat {}", device.text("began"), device.text("gate"));
    run(Command::new("mkfifo").arg(device.path("gate"))).ok();
    device.policy(&format!(
        "[agents.tuner]\nfiles = [\"@/box/*\"]\nshell = [\"{command}\"]\n"
    ));
    command
}

#[test]
fn a_node_killed_while_the_plane_acts_is_told_the_outcome_and_nothing_is_done_twice() {
    let mut device = Device::new("");
    let command = slow(&device);
    device.start();
    device.submit(
        "tuner",
        "j1",
        &json!([device.file("box/a", "a"), { "type": "shell", "command": command }]),
    );
    wait::until_true("the command runs", LIMIT, || lines(&device.path("began")) == 1);
    let node = device.node()["pid"].as_u64().expect("it runs");
    kill(pid(u32::try_from(node).expect("a pid")), Signal::SIGKILL).expect("killed");
    fs::write(device.path("gate"), "go on").expect("it reads");
    assert_eq!(
        device.ended("j1").expect("it was done")["results"][0]["result"]["outcome"],
        "applied"
    );
    assert_eq!(lines(&device.path("began")), 1);
    let again = device.node();
    assert!(again["starts"] == 2 && again["pid"] != node, "{again}");
    let (node, _) = device.replays();
    assert_eq!(node["reruns"].as_array().map(Vec::len), Some(1), "{node:#}");
}

#[test]
fn a_daemon_killed_while_it_acts_takes_the_change_back_and_does_not_try_it_again() {
    let mut device = Device::new("");
    let command = slow(&device);
    device.start();
    device.submit(
        "tuner",
        "j1",
        &json!([device.file("box/a", "a"), { "type": "shell", "command": command }]),
    );
    wait::until_true("the command runs", LIMIT, || lines(&device.path("began")) == 1);
    assert!(device.path("box/a").exists());
    let node = device.node()["pid"].as_u64().expect("it runs");
    let mut daemon = device.daemon.take().expect("it runs");
    daemon.kill().expect("killed");
    daemon.wait().expect("it ended");
    wait::until_true("its node ends with it", LIMIT, || {
        !Path::new(&format!("/proc/{node}")).exists()
    });
    device.start();
    let why = device.ended("j1").expect_err("it was taken back");
    assert!(why.contains("rolled_back: interrupted"), "{why}");
    assert!(!device.path("box/a").exists());
    assert_eq!(lines(&device.path("began")), 1);
    device.replays();
}

#[test]
fn the_node_ends_with_its_daemon_within_a_second_and_starts_again_when_it_dies() {
    let mut device = Device::new("");
    device.start();
    let first = wait::until("the node runs", LIMIT, || {
        device.node()["pid"].as_u64().ok_or("not yet")
    });
    kill(pid(u32::try_from(first).expect("a pid")), Signal::SIGKILL).expect("killed");
    let second = wait::until("another one runs", LIMIT, || {
        device.node()["pid"]
            .as_u64()
            .filter(|pid| *pid != first)
            .ok_or("not yet")
    });
    let begin = Instant::now();
    kill(device.daemon(), Signal::SIGTERM).expect("told");
    device.daemon.take().expect("it runs").wait().expect("it ends");
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(!Path::new(&format!("/proc/{second}")).exists(), "the node is gone");
}
