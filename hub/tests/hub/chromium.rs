//! The dashboard in a real browser: tests/browser/dashboard.mjs uses it, this plays the fleet. `scripts/test browser`
//! installs what it takes and runs it.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use jos_hub::store::users::{EVERY_TENANT, Role};
use jos_schemas::documents::desired_state;
use jos_trust::SecretKey;
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::browser::{PASSWORD, add_user};
use crate::common::{Device, Running, admin_key, enrolment, signed, state, state_for, stranger};

struct Chromium {
    process: Child,
    says: BufReader<ChildStdout>,
    hears: ChildStdin,
}

impl Chromium {
    fn start(running: &Running) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/browser/dashboard.mjs");
        let mut process = Command::new("node")
            .arg(script)
            .env("JOS_URL", format!("https://{}", running.admins()))
            .env("JOS_USER", "ana")
            .env("JOS_PASSWORD", PASSWORD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts; `scripts/test browser` installs it");
        let says = BufReader::new(process.stdout.take().expect("a pipe"));
        let hears = process.stdin.take().expect("a pipe");
        Self { process, says, hears }
    }

    /// Waits until the browser is at this step.
    fn at(&mut self, step: &str) -> Value {
        let mut line = String::new();
        self.says.read_line(&mut line).expect("a line");
        assert!(!line.is_empty(), "the browser ended before {step:?}; it says why above");
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("found {line:?}, expected JSON"));
        assert_eq!(said["step"], step, "{said}");
        said
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.hears, "{word}").expect("the browser listens");
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn enrolled(running: &Running, line: &str, seed: u8, facts: &Value) -> Device {
    let (key, ledger) = (KeyPair::generate().expect("a key"), SecretKey::from_bytes(&[seed; 32]));
    let mut request = enrolment(&key, &ledger, line);
    request["facts"] = facts.clone();
    let (status, reply) = stranger(running, "POST", "/v1/enrol", &request);
    assert_eq!(status, 200, "{reply}");
    Device::with(running, key, ledger, &reply["device"], reply["certificate"].clone())
}

fn report(device: &Device, version: u64, outcome: &str, index: u64, reason: Option<&str>) {
    let mut report = json!({
        "kind": "jos.report", "name": "portal", "version": version, "outcome": outcome, "time": "2027-01-01T00:00:00Z",
        "changed": 3, "ledger": { "index": index, "hash": format!("{index:064x}") },
    });
    if let Some(reason) = reason {
        report["reason"] = reason.into();
    }
    let (status, answer) = device.ask("POST", "/v1/report", Some(&report));
    assert_eq!(status, 204, "{answer}");
}

fn heartbeat(device: &Device, version: Option<u64>, outcome: Option<&str>) {
    let telemetry = json!({
        "cpu": 12, "load": [42, 35, 30], "memory": { "total": 134_217_728, "available": 63_963_136 }, "temperature": 47_500,
        "network": { "received": 81_788_928, "sent": 5_242_880 }, "services": { "portal": true }, "uptime": 270_000,
    });
    let mut said = json!({ "agent": "0.1.0", "features": ["file", "service", "uci"], "telemetry": telemetry });
    if let Some(version) = version {
        said["version"] = version.into();
        said["ledger"] = json!({ "index": 10 * version, "hash": format!("{:064x}", 10 * version) });
    }
    if let Some(outcome) = outcome {
        said["outcome"] = outcome.into();
    }
    let (status, answer) = device.heartbeat(&said);
    assert_eq!(status, 200, "{answer}");
}

/// Answers what somebody asked, as a device whose last version was rolled back does.
fn tell(device: &Device) {
    let (status, reply) = device.heartbeat(&json!({ "version": 1, "outcome": "rolled_back" }));
    assert_eq!(status, 200, "{reply}");
    let at = |minute: usize| format!("2027-01-01T00:{minute:02}:00Z");
    let decision = |index: usize, version: u64| {
        json!({ "index": index, "time": at(index), "kind": "decision", "source": "hub", "version": version, "decision": "state.apply",
                "signers": ["admin-1", "admin-2"] })
    };
    let outcome = |index: usize, version: u64, outcome: &str, changed: u32| {
        json!({ "index": index, "time": at(index), "kind": "outcome", "source": "hub", "version": version, "of": index - 1,
                "outcome": outcome, "changed": changed })
    };
    let deed = |decision: usize, version: u64, event: Option<&str>| {
        let mut deed = json!({ "decision": decision, "time": at(decision), "source": "hub", "version": version, "signers": ["admin-1"] });
        if let Some(event) = event {
            deed["event"] = event.into();
        }
        deed
    };
    let questions = reply["questions"].as_array().expect("questions");
    assert_eq!(questions.len(), 3, "{reply}");
    for question in questions {
        let mut answer = json!({ "kind": "jos.answer", "name": "portal", "time": at(20) });
        match question["about"].as_str().expect("a word") {
            "logs" => {
                let said = (0..30).map(|n| {
                    format!("2027-01-01T00:{n:02}:00+0000 router-98 jos[712]: drift: file:/etc/config/portal Update")
                });
                let mut lines =
                    vec!["2027-01-01T00:00:00+0000 router-98 jos[712]: portal: agent 0.1.0 starts".to_owned()];
                lines.extend(said);
                answer["logs"] = json!(lines);
            }
            "ledger" => {
                answer["ledger"] = json!([
                    decision(4, 1),
                    outcome(5, 1, "applied", 3),
                    decision(14, 2),
                    outcome(15, 2, "rolled_back", 2)
                ]);
            }
            _ => {
                let history = [deed(4, 1, Some("created")), deed(14, 2, Some("rolled_back"))];
                answer["blame"] =
                    json!({ "path": question["path"], "stands_by": deed(4, 1, None), "history": history });
            }
        }
        let path = format!("/v1/answer/{}", question["id"].as_str().expect("an id"));
        let (status, refused) = device.ask("POST", &path, Some(&answer));
        assert_eq!(status, 204, "{refused}");
    }
}

/// A fleet of forty, as one finds it: most in step, some on their way, some in trouble.
fn fleet(running: &Running) -> (Vec<Device>, String) {
    let mut devices = Vec::new();
    let line = |labels: Value| running.token(&json!({ "labels": labels, "uses": 50, "comment": "batch 7" }));
    let lines = [
        line(json!({ "site": "mx-3", "role": "gateway" })),
        line(json!({ "site": "pe-1" })),
    ];
    for number in 0..40_u8 {
        let facts = json!({ "hostname": format!("router-{number:02}"), "model": "GL.iNet GL-MT300N-V2", "os": "OpenWrt 23.05.5" });
        let device = enrolled(running, &lines[usize::from(number % 4 == 0)], 100 + number, &facts);
        match number {
            0..=2 => heartbeat(&device, Some(1), Some("applied")),
            3 => {
                report(
                    &device,
                    2,
                    "rolled_back",
                    7,
                    Some("the health check of portal failed: nothing listens on port 80"),
                );
                heartbeat(&device, Some(1), Some("rolled_back"));
            }
            4 => heartbeat(&device, Some(2), Some("drifted")),
            5 => {}
            _ => {
                report(&device, 2, "applied", 9, None);
                heartbeat(&device, Some(2), Some("applied"));
            }
        }
        if number == 6 {
            // A copy of its disk calls as well.
            let copied = device.copied(running);
            heartbeat(&copied, Some(2), None);
            running.clock.advance(20);
            let (status, _) = device.heartbeat(&json!({}));
            assert_eq!(status, 403);
        }
        devices.push(device);
    }
    let evil = "\"'><script>window.reached=1;alert(1)</script><img src=x onerror=\"window.reached=1\">";
    let evil = enrolled(
        running,
        &lines[0],
        99,
        &json!({ "hostname": evil, evil: evil, "model": "x".repeat(256) }),
    );
    let said = json!({ "version": 2, "telemetry": { "cpu": "<script>window.reached=1</script>" } });
    assert_eq!(evil.heartbeat(&said).0, 200);
    (devices, evil.id)
}

#[test]
#[ignore = "takes node and Chromium: scripts/test browser"]
fn somebody_signs_in_enrols_a_device_and_watches_it_without_a_click() {
    let running = Running::trusted();
    add_user(&running, "ana", Role::Admin, EVERY_TENANT);
    add_user(&running, "bo", Role::Operator, "default");
    let mut browser = Chromium::start(&running);
    let line = browser.at("token")["line"].as_str().expect("a line").to_owned();
    let device = enrolled(
        &running,
        &line,
        98,
        &json!({ "hostname": "router-98", "model": "GL.iNet GL-MT300N-V2" }),
    );
    browser.tell(&device.id);

    browser.at("watching");
    assert_eq!(running.push(&state(1)).0, 200);
    heartbeat(&device, None, None);
    browser.tell("on its way");
    browser.at("on its way");
    report(&device, 1, "applied", 5, None);
    heartbeat(&device, Some(1), Some("applied"));
    browser.tell("in step");
    browser.at("in step");
    assert_eq!(running.push(&state(2)).0, 200);
    report(
        &device,
        2,
        "rolled_back",
        15,
        Some("the health check of portal failed: nothing listens on port 80"),
    );
    heartbeat(&device, Some(1), Some("rolled_back"));
    browser.tell("failed");
    browser.at("asked");
    tell(&device);
    browser.tell("told");
    browser.at("quarantined");
    let shown = running.get(&format!("/api/v1/devices/{}", device.id));
    assert_eq!(
        (&shown["device"]["status"], &shown["device"]["reason"]),
        (&json!("quarantined"), &json!("stolen van"))
    );
    let (devices, evil) = fleet(&running);
    let mut other = state_for(1, &json!({ "site": "mx-3" }));
    other["meta"]["name"] = "captive".into();
    assert_eq!(running.push(&other).0, 200);
    browser.tell("a fleet is there");
    browser.at("evil");
    browser.tell(&json!([evil]).to_string());

    // A version that fails stops by itself, before the eyes of whoever watches it.
    browser.at("rollout");
    let plan = json!({
        "kind": "jos.rollout", "name": "portal", "version": 3, "halt_percent": 20,
        "phases": [{ "percent": 40, "soak": 0 }, { "percent": 100, "soak": 0 }],
    });
    let third = signed(&state(3), desired_state::KIND, &[&admin_key()]).to_string();
    let (status, made) = running.admin("POST", "/api/v1/rollouts", &json!({ "rollout": plan, "state": third }));
    assert_eq!(status, 200, "{made}");
    browser.tell(made["rollout"]["id"].as_str().expect("an id"));
    browser.at("under way");
    let let_in = devices
        .iter()
        .filter(|device| device.state(None, 0).2.windows(11).any(|w| w == b"\"version\":3"));
    for (at, device) in let_in.enumerate() {
        running.clock.advance(15);
        let (outcome, reason) = match at {
            0..8 => ("applied", None),
            _ => (
                "rolled_back",
                Some("the health check of portal failed: nothing listens on port 80"),
            ),
        };
        report(device, 3, outcome, 40, reason);
    }
    browser.tell("some failed");
    browser.at("done");
}
