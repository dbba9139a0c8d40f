use jos_schemas::documents::hub::FreshnessKind;

use super::*;
use crate::floors::Floors;
use crate::testing::{admin_key, freshness_key, name, root, utc};

mod hub_ca;

fn freshness() -> Freshness {
    Freshness {
        schema: None,
        kind: FreshnessKind::default(),
        tenant: name("acme"),
        device: "router-7".to_owned(),
        name: name("portal"),
        offered: 42,
        time: utc("2026-11-21T12:00:00Z"),
        nonce: "n-1".to_owned(),
        signature: None,
    }
}

fn bytes(document: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("plain data")
}

fn judge(bytes: &[u8], nonce: &str) -> Result<Verified<Freshness>, StatementRefused> {
    let (tenant, name) = (name("acme"), name("portal"));
    let asked = Asked {
        tenant: &tenant,
        device: "router-7",
        name: &name,
        nonce,
    };
    verify(Received::json("hub", bytes), &root(), &asked)
}

#[test]
fn a_freshness_statement_gives_time_and_only_forwards() {
    let signed = sign(&freshness(), &freshness_key()).expect("canonical");
    let verified = judge(&bytes(&signed), "n-1").expect("it is the answer");
    let built = utc("2026-01-01T00:00:00Z");
    let mut floors = Floors::default();
    floors.heard(&verified);
    assert_eq!(
        floors.now(&utc("1970-01-01T00:00:00Z"), &built),
        utc("2026-11-21T12:00:00Z")
    );
    let earlier = Freshness {
        time: utc("2026-02-01T00:00:00Z"),
        ..freshness()
    };
    let earlier = sign(&earlier, &freshness_key()).expect("canonical");
    floors.heard(&judge(&bytes(&earlier), "n-1").expect("it is an answer"));
    assert_eq!(
        floors.now(&utc("1970-01-01T00:00:00Z"), &built),
        utc("2026-11-21T12:00:00Z")
    );
}

#[test]
fn an_old_statement_or_one_for_another_device_is_no_answer() {
    let signed = sign(&freshness(), &freshness_key()).expect("canonical");
    let refused = judge(&bytes(&signed), "n-2").expect_err("another question");
    assert!(
        matches!(refused, StatementRefused::NotAsked { field: "nonce", .. }),
        "{refused}"
    );
    let other = Freshness {
        device: "router-8".to_owned(),
        ..freshness()
    };
    let other = sign(&other, &freshness_key()).expect("canonical");
    let refused = judge(&bytes(&other), "n-1").expect_err("another device");
    assert!(
        matches!(refused, StatementRefused::NotAsked { field: "device", .. }),
        "{refused}"
    );
}

#[test]
fn a_key_of_another_role_or_a_statement_of_another_kind_is_refused() {
    let by_admin = sign(&freshness(), &admin_key()).expect("canonical");
    let refused = judge(&bytes(&by_admin), "n-1").expect_err("an admin key tells no time");
    assert!(matches!(refused, StatementRefused::Signatures(_)), "{refused}");
    let floor = serde_json::json!({
        "kind": "jos.floor", "tenant": "acme", "device": "router-7", "name": "portal", "floor": 42,
        "time": "2026-11-21T12:00:00Z", "nonce": "n-1",
    });
    let floor: DeviceFloor = serde_json::from_value(floor).expect("a floor");
    let floor = sign(&floor, &freshness_key()).expect("canonical");
    let refused = judge(&bytes(&floor), "n-1").expect_err("a floor is no freshness");
    assert!(matches!(refused, StatementRefused::WrongKind { .. }), "{refused}");
    let mut posing = serde_json::to_value(&floor).expect("plain data");
    posing["kind"] = "jos.freshness".into();
    posing["offered"] = posing
        .as_object_mut()
        .expect("an object")
        .remove("floor")
        .expect("there");
    let refused = judge(&bytes(&posing), "n-1").expect_err("its signature is of another kind");
    assert!(matches!(refused, StatementRefused::Signatures(_)), "{refused}");
}

#[test]
fn a_renewal_is_by_the_devices_own_key_over_every_byte() {
    let (own, other) = (SecretKey::from_bytes(&[7; 32]), SecretKey::from_bytes(&[8; 32]));
    let renewal = serde_json::json!({ "kind": RENEWAL, "device": "d-1", "tls": "csr", "challenge": "c-1" });
    let renewal: Renewal = serde_json::from_value(renewal).expect("a renewal");
    let signed = sign_renewal(&renewal, &own).expect("canonical");
    let node = |r: &Renewal| crate::sign::to_node(r);
    assert!(renewal_is_by(&node(&signed), &own.public()));
    assert!(!renewal_is_by(&node(&signed), &other.public()));
    assert!(!renewal_is_by(&node(&renewal), &own.public()));
    let later = Renewal {
        challenge: "c-2".to_owned(),
        ..signed
    };
    assert!(!renewal_is_by(&node(&later), &own.public()));
}
