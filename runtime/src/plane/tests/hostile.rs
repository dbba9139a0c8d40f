//! More rows of "What must fail": the device itself fails, or somebody is at work beside us.

use std::io::ErrorKind;
use std::time::Duration;

use jos_schemas::documents::ledger::OutcomeKind;
use serde_json::{Value, json};

use super::file;
use crate::testing::*;

#[test]
fn rollback_itself_failing_says_exactly_what_is_left_and_keeps_the_journal() {
    let m = Machine::new();
    m.write("/etc/a", "old a", 0o640);
    m.write("/srv/b", "old b", 0o600);
    let before = m.snapshot();
    m.answer.set(Ok(500));
    let spec = json!({
        "apply": [file("/etc/a", "new a"), file("/srv/b", "new b")],
        "health_check": { "type": "http", "url": "http://bad/", "retries": 0 },
    });
    let state = m.local(1, spec);
    // /etc can be written once, for the change itself: create, write, owner and mode, fsync, rename.
    let tap = OnPath::failing("/etc/.jos-", ErrorKind::StorageFull);
    tap.spare.set(5);
    let outcome = m.plane_with(Some(tap)).unwrap().apply(&state).unwrap();
    assert_eq!(outcome.kind, OutcomeKind::Broken, "{outcome}");
    assert_eq!(outcome.left.len(), 1, "{:?}", outcome.left);
    assert!(outcome.left[0].contains("/etc/a"), "{:?}", outcome.left);
    assert_eq!(
        (m.read("/etc/a").as_str(), m.read("/srv/b").as_str()),
        ("new a", "old b")
    );
    // Nothing else is done before that is put right, and every start tries again.
    let status = m.plane().status().unwrap();
    assert_eq!(status.trial, Some(crate::journal::Phase::Reverting));
    let again = OnPath::failing("/etc/.jos-", ErrorKind::StorageFull);
    let refused = m.plane_with(Some(again)).unwrap().apply(&m.local(2, json!([])));
    assert!(refused.unwrap_err().to_string().contains("/etc/a"));
    let outcome = m.plane().recover().unwrap().unwrap();
    assert_eq!(
        (outcome.kind, m.snapshot()),
        (OutcomeKind::RolledBack, before),
        "{outcome}"
    );
    assert!(m.plane().status().unwrap().trial.is_none());
}

#[test]
fn a_health_check_that_hangs_or_never_answers_ends_by_itself() {
    let m = Machine::new();
    m.answer.set(Err("timed out"));
    let before = m.snapshot();
    let check = json!({ "type": "tcp", "host": "h", "port": 1, "retries": 7, "timeout": 2 });
    let outcome = m.apply(1, json!({ "apply": [file("/etc/a", "x")], "health_check": check }));
    assert_eq!(
        (outcome.kind, m.snapshot()),
        (OutcomeKind::RolledBack, before),
        "{outcome}"
    );
    assert!(outcome.health.as_ref().unwrap().contains("8 tries"), "{outcome}");
    assert_eq!(
        m.passed.get(),
        Duration::from_secs(7),
        "a second between two tries, and no more"
    );
    // A command that hangs gets the check's own timeout.
    let check = json!({ "type": "command", "command": "is it well", "retries": 0, "timeout": 2 });
    m.apply(2, json!({ "apply": [file("/etc/a", "x")], "health_check": check }));
    assert_eq!(m.allowed.get(), Some(Duration::from_secs(2)));
}

#[test]
fn a_state_in_force_that_somebody_edited_is_not_believed() {
    let m = Machine::new();
    m.apply(1, json!([file("/etc/a", "signed")]));
    let states = m.data().join("portal/states");
    let stored = std::fs::read_dir(&states).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&stored).unwrap();
    assert!(text.contains("signed"));
    std::fs::write(&stored, text.replace("signed", "forged")).unwrap();
    std::fs::remove_file(m.at("/etc/a")).unwrap();
    let before = m.snapshot();
    assert!(m.plane().converge().is_err());
    assert!(m.plane().apply(&m.local(2, json!([file("/etc/b", "b")]))).is_err());
    assert_eq!(m.snapshot(), before, "nothing is done by a state that nobody signed");
}

#[test]
fn a_secret_swapped_between_plan_and_use_is_not_half_of_each() {
    // What is planned, compared and written is one reading: a secret that changes meanwhile is drift of the next turn.
    let m = Machine::new();
    m.secret("wifi", "first");
    let secrets = m.dir.path().join("secrets/wifi");
    *m.on_run.borrow_mut() = Some(Box::new(move |_| std::fs::write(&secrets, "second").unwrap()));
    let secret = json!({ "type": "file", "path": "/etc/wpa", "content": { "secret": "wifi" } });
    let outcome = m.apply(1, json!([{ "type": "shell", "command": "do it" }, secret]));
    assert_eq!(
        (outcome.kind, m.read("/etc/wpa").as_str()),
        (OutcomeKind::Applied, "first"),
        "{outcome}"
    );
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::Applied);
    assert_eq!(m.read("/etc/wpa"), "second");
}

#[test]
fn a_unit_or_hotplug_file_under_a_broad_glob_and_a_program_brought_by_a_state() {
    let mut m = Machine::new();
    m.policy = policy(json!({ "local": { "files": ["/**"] } }));
    let before = m.snapshot();
    let program = json!({ "type": "file", "path": "/srv/tool", "content": "#!/bin/sh\n", "mode": "0755" });
    let steps = [
        file("/etc/systemd/system/evil.service", "x"),
        file("/usr/lib/systemd/system/evil.service", "x"),
        file("/etc/hotplug.d/iface/99-evil", "x"),
        file("/etc/init.d/evil", "x"),
        file("/usr/bin/tool", "x"),
        file("/usr/local/lib/agent/evil", "x"),
        json!({ "type": "link", "path": "/etc/rc.d/S99evil", "target": "/tmp/x" }),
        json!({ "type": "directory", "path": "/etc/cron.d" }),
        program,
    ];
    for (version, step) in (1..).zip(steps) {
        let outcome = m.apply(version, json!([step.clone()]));
        assert_eq!(outcome.kind, OutcomeKind::Refused, "{step}: {outcome}");
        assert!(
            outcome.reasons.join("\n").contains("code = true"),
            "{step}: {:?}",
            outcome.reasons
        );
    }
    assert_eq!(m.snapshot(), before);
}

#[test]
fn every_executed_string_is_held_against_the_command_list() {
    let m = Machine::new();
    let good = json!({ "type": "shell", "command": "do it", "unless": "is it done", "undo": "undo it" });
    let spec = |step: Value, health: &str, confirm: &str| {
        json!({
            "apply": [step],
            "health_check": { "type": "command", "command": health, "retries": 0 },
            "confirm": { "command": confirm },
        })
    };
    // Each place where a state can name a command, one at a time, by one that differs in a space.
    let mut cases = Vec::new();
    for part in ["command", "unless", "undo"] {
        let mut step = good.clone();
        step[part] = json!(format!("{} ", good[part].as_str().unwrap()));
        cases.push((part, spec(step, "is it well", "is it well")));
    }
    cases.push(("spec.health_check", spec(good.clone(), "is it well ", "is it well")));
    cases.push(("spec.confirm.command", spec(good.clone(), "is it well", "is it well ")));
    let cron = json!({ "type": "cron", "name": "night", "schedule": "0 3 * * *", "command": "do it " });
    cases.push(("(cron night)", spec(cron, "is it well", "is it well")));
    for (version, (place, spec)) in (1..).zip(cases) {
        let outcome = m.apply(version, spec);
        assert_eq!(outcome.kind, OutcomeKind::Refused, "{place}: {outcome}");
        let reasons = outcome.reasons.join("\n");
        assert!(
            reasons.contains(place) && reasons.contains("not listed"),
            "{place}: {reasons}"
        );
    }
    assert!(m.ran.borrow().is_empty());
    m.failing.borrow_mut().push("is it done".into());
    assert_eq!(
        m.apply(20, spec(good, "is it well", "is it well")).kind,
        OutcomeKind::Applied
    );
}
