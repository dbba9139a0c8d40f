//! The `.deb` on machines of their own, with a kernel of their own: the power is cut in the middle of a change, and the
//! ARM64 package runs where it is meant to. Each emulated boot takes its time, so each machine boots as seldom as it can.

use std::time::Duration;

use jos_tests::baked::{Vendor, only};
use jos_tests::qemu::{Cpu, Machine};
use jos_tests::wait;
use serde_json::Value;

const BRIGHTNESS: &str = "/etc/night-light/brightness";
/// An emulated processor is some twenty times slower, and there may be two of them.
const PATIENCE: Duration = Duration::from_secs(300);

/// A machine with the package for it on its disk, installed by its own apt.
fn installed(cpu: Cpu) -> Machine {
    let vendor = Vendor::new();
    let appliance = vendor.appliance("night-light", "own");
    let target = format!("debian/{}", cpu.debian());
    let deb = only(&vendor.bake(appliance.profile(), &[&target], "out"), ".deb");
    let mut machine = Machine::new(cpu);
    machine.put(&deb, "/root/night-light.deb");
    machine.power_on();
    machine.apt_install("/root/night-light.deb").ok();
    machine
}

/// The agent's own word, once the baseline is in force and it waits for its next turn.
fn settled(machine: &mut Machine) -> Value {
    wait::until("the baseline is in force", PATIENCE, || {
        let said = machine.sh("jos agent status night-light --json || true");
        let value: Value = serde_json::from_str(&said.stdout).unwrap_or_default();
        if value["version"] == 1 && value["state"] == "running" && value["phase"] == "waiting" {
            Ok(value)
        } else {
            Err(format!(
                "{said}\n{}",
                machine.sh("journalctl --boot --no-pager --unit night-light | tail -n 40")
            ))
        }
    })
}

#[track_caller]
fn stands(machine: &mut Machine) {
    let status = settled(machine);
    assert_eq!(status["trouble"], Value::Null, "{status:#}");
    assert_eq!(status["enabled"], true, "{status:#}");
    let asked = machine.sh("systemctl show --property MainPID --value night-light").ok();
    assert_eq!(
        status["pid"].as_u64().map(|pid| pid.to_string()).as_deref(),
        Some(asked.text()),
        "{status:#}"
    );
    for unit in ["night-light", "night-light-lamp"] {
        assert_eq!(machine.sh(&format!("systemctl is-active {unit}")).ok().text(), "active");
        assert_eq!(
            machine.sh(&format!("systemctl is-enabled {unit}")).ok().text(),
            "enabled"
        );
    }
    assert_eq!(machine.sh(&format!("cat {BRIGHTNESS}")).ok().text(), "40");
    assert_eq!(
        machine.sh(&format!("stat -c %a:%U {BRIGHTNESS}")).ok().text(),
        "640:root"
    );
}

#[test]
fn qemu_amd64_loses_its_power_in_the_middle_of_a_change_and_comes_back_whole() {
    let mut machine = installed(Cpu::Amd64);
    stands(&mut machine);
    let before = settled(&mut machine)["ledger"]["count"].as_u64().expect("a ledger");

    // What apt wrote is on the disk; what follows is not.
    machine.sh("sync").ok();
    // A change that is under way: the file is broken, the agent is told, and the power goes while it works on it.
    machine
        .sh(&format!(
            "echo broken >{BRIGHTNESS}; sync {BRIGHTNESS}; systemctl reload night-light"
        ))
        .ok();
    machine.power_cut();

    machine.power_on();
    wait::until("the broken file is whole again", PATIENCE, || {
        let said = machine.sh(&format!("cat {BRIGHTNESS}"));
        if said.text() == "40" {
            Ok(())
        } else {
            Err(said.to_string())
        }
    });
    stands(&mut machine);
    let status = settled(&mut machine);
    let after = status["ledger"]["count"].as_u64().expect("a ledger");
    assert!(after >= before, "{after} records, and there were {before}: {status:#}");
    assert!(
        ["applied", "unchanged"].contains(&status["last_outcome"]["outcome"].as_str().unwrap_or_default()),
        "{status:#}"
    );
    // The plane reads its whole ledger and its floors, and finds nothing to do.
    let plan = machine
        .sh("jos agent plan /usr/share/jos/baseline.json --source baseline --json 2>/dev/null")
        .ok()
        .json();
    assert_eq!(plan["changes"], Value::Array(Vec::new()), "{plan:#}");
    assert_eq!(plan["in_force"], true, "{plan:#}");
}

#[test]
fn qemu_arm64_installs_its_own_package_and_applies_its_baseline() {
    let mut machine = installed(Cpu::Arm64);
    assert_eq!(machine.sh("dpkg --print-architecture").ok().text(), "arm64");
    stands(&mut machine);
}
