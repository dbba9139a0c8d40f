//! Roots that are not running: services by their links, the rest at the first boot.

use jos_schemas::documents::ledger::OutcomeKind;
use serde_json::json;

use super::file;
use crate::plan::Action;
use crate::testing::*;

const UNIT: &str = "[Service]\nExecStart=/usr/sbin/cupsd\n[Install]\nWantedBy=multi-user.target\n";

#[test]
fn a_service_in_a_root_is_enabled_by_its_links_and_started_at_the_first_boot() {
    let mut m = Machine::new();
    m.live = false;
    m.write("/usr/lib/systemd/system/cups.service", UNIT, 0o644);
    let spec = json!({
        "apply": [
            { "type": "file", "path": "/etc/cups.conf", "content": "x", "notify": ["cups"] },
            { "type": "service", "name": "cups", "action": "enable" },
            { "type": "service", "name": "web", "action": "restart" },
            { "type": "shell", "command": "do it" },
        ],
        "health_check": { "type": "http", "url": "http://localhost/" },
    });
    let mut with_links = m.policy.clone();
    std::mem::swap(&mut m.policy, &mut with_links);
    let outcome = m.apply(1, spec);
    assert_eq!(outcome.kind, OutcomeKind::Applied, "{outcome}");
    assert!(outcome.pending && m.told.borrow().is_empty() && m.ran.borrow().is_empty());
    let link = std::fs::read_link(m.at("/etc/systemd/system/multi-user.target.wants/cups.service")).unwrap();
    assert_eq!(link.to_str(), Some("/usr/lib/systemd/system/cups.service"));
    assert_eq!(
        outcome.changes.iter().filter(|c| c.action == Action::Pending).count(),
        2
    );
    assert!(m.plane().status().unwrap().in_force[0].pending_first_boot);
    assert!(
        !m.plane().converge().unwrap().recorded,
        "in the root there is nothing more to do"
    );

    // The first boot.
    m.live = true;
    m.service("cups", true, false);
    m.service("web", true, true);
    let outcome = m.plane().converge().unwrap();
    assert_eq!(outcome.kind, OutcomeKind::Applied, "{outcome}");
    assert_eq!(
        (m.told.borrow().clone(), m.ran.borrow().clone()),
        (
            vec!["start cups".to_owned(), "restart web".into()],
            vec!["do it".to_owned()]
        )
    );
    assert!(!m.plane().status().unwrap().in_force[0].pending_first_boot);
    assert!(!m.plane().converge().unwrap().recorded);
}

#[test]
fn a_unit_that_the_same_state_writes_is_enabled() {
    let mut m = Machine::new();
    m.live = false;
    let outcome = m.apply(
        1,
        json!([
            { "type": "file", "path": "/etc/systemd/system/web.service", "content": UNIT },
            { "type": "service", "name": "web", "action": "enable" },
        ]),
    );
    assert_eq!(outcome.kind, OutcomeKind::Applied, "{outcome}");
    assert!(
        m.at("/etc/systemd/system/multi-user.target.wants/web.service")
            .is_symlink()
    );
    let outcome = m.apply(2, json!([{ "type": "service", "name": "web", "action": "disable" }]));
    assert_eq!(outcome.kind, OutcomeKind::Applied, "{outcome}");
    assert!(
        !m.at("/etc/systemd/system/multi-user.target.wants/web.service")
            .is_symlink()
    );
}

#[test]
fn a_failed_first_boot_is_tried_again_later_and_not_at_once() {
    let mut m = Machine::new();
    m.live = false;
    m.apply(1, json!([file("/etc/a", "a"), { "type": "shell", "command": "do it" }]));
    m.live = true;
    m.failing.borrow_mut().push("do it".into());
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::RolledBack);
    assert_eq!(m.read("/etc/a"), "a");
    assert!(!m.plane().converge().unwrap().recorded);
    assert_eq!(m.ran.borrow().len(), 1);
    m.failing.borrow_mut().clear();
    m.clock.set(m.clock.get() + 3600);
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::Applied);
    assert!(!m.plane().status().unwrap().in_force[0].pending_first_boot);
}

#[test]
fn owners_of_a_root_are_its_own() {
    let mut m = Machine::new();
    m.live = false;
    m.write("/etc/passwd", "printer:x:1234:77::/:/bin/false\n", 0o644);
    m.write("/etc/group", "lp:x:7:\n", 0o644);
    let step = |path: &str, owner: &str| json!({ "type": "file", "path": path, "content": "x", "owner": owner });
    m.apply(
        1,
        json!([
            step("/etc/a", "printer"),
            step("/etc/b", "root:lp"),
            step("/etc/c", "5:6")
        ]),
    );
    let tree = m.snapshot();
    assert_eq!(
        ["etc/a", "etc/b", "etc/c"].map(|p| tree[p].split(' ').nth(1).unwrap().to_owned()),
        ["1234:77", "0:7", "5:6"]
    );
}
