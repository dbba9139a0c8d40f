//! That the nspawn machine is what the tests that use it take it for.

use std::fs;
use std::time::Duration;

use jos_tests::nspawn::Machine;
use jos_tests::{command, wait};

#[test]
fn systemd_is_pid_1_and_every_unit_starts() {
    let machine = Machine::boot();
    assert_eq!(machine.run(&["cat", "/proc/1/comm"]).ok().text(), "systemd");
    assert_eq!(machine.run(&["systemctl", "is-system-running"]).ok().text(), "running");
    assert_eq!(
        machine.sh("ls /sys/class/net").ok().text(),
        "lo",
        "a machine without a network has a loopback only"
    );
}

#[test]
fn a_service_is_restarted_after_kill_and_comes_back_after_a_reboot() {
    let mut machine = Machine::boot();
    let unit = "[Service]\nExecStart=/bin/sh -c 'echo up since boot; exec tail -f /dev/null'\nRestart=always\nRestartSec=0\n\
                [Install]\nWantedBy=multi-user.target\n";
    fs::write(machine.host_path("/etc/systemd/system/witness.service"), unit).expect("the guest's root can be written");
    machine
        .sh("systemctl daemon-reload; systemctl enable --now witness.service")
        .ok();
    wait::until_true("the journal has its words", Duration::from_secs(10), || {
        machine.journal("witness").contains("up since boot")
    });
    let first = machine.property("witness", "MainPID");
    machine.run(&["kill", "-KILL", &first]).ok();
    wait::until("systemd has restarted it", Duration::from_secs(10), || {
        let state = machine.property("witness", "ActiveState");
        let again = machine.property("witness", "MainPID");
        if state == "active" && again != first && again != "0" {
            Ok(())
        } else {
            Err(format!("{state}, PID {again}"))
        }
    });

    let boot = machine.boot_id();
    machine.reboot();
    assert_ne!(machine.boot_id(), boot);
    assert_eq!(machine.property("witness", "ActiveState"), "active");
}

#[test]
fn apt_installs_a_local_package_and_two_machines_do_not_meet() {
    let scratch = tempfile::tempdir().expect("a folder");
    let tree = scratch.path().join("witness");
    fs::create_dir_all(tree.join("DEBIAN")).expect("a folder");
    fs::create_dir_all(tree.join("etc")).expect("a folder");
    let control = "Package: witness\nVersion: 1.0\nArchitecture: all\nMaintainer: Tests <tests@example.org>\nDescription: a witness\n";
    fs::write(tree.join("DEBIAN/control"), control).expect("written");
    fs::write(tree.join("DEBIAN/conffiles"), "/etc/witness.conf\n").expect("written");
    fs::write(tree.join("etc/witness.conf"), "shipped\n").expect("written");
    let deb = scratch.path().join("witness_1.0_all.deb");
    command::sh(
        "dpkg-deb",
        &[
            "--build",
            "--root-owner-group",
            &tree.display().to_string(),
            &deb.display().to_string(),
        ],
    )
    .ok();

    let first = Machine::boot();
    let second = Machine::boot();
    first.apt_install(&deb).ok();
    assert_eq!(
        first
            .run(&["dpkg-query", "-W", "-f", "${Status}", "witness"])
            .ok()
            .text(),
        "install ok installed"
    );
    second.run(&["dpkg-query", "-W", "witness"]).exits(1);
    assert!(!second.host_path("/etc/witness.conf").exists());
    // Each has a tree of services of its own: stopping one's leaves the other's.
    first.run(&["systemctl", "stop", "dbus.service", "dbus.socket"]).ok();
    assert_eq!(second.property("dbus.service", "ActiveState"), "active");
}

#[test]
fn a_machine_that_is_switched_off_keeps_its_files() {
    let mut machine = Machine::boot();
    machine.sh("echo kept >/etc/kept").ok();
    machine.power_off();
    assert_eq!(
        fs::read_to_string(machine.host_path("/etc/kept")).expect("readable while off"),
        "kept\n"
    );
    machine.power_on();
    assert_eq!(machine.run(&["cat", "/etc/kept"]).ok().text(), "kept");
}
