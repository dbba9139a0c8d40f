//! Installing and uninstalling: what is refused, what is written, what is left.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use serde_json::{Value, json};

use crate::home::{Home, artifact, shell, text};

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
    assert_eq!(status["hub"]["enrolled"], false);
    let contact = status["hub"]["contact"].as_str().unwrap();
    assert!(contact.starts_with("not enrolled: jos agent enrol TOKEN"), "{contact}");
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
    let early = root.join("etc/systemd/system/jos-agent-hello-recover.service");
    let early_wants = root.join("etc/systemd/system/sysinit.target.wants/jos-agent-hello-recover.service");
    let recover = fs::read_to_string(&early).unwrap();
    assert!(
        recover.contains("\nExecStart=/")
            && recover.contains(" agent recover --files --config /root/.jos/agents/hello/agent.toml\n"),
        "{recover}"
    );
    assert!(
        recover.contains("/hello/journal/trial.json\n") && early_wants.is_symlink(),
        "{recover}"
    );
    let wants = root.join("etc/systemd/system/multi-user.target.wants/jos-agent-hello.service");
    assert_eq!(
        fs::read_link(wants).unwrap(),
        Path::new("/etc/systemd/system/jos-agent-hello.service")
    );
    home.ok(&["agent", "uninstall", "hello", "--root", root_text]);
    assert!(!root.join("etc/systemd/system/jos-agent-hello.service").exists());
    assert!(!early.exists() && !early_wants.is_symlink());
    assert!(!root.join("root/.jos/agents/hello").exists());

    for (init, file) in [
        ("procd", "etc/init.d/jos-agent-hello"),
        ("procd", "etc/init.d/jos-agent-hello-recover"),
        ("procd", "etc/rc.d/S12jos-agent-hello-recover"),
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
        assert!(root.join(file).symlink_metadata().is_ok(), "{file}");
        home.ok(&["agent", "uninstall", "hello", "--root", root_text]);
        assert!(root.join(file).symlink_metadata().is_err(), "{file}");
    }
}
