//! The `.deb` on machines of their own, with a kernel of their own: the power is cut in the middle of a change, and the
//! ARM64 package runs where it is meant to. Each emulated boot takes its time, so each machine boots as seldom as it can.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use jos_tests::baked::{Vendor, only};
use jos_tests::command::run_within;
use jos_tests::programs::{jos_image, workspace};
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

/// Our own programs for both CPUs, as `scripts/tools` lays them out: compiled by it, unless $JOS_TOOLS names a folder of it.
fn tools(scratch: &Path) -> PathBuf {
    if let Some(built) = std::env::var_os("JOS_TOOLS") {
        return built.into();
    }
    let built = scratch.join("built");
    let mut script = Command::new(workspace().join("scripts/tools"));
    run_within(script.arg(&built), Duration::from_secs(3 * 3600), &[]).ok();
    built
}

#[test]
#[ignore = "soak: compiles our own programs for two CPUs"]
fn qemu_arm64_installs_our_own_tools_and_runs_a_hub() {
    let scratch = tempfile::tempdir().expect("a folder");
    let mut build = jos_image();
    build.args(["build", "jos-tools", "--target", "debian/arm64", "--dev-key", "--built"]);
    build.arg(tools(scratch.path())).current_dir(scratch.path());
    build.arg("--profiles").arg(workspace().join("profiles"));
    run_within(&mut build, Duration::from_secs(600), &[]).ok();
    let mut machine = Machine::new(Cpu::Arm64);
    for name in ["jos", "jos-image", "jos-hub"] {
        let file = format!("{name}_0.1.0-1_arm64.deb");
        machine.put(
            &scratch.path().join("dist/jos-tools").join(&file),
            &format!("/root/{file}"),
        );
    }
    machine.power_on();
    machine.apt_install("/root/*_arm64.deb").ok();
    for name in ["jos", "jos-image", "jos-hub"] {
        machine.sh(&format!("{name} --version")).ok().says("0.1.0");
    }
    // An appliance is baked from the programs that the package carries, and a hub runs.
    let desk = "mkdir /root/desk; cd /root/desk; jos-image new lamp --from base/debian";
    machine.sh(desk).ok();
    let bake = "cd /root/desk; jos-image build lamp.toml --target debian/arm64 --dev-key";
    machine.sh_within(bake, 4 * PATIENCE).ok();
    machine
        .sh("dpkg-deb --field /root/desk/dist/lamp/*.deb Architecture")
        .ok()
        .says("arm64");
    let init = "runuser -u jos-hub -- jos-hub init --data /var/lib/jos-hub --address https://127.0.0.1:8443";
    machine.sh_within(init, PATIENCE).ok();
    machine.sh("systemctl start jos-hub").ok();
    wait::until("the hub answers", PATIENCE, || {
        let said =
            machine.sh("jos-hub device list --url https://127.0.0.1:8444 --token-file /var/lib/jos-hub/admin.token");
        if said.succeeded() {
            Ok(())
        } else {
            Err(said.to_string())
        }
    });
}
