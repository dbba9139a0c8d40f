use std::collections::BTreeMap;

use super::*;
use crate::keys::SecretKey;
use crate::refused::BadSignatures;
use crate::sign;
use crate::testing::*;

fn opened(bytes: &[u8]) -> Result<TrustRoot, TrustRefused> {
    TrustRoot::open(Received::json("trust.json", bytes))
}

/// Signs what `sign` would refuse, as an attacker who holds the root key would.
fn forced(trust: &Trust, key: &SecretKey) -> Vec<u8> {
    let mut value = serde_json::to_value(trust).expect("plain data");
    let message = canonical::signed_bytes(trust::KIND, &sign::to_node(trust)).expect("canonical");
    value["signature"] = serde_json::to_value(key.sign(&message)).expect("plain data");
    serde_json::to_vec(&value).expect("plain data")
}

fn walked(from: &TrustRoot, next: &[&[u8]]) -> Result<Vec<TrustRoot>, TrustRefused> {
    let received: Vec<Received<'_>> = next.iter().map(|bytes| Received::json("trust.json", bytes)).collect();
    from.walk(&received, &Floors::default(), &utc(NOW), &utc("2026-01-01T00:00:00Z"))
}

#[test]
fn a_root_signed_by_its_own_keys_opens_and_comes_back_from_its_bytes() {
    let root = root();
    let again = opened(&root.to_bytes()).expect("what is stored");
    assert_eq!(
        (again.version(), again.edition(), again.tenant()),
        (1, root.edition(), Some(&name("acme")))
    );
    assert!(!root.uses_dev_key());
    assert_eq!(root.key(admin_key().id()), Some(admin_key().public()));
}

#[test]
fn a_throwaway_key_marks_the_whole_root() {
    let mut marked = trust();
    sign::grant(&mut marked, Role::Admin, &(&key(6, "dev").as_dev()).into()).expect("a new id");
    assert!(open(&signed_trust(&marked, &[&root_key()])).uses_dev_key());
}

#[test]
fn a_root_that_its_own_keys_did_not_sign_does_not_open() {
    let unsigned = serde_json::to_vec(&trust()).expect("plain data");
    assert_eq!(
        opened(&unsigned).expect_err("unsigned"),
        TrustRefused::NotSelfSigned(BadSignatures::Unsigned)
    );
    let by_admin = signed_trust(&trust(), &[&admin_key()]);
    let role = BadSignatures::WrongRole {
        key_id: admin_key().id().clone(),
        role: Role::Root,
    };
    assert_eq!(
        opened(&by_admin).expect_err("wrong role"),
        TrustRefused::NotSelfSigned(role)
    );
}

#[test]
fn threshold_zero_or_above_the_number_of_keys_is_refused() {
    for threshold in [0, 2, 64, u32::MAX] {
        let mut bad = trust();
        bad.roles.get_mut(&Role::Root).expect("root").threshold = threshold;
        let code = opened(&forced(&bad, &root_key())).expect_err("a bad threshold").code();
        assert!(["bad-threshold", "malformed"].contains(&code), "{threshold}: {code}");
        assert_eq!(
            sign::check(&bad),
            Err(TrustRefused::BadThreshold {
                role: Role::Root,
                threshold,
                keys: 1
            })
        );
    }
    let negative = String::from_utf8(forced(&trust(), &root_key()))
        .expect("UTF-8")
        .replace("\"threshold\":1", "\"threshold\":-1");
    assert!(opened(negative.as_bytes()).is_err());
}

#[test]
fn a_key_that_could_count_twice_is_refused() {
    let mut twice = trust();
    twice
        .roles
        .get_mut(&Role::Admin)
        .expect("admin")
        .keys
        .push(admin_key().id().clone());
    assert_eq!(sign::check(&twice).expect_err("twice").code(), "key-twice");
    let mut same = trust();
    let copy = same.keys[admin_key().id()].clone();
    same.keys.insert(KeyId::new("alias").expect("an id"), copy);
    assert_eq!(sign::check(&same).expect_err("the same key").code(), "same-key");
    assert!(opened(&forced(&same, &root_key())).is_err());
}

#[test]
fn dangling_and_unsound_keys_and_a_root_without_keys_are_refused() {
    let mut dangling = trust();
    dangling
        .roles
        .get_mut(&Role::Admin)
        .expect("admin")
        .keys
        .push(KeyId::new("nobody").expect("an id"));
    assert_eq!(sign::check(&dangling).expect_err("dangling").code(), "missing-key");
    let mut weak = trust();
    // The neutral element: anybody could sign for it.
    weak.keys.get_mut(admin_key().id()).expect("a key").public =
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned();
    assert_eq!(sign::check(&weak).expect_err("small order").code(), "bad-key");
    let mut none = trust();
    none.roles.remove(&Role::Root);
    assert_eq!(sign::check(&none), Err(TrustRefused::NoRoot));
    let mut many = trust();
    for seed in 10..90 {
        let key = key(seed, &format!("k{seed}"));
        sign::grant(&mut many, Role::Admin, &(&key).into()).expect("a new id");
    }
    assert_eq!(sign::check(&many).expect_err("too many").code(), "too-many-keys");
}

#[test]
fn roots_are_walked_one_by_one_each_signed_by_the_one_before_and_by_itself() {
    let new_root = key(5, "root-2");
    let mut second = sign::successor(&trust());
    sign::grant(&mut second, Role::Root, &(&new_root).into()).expect("a new id");
    sign::withdraw(&mut second, None, root_key().id());
    let third = sign::successor(&second);
    let second_bytes = signed_trust(&second, &[&root_key(), &new_root]);
    let third_bytes = signed_trust(&third, &[&new_root]);
    let chain = walked(&root(), &[&second_bytes, &third_bytes]).expect("a good chain");
    assert_eq!(chain.iter().map(TrustRoot::version).collect::<Vec<_>>(), [2, 3]);
    // A hub serves them all: those that the device has already are skipped.
    let first_bytes = signed_trust(&trust(), &[&root_key()]);
    assert_eq!(walked(&root(), &[&first_bytes, &second_bytes]).expect("good").len(), 1);
    assert!(walked(&root(), &[&first_bytes]).expect("nothing new").is_empty());
    assert_eq!(walked(&root(), &[&third_bytes]).expect_err("a gap").code(), "gap");
    // The withdrawn key signs no further version.
    let stolen = forced(&sign::successor(&third), &root_key());
    assert_eq!(
        walked(&chain[1], &[&stolen]).expect_err("withdrawn").code(),
        "not-self-signed"
    );
}

#[test]
fn a_successor_that_the_old_roots_did_not_sign_is_refused() {
    let thief = key(5, "root-2");
    let mut usurped = sign::successor(&trust());
    sign::grant(&mut usurped, Role::Root, &(&thief).into()).expect("a new id");
    sign::withdraw(&mut usurped, None, root_key().id());
    let bytes = signed_trust(&usurped, &[&thief]);
    assert_eq!(
        walked(&root(), &[&bytes]).expect_err("usurped").code(),
        "not-signed-by-predecessor"
    );
    // And one that its own new keys did not sign: nobody proved to hold them.
    let bytes = signed_trust(&usurped, &[&root_key()]);
    assert_eq!(
        walked(&root(), &[&bytes]).expect_err("unproven").code(),
        "not-self-signed"
    );
}

#[test]
fn a_root_threshold_of_two_needs_two_of_the_old_and_two_of_the_new() {
    let (ana, ben) = (key(5, "ana"), key(6, "ben"));
    let mut pair = trust();
    for key in [&ana, &ben] {
        sign::grant(&mut pair, Role::Root, &key.into()).expect("a new id");
    }
    sign::withdraw(&mut pair, None, root_key().id());
    sign::set_threshold(&mut pair, Role::Root, 2).expect("two roots");
    let root = open(&signed_trust(&pair, &[&ana, &ben]));
    assert_eq!(
        opened(&signed_trust(&pair, &[&ana])).expect_err("one of two").code(),
        "not-self-signed"
    );
    let next = sign::successor(&pair);
    assert!(walked(&root, &[&signed_trust(&next, &[&ana])]).is_err());
    assert_eq!(
        walked(&root, &[&signed_trust(&next, &[&ana, &ben])])
            .expect("both")
            .len(),
        1
    );
}

#[test]
fn only_the_last_expiry_of_a_chain_counts() {
    let mut second = sign::successor(&trust());
    second.expires = Some(utc("2026-01-01T00:00:00Z"));
    let mut third = sign::successor(&second);
    let second_bytes = signed_trust(&second, &[&root_key()]);
    let expired = walked(&root(), &[&second_bytes]).expect_err("expired");
    assert_eq!(expired.code(), "trust-expired");
    third.expires = Some(utc("2027-01-01T00:00:00Z"));
    let third_bytes = signed_trust(&third, &[&root_key()]);
    assert_eq!(
        walked(&root(), &[&second_bytes, &third_bytes])
            .expect("the last one is good")
            .len(),
        2
    );
}

#[test]
fn a_root_that_fails_verification_is_never_stored() {
    // Whatever is wrong with the last of a chain, nothing of the chain comes out, so there is nothing to store.
    let second = signed_trust(&sign::successor(&trust()), &[&root_key()]);
    let mut edited = second.clone();
    let at = edited.windows(4).position(|w| w == b"acme").expect("the tenant");
    edited[at] = b'b';
    let third = signed_trust(&sign::successor(&sign::successor(&trust())), &[&admin_key()]);
    for bad in [&edited[..], &third[..], b"{}", b""] {
        assert!(walked(&root(), &[&second, bad]).is_err());
    }
}

#[test]
fn a_tenant_is_never_exchanged() {
    let mut other = sign::successor(&trust());
    other.tenant = Some(name("other"));
    let bytes = signed_trust(&other, &[&root_key()]);
    assert_eq!(
        walked(&root(), &[&bytes]).expect_err("another tenant").code(),
        "other-tenant"
    );
    other.tenant = None;
    let bytes = signed_trust(&other, &[&root_key()]);
    assert_eq!(
        walked(&root(), &[&bytes]).expect_err("no tenant").code(),
        "other-tenant"
    );
}

#[test]
fn a_lower_baked_root_is_ignored_and_a_higher_one_is_taken() {
    let second = open(&signed_trust(&sign::successor(&trust()), &[&root_key()]));
    let floors = Floors::default();
    let live = |baked: TrustRoot, stored: Option<TrustRoot>| {
        TrustRoot::live(baked, stored, &floors).expect("a root").version()
    };
    assert_eq!(live(root(), None), 1);
    assert_eq!(live(root(), Some(second.clone())), 2);
    assert_eq!(live(second, Some(root())), 2);
}

#[test]
fn a_root_below_the_trust_floor_is_a_rollback_even_when_the_stored_one_is_lost() {
    let second = open(&signed_trust(&sign::successor(&trust()), &[&root_key()]));
    let mut floors = Floors::default();
    floors.adopt_trust(&[second], Some(&root()), None).expect("newer");
    let refused = TrustRoot::live(root(), None, &floors).expect_err("the stored one is gone");
    assert_eq!(refused, TrustRefused::Rollback { offered: 1, floor: 2 });
}

#[test]
fn a_state_is_no_root_and_a_root_in_other_words_is_none() {
    assert_eq!(
        opened(&signed_state(&state(1), &[&root_key()]))
            .expect_err("a state")
            .code(),
        "wrong-kind"
    );
    assert_eq!(opened(b"[]").expect_err("a list").code(), "not-canonical");
    assert_eq!(
        opened(b"{\"kind\":\"jos.trust\"}").expect_err("empty").code(),
        "malformed"
    );
}

#[test]
fn a_new_trust_document_names_a_key_once_and_its_roles() {
    let both = sign::new_trust(&sign::NewTrust {
        grants: vec![sign::Grant {
            key: (&root_key()).into(),
            roles: vec![Role::Root, Role::Admin],
        }],
        thresholds: BTreeMap::new(),
        tenant: None,
        expires: None,
    })
    .expect("one key is enough");
    assert_eq!((both.keys.len(), both.roles.len(), both.version), (1, 2, 1));
    let mut taken = both.clone();
    let other = key(8, "root-1");
    assert_eq!(
        sign::grant(&mut taken, Role::Admin, &(&other).into())
            .expect_err("another key")
            .code(),
        "id-taken"
    );
    assert!(sign::withdraw(&mut taken, None, root_key().id()));
    assert!(taken.keys.is_empty() && taken.roles.is_empty());
}
