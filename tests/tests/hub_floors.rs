//! A device that loses its floors: it keeps what it has, tries nothing new, and goes on by its hub's signed word or by an
//! operator's at the machine.

use std::fs;

use jos_tests::fleet::{Device, Hub};
use serde_json::{Value, json};

const FLOORS: [&str; 2] = ["state/floors.0", "state/floors.1"];

/// What `jos agent floors` says, and whether it says that they are known.
fn floors(device: &Device, more: &[&str]) -> (Value, bool) {
    let ran = device.jos(&[&["agent", "floors", "--config", "agent.toml", "--json"], more].concat());
    (ran.json(), ran.succeeded())
}

/// The records of the ledger that tell of a floor.
fn told(device: &Device) -> Vec<Value> {
    let words = [
        "ledger",
        "show",
        "--json",
        "--kind",
        "floor",
        "--state-dir",
        "state",
        "kiosk",
    ];
    let shown = device.jos(&words).ok();
    let lines = shown.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a record"))
        .collect()
}

#[test]
fn a_device_whose_floors_are_deleted_goes_on_by_its_hubs_signed_word() {
    let hub = Hub::on("127.0.0.1");
    let mut device = Device::new(&[], "");
    device.enrol(&hub).ok();
    device.start();
    for (version, word) in [(1, "one\n"), (2, "two\n")] {
        hub.push(version, &json!({ "apply": [device.file("a", word)] }));
        hub.until_reported(version, "applied");
    }
    assert!(
        told(&device).is_empty(),
        "a device that tried nothing before is told nothing new"
    );

    for (lost, version) in [("deleted", 3), ("unreadable", 4)] {
        device.kill();
        for file in FLOORS {
            match lost {
                "deleted" => drop(fs::remove_file(device.path(file))),
                _ => fs::write(device.path(file), "junk").expect("a file"),
            }
        }
        device.start();
        device.until("what was in force is, and the floors are known", |live| {
            live["plane"]["in_force"][0]["version"] == version - 1
                && live["plane"]["floors_lost"].is_null()
                && live["turns"].as_u64() > Some(0)
        });
        hub.push(version, &json!({ "apply": [device.file("a", lost)] }));
        hub.until_reported(version, "applied");
        assert_eq!(device.content("a").as_deref(), Some(lost));
        let told = told(&device);
        let last = told.last().expect("it is in the ledger");
        assert_eq!(
            (last["source"].as_str(), last["payload"]["said"].as_u64()),
            (Some("hub"), Some(version - 1))
        );
        assert!(last["payload"]["lost"].is_string(), "{last:#}");
    }

    // All of its data but who it is, as after `uninstall --purge`: the hub knows how far it had come.
    device.kill();
    for file in FLOORS {
        let _ = fs::remove_file(device.path(file));
    }
    fs::remove_dir_all(device.path("state/kiosk")).expect("it is there");
    device.start();
    device.until("the version of before is in force again", |live| {
        live["plane"]["in_force"][0]["version"] == 4
    });
    let first = &told(&device)[0];
    assert_eq!(
        (first["index"].as_u64(), first["payload"]["floor"].as_u64()),
        (Some(0), Some(4))
    );
    device.jos(&["ledger", "verify", "--state-dir", "state", "kiosk"]).ok();
    device.jos(&["replay", "kiosk", "--state-dir", "state"]).ok();
}

#[test]
fn without_a_hub_an_operator_says_the_floor_and_nothing_is_tried_before() {
    let mut hub = Hub::on("127.0.0.1");
    let mut device = Device::new(&[], "");
    device.enrol(&hub).ok();
    device.start();
    hub.push(1, &json!({ "apply": [device.file("a", "one\n")] }));
    hub.until_reported(1, "applied");
    assert!(floors(&device, &[]).1);
    hub.kill();
    device.kill();
    for file in FLOORS {
        let _ = fs::remove_file(device.path(file));
    }
    device.start();
    let live = device.until("it says that it lost them", |live| {
        live["plane"]["floors_lost"].is_string()
    });
    assert_eq!(live["plane"]["in_force"][0]["version"], 1, "{live:#}");
    let (said, known) = floors(&device, &[]);
    assert!(!known && said["lost"].is_string(), "{said:#}");

    let (said, known) = floors(&device, &["--from", "2"]);
    assert!(known && said["floors"][0]["floor"] == 2, "{said:#}");
    assert_eq!(told(&device)[0]["source"], "local");
    // What is known is not lowered.
    let ran = device
        .jos(&["agent", "floors", "--config", "agent.toml", "--from", "1"])
        .exits(1);
    ran.says("the floor stays at 2");
    hub.serve();
    hub.push(2, &json!({ "apply": [device.file("a", "two\n")] }));
    hub.until_reported(2, "applied");
    assert_eq!(device.content("a").as_deref(), Some("two\n"));
}
