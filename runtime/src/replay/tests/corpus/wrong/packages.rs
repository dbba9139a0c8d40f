//! What became of packages: the manager's word, held against what the steps want.

use jos_schemas::documents::ledger::OutcomeKind;

use super::super::must_fail_of;
use super::*;
use crate::disk::Disk;
use crate::ledger::Archive;
use crate::testing::{Machine, policy, wide};

const STEP: &str = "step 1 (package tool)";

/// A package is brought to a version, another one removed, and a third was right already.
fn tale() -> Tale {
    let mut m = Machine::new();
    let mut grant = wide();
    grant["packages"] = json!(["tool", "old", "kept"]);
    m.policy = policy(json!({ "local": grant }));
    m.repository.borrow_mut().extend([
        ("tool", "2", &[] as &'static [&'static str]),
        ("tool", "1", &[]),
        ("old", "1", &[]),
        ("kept", "1", &[]),
    ]);
    for (name, version) in [("tool", "1"), ("old", "1"), ("kept", "1")] {
        m.installed.borrow_mut().insert(name.into(), version.into());
    }
    let outcome = m.apply(
        1,
        json!([
            { "type": "package", "name": "tool", "state": "installed", "version": "2" },
            { "type": "package", "name": "old", "state": "absent" },
            { "type": "package", "name": "kept", "state": "installed" },
        ]),
    );
    assert_eq!(outcome.kind, OutcomeKind::Applied, "{outcome}");
    let disk = Disk::open(&m.data().join("portal"), "0").unwrap();
    let tale = Tale::of(&Archive::folder(&disk, "ledger", "blobs"));
    let package = &tale.records[1].payload["captured"][0]["package"];
    assert_eq!(*package, json!({ "before": "1", "after": "2" }));
    let run = tale.replay();
    assert_eq!(run.divergence, None, "{}", run.divergence.as_ref().unwrap());
    tale
}

fn captured(tale: &mut Tale) -> &mut Vec<Value> {
    tale.payload(1)["captured"].as_array_mut().unwrap()
}

#[test]
fn another_version_than_the_step_pins() {
    must_fail_of(tale(), 1, &[STEP, "version 2", "version 1"], |t| {
        captured(t)[0]["package"]["after"] = "1".into()
    });
}

#[test]
fn a_package_that_is_there_although_it_was_to_go() {
    must_fail_of(tale(), 1, &["package old", "no version", "version 1"], |t| {
        captured(t)[1]["package"]["after"] = "1".into()
    });
}

#[test]
fn a_package_manager_that_failed_and_an_outcome_that_is_good() {
    must_fail_of(tale(), 1, &[STEP, "exit code 0"], |t| {
        captured(t)[0]["code"] = 100.into()
    });
    must_fail_of(tale(), 1, &[STEP, "exit code 0", "none"], |t| {
        drop(captured(t).remove(0))
    });
}

#[test]
fn a_package_manager_that_ran_for_nothing() {
    must_fail_of(tale(), 1, &["package kept", "nothing was to be changed"], |t| {
        let mut more = captured(t)[0].clone();
        more["step"] = "step 3 (package kept)".into();
        captured(t).push(more);
    });
}
