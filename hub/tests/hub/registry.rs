//! What devices say, and what the hub makes of it.

use jos_hub::store::users::Role;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::common::{Running, unique};

fn head(index: u64, of: u8) -> Value {
    json!({ "index": index, "hash": format!("{of:02x}").repeat(32) })
}

fn alarm(running: &Running) -> Value {
    running.get("/api/v1/alarms")[0]["kind"].clone()
}

#[test]
fn the_registry_shows_what_a_device_said_last() {
    let running = Running::new();
    let device = running.device(&json!({ "site": "mx-3" }));
    let said = json!({
        "version": 42, "outcome": "applied", "ledger": head(7, 1), "features": ["uci"], "telemetry": { "load": 1.5 },
    });
    assert_eq!(device.heartbeat(&said).0, 200);
    let shown = running.get(&format!("/api/v1/devices/{}", device.id));
    let agent = &shown["agents"][0]["said"];
    assert_eq!(
        (&agent["version"], &agent["outcome"], &agent["program"]),
        (&json!(42), &json!("applied"), &json!("0.1.0"))
    );
    assert_eq!(
        (&agent["head"], &agent["telemetry"]["load"]),
        (&head(7, 1), &json!(1.5))
    );
    assert!(
        shown["device"]["last_seen"]
            .as_i64()
            .is_some_and(|seen| (running.clock.now() - seen).abs() < 60)
    );
    assert_eq!(shown["device"]["facts"]["hostname"], "OpenWrt");
}

#[test]
fn a_ledger_head_that_goes_back_raises_an_alarm() {
    let running = Running::new();
    let device = running.device(&json!({}));
    for (index, of) in [(5, 5), (9, 9)] {
        assert_eq!(device.heartbeat(&json!({ "ledger": head(index, of) })).0, 200);
    }
    assert_eq!(running.get("/api/v1/alarms"), json!([]));
    assert_eq!(device.heartbeat(&json!({ "ledger": head(5, 5) })).0, 200);
    assert_eq!(alarm(&running), "ledger-rollback");
}

#[test]
fn a_ledger_that_forks_raises_an_alarm_also_when_it_is_longer_than_before() {
    let running = Running::new();
    let device = running.device(&json!({}));
    for index in 1..=5 {
        assert_eq!(device.heartbeat(&json!({ "ledger": head(index, index as u8) })).0, 200);
    }
    // A report names a record that was anchored, with another hash.
    let report = json!({
        "kind": "jos.report", "name": "portal", "version": 2, "outcome": "applied", "time": "2026-11-21T00:00:00Z",
        "changed": 1, "ledger": head(3, 99),
    });
    assert_eq!(device.ask("POST", "/v1/report", Some(&report)).0, 204);
    assert_eq!(alarm(&running), "ledger-fork");
    let other = running.device(&json!({}));
    assert_eq!(other.heartbeat(&json!({ "ledger": head(4, 1) })).0, 200);
    assert_eq!(other.heartbeat(&json!({ "ledger": head(4, 2) })).0, 200);
    let alarms = running.get("/api/v1/alarms");
    assert!(
        alarms
            .as_array()
            .into_iter()
            .flatten()
            .any(|a| a["device"] == other.id.as_str() && a["kind"] == "ledger-fork")
    );
}

#[test]
fn what_a_device_sees_of_itself_is_an_alarm_raised_once_and_over_when_the_device_says_so() {
    let running = Running::new();
    let (device, calm) = (running.device(&json!({})), running.device(&json!({})));
    let browser = Browser::of(&running, "vi", Role::Viewer, "default");
    let page = format!("/t/default/devices/{}", device.id);
    let says = |more: &Value| {
        running.clock.advance(60);
        assert_eq!(device.heartbeat(&json!({ "telemetry": more })).0, 200);
        assert_eq!(calm.heartbeat(&json!({ "telemetry": { "load": 1.5 } })).0, 200);
        running.get("/api/v1/alarms?all=true")
    };
    let metrics = || running.admin_bytes("GET", "/metrics", Vec::new()).1;
    let metric = || {
        metrics()
            .as_str()
            .is_some_and(|text| text.contains("jos_hub_alarms{kind=\"by-device\"} 1\n"))
    };
    assert_eq!(says(&json!({ "load": 1.5 })), json!([]));

    let hidden = "a newer <b>state</b> is\nkept from this device";
    let first = says(&json!({ "load": 1.5, "alarm": hidden }));
    assert_eq!(
        (&first[0]["kind"], &first[0]["device"], &first[0]["name"], &first[1]),
        (&json!("by-device"), &json!(device.id), &json!("portal"), &Value::Null)
    );
    assert_eq!(first[0]["detail"], hidden.replace('\n', " "));
    // However often it says so.
    for _ in 0..3 {
        assert_eq!(says(&json!({ "alarm": hidden })), first);
    }
    assert_eq!(running.get(&format!("/api/v1/devices/{}", device.id))["alarms"], first);
    for path in ["/t/default", &page] {
        let text = browser.page(path);
        assert!(
            text.contains("by-device") && text.contains("a newer &lt;b&gt;state"),
            "{path}: {text}"
        );
        assert!(!text.contains("<dt>alarm"), "it stands there once: {text}");
    }
    assert!(metric());

    // Something else is told anew, the same alarm once more.
    let other = says(&json!({ "alarm": "no statement of the hub is verified" }));
    assert_eq!(
        (&other[0]["times"], &other[0]["first"], &other[0]["detail"]),
        (
            &json!(2),
            &first[0]["first"],
            &json!("no statement of the hub is verified")
        )
    );
    assert!(other[0]["latest"].as_i64() > first[0]["latest"].as_i64());
    // A person has seen it: it does not come back by itself, and does when the device says something else.
    let release = format!("/api/v1/devices/{}/release", device.id);
    assert_eq!(running.admin("POST", &release, &json!({})).0, 200);
    let seen = says(&json!({ "alarm": "no statement of the hub is verified" }));
    assert!(seen[0]["cleared"].is_i64(), "{seen}");
    let anew = says(&json!({ "alarm": hidden }));
    assert_eq!((&anew[0]["cleared"], &anew[0]["times"]), (&Value::Null, &json!(3)));

    // Over, by its own word.
    let over = says(&json!({ "load": 1.5 }));
    assert!(over[0]["cleared"].as_i64() > over[0]["latest"].as_i64(), "{over}");
    assert_eq!(running.get("/api/v1/alarms"), json!([]));
    assert!(
        !metric() && !browser.page(&page).contains("by-device") && !browser.page("/t/default").contains("by-device")
    );
    // And what comes back after that is an alarm again.
    assert_eq!(says(&json!({ "alarm": hidden }))[0]["cleared"], Value::Null);
}

#[test]
fn whatever_a_device_calls_its_alarm_is_one_line_that_is_not_long() {
    let running = Running::new();
    let device = running.device(&json!({}));
    let found = |said: Value| {
        assert_eq!(device.heartbeat(&json!({ "telemetry": { "alarm": said } })).0, 200);
        running.get("/api/v1/alarms")[0]["detail"].clone()
    };
    for nothing in [json!(null), json!(false), json!(""), json!(" \n ")] {
        assert_eq!(found(nothing.clone()), Value::Null, "{nothing}");
    }
    assert_eq!(found(json!("ж".repeat(2000))), "ж".repeat(500));
    assert_eq!(found(json!({ "disk": "full" })), "{\"disk\":\"full\"}");
    assert_eq!(found(json!(true)), "true");
    assert_eq!(found(json!(false)), Value::Null);
}

#[test]
fn a_report_is_kept_once_however_often_it_is_sent() {
    let running = Running::new();
    let device = running.device(&json!({}));
    let report = json!({
        "kind": "jos.report", "name": "portal", "version": 3, "outcome": "rolled_back", "time": "2026-11-21T00:00:00Z",
        "reason": "health check failed", "changed": 2, "ledger": head(4, 4),
    });
    for _ in 0..3 {
        assert_eq!(device.ask("POST", "/v1/report", Some(&report)).0, 204);
    }
    let shown = running.get(&format!("/api/v1/devices/{}", device.id));
    let reports = shown["reports"].as_array().expect("reports");
    assert_eq!(
        (reports.len(), &reports[0]["outcome"], &reports[0]["reason"]),
        (1, &json!("rolled_back"), &json!("health check failed"))
    );
    // It tried version 3: that is its floor now.
    assert_eq!(device.ask("GET", "/v1/floor/portal?nonce=n", None).1["floor"], 3);
}

#[test]
fn a_telemetry_flood_from_one_device_slows_down_that_device_alone() {
    let running = Running::new();
    let (loud, quiet) = (running.device(&json!({})), running.device(&json!({})));
    let answers: Vec<u16> = (0..200).map(|_| loud.heartbeat(&json!({})).0).collect();
    assert!(answers.iter().filter(|status| **status == 200).count() >= 120);
    assert!(answers.contains(&429), "{answers:?}");
    let said = loud.heartbeat_of(&json!({}));
    let refused = loud
        .try_ask("POST", "/v1/heartbeat", &[], Some(&said))
        .expect("an answer");
    if refused.status() == 429 {
        assert!(refused.headers().contains_key("retry-after"));
    }
    assert_eq!(quiet.heartbeat(&json!({})).0, 200);
}

#[test]
fn a_device_that_invents_agents_fills_no_disk() {
    let running = Running::new();
    let device = running.device(&json!({}));
    let answers: Vec<u16> = (0..20)
        .map(|n| device.heartbeat(&json!({ "name": format!("agent-{n}") })).0)
        .collect();
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 16);
    assert_eq!(answers[19], 409);
    assert_eq!(device.heartbeat(&json!({ "name": "agent-0" })).0, 200);
}

#[test]
fn a_body_is_read_as_strictly_as_on_a_device() {
    let running = Running::trusted();
    let device = running.device(&json!({}));
    for body in [
        r#"{"kind":"jos.heartbeat","kind":"jos.heartbeat"}"#,
        r#"{"kind":"jos.heartbeat","name":"portal","agent":"0.1.0","session":"s","nonce":"n","device":"d-1"}"#,
        r#"{"kind":"jos.heartbeat","name":"../x","agent":"0.1.0","session":"s","nonce":"n"}"#,
        "[[[[",
        "",
    ] {
        let (status, refusal) = crate::common::read(
            device
                .try_ask(
                    "POST",
                    "/v1/heartbeat",
                    &[("content-type", "text/plain")],
                    Some(&Value::from(unique("raw"))),
                )
                .expect("an answer"),
        );
        assert_eq!((status, refusal["code"].as_str()), (400, Some("malformed")));
        let value = serde_json::from_str::<Value>(body).unwrap_or(json!([]));
        assert_eq!(device.ask("POST", "/v1/heartbeat", Some(&value)).0, 400, "{body}");
    }
}

#[test]
fn sql_by_labels_and_facts_is_text() {
    let running = Running::trusted();
    let device = running.device(&json!({ "site": "x'); DROP TABLE devices; --" }));
    assert_eq!(device.heartbeat(&json!({})).0, 200);
    let path = format!("/api/v1/devices/{}/labels", device.id);
    let (status, _) = running.admin("PUT", &path, &json!({ "set": { "note": "' OR '1'='1" } }));
    assert_eq!(status, 200);
    assert_eq!(running.admin("PUT", &path, &json!({ "set": { "a'b": "x" } })).0, 400);
    for tenant in ["'%20OR%20'1'='1", "%25", "x';--"] {
        assert_eq!(running.get(&format!("/api/v1/devices?tenant={tenant}")), json!([]));
    }
    assert_eq!(running.get("/api/v1/devices").as_array().map(Vec::len), Some(1));
}
