//! A device without a battery, whose date is 1970 at every start: it enrols, is told the time by its hub, and goes on. With
//! the real programs, both halves of the agent by that date. Only root can set it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

use jos_tests::command::Ran;
use jos_tests::fleet::{Device, Hub};
use serde_json::{Value, json};

/// No start of a device takes so long.
const A_DAY: i64 = 86_400;

#[expect(
    clippy::disallowed_methods,
    reason = "what a device says is compared with the real time"
)]
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("later than 1970");
    i64::try_from(now.as_secs()).expect("seconds")
}

/// Enrols it with this very token.
fn enrol_with(device: &Device, token: &str) -> Ran {
    fs::write(device.path("given"), token).expect("a file");
    fs::set_permissions(device.path("given"), fs::Permissions::from_mode(0o600)).expect("a mode");
    device.jos(&["agent", "enrol", "--config", "agent.toml", "--token-file", "given"])
}

fn identity(device: &Device) -> Value {
    serde_json::from_slice(&fs::read(device.path("state/identity/hub.json")).expect("a file")).expect("JSON")
}

/// It runs by the wrong date, confined as ever: what it says of its start, and what its network half read of the clock.
fn is_in_1970(device: &Device, live: &Value) {
    let started = live["started"].as_str().expect("a time");
    assert!(started.starts_with("1970-01-01T"), "{live:#}");
    let half = live["link"]["fetcher"].as_u64().expect("a process");
    let (readings, last) = device.readings(half).expect("it counts");
    assert!(
        readings > 0 && (0..A_DAY).contains(&last),
        "{readings} readings, the last {last}"
    );
    let confinement = live["link"]["confinement"].as_array().expect("a list");
    for name in ["no_new_privs", "limits", "landlock", "seccomp"] {
        assert!(
            confinement.iter().any(|m| m["name"] == name && m["active"] == true),
            "{name}: {confinement:?}"
        );
    }
}

#[test]
fn a_device_whose_clock_says_1970_enrols_applies_reports_and_comes_back_after_every_start() {
    let mut hub = Hub::on("127.0.0.1");
    let stale = hub.token();
    let mut device = Device::new(&[], "").without_a_battery();
    let began = now();
    device.enrol(&hub).ok().says("enrolled as d");
    device.start();
    hub.push(1, &json!({ "apply": [device.file("a", "one\n")] }));
    let seen = hub.until_reported(1, "applied");
    assert_eq!(device.content("a").as_deref(), Some("one\n"));
    let live = device.until("it calls", |live| live["link"]["freshness"].is_string());
    is_in_1970(&device, &live);
    let unix = |text: &Value| {
        let ran = jos_tests::command::sh("date", &["-d", text.as_str().expect("a time"), "+%s"]);
        ran.ok().text().parse::<i64>().expect("seconds")
    };
    // What it writes down has the hub's time, not its own: it is told before it asks for its first state.
    for time in [&seen["reports"][0]["time"], &live["link"]["freshness"]] {
        assert!((began - 60..=now()).contains(&unix(time)), "{time}: {seen:#}\n{live:#}");
    }
    // Its own clock tells it no more than that until it is an hour off.
    let told = unix(&seen["reports"][0]["time"]);

    // The power goes, and it is 1970 again; what the hub said of the time outlives that.
    device.kill();
    device.start();
    hub.push(2, &json!({ "apply": [device.file("a", "two\n")] }));
    let seen = hub.until_reported(2, "applied");
    let live = device.until("it calls", |live| live["link"]["last_contact"].is_string());
    is_in_1970(&device, &live);
    for time in [&live["link"]["last_contact"], &seen["reports"][0]["time"]] {
        assert!((told..=now()).contains(&unix(time)), "{time}: {seen:#}\n{live:#}");
    }

    // Off for so long that its certificate has ended, which it cannot know; the hub says so, and it gets another one.
    device.kill();
    hub.kill();
    hub.serve_at("+20d");
    let before = identity(&device);
    device.start();
    hub.push(3, &json!({ "apply": [device.file("a", "three\n")] }));
    let seen = hub.until_reported(3, "applied");
    let after = identity(&device);
    assert_eq!(after["device"], before["device"]);
    assert_ne!(after["certificate"], before["certificate"]);
    assert_eq!(seen["alarms"].as_array().map_or(0, Vec::len), 0, "{seen:#}");
    is_in_1970(&device, &device.live());
    assert!(unix(&seen["reports"][0]["time"]) > began + 19 * A_DAY, "{seen:#}");

    // A token that has ended has ended, whatever the date is where it is shown; a good one is good.
    let late = Device::new(&[], "").without_a_battery();
    enrol_with(&late, &stale).exits(1).says("expired or revoked");
    assert!(
        !late.path("state/identity/hub.json").exists(),
        "it took something from a refused token"
    );
    late.enrol(&hub).ok().says("enrolled as d");
}
