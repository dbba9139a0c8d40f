//! What the gate lets these steps do, and what it refuses by name.

use super::*;

pub(super) fn refused(m: &Machine, step: Value) -> Outcome {
    let before = m.snapshot();
    let outcome = m.apply(1, json!([step]));
    assert!(
        matches!(outcome.kind, OutcomeKind::Refused | OutcomeKind::Unsupported),
        "{outcome}"
    );
    assert_eq!(m.snapshot(), before);
    outcome
}

#[test]
fn the_gate_grants_parts_of_uci_files_and_keeps_what_is_executed_apart() {
    for (step, needed) in [
        (
            json!({ "config": "system", "section": "main", "options": { "hostname": "x" } }),
            "uci = [\"system.main.hostname\"]",
        ),
        (
            json!({ "config": "system", "section": "@button[0]", "options": { "handler": "reboot" } }),
            "{ path = \"system.@button.handler\", code = true }",
        ),
        (
            json!({ "config": "firewall", "section": "x", "options": { "path": "/tmp/x" } }),
            "{ path = \"firewall.x.path\", code = true }",
        ),
        (
            json!({ "config": "system", "section": "@button[0]", "absent": true }),
            "uci = [\"system.@button\"]",
        ),
        (
            json!({ "config": "uhttpd", "section": "main", "options": { "home": "/" } }),
            "code = true",
        ),
    ] {
        let mut step = step;
        step["type"] = json!("uci");
        let outcome = refused(&openwrt(), step);
        assert!(outcome.reasons[0].contains(needed), "{:?}", outcome.reasons);
    }
    let own = refused(
        &openwrt(),
        json!({ "type": "uci", "config": "jos", "section": "a", "options": { "b": "c" } }),
    );
    assert!(own.reasons[0].contains("protected"), "{:?}", own.reasons);
    // A whole file of `/etc/config` that may hold commands is code too.
    let file = refused(
        &openwrt(),
        json!({ "type": "file", "path": "/etc/config/firewall", "content": "" }),
    );
    assert!(file.reasons[0].contains("becomes code"), "{:?}", file.reasons);
}

#[test]
fn the_gate_lets_cron_run_only_what_is_listed_byte_for_byte() {
    for (command, word) in [
        ("do it ", "not listed"),
        ("do evil", "not listed"),
        ("/bin/echo hi", "byte for byte"),
    ] {
        let outcome = refused(&openwrt(), cron("x", command));
        assert!(outcome.reasons[0].contains(word), "{command}: {:?}", outcome.reasons);
    }
}

#[test]
fn the_gate_keeps_kernel_parameters_that_are_executed_apart() {
    for (key, value, word) in [
        ("vm.swappiness", "1", "not granted"),
        ("kernel.core_pattern", "|/bin/x", "by its own name"),
        ("kernel.modprobe", "/tmp/evil", "byte for byte"),
        ("fs.binfmt_misc.register", "x", "cannot be granted"),
    ] {
        let m = openwrt();
        let step = json!({ "type": "sysctl", "key": key, "value": value });
        let outcome = m.apply(1, json!([step]));
        assert_eq!(outcome.kind, OutcomeKind::Refused, "{key}");
        assert!(outcome.reasons[0].contains(word), "{key}: {:?}", outcome.reasons);
    }
    let m = openwrt();
    m.write("/proc/sys/kernel/modprobe", "/old\n", 0o644);
    let step = json!([{ "type": "sysctl", "key": "kernel.modprobe", "value": "/sbin/modprobe" }]);
    assert_eq!(m.apply(1, step).kind, OutcomeKind::Applied);
}

#[test]
fn two_steps_that_would_undo_each_other_are_refused() {
    let m = openwrt();
    let twice = m.apply(
        1,
        json!([lan(json!({ "ipaddr": "1.1.1.1" })), lan(json!({ "ipaddr": "2.2.2.2" }))]),
    );
    assert!(
        twice.reasons[0].contains("option network.lan.ipaddr is already that of step 1"),
        "{:?}",
        twice.reasons
    );
    let gone = json!({ "type": "uci", "config": "network", "section": "lan", "absent": true });
    let both = m.apply(2, json!([lan(json!({ "ipaddr": "1.1.1.1" })), gone]));
    assert!(both.reasons[0].contains("wants this section"), "{:?}", both.reasons);
    let mut m = openwrt();
    m.policy.grants.get_mut(&Source::Local).unwrap().files =
        serde_json::from_value(json!([{ "path": "/etc/**", "code": true }])).unwrap();
    for step in [
        json!({ "type": "file", "path": "/etc/config/network", "content": NETWORK }),
        json!({ "type": "absent", "path": "/etc/config/network" }),
    ] {
        let outcome = m.apply(1, json!([lan(json!({ "ipaddr": "1.1.1.1" })), step]));
        assert_eq!(outcome.kind, OutcomeKind::Refused, "{outcome}");
        assert!(
            outcome.reasons.iter().any(|r| r.contains("would undo each other")),
            "{:?}",
            outcome.reasons
        );
    }
}
