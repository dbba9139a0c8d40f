//! What admins say of their hub's CA.

use serde_json::{Value, json};

use super::*;
use crate::keys::SecretKey;
use crate::testing::{open, root_key, second_admin_key, signed, signed_trust, stranger_key, trust};

fn word(tenant: &str, version: u64) -> Value {
    json!({"kind": "jos.hub_ca", "tenant": tenant, "version": version, "ca": "-----BEGIN CERTIFICATE-----\n"})
}

fn by(word: &Value, keys: &[&SecretKey]) -> Vec<u8> {
    signed(word, "jos.hub_ca", keys)
}

fn judge(bytes: &[u8]) -> Result<u64, StatementRefused> {
    verify_hub_ca(Received::json("hub", bytes), &root(), &name("acme")).map(|verified| verified.version())
}

#[test]
fn the_word_of_the_admins_on_a_new_ca_counts_and_nobody_elses() {
    assert_eq!(judge(&by(&word("acme", 2), &[&admin_key()])), Ok(2));
    let unsigned = word("acme", 2).to_string().into_bytes();
    // The hub has a key of the role freshness: taken over, it cannot name another CA. Nor can who holds an old root key alone.
    for key in [freshness_key(), root_key(), stranger_key()] {
        let refused = judge(&by(&word("acme", 2), &[&key])).expect_err("not an admin");
        assert!(matches!(refused, StatementRefused::Signatures(_)), "{refused}");
    }
    assert!(matches!(judge(&unsigned), Err(StatementRefused::Signatures(_))));
}

#[test]
fn a_word_on_a_ca_for_another_tenant_or_changed_on_the_way_is_refused() {
    let other = judge(&by(&word("else", 2), &[&admin_key()])).expect_err("another tenant's");
    assert!(
        matches!(other, StatementRefused::NotAsked { field: "tenant", .. }),
        "{other}"
    );
    let good = String::from_utf8(by(&word("acme", 2), &[&admin_key()])).expect("text");
    for (from, to) in [("\"version\": 2", "\"version\": 3"), ("CERTIFICATE", "CERTIFICATF")] {
        let changed = good.replace(from, to);
        assert_ne!(changed, good);
        assert!(matches!(
            judge(changed.as_bytes()),
            Err(StatementRefused::Signatures(_))
        ));
    }
}

#[test]
fn a_word_on_a_ca_below_the_threshold_of_admins_is_refused() {
    let mut two = trust();
    for (role, keys) in &mut two.roles {
        if *role == Role::Admin {
            keys.threshold = 2;
        }
    }
    let root = open(&signed_trust(&two, &[&root_key()]));
    let judge = |keys: &[&SecretKey]| {
        verify_hub_ca(Received::json("hub", &by(&word("acme", 2), keys)), &root, &name("acme")).map(drop)
    };
    assert!(judge(&[&admin_key()]).is_err());
    assert_eq!(judge(&[&admin_key(), &second_admin_key()]), Ok(()));
}

#[test]
fn a_desired_state_or_a_freshness_statement_is_no_word_on_a_ca() {
    let state = crate::testing::signed_state(&crate::testing::state(2), &[&admin_key()]);
    assert!(matches!(judge(&state), Err(StatementRefused::WrongKind { .. })));
    let fresh = sign(&freshness(), &admin_key()).expect("canonical");
    assert!(matches!(judge(&bytes(&fresh)), Err(StatementRefused::WrongKind { .. })));
}
