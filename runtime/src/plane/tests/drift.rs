//! Drift that comes back: patience with what flaps and with what fails, and none lost on the rest.

use std::io::ErrorKind;

use jos_schemas::documents::ledger::OutcomeKind;
use serde_json::json;

use super::file;
use crate::outcome::Outcome;
use crate::testing::*;

/// A turn, a minute after the last one. Each opens the plane anew, as after a restart.
fn turn(m: &Machine) -> Outcome {
    m.clock.set(m.clock.get() + 60);
    m.plane().converge().unwrap()
}

/// Somebody changes `/etc/a` before each turn until it is left alone; the number of times it was put right.
fn flap(m: &Machine) -> u32 {
    for n in 0..20 {
        m.write("/etc/a", format!("theirs {n}"), 0o644);
        let outcome = turn(m);
        if m.read("/etc/a") != "a" {
            assert_eq!(outcome.kind, OutcomeKind::Drifted, "{outcome}");
            return n;
        }
    }
    panic!("it is put right for ever");
}

#[test]
fn a_file_that_flaps_is_reported_with_what_is_known_and_left_alone_for_a_while() {
    let m = Machine::new();
    m.apply(1, json!([file("/etc/a", "a"), file("/etc/b", "b")]));
    for n in 0..5 {
        m.write("/etc/a", format!("theirs {n}"), 0o644);
        assert_eq!(turn(&m).kind, OutcomeKind::Applied, "{n}");
    }
    // The fifth time within ten minutes was the last for now.
    m.write("/etc/a", "theirs again", 0o600);
    m.clock.set(m.clock.get() + 30);
    let outcome = m.plane().converge().unwrap();
    assert_eq!(
        (outcome.kind, outcome.recorded),
        (OutcomeKind::Drifted, true),
        "{outcome}"
    );
    let reason = &outcome.reasons[0];
    for part in [
        "/etc/a: put right 5 times within 10 minutes",
        "a file of 0:0, mode 0600",
        "step 1 (file /etc/a)",
        "local",
    ] {
        assert!(reason.contains(part), "{part:?} in {reason}");
    }
    // Said once.
    let count = outcome.ledger.count;
    let outcome = m.plane().converge().unwrap();
    assert_eq!(
        (outcome.kind, outcome.recorded, outcome.ledger.count),
        (OutcomeKind::Drifted, false, count)
    );
    // Everything else is put right at once.
    m.write("/etc/b", "drifted", 0o644);
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::Applied);
    assert_eq!(
        (m.read("/etc/a").as_str(), m.read("/etc/b").as_str()),
        ("theirs again", "b")
    );
    // The pause is over.
    m.clock.set(m.clock.get() + 90);
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::Applied);
    assert_eq!(m.read("/etc/a"), "a");
}

#[test]
fn the_pauses_of_a_flapping_file_double_up_to_an_hour_and_the_ledger_stays_small() {
    let m = Machine::new();
    m.apply(1, json!([file("/etc/a", "a")]));
    assert_eq!(flap(&m), 5);
    let (mut pauses, mut since) = (Vec::new(), m.clock.get());
    for n in 0..200 {
        m.write("/etc/a", format!("more {n}"), 0o644);
        turn(&m);
        if m.read("/etc/a") == "a" {
            pauses.push((m.clock.get() - since) / 60);
            since = m.clock.get();
        }
    }
    assert_eq!(pauses[1..5], [4, 8, 16, 32], "{pauses:?}");
    assert!(pauses[5..].iter().all(|p| *p == 60), "{pauses:?}");
    let count = m.plane().status().unwrap().ledger.count;
    assert!(count < 50, "{count} records of three hours");
}

#[test]
fn what_flapped_and_holds_again_is_forgotten() {
    let m = Machine::new();
    m.apply(1, json!([file("/etc/a", "a"), file("/etc/b", "b")]));
    flap(&m);
    m.clock.set(m.clock.get() + 120);
    m.plane().converge().unwrap();
    m.clock.set(m.clock.get() + 4000);
    // Something else lets the book be looked at.
    m.write("/etc/b", "x", 0o644);
    m.plane().converge().unwrap();
    assert_eq!(flap(&m), 5, "the counting begins anew");
}

#[test]
fn patience_that_does_not_read_is_no_patience() {
    let m = Machine::new();
    m.apply(1, json!([file("/etc/a", "a")]));
    flap(&m);
    std::fs::write(m.data().join("portal/patience.json"), "{").unwrap();
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::Applied);
    // A clock that was set back does not make anybody wait longer than an hour.
    flap(&m);
    m.clock.set(m.clock.get() - 1_000_000);
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::Applied);
}

#[test]
fn notify_loop() {
    let m = Machine::new();
    m.service("cups", true, true);
    m.apply(
        1,
        json!([{ "type": "file", "path": "/etc/a", "content": "a", "notify": ["cups"] }]),
    );
    m.told.borrow_mut().clear();
    // The service rewrites its own file whenever it starts.
    let mut restarts = 0;
    for _ in 0..200 {
        let told = m.told.borrow().len();
        if told >= restarts {
            m.write("/etc/a", format!("rewritten {told}"), 0o644);
            restarts = told;
        }
        turn(&m);
    }
    let told = m.told.borrow().len();
    assert!((6..20).contains(&told), "{told} restarts in three hours");
}

#[test]
fn a_turn_that_changes_nothing_appends_and_writes_nothing() {
    let m = Machine::new();
    m.apply(1, json!([file("/etc/a", "a")]));
    m.plane().converge().unwrap();
    let before = m.stored_bytes();
    // The lock names its holder, who has not changed.
    let lock = before
        .iter()
        .find(|(path, _)| path.ends_with("apply.lock"))
        .unwrap()
        .0
        .clone();
    let locked = || std::fs::metadata(m.data().join(&lock)).unwrap().modified().unwrap();
    let written = locked();
    for _ in 0..3 {
        let outcome = turn(&m);
        assert_eq!((outcome.kind, outcome.recorded), (OutcomeKind::Unchanged, false));
    }
    let sorted = |mut all: Vec<(std::path::PathBuf, Vec<u8>)>| {
        all.sort();
        all
    };
    assert_eq!(sorted(m.stored_bytes()), sorted(before));
    assert_eq!(locked(), written);
}

#[test]
fn a_correction_that_fails_for_the_device_is_not_tried_at_every_turn() {
    let m = Machine::new();
    m.apply(1, json!([file("/etc/a", "a")]));
    m.write("/etc/a", "drifted", 0o644);
    let full = || OnPath::failing("/etc/.jos-", ErrorKind::StorageFull);
    let tap = full();
    let outcome = m.plane_with(Some(tap.clone())).unwrap().converge().unwrap();
    assert_eq!(outcome.kind, OutcomeKind::RolledBack, "{outcome}");
    let tries = tap.hits.get();
    assert!(tries > 0);
    let outcome = m.plane_with(Some(tap.clone())).unwrap().converge().unwrap();
    assert_eq!(
        (outcome.kind, outcome.recorded),
        (OutcomeKind::Drifted, false),
        "{outcome}"
    );
    assert_eq!(tap.hits.get(), tries, "not even tried");
    m.clock.set(m.clock.get() + 120);
    let outcome = m.plane_with(Some(tap.clone())).unwrap().converge().unwrap();
    assert!(
        !outcome.recorded && tap.hits.get() > tries,
        "tried again, and nothing new to say"
    );
    m.clock.set(m.clock.get() + 240);
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::Applied);
    assert_eq!(m.read("/etc/a"), "a");
}
