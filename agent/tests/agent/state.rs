//! A desired state that an agent keeps.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::home::{Home, is_root, send, text};

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
fn a_first_start_over_placeholders_is_refused_and_a_running_agent_keeps_what_is_in_force() {
    let home = Home::new();
    fs::create_dir(home.path("www")).unwrap();
    let file = home.path("www/index.html");
    let state = home.state("keeper", 1, &file, "one\n");
    let open = home.unfilled("keeper", 2);
    for arguments in [
        &[
            "agent",
            "install",
            &open,
            "--trust",
            "trust.json",
            "--init",
            "generic",
            "--yes",
        ][..],
        &[
            "agent",
            "run",
            &open,
            "--trust",
            "trust.json",
            "--policy",
            "policy.toml",
            "--state-dir",
            "state",
        ],
    ] {
        home.write("policy.toml", "kind = \"jos.policy\"\n");
        let refused = home.jos(arguments);
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
        for pointer in ["/spec/apply/0/path", "/spec/apply/1/name", "/spec/apply/2/command"] {
            assert!(text(&refused).contains(pointer), "{}", text(&refused));
        }
        assert!(!home.path(".jos").exists() && !home.path("state").exists());
    }

    assert!(home.install(&state, &["--trust", "trust.json"]).status.success());
    home.until("keeper", "version 1 is in force", |s| s["version"] == 1);
    fs::copy(home.path(&open), home.path(".jos/agents/keeper/artifact.json")).unwrap();
    send(&home.status("keeper"), "pid", Signal::SIGHUP);
    let status = home.until("keeper", "the document is refused", |s| s["trouble"].is_string());
    assert!(
        status["trouble"].as_str().unwrap().contains("/spec/apply/0/path"),
        "{status:#}"
    );
    assert_eq!((&status["version"], &status["state"]), (&json!(1), &json!("running")));
    assert_eq!(fs::read_to_string(&file).unwrap(), "one\n");
}
