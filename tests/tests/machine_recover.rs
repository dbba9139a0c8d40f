//! A machine that dies in the middle of a change: its files are the old ones before anything reads them, and the agent,
//! which comes later, does the rest.

use std::fs;
use std::process::Command;
use std::time::Duration;

use jos_tests::command::run;
use jos_tests::nspawn::Machine;
use jos_tests::programs::{jos, jos_path};
use jos_tests::wait;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);
const BRIGHTNESS: &str = "/srv/lamp/brightness";
const UNIT: &str = "jos-agent-lamp";
const RECOVER: &str = "jos-agent-lamp-recover";
/// A step that never ends, so that the change is under way for as long as the test needs.
const FOREVER: &str = "exec tail -f /dev/null";
/// Reads the file as early as any ordinary service could, and earlier than the network.
const WITNESS: &str = "[Unit]\nDefaultDependencies=no\nAfter=sysinit.target\nBefore=network-pre.target basic.target\n\
                       [Service]\nType=oneshot\nExecStart=/bin/cp /srv/lamp/brightness /srv/seen\n\
                       [Install]\nWantedBy=basic.target\n";

/// The vendor's folder, and what is made in it.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self {
            dir: tempfile::tempdir().expect("a folder"),
        };
        desk.jos(&["key", "new", "--out", "desk.key", "--id", "desk"]);
        desk.jos(&["trust", "init", "--key", "desk.key", "--out", "trust.json"]);
        let grant = json!({ "files": ["/srv/lamp", "/srv/lamp/*"], "shell": [FOREVER] });
        let policy = json!({ "kind": "jos.policy", "grants": { "local": grant } });
        fs::write(desk.dir.path().join("policy.json"), policy.to_string()).expect("written");
        desk
    }

    fn jos(&self, words: &[&str]) {
        let mut command: Command = jos();
        run(command.args(words).current_dir(self.dir.path())).ok();
    }

    /// Puts a signed state onto the machine.
    fn state(&self, machine: &Machine, version: u64, steps: Value) {
        let state = json!({ "kind": "jos.agent.desired_state", "meta": { "name": "lamp", "version": version },
                            "spec": { "apply": steps } });
        let name = format!("state-{version}.json");
        fs::write(self.dir.path().join(&name), state.to_string()).expect("written");
        self.jos(&["sign", "--key", "desk.key", &name]);
        self.put(machine, &name);
    }

    fn put(&self, machine: &Machine, name: &str) {
        machine.put(&self.dir.path().join(name), &format!("/root/desk/{name}"));
    }
}

fn content(machine: &Machine, path: &str) -> String {
    fs::read_to_string(machine.host_path(path)).unwrap_or_else(|error| format!("{path}: {error}"))
}

/// The agent's own word, once version 1 is in force and nothing is being done.
fn settled(machine: &Machine) -> Value {
    wait::until("version 1 is in force", SOON, || {
        let said = machine.run(&["jos", "agent", "status", "lamp", "--json"]);
        let value: Value = serde_json::from_str(&said.stdout).unwrap_or_default();
        if value["version"] == 1 && value["phase"] == "waiting" {
            Ok(value)
        } else {
            Err(format!("{said}\n{}", machine.journal(UNIT)))
        }
    })
}

#[test]
fn a_machine_that_dies_in_the_middle_of_an_apply_boots_with_the_old_files_before_services_start() {
    let desk = Desk::new();
    let mut machine = Machine::boot();
    machine.put(jos_path(), "/usr/bin/jos");
    for file in ["policy.json", "trust.json"] {
        desk.put(&machine, file);
    }
    let folder = json!({ "type": "directory", "path": "/srv/lamp" });
    let file =
        |content: &str, mode: &str| json!({ "type": "file", "path": BRIGHTNESS, "content": content, "mode": mode });
    desk.state(&machine, 1, json!([folder, file("40\n", "0640")]));
    machine
        .sh("cd /root/desk && jos agent install state-1.json --policy policy.json --trust trust.json --interval 3600 --yes")
        .ok();
    settled(&machine);
    for unit in [UNIT, RECOVER] {
        assert_eq!(machine.run(&["systemctl", "is-enabled", unit]).ok().text(), "enabled");
    }
    fs::write(machine.host_path("/etc/systemd/system/witness.service"), WITNESS).expect("written");
    machine.run(&["systemctl", "enable", "witness"]).ok();

    let new = json!({ "type": "file", "path": "/srv/lamp/new", "content": "new\n" });
    let never_ends = json!({ "type": "shell", "command": FOREVER, "timeout": 3600 });
    desk.state(&machine, 2, json!([folder, file("99\n", "0600"), new, never_ends]));
    let mut apply = machine
        .enter()
        .args([
            "jos",
            "agent",
            "apply",
            "/root/desk/state-2.json",
            "--wait",
            "60",
            "--policy",
        ])
        .args([
            "/root/.jos/agents/lamp/policy.toml",
            "--trust",
            "/root/.jos/agents/lamp/trust.json",
        ])
        .spawn()
        .expect("it starts");
    wait::until("the change is under way", SOON, || {
        let begun = machine.run(&["pgrep", "-f", "tail -f /dev/null"]);
        if begun.code == Some(0) && content(&machine, BRIGHTNESS) == "99\n" {
            Ok(())
        } else {
            Err(format!("{begun}\n{}", content(&machine, BRIGHTNESS)))
        }
    });
    machine.power_cut();
    drop(apply.kill());
    drop(apply.wait());
    assert_eq!(content(&machine, BRIGHTNESS), "99\n", "the change had been made");
    assert!(machine.host_path("/srv/lamp/new").exists());

    // The agent itself may not help: what the witness sees is early recovery's doing.
    let wants = machine.host_path(&format!("/etc/systemd/system/multi-user.target.wants/{UNIT}.service"));
    fs::remove_file(&wants).expect("it was enabled");
    machine.power_on();
    assert_eq!(machine.property(UNIT, "ActiveState"), "inactive");
    assert_eq!(content(&machine, "/srv/seen"), "40\n", "{}", machine.journal(RECOVER));
    assert_eq!(content(&machine, BRIGHTNESS), "40\n");
    assert!(!machine.host_path("/srv/lamp/new").exists());
    assert_eq!(
        machine.run(&["stat", "-c", "%a:%U", BRIGHTNESS]).ok().text(),
        "640:root"
    );
    assert_eq!(machine.property(RECOVER, "Result"), "success");
    assert_ne!(machine.property(RECOVER, "ExecMainPID"), "0");

    // The rest is the agent's: the outcome, and its own turn.
    machine.run(&["systemctl", "enable", "--now", UNIT]).ok();
    let status = settled(&machine);
    assert_eq!(status["trouble"], Value::Null, "{status:#}");
    machine.run(&["jos", "ledger", "verify", "lamp"]).ok();
    let shown = machine.run(&["jos", "ledger", "show", "lamp", "--json"]).ok().stdout;
    assert!(shown.contains("interrupted before it was confirmed"), "{shown}");

    // Nothing was under way this time: the unit is not even started.
    machine.reboot();
    assert_eq!(machine.property(RECOVER, "ConditionResult"), "no");
    assert_eq!(machine.property(RECOVER, "ExecMainPID"), "0");
    settled(&machine);
    machine.run(&["jos", "agent", "uninstall", "lamp", "--purge"]).ok();
    machine
        .sh("! find /etc/systemd/system /var/lib/jos -name '*jos-agent*' 2>/dev/null | grep .")
        .ok();
}
