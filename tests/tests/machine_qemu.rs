//! That the emulated machines are what the tests that use them take them for. The names carry `qemu`: they run one at a
//! time (see .config/nextest.toml).

use jos_tests::qemu::{Cpu, Machine};

#[test]
fn qemu_amd64_keeps_what_was_synced_and_loses_what_was_not_when_its_power_is_cut() {
    keeps_and_loses(Cpu::Amd64);
}

#[test]
fn qemu_arm64_keeps_what_was_synced_and_loses_what_was_not_when_its_power_is_cut() {
    keeps_and_loses(Cpu::Arm64);
}

fn keeps_and_loses(cpu: Cpu) {
    let scratch = tempfile::tempdir().expect("a folder");
    let brought = scratch.path().join("brought");
    std::fs::write(&brought, "from outside\n").expect("written");

    let mut machine = Machine::new(cpu);
    machine.put(&brought, "/root/brought");
    machine.power_on();
    assert_eq!(machine.sh("cat /proc/1/comm").ok().text(), "systemd");
    assert_eq!(machine.sh("dpkg --print-architecture").ok().text(), cpu.debian());
    assert_eq!(machine.sh("cat /root/brought").ok().text(), "from outside");
    machine.sh("exit 7").exits(7);

    let unit = "[Service]\\nExecStart=/bin/sh -c \"exec tail -f /dev/null\"\\nRestart=always\\n[Install]\\nWantedBy=multi-user.target\\n";
    machine
        .sh(&format!(
            "printf '{unit}' >/etc/systemd/system/witness.service; systemctl enable --now witness"
        ))
        .ok();
    machine.sh("echo synced >/root/kept; sync").ok();
    let boot = machine.boot_id();
    machine.sh("echo never synced >/root/lost").ok();
    machine.power_cut();

    machine.power_on();
    assert_ne!(machine.boot_id(), boot);
    assert_eq!(machine.sh("cat /root/kept").ok().text(), "synced");
    assert_eq!(machine.sh("systemctl is-active witness").ok().text(), "active");
    machine.sh("[ ! -s /root/lost ]").ok();

    machine.power_off();
}
