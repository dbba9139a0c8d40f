//! The simulated fleet against a real hub: what it says, the hub believes; what the hub says, it obeys.

use serde_json::{Value, json};

use crate::common::{Running, admin_key, signed, state};

fn simulate(running: &Running, token: &str, args: &[&str]) -> Value {
    let url = format!("https://{}", running.devices());
    let done = crate::process::command(&[
        "simulate",
        "--json",
        "--name",
        "portal",
        "--ramp",
        "0",
        "--interval",
        "1",
        "--hub",
    ])
    .args([&url, "--token", token, "--apply", "1"])
    .args(args)
    .output()
    .expect("it runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).expect("JSON")
}

#[test]
fn simulated_devices_enrol_call_take_a_state_and_report_it() {
    let running = Running::trusted();
    assert_eq!(running.push(&state(1)).0, 200);
    let token = running.token(&json!({ "uses": 8 }));
    let figures = simulate(&running, &token, &["--devices", "8", "--for", "4"]);
    assert_eq!(
        (&figures["connected"], &figures["errors"]),
        (&json!(8), &json!({})),
        "{figures}"
    );
    assert_eq!(
        (
            &figures["times"]["enrol"]["count"],
            &figures["times"]["report"]["count"]
        ),
        (&json!(8), &json!(8))
    );
    assert_eq!(
        (&figures["told"][0]["version"], &figures["told"][0]["devices"]),
        (&json!(1), &json!(8))
    );
    let devices = running.get("/api/v1/devices");
    let devices = devices.as_array().expect("devices");
    assert_eq!(devices.len(), 8);
    for device in devices {
        let shown = running.get(&format!("/api/v1/devices/{}", device["id"].as_str().expect("an id")));
        assert_eq!(shown["agents"][0]["said"]["outcome"], "applied", "{shown}");
        assert_eq!(
            (&shown["reports"][0]["version"], &shown["alarms"]),
            (&json!(1), &json!([]))
        );
    }
}

#[test]
fn a_rollout_to_a_simulated_fleet_that_fails_halts_by_itself() {
    let running = Running::trusted();
    let token = running.token(&json!({ "uses": 10 }));
    let state = signed(&state(2), jos_schemas::documents::desired_state::KIND, &[&admin_key()]).to_string();
    let plan = json!({
        "kind": "jos.rollout", "name": "portal", "version": 2, "halt_percent": 30,
        "phases": [{ "percent": 40, "soak": 3600 }, { "percent": 100 }],
    });
    let (status, made) = running.admin("POST", "/api/v1/rollouts", &json!({ "rollout": plan, "state": state }));
    assert_eq!(status, 200, "{made}");
    simulate(&running, &token, &["--devices", "10", "--for", "15", "--fail", "100%"]);
    let id = made["rollout"]["id"].as_str().expect("an id");
    let shown = running.get(&format!("/api/v1/rollouts/{id}"));
    assert_eq!(shown["rollout"]["status"], "halted", "{shown}");
    let phase = &shown["phases"][0];
    assert!(phase["let_in"].as_u64().is_some_and(|n| n <= 4), "{phase}");
    assert!(
        phase["failed"].as_u64().is_some_and(|n| (1..=4).contains(&n)),
        "{phase}"
    );
}

#[test]
fn a_rollout_reaches_many_devices_that_fetch_at_once_and_ends() {
    let running = Running::trusted();
    let token = running.token(&json!({ "uses": 40 }));
    let state = signed(&state(2), jos_schemas::documents::desired_state::KIND, &[&admin_key()]).to_string();
    let plan = json!({
        "kind": "jos.rollout", "name": "portal", "version": 2, "phases": [{ "percent": 50, "soak": 2 }, { "percent": 100, "soak": 0 }],
    });
    let (status, made) = running.admin("POST", "/api/v1/rollouts", &json!({ "rollout": plan, "state": state }));
    assert_eq!(status, 200, "{made}");
    let figures = simulate(&running, &token, &["--devices", "40", "--for", "25"]);
    assert_eq!(figures["errors"], json!({}), "{figures}");
    let id = made["rollout"]["id"].as_str().expect("an id");
    let shown = running.get(&format!("/api/v1/rollouts/{id}"));
    assert_eq!(shown["rollout"]["status"], "done", "{shown}");
    assert_eq!(figures["told"][0]["devices"], 40, "{figures}");
}

#[test]
fn a_token_of_another_hub_is_not_shown_to_this_one() {
    let (running, other) = (Running::trusted(), Running::trusted());
    let token = other.token(&json!({}));
    let done = crate::process::command(&["simulate", "--devices", "1", "--token", &token, "--hub"])
        .arg(format!("https://{}", running.devices()))
        .output()
        .expect("it runs");
    assert!(!done.status.success());
    assert!(String::from_utf8_lossy(&done.stderr).contains("another CA"));
}

#[test]
fn a_simulated_device_says_that_there_is_nothing_to_tell() {
    let running = Running::trusted();
    let token = running.token(&json!({ "uses": 1 }));
    let asked = std::thread::scope(|scope| {
        let fleet = scope.spawn(|| simulate(&running, &token, &["--devices", "1", "--for", "8"]));
        let question = || {
            let devices = running.get("/api/v1/devices");
            let id = devices[0]["id"].as_str()?.to_owned();
            let path = format!("/api/v1/devices/{id}/questions");
            let (status, _) = running.admin("POST", &path, &json!({ "about": "logs" }));
            (status == 200).then_some(path)
        };
        let mut path = None;
        jos_tests::wait::until_true("it has called", std::time::Duration::from_secs(8), || {
            path = path.take().or_else(question);
            path.is_some()
        });
        fleet.join().expect("the fleet ends");
        running.get(&path.expect("a question"))
    });
    assert_eq!(asked[0]["answer"]["refused"], "simulated", "{asked}");
}

#[test]
fn simulated_devices_follow_their_hub_to_another_ca_as_real_ones_do() {
    let running = Running::trusted();
    // One that does not know the word yet keeps the hub from going over before all are there.
    let last = running.device(&json!({}));
    let (_, shown) = running.admin("POST", "/api/v1/ca/rotation", &Value::Null);
    let word = signed(&shown["tenants"][0]["document"], "jos.hub_ca", &[&admin_key()]);
    assert_eq!(running.admin("POST", "/api/v1/ca/words", &word).0, 200);
    let token = running.token(&json!({ "uses": 5 }));
    let soon = |what: &str, so: &dyn Fn(&Value) -> bool| {
        jos_tests::wait::until_true(what, std::time::Duration::from_secs(60), || {
            so(&running.get("/api/v1/ca/rotation"))
        });
    };
    let figures = std::thread::scope(|scope| {
        let fleet = scope.spawn(|| simulate(&running, &token, &["--devices", "5", "--for", "30"]));
        soon("they say that they know it", &|shown| shown["devices"]["know"] == 5);
        assert_eq!(last.heartbeat(&json!({ "hub_ca": 2 })).0, 200);
        soon("the hub goes over", &|shown| shown["phase"] != "learning");
        assert_eq!(last.renew(&last.key, "x").0, 200);
        soon("all have certificates of the new one", &|shown| {
            shown["phase"] == "none"
        });
        fleet.join().expect("it runs")
    });
    assert_eq!(
        (&figures["connected"], &figures["errors"]),
        (&json!(5), &json!({})),
        "{figures}"
    );
}

#[test]
fn simulated_devices_take_a_ca_from_nobody_but_their_admins() {
    let running = Running::trusted();
    let last = running.device(&json!({}));
    let (_, shown) = running.admin("POST", "/api/v1/ca/rotation", &Value::Null);
    let word = signed(&shown["tenants"][0]["document"], "jos.hub_ca", &[&admin_key()]);
    assert_eq!(running.admin("POST", "/api/v1/ca/words", &word).0, 200);
    // The hub is taken over, and gives out another word under the same number.
    let mut forged = word.clone();
    let first = std::fs::read_to_string(running.hub.dir.file("ca.pem")).expect("the first CA");
    forged["ca"] = first.into();
    assert_ne!(forged["ca"], word["ca"]);
    running.runtime.block_on(async {
        let mut tx = running.hub.store.write().await.expect("a transaction");
        let change = sqlx::query("UPDATE hub_cas SET bytes = $1").bind(forged.to_string().into_bytes());
        change.execute(&mut *tx).await.expect("it is done");
        tx.commit().await.expect("it is done");
    });
    let token = running.token(&json!({ "uses": 2 }));
    let figures = simulate(&running, &token, &["--devices", "2", "--for", "5"]);
    assert!(figures["errors"].to_string().contains("hub CA: "), "{figures}");
    assert_eq!(running.get("/api/v1/ca/rotation")["devices"]["know"], 0);
    drop(last);
}
