//! `package` against a manager that is played: the plan, the gate, what comes along, and the way back.

use jos_schemas::documents::ledger::OutcomeKind;
use jos_trust::Channel;
use serde_json::{Value, json};

use super::file;
use crate::testing::*;

fn machine() -> Machine {
    let mut m = Machine::new();
    let mut grant = wide();
    grant["packages"] = json!(["tool", "old", "far from http://repo/main", "near from http://other"]);
    m.policy = policy(json!({ "local": grant }));
    m.repository.borrow_mut().extend([
        ("tool", "2", &["lib"] as &'static [&'static str]),
        ("tool", "1", &[]),
        ("lib", "5", &[]),
        ("old", "1", &["base"]),
        ("base", "1", &[]),
        ("far", "1", &[]),
        ("near", "1", &[]),
        ("vendor-agent", "9", &[]),
    ]);
    m
}

fn package(name: &str) -> Value {
    json!({ "type": "package", "name": name, "state": "installed" })
}

fn pinned(name: &str, version: &str) -> Value {
    json!({ "type": "package", "name": name, "state": "installed", "version": version })
}

fn installed(m: &Machine) -> Vec<String> {
    m.installed.borrow().iter().map(|(n, v)| format!("{n} {v}")).collect()
}

#[test]
fn a_package_is_installed_once_and_what_comes_along_is_said() {
    let m = machine();
    let plan = m
        .plane()
        .plan(&m.local(1, json!([package("tool")])))
        .unwrap()
        .to_string();
    assert!(
        plan.contains("! package tool: along with it lib: install 5, install 2"),
        "{plan}"
    );
    let outcome = m.apply(1, json!([package("tool")]));
    assert_eq!(outcome.kind, OutcomeKind::Applied, "{outcome}");
    assert_eq!(installed(&m), ["lib 5", "tool 2"]);
    assert_eq!(outcome.captured.len(), 1);
    assert_eq!(m.apply(1, json!([package("tool")])).kind, OutcomeKind::Unchanged);
    assert_eq!(m.ran.borrow().len(), 1);
}

#[test]
fn a_version_is_exact_in_both_directions_and_drift_is_put_right() {
    let m = machine();
    m.apply(1, json!([pinned("tool", "1")]));
    assert_eq!(installed(&m), ["tool 1"]);
    assert_eq!(m.apply(2, json!([pinned("tool", "2")])).kind, OutcomeKind::Applied);
    assert_eq!(m.apply(3, json!([pinned("tool", "1")])).kind, OutcomeKind::Applied);
    m.installed.borrow_mut().insert("tool".into(), "2".into());
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::Applied);
    assert_eq!(installed(&m), ["lib 5", "tool 1"]);
}

#[test]
fn a_failing_health_check_brings_every_version_back_and_takes_dependencies_along() {
    let m = machine();
    m.installed.borrow_mut().insert("tool".into(), "1".into());
    m.installed.borrow_mut().insert("old".into(), "1".into());
    let before = installed(&m);
    m.answer.set(Ok(500));
    let absent = json!({ "type": "package", "name": "old", "state": "absent" });
    let outcome = m.apply(
        1,
        json!({
            "apply": [pinned("tool", "2"), absent, package("far"), file("/etc/tool", "x")],
            "health_check": { "type": "http", "url": "http://localhost/", "retries": 0 },
        }),
    );
    assert_eq!(outcome.kind, OutcomeKind::RolledBack, "{outcome}");
    assert_eq!(installed(&m), before);
    assert!(!m.at("/etc/tool").exists());
}

#[test]
fn a_package_that_fails_to_install_is_taken_back() {
    let m = machine();
    m.failing.borrow_mut().push("install tool".into());
    let outcome = m.apply(1, json!([file("/etc/a", "a"), package("tool")]));
    assert_eq!(outcome.kind, OutcomeKind::RolledBack, "{outcome}");
    assert!(
        outcome.reasons[0].contains("played ended with exit code 1"),
        "{:?}",
        outcome.reasons
    );
    assert!(installed(&m).is_empty() && !m.at("/etc/a").exists());
}

fn refused(m: &Machine, version: u64, step: Value, why: &str) {
    let (before, tree) = (installed(m), m.snapshot());
    let outcome = m.apply(version, json!([file("/etc/first", "x"), step]));
    assert_eq!(outcome.kind, OutcomeKind::Refused, "{outcome}");
    assert!(
        outcome.reasons.join("\n").contains(why),
        "expected {why:?} in {:?}",
        outcome.reasons
    );
    assert_eq!((installed(m), m.snapshot()), (before, tree));
    assert!(m.ran.borrow().is_empty());
}

#[test]
fn names_and_repositories_are_granted_one_by_one() {
    let m = machine();
    refused(&m, 1, package("base"), "[grants.local] packages = [\"base\"]");
    refused(
        &m,
        2,
        package("near"),
        "near 1 would come from http://repo/main/x.deb, which is not granted",
    );
    assert_eq!(m.apply(3, json!([package("far")])).kind, OutcomeKind::Applied);
}

#[test]
fn what_would_have_to_go_along_needs_a_grant_of_its_own() {
    let m = machine();
    for (name, version) in [("base", "1"), ("old", "1"), ("lib", "5"), ("tool", "2")] {
        m.installed.borrow_mut().insert(name.into(), version.into());
    }
    let mut m2 = machine();
    m2.policy = policy(json!({ "local": { "files": ["/etc/**"], "packages": ["lib"] } }));
    *m2.installed.borrow_mut() = m.installed.borrow().clone();
    let step = json!({ "type": "package", "name": "lib", "state": "absent" });
    refused(&m2, 1, step, "the package tool would go along, and is not granted");
}

#[test]
fn a_version_that_no_repository_has_any_more_cannot_be_put_back_and_is_refused_unless_allowed() {
    let m = machine();
    m.installed.borrow_mut().insert("tool".into(), "0.9".into());
    refused(
        &m,
        1,
        package_with(&pinned("tool", "2"), false),
        "is in no repository any more",
    );
    let step = package_with(&pinned("tool", "2"), true);
    assert_eq!(m.apply(2, json!([step])).kind, OutcomeKind::Applied);
    // And where it then has to be, that is said.
    m.installed.borrow_mut().insert("tool".into(), "0.9".into());
    m.failing.borrow_mut().push("is it well".into());
    let outcome = m.apply(3, json!({ "apply": [step], "confirm": { "command": "is it well" } }));
    assert_eq!(outcome.kind, OutcomeKind::Broken, "{outcome}");
    assert!(outcome.left[0].contains("not saved"), "{:?}", outcome.left);
}

fn package_with(step: &Value, allow: bool) -> Value {
    let mut step = step.clone();
    step["allow_no_undo"] = json!(allow);
    step
}

#[test]
fn the_agents_own_package_is_refused_by_name() {
    let mut m = machine();
    m.policy = policy(json!({ "local": { "files": ["/etc/**"], "packages": ["jos-agent", "vendor-agent"] } }));
    refused(&m, 1, package("jos-agent"), "is jos itself");
    refused(&m, 2, package("vendor-agent"), "is jos itself");
}

#[test]
fn in_a_root_that_is_not_running_a_package_waits_for_the_first_boot() {
    let mut m = machine();
    m.live = false;
    let outcome = m.apply(1, json!([package("tool")]));
    assert!(outcome.pending, "{outcome}");
    assert!(installed(&m).is_empty());
    m.live = true;
    assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::Applied);
    assert_eq!(installed(&m), ["lib 5", "tool 2"]);
}

#[test]
fn power_cut_at_every_write_leaves_every_package_as_it_was_or_as_it_is_to_be() {
    for k in 0.. {
        let m = machine();
        m.installed.borrow_mut().insert("tool".into(), "1".into());
        let state = m.local(1, json!([file("/etc/a", "a"), pinned("tool", "2"), package("far")]));
        let tap = Cut::power(k);
        if let Ok(plane) = m.plane_with(Some(tap.clone())) {
            drop(plane.apply(&state));
        }
        m.plane().recover().unwrap_or_else(|e| panic!("k = {k}: {e}"));
        let in_force = !m.plane().status().unwrap().in_force.is_empty();
        let expected: &[&str] = if in_force {
            &["far 1", "lib 5", "tool 2"]
        } else {
            &["tool 1"]
        };
        assert_eq!(installed(&m), expected, "k = {k}");
        assert_eq!(m.at("/etc/a").exists(), in_force, "k = {k}");
        m.plane().verify_ledger().unwrap();
        if !tap.happened() {
            break;
        }
    }
}

#[test]
fn a_version_that_prunes_and_drops_a_package_is_refused_by_name() {
    let m = machine();
    m.apply(1, json!([package("tool")]));
    let mut pruned = state("portal", 2, json!([]));
    pruned["meta"]["prune"] = json!(true);
    let pruned = m.verified(Channel::Local, &pruned).unwrap();
    let outcome = m.plane().apply(&pruned).unwrap();
    assert_eq!(outcome.kind, OutcomeKind::Refused, "{outcome}");
    assert!(
        outcome.reasons[0].contains("list the package tool with \"state\": \"absent\""),
        "{outcome}"
    );
    assert_eq!(installed(&m), ["lib 5", "tool 2"]);
}
