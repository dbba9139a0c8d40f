//! People at the hub want to know something of a device, with the real programs: its log, its last records, why a file is so.

use std::fs;

use jos_tests::fleet::{Device, Hub, SOON};
use jos_tests::wait::until;
use serde_json::{Value, json};

/// Waits until each question of this device is answered, and gives them, the newest first.
fn answered(hub: &Hub, device: &str) -> Vec<Value> {
    until("every question is answered", SOON, || {
        let all = hub.remote(&["device", "answers", device, "--json"]).ok().json();
        let all = all.as_array().cloned().unwrap_or_default();
        if !all.is_empty() && all.iter().all(|asked| asked["answered"].is_i64()) {
            Ok(all)
        } else {
            Err(format!("{all:#?}"))
        }
    })
}

fn about<'a>(all: &'a [Value], about: &str) -> &'a Value {
    let found = all.iter().find(|asked| asked["about"] == about);
    &found.unwrap_or_else(|| panic!("no {about} in {all:#?}"))["answer"]
}

#[test]
fn a_device_tells_its_log_its_ledger_and_why_a_file_is_so_and_no_secret() {
    let mut hub = Hub::on("127.0.0.1");
    let mut device = Device::new(&["echo the key is correct-horse-battery; false"], "");
    fs::create_dir(device.path("secrets")).expect("a folder");
    let config = fs::read_to_string(device.path("agent.toml")).expect("a file");
    let config = format!("secrets = {:?}\n{config}", device.path("secrets"));
    fs::write(device.path("agent.toml"), config).expect("a file");
    fs::write(device.path("secrets/wifi"), "correct-horse-battery\n").expect("a file");
    device.enrol(&hub).ok();
    device.start();
    hub.push(1, &json!({ "apply": [device.file("a", "one\n")] }));
    hub.until_reported(1, "applied");
    // A health check that says a secret on its way out.
    let bad = json!({
        "apply": [device.file("a", "two\n")],
        "health_check": { "type": "command", "command": "echo the key is correct-horse-battery; false", "retries": 1, "timeout": 5 },
    });
    hub.push(2, &bad);
    let seen = hub.until_reported(2, "rolled_back");
    let id = seen["device"]["id"].as_str().expect("an id").to_owned();
    let path = device.path("www/a").display().to_string();

    hub.remote(&["device", "ask", &id, "logs", "--lines", "100"])
        .ok()
        .says("device answers");
    hub.remote(&["device", "ask", &id, "ledger", "--name", "kiosk"]).ok();
    // A question outlives the hub that took it.
    hub.remote(&["device", "ask", &id, "blame", &path]).ok();
    hub.kill();
    hub.serve();
    let all = answered(&hub, &id);
    assert_eq!(all.len(), 3, "{all:#?}");
    let logs = about(&all, "logs")["logs"].as_array().cloned().expect("lines");
    assert!((3..=100).contains(&logs.len()), "{logs:#?}");
    assert!(
        logs.iter()
            .any(|line| line.as_str().is_some_and(|line| line.contains("kiosk"))),
        "{logs:#?}"
    );
    let records = about(&all, "ledger")["ledger"].as_array().cloned().expect("records");
    let of = |kind: &str, version: u64| records.iter().any(|r| r["kind"] == *kind && r["version"] == version);
    assert!(
        of("decision", 1) && of("outcome", 1) && of("decision", 2) && of("outcome", 2),
        "{records:#?}"
    );
    let last = records.iter().rfind(|r| r["kind"] == "outcome").expect("an outcome");
    assert_eq!(last["outcome"], "rolled_back", "{records:#?}");
    let decided = records
        .iter()
        .find(|r| r["decision"] == "state.apply")
        .expect("a decision");
    assert!(
        decided["signers"][0].is_string() && decided["source"] == "hub",
        "{records:#?}"
    );
    let blame = &about(&all, "blame")["blame"];
    assert_eq!(
        (&blame["path"], &blame["stands_by"]["version"]),
        (&json!(path), &json!(1)),
        "{blame:#}"
    );
    assert_eq!(blame["stands_by"]["signers"], decided["signers"], "{blame:#}");
    let events: Vec<&Value> = blame["history"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|deed| &deed["event"])
        .collect();
    assert_eq!(events, ["created", "rolled_back"], "{blame:#}");
    // Neither content nor a secret is in any of it.
    let everything = json!(all).to_string();
    for word in ["correct-horse", "one\\n", "two\\n", "sha256"] {
        assert!(!everything.contains(word), "{word} in {everything}");
    }
    let shown = hub.hub(&["device", "answers", &id]).ok();
    for words in ["state.apply", "rolled back", "stands", "signed by"] {
        assert!(shown.text().to_lowercase().contains(words), "{words}: {}", shown.text());
    }
    // A path that nobody put there, and one that is none.
    hub.remote(&["device", "ask", &id, "blame", "/etc/passwd"]).ok();
    let all = answered(&hub, &id);
    let other = all
        .iter()
        .find(|asked| asked["path"] == "/etc/passwd")
        .expect("it is there");
    assert_eq!(
        other["answer"]["blame"],
        json!({ "path": "/etc/passwd", "since": 0 }),
        "{other:#}"
    );
    hub.remote(&["device", "ask", &id, "blame", "etc/passwd"]).exits(1);
}

#[test]
fn a_device_whose_settings_say_so_tells_nothing() {
    let hub = Hub::on("127.0.0.1");
    let mut device = Device::new(&[], "[hub]\nurl = \"https://127.0.0.1:1\"\nanswers = false\n");
    device.enrol(&hub).ok();
    device.start();
    device.until("it calls", |live| live["link"]["last_contact"].is_string());
    let id = hub.device()["device"]["id"].as_str().expect("an id").to_owned();
    until("its agent is known", SOON, || {
        let asked = hub.remote(&["device", "ask", &id, "logs"]);
        if asked.code == Some(0) {
            Ok(())
        } else {
            Err(asked.to_string())
        }
    });
    for more in [&["ledger"][..], &["blame", "/etc/motd"]] {
        hub.remote(&[&["device", "ask", &id], more].concat()).ok();
    }
    let all = answered(&hub, &id);
    assert_eq!(all.len(), 3);
    for asked in &all {
        let answer = &asked["answer"];
        assert_eq!(answer["refused"], "refused by the device's settings", "{asked:#}");
        assert!(
            answer["logs"].is_null() && answer["ledger"].is_null() && answer["blame"].is_null(),
            "{asked:#}"
        );
    }
    assert!(
        device
            .log()
            .contains("people at the hub are not told: refused by the device's settings")
    );
}
