//! The `ai-box` that comes with jos, on a Debian whose PID 1 is systemd: its model server waits, its node runs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use jos_tests::baked::{Vendor, only};
use jos_tests::nspawn::Machine;
use jos_tests::wait;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);

fn content(machine: &Machine, path: &str) -> String {
    fs::read_to_string(machine.host_path(path)).unwrap_or_else(|error| format!("{path}: {error}"))
}

#[test]
fn the_shipped_ai_box_installs_and_its_path_unit_waits_for_a_model() {
    let vendor = Vendor::new();
    let deb = only(&vendor.bake("ai-box", &["debian/amd64"], "out"), ".deb");
    let machine = Machine::boot();
    machine.apt_install(&deb).ok();
    wait::until("its baseline is in force", SOON, || {
        let status = machine.run(&["jos", "agent", "status", "ai-box", "--json"]);
        let value: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
        if value["version"] == 1 && value["trouble"].is_null() {
            Ok(())
        } else {
            Err(format!("{status}\n{}", machine.journal("ai-box")))
        }
    });
    assert_eq!(machine.property("ai-box-model.path", "ActiveState"), "active");
    assert!(content(&machine, "/etc/ai-box/server.env").contains("HOST=127.0.0.1\n"));
    assert!(machine.host_path("/srv/models").is_dir());
    runs_its_node(&machine);
    // A passphrase may come to lie there; nobody else looks in.
    let mode = fs::metadata(machine.host_path("/etc/jos/secrets"))
        .expect("there")
        .mode();
    assert_eq!(mode & 0o7777, 0o700);
}

/// The package's own program is the node, with the agent that the profile declares: without a model its jobs fail by name, a
/// job that needs none is done. Then the node runs as a user of its own.
fn runs_its_node(machine: &Machine) {
    let data = "/srv/ai-box/node";
    let submit = |machine: &Machine, words: &[&str]| {
        machine.run(&[&["jos", "submit", "--data-dir", data, "--wait", "30"], words].concat())
    };
    let runs = |machine: &Machine| {
        wait::until("the node runs", SOON, || {
            let status = machine.run(&["jos", "status", "--data-dir", data, "--json"]);
            let value: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
            match value["status"]["pid"].as_u64() {
                Some(pid)
                    if value["status"]["serving"] == true
                        && machine.run(&["test", "-d", &format!("/proc/{pid}")]).code == Some(0) =>
                {
                    Ok((pid, value))
                }
                _ => Err(format!("{status}\n{}", machine.journal("ai-box"))),
            }
        })
    };
    let (before, status) = runs(machine);
    assert!(
        status["status"]["agents"].to_string().contains("\"answer\""),
        "{status:#}"
    );
    assert!(submit(machine, &["advance"]).ok().stdout.contains("DONE"));
    let failed = submit(machine, &["answer", "--input", "{\"question\": \"why?\"}"]);
    assert!(
        failed.code == Some(1) && failed.to_string().contains("127.0.0.1:8080"),
        "{failed}"
    );
    // An account of its own; the folder is handed over by hand, for the daemon gives away nothing that is in use.
    let change = format!(
        "useradd --system node && chown -R node: {data} && sed -i 's|^\\[runtime\\]|&\\nuser = \"node\"|' /etc/jos/agent.toml && systemctl reload ai-box"
    );
    machine.sh(&change).ok();
    wait::until_true("the node is another process", SOON, || runs(machine).0 != before);
    let (pid, _) = runs(machine);
    let owner = machine.run(&["stat", "-c", "%U %G", &format!("/proc/{pid}")]).ok();
    assert_eq!(owner.text(), "node node");
    let groups = machine
        .run(&[
            "grep",
            "-E",
            "^(Groups|NoNewPrivs|CapEff)",
            &format!("/proc/{pid}/status"),
        ])
        .ok();
    assert!(
        groups.stdout.contains("NoNewPrivs:\t1") && groups.stdout.contains("CapEff:\t0000000000000000"),
        "{groups}"
    );
    assert!(submit(machine, &["advance"]).ok().stdout.contains("DONE"));
    machine.run(&["jos", "replay", "--data-dir", data]).ok();
}
