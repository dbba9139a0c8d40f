//! Steps on what a system keeps in files of its own format: UCI, crontabs, kernel parameters.

mod gate;

use std::rc::Rc;

use jos_schemas::documents::ledger::OutcomeKind;
use jos_schemas::documents::policy::Source;
use jos_trust::Channel;
use serde_json::{Value, json};

use self::gate::refused;
use crate::disk::Tap;
use crate::outcome::Outcome;
use crate::testing::*;

const NETWORK: &str = "\
# Written by hand.
config interface 'loopback'
\toption device 'lo'

config interface 'lan'
\toption ipaddr '192.168.1.1' # the old one
\tlist dns '1.1.1.1'
";

const FIREWALL: &str = "\
config defaults
\toption input 'REJECT'

config zone
\toption name 'lan'
\toption input 'ACCEPT'

config zone
\toption name 'wan'
\toption input 'REJECT'
";

fn grants() -> Value {
    json!({
        "files": ["/srv/**", "/etc/**"],
        "uci": ["network", "firewall", { "path": "wireless", "code": true }, "system.@button.pressed"],
        "services": ["network", "cups"],
        "sysctl": ["net.ipv4.*", "kernel.modprobe"],
        "shell": ["do it", "is it well", "/sbin/modprobe", { "argv": ["/bin/echo", "{word}"] }],
    })
}

fn openwrt() -> Machine {
    let mut m = Machine::new();
    m.policy = policy(json!({ "local": grants(), "baseline": grants() }));
    m.write("/etc/openwrt_release", "DISTRIB_ID='OpenWrt'\n", 0o644);
    m.write("/etc/config/network", NETWORK, 0o644);
    m.write("/etc/config/firewall", FIREWALL, 0o644);
    m.write("/etc/crontabs/root", "0 0 * * * /root/mine\n", 0o600);
    m.write("/etc/sysctl.conf", "# Defaults are elsewhere.\n", 0o644);
    m.write("/proc/sys/net/ipv4/ip_forward", "0\n", 0o644);
    m.write("/proc/sys/net/ipv4/tcp_rmem", "4096\t16384\t4194304\n", 0o644);
    m.service("network", true, true);
    m.service("cups", true, true);
    m.service("cron", true, true);
    let root = m.root();
    // What a shell would do with the one command that sets a parameter.
    *m.on_set.borrow_mut() = Some(Box::new(move |path, value| {
        std::fs::write(root.join(path.trim_start_matches('/')), format!("{value}\n")).unwrap();
    }));
    m
}

fn debian() -> Machine {
    let m = openwrt();
    std::fs::remove_file(m.at("/etc/openwrt_release")).unwrap();
    std::fs::create_dir_all(m.at("/etc/cron.d")).unwrap();
    m
}

fn lan(options: Value) -> Value {
    json!({ "type": "uci", "config": "network", "section": "lan", "options": options, "notify": ["network"] })
}

fn cron(name: &str, command: &str) -> Value {
    json!({ "type": "cron", "name": name, "schedule": "*/5 * * * *", "command": command })
}

fn forward(value: &str) -> Value {
    json!({ "type": "sysctl", "key": "net.ipv4.ip_forward", "value": value })
}

/// Everything that this file's steps can do, on two systems.
fn mixed() -> Value {
    json!([
        lan(json!({ "ipaddr": "10.0.0.1", "dns": ["9.9.9.9", "1.1.1.1"] })),
        { "type": "uci", "config": "network", "section": "wan", "section_type": "interface", "options": { "proto": "dhcp" } },
        { "type": "uci", "config": "firewall", "section_type": "zone", "match": { "name": "wan" }, "options": { "masq": "1" } },
        { "type": "uci", "config": "firewall", "section_type": "zone", "match": { "name": "guest" }, "options": { "input": "DROP" } },
        { "type": "uci", "config": "firewall", "section": "@defaults[0]", "options": { "syn_flood": "1" }, "remove": ["input"] },
        { "type": "uci", "config": "network", "section": "loopback", "absent": true },
        cron("backup", "do it"),
        cron("look", "is it well"),
        forward("1"),
        { "type": "sysctl", "key": "net/ipv4/tcp_rmem", "value": "4096 16384 4194304" },
    ])
}

#[test]
fn uci_cron_and_sysctl_are_planned_applied_and_the_second_time_nothing_changes() {
    let m = openwrt();
    let plan = m.plane().plan(&m.local(1, mixed())).unwrap();
    let text = plan.to_string();
    for part in [
        "~ file /etc/config/network",
        "+\toption ipaddr '10.0.0.1' # the old one",
        "-config interface 'loopback'",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let outcome = m.apply(1, mixed());
    assert_eq!(outcome.kind, OutcomeKind::Applied, "{outcome}");
    // One change a file, however many steps edit it.
    let whats: Vec<&str> = outcome.changes.iter().map(|c| c.what.as_str()).collect();
    let files = [
        "/etc/config/network",
        "/etc/config/firewall",
        "/etc/crontabs/root",
        "/etc/sysctl.conf",
        "/proc/sys/net/ipv4/ip_forward",
    ];
    assert_eq!(whats, files);
    assert_eq!(
        m.read("/etc/config/network"),
        "# Written by hand.\n\nconfig interface 'lan'\n\toption ipaddr '10.0.0.1' # the old one\n\tlist dns '9.9.9.9'\n\tlist dns '1.1.1.1'\n\nconfig interface 'wan'\n\toption proto 'dhcp'\n"
    );
    let firewall = m.read("/etc/config/firewall");
    assert!(
        firewall.starts_with("config defaults\n\toption syn_flood '1'\n"),
        "{firewall}"
    );
    assert!(
        firewall.ends_with("\toption masq '1'\n\nconfig zone\n\toption name 'guest'\n\toption input 'DROP'\n"),
        "{firewall}"
    );
    assert!(
        m.read("/etc/crontabs/root")
            .starts_with("0 0 * * * /root/mine\n# jos portal/backup: begin")
    );
    assert!(m.read("/etc/sysctl.conf").contains("net.ipv4.ip_forward = 1\n"));
    assert_eq!(m.read("/proc/sys/net/ipv4/ip_forward"), "1\n");
    assert_eq!(outcome.notified, ["network", "cron"]);
    let again = m.apply(2, mixed());
    assert_eq!(
        (again.kind, again.changes.len()),
        (OutcomeKind::Unchanged, 0),
        "{again}"
    );
    assert!(!m.plane().converge().unwrap().recorded);
}

#[test]
fn a_failed_confirmation_puts_files_and_the_running_kernel_back() {
    let m = openwrt();
    let before = m.snapshot();
    m.failing.borrow_mut().push("is it well".into());
    let outcome = m.apply(1, json!({ "apply": mixed(), "confirm": { "command": "is it well" } }));
    assert_eq!(outcome.kind, OutcomeKind::RolledBack, "{outcome}");
    assert!(outcome.left.is_empty(), "{:?}", outcome.left);
    assert_eq!(m.snapshot(), before);
}

#[test]
fn drift_is_put_right_and_nothing_else_is_touched() {
    let m = openwrt();
    m.apply(1, mixed());
    let good = m.snapshot();
    let network = m.read("/etc/config/network");
    m.write(
        "/etc/config/network",
        network.replace("10.0.0.1", "10.6.6.6") + "\n# a person's note\n",
        0o644,
    );
    let crontab = m.read("/etc/crontabs/root");
    m.write(
        "/etc/crontabs/root",
        crontab.replace("do it", "do evil") + "1 1 * * * /root/more\n",
        0o600,
    );
    m.write("/proc/sys/net/ipv4/ip_forward", "0\n", 0o644);
    let outcome = m.plane().converge().unwrap();
    assert_eq!(
        (outcome.kind, outcome.changes.len()),
        (OutcomeKind::Applied, 3),
        "{outcome}"
    );
    assert_eq!(m.read("/etc/config/network"), network + "\n# a person's note\n");
    assert_eq!(m.read("/etc/crontabs/root"), crontab + "1 1 * * * /root/more\n");
    assert_eq!(m.read("/proc/sys/net/ipv4/ip_forward"), "1\n");
    assert_eq!(m.snapshot().len(), good.len());
}

#[test]
fn power_cut_at_every_write_leaves_all_old_or_all_new() {
    // One step of each kind: every further one adds nothing but time.
    let steps = json!([
        lan(json!({ "ipaddr": "10.0.0.1" })),
        cron("backup", "do it"),
        forward("1")
    ]);
    let new = {
        let m = openwrt();
        m.apply(1, steps.clone());
        m.snapshot()
    };
    for (health, every) in [(true, 1), (false, 3)] {
        for k in (0..).step_by(every) {
            let m = openwrt();
            m.answer.set(Ok(if health { 200 } else { 500 }));
            let old = m.snapshot();
            let check = json!({ "type": "http", "url": "http://it/", "retries": 0 });
            let state = m.local(1, json!({ "apply": steps, "health_check": check }));
            let cut = Cut::power(k);
            let tap: Rc<dyn Tap> = cut.clone();
            if let Ok(plane) = m.plane_with(Some(tap)) {
                drop(plane.apply(&state));
            }
            m.plane().recover().unwrap_or_else(|e| panic!("k = {k}: {e}"));
            let kept = !m.plane().status().unwrap().in_force.is_empty();
            assert_eq!(
                m.snapshot(),
                if kept { new.clone() } else { old },
                "k = {k}, kept {kept}"
            );
            assert!(health || !kept);
            m.plane().verify_ledger().unwrap();
            if !cut.happened() {
                break;
            }
        }
    }
}

#[test]
fn the_baseline_and_what_overlays_it_meet_in_one_file() {
    let m = openwrt();
    let baseline = json!([
        lan(json!({ "ipaddr": "10.0.0.1", "netmask": "255.0.0.0" })),
        cron("a", "do it"),
        forward("1")
    ]);
    let state = m.verified(Channel::Baseline, &state("portal", 1, baseline)).unwrap();
    assert_eq!(m.plane().apply(&state).unwrap().kind, OutcomeKind::Applied);
    let over = json!([
        lan(json!({ "ipaddr": "10.9.9.9" })),
        cron("a", "is it well"),
        forward("0")
    ]);
    let outcome = m.apply(1, over);
    assert_eq!(outcome.kind, OutcomeKind::Applied, "{outcome}");
    let network = m.read("/etc/config/network");
    assert!(
        network.contains("'10.9.9.9'") && network.contains("'255.0.0.0'"),
        "{network}"
    );
    assert!(m.read("/etc/crontabs/root").contains("is it well") && !m.read("/etc/crontabs/root").contains("do it"));
    assert_eq!(m.read("/proc/sys/net/ipv4/ip_forward"), "0\n");
    assert!(!m.plane().converge().unwrap().recorded, "they do not fight");
    // What the overlay drops falls back to the baseline.
    assert_eq!(m.apply(2, json!([])).kind, OutcomeKind::Applied);
    assert!(m.read("/etc/config/network").contains("'10.0.0.1'"));
    assert_eq!(m.read("/proc/sys/net/ipv4/ip_forward"), "1\n");
}

#[test]
fn what_a_newer_version_drops_is_released_or_pruned() {
    let m = openwrt();
    let untouched = (m.read("/etc/crontabs/root"), m.read("/etc/sysctl.conf"));
    m.apply(1, mixed());
    let with = m.snapshot();
    let outcome = m.apply(2, json!([]));
    assert!(
        outcome.released.iter().any(|r| r == "option network.lan.ipaddr"),
        "{:?}",
        outcome.released
    );
    assert_eq!(m.snapshot(), with);
    m.apply(3, mixed());
    let mut pruned = state("portal", 4, json!([]));
    pruned["meta"]["prune"] = json!(true);
    let state = m.verified(Channel::Local, &pruned).unwrap();
    let outcome = m.plane().apply(&state).unwrap();
    assert_eq!(outcome.kind, OutcomeKind::Applied, "{outcome}");
    assert_eq!((m.read("/etc/crontabs/root"), m.read("/etc/sysctl.conf")), untouched);
    let network = m.read("/etc/config/network");
    assert!(
        !network.contains("ipaddr") && network.contains("'lan'") && !network.contains("'wan'"),
        "{network}"
    );
    // A section that a step made goes with what it says; one that was there stays.
    let firewall = m.read("/etc/config/firewall");
    assert!(
        !firewall.contains("guest") && !firewall.contains("masq") && firewall.contains("'wan'"),
        "{firewall}"
    );
}

#[test]
fn staged_changes_of_the_file_stand_in_the_way_and_are_named() {
    let m = openwrt();
    m.write("/tmp/.uci/network", "network.lan.ipaddr='1.2.3.4'\n", 0o600);
    let outcome = m.apply(1, json!([lan(json!({ "ipaddr": "10.0.0.1" }))]));
    assert_eq!(outcome.kind, OutcomeKind::Refused, "{outcome}");
    assert!(
        outcome.reasons[0].contains("uci changes network"),
        "{:?}",
        outcome.reasons
    );
    // In a root that is not running nobody stages anything.
    let mut m = openwrt();
    m.live = false;
    m.write("/tmp/.uci/network", "network.lan.ipaddr='1.2.3.4'\n", 0o600);
    assert_eq!(
        m.apply(1, json!([lan(json!({ "ipaddr": "10.0.0.1" }))])).kind,
        OutcomeKind::Applied
    );
}

#[test]
fn a_file_that_uci_itself_cannot_read_afterwards_is_taken_back() {
    let m = openwrt();
    m.write("/sbin/uci", "the real one", 0o755);
    let before = m.snapshot();
    m.failing.borrow_mut().push("network".into());
    let outcome = m.apply(1, json!([lan(json!({ "ipaddr": "10.0.0.1" }))]));
    assert_eq!(outcome.kind, OutcomeKind::RolledBack, "{outcome}");
    assert!(
        outcome.reasons[0].contains("uci reads network"),
        "{:?}",
        outcome.reasons
    );
    assert_eq!(m.snapshot(), before);
    m.failing.borrow_mut().clear();
    assert_eq!(
        m.apply(2, json!([lan(json!({ "ipaddr": "10.0.0.1" }))])).kind,
        OutcomeKind::Applied
    );
}

#[test]
fn a_secret_in_a_uci_file_is_known_by_its_mac_alone() {
    let m = openwrt();
    m.secret("wifi", "correct horse\n");
    m.write(
        "/etc/config/wireless",
        "config wifi-iface 'ap'\n\toption ssid 'x'\n",
        0o644,
    );
    let step = |ssid| {
        json!([{ "type": "uci", "config": "wireless", "section": "ap",
        "options": { "key": { "secret": "wifi" }, "ssid": ssid } }])
    };
    let plan = m.plane().plan(&m.local(1, step("y"))).unwrap();
    assert!(
        plan.to_string().contains("secret wifi") && plan.changes[0].diff.is_empty(),
        "{plan}"
    );
    assert_eq!(m.apply(1, step("y")).kind, OutcomeKind::Applied);
    assert!(
        m.read("/etc/config/wireless")
            .contains("\toption key 'correct horse'\n")
    );
    // Also where a later version no longer names the secret: the file still holds it.
    let later = json!([{ "type": "uci", "config": "wireless", "section": "ap", "options": { "ssid": "z" } }]);
    assert_eq!(m.apply(2, later).kind, OutcomeKind::Applied);
    let hash = jos_trust::sha256(m.read("/etc/config/wireless").as_bytes()).to_string();
    for (path, bytes) in m.stored_bytes() {
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            !text.contains("correct horse") && !text.contains(&hash),
            "{}",
            path.display()
        );
    }
}

#[test]
fn sections_are_found_as_uci_counts_them_or_the_step_says_why_not() {
    let uci = |more: Value| {
        let mut step = json!({ "type": "uci", "config": "firewall", "options": { "x": "1" } });
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        step
    };
    for (step, word) in [
        (uci(json!({ "section": "nosuch" })), "say its section_type"),
        (uci(json!({ "section": "@zone[3]" })), "has 2 sections"),
        (uci(json!({ "section": "@zone[0]", "section_type": "rule" })), "differs"),
        (
            uci(json!({ "section_type": "zone", "match": { "input": "ACCEPT" }, "config": "many" })),
            "2 sections",
        ),
        (uci(json!({ "section": "s", "config": "broken" })), "line 2, column 8"),
        (uci(json!({ "section": "cfg01e63d" })), "makes up"),
    ] {
        let mut m = openwrt();
        let grants = json!({ "uci": ["firewall", "many", "broken"] });
        m.policy = policy(json!({ "local": grants }));
        m.write("/etc/config/many", FIREWALL.replace("'REJECT'", "'ACCEPT'"), 0o644);
        m.write("/etc/config/broken", "config a s\noption 'x\n", 0o644);
        let outcome = refused(&m, step);
        assert!(outcome.reasons[0].contains(word), "{:?}", outcome.reasons);
    }
    let m = openwrt();
    let next = uci(json!({ "section": "@zone[2]" }));
    assert_eq!(m.apply(1, json!([next.clone()])).kind, OutcomeKind::Applied);
    assert!(
        m.read("/etc/config/firewall")
            .ends_with("\n\nconfig zone\n\toption x '1'\n")
    );
    assert_eq!(m.apply(2, json!([next])).changes.len(), 0);
}

#[test]
fn on_debian_an_entry_and_the_parameters_have_files_of_their_own() {
    let m = debian();
    let before = m.snapshot();
    let outcome = m.apply(1, json!([cron("backup", "do it"), forward("1")]));
    assert_eq!(outcome.kind, OutcomeKind::Applied, "{outcome}");
    let entry = m.read("/etc/cron.d/jos-portal-backup");
    assert!(entry.ends_with("\n*/5 * * * * root do it\n"), "{entry}");
    assert!(
        m.read("/etc/sysctl.d/99-zz-jos-portal.conf")
            .contains("net.ipv4.ip_forward = 1\n")
    );
    assert!(outcome.notified.is_empty(), "cron looks by itself");
    let mut gone = cron("backup", "do it");
    gone["absent"] = json!(true);
    let mut pruned = state("portal", 2, json!([gone]));
    pruned["meta"]["prune"] = json!(true);
    let state = m.verified(Channel::Local, &pruned).unwrap();
    assert_eq!(m.plane().apply(&state).unwrap().kind, OutcomeKind::Applied);
    // The running kernel keeps its value until somebody sets another.
    m.write("/proc/sys/net/ipv4/ip_forward", "0\n", 0o644);
    std::fs::remove_dir(m.at("/etc/sysctl.d")).unwrap();
    assert_eq!(m.snapshot(), before);
}

#[test]
fn a_system_without_uci_or_cron_says_so_by_name() {
    let m = debian();
    std::fs::remove_dir_all(m.at("/etc/cron.d")).unwrap();
    std::fs::remove_dir_all(m.at("/etc/config")).unwrap();
    for (step, word) in [
        (cron("x", "do it"), "no folder /etc/cron.d"),
        (lan(json!({ "ipaddr": "1.1.1.1" })), "has no UCI"),
    ] {
        let outcome = refused(&m, step);
        assert_eq!(outcome.kind, OutcomeKind::Unsupported);
        assert!(outcome.reasons[0].contains(word), "{:?}", outcome.reasons);
    }
    let mac = debian();
    std::fs::create_dir_all(mac.at("/System/Library")).unwrap();
    for (step, word) in [(cron("x", "do it"), "launchd"), (forward("1"), "Linux only")] {
        let outcome = refused(&mac, step);
        assert!(outcome.reasons[0].contains(word), "{:?}", outcome.reasons);
    }
    let m = openwrt();
    std::fs::remove_file(m.at("/proc/sys/net/ipv4/ip_forward")).unwrap();
    assert!(refused(&m, forward("1")).reasons[0].contains("no parameter net.ipv4.ip_forward"));
}

#[test]
fn a_root_that_is_not_running_gets_the_files_and_no_kernel_is_asked() {
    let mut m = openwrt();
    m.live = false;
    std::fs::remove_dir_all(m.at("/proc")).unwrap();
    let outcome = m.apply(1, mixed());
    assert_eq!(outcome.kind, OutcomeKind::Applied, "{outcome}");
    assert!(m.read("/etc/sysctl.conf").contains("net.ipv4.ip_forward = 1\n"));
    assert!(m.ran.borrow().is_empty());
}
