use jos_schemas::Node;
use jos_schemas::documents::trust::Role;
use jos_schemas::text::Name;
use jos_trust::SecretKey;
use jos_trust::sign::{self, Grant, NewTrust};
use serde_json::json;

use super::*;

// Made with openssl for these tests: a CA, and a device's certificate by it that ended after a fortnight. Nobody has their
// keys any more.
const FIRST: &str = include_str!("../../run/net/fixtures/ca.pem");
const NEXT: &str = include_str!("../../run/net/fixtures/next-ca.pem");
const BY_NEXT: &str = include_str!("../../run/net/fixtures/device.pem");

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

fn root(version_of: &SecretKey) -> TrustRoot {
    let new = NewTrust {
        tenant: Some(Name::new("acme").unwrap()),
        grants: vec![Grant {
            key: version_of.into(),
            roles: vec![Role::Root, Role::Admin],
        }],
        ..NewTrust::default()
    };
    let trust = serde_json::to_value(sign::new_trust(&new).unwrap()).unwrap();
    TrustRoot::open(Received::json("trust", &signed(&trust, "jos.trust", version_of))).unwrap()
}

fn signed(value: &serde_json::Value, kind: &str, key: &SecretKey) -> Vec<u8> {
    let node = sign::sign_document("test", "", &Node::from_json(value), kind, key).unwrap();
    sign::to_json_text(&node).into_bytes()
}

/// The state folder of a device that has an identity.
fn enrolled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder(dir.path())).unwrap();
    dir
}

fn word(version: u64, ca: &str, key: &SecretKey) -> Vec<u8> {
    let value = json!({"kind": "jos.hub_ca", "tenant": "acme", "version": version, "ca": ca});
    signed(&value, "jos.hub_ca", key)
}

fn identity(certificate: &str) -> Identity {
    let value = json!({
        "format": 1, "device": "d1", "tenant": "acme", "labels": {}, "addresses": ["https://h"], "ca": FIRST,
        "certificate": certificate, "not_after": "2027-01-01T00:00:00Z", "trust": null, "agents": ["kiosk"],
    });
    own::read(value.to_string().as_bytes()).unwrap()
}

/// What the device believes, as numbers of certificates: 1 for the first, 2 for the next.
fn believes(dir: &Path, identity: &Identity) -> Vec<u8> {
    let believed = believed(dir, &identity.ca);
    let number = |der: Vec<u8>| {
        if Some(der) == crate::run::pem::first(FIRST) {
            1
        } else {
            2
        }
    };
    crate::run::pem::all(&believed).map(|(_, der)| number(der)).collect()
}

#[test]
fn a_device_believes_both_cas_until_the_next_one_has_signed_its_own_certificate() {
    let dir = enrolled();
    let (admin, mut own) = (key(1), identity("none yet"));
    assert_eq!(believes(dir.path(), &own), [1]);
    assert_eq!(take(&word(2, NEXT, &admin), &root(&admin), dir.path(), &mut own), Ok(2));
    assert_eq!(believes(dir.path(), &own), [1, 2]);
    // The same word again, as another agent of this device brings it.
    assert_eq!(take(&word(2, NEXT, &admin), &root(&admin), dir.path(), &mut own), Ok(2));
    let renewed = jos_link::wire::Certificate {
        certificate: BY_NEXT.to_owned(),
        ca: "not read".to_owned(),
        not_after: jos_schemas::text::Utc::new("2027-01-01T00:00:00Z").unwrap(),
        renew_after: jos_schemas::text::Utc::new("2027-01-01T00:00:00Z").unwrap(),
    };
    own.renewed(renewed, dir.path());
    assert_eq!(believes(dir.path(), &own), [2]);
    assert_eq!(own.ca, NEXT);
}

#[test]
fn a_device_that_renewed_before_it_heard_the_word_believes_the_next_ca_alone_at_once() {
    let dir = enrolled();
    let (admin, mut own) = (key(1), identity(BY_NEXT));
    assert_eq!(take(&word(2, NEXT, &admin), &root(&admin), dir.path(), &mut own), Ok(2));
    assert_eq!(believes(dir.path(), &own), [2]);
    assert_eq!(
        Identity::load(dir.path()).unwrap().map(|kept| kept.ca),
        Some(NEXT.to_owned())
    );
}

#[test]
fn a_false_ca_of_a_hub_or_a_half_that_was_taken_over_is_refused_and_nothing_is_kept() {
    let dir = enrolled();
    let (admin, mut own) = (key(1), identity("none yet"));
    let root = root(&admin);
    let unsigned = json!({"kind": "jos.hub_ca", "tenant": "acme", "version": 2, "ca": NEXT}).to_string();
    let edited = String::from_utf8(word(2, NEXT, &admin))
        .unwrap()
        .replace("\"version\": 2", "\"version\": 9");
    for lie in [
        word(2, NEXT, &key(2)),
        unsigned.into_bytes(),
        edited.into_bytes(),
        NEXT.as_bytes().to_vec(),
        // Signed in earnest, and no certificate: the network half would never start again.
        word(
            2,
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &admin,
        ),
    ] {
        assert!(take(&lie, &root, dir.path(), &mut own).is_err());
        assert_eq!(believes(dir.path(), &own), [1]);
    }
    assert!(kept(dir.path()).is_none());
}

#[test]
fn an_earlier_word_or_another_one_of_the_same_number_is_refused() {
    let dir = enrolled();
    let (admin, mut own) = (key(1), identity("none yet"));
    let root = root(&admin);
    assert_eq!(take(&word(3, NEXT, &admin), &root, dir.path(), &mut own), Ok(3));
    for back in [word(2, NEXT, &admin), word(3, FIRST, &admin)] {
        assert!(
            take(&back, &root, dir.path(), &mut own)
                .unwrap_err()
                .contains("above 3")
        );
    }
    assert_eq!(kept(dir.path()).map(|kept| kept.version), Some(3));
}

#[test]
fn a_number_that_a_stolen_admin_key_drove_up_is_no_floor_once_that_key_is_out() {
    let dir = enrolled();
    let (stolen, admin) = (key(1), key(2));
    let mut own = identity("none yet");
    let highest = (1 << 53) - 1;
    assert_eq!(
        take(&word(highest, FIRST, &stolen), &root(&stolen), dir.path(), &mut own),
        Ok(highest)
    );
    assert_eq!(take(&word(2, NEXT, &admin), &root(&admin), dir.path(), &mut own), Ok(2));
    assert_eq!(believes(dir.path(), &own), [1, 2]);
}

#[test]
fn a_new_enrolment_forgets_what_was_said_of_another_hubs_ca() {
    let dir = enrolled();
    let (admin, mut own) = (key(1), identity("none yet"));
    assert_eq!(take(&word(2, NEXT, &admin), &root(&admin), dir.path(), &mut own), Ok(2));
    forget(dir.path()).unwrap();
    assert_eq!(believes(dir.path(), &own), [1]);
    forget(dir.path()).unwrap();
}
