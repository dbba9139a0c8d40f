//! Power loss: what was not made durable is gone, or is there in part, or came out of order.
//!
//! The calls of an apply are recorded and played again on a disk of two versions ([`crate::testing::lossy`]). After each
//! call the power is cut; recovery on what is left must come to the whole old tree or the whole new one.

use std::collections::BTreeMap;

use jos_schemas::documents::ledger::OutcomeKind;
use serde_json::{Value, json};

use super::file;
use crate::testing::lossy::{Call, Model, Recorder, Survives};
use crate::testing::*;

fn prepared() -> Machine {
    let m = Machine::new();
    m.write("/etc/a", "old a", 0o640);
    m.write("/etc/mode", "same", 0o600);
    m.write("/srv/tree/x/y", "deep", 0o600);
    m.write("/etc/gone", "bye", 0o644);
    std::os::unix::fs::symlink("a", m.at("/etc/link")).unwrap();
    m.service("cups", false, true);
    m.secret("wifi", "passphrase");
    m
}

fn spec(good: bool) -> Value {
    json!({
        "apply": [
            { "type": "file", "path": "/etc/a", "content": "new a", "notify": ["cups"] },
            file("/etc/mode", "same"),
            file("/srv/new/dir/b", "b"),
            { "type": "directory", "path": "/srv/d", "mode": "0700" },
            { "type": "link", "path": "/etc/link", "target": "b" },
            { "type": "absent", "path": "/etc/gone" },
            { "type": "absent", "path": "/srv/tree", "recursive": true },
            { "type": "file", "path": "/etc/wpa", "content": { "secret": "wifi" } },
        ],
        "health_check": { "type": "http", "url": if good { "http://good/" } else { "http://bad/" }, "retries": 0 },
    })
}

/// Runs `act` on `m` and gives the disk as it was before, with the calls that were made.
fn recorded(m: &Machine, act: &dyn Fn(&crate::plane::Plane<'_>)) -> (Model, Vec<Call>) {
    let model = Model::of(&m.root(), &m.data());
    let recorder = Recorder::new();
    act(&m.plane_with(Some(recorder.clone())).unwrap());
    let calls = recorder.0.borrow().clone();
    (model, calls)
}

/// The machine after a power cut, with everything but its disk as `prepared` makes it.
fn after(model: &Model, survives: Survives, seed: u64) -> Machine {
    let m = Machine::new();
    m.service("cups", false, true);
    m.secret("wifi", "passphrase");
    // Other random numbers than before the cut: a name that was taken is not taken again.
    m.seed.set(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    std::fs::remove_dir_all(m.root()).unwrap();
    std::fs::remove_dir_all(m.data()).unwrap();
    model.cut(survives, &m.root(), &m.data());
    m
}

fn check(m: &Machine, old: &BTreeMap<String, String>, new: &BTreeMap<String, String>, what: &str) -> bool {
    m.plane().recover().unwrap_or_else(|e| panic!("{what}: recovery: {e}"));
    let in_force = !m.plane().status().unwrap().in_force.is_empty();
    let (tree, expected) = (m.snapshot(), if in_force { new } else { old });
    assert_eq!(
        &tree, expected,
        "{what}: neither wholly old nor wholly new (in force: {in_force})"
    );
    m.plane().verify_ledger().unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(m.plane().recover().unwrap().is_none(), "{what}: recovery is done once");
    in_force
}

/// Cuts the power after each call, in every way that is tried.
fn every_prefix(model: &mut Model, calls: &[Call], each: &mut dyn FnMut(&Model, Survives, &str)) {
    for n in 0..=calls.len() {
        if let Some(call) = n.checked_sub(1).map(|last| &calls[last]) {
            model.play(call);
        }
        let coins = (1..=3).map(|c| Survives::Some(n as u64 * 1_000_003 + c * 7_919));
        let coins = coins.take(if model.pending() > 1 { 3 } else { 0 });
        for survives in [Survives::Nothing, Survives::Everything].into_iter().chain(coins) {
            let last = n.checked_sub(1).map(|last| &calls[last]);
            each(
                model,
                survives,
                &format!("power cut after call {n} of {} ({last:?}), {survives:?}", calls.len()),
            );
        }
    }
}

#[test]
fn power_loss_after_any_call_of_an_apply_leaves_all_old_or_all_new() {
    let m = prepared();
    let (old, state) = (m.snapshot(), m.local(1, spec(true)));
    let (mut model, calls) = recorded(&m, &|plane| {
        assert_eq!(plane.apply(&state).unwrap().kind, OutcomeKind::Applied);
    });
    let new = m.snapshot();
    let (mut seed, mut seen) = (1, (0, 0));
    every_prefix(&mut model, &calls, &mut |model, survives, what| {
        seed += 1;
        if check(&after(model, survives, seed), &old, &new, what) {
            seen.1 += 1;
        } else {
            seen.0 += 1;
        }
    });
    assert!(seen.0 > 100 && seen.1 > 5, "both ends were seen: {seen:?}");
}

#[test]
fn power_loss_after_any_call_of_a_rollback_leaves_all_old() {
    let m = prepared();
    m.answer.set(Ok(500));
    let (old, state) = (m.snapshot(), m.local(1, spec(false)));
    let (mut model, calls) = recorded(&m, &|plane| {
        assert_eq!(plane.apply(&state).unwrap().kind, OutcomeKind::RolledBack);
    });
    assert_eq!(m.snapshot(), old);
    let mut seed = 1;
    every_prefix(&mut model, &calls, &mut |model, survives, what| {
        seed += 1;
        check(&after(model, survives, seed), &old, &old, what);
    });
}

#[test]
fn a_killed_apply_that_was_recovered_survives_the_power_loss_after_that() {
    let m = prepared();
    let (old, state) = (m.snapshot(), m.local(1, spec(true)));
    let (mut model, calls) = recorded(&m, &|plane| drop(plane.apply(&state)));
    let new = m.snapshot();
    for n in 0..=calls.len() {
        if let Some(call) = n.checked_sub(1).map(|last| &calls[last]) {
            model.play(call);
        }
        // The process is killed: nothing is lost, and nothing more is durable than was.
        let killed = after(&model, Survives::Everything, n as u64);
        let (_, more) = recorded(&killed, &|plane| drop(plane.recover().unwrap()));
        let mut model = model.clone();
        more.iter().for_each(|call| model.play(call));
        let what = format!(
            "killed after call {n} ({:?}), recovered, then the power was cut",
            n.checked_sub(1).map(|n| &calls[n])
        );
        let m = after(&model, Survives::Nothing, n as u64);
        let in_force = check(&m, &old, &new, &what);
        let status = m.plane().status().unwrap();
        let good = status.last.is_some_and(|l| l.outcome == OutcomeKind::Applied);
        assert_eq!(good, in_force, "{what}: the ledger says otherwise");
    }
}

#[test]
fn power_loss_during_recovery_from_power_loss_leaves_all_old_or_all_new() {
    let m = prepared();
    let (old, state) = (m.snapshot(), m.local(1, spec(true)));
    let (mut model, calls) = recorded(&m, &|plane| drop(plane.apply(&state)));
    let new = m.snapshot();
    for n in 1..=calls.len() {
        model.play(&calls[n - 1]);
        if n % 7 != 0 {
            continue;
        }
        let first = after(&model, Survives::Some(n as u64), n as u64);
        let (mut second, more) = recorded(&first, &|plane| drop(plane.recover()));
        for (k, call) in more.iter().enumerate() {
            second.play(call);
            if k % 3 == 0 {
                let seed = (n * 1000 + k) as u64;
                let what = format!("cut after call {n} of the apply and call {k} ({call:?}) of the recovery");
                check(&after(&second, Survives::Some(seed), seed), &old, &new, &what);
            }
        }
    }
}
