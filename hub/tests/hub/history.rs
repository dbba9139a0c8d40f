//! What devices measured is kept, added up, and in the end forgotten.

use jos_hub::history::{COARSE_KEPT, FINE_KEPT, age};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::common::Running;

#[test]
fn what_a_device_measures_is_kept_in_steps_and_summed_up() {
    let running = Running::new();
    let device = running.device(&json!({}));
    let say = |load: f64| {
        let said = json!({ "telemetry": { "load": load, "os": "OpenWrt", "network": { "rx": 7 } } });
        assert_eq!(device.heartbeat(&said).0, 200);
    };
    for load in [1.0, 3.0] {
        say(load);
        running.clock.advance(300);
    }
    say(8.0);
    let path = format!("/api/v1/devices/{}/history?agent=portal", device.id);
    let steps = running.get(&path);
    let loads: Vec<&Value> = steps
        .as_array()
        .into_iter()
        .flatten()
        .map(|step| &step["metrics"]["load"]["last"])
        .collect();
    assert_eq!(loads, [&json!(1.0), &json!(3.0), &json!(8.0)]);
    assert_eq!(steps[0]["metrics"]["network.rx"]["sum"], 7.0);
    assert_eq!(running.get(&format!("{path}&metric=os")), json!([]));
    let shown = running.get(&format!("/api/v1/devices/{}", device.id));
    let load = &shown["agents"][0]["metrics"]["load"];
    assert_eq!(
        (&load["count"], &load["sum"], &load["max"]),
        (&json!(3), &json!(12.0), &json!(8.0))
    );
    let done = crate::process::command(&["device", "show", &device.id, "--data"])
        .arg(running.hub.dir.path())
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&done.stdout);
    let row: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("load "))
        .flat_map(str::split_whitespace)
        .collect();
    assert_eq!(row, ["load", "8", "1", "4", "8", "3"], "{text}");

    // After two days the steps are hours, after ninety they are gone.
    running.clock.advance(FINE_KEPT + 2 * 3600);
    let look = || running.runtime.block_on(age(&running.hub)).expect("it is merged");
    look();
    let hours = running.get(&format!("{path}&metric=load"));
    let hours = hours.as_array().expect("steps");
    let of_hours: Vec<&Value> = hours.iter().filter(|step| step["step"] == 3600).collect();
    assert!((1..=2).contains(&of_hours.len()), "{hours:?}");
    let counted: u64 = of_hours
        .iter()
        .filter_map(|step| step["metrics"]["load"]["count"].as_u64())
        .sum();
    assert_eq!(counted, 2, "the third is still being filled");
    running.clock.advance(COARSE_KEPT);
    look();
    let left = running.get(&format!("{path}&since=0"));
    assert!(
        left.as_array().into_iter().flatten().all(|step| step["step"] == 300),
        "{left}"
    );
}

fn sample(time: i64, load: f64) -> Value {
    let time = jos_schemas::text::Utc::from_unix(time).to_string();
    json!({ "time": time, "telemetry": { "load": load } })
}

/// The counts of `load` by step, the oldest first.
fn loads(running: &Running, device: &crate::common::Device) -> Vec<(i64, u64)> {
    let path = format!("/api/v1/devices/{}/history?agent=portal&metric=load&since=0", device.id);
    let steps = running.get(&path);
    let number = |value: &Value| value.as_i64().expect("a number");
    let of = |step: &Value| {
        let count = step["metrics"]["load"]["count"].as_u64().expect("a count");
        (number(&step["start"]), count)
    };
    steps.as_array().expect("steps").iter().map(of).collect()
}

#[test]
fn figures_of_before_stand_at_their_own_time_and_a_batch_that_comes_again_counts_once() {
    let running = Running::new();
    let device = running.device(&json!({}));
    let (status, reply) = device.heartbeat(&json!({ "telemetry": { "load": 1.0 } }));
    assert_eq!((status, &reply["figures"]), (200, &json!(true)), "{reply}");
    running.clock.advance(3600);
    let now = running.hub.clock.now();
    let step = now - now.rem_euclid(300);
    let at = [step - 3000, step - 2999, step - 1500, step, now + 86_400];
    let samples: Vec<Value> = at.iter().map(|time| sample(*time, 2.0)).collect();
    // Telemetry beside them is what a page shows, and counts no more.
    let said = json!({ "telemetry": { "load": 9.0 }, "figures": { "batch": "b-1", "lost": 3, "samples": samples } });
    for _ in 0..3 {
        assert_eq!(device.heartbeat(&said).0, 200);
    }
    let first = loads(&running, &device)[0];
    let expected = vec![first, (step - 3000, 2), (step - 1500, 1), (step, 2)];
    assert_eq!(
        loads(&running, &device),
        expected,
        "a clock that is ahead is not believed"
    );
    let shown = running.get(&format!("/api/v1/devices/{}", device.id));
    let said = &shown["agents"][0]["said"];
    assert_eq!(
        (&said["telemetry"]["load"], &said["figures_lost"]),
        (&json!(9.0), &json!(3))
    );
    let page = Browser::admin(&running).page(&format!("/t/default/devices/{}", device.id));
    assert!(page.contains("3 samples are lost"), "{page}");

    // More of a step that is over is added to it; the batch before is still known, also after a restart of the hub.
    let more = json!({ "figures": { "batch": "b-2", "lost": 3, "samples": [sample(step - 1499, 4.0)] } });
    assert_eq!(device.heartbeat(&more).0, 200);
    assert_eq!(device.heartbeat(&more).0, 200);
    let once = json!({ "figures": { "batch": "b-1", "lost": 3, "samples": samples } });
    assert_eq!(device.heartbeat(&once).0, 200);
    assert_eq!(
        loads(&running, &device),
        [first, (step - 3000, 2), (step - 1500, 2), (step, 2)]
    );

    // Steps of before two days ago become hours as all do, with what is there of them.
    running.clock.advance(FINE_KEPT + 2 * 3600);
    running.runtime.block_on(age(&running.hub)).expect("it is merged");
    let late =
        json!({ "figures": { "batch": "b-3", "lost": 3, "samples": [sample(step - 1498, 4.0), sample(0, 1.0)] } });
    assert_eq!(device.heartbeat(&late).0, 200);
    running.runtime.block_on(age(&running.hub)).expect("it is merged");
    let counted: u64 = loads(&running, &device).iter().map(|(_, count)| count).sum();
    assert_eq!(
        counted,
        1 + 2 + 3 + 2,
        "and what is older than the history is not taken up"
    );

    let many: Vec<Value> = (0..257).map(|_| sample(now, 1.0)).collect();
    let (status, refusal) = device.heartbeat(&json!({ "figures": { "batch": "b-4", "samples": many } }));
    assert_eq!((status, &refusal["code"]), (400, &json!("malformed")), "{refusal}");
}

#[test]
fn what_a_real_agent_measures_is_kept_and_shown_in_its_units() {
    let running = Running::new();
    let device = running.device(&json!({}));
    let custom: serde_json::Map<String, Value> = (0..64).map(|n| (format!("own-{n:02}"), json!(n))).collect();
    // As agent/src/run/telemetry.rs says it.
    let said = json!({ "telemetry": {
        "cpu": 50, "memory": { "total": 1_024_000, "available": 614_400 }, "disk": { "total": 1_048_576, "free": 524_288 },
        "load": [15, 100, 1234], "temperature": 47_500, "network": { "received": 2048, "sent": 4096 }, "uptime": 270_000,
        "services": { "cups": true, "portal": false }, "custom": custom,
    } });
    for _ in 0..2 {
        assert_eq!(device.heartbeat(&said).0, 200);
        running.clock.advance(300);
    }
    let steps = running.get(&format!("/api/v1/devices/{}/history?agent=portal", device.id));
    let metrics = &steps[0]["metrics"];
    for (name, expected) in [
        ("load.1", 15.0),
        ("load.15", 1234.0),
        ("services.cups", 1.0),
        ("services.portal", 0.0),
        ("temperature", 47_500.0),
        ("custom.own-00", 0.0),
        ("custom.own-63", 63.0),
    ] {
        assert_eq!(metrics[name]["last"], expected, "{name}");
    }
    let page = Browser::admin(&running).page(&format!("/t/default/devices/{}", device.id));
    let drawn = page.split("Measured").nth(1).expect("curves");
    for curve in [
        "load.1: 0.15 at",
        "load.15: 12.34 at",
        "temperature: 47.5 °C at",
        "services.cups: runs at",
        "cpu: 50 % at",
    ] {
        assert!(
            drawn.contains(&format!("aria-label=\"{curve} the end\"")),
            "{curve}: {drawn}"
        );
    }
    assert!(drawn.contains("more: "), "what there is no room for is said: {drawn}");
    let shown = crate::process::command(&["device", "show", &device.id, "--data"])
        .arg(running.hub.dir.path())
        .output();
    let shown = String::from_utf8_lossy(&shown.expect("it runs").stdout).into_owned();
    for row in [
        "temperature 47.5 °C",
        "load.5 1.00",
        "memory.available 600 KiB",
        "uptime 3 d 3 h",
        "custom.own-63 63",
    ] {
        let found = shown
            .lines()
            .any(|line| line.split_whitespace().collect::<Vec<_>>().join(" ").starts_with(row));
        assert!(found, "{row}: {shown}");
    }
}
