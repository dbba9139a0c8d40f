//! `jos agent` with real processes under the generic init: installed, killed, stopped, reloaded, removed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// A home of its own; whatever still runs when a test ends is ended.
struct Home {
    dir: tempfile::TempDir,
}

impl Drop for Home {
    fn drop(&mut self) {
        for lock in ["supervisor.lock", "lock"] {
            for name in fs::read_dir(self.path("state")).into_iter().flatten().flatten() {
                let held = fs::read_to_string(name.path().join("run").join(lock)).unwrap_or_default();
                let ours = |pid: &i32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|c| c.starts_with(b"/"));
                if let Some(pid) = held.trim().parse::<i32>().ok().filter(ours) {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
        }
    }
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("jos-agent-").tempdir().unwrap();
        // The network half runs as another user and reaches its folder by a descriptor, not by this path.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Self { dir }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn jos(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jos"));
        command
            .args(arguments)
            .env("HOME", self.dir.path())
            .current_dir(self.dir.path());
        command.stdin(std::process::Stdio::null()).output().unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.jos(arguments);
        assert!(output.status.success(), "jos {arguments:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn install(&self, artifact: &str, more: &[&str]) -> Output {
        let state = self.path("state");
        let state = state.to_str().unwrap();
        let common = [
            "agent",
            "install",
            artifact,
            "--init",
            "generic",
            "--state-dir",
            state,
            "--yes",
        ];
        self.jos(&[&common[..], more].concat())
    }

    fn status(&self, name: &str) -> Value {
        serde_json::from_slice(&self.jos(&["agent", "status", name, "--json"]).stdout).unwrap()
    }

    fn until(&self, name: &str, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let status = self.status(name);
            if so(&status) {
                return status;
            }
            if Instant::now() > deadline {
                let log = fs::read_to_string(self.path(&format!(".jos/logs/{name}.log"))).unwrap_or_default();
                panic!("not within 30 s: {what}; status {status:#}; log {log}");
            }
            let _ = nix::poll::poll(&mut [], 20u8);
        }
    }

    /// A signed state `name` of one file, and its trust root.
    fn state(&self, name: &str, version: u64, file: &Path, content: &str) -> String {
        if !self.path("admin.key").exists() {
            self.ok(&["key", "new", "--out", "admin.key"]);
            self.ok(&["trust", "init", "--key", "admin.key", "--out", "trust.json"]);
        }
        let state = json!({
            "kind": "jos.agent.desired_state", "meta": {"name": name, "version": version},
            "spec": {"apply": [{"type": "file", "path": file, "content": content, "owner": owner(file.parent().unwrap())}]},
        });
        let path = format!("{name}-{version}.json");
        self.write(&path, state.to_string());
        self.ok(&["sign", "--key", "admin.key", &path]);
        path
    }
}

fn owner(of: &Path) -> String {
    let meta = fs::metadata(of).unwrap();
    format!("{}:{}", meta.uid(), meta.gid())
}

fn text(output: &Output) -> String {
    format!(
        "{} {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn artifact(id: &str, definitions: Value, steps: &[&str]) -> String {
    json!({
        "id_jos": id, "orchestration_contract": {"version": "1.0.0"},
        "orchestration": {"definitions": definitions, "flows": {"main": {"steps": steps}}},
    })
    .to_string()
}

fn shell(command: impl Into<String>) -> Value {
    json!({ "type": "shell", "command": command.into() })
}

fn send(status: &Value, key: &str, signal: Signal) {
    kill(
        Pid::from_raw(i32::try_from(status[key].as_i64().unwrap()).unwrap()),
        signal,
    )
    .unwrap();
}

fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

#[test]
fn an_artifact_is_installed_run_shown_and_removed_and_nothing_is_left() {
    let home = Home::new();
    let out = home.path("out");
    let command = format!("echo \"$WHO\" > {}", out.display());
    home.write(
        "hello.jos",
        artifact("hello", json!({ "greet": shell(command) }), &["definitions.greet"]),
    );
    let installed = home.install(
        "hello.jos",
        &["--env", "WHO=a \"b\" $c", "--hub", "https://hub.example.com"],
    );
    assert!(installed.status.success(), "{}", text(&installed));

    let status = home.until("hello", "the flow is done", |s| {
        s["flow"]["ok"] == true && s["phase"] == "waiting"
    });
    assert_eq!(
        fs::read_to_string(&out).unwrap(),
        "a \"b\" $c\n",
        "variables arrive byte for byte"
    );
    assert_eq!(status["state"], "running");
    assert!(
        status["since"].is_string() && status["next_wake"].is_string(),
        "{status:#}"
    );
    assert_eq!(status["hub"]["contact"], "not contacted: no hub client in this build");
    assert!(status["ledger"]["count"].as_u64().unwrap() > 0, "{status:#}");
    let list: Value = serde_json::from_str(&home.ok(&["agent", "list", "--json"])).unwrap();
    let own = list["agents"]
        .as_array()
        .unwrap()
        .iter()
        .find(|a| a["name"] == "hello")
        .unwrap();
    assert_eq!(
        (&own["kind"], &own["state"], &own["init"]),
        (&json!("installed"), &json!("running"), &json!("generic"))
    );
    assert!(home.ok(&["agent", "logs", "hello"]).contains("hello"));
    let environment = home.path(".jos/agents/hello/environment");
    assert_eq!(fs::metadata(environment).unwrap().mode() & 0o777, 0o600);

    let again = home.install("hello.jos", &[]);
    assert_eq!(again.status.code(), Some(1), "{}", text(&again));
    assert!(
        text(&again).contains("a later artifact needs a new grant"),
        "{}",
        text(&again)
    );

    home.ok(&["agent", "uninstall", "hello", "--purge"]);
    assert!(!home.path(".jos/agents/hello").exists() && !home.path("state/hello").exists());
    assert!(!home.path(".jos/logs/hello.log").exists());
    assert_eq!(home.jos(&["agent", "status", "hello"]).status.code(), Some(1));
}

#[test]
fn without_yes_and_without_a_terminal_nothing_is_granted_and_nothing_written() {
    let home = Home::new();
    home.write("hello.jos", artifact("hello", json!({ "a": shell("true") }), &["a"]));
    let refused = home.jos(&["agent", "install", "hello.jos", "--init", "generic"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    assert!(
        text(&refused).contains("--yes") && text(&refused).contains("\"true\""),
        "{}",
        text(&refused)
    );
    assert!(!home.path(".jos").exists());
}

#[test]
fn bad_names_hubs_variables_and_documents_are_refused_before_anything_is_written() {
    let home = Home::new();
    home.write("hello.jos", artifact("hello", json!({ "a": shell("true") }), &["a"]));
    let cases: [&[&str]; 10] = [
        &["--name", "../x"],
        &["--name", "a/b"],
        &["--name", "A"],
        &["--name", "x\ny"],
        &["--hub", "http://hub.example.com"],
        &["--hub", "https://user:pass@hub.example.com"],
        &["--env", "LD_PRELOAD=/tmp/x.so"],
        &["--env", "A=b\nC=d"],
        &["--user", "no-such-user-here"],
        &["--trust", "hello.jos"],
    ];
    for more in cases {
        let refused = home.install("hello.jos", more);
        assert_eq!(refused.status.code(), Some(2), "{more:?}: {}", text(&refused));
    }
    for (file, definitions, said) in [
        (
            "prompt.jos",
            json!({ "a": {"type": "prompt", "prompt": "x"} }),
            "prompt",
        ),
        ("wasm.jos", json!({ "a": {"type": "wasm"} }), "wasm"),
        ("up.jos", json!({ "a": {"type": "jos", "path": "../other.jos"} }), ".."),
        (
            "loop.jos",
            json!({ "a": {"type": "jos", "path": "loop.jos"} }),
            "circle",
        ),
        ("none.jos", json!({}), "no definition"),
    ] {
        home.write(file, artifact("x", definitions, &["a"]));
        let refused = home.install(file, &[]);
        assert_eq!(refused.status.code(), Some(2), "{file}: {}", text(&refused));
        assert!(text(&refused).contains(said), "{file}: {}", text(&refused));
    }
    assert!(!home.path(".jos").exists() && !home.path("state").exists());
}

#[test]
fn an_install_whose_service_does_not_start_leaves_nothing() {
    let home = Home::new();
    home.write("hello.jos", artifact("hello", json!({ "a": shell("true") }), &["a"]));
    // A policy that grants nothing: the agent refuses to run the artifact at all.
    home.write("policy.toml", "kind = \"jos.policy\"\n");
    let failed = home.install("hello.jos", &["--policy", "policy.toml"]);
    assert_eq!(failed.status.code(), Some(1), "{}", text(&failed));
    assert!(
        text(&failed).contains("nobody granted this artifact"),
        "{}",
        text(&failed)
    );
    assert!(
        !home.path(".jos/agents").exists(),
        "{:?}",
        fs::read_dir(home.path(".jos")).unwrap().collect::<Vec<_>>()
    );
    assert!(!home.path("state").exists());
}

#[test]
fn a_link_in_the_way_of_the_agents_folder_is_not_followed() {
    let home = Home::new();
    home.write("hello.jos", artifact("hello", json!({ "a": shell("true") }), &["a"]));
    fs::create_dir(home.path("elsewhere")).unwrap();
    symlink(home.path("elsewhere"), home.path(".jos")).unwrap();
    let refused = home.install("hello.jos", &[]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    assert_eq!(fs::read_dir(home.path("elsewhere")).unwrap().count(), 0);
}

#[test]
fn an_artifact_that_changed_after_its_grant_does_not_run() {
    let home = Home::new();
    home.write("hello.jos", artifact("hello", json!({ "a": shell("true") }), &["a"]));
    assert!(home.install("hello.jos", &[]).status.success());
    home.until("hello", "the flow is done", |s| s["flow"]["ok"] == true);
    let folder = home.path(".jos/agents/hello");
    let sneaked = format!("touch {}", home.path("sneaked").display());
    fs::write(
        folder.join("artifact.jos"),
        artifact("hello", json!({ "a": shell(sneaked) }), &["a"]),
    )
    .unwrap();
    let status = home.status("hello");
    send(&status, "pid", Signal::SIGHUP);
    let status = home.until("hello", "the reload is refused", |s| s["trouble"].is_string());
    assert!(
        status["trouble"].as_str().unwrap().contains("nobody granted"),
        "{status:#}"
    );
    assert!(!home.path("sneaked").exists());
}

#[test]
fn a_flow_keeps_to_its_guardrails() {
    let home = Home::new();
    let count = home.path("count");
    let mut flow: Value = serde_json::from_str(&artifact(
        "tries",
        json!({ "fail": shell(format!("echo x >> {}; exit 3", count.display())), "after": shell("touch never") }),
        &["fail", "after"],
    ))
    .unwrap();
    flow["guardrails"] = json!({ "max_retries": 1, "timeout_ms": 5000 });
    home.write("tries.jos", flow.to_string());
    assert!(home.install("tries.jos", &[]).status.success());
    let status = home.until("tries", "the flow has ended", |s| {
        s["flow"]["ok"] == false && s["phase"] == "waiting"
    });
    assert_eq!(status["flow"]["tries"], 2, "{status:#}");
    assert_eq!(status["flow"]["failed"], "tries/fail");
    assert_eq!(fs::read_to_string(&count).unwrap(), "x\nx\n");

    flow["guardrails"] = json!({ "avoid": ["exit 3"] });
    home.write("avoid.jos", flow.to_string());
    let refused = home.install("avoid.jos", &["--name", "avoid"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
}

#[test]
fn a_desired_state_is_kept_and_drift_is_put_right_by_confined_halves() {
    let home = Home::new();
    fs::create_dir(home.path("www")).unwrap();
    let file = home.path("www/index.html");
    let state = home.state("keeper", 1, &file, "one\n");
    let no_trust = home.install(&state, &[]);
    assert_eq!(no_trust.status.code(), Some(2), "{}", text(&no_trust));
    let installed = home.install(&state, &["--trust", "trust.json", "--interval", "1"]);
    assert!(installed.status.success(), "{}", text(&installed));
    let status = home.until("keeper", "version 1 is in force", |s| s["version"] == 1);
    assert_eq!(fs::read_to_string(&file).unwrap(), "one\n");
    assert_eq!(status["last_outcome"]["outcome"], "applied", "{status:#}");
    let active = |name: &str| {
        let all = status["confinement"].as_array().unwrap();
        all.iter().any(|m| m["name"] == name && m["active"] == true)
    };
    assert!(active("no_new_privs") && active("limits"), "{status:#}");
    if is_root() {
        assert!(active("user"), "{status:#}");
        let fetcher = fs::read_to_string(format!("/proc/{}/status", status["fetcher"])).unwrap();
        let line = |key: &str| fetcher.lines().find(|l| l.starts_with(key)).unwrap().to_owned();
        assert!(!line("Uid:").contains("\t0"), "{}", line("Uid:"));
        assert_eq!(line("NoNewPrivs:"), "NoNewPrivs:\t1");
    }

    fs::write(&file, "tampered\n").unwrap();
    home.until("keeper", "drift is put right", |_| {
        fs::read_to_string(&file).is_ok_and(|t| t == "one\n")
    });

    // A newer version in the agent's folder, and a signal: looked at without waiting for the interval.
    let newer = home.state("keeper", 2, &file, "two\n");
    fs::copy(home.path(&newer), home.path(".jos/agents/keeper/artifact.json")).unwrap();
    send(&home.status("keeper"), "pid", Signal::SIGHUP);
    home.until("keeper", "version 2 is in force", |s| s["version"] == 2);
    assert_eq!(fs::read_to_string(&file).unwrap(), "two\n");

    // The older one is refused, and what is in force stays.
    fs::copy(home.path(&state), home.path(".jos/agents/keeper/artifact.json")).unwrap();
    send(&home.status("keeper"), "pid", Signal::SIGHUP);
    let status = home.until("keeper", "the rollback is refused", |s| s["trouble"].is_string());
    assert_eq!(
        (&status["version"], fs::read_to_string(&file).unwrap().as_str()),
        (&json!(2), "two\n"),
        "{status:#}"
    );
}

#[test]
fn a_purged_agent_can_be_installed_again_as_if_it_had_never_been() {
    let home = Home::new();
    fs::create_dir(home.path("www")).unwrap();
    let file = home.path("www/a");
    let state = home.state("keeper", 1, &file, "one\n");
    for _ in 0..2 {
        assert!(home.install(&state, &["--trust", "trust.json"]).status.success());
        let status = home.until("keeper", "it waits", |s| s["phase"] == "waiting" && s["version"] == 1);
        assert_eq!(status["trouble"], Value::Null, "{status:#}");
        home.ok(&["agent", "uninstall", "keeper", "--purge"]);
        assert!(
            !home.path("state").exists(),
            "with the last agent go the files that all share"
        );
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn a_killed_agent_is_started_again_and_takes_its_network_half_with_it() {
    let home = Home::new();
    fs::create_dir(home.path("www")).unwrap();
    let state = home.state("keeper", 1, &home.path("www/a"), "one\n");
    assert!(home.install(&state, &["--trust", "trust.json"]).status.success());
    let before = home.until("keeper", "it waits", |s| {
        s["phase"] == "waiting" && s["fetcher"].is_u64()
    });
    send(&before, "pid", Signal::SIGKILL);
    let after = home.until("keeper", "it runs again", |s| {
        // Between taking the lock and the first word of its own, the old one's word still stands.
        s["phase"] == "waiting" && s["fetcher"].is_u64() && s["fetcher"] != before["fetcher"]
    });
    assert_ne!(after["pid"], before["pid"], "{after:#}");
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

#[test]
fn required_confinement_that_is_not_there_stops_the_agent() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    fs::create_dir(home.path("www")).unwrap();
    let file = home.path("www/a");
    let state = home.state("keeper", 1, &file, "one\n");
    home.write(
        "policy.toml",
        format!(
            "kind = \"jos.policy\"\nrequire_confinement = true\n[grants.local]\nfiles = [{:?}]\n",
            file
        ),
    );
    // As root's own user the network half is not apart: it must not be let near anything.
    home.write("agent.toml", "name = \"keeper\"\nnetwork_user = \"root\"\n");
    let state_dir = home.path("state");
    let run = |config: &str| {
        let arguments = [
            "agent",
            "run",
            "--once",
            "--config",
            config,
            "--policy",
            "policy.toml",
            "--trust",
            "trust.json",
            "--state-dir",
            state_dir.to_str().unwrap(),
            &state,
        ];
        home.jos(&arguments)
    };
    let refused = run("agent.toml");
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    assert!(text(&refused).contains("not confined: user"), "{}", text(&refused));
    assert!(!file.exists());
}

#[test]
fn into_a_root_that_does_not_run_only_files_are_written() {
    let home = Home::new();
    let root = home.path("root");
    for folder in ["etc", "root", "usr/lib/systemd"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nkiosk:x:1000:1000::/home/kiosk:/bin/sh\n",
    )
    .unwrap();
    fs::write(root.join("usr/lib/systemd/systemd"), "").unwrap();
    home.write("hello.jos", artifact("hello", json!({ "a": shell("true") }), &["a"]));
    let root_text = root.to_str().unwrap();
    home.ok(&[
        "agent",
        "install",
        "hello.jos",
        "--root",
        root_text,
        "--yes",
        "--env",
        "SECRET=hunter2",
    ]);
    let unit = fs::read_to_string(root.join("etc/systemd/system/jos-agent-hello.service")).unwrap();
    assert!(
        unit.contains("--config /root/.jos/agents/hello/agent.toml /root/.jos/agents/hello/artifact.jos"),
        "{unit}"
    );
    assert!(unit.contains("ProtectHome=read-only"), "{unit}");
    assert!(!unit.contains("hunter2"), "a unit holds no value of --env");
    let wants = root.join("etc/systemd/system/multi-user.target.wants/jos-agent-hello.service");
    assert_eq!(
        fs::read_link(wants).unwrap(),
        Path::new("/etc/systemd/system/jos-agent-hello.service")
    );
    home.ok(&["agent", "uninstall", "hello", "--root", root_text]);
    assert!(!root.join("etc/systemd/system/jos-agent-hello.service").exists());
    assert!(!root.join("root/.jos/agents/hello").exists());

    for (init, file) in [
        ("procd", "etc/init.d/jos-agent-hello"),
        ("launchd", "Library/LaunchDaemons/org.josfox.jos-agent-hello.plist"),
    ] {
        home.ok(&[
            "agent",
            "install",
            "hello.jos",
            "--root",
            root_text,
            "--yes",
            "--init",
            init,
        ]);
        assert!(root.join(file).is_file(), "{file}");
        home.ok(&["agent", "uninstall", "hello", "--root", root_text]);
        assert!(!root.join(file).exists(), "{file}");
    }
}
