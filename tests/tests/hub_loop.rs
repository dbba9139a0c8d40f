//! The loop between a device and its hub, with the real programs: enrol, heartbeat, fetch, verify, apply, report.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use jos_tests::command::{Ran, sh};
use jos_tests::fleet::{Device, Hub, SOON};
use jos_tests::wait::{until, until_true};
use serde_json::json;

#[test]
fn a_device_enrols_applies_a_signed_state_and_takes_back_a_bad_one() {
    let hub = Hub::on("127.0.0.1");
    let mut device = Device::new(&["false"], "");
    device.start();
    device.until("it stays up without a hub", |live| live["turns"].as_u64() > Some(0));
    device.enrol(&hub).ok().says("enrolled as d");
    assert!(!device.path("given").exists(), "a used token lies around");
    device.until("it calls", |live| live["link"]["last_contact"].is_string());

    hub.push(1, &json!({ "apply": [device.file("a", "one\n")] }));
    let seen = hub.until_reported(1, "applied");
    assert_eq!(device.content("a").as_deref(), Some("one\n"));
    assert!(seen.to_string().contains("\"load\""), "{seen:#}");

    let bad = json!({
        "apply": [device.file("a", "two\n")],
        "health_check": { "type": "command", "command": "false", "retries": 1, "timeout": 1 },
    });
    hub.push(2, &bad);
    hub.until_reported(2, "rolled_back");
    assert_eq!(device.content("a").as_deref(), Some("one\n"));

    hub.push(3, &json!({ "apply": [device.file("a", "three\n")] }));
    hub.until_reported(3, "applied");
    assert_eq!(device.content("a").as_deref(), Some("three\n"));
    let live = device.until("the last version is in force", |live| {
        live["plane"]["in_force"][0]["version"] == 3
    });
    let confinement = live["link"]["confinement"].as_array().expect("a list").clone();
    let active = |name: &str| confinement.iter().any(|m| m["name"] == name && m["active"] == true);
    assert!(
        active("no_new_privs") && active("limits") && active("landlock"),
        "{confinement:?}"
    );
    if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
        assert!(active("seccomp"), "{confinement:?}");
    }
}

#[test]
fn a_token_lies_ready_is_used_once_and_is_gone() {
    let hub = Hub::on("127.0.0.1");
    let (mut first, mut second) = (Device::new(&[], ""), Device::new(&[], ""));
    let token = hub.token();
    for device in [&first, &second] {
        fs::write(device.path("token"), &token).expect("a file");
        fs::set_permissions(device.path("token"), fs::Permissions::from_mode(0o600)).expect("a mode");
    }
    first.start();
    first.until("it is enrolled", |live| live["link"]["device"].is_string());
    until_true("the token is gone", SOON, || !first.path("token").exists());
    second.start();
    let live = second.until("the hub refuses the second", |live| live["link"]["trouble"].is_string());
    assert!(
        live["link"]["trouble"]
            .as_str()
            .is_some_and(|t| t.contains("bad-token")),
        "{live:#}"
    );
    assert!(live["link"]["device"].is_null(), "{live:#}");
}

#[test]
fn hub_and_agent_are_killed_and_come_back_and_nothing_reported_is_lost() {
    let mut hub = Hub::on("127.0.0.1");
    let mut device = Device::new(&[], "");
    device.enrol(&hub).ok();
    device.start();
    hub.push(1, &json!({ "apply": [device.file("a", "one\n")] }));
    hub.until_reported(1, "applied");

    hub.kill();
    device.until("it sees that the hub is away", |live| {
        live["link"]["trouble"].is_string()
    });
    device.kill();
    device.start();
    device.until("it runs without a hub", |live| live["turns"].as_u64() > Some(0));
    fs::write(device.path("www/a"), "tampered\n").expect("a file");
    until_true("drift is put right without a hub", SOON, || {
        device.content("a").as_deref() == Some("one\n")
    });

    hub.serve();
    hub.push(2, &json!({ "apply": [device.file("a", "two\n")] }));
    device.kill();
    device.start();
    let seen = hub.until_reported(2, "applied");
    let first = seen["reports"]
        .as_array()
        .expect("reports")
        .iter()
        .filter(|r| r["version"] == 1)
        .count();
    assert_eq!(first, 1, "{seen:#}");
    assert_eq!(seen["alarms"].as_array().map_or(0, Vec::len), 0, "{seen:#}");
}

#[test]
fn one_of_two_hubs_is_killed_and_the_device_goes_on_with_the_other() {
    let mut hub = Hub::on("127.0.0.1");
    let mut device = Device::new(&[], "");
    device.enrol(&hub).ok();
    device.start();
    hub.push(1, &json!({ "apply": [device.file("a", "one\n")] }));
    hub.until_reported(1, "applied");
    if !hub.kill_one() {
        // On SQLite a hub is one process.
        return;
    }
    hub.push(2, &json!({ "apply": [device.file("a", "two\n")] }));
    let seen = hub.until_reported(2, "applied");
    assert_eq!(seen["alarms"].as_array().map_or(0, Vec::len), 0, "{seen:#}");
    hub.serve();
    hub.push(3, &json!({ "apply": [device.file("a", "three\n")] }));
    hub.until_reported(3, "applied");
    hub.remote(&["audit"]).ok();
}

#[test]
fn content_comes_from_the_hub_by_its_hash() {
    let hub = Hub::on("127.0.0.1");
    let mut device = Device::new(&[], "[hub]\nurl = \"https://127.0.0.1:1\"\nblob_rate = 100000\n");
    let content = vec![b'x'; 1_300_000];
    fs::write(hub.path("blob"), &content).expect("a file");
    let sum = sh("sha256sum", &[&hub.path("blob").display().to_string()]).ok();
    let sha256 = sum.text().split(' ').next().expect("a hash").to_owned();
    device.enrol(&hub).ok();
    device.start();
    let mut step = device.file("big", "");
    let step = step.as_object_mut().expect("a step");
    step.remove("content");
    step.insert("source".into(), json!({ "sha256": sha256, "size": content.len() }));
    hub.push_with(1, &json!({ "apply": [step] }), &["--blob", "blob"]);
    hub.until_reported(1, "applied");
    assert!(fs::read(device.path("www/big")).is_ok_and(|found| found == content));
}

#[test]
fn a_device_whose_certificate_the_hub_takes_no_more_comes_back_by_its_ledger_key() {
    let (hub, other) = (Hub::on("127.0.0.1"), Hub::on("127.0.0.1"));
    let (mut device, twin) = (Device::new(&[], ""), Device::new(&[], ""));
    device.enrol(&hub).ok();
    // The same keys with another hub: a certificate of a CA that the first one does not take, as an ended one.
    fs::create_dir_all(twin.path("state/identity")).expect("a folder");
    for key in ["tls.key", "ledger.key"] {
        let from = device.path("state/identity").join(key);
        sh(
            "cp",
            &[
                "-p",
                &from.display().to_string(),
                &twin.path("state/identity").display().to_string(),
            ],
        )
        .ok();
    }
    twin.enrol(&other).ok();
    let identity = |d: &Device| -> serde_json::Value {
        serde_json::from_slice(&fs::read(d.path("state/identity/hub.json")).expect("a file")).expect("JSON")
    };
    let mut forged = identity(&device);
    forged["certificate"] = identity(&twin)["certificate"].clone();
    fs::write(device.path("state/identity/hub.json"), forged.to_string()).expect("a file");
    device.start();
    hub.push(1, &json!({ "apply": [device.file("a", "one\n")] }));
    let seen = hub.until_reported(1, "applied");
    assert_eq!(seen["device"]["id"], forged["device"], "{seen:#}");
    assert_ne!(identity(&device)["certificate"], forged["certificate"]);
}

/// Two ends of a wire: one here, one in a namespace of its own. Gone when dropped.
struct Wire {
    name: String,
    address: String,
}

impl Wire {
    fn new() -> Self {
        let number = std::process::id() % 250;
        let wire = Self {
            name: format!("jos{}", std::process::id()),
            address: format!("10.213.{number}.1"),
        };
        let (name, here) = (&wire.name, format!("jh{number}"));
        ip(&["netns", "add", name]).ok();
        ip(&[
            "link", "add", &here, "type", "veth", "peer", "name", "eth0", "netns", name,
        ])
        .ok();
        ip(&["addr", "add", &format!("{}/24", wire.address), "dev", &here]).ok();
        ip(&["link", "set", &here, "up"]).ok();
        let inside = |words: &[&str]| ip(&[&["-n", name.as_str()], words].concat()).ok();
        inside(&["addr", "add", &format!("10.213.{number}.2/24"), "dev", "eth0"]);
        inside(&["link", "set", "eth0", "up"]);
        inside(&["link", "set", "lo", "up"]);
        wire
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // The other end goes with it.
        let _ = ip(&["netns", "del", &self.name]);
    }
}

fn ip(words: &[&str]) -> Ran {
    sh("ip", words)
}

#[test]
fn a_state_that_cuts_its_own_uplink_is_taken_back_and_the_hub_hears_of_it() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let wire = Wire::new();
    let hub = Hub::on(&wire.address);
    let (down, up) = ("ip link set eth0 down", "ip link set eth0 up");
    let mut device = Device::new(&[down, up], "").in_namespace(&wire.name);
    device.enrol(&hub).ok();
    device.start();
    hub.push(
        1,
        &json!({ "apply": [device.file("a", "one\n")], "confirm": { "hub_within": 30 } }),
    );
    hub.until_reported(1, "applied");
    let cut = json!({ "type": "shell", "command": down, "undo": up });
    hub.push(
        2,
        &json!({ "apply": [device.file("a", "two\n"), cut], "confirm": { "hub_within": 5 } }),
    );
    let seen = hub.until_reported(2, "rolled_back");
    assert!(seen.to_string().contains("the hub did not answer"), "{seen:#}");
    assert_eq!(device.content("a").as_deref(), Some("one\n"));
    // It is not tried again; the next version is.
    hub.push(
        3,
        &json!({ "apply": [device.file("a", "three\n")], "confirm": { "hub_within": 30 } }),
    );
    hub.until_reported(3, "applied");
}

#[test]
fn a_state_that_requires_the_runtime_is_held_back_until_the_device_runs_a_node_and_the_hub_says_why() {
    let hub = Hub::on("127.0.0.1");
    let mut device = Device::new(&[], "");
    device.enrol(&hub).ok();
    device.start();
    let state = json!({
        "kind": "jos.agent.desired_state",
        "meta": {
            "name": "kiosk", "version": 1, "expires": "2030-01-01T00:00:00Z", "audience": { "tenant": "default" },
            "requires": ["runtime"],
        },
        "spec": { "apply": [device.file("a", "one\n")] },
    });
    hub.push_state(&state, &[]);
    let held = json!({ "why": "features", "version": 1, "missing": ["runtime"] });
    let seen = until("the state is held back from it", SOON, || {
        let seen = hub.device();
        if seen["agents"][0]["held"] == held {
            Ok(seen)
        } else {
            Err(seen.to_string())
        }
    });
    let told = hub
        .remote(&["device", "show", seen["device"]["id"].as_str().expect("an id")])
        .ok();
    let sentence = "Version 1 is held back: the agent lacks runtime. Give it a node: [runtime] in its agent.toml.";
    assert!(told.stdout.contains(sentence), "{told}");
    assert_eq!(device.content("a"), None);
    device.kill();
    let config = fs::read_to_string(device.path("agent.toml")).expect("settings");
    let node = device.path("node");
    fs::write(
        device.path("agent.toml"),
        format!("{config}[runtime]\ndata_dir = {node:?}\n"),
    )
    .expect("written");
    device.start();
    hub.until_reported(1, "applied");
    assert_eq!(device.content("a").as_deref(), Some("one\n"));
}

#[test]
fn a_device_whose_first_address_does_not_answer_goes_on_with_the_second() {
    let hub = Hub::on("127.0.0.1");
    // Somebody listens there and says nothing that a hub says; the token names the hub itself.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let first = silent.local_addr().expect("an address");
    drop(silent);
    let mut device = Device::new(&[], &format!("[hub]\nurl = \"https://{first}\"\n"));
    device.enrol(&hub).ok();
    device.start();
    hub.push(1, &json!({ "apply": [device.file("a", "one\n")] }));
    hub.until_reported(1, "applied");
    let live = device.live();
    assert_eq!(live["link"]["addresses"][0], format!("https://{first}"), "{live:#}");
    assert_ne!(live["link"]["address"], 0, "{live:#}");
    assert!(live["link"]["trouble"].is_null(), "{live:#}");
}

#[test]
fn a_state_says_how_often_figures_come_and_those_of_a_file_are_among_them_where_policy_lets_them_out() {
    let hub = Hub::on("127.0.0.1");
    let mut device = Device::new(&[], "");
    let metrics = device.path("metrics");
    fs::write(&metrics, "pages-printed 12\n").expect("a file");
    // By itself it would call once an hour.
    let config = fs::read_to_string(device.path("agent.toml")).expect("settings");
    let config = config.replace("interval = 1\n", "interval = 3600\n");
    fs::write(
        device.path("agent.toml"),
        format!(
            "{config}[hub]\nurl = \"https://{}\"\nmetrics = {metrics:?}\n",
            hub.address()
        ),
    )
    .expect("a file");
    device.enrol(&hub).ok();
    device.start();
    hub.push(
        1,
        &json!({ "apply": [device.file("a", "one\n")], "telemetry": { "interval": 1 } }),
    );
    let seen = hub.until_reported(1, "applied");
    let told = |seen: &serde_json::Value, name: &str| seen["agents"][0]["said"]["telemetry"][name].clone();
    let uptime = told(&seen, "uptime").as_u64().expect("seconds");
    let again = |what: &str, so: &dyn Fn(&serde_json::Value) -> bool| {
        until(what, SOON, || {
            let seen = hub.device();
            if so(&seen) { Ok(seen) } else { Err(format!("{seen:#}")) }
        })
    };
    // The heartbeat that tells of the state is one; only the state's interval brings those after it.
    let seen = again("it calls every second", &|seen| {
        told(seen, "uptime").as_u64() >= Some(uptime + 4)
    });
    assert_eq!(told(&seen, "custom"), json!({ "pages-printed": 12 }), "{seen:#}");
    for name in ["memory", "disk", "load"] {
        assert!(!told(&seen, name).is_null(), "{name}: {seen:#}");
    }
    fs::write(&metrics, "pages-printed 13\n").expect("a file");
    again("the file's next figures come", &|seen| {
        told(seen, "custom") == json!({ "pages-printed": 13 })
    });

    let policy = fs::read_to_string(device.path("policy.toml")).expect("a policy");
    let only = policy.replace(
        "kind = \"jos.policy\"\n",
        "kind = \"jos.policy\"\ntelemetry = [\"uptime\"]\n",
    );
    fs::write(device.path("policy.toml"), only).expect("a file");
    device.kill();
    device.start();
    let seen = again("nothing else leaves it", &|seen| told(seen, "custom").is_null());
    let all = seen["agents"][0]["said"]["telemetry"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    assert_eq!(Vec::from_iter(all.keys()), ["uptime"], "{seen:#}");
}

#[test]
fn content_comes_no_faster_than_its_limit() {
    let hub = Hub::on("127.0.0.1");
    // KiB a second.
    let mut device = Device::new(&[], "[hub]\nurl = \"https://127.0.0.1:1\"\nblob_rate = 256\n");
    let content = vec![b'x'; 1_300_000];
    fs::write(hub.path("blob"), &content).expect("a file");
    let sum = sh("sha256sum", &[&hub.path("blob").display().to_string()]).ok();
    let sha256 = sum.text().split(' ').next().expect("a hash").to_owned();
    device.enrol(&hub).ok();
    device.start();
    device.until("it calls", |live| live["link"]["last_contact"].is_string());
    let mut step = device.file("big", "");
    let step = step.as_object_mut().expect("a step");
    step.remove("content");
    step.insert("source".into(), json!({ "sha256": sha256, "size": content.len() }));
    let begun = std::time::Instant::now();
    hub.push_with(1, &json!({ "apply": [step] }), &["--blob", "blob"]);
    hub.until_reported(1, "applied");
    let least = std::time::Duration::from_millis(content.len() as u64 * 1000 / (256 << 10));
    assert!(
        begun.elapsed() >= least,
        "{:?} for what may take no less than {least:?}",
        begun.elapsed()
    );
    assert!(fs::read(device.path("www/big")).is_ok_and(|found| found == content));
}

#[test]
fn a_hub_knows_the_time_zone_of_a_device_that_enrolled() {
    let hub = Hub::on("127.0.0.1");
    let device = Device::new(&[], "");
    device.enrol(&hub).ok();
    let own = std::path::Path::new("/etc/timezone").exists()
        || fs::read_link("/etc/localtime").is_ok_and(|to| to.to_string_lossy().contains("zoneinfo/"));
    let said = hub.device()["device"]["facts"]["timezone"].clone();
    assert_eq!(said.is_string(), own, "{said}");
}
