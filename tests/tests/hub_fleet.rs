//! A fleet in network namespaces, one for each device, while links, hub and agents fail in a seeded order: nothing that was
//! acknowledged is lost, and no device is stranded.
//!
//! `JOS_SEED` repeats a run. On PostgreSQL, where that is wanted, the hub is two.

use std::collections::BTreeSet;

use jos_tests::command::{Ran, sh};
use jos_tests::fleet::{Device, Hub};
use jos_tests::wait::until;
use serde_json::{Value, json};

/// The same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // xorshift64*: good enough to choose what fails.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        high as usize % sides
    }
}

/// A bridge here, and a namespace with one link to it for each device. Gone when dropped.
struct Net {
    bridge: String,
    prefix: String,
    devices: usize,
}

impl Net {
    fn new(devices: usize) -> Self {
        let id = std::process::id();
        let net = Self {
            bridge: format!("jb{id}"),
            prefix: format!("10.{}.{}", 128 + id % 64, id / 64 % 250),
            devices,
        };
        ip(&["link", "add", &net.bridge, "type", "bridge"]).ok();
        ip(&["addr", "add", &format!("{}.1/24", net.prefix), "dev", &net.bridge]).ok();
        ip(&["link", "set", &net.bridge, "up"]).ok();
        for number in 0..devices {
            let (space, link) = (net.space(number), net.link(number));
            ip(&["netns", "add", &space]).ok();
            ip(&[
                "link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &space,
            ])
            .ok();
            ip(&["link", "set", &link, "master", &net.bridge, "up"]).ok();
            let inside = |words: &[&str]| ip(&[&["-n", space.as_str()], words].concat()).ok();
            inside(&[
                "addr",
                "add",
                &format!("{}.{}/24", net.prefix, number + 2),
                "dev",
                "eth0",
            ]);
            inside(&["link", "set", "eth0", "up"]);
            inside(&["link", "set", "lo", "up"]);
        }
        net
    }

    fn space(&self, number: usize) -> String {
        format!("jf{}-{number}", std::process::id())
    }

    fn link(&self, number: usize) -> String {
        format!("jv{}-{number}", std::process::id() % 100_000)
    }

    fn set(&self, number: usize, state: &str) {
        ip(&["link", "set", &self.link(number), state]).ok();
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for number in 0..self.devices {
            // Its link goes with it.
            let _ = ip(&["netns", "del", &self.space(number)]);
        }
        let _ = ip(&["link", "del", &self.bridge]);
    }
}

fn ip(words: &[&str]) -> Ran {
    sh("ip", words)
}

/// Each round pushes a version while something fails, and ends when every device has it and the hub knows.
fn fleet(devices: usize, rounds: u64) {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let seed = std::env::var("JOS_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(4);
    let mut dice = Dice(seed | 1 << 40);
    let net = Net::new(devices);
    let mut hub = Hub::on(&format!("{}.1", net.prefix));
    let mut fleet: Vec<Device> = (0..devices)
        .map(|number| Device::new(&[], "").in_namespace(&net.space(number)))
        .collect();
    for device in &mut fleet {
        device.enrol(&hub).ok();
        device.start();
    }
    let ids: Vec<String> = fleet.iter().map(id).collect();
    for round in 1..=rounds {
        let away: Vec<usize> = (0..devices).filter(|_| dice.roll(3) == 0).collect();
        let killed: Vec<usize> = (0..devices).filter(|_| dice.roll(5) == 0).collect();
        let fails = dice.roll(4);
        println!("seed {seed}, round {round}: away {away:?}, killed {killed:?}, hub {fails}");
        // They count up under the one name that all of them have.
        let version = |number: usize| (round - 1) * devices as u64 + number as u64 + 1;
        away.iter().for_each(|number| net.set(*number, "down"));
        // A state of its own for each: their files lie in different folders.
        for (number, device) in fleet.iter().enumerate() {
            let spec = json!({ "apply": [device.file("a", &format!("{round}\n"))] });
            hub.push_to(&ids[number], version(number), &spec);
            if number == devices / 2 {
                match fails {
                    1 => {
                        hub.kill();
                        hub.serve();
                    }
                    2 => {
                        hub.kill_one();
                        hub.serve();
                    }
                    _ => {}
                }
            }
        }
        for number in killed {
            fleet[number].kill();
            fleet[number].start();
        }
        if fails == 3 {
            hub.kill();
            hub.serve();
        }
        // Links that come and go before they stay.
        for number in away {
            for _ in 0..dice.roll(3) {
                net.set(number, "up");
                net.set(number, "down");
            }
            net.set(number, "up");
        }
        for (number, (device, id)) in fleet.iter().zip(&ids).enumerate() {
            let version = version(number);
            let what = format!("seed {seed}: {id} has version {version}, and the hub knows");
            let seen = until(&what, std::time::Duration::from_secs(180), || {
                let seen = hub.show(id);
                let reported = seen["reports"].as_array().into_iter().flatten();
                if reported
                    .clone()
                    .any(|r| r["version"] == version && r["outcome"] == "applied")
                {
                    Ok(seen)
                } else {
                    Err(format!("{seen:#}\n{}", device.log()))
                }
            });
            assert_eq!(device.content("a"), Some(format!("{round}\n")), "{id}");
            assert_eq!(seen["alarms"].as_array().map_or(0, Vec::len), 0, "{seen:#}");
        }
    }
    hub.remote(&["audit"]).ok();
    for (device, id) in fleet.iter().zip(&ids) {
        let own = outcomes(device);
        let known: BTreeSet<u64> = hub.show(id)["reports"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|report| report["ledger"]["index"].as_u64())
            .collect();
        let lost: Vec<&u64> = own.difference(&known).collect();
        assert!(
            lost.is_empty() && !own.is_empty(),
            "{id}: {lost:?} of {own:?} were not reported"
        );
    }
}

/// The id that the hub gave it.
fn id(device: &Device) -> String {
    let live = device.until("it is enrolled", |live| live["link"]["device"].is_string());
    live["link"]["device"].as_str().expect("an id").to_owned()
}

/// Positions of the outcomes in a device's own ledger.
fn outcomes(device: &Device) -> BTreeSet<u64> {
    let words = [
        "ledger",
        "show",
        "--json",
        "--kind",
        "outcome",
        "--state-dir",
        "state",
        "kiosk",
    ];
    let shown = device.jos(&words).ok();
    let records = shown
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a record"));
    records
        .map(|record| {
            record["index"]
                .as_u64()
                .unwrap_or_else(|| panic!("a record without its place: {record}"))
        })
        .collect()
}

#[test]
fn a_few_devices_stay_with_their_hub_through_partitions_and_kills() {
    fleet(4, 2);
}

#[test]
#[ignore = "soak: twenty devices, twelve rounds"]
fn twenty_devices_stay_with_their_hub_through_partitions_and_kills() {
    fleet(20, 12);
}
