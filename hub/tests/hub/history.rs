//! What devices measured is kept, added up, and in the end forgotten.

use jos_hub::history::{COARSE_KEPT, FINE_KEPT, age};
use serde_json::{Value, json};

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
