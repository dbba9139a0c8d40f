//! Commit-confirmed: whoever has to confirm does, or the old state comes back by itself, whatever happens meanwhile.

use std::rc::Rc;
use std::time::Duration;

use jos_schemas::documents::ledger::OutcomeKind;
use jos_trust::{Channel, Refused, Standing};
use serde_json::{Value, json};

use super::file;
use crate::disk::Tap;
use crate::journal::Phase;
use crate::testing::*;

/// A router whose uplink works under the old file, and a state that changes it.
fn router() -> Machine {
    let m = Machine::new();
    m.has_hub.set(true);
    m.write("/etc/net", "good", 0o644);
    m.service("web", true, true);
    m
}

fn spec(content: &str) -> Value {
    json!({
        "apply": [{ "type": "file", "path": "/etc/net", "content": content, "notify": ["web"] }, file("/etc/b", "b")],
        "confirm": { "hub_within": 60 },
    })
}

/// The hub answers while the uplink works.
fn by_uplink(m: &Machine) {
    *m.hub.borrow_mut() = Box::new(|m| m.read("/etc/net").starts_with("good"));
}

/// The hub answers the first question, then not for so long.
fn out_for(m: &Machine, seconds: u64) {
    *m.hub.borrow_mut() = Box::new(move |m| m.asked.get() == 1 || m.passed.get() >= Duration::from_secs(seconds));
}

#[test]
fn a_change_that_the_hub_confirms_is_kept() {
    let m = router();
    by_uplink(&m);
    let outcome = m.apply(1, spec("good too"));
    assert_eq!(outcome.kind, OutcomeKind::Applied, "{outcome}");
    assert_eq!((m.asked.get(), m.read("/etc/net").as_str()), (2, "good too"));
    // In force it is not asked again.
    assert_eq!(m.apply(1, spec("good too")).kind, OutcomeKind::Unchanged);
    assert_eq!(m.asked.get(), 2);
}

#[test]
fn a_change_that_cuts_off_the_hub_is_taken_back_at_the_deadline_and_not_tried_again() {
    let m = router();
    by_uplink(&m);
    let before = m.snapshot();
    let outcome = m.apply(1, spec("bad"));
    assert_eq!(outcome.kind, OutcomeKind::RolledBack, "{outcome}");
    assert_eq!(m.snapshot(), before);
    assert!(m.passed.get() >= Duration::from_secs(60), "not before the deadline");
    assert!(
        m.passed.get() < Duration::from_secs(62),
        "the old state was reached at once"
    );
    assert_eq!(*m.told.borrow(), ["restart web", "restart web"]);
    assert_eq!(outcome.told_again, ["web"]);
    let failed = m.verified(Channel::Local, &state("portal", 1, spec("bad")));
    assert!(
        matches!(failed, Err(Refused::AlreadyFailed { version: 1 })),
        "{failed:?}"
    );
    assert_eq!(m.apply(2, spec("good")).kind, OutcomeKind::Applied);
}

#[test]
fn an_outage_of_the_hub_fails_no_version() {
    let m = router();
    out_for(&m, u64::MAX / 2);
    let before = m.snapshot();
    let outcome = m.apply(1, spec("good"));
    assert_eq!(outcome.kind, OutcomeKind::Unconfirmed, "{outcome}");
    assert_eq!((outcome.exit_code(), m.snapshot() == before), (1, true));
    let again = m.local(1, spec("good"));
    assert_eq!(again.standing(), Standing::Again);
    // Whoever asks by himself waits; each time twice as long.
    let first = m.plane().patience_with(&again).unwrap();
    assert_eq!(first, 120);
    m.asked.set(0);
    assert_eq!(m.plane().apply(&again).unwrap().kind, OutcomeKind::Unconfirmed);
    assert_eq!(m.plane().patience_with(&again).unwrap(), 240);
    m.clock.set(m.clock.get() + 240);
    assert_eq!(m.plane().patience_with(&again).unwrap(), 0);
    *m.hub.borrow_mut() = Box::new(|_| true);
    assert_eq!(m.plane().apply(&again).unwrap().kind, OutcomeKind::Applied);
    assert_eq!(m.plane().patience_with(&again).unwrap(), 0);
}

#[test]
fn a_trial_does_not_begin_while_the_hub_does_not_answer() {
    let m = router();
    *m.hub.borrow_mut() = Box::new(|_| false);
    let before = m.snapshot();
    let outcome = m.apply(1, spec("good"));
    assert_eq!(outcome.kind, OutcomeKind::Unconfirmed, "{outcome}");
    assert!(m.told.borrow().is_empty() && m.snapshot() == before);
    assert_eq!(m.local(1, spec("good")).standing(), Standing::New, "it was not tried");
    // Again and again says nothing new.
    assert!(!m.apply(1, spec("good")).recorded);
}

#[test]
fn the_hub_may_take_its_time_and_the_clock_may_jump() {
    let m = router();
    *m.hub.borrow_mut() = Box::new(|m| {
        m.clock.set(m.clock.get() + 400 * 24 * 3600);
        m.asked.get() == 1 || m.passed.get() >= Duration::from_secs(50)
    });
    let outcome = m.apply(1, spec("good"));
    assert_eq!(outcome.kind, OutcomeKind::Applied, "{outcome}");
}

#[test]
fn the_confirm_command_and_the_hub_both_have_to_agree() {
    let m = router();
    by_uplink(&m);
    m.failing.borrow_mut().push("is it well".into());
    let mut wanted = spec("good");
    wanted["confirm"]["command"] = json!("is it well");
    assert_eq!(m.apply(1, wanted.clone()).kind, OutcomeKind::RolledBack);
    assert_eq!(m.asked.get(), 1, "the hub is asked last");
    m.failing.borrow_mut().clear();
    assert_eq!(m.apply(2, wanted).kind, OutcomeKind::Applied);
}

#[test]
fn without_a_hub_hub_within_is_unsupported_and_with_one_it_is_a_feature() {
    let m = router();
    let mut asks = state("portal", 1, spec("good"));
    asks["meta"]["requires"] = json!(["hub-within"]);
    assert_eq!(
        m.plane()
            .apply(&m.verified(Channel::Local, &asks).unwrap())
            .unwrap()
            .kind,
        OutcomeKind::Applied
    );
    m.has_hub.set(false);
    let outcome = m.apply(2, spec("good"));
    assert_eq!(outcome.kind, OutcomeKind::Unsupported);
    assert!(
        outcome.reasons[0].contains("spec.confirm.hub_within"),
        "{:?}",
        outcome.reasons
    );
}

#[test]
fn the_power_goes_while_the_hub_is_asked_and_the_old_state_comes_back() {
    let m = router();
    let before = m.snapshot();
    let cut = Cut::power(u64::MAX);
    let power = Rc::clone(&cut);
    let asked = Rc::new(std::cell::Cell::new(false));
    let noted = Rc::clone(&asked);
    *m.hub.borrow_mut() = Box::new(move |m| {
        if m.asked.get() == 1 {
            return true;
        }
        let phase = m.plane().status().unwrap().trial;
        noted.set(noted.get() || phase == Some(Phase::Confirming));
        power.left.set(0);
        false
    });
    let state = m.local(1, spec("good too"));
    let tap: Rc<dyn Tap> = cut;
    let _ = m.plane_with(Some(tap)).unwrap().apply(&state);
    assert!(asked.get(), "the phase was confirming");
    assert_ne!(
        m.snapshot(),
        before,
        "nothing could be written, so nothing was taken back"
    );
    m.boots.set(2);
    m.told.borrow_mut().clear();
    let outcome = m.plane().recover().unwrap().unwrap();
    assert_eq!(outcome.kind, OutcomeKind::RolledBack, "{outcome}");
    assert_eq!(
        (m.snapshot(), m.told.borrow().as_slice()),
        (before, ["restart web".to_owned()].as_slice())
    );
    assert_eq!(m.local(1, spec("good too")).standing(), Standing::Again);
    assert!(
        m.plane().patience_with(&m.local(1, spec("good too"))).unwrap() > 0,
        "no loop of reboots"
    );
}

/// One way that a trial with a hub can go.
type Way = (&'static str, fn(&Machine), &'static str);

#[test]
fn the_power_goes_at_every_write_of_every_phase() {
    let ways: [Way; 3] = [
        ("confirmed", by_uplink, "good too"),
        ("cut off", by_uplink, "bad"),
        ("outage", |m| out_for(m, u64::MAX / 2), "good too"),
    ];
    for (name, hub, content) in ways {
        for k in 0.. {
            let m = router();
            hub(&m);
            let old = m.snapshot();
            let state = m.local(1, spec(content));
            let cut = Cut::power(k);
            let tap: Rc<dyn Tap> = cut.clone();
            if let Ok(plane) = m.plane_with(Some(tap)) {
                drop(plane.apply(&state));
            }
            // The machine comes up again; its files first, then the rest, cut once more in between.
            m.boots.set(2);
            m.plane().recover_files().unwrap();
            if let Ok(plane) = m.plane_with(Some(Cut::power(k % 7))) {
                drop(plane.recover());
            }
            m.plane().recover().unwrap();
            let status = m.plane().status().unwrap();
            let in_force = !status.in_force.is_empty();
            assert!(!in_force || name == "confirmed", "{name}, k = {k}");
            if in_force {
                assert_eq!(
                    (m.read("/etc/net").as_str(), m.read("/etc/b").as_str()),
                    (content, "b"),
                    "k = {k}"
                );
            } else {
                assert_eq!(m.snapshot(), old, "{name}, k = {k}");
            }
            assert!(status.trial.is_none(), "{name}, k = {k}");
            m.plane().verify_ledger().unwrap();
            if !cut.happened() {
                let kinds = [
                    ("confirmed", OutcomeKind::Applied),
                    ("cut off", OutcomeKind::RolledBack),
                ];
                let expected = kinds
                    .iter()
                    .find(|(n, _)| *n == name)
                    .map_or(OutcomeKind::Unconfirmed, |(_, k)| *k);
                assert_eq!(status.last.unwrap().outcome, expected, "{name}");
                break;
            }
        }
    }
}

#[test]
fn early_recovery_puts_the_files_back_and_tells_nobody() {
    let m = router();
    m.write("/etc/b", "before", 0o600);
    let before = m.snapshot();
    let cut = Cut::power(u64::MAX);
    let power = Rc::clone(&cut);
    *m.hub.borrow_mut() = Box::new(move |m| {
        power.left.set(if m.asked.get() > 1 { 0 } else { u64::MAX });
        m.asked.get() == 1
    });
    let tap: Rc<dyn Tap> = cut;
    let state = m.local(1, spec("good too"));
    let _ = m.plane_with(Some(tap)).unwrap().apply(&state);
    m.boots.set(2);
    m.told.borrow_mut().clear();
    let count = m.plane().status().unwrap().ledger.count;
    assert_eq!(m.plane().recover_files().unwrap(), Some(Vec::new()));
    assert_eq!((m.snapshot(), m.told.borrow().len()), (before.clone(), 0));
    assert_eq!(m.plane().status().unwrap().trial, Some(Phase::Reverting));
    // Done twice it is done once.
    assert_eq!(m.plane().recover_files().unwrap(), Some(Vec::new()));
    assert_eq!(m.plane().status().unwrap().ledger.count, count);
    let outcome = m.plane().recover().unwrap().unwrap();
    assert_eq!(
        (outcome.kind, outcome.ledger.count),
        (OutcomeKind::RolledBack, count + 1),
        "{outcome}"
    );
    assert_eq!(*m.told.borrow(), ["restart web"]);
    assert!(m.plane().recover_files().unwrap().is_none() && m.snapshot() == before);
}

#[test]
fn what_was_confirmed_is_not_taken_back_early() {
    let m = router();
    by_uplink(&m);
    for k in 0.. {
        let m = router();
        by_uplink(&m);
        let state = m.local(1, spec("good too"));
        let cut = Cut::power(k);
        let tap: Rc<dyn Tap> = cut.clone();
        if let Ok(plane) = m.plane_with(Some(tap)) {
            drop(plane.apply(&state));
        }
        let kept = !m.plane().status().unwrap().in_force.is_empty();
        let early = m.plane().recover_files().unwrap();
        if kept {
            assert_eq!((early, m.read("/etc/net").as_str()), (None, "good too"), "k = {k}");
        } else {
            assert_eq!(m.read("/etc/net"), "good", "k = {k}");
        }
        if !cut.happened() {
            break;
        }
    }
}

#[test]
fn the_health_of_what_came_back_is_asked_and_recorded() {
    let m = Machine::new();
    let health = json!({ "type": "http", "url": "http://localhost/", "retries": 0 });
    m.apply(1, json!({ "apply": [file("/etc/a", "1")], "health_check": health }));
    m.failing.borrow_mut().push("is it well".into());
    let bad = json!({ "apply": [file("/etc/a", "2")], "confirm": { "command": "is it well" } });
    let outcome = m.apply(2, bad.clone());
    assert_eq!(
        (outcome.kind, m.read("/etc/a").as_str()),
        (OutcomeKind::RolledBack, "1")
    );
    assert!(
        outcome.health_after.as_ref().unwrap().contains("answered 200"),
        "{outcome}"
    );
    m.answer.set(Ok(503));
    let outcome = m.apply(3, bad);
    assert_eq!(
        outcome.kind,
        OutcomeKind::RolledBack,
        "it is said, and nothing else comes of it"
    );
    assert!(
        outcome.health_after.as_ref().unwrap().starts_with("failed: "),
        "{outcome}"
    );
    let mut said = 0;
    m.plane()
        .open_ledger()
        .unwrap()
        .read(&mut |r, _| said += usize::from(r.payload.get("health_after").is_some()))
        .unwrap();
    assert_eq!(said, 2);
}
