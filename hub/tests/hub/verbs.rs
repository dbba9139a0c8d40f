//! Every verb of the command line that no other test types: on the data directory and from afar, for people and for scripts.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use jos_schemas::documents::desired_state;
use serde_json::{Value, json};

use crate::common::{Device, Running, admin_key, signed, state};
use crate::process::{command, done, refused};

/// A command, a word of what people read, and where scripts find what.
type Verb<'a> = (Vec<&'a str>, &'a str, (&'a str, Value));

/// A hub with a device, a token, five states and a rollout that is under way.
struct Hub {
    running: Running,
    device: Device,
    token: String,
    rollout: String,
}

impl Hub {
    fn new() -> Self {
        let running = Running::trusted();
        let device = running.device(&json!({}));
        assert_eq!(device.heartbeat(&json!({})).0, 200);
        for name in ["portal", "one-0", "one-1", "one-2", "one-3"] {
            let mut state = state(1);
            state["meta"]["name"] = name.into();
            assert_eq!(running.push(&state).0, 200);
        }
        let second = signed(&state(2), desired_state::KIND, &[&admin_key()]).to_string();
        let plan = json!({
            "kind": "jos.rollout", "name": "portal", "version": 2, "phases": [{ "percent": 100, "soak": 86_400 }],
        });
        let (status, made) = running.admin("POST", "/api/v1/rollouts", &json!({ "rollout": plan, "state": second }));
        assert_eq!(status, 200, "{made}");
        let token = running.admin("POST", "/api/v1/tokens", &json!({})).1;
        let id = |value: &Value| value.as_str().expect("an id").to_owned();
        Self {
            device,
            token: id(&token["token"]["id"]),
            rollout: id(&made["rollout"]["id"]),
            running,
        }
    }

    fn run(&self, words: &[&str], way: usize) -> String {
        let mut ran = command(words);
        let data = self.running.hub.dir.path();
        if way < 2 {
            ran.arg("--data").arg(data);
        } else {
            let url = format!("https://{}", self.running.admins());
            ran.args(["--url", &url, "--token-file"]).arg(data.join("admin.token"));
        }
        if way % 2 == 1 {
            ran.arg("--json");
        }
        done(&ran.output().expect("it runs"))
    }
}

#[test]
fn every_verb_does_the_same_on_the_data_directory_and_from_afar_for_people_and_for_scripts() {
    let hub = Hub::new();
    let (device, token, rollout) = (&*hub.device.id, &*hub.token, &*hub.rollout);
    for way in 0..4 {
        let (tenant, state) = (format!("tenant-{way}"), format!("one-{way}"));
        let verbs: Vec<Verb<'_>> = vec![
            (vec!["token", "list"], token, ("/0/tenant", json!("default"))),
            (vec!["token", "revoke", token], "is revoked", ("/revoked", json!(token))),
            (
                vec!["device", "quarantine", device, "--reason", "stolen van"],
                "is quarantined",
                ("/status", json!("quarantined")),
            ),
            (
                vec!["device", "release", device],
                "is active",
                ("/status", json!("active")),
            ),
            (
                vec!["device", "hold", device, "--reason", "trade fair"],
                "trade fair",
                ("/held", json!("trade fair")),
            ),
            (vec!["device", "unhold", device], "goes on", ("/held", Value::Null)),
            (vec!["rollout", "list"], rollout, ("/0/id", json!(rollout))),
            (
                vec!["rollout", "pause", rollout, "--reason", "lunch"],
                "paused",
                ("/status", json!("paused")),
            ),
            (
                vec!["rollout", "resume", rollout],
                "running",
                ("/status", json!("running")),
            ),
            (vec!["tenant", "new", &tenant], "is there", ("/name", json!(tenant))),
            (vec!["tenant", "list"], &tenant, ("/0/name", json!("default"))),
            (vec!["trust", "list"], "1", ("/0/version", json!(1))),
            (vec!["state", "list"], &state, ("/0/tenant", json!("default"))),
            (
                vec!["state", "show", &state, "1"],
                "/etc/motd",
                ("/meta/name", json!(state)),
            ),
            (
                vec!["state", "retire", &state, "1", "--reason", "typo"],
                "",
                ("", Value::Null),
            ),
            (vec!["alarms", "--all"], "none", ("", json!([]))),
            (
                vec!["audit", "--limit", "1"],
                "state.retire",
                ("/entries/0/subject", json!(format!("{state}@1"))),
            ),
            (vec!["export"], device, ("/devices/0/id", json!(device))),
        ];
        for (words, people, (place, scripts)) in verbs {
            let said = hub.run(&words, way);
            if way % 2 == 0 {
                assert!(said.contains(people), "{words:?}, way {way}: {said}");
                continue;
            }
            let value: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{words:?}, way {way}: {said}"));
            if !words.starts_with(&["state", "retire"]) {
                assert_eq!(value.pointer(place), Some(&scripts), "{words:?}, way {way}: {value}");
            }
        }
    }
}

#[test]
fn a_verb_on_what_is_not_there_is_refused_by_its_name_in_both_ways() {
    let hub = Hub::new();
    for words in [
        ["token", "revoke", "t-0"],
        ["device", "hold", "d-0"],
        ["rollout", "pause", "r-0"],
        ["api-token", "revoke", "a-0"],
    ] {
        let data = hub.running.hub.dir.path();
        let local = command(&words).arg("--data").arg(data).output().expect("it runs");
        refused(
            &local,
            1,
            &format!("there is no {}", words[0].replace("api-token", "API token")),
        );
        let url = format!("https://{}", hub.running.admins());
        let afar = command(&words)
            .args(["--json", "--url", &url, "--token-file"])
            .arg(data.join("admin.token"))
            .output();
        let afar = afar.expect("it runs");
        let error: Value = serde_json::from_slice(&afar.stderr).expect("JSON");
        assert_eq!(
            (afar.status.code(), &error["details"]["code"]),
            (Some(1), &json!("not-found")),
            "{error}"
        );
    }
}

#[test]
fn an_export_has_all_that_is_known_and_no_secret() {
    let hub = Hub::new();
    let running = &hub.running;
    let head = json!({ "index": 7, "hash": "7".repeat(64) });
    let report = json!({
        "kind": "jos.report", "name": "portal", "version": 1, "outcome": "applied", "time": "2027-01-01T00:00:00Z",
        "changed": 3, "ledger": head,
    });
    assert_eq!(hub.device.ask("POST", "/v1/report", Some(&report)).0, 204);
    let said = json!({ "version": 1, "ledger": head, "telemetry": { "load": [15, 100, 1234] } });
    assert_eq!(hub.device.heartbeat(&said).0, 200);
    running.clock.advance(300);
    assert_eq!(hub.device.heartbeat(&said).0, 200);
    crate::browser::add_user(running, "ana", jos_hub::store::users::Role::Admin, "*");
    let made = running
        .admin(
            "POST",
            "/api/v1/api-tokens",
            &json!({ "user": "ana", "role": "viewer" }),
        )
        .1;
    // More entries than are read at once.
    running.runtime.block_on(async {
        let mut tx = running.hub.store.write().await.expect("a transaction");
        for number in 0..2500 {
            let act = jos_hub::store::audit::Act {
                actor: "local:test",
                tenant: None,
                action: "test.many",
                subject: &number.to_string(),
                detail: Value::Null,
            };
            jos_hub::store::audit::append(&mut tx, &act, 1).await.expect("an entry");
        }
        tx.commit().await.expect("a commit");
    });
    let text = hub.run(&["export"], 2);
    let all: Value = serde_json::from_str(&text).expect("JSON");
    let device = &all["devices"][0];
    for (found, expected) in [
        (&all["tenants"][0]["name"], json!("default")),
        (&all["users"][0]["roles"], json!({ "*": "admin" })),
        (&all["trust"][0]["version"], json!(1)),
        (&device["agents"][0]["telemetry"]["load"], json!([15, 100, 1234])),
        (&device["heads"][0]["index"], json!(7)),
        (&device["reports"][0]["outcome"], json!("applied")),
        (&device["history"][0]["metrics"]["load.5"]["last"], json!(100.0)),
        (&all["rollouts"][0]["id"], json!(hub.rollout)),
    ] {
        assert_eq!(*found, expected);
    }
    let document = all["trust"][0]["document"].as_str().expect("a text");
    assert_eq!(
        serde_json::from_str::<Value>(document).expect("JSON")["kind"],
        "jos.trust"
    );
    let document = all["states"][0]["document"].as_str().expect("a text");
    assert_eq!(
        serde_json::from_str::<Value>(document).expect("JSON")["kind"],
        "jos.agent.desired_state"
    );
    let numbers = all["audit"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| entry["number"].as_u64().expect("a number"));
    let numbers: Vec<u64> = numbers.collect();
    assert!(
        numbers.len() > 2500 && numbers.windows(2).all(|pair| pair[0] == pair[1] + 1),
        "{}",
        numbers.len()
    );
    // What the description promises is there, and nothing else.
    let (_, described) = running.admin("GET", "/api/v1/openapi.json", &Value::Null);
    let promised = &described["components"]["schemas"]["Export"]["properties"];
    let names = |value: &Value| {
        value
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let (mut promised, mut found) = (names(promised), names(&all));
    promised.sort();
    found.sort();
    assert_eq!(promised, found);
    let admin = std::fs::read_to_string(running.hub.dir.file("admin.token")).expect("a token");
    for secret in [
        made["line"].as_str().expect("a line"),
        admin.trim(),
        "$argon2",
        "PRIVATE KEY",
    ] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[test]
fn a_log_as_json_is_one_object_a_line() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let data = folder.path().join("hub");
    done(
        &command(&["init", "--address", "https://127.0.0.1:1", "--data"])
            .arg(&data)
            .output()
            .expect("it runs"),
    );
    let words = [
        "serve",
        "--json",
        "--log-format",
        "json",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
        "--data",
    ];
    let process = command(&words)
        .arg(&data)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut process = process.expect("it starts");
    let mut line = String::new();
    // It serves.
    BufReader::new(process.stdout.take().expect("a pipe"))
        .read_line(&mut line)
        .expect("a line");
    let pid = i32::try_from(process.id()).expect("a pid");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM).expect("it is ours");
    let ended = process.wait_with_output().expect("it ends");
    assert!(ended.status.success());
    let log = String::from_utf8_lossy(&ended.stderr);
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("one object a line"))
        .collect();
    let ending = lines
        .iter()
        .find(|line| line["message"] == "ending")
        .expect("it says that it ends");
    assert_eq!(ending["level"], "INFO");
    assert!(
        ending["timestamp"].is_string() && ending["target"].is_string(),
        "{ending}"
    );
}
