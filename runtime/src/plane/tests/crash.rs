//! The power is cut, or one call fails, at every write-like call: of an apply, of a rollback, of recovery itself.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::rc::Rc;

use jos_schemas::documents::ledger::OutcomeKind;
use jos_trust::Standing;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::file;
use crate::disk::Tap;
use crate::testing::*;

fn prepared() -> Machine {
    let mut m = Machine::new();
    m.policy.ledger.content = 1024;
    m.write("/etc/a", "old a", 0o640);
    m.write("/etc/mode", "same", 0o600);
    m.write("/srv/tree/x/y", "deep", 0o600);
    m.write("/etc/gone", "bye", 0o644);
    std::os::unix::fs::symlink("a", m.at("/etc/link")).unwrap();
    m.service("cups", false, true);
    m.secret("wifi", "passphrase");
    m.secret("kiosk", "$6$salt$hash");
    m.write("/srv/purged/kept", "kept", 0o644);
    m.write("/srv/purged/old", "old", 0o600);
    m.write("/srv/purged/tree/deep", "deep", 0o640);
    m.write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644);
    m.write("/etc/group", "root:x:0:\n", 0o644);
    m.write("/etc/shadow", "root:*:19000:0:99999:7:::\n", 0o640);
    m.write("/etc/.pwd.lock", "", 0o600);
    m.write("/srv/blob", "small", 0o644);
    for bytes in [BLOB.to_vec(), large()] {
        let name = jos_trust::sha256(&bytes).to_string();
        m.shelf.borrow_mut().insert(name, bytes);
    }
    m.write("/srv/large", vec![b'o'; 16 * 1024 + 1], 0o644);
    m
}

const BLOB: &[u8] = b"content by hash";

/// Larger than what the ledger keeps; its earlier file is larger than what the journal copies.
fn large() -> Vec<u8> {
    vec![b'n'; 3000]
}

fn by_hash(path: &str, bytes: &[u8]) -> Value {
    let (sha256, size) = (jos_trust::sha256(bytes).to_string(), bytes.len());
    json!({ "type": "file", "path": path, "source": { "sha256": sha256, "size": size } })
}

fn spec(health: bool) -> Value {
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
            { "type": "directory", "path": "/srv/purged", "purge": true },
            file("/srv/purged/kept", "kept"),
            by_hash("/srv/blob", BLOB),
            by_hash("/srv/large", &large()),
            { "type": "group", "name": "ops" },
            { "type": "user", "name": "kiosk", "groups": ["ops"], "password": { "secret": "kiosk" } },
            { "type": "service", "name": "cups", "action": "enable" },
        ],
        "health_check": { "type": "http", "url": if health { "http://good/" } else { "http://bad/" }, "retries": 0 },
    })
}

/// The tree once the state is applied to a fresh machine.
fn new_tree() -> BTreeMap<String, String> {
    let m = prepared();
    assert_eq!(m.apply(1, spec(true)).kind, OutcomeKind::Applied);
    m.snapshot()
}

/// Runs over the tap; a plane that cannot even be opened has done nothing.
fn cut(m: &Machine, tap: &Rc<Cut>, run: &dyn Fn(&crate::plane::Plane<'_>)) {
    let tap: Rc<dyn Tap> = tap.clone();
    if let Ok(plane) = m.plane_with(Some(tap)) {
        run(&plane);
    }
}

fn check_after(m: &Machine, old: &BTreeMap<String, String>, new: &BTreeMap<String, String>, k: u64) {
    m.plane().recover().unwrap_or_else(|e| panic!("k = {k}: recovery: {e}"));
    let tree = m.snapshot();
    let in_force = !m.plane().status().unwrap().in_force.is_empty();
    let expected = if in_force { new } else { old };
    assert_eq!(
        &tree, expected,
        "k = {k}: neither wholly old nor wholly new (in force: {in_force})"
    );
    assert_eq!(m.services.borrow()["cups"].enabled, in_force, "k = {k}");
    m.plane().verify_ledger().unwrap_or_else(|e| panic!("k = {k}: {e}"));
    assert!(m.plane().recover().unwrap().is_none(), "k = {k}: recovery is done once");
    assert_eq!(
        std::fs::read_dir(m.data().join("portal/journal")).unwrap().count(),
        0,
        "k = {k}"
    );
}

#[test]
fn power_cut_at_every_write_of_an_apply_leaves_all_old_or_all_new() {
    let new = new_tree();
    let mut seen = (0, 0);
    for k in 0.. {
        let m = prepared();
        let old = m.snapshot();
        let state = m.local(1, spec(true));
        let tap = Cut::power(k);
        cut(&m, &tap, &|plane| drop(plane.apply(&state)));
        check_after(&m, &old, &new, k);
        if m.snapshot() == new {
            seen.1 += 1
        } else {
            seen.0 += 1
        }
        if !tap.happened() {
            break;
        }
        // It may be tried again, unless it is in force.
        let state = m.local(1, spec(true));
        assert!(matches!(
            state.standing(),
            Standing::New | Standing::Again | Standing::InForce
        ));
        assert!(
            matches!(
                m.plane().apply(&state).unwrap().kind,
                OutcomeKind::Applied | OutcomeKind::Unchanged
            ),
            "k = {k}"
        );
        assert_eq!(m.snapshot(), new, "k = {k}: the second try");
    }
    assert!(seen.0 > 50 && seen.1 > 3, "both ends were seen: {seen:?}");
}

#[test]
fn power_cut_at_every_write_of_a_rollback_and_of_recovery() {
    let new = new_tree();
    for k in 0.. {
        let m = prepared();
        m.answer.set(Ok(500));
        let old = m.snapshot();
        let state = m.local(1, spec(false));
        let tap = Cut::power(k);
        cut(&m, &tap, &|plane| drop(plane.apply(&state)));
        // Recovery is cut too, at several places, before it is let through.
        for again in [0, 3, 11, 29] {
            cut(&m, &Cut::power(again), &|plane| drop(plane.recover()));
        }
        check_after(&m, &old, &new, k);
        assert_eq!(m.snapshot(), old, "k = {k}");
        if !tap.happened() {
            break;
        }
    }
}

/// One call fails, every so many of an apply; the next ones go through.
fn one_write_fails(kind: ErrorKind, every: usize) {
    let new = new_tree();
    for k in (0..).step_by(every) {
        let m = prepared();
        let old = m.snapshot();
        let state = m.local(1, spec(true));
        let tap = Cut::once(k, kind);
        cut(&m, &tap, &|plane| {
            // An error: the record itself could not be written, and recovery settles it.
            let Ok(outcome) = plane.apply(&state) else { return };
            match outcome.kind {
                OutcomeKind::Applied => assert_eq!(m.snapshot(), new, "k = {k}"),
                OutcomeKind::RolledBack | OutcomeKind::Refused => assert_eq!(m.snapshot(), old, "k = {k}: {outcome}"),
                OutcomeKind::Broken => {}
                other => panic!("k = {k}: {other:?}"),
            }
        });
        check_after(&m, &old, &new, k);
        if !tap.happened() {
            break;
        }
    }
}

#[test]
fn disk_full_at_any_write_is_a_clean_failure_or_a_success() {
    one_write_fails(ErrorKind::StorageFull, 1);
}

// The kind of error makes no difference to the code: these are sampled.

#[test]
fn read_only_file_system_at_any_write_is_a_clean_failure_or_a_success() {
    one_write_fails(ErrorKind::ReadOnlyFilesystem, 11);
}

#[test]
fn quota_at_any_write_is_a_clean_failure_or_a_success() {
    one_write_fails(ErrorKind::QuotaExceeded, 13);
}

#[test]
fn power_cut_while_a_second_version_is_tried_comes_back_to_the_first() {
    for k in (0..).step_by(3) {
        let m = Machine::new();
        m.apply(1, json!([file("/etc/a", "one"), file("/etc/b", "one")]));
        let old = m.snapshot();
        let state = m.local(2, json!([file("/etc/a", "two"), file("/etc/b", "two")]));
        let tap = Cut::power(k);
        cut(&m, &tap, &|plane| drop(plane.apply(&state)));
        m.plane().recover().unwrap();
        let version = m.plane().status().unwrap().in_force[0].version;
        assert_eq!(
            (m.read("/etc/a"), m.read("/etc/b")),
            if version == 1 {
                ("one".into(), "one".into())
            } else {
                ("two".into(), "two".into())
            },
            "k = {k}"
        );
        if version == 1 {
            assert_eq!(m.snapshot(), old);
        }
        assert!(!m.plane().converge().unwrap().recorded, "k = {k}");
        if !tap.happened() {
            break;
        }
    }
}

/// A random tree and random exact steps over few names, so that they meet.
fn steps() -> impl Strategy<Value = Vec<(u8, u8, u8)>> {
    prop::collection::vec((0..6_u8, 0..9_u8, any::<u8>()), 1..12)
}

const PATHS: [&str; 9] = [
    "/srv/a",
    "/srv/b",
    "/srv/d",
    "/srv/d/a",
    "/srv/d/b",
    "/srv/d/e",
    "/srv/d/e/f",
    "/srv/g",
    "/srv/g/h",
];

fn populate(m: &Machine, things: &[(u8, u8, u8)]) {
    use std::os::unix::fs::{PermissionsExt, chown};
    for (what, place, n) in things {
        let path = m.at(PATHS[*place as usize]);
        if path.symlink_metadata().is_ok()
            || path
                .parent()
                .is_none_or(|p| p.symlink_metadata().is_ok_and(|m| !m.is_dir()))
        {
            continue;
        }
        if std::fs::create_dir_all(path.parent().unwrap()).is_err() {
            continue;
        }
        let mode = [0o644, 0o600, 0o755, 0o4711][*n as usize % 4];
        match what % 3 {
            0 => {
                std::fs::write(&path, format!("content {n}")).unwrap();
                chown(&path, Some(u32::from(*n)), Some(u32::from(*n) / 2)).unwrap();
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            }
            1 => std::fs::create_dir(&path).unwrap(),
            _ => std::os::unix::fs::symlink(format!("target{n}"), &path).unwrap(),
        }
    }
}

fn step_of((what, place, n): (u8, u8, u8)) -> Value {
    let path = PATHS[place as usize];
    match what {
        0 | 1 => file(path, &format!("content {}", n % 4)),
        2 => json!({ "type": "directory", "path": path, "mode": if n % 2 == 0 { "0755" } else { "0700" } }),
        3 => json!({ "type": "link", "path": path, "target": format!("target{n}") }),
        4 => json!({ "type": "absent", "path": path }),
        _ => json!({ "type": "absent", "path": path, "recursive": true }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn undo_of_apply_is_the_identity(things in steps(), wanted in steps()) {
        let m = Machine::new();
        populate(&m, &things);
        let before = m.snapshot();
        let mut seen = std::collections::BTreeSet::new();
        let steps: Vec<Value> = wanted.into_iter().filter(|s| seen.insert(s.1)).map(step_of).collect();
        m.failing.borrow_mut().push("is it well".into());
        let outcome = m.apply(1, json!({ "apply": steps, "confirm": { "command": "is it well" } }));
        prop_assert!(matches!(outcome.kind, OutcomeKind::RolledBack | OutcomeKind::Refused), "{}", outcome);
        prop_assert_eq!(m.snapshot(), before);
        // And where it can be kept, doing it again is nothing.
        m.failing.borrow_mut().clear();
        let outcome = m.apply(2, json!(steps));
        if outcome.kind == OutcomeKind::Applied {
            let again = m.apply(3, json!(steps));
            prop_assert_eq!(again.kind, OutcomeKind::Unchanged, "{}", again);
        } else {
            prop_assert!(matches!(outcome.kind, OutcomeKind::Refused | OutcomeKind::Unchanged), "{}", outcome);
        }
    }
}
