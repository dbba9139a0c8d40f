//! A new CA, and new keys of the hub's own, with the real programs: devices follow by themselves, whatever is killed meanwhile.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jos_tests::fleet::{Device, Hub, SOON};
use jos_tests::wait::{until, until_true};
use serde_json::{Value, json};

/// Begins a rotation; the document for the admins lies in the hub's folder.
fn rotate(hub: &Hub) -> Value {
    hub.remote(&["ca", "rotate", "--out", ".", "--json"]).ok().json()
}

/// The admin's word on the CA that comes.
fn vouch(hub: &Hub) {
    hub.jos(&["sign", "--key", "root.key", "hub-ca.default.json"]).ok();
    hub.remote(&["ca", "push", "hub-ca.default.json"]).ok().says("is new");
}

fn shown(hub: &Hub) -> Value {
    hub.remote(&["ca", "show", "--json"]).ok().json()
}

fn until_shown(hub: &Hub, what: &str, so: impl Fn(&Value) -> bool) -> Value {
    until(what, SOON, || {
        let shown = shown(hub);
        if so(&shown) { Ok(shown) } else { Err(shown.to_string()) }
    })
}

fn until_over(hub: &Hub) -> Value {
    until_shown(hub, "the rotation is over", |shown| shown["phase"] == "none")
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap_or_default()).unwrap_or(Value::Null)
}

fn identity(device: &Device) -> Value {
    json_of(&device.path("state/identity/hub.json"))
}

/// What the device has taken of its admins' word.
fn word(device: &Device) -> Value {
    json_of(&device.path("state/identity/hub-ca.json"))
}

fn knows(device: &Device, number: u64) {
    device.until("it has taken the admins' word on the CA", |_| {
        word(device)["version"] == number
    });
}

fn is_new_alone(device: &Device) {
    device.until("it believes the new CA alone", |_| {
        identity(device)["ca"].is_string() && identity(device)["ca"] == word(device)["ca"]
    });
}

fn called(device: &Device) {
    device.until("it calls", |live| live["link"]["last_contact"].is_string());
}

#[test]
fn a_device_follows_its_hub_to_a_new_ca_by_itself_while_the_hub_is_restarted_in_every_phase() {
    let mut hub = Hub::on("127.0.0.1");
    let mut device = Device::new(&[], "");
    device.enrol(&hub).ok();
    let first = identity(&device)["ca"].clone();
    device.start();
    called(&device);

    let shown = rotate(&hub);
    assert_eq!(
        (&shown["phase"], &shown["devices"]["waited_for"]),
        (&json!("learning"), &json!(1)),
        "{shown:#}"
    );
    hub.remote(&["ca", "rotate", "--out", "."])
        .exits(1)
        .says("a rotation is under way");
    hub.kill();
    hub.serve();
    let known = hub.device();
    let id = known["device"]["id"].as_str().expect("an id");
    let held = hub.remote(&["ca", "finish"]).exits(1);
    held.says("do not know CA 2 yet").says(id).says("--leave-behind");

    // Somebody else's key, and the right key on another certificate: the hub takes neither.
    hub.jos(&["key", "new", "--out", "stranger.key"]).ok();
    fs::copy(hub.path("hub-ca.default.json"), hub.path("false.json")).expect("a copy");
    hub.jos(&["sign", "--key", "stranger.key", "false.json"]).ok();
    hub.remote(&["ca", "push", "false.json"]).exits(1);
    let mut other = json_of(&hub.path("hub-ca.default.json"));
    other["ca"] = first.clone();
    fs::write(hub.path("other.json"), other.to_string()).expect("a file");
    hub.jos(&["sign", "--key", "root.key", "other.json"]).ok();
    hub.remote(&["ca", "push", "other.json"])
        .exits(1)
        .says("no CA 2 with that certificate");

    vouch(&hub);
    knows(&device, 2);
    // Away before it can renew, so that the hub stays between the two.
    until_shown(&hub, "the device has said so", |shown| {
        shown["devices"]["know"] == 1 || shown["phase"] != "learning"
    });
    device.kill();
    until_shown(&hub, "the hub goes over", |shown| shown["phase"] != "learning");
    hub.kill();
    hub.serve();
    device.start();
    let shown = until_over(&hub);
    let standing = |at: usize| shown["authorities"][at]["standing"].clone();
    assert_eq!(
        (standing(0), standing(1)),
        (json!("retired"), json!("current")),
        "{shown:#}"
    );
    is_new_alone(&device);
    assert_ne!(identity(&device)["ca"], first);

    hub.kill();
    hub.serve();
    until_true("the first CA's key is gone", SOON, || !hub.path("hub/ca.key").exists());
    hub.push(1, &json!({ "apply": [device.file("a", "one\n")] }));
    let seen = hub.until_reported(1, "applied");
    assert_eq!(seen["alarms"].as_array().map_or(0, Vec::len), 0, "{seen:#}");
    // A new device, by a token of today.
    let newer = Device::new(&[], "");
    newer.enrol(&hub).ok();
    assert_eq!(
        identity(&newer)["ca"].as_str().map(str::trim),
        identity(&device)["ca"].as_str().map(str::trim)
    );
    let audit = hub.remote(&["audit", "--json"]).ok().json();
    for action in ["ca.rotate", "ca.word", "ca.over", "ca.retire"] {
        assert!(audit.to_string().contains(action), "{action}: {audit:#}");
    }
}

#[test]
fn a_device_that_slept_through_two_rotations_and_the_end_of_its_certificate_comes_back_by_itself() {
    let mut hub = Hub::on("127.0.0.1");
    let mut device = Device::new(&[], "");
    device.enrol(&hub).ok();
    device.start();
    called(&device);
    device.kill();
    let asleep = identity(&device);
    let shown = || ["hub", "hub2"].map(|folder| fs::read(hub.path(folder).join("server.pem")).ok());
    for number in [2, 3] {
        let before = shown();
        rotate(&hub);
        vouch(&hub);
        let left = hub.remote(&["ca", "finish", "--leave-behind", "--json"]).ok().json();
        assert_eq!(
            (&left["phase"], &left["authorities"][number - 1]["standing"]),
            (&json!("none"), &json!("current"))
        );
        assert!(
            left["behind"][0]["comes_back"]
                .as_str()
                .is_some_and(|t| t.starts_with("by itself")),
            "{left:#}"
        );
        // Made by the clock of today, so that it is good for us too when the hub's has gone on.
        until_true("every hub has a certificate of the new CA", SOON, || {
            shown()
                .iter()
                .zip(&before)
                .all(|(now, before)| before.is_none() || now != before)
        });
    }
    hub.kill();
    // Its certificate is of fourteen days.
    hub.serve_at("+20d");
    assert_eq!(identity(&device), asleep);
    device.start();
    hub.push(1, &json!({ "apply": [device.file("a", "one\n")] }));
    let seen = hub.until_reported(1, "applied");
    assert_eq!(seen["device"]["id"], asleep["device"], "{seen:#}");
    knows(&device, 3);
    is_new_alone(&device);
}

#[test]
fn a_token_of_before_a_rotation_is_good_after_it() {
    let hub = Hub::on("127.0.0.1");
    let token = hub.token();
    rotate(&hub);
    hub.remote(&["ca", "finish"]).ok();
    let mut device = Device::new(&[], "");
    fs::write(device.path("token"), token).expect("a file");
    fs::set_permissions(device.path("token"), fs::Permissions::from_mode(0o600)).expect("a mode");
    device.start();
    called(&device);
    // It came by the CA of its token; the admins' word brings it to the one of today.
    hub.remote(&["ca", "show", "--out", "."]).ok();
    vouch(&hub);
    knows(&device, 2);
    is_new_alone(&device);
}

#[test]
fn a_device_that_is_killed_while_it_takes_the_new_ca_up_comes_back_whatever_it_had_written() {
    let hub = Hub::on("127.0.0.1");
    let mut device = Device::new(&[], "");
    device.enrol(&hub).ok();
    let before = fs::read(device.path("state/identity/hub.json")).expect("an identity");
    device.start();
    called(&device);
    rotate(&hub);
    vouch(&hub);
    knows(&device, 2);
    device.kill();
    device.start();
    until_over(&hub);
    device.kill();
    // As a power cut leaves it between the word and what follows of it: the certificate and the CA of before, and the word.
    fs::write(device.path("state/identity/hub.json"), &before).expect("a file");
    device.start();
    hub.push(1, &json!({ "apply": [device.file("a", "one\n")] }));
    hub.until_reported(1, "applied");
    is_new_alone(&device);
    device.kill();
    // And one that lost the word after all.
    fs::write(device.path("state/identity/hub.json"), &before).expect("a file");
    fs::remove_file(device.path("state/identity/hub-ca.json")).expect("it was there");
    device.start();
    hub.push(2, &json!({ "apply": [device.file("a", "two\n")] }));
    hub.until_reported(2, "applied");
    is_new_alone(&device);
}

#[test]
fn a_rotation_that_is_given_up_leaves_everybody_in_reach_and_the_next_one_goes_through() {
    let hub = Hub::on("127.0.0.1");
    let (mut awake, mut asleep) = (Device::new(&[], ""), Device::new(&[], ""));
    for device in [&mut awake, &mut asleep] {
        device.enrol(&hub).ok();
        device.start();
        called(device);
    }
    asleep.kill();
    rotate(&hub);
    vouch(&hub);
    knows(&awake, 2);
    until_shown(&hub, "one of two knows it", |shown| shown["devices"]["know"] == 1);
    let given_up = hub.remote(&["ca", "abort", "--json"]).ok().json();
    assert_eq!(given_up["authorities"][1]["standing"], "aborted", "{given_up:#}");
    hub.remote(&["ca", "abort"]).exits(1).says("no rotation is under way");
    hub.push(1, &json!({ "apply": [awake.file("a", "one\n")] }));
    until_true("it still follows", SOON, || {
        awake.content("a").as_deref() == Some("one\n")
    });

    let shown = rotate(&hub);
    assert_eq!(shown["authorities"][2]["number"], 3, "{shown:#}");
    vouch(&hub);
    asleep.start();
    until_over(&hub);
    for device in [&awake, &asleep] {
        knows(device, 3);
        is_new_alone(device);
    }
}

#[test]
fn the_hubs_own_keys_are_replaced_and_devices_hear_the_time_by_the_new_ones() {
    let hub = Hub::on("127.0.0.1");
    let mut device = Device::new(&[], "");
    device.enrol(&hub).ok();
    device.start();
    device.until("it hears the time", |live| live["link"]["freshness"].is_string());
    let server = fs::read(hub.path("hub/server.key")).expect("a key");
    hub.remote(&["key", "rotate", "server"]).ok();
    until_true("the hub shows another key", SOON, || {
        fs::read(hub.path("hub/server.key")).is_ok_and(|now| now != server)
    });

    let keys = hub
        .remote(&["key", "rotate", "freshness", "--out", "next.key.pub", "--json"])
        .ok()
        .json();
    let old = keys["freshness"][1]["id"].as_str().expect("the one before").to_owned();
    assert_eq!(
        keys["freshness"][1]["tenants"],
        json!(["default"]),
        "it speaks until a trust document says otherwise"
    );
    let replace = format!("{old}=next.key.pub");
    hub.jos(&[
        "trust",
        "rotate",
        "trust.v2.json",
        "--replace",
        &replace,
        "--key",
        "root.key",
    ])
    .ok();
    hub.remote(&["trust", "push", "trust.v3.json"]).ok();
    let keys = hub.remote(&["key", "show", "--json"]).ok().json();
    assert_eq!(keys["freshness"].as_array().map(Vec::len), Some(1), "{keys:#}");
    assert_eq!(keys["freshness"][0]["tenants"], json!(["default"]), "{keys:#}");
    until_true("the key before is gone", SOON, || {
        !hub.path("hub/freshness.key").exists()
    });
    let heard = device.live()["link"]["freshness"].clone();
    device.until("it hears the time by the new key", |live| {
        live["link"]["freshness"] != heard
    });
}

#[test]
fn a_backup_of_after_a_rotation_brings_a_hub_back_and_one_of_before_it_strands_no_device() {
    if jos_tests::postgres::is_wanted() {
        // There the database is restored by its own means.
        return;
    }
    let mut hub = Hub::on("127.0.0.1");
    let mut device = Device::new(&[], "");
    device.enrol(&hub).ok();
    device.start();
    called(&device);
    hub.push(1, &json!({ "apply": [device.file("a", "one\n")] }));
    hub.until_reported(1, "applied");
    hub.hub(&["backup", "--to", "before"]).ok();
    rotate(&hub);
    vouch(&hub);
    until_over(&hub);
    is_new_alone(&device);
    hub.hub(&["backup", "--to", "after"]).ok();

    hub.restore("after");
    hub.push(2, &json!({ "apply": [device.file("a", "two\n")] }));
    hub.until_reported(2, "applied");

    // That hub is none for this device, which goes on with what is in force.
    hub.restore("before");
    device.until("it does not take a hub of the CA before", |live| {
        live["link"]["trouble"]
            .as_str()
            .is_some_and(|why| why.contains("certificate"))
    });
    fs::write(device.path("www/a"), "tampered\n").expect("a file");
    until_true("drift is put right", SOON, || {
        device.content("a").as_deref() == Some("two\n")
    });

    // The right backup after all: nothing has to be done on the device.
    hub.restore("after");
    hub.push(3, &json!({ "apply": [device.file("a", "three\n")] }));
    hub.until_reported(3, "applied");

    // Where there is none but the one before: out with the device there, and a token for it, as for a new one.
    hub.restore("before");
    let id = hub.device()["device"]["id"].as_str().expect("an id").to_owned();
    hub.remote(&["device", "revoke", &id, "--reason", "its hub was restored"])
        .ok();
    device.kill();
    device
        .enrol(&hub)
        .exits(1)
        .says("is enrolled already")
        .says("state/identity and enrol again");
    fs::remove_dir_all(device.path("state/identity")).expect("its keys");
    device.enrol(&hub).ok();
    device.start();
    hub.push(4, &json!({ "apply": [device.file("a", "four\n")] }));
    until("the device that was enrolled anew has applied it", SOON, || {
        let content = device.content("a");
        if content.as_deref() == Some("four\n") {
            Ok(())
        } else {
            Err(format!("{content:?}\n{}", device.log()))
        }
    });
}
