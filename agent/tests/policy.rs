//! `jos policy check`, driven as at a shell: every step with its verdict, and the lines that the policy lacks.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

fn jos(dir: &std::path::Path, line: &str) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_jos"))
        .args(line.split(' '))
        .current_dir(dir)
        .output()
        .expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn desk(policy: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("policy.toml"), policy).expect("written");
    let state = json!({
        "kind": "jos.agent.desired_state",
        "meta": { "name": "portal", "version": 3 },
        "spec": {
            "apply": [
                { "type": "file", "path": "/etc/motd", "content": "hello", "notify": ["cups"] },
                { "type": "file", "path": "/opt/x", "content": "x" },
                { "type": "file", "path": "/etc/cron.d/night", "content": "x" },
                { "type": "file", "path": "/etc/jos/policy.toml", "content": "x" },
                { "type": "file", "path": "/srv/tool", "content": "x", "mode": "4755" },
                { "type": "service", "name": "sshd", "action": "stop" },
                { "type": "shell", "command": "true", "unless": "test -e \"/x\"", "undo": "undo it" },
            ],
            "health_check": { "type": "command", "command": "is it well" },
            "confirm": { "command": "ask somebody", "hub_within": 60 },
        },
    });
    fs::write(dir.path().join("state.json"), state.to_string()).expect("written");
    dir
}

const POLICY: &str = "kind = \"jos.policy\"\n[grants.hub]\nfiles = [\"/etc/**\", \"/srv/**\"]\nservices = [\"cups\"]\nshell = [\"true\"]\n";

#[test]
fn each_step_is_granted_or_refused_with_the_line_that_is_missing() {
    let dir = desk(POLICY);
    let (code, out, err) = jos(dir.path(), "policy check state.json --policy policy.toml --source hub");
    assert_eq!(code, 1, "{out}{err}");
    for line in [
        "granted     step 1 (file /etc/motd)",
        "refused     step 2 (file /opt/x)",
        "under [grants.hub]: files = [\"/opt/x\"]",
        "under [grants.hub]: files = [{ path = \"/etc/cron.d/night\", code = true }]",
        "under [grants.hub]: files = [{ path = \"/srv/tool\", code = true, setuid = true }]",
        "/etc/jos is protected whatever is granted",
        "under [grants.hub]: services = [\"sshd\"]",
        "unless: the command is not listed",
        "undo: the command is not listed",
        "refused     spec.health_check",
        "refused     spec.confirm.command",
        "granted     spec.confirm.hub_within",
        "policy.toml: 2 granted, 8 refused\n",
        "protected whatever is granted: /etc/jos,",
    ] {
        assert!(out.contains(line), "{line:?} in:\n{out}");
    }
}

#[test]
fn the_lines_that_are_printed_are_the_ones_that_grant() {
    let dir = desk(POLICY);
    let (_, out, _) = jos(dir.path(), "policy check state.json --policy policy.toml --source hub");
    let (_, missing) = out.split_once("would need:\n").expect("lines to add");
    let missing: toml::Table = missing.parse().expect("TOML");
    let mut policy: toml::Table = POLICY.parse().expect("TOML");
    let own = policy["grants"]["hub"].as_table_mut().expect("a table");
    for (key, values) in missing["grants"]["hub"].as_table().expect("a table") {
        let list = own.entry(key).or_insert(toml::Value::Array(Vec::new()));
        list.as_array_mut()
            .expect("a list")
            .extend(values.as_array().expect("a list").clone());
    }
    fs::write(dir.path().join("wide.toml"), policy.to_string()).expect("written");
    let (code, out, _) = jos(
        dir.path(),
        "policy check state.json --policy wide.toml --source hub --json",
    );
    // What is protected stays so, and nothing else is left.
    let value: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, value["granted"].as_bool()), (1, Some(false)), "{out}");
    let refused: Vec<&str> = value["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .filter(|s| s["granted"] == false)
        .map(|s| s["step"].as_str().expect("a text"))
        .collect();
    assert_eq!(refused, ["step 4 (file /etc/jos/policy.toml)"]);
    assert_eq!(value["needed"], json!({}));
    assert!(
        value["protected"]
            .as_array()
            .expect("a list")
            .contains(&json!("/var/lib/jos"))
    );
}

#[test]
fn a_step_image_is_judged_as_on_a_device_with_two_systems() {
    let dir = tempfile::tempdir().expect("a directory");
    let image = json!({ "type": "image", "compatible": "kiosk-amd64-uefi", "version": "1.0.1-1",
        "source": { "sha256": "0".repeat(64), "size": 4, "urls": ["http://updates.example/x.raucb"] } });
    let state = json!({
        "kind": "jos.agent.desired_state",
        "meta": { "name": "portal", "version": 3, "requires": ["image", "hub-within"] },
        "spec": { "apply": [image], "confirm": { "hub_within": 60 } },
    });
    fs::write(dir.path().join("state.json"), state.to_string()).expect("written");
    let granted = "kind = \"jos.policy\"\n[grants.hub]\nimages = [\"kiosk-amd64-uefi\"]\n";
    fs::write(dir.path().join("policy.toml"), granted).expect("written");
    let check = |source: &str| {
        let line = format!("policy check state.json --policy policy.toml --source {source}");
        jos(dir.path(), &line)
    };
    let (code, out, err) = check("hub");
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("policy.toml: 2 granted, 0 refused\n"), "{out}");
    let (code, out, err) = check("local");
    assert_eq!(code, 1, "{out}{err}");
    for line in [
        "under [grants.local]: images = [\"kiosk-amd64-uefi\"]",
        "unsupported spec.confirm.hub_within",
        "this agent does not have the feature \"hub-within\"",
    ] {
        assert!(out.contains(line), "{line:?} in:\n{out}");
    }
    // A baseline moves no device, whatever is granted.
    let (_, out, _) = check("baseline");
    assert!(out.contains("only a signed state moves the device"), "{out}");
}

#[test]
fn grants_of_another_source_do_not_count_and_bad_use_is_told() {
    let dir = desk(POLICY);
    let (code, out, _) = jos(dir.path(), "policy check state.json --policy policy.toml");
    assert_eq!(code, 1);
    assert!(out.contains("under [grants.local]: files = [\"/etc/motd\"]"), "{out}");
    let (code, _, err) = jos(dir.path(), "policy check state.json --policy missing.toml");
    assert_eq!(code, 2);
    assert!(err.contains("--policy FILE"), "{err}");
    fs::write(dir.path().join("bad.json"), "{}").expect("written");
    assert_eq!(jos(dir.path(), "policy check bad.json --policy policy.toml").0, 2);
    let simple = json!({ "kind": "jos.agent.desired_state", "meta": { "name": "portal", "version": 3 },
        "spec": { "apply": [{ "type": "file", "path": "/etc/motd", "content": "x" }] } });
    fs::write(dir.path().join("good.json"), simple.to_string()).expect("written");
    let (code, out, _) = jos(dir.path(), "policy check good.json --policy policy.toml --source hub");
    assert_eq!(code, 0, "{out}");
}
