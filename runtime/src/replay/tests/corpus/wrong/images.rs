//! Moves to another system: which one ran, held against the one that the state names, and against what came into force.

use jos_schemas::documents::ledger::OutcomeKind;

use super::super::must_fail_of;
use super::*;
use crate::disk::Disk;
use crate::ledger::Archive;
use crate::plane::PlaneError;
use crate::testing::{FOR, Machine, policy, wide};

/// #0 #1 a state; #2 a move by the next one, #3 #4 that state in the new system, #5 the outcome of the move.
fn tale() -> Tale {
    let mut m = Machine::slotted("1.0");
    let mut grant = wide();
    grant["images"] = json!([FOR]);
    m.policy = policy(json!({ "local": grant }));
    let file = |content: &str| json!({ "type": "file", "path": "/etc/a", "content": content });
    m.apply(1, json!([file("old")]));
    let image = json!({ "type": "image", "compatible": FOR, "version": "2.0", "source": m.bundle("2.0") });
    let begun = m.plane().apply(&m.local(2, json!([file("new"), image])));
    assert!(matches!(begun, Err(PlaneError::Restarting { .. })), "{begun:?}");
    m.boot();
    let outcome = m.plane().resume().unwrap().unwrap();
    assert_eq!(outcome.kind, OutcomeKind::Applied, "{outcome}");
    let disk = Disk::open(&m.data().join("portal"), "0").unwrap();
    let tale = Tale::of(&Archive::folder(&disk, "ledger", "blobs"));
    let kinds: Vec<&str> = tale.records.iter().map(|r| r.kind.as_str()).collect();
    assert_eq!(
        kinds,
        ["decision", "outcome", "decision", "decision", "outcome", "outcome"]
    );
    assert_eq!(tale.records[5].cause.as_deref(), Some("#2"));
    let run = tale.replay();
    assert_eq!(run.divergence, None, "{}", run.divergence.as_ref().unwrap());
    tale
}

#[test]
fn a_state_in_another_system_than_it_names() {
    must_fail_of(tale(), 3, &["image", "kiosk-played 2.0, which the state names"], |t| {
        t.decided(3)["image"]["version"] = "1.0".into()
    });
    must_fail_of(tale(), 3, &["image", "none"], |t| {
        drop(t.decided(3).as_object_mut().unwrap().remove("image"))
    });
}

#[test]
fn a_move_to_the_system_that_runs() {
    must_fail_of(tale(), 2, &["image", "another version"], |t| {
        t.decided(2)["image"]["version"] = "2.0".into()
    });
    must_fail_of(tale(), 2, &["image", "till-played"], |t| {
        t.decided(2)["image"]["compatible"] = "till-played".into()
    });
}

#[test]
fn a_move_that_is_good_without_its_state() {
    must_fail_of(tale(), 3, &["rolled_back", "not in force"], |t| {
        t.remove(3);
        t.remove(3);
    });
}

#[test]
fn a_move_that_was_taken_back_and_whose_state_stayed() {
    must_fail_of(tale(), 5, &["applied", "in force"], |t| {
        t.changes(5).clear();
        t.payload(5)["outcome"] = "rolled_back".into();
    });
}

#[test]
fn a_move_to_another_system_than_the_step_names() {
    must_fail_of(tale(), 5, &["image kiosk-played", "1.0 → 3.0"], |t| {
        t.changes(5)[0]["details"][0] = "1.0 → 3.0".into()
    });
    must_fail_of(tale(), 5, &["one change", "0 changes"], |t| t.changes(5).clear());
}

#[test]
fn a_state_that_moves_the_device_in_passing() {
    must_fail_of(tale(), 4, &["a decision of its own"], |t| {
        let change = t.changes(5)[0].clone();
        t.changes(4).push(change);
    });
}

#[test]
fn a_move_with_two_ends() {
    must_fail_of(tale(), 6, &["no second outcome of #2"], |t| t.copy(5, 6));
}
