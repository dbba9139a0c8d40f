//! A fleet in network namespaces, one for each device, while links, clocks, hub and agents fail in a seeded order: nothing
//! that was acknowledged is lost, and no device is stranded.
//!
//! `JOS_SEED` repeats a run. On PostgreSQL, where that is wanted, the hub is two.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jos_tests::fleet::{Device, Hub, Net};
use jos_tests::wait::until;
use serde_json::{Value, json};

/// MiB of the disk under the hub's folder.
const DISK: u32 = 64;
/// How long a device may take to come back, on a busy machine and a bad line.
const BACK: Duration = Duration::from_secs(180);
/// Where a clock jumps to: more than a year ahead, long before there was any of this, and back.
const CLOCKS: [&str; 3] = ["+400d", "-20000d", "+0d"];
/// What cuts a device off, and what mends that.
const CUT: [&str; 2] = ["ip link set eth0 down", "ip link set eth0 up"];

/// What befalls the hub in a round.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Blow {
    /// Its disk is full while states are pushed.
    Full,
    /// SIGKILL for all of it, while states are pushed.
    Kill,
    /// SIGKILL for one of two.
    KillOne,
    /// SIGKILL after the last push was acknowledged.
    KillLate,
    /// None.
    Spared,
}

const BLOWS: [Blow; 5] = [Blow::Full, Blow::Kill, Blow::KillOne, Blow::KillLate, Blow::Spared];

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

    /// Some of so many, each by a chance of one in `sides`.
    fn some(&mut self, of: usize, sides: usize) -> Vec<usize> {
        (0..of).filter(|_| self.roll(sides) == 0).collect()
    }
}

struct Fleet {
    // The devices end before the net that they are in.
    devices: Vec<Device>,
    ids: Vec<String>,
    hub: Hub,
    net: Net,
    dice: Dice,
    /// The last one that was pushed: versions count up under the one name that all devices have.
    version: u64,
}

impl Fleet {
    fn new(devices: usize, seed: u64) -> Self {
        let net = Net::new(devices);
        let hub = Hub::on_a_small_disk(&net.host(), DISK);
        let device = |number| Device::new(&CUT, "").in_namespace(&net.space(number)).with_a_clock();
        let mut devices: Vec<Device> = (0..devices).map(device).collect();
        for device in &mut devices {
            device.enrol(&hub).ok();
            device.start();
        }
        let ids = devices.iter().map(id).collect();
        Self {
            devices,
            ids,
            hub,
            net,
            dice: Dice(seed | 1 << 40),
            version: 0,
        }
    }

    /// A state of its own for each: their files lie in different folders.
    fn push(&mut self, number: usize, spec: &Value) -> u64 {
        self.version += 1;
        self.hub.push_to(&self.ids[number], self.version, spec);
        self.version
    }

    /// Pushes a version to every device while something fails, and ends when every device has its own and the hub knows.
    fn round(&mut self, round: u64, blow: Blow) {
        let count = self.devices.len();
        let away = self.dice.some(count, 3);
        let (killed, cut) = (self.dice.some(count, 5), self.dice.some(count, 4));
        let cut: Vec<usize> = cut.into_iter().filter(|number| !away.contains(number)).collect();
        let (bad, jumps) = (self.dice.some(count, 3), self.dice.some(count, 3));
        println!(
            "round {round}: hub {blow:?}, away {away:?}, bad lines {bad:?}, killed {killed:?}, cut off {cut:?}, clocks {jumps:?}"
        );

        // What takes the uplink away that it came by; whoever gets it comes back by itself.
        let cuts: Vec<(usize, u64)> = cut.iter().map(|number| (*number, self.cut(*number))).collect();
        for number in &jumps {
            let clock = CLOCKS[self.dice.roll(CLOCKS.len())];
            self.devices[*number].set_clock(clock);
        }
        bad.iter().for_each(|number| self.net.spoil(*number, 10));
        away.iter().for_each(|number| self.net.set(*number, false));

        let mut wanted = vec![0; count];
        let others: Vec<usize> = (0..count).filter(|number| !cut.contains(number)).collect();
        let half = others.len() / 2;
        for number in &others[..half] {
            wanted[*number] = self.push(*number, &self.spec(*number, round, 0));
        }
        match blow {
            Blow::Kill => self.hub.kill(),
            Blow::KillOne => drop(self.hub.kill_one()),
            Blow::Full => {
                let tried = self.push_to_a_full_disk(&others[half..], round);
                tried.iter().for_each(|(number, version)| wanted[*number] = *version);
            }
            Blow::KillLate | Blow::Spared => {}
        }
        self.hub.serve();
        for number in others[half..].iter().filter(|_| blow != Blow::Full) {
            wanted[*number] = self.push(*number, &self.spec(*number, round, 0));
        }
        for number in killed {
            self.devices[number].kill();
            self.devices[number].start();
        }
        if blow == Blow::KillLate {
            self.hub.kill();
            self.hub.serve();
        }
        // Links that come and go before they stay.
        for number in away {
            for _ in 0..self.dice.roll(3) {
                self.net.set(number, true);
                self.net.set(number, false);
            }
            self.net.set(number, true);
        }
        for (number, version) in cuts {
            let report = self.reported(number, version, |_| true);
            assert_ne!(report["outcome"], "applied", "{report:#}");
            println!("  device {number} was cut off: {}", report["outcome"]);
            wanted[number] = self.push(number, &self.spec(number, round, 0));
        }
        for (number, version) in wanted.iter().enumerate() {
            self.reported(number, *version, |report| report["outcome"] == "applied");
            let content = self.devices[number].content("a");
            assert_eq!(content, Some(format!("{round}\n")), "{}", self.ids[number]);
        }
        bad.iter().for_each(|number| self.net.mend(*number));
        self.nothing_is_lost();
    }

    fn spec(&self, number: usize, round: u64, more: usize) -> Value {
        let device = &self.devices[number];
        let big = device.file("big", &"x".repeat(more));
        json!({ "apply": [device.file("a", &format!("{round}\n")), big] })
    }

    fn cut(&mut self, number: usize) -> u64 {
        let cut = json!({ "type": "shell", "command": CUT[0], "undo": CUT[1] });
        let spec = json!({
            "apply": [self.devices[number].file("a", "cut off\n"), cut], "confirm": { "hub_within": 5 },
        });
        self.push(number, &spec)
    }

    /// Pushes while the hub's disk has no room left. What it does not take then, it takes later.
    fn push_to_a_full_disk(&mut self, numbers: &[usize], round: u64) -> Vec<(usize, u64)> {
        self.hub.fill();
        let (mut all, mut refused) = (Vec::new(), Vec::new());
        for number in numbers {
            self.version += 1;
            let spec = self.spec(*number, round, 300 << 10);
            let pushed = self.hub.try_push_to(&self.ids[*number], self.version, &spec);
            if pushed.succeeded() {
                all.push((*number, self.version));
            } else {
                refused.push((*number, spec));
            }
        }
        println!(
            "  {} of {} pushes were refused by a full disk",
            refused.len(),
            numbers.len()
        );
        // Not always all: on PostgreSQL states lie elsewhere, and SQLite writes over pages that are its own already.
        self.hub.empty();
        all.extend(
            refused
                .into_iter()
                .map(|(number, spec)| (number, self.push(number, &spec))),
        );
        all
    }

    /// Waits for the device's report of `version`.
    fn reported(&self, number: usize, version: u64, so: impl Fn(&Value) -> bool) -> Value {
        let (device, id) = (&self.devices[number], &self.ids[number]);
        until(&format!("{id} tells of version {version}"), BACK, || {
            let seen = self.hub.show(id);
            let mut reports = seen["reports"].as_array().into_iter().flatten();
            let found = reports
                .find(|report| report["version"] == version && so(report))
                .cloned();
            found.ok_or_else(|| format!("{seen:#}\n{}", device.log()))
        })
    }

    /// Every outcome is with the hub, every chain is whole, and the hub has no alarm.
    fn nothing_is_lost(&self) {
        self.hub.remote(&["audit"]).ok();
        for (device, id) in self.devices.iter().zip(&self.ids) {
            let own = outcomes(device);
            assert!(!own.is_empty(), "{id}");
            let seen = until(&format!("{id} has told of all of {own:?}"), BACK, || {
                let seen = self.hub.show(id);
                let reports = seen["reports"].as_array().into_iter().flatten();
                let known: BTreeSet<u64> = reports
                    .filter_map(|report| report["ledger"]["index"].as_u64())
                    .collect();
                // A device's page shows the last twenty; those before were seen in earlier rounds.
                let lost: Vec<&u64> = own.iter().rev().take(20).filter(|at| !known.contains(at)).collect();
                if lost.is_empty() {
                    Ok(seen)
                } else {
                    Err(format!("{lost:?} were not reported: {seen:#}"))
                }
            });
            assert_eq!(seen["alarms"].as_array().map_or(0, Vec::len), 0, "{seen:#}");
            device.jos(&["ledger", "verify", "--state-dir", "state", "kiosk"]).ok();
        }
    }
}

/// So many devices for so many rounds; the first blow is the hub's `first`.
fn fleet(devices: usize, rounds: u64, first: usize) {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let seed = std::env::var("JOS_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(4);
    let begun = Instant::now();
    println!("seed {seed}: {devices} devices, {rounds} rounds");
    let mut fleet = Fleet::new(devices, seed);
    for round in 1..=rounds {
        let blow = BLOWS[(first + round as usize - 1) % BLOWS.len()];
        fleet.round(round, blow);
        println!("  whole after {} s", begun.elapsed().as_secs());
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
fn a_few_devices_stay_with_their_hub_through_bad_lines_wrong_clocks_a_full_disk_and_kills() {
    fleet(4, 2, 0);
}

#[test]
#[ignore = "soak: twenty devices, fifteen rounds"]
fn twenty_devices_stay_with_their_hub_through_bad_lines_wrong_clocks_a_full_disk_and_kills() {
    fleet(20, 15, 0);
}
