//! The agent's own package: granted in words, replaced last, decided by the new program, taken back by the old one.

use jos_schemas::documents::ledger::OutcomeKind;
use jos_trust::{Channel, Refused, Standing};
use serde_json::{Value, json};

use super::file;
use crate::plane::PlaneError;
use crate::testing::*;

fn machine() -> Machine {
    let mut m = Machine::new();
    let mut grant = wide();
    grant["packages"] = json!(["vendor-agent as the agent", "tool"]);
    m.policy = policy(json!({ "local": grant }));
    m.repository.borrow_mut().extend([
        ("vendor-agent", "9", &[] as &'static [&'static str]),
        ("vendor-agent", "8", &[]),
    ]);
    m.installed.borrow_mut().insert("vendor-agent".into(), "8".into());
    m.service("web", true, true);
    m.service("jos-agent", true, true);
    m
}

fn own(version: &str) -> Value {
    json!({ "type": "package", "name": "vendor-agent", "state": "installed", "version": version })
}

/// The agent's package first, and a file that a service is told of after it.
fn spec() -> Value {
    let notifies = json!({ "type": "file", "path": "/etc/a", "content": "a", "notify": ["web"] });
    json!({ "apply": [own("9"), notifies], "health_check": { "type": "http", "url": "http://localhost/", "retries": 0 } })
}

#[track_caller]
fn stands(m: &Machine, version: &str, file: bool) {
    assert_eq!(m.installed.borrow()["vendor-agent"], version);
    assert_eq!(m.at("/etc/a").exists(), file);
    let journal = std::fs::read_dir(m.data().join("portal/journal")).unwrap();
    assert_eq!(journal.count(), 0, "the journal is empty");
    m.plane().verify_ledger().unwrap();
    m.replays();
}

/// What an agent does when it starts.
fn start(m: &Machine) {
    for _ in 0..3 {
        match m.plane().recover() {
            Err(PlaneError::Upgrading { .. }) => drop(m.plane().follow_upgrade().unwrap()),
            other => return drop(other.unwrap()),
        }
    }
    panic!("no end to the upgrade: {:?}", m.guardian.asked.borrow());
}

#[test]
fn the_agents_own_package_is_replaced_last_and_kept_by_the_new_program() {
    let m = machine();
    let outcome = m.apply(1, spec());
    assert_eq!(outcome.kind, OutcomeKind::Applied, "{outcome}");
    stands(&m, "9", true);
    assert_eq!(
        *m.guardian.asked.borrow(),
        ["prepare", "start forward", "stay", "finish", "leave"]
    );
    assert_eq!(outcome.notified, ["web"]);
    assert!(outcome.health.is_some(), "the new program asked: {outcome}");
    let ran: Vec<&str> = outcome.captured.iter().map(|c| c.step.as_str()).collect();
    assert_eq!(ran, ["step 1 (package vendor-agent)"]);
    assert_eq!(m.apply(1, spec()).kind, OutcomeKind::Unchanged);
}

#[test]
fn replacing_the_agent_takes_a_word_in_the_grant_and_a_way_back() {
    let mut m = machine();
    let refused = |m: &Machine, version, step: Value, why: &str| {
        let outcome = m.apply(version, json!([step]));
        assert_eq!(outcome.kind, OutcomeKind::Refused, "{outcome}");
        assert!(outcome.reasons[0].contains(why), "{outcome}");
        assert!(m.guardian.asked.borrow().is_empty());
    };
    let mut gone = own("9");
    gone["state"] = json!("absent");
    gone.as_object_mut().unwrap().remove("version");
    refused(&m, 1, gone, "no state removes it");
    let mut blind = own("9");
    blind["allow_no_undo"] = json!(true);
    refused(&m, 2, blind, "only where that can be taken back");
    m.installed.borrow_mut().insert("vendor-agent".into(), "7".into());
    refused(&m, 3, own("9"), "is in no repository any more");
    m.policy = policy(json!({ "local": { "packages": ["vendor-agent"] } }));
    refused(
        &m,
        4,
        own("9"),
        "[grants.local] packages = [\"vendor-agent as the agent\"]",
    );
    m.policy = policy(json!({ "local": { "packages": ["vendor-agent as the agent from http://other"] } }));
    refused(
        &m,
        5,
        own("8"),
        "packages = [\"vendor-agent as the agent from http://repo/main/x.deb\"]",
    );
}

#[test]
fn an_agent_that_does_not_come_up_is_taken_back_and_not_tried_again() {
    let m = machine();
    m.guardian.down.set(true);
    let outcome = m.apply(1, spec());
    assert_eq!(outcome.kind, OutcomeKind::RolledBack, "{outcome}");
    assert!(outcome.reasons[0].contains("does not come up"), "{outcome}");
    stands(&m, "8", false);
    let again = m.verified(Channel::Local, &state("portal", 1, spec()));
    assert!(matches!(again, Err(Refused::AlreadyFailed { version: 1 })), "{again:?}");
}

#[test]
fn what_the_new_program_decides_against_is_taken_back_by_the_old_one() {
    let m = machine();
    m.answer.set(Ok(500));
    let outcome = m.apply(1, spec());
    assert_eq!(outcome.kind, OutcomeKind::RolledBack, "{outcome}");
    assert!(outcome.reasons[0].contains("the health check failed"), "{outcome}");
    stands(&m, "8", false);
    assert_eq!(outcome.told_again, ["web"]);
}

#[test]
fn a_new_program_that_is_killed_fails_no_version_and_one_that_ends_by_itself_does() {
    for (signal, failed) in [(9, false), (11, true)] {
        let m = machine();
        m.guardian.killed.set(Some(signal));
        let outcome = m.apply(1, spec());
        assert_eq!(outcome.kind, OutcomeKind::RolledBack, "{outcome}");
        stands(&m, "8", false);
        let again = m.verified(Channel::Local, &state("portal", 1, spec()));
        assert_eq!(again.is_err(), failed, "{again:?}");
        assert!(failed || again.unwrap().standing() == Standing::Again);
    }
}

#[test]
fn a_guardian_that_dies_is_started_again_and_takes_back() {
    let m = machine();
    m.guardian.dead.set(true);
    let state = m.local(1, spec());
    assert!(matches!(m.plane().apply(&state), Err(PlaneError::Unfinished { .. })));
    assert_eq!(m.guardian.asked.borrow().iter().filter(|a| *a == "start").count(), 3);
    assert!(m.at("/etc/a").exists(), "everything but the package was done");
    // Whoever acts next sees to it that there is one, and does nothing meanwhile.
    assert!(matches!(m.plane().converge(), Err(PlaneError::Upgrading { .. })));
    m.guardian.dead.set(false);
    start(&m);
    stands(&m, "8", false);
    assert_eq!(m.local(1, spec()).standing(), Standing::Again, "nobody's fault");
}

#[test]
fn what_drifts_of_the_agents_own_package_is_put_right_with_pauses() {
    let m = machine();
    m.apply(1, spec());
    m.installed.borrow_mut().insert("vendor-agent".into(), "8".into());
    m.guardian.down.set(true);
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::RolledBack);
    m.replays();
    let tries = m.guardian.asked.borrow().len();
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::Drifted, "it waits");
    assert_eq!(m.guardian.asked.borrow().len(), tries);
    m.guardian.down.set(false);
    m.clock.set(m.clock.get() + 3600);
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::Applied);
    stands(&m, "9", true);
}

#[test]
fn power_cut_at_every_write_of_the_three_programs_leaves_the_old_agent_or_the_new_one() {
    for k in 0.. {
        let m = machine();
        let state = m.local(1, json!({ "apply": [own("9"), file("/etc/a", "a")] }));
        let tap = Cut::power(k);
        *m.guardian.tap.borrow_mut() = Some(tap.clone());
        if let Ok(plane) = m.plane_with(Some(tap.clone())) {
            drop(plane.apply(&state));
        }
        *m.guardian.tap.borrow_mut() = None;
        m.boots.set(2);
        // Early at boot, every other time.
        if k % 2 == 0 {
            m.plane().recover_files().unwrap_or_else(|e| panic!("k = {k}: {e}"));
        }
        start(&m);
        let kept = !m.plane().status().unwrap().in_force.is_empty();
        stands(&m, if kept { "9" } else { "8" }, kept);
        if !tap.happened() {
            assert!(kept);
            break;
        }
    }
}
