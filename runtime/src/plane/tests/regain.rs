//! Floors that were lost: noticed, waited for, said anew; and at no moment a way back.

use jos_schemas::documents::hub::DeviceFloor;
use jos_schemas::documents::ledger::OutcomeKind;
use jos_schemas::documents::trust::{self, Role};
use jos_schemas::node::Node;
use jos_trust::root::Received;
use jos_trust::sign::{self, Grant, NewTrust};
use jos_trust::statement::{self, Asked};
use jos_trust::{Channel, KeyId, Refused, SecretKey, TrustRoot, Verified};
use serde_json::{Value, json};

use super::file;
use super::keep::copy;
use crate::plane::{Regained, Word};
use crate::testing::*;
use crate::{Plane, PlaneError, StoreError};

fn spec(version: u64) -> Value {
    json!([file("/etc/a", &version.to_string())])
}

/// Both files gone.
fn gone(m: &Machine) {
    for file in ["floors.0", "floors.1"] {
        let _ = std::fs::remove_file(m.data().join(file));
    }
}

/// Both files there, and nothing to be read in them.
fn unreadable(m: &Machine) {
    for file in ["floors.0", "floors.1"] {
        std::fs::write(m.data().join(file), "junk").unwrap();
    }
}

fn notice(plane: &Plane<'_>) -> Option<String> {
    plane.notice_lost_floors(&|| None).unwrap()
}

fn operator(version: u64) -> Word<'static> {
    Word::Operator { tenant: None, version }
}

/// What the hub says, verified.
fn said(name: &str, floor: u64) -> Verified<DeviceFloor> {
    let key = |seed, id: &str| SecretKey::from_bytes(&[seed; 32]).with_id(KeyId::new(id).unwrap());
    let (root, hub) = (key(1, "root-1"), key(4, "hub-1"));
    let grant = |key: &SecretKey, role| Grant {
        key: key.into(),
        roles: vec![role],
    };
    let new = NewTrust {
        grants: vec![
            grant(&root, Role::Root),
            grant(&admin_key(), Role::Admin),
            grant(&hub, Role::Freshness),
        ],
        ..NewTrust::default()
    };
    let new = serde_json::to_value(sign::new_trust(&new).unwrap()).unwrap();
    let signed = sign::sign_document("t", "", &Node::from_json(&new), trust::KIND, &root).unwrap();
    let bytes = sign::to_json_text(&signed);
    let trust = TrustRoot::open(Received::json("t", bytes.as_bytes())).unwrap();
    let floor = json!({ "kind": "jos.floor", "tenant": "acme", "device": "d-1", "name": name, "floor": floor,
        "time": "2026-11-22T12:00:00Z", "nonce": "n-1" });
    let floor: DeviceFloor = serde_json::from_value(floor).unwrap();
    let bytes = serde_json::to_vec(&statement::sign(&floor, &hub).unwrap()).unwrap();
    let asked = Asked {
        tenant: &floor.tenant,
        device: "d-1",
        name: &floor.name,
        nonce: "n-1",
    };
    statement::verify(Received::json("hub", &bytes), &trust, &asked).unwrap()
}

fn records(m: &Machine, kind: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let plane = m.plane();
    let ledger = plane.open_ledger().unwrap();
    ledger
        .read(&mut |record, _| {
            if record.kind == kind {
                found.push(record.payload.clone());
            }
        })
        .unwrap();
    found
}

#[test]
fn floors_that_a_newer_program_wrote_are_not_lost_and_those_of_before_do_not_stand_in_for_them() {
    let m = Machine::new();
    m.apply(1, spec(1));
    m.apply(2, spec(2));
    let body = r#"{"format":2,"counters":{"another":"shape"}}"#;
    for file in ["floors.0", "floors.1"] {
        let path = m.data().join(file);
        let before = std::fs::read(&path).unwrap();
        let text = format!(
            "jos-floors 2 {:016x} {}\n{body}",
            99,
            jos_trust::sha256(body.as_bytes())
        );
        std::fs::write(&path, &text).unwrap();
        let asked = [
            m.plane().status().map(drop),
            m.plane().notice_lost_floors(&|| None).map(drop),
            m.plane().converge().map(drop),
        ];
        for error in asked.map(|asked| asked.expect_err("it is left alone")) {
            assert!(error.is_newer(), "{error}");
            assert!(
                error.to_string().contains("has format 2, and this jos knows 1"),
                "{error}"
            );
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        assert!(!m.data().join("floors.lost").exists() && !m.data().join(format!("{file}.damaged")).exists());
        // The same line where a bit flipped is damage, and the other file counts.
        let flipped = String::from_utf8(before.clone())
            .unwrap()
            .replacen("jos-floors 1", "jos-floors 3", 1);
        std::fs::write(&path, flipped).unwrap();
        m.plane().status().unwrap();
        std::fs::write(&path, before).unwrap();
    }
}

#[test]
fn a_device_that_never_tried_anything_has_lost_nothing() {
    let m = Machine::new();
    assert_eq!(notice(&m.plane()), None);
    m.apply(1, spec(1));
    assert_eq!(notice(&m.plane()), None);
    assert!(!m.data().join("floors.lost").exists());
}

#[test]
fn a_device_that_lost_its_floors_keeps_its_state_and_takes_no_other_until_somebody_says_them() {
    for lose in [gone, unreadable] {
        let m = Machine::new();
        let old = m.local(1, spec(1));
        m.apply(2, spec(2));
        m.apply(3, spec(3));
        lose(&m);
        assert!(notice(&m.plane()).is_some());
        let status = m.plane().status().unwrap();
        assert!(status.floors_lost.is_some());
        assert_eq!((status.in_force[0].version, status.in_force[0].floor), (3, 3));
        assert_eq!(status.in_force[0].signers, ["admin-1"]);
        // Drift is put right all the same.
        m.write("/etc/a", "drifted", 0o644);
        assert_eq!(m.plane().converge().unwrap().kind, OutcomeKind::Applied);
        assert_eq!(m.read("/etc/a"), "3");
        let new = m.local(5, spec(5));
        for state in [&old, &new] {
            let error = m.plane().apply(state).unwrap_err();
            assert!(matches!(&error, PlaneError::Store(StoreError::Lost { .. })), "{error}");
        }
        assert_eq!(m.read("/etc/a"), "3");
        let regained = m.plane().regain_floor(operator(4)).unwrap();
        assert_eq!((regained.before, regained.floor, regained.lost.is_some()), (3, 4, true));
        assert_eq!(notice(&m.plane()), None);
        let told = records(&m, "floor");
        assert_eq!(
            (told.len(), &told[0]["floor"], &told[0]["said"]),
            (1, &json!(4), &json!(4))
        );
        assert!(told[0]["lost"].is_string());
        m.replays();
        let refused = m.verified(Channel::Local, &state("portal", 3, json!([file("/etc/a", "other")])));
        assert!(
            matches!(refused, Err(Refused::SameVersionOtherContent { .. })),
            "{refused:?}"
        );
        let outcome = m.plane().apply(&old).unwrap();
        assert_eq!(outcome.kind, OutcomeKind::Refused, "{outcome}");
        assert_eq!(m.apply(5, spec(5)).kind, OutcomeKind::Applied);
    }
}

#[test]
fn the_hubs_word_raises_the_floor_of_a_device_whose_data_is_gone() {
    let m = Machine::new();
    let old = m.local(41, spec(41));
    let regained = m.plane().regain_floor(Word::Hub(&said("portal", 42))).unwrap();
    let expected = Regained {
        before: 0,
        floor: 42,
        lost: None,
    };
    assert_eq!(regained, expected);
    m.replays();
    assert_eq!(records(&m, "floor")[0]["signers"], json!(["hub-1"]));
    let labels = std::collections::BTreeMap::new();
    let (floors, now) = (m.plane().floors().unwrap(), m.plane().now().unwrap());
    let tenant = name("acme");
    let context = jos_trust::Context {
        channel: Channel::Hub,
        name: &m.name,
        tenant: Some(&tenant),
        device: None,
        labels: &labels,
        now: &now,
        floors: &floors,
        allow_unscoped: true,
    };
    let bytes = old.to_bytes();
    let refused = jos_trust::verify_state(Received::json("s", &bytes), &root(), &context);
    assert!(
        matches!(refused, Err(Refused::Rollback { offered: 41, floor: 42 })),
        "{refused:?}"
    );
    // The same again is nothing new.
    m.plane().regain_floor(Word::Hub(&said("portal", 42))).unwrap();
    m.plane().regain_floor(Word::Hub(&said("portal", 7))).unwrap();
    assert_eq!(records(&m, "floor").len(), 1);
    let other = m.plane().regain_floor(Word::Hub(&said("kiosk", 99)));
    assert!(matches!(other, Err(PlaneError::OtherName { .. })));
}

#[test]
fn no_word_lowers_what_is_known() {
    let m = Machine::new();
    for version in 1..=5 {
        m.apply(version, spec(version));
    }
    let regained = m.plane().regain_floor(operator(2)).unwrap();
    assert_eq!((regained.before, regained.floor), (5, 5));
    unreadable(&m);
    notice(&m.plane());
    let regained = m.plane().regain_floor(operator(0)).unwrap();
    assert_eq!(regained.floor, 5, "the ledger knows of 5");
}

#[test]
fn what_failed_is_known_from_the_ledger_as_tried() {
    let m = Machine::new();
    m.apply(1, spec(1));
    m.answer.set(Ok(500));
    let bad = json!({ "apply": spec(2), "health_check": { "type": "http", "url": "http://localhost/" } });
    assert_eq!(m.apply(2, bad).kind, OutcomeKind::RolledBack);
    gone(&m);
    assert!(notice(&m.plane()).is_some());
    let status = m.plane().status().unwrap();
    assert_eq!((status.in_force[0].version, status.in_force[0].floor), (1, 2));
}

#[test]
fn floors_and_ledger_lost_together_leave_a_device_that_waits() {
    let m = Machine::new();
    m.apply(1, spec(1));
    unreadable(&m);
    std::fs::write(m.data().join("portal/ledger/00000000.jsl"), "junk").unwrap();
    assert!(notice(&m.plane()).is_some());
    let state = m.local(2, spec(2));
    assert!(m.plane().apply(&state).is_err());
    m.plane().regain_floor(operator(2)).unwrap();
    assert_eq!(m.plane().apply(&state).unwrap().kind, OutcomeKind::Applied);
    assert!(m.data().join("floors.0.damaged").exists() && m.data().join("portal/ledger.damaged-1").exists());
}

#[test]
fn a_purge_is_no_loss() {
    let m = Machine::new();
    m.apply(1, spec(1));
    gone(&m);
    assert!(notice(&m.plane()).is_some());
    crate::forget(&m.data(), &m.name, "t").unwrap();
    std::fs::remove_dir_all(m.data().join("portal")).unwrap();
    assert_eq!(notice(&m.plane()), None);
    // Its files lie there as they should be, and it begins anew.
    assert_eq!(m.apply(1, spec(1)).kind, OutcomeKind::Unchanged);
}

#[test]
fn a_power_cut_at_any_write_makes_no_new_beginning_of_a_loss() {
    for lose in [gone, unreadable] {
        let before = Machine::new();
        before.apply(1, spec(1));
        before.apply(2, spec(2));
        lose(&before);
        for k in 0.. {
            let m = Machine::new();
            copy(before.dir.path(), m.dir.path());
            let tap = Cut::power(k);
            let said = m.plane_with(Some(tap.clone())).and_then(|plane| {
                plane.notice_lost_floors(&|| None)?;
                plane.regain_floor(operator(2))
            });
            let lost = notice(&m.plane());
            assert!(
                lost.is_some() || said.is_ok() || records(&m, "floor").len() == 1,
                "k = {k}"
            );
            let status = m.plane().status().unwrap();
            assert_eq!(
                (status.in_force[0].version, status.in_force[0].floor),
                (2, 2),
                "k = {k}"
            );
            m.plane().regain_floor(operator(2)).unwrap();
            assert_eq!(m.apply(3, spec(3)).kind, OutcomeKind::Applied, "k = {k}");
            if !tap.happened() {
                assert!(said.is_ok());
                break;
            }
        }
    }
}
