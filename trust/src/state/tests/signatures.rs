//! Arbitrary installation: no signature, the wrong one, too few, or one taken from elsewhere.

use super::*;

#[test]
fn arbitrary_install_unsigned() {
    assert_eq!(bad(&bytes_of(&state(1))), BadSignatures::Unsigned);
    let mut empty = state(1);
    empty["signatures"] = json!([]);
    assert_eq!(bad(&bytes_of(&empty)), BadSignatures::Unsigned);
}

#[test]
fn arbitrary_install_wrong_key() {
    let stranger = key(9, "stranger");
    let ids = vec![stranger.id().clone()];
    let expected = BadSignatures::WrongKey {
        key_ids: ids,
        trust_version: 1,
    };
    assert_eq!(bad(&signed_state(&state(1), &[&stranger])), expected);
    // The id is a hint: borrowing an admin's id does not help.
    let forged = bad(&signed_state(&state(1), &[&stranger_key()]));
    assert_eq!(
        forged,
        BadSignatures::Invalid {
            key_id: admin_key().id().clone()
        }
    );
}

#[test]
fn arbitrary_install_wrong_role() {
    for key in [root_key(), freshness_key()] {
        let expected = BadSignatures::WrongRole {
            key_id: key.id().clone(),
            role: Role::Admin,
        };
        assert_eq!(bad(&signed_state(&state(1), &[&key])), expected);
    }
}

#[test]
fn arbitrary_install_edited_after_signing() {
    let signed = json_of(&signed_state(&state(1), &[&admin_key()]));
    let edits: [(&str, Value); 4] = [
        ("/spec/apply/0/content", json!("mine")),
        ("/meta/version", json!(2)),
        ("/meta/audience/devices/0", json!("router-8")),
        ("/meta/expires", json!("2099-01-01T00:00:00Z")),
    ];
    for (pointer, value) in edits {
        let mut edited = signed.clone();
        *edited.pointer_mut(pointer).expect("a member") = value;
        assert_eq!(
            bad(&bytes_of(&edited)),
            BadSignatures::Invalid {
                key_id: admin_key().id().clone()
            },
            "{pointer}"
        );
    }
    let mut extended = signed;
    extended["note"] = json!("a field that nobody signed");
    assert_eq!(
        bad(&bytes_of(&extended)),
        BadSignatures::Invalid {
            key_id: admin_key().id().clone()
        }
    );
}

#[test]
fn key_compromise_below_the_threshold_signs_nothing() {
    let mut two = trust();
    sign::set_threshold(&mut two, Role::Admin, 2).expect("two admins");
    let root = open(&signed_trust(&two, &[&root_key()]));
    let device = Device::new();
    let verify = |bytes: &[u8]| verify_state(Received::json("state.json", bytes), &root, &device.context());
    let one = signed_state(&state(1), &[&admin_key()]);
    let have = vec![admin_key().id().clone()];
    let below = Refused::Signatures(BadSignatures::Threshold {
        role: Role::Admin,
        have,
        need: 2,
    });
    assert_eq!(verify(&one).expect_err("one of two"), below);
    // A second signature by a key without the role adds nothing.
    assert_eq!(
        verify(&signed_state(&state(1), &[&admin_key(), &root_key()])).expect_err("one of two"),
        below
    );
    let both = verify(&signed_state(&state(1), &[&admin_key(), &second_admin_key()])).expect("two of two");
    assert_eq!(both.signers().len(), 2);
}

#[test]
fn duplicate_signatures_and_key_ids_count_once() {
    let mut two = trust();
    sign::set_threshold(&mut two, Role::Admin, 2).expect("two admins");
    let root = open(&signed_trust(&two, &[&root_key()]));
    let mut document = json_of(&signed_state(&state(1), &[&admin_key()]));
    let signature = document["signature"].clone();
    document["signatures"] = json!([signature, signature]);
    let device = Device::new();
    let refused = verify_state(Received::json("s", &bytes_of(&document)), &root, &device.context());
    assert_eq!(refused.expect_err("one key").code(), "below-threshold");
}

#[test]
fn unknown_key_ids_are_ignored_and_too_many_signatures_are_refused_unread() {
    let stranger = key(9, "stranger");
    let device = Device::new();
    verify(&signed_state(&state(1), &[&stranger, &admin_key()]), &device).expect("one good signature is enough");
    let mut document = json_of(&signed_state(&state(1), &[&admin_key()]));
    document["signatures"] = Value::Array(vec![document["signature"].clone(); 64]);
    assert_eq!(
        bad(&bytes_of(&document)),
        BadSignatures::TooMany { found: 65, most: 64 }
    );
}

#[test]
fn key_confusion_a_trust_signature_is_never_a_state_signature() {
    // The admin's key signs the state's bytes as if they were a trust document.
    let node = Node::from_json(&state(1));
    let message = canonical::signed_bytes("jos.trust", &node).expect("canonical");
    let mut forged = state(1);
    forged["signature"] = serde_json::to_value(admin_key().sign(&message)).expect("plain data");
    assert_eq!(
        bad(&bytes_of(&forged)),
        BadSignatures::Invalid {
            key_id: admin_key().id().clone()
        }
    );
    // A trust document is no state, whoever signed it.
    let trust = signed_trust(&trust(), &[&admin_key()]);
    assert_eq!(refused(&trust, &Device::new()).code(), "wrong-kind");
}

#[test]
fn alg_none_alg_in_other_case_and_alg_as_array_are_refused() {
    for alg in [
        json!("none"),
        json!("Ed25519"),
        json!("ED25519"),
        json!("ed25519 "),
        json!(["ed25519"]),
        json!(null),
        json!(1),
    ] {
        let mut document = json_of(&signed_state(&state(1), &[&admin_key()]));
        document["signature"]["alg"] = alg.clone();
        assert_eq!(bad(&bytes_of(&document)).code(), "wrong-algorithm", "{alg}");
    }
    let mut document = json_of(&signed_state(&state(1), &[&admin_key()]));
    document["signature"].as_object_mut().expect("a table").remove("alg");
    assert_eq!(bad(&bytes_of(&document)).code(), "wrong-algorithm");
}

#[test]
fn a_malformed_signature_is_refused_before_anything_else_is_looked_at() {
    let good = json_of(&signed_state(&state(1), &[&admin_key()]));
    let sig = good["signature"]["sig"].as_str().expect("text").to_owned();
    let mut wrong: Vec<Value> = vec![json!(1), json!("x"), json!([]), json!({}), json!(null)];
    for edited in [
        sig.trim_end_matches('=').to_owned(),
        sig.replace('A', "-"),
        format!("{sig} "),
        sig[4..].to_owned(),
        String::new(),
    ] {
        if edited != sig {
            wrong.push(json!({ "alg": "ed25519", "key_id": "admin-1", "sig": edited }));
        }
    }
    wrong.push(json!({ "alg": "ed25519", "key_id": "../admin", "sig": sig }));
    wrong.push(json!({ "alg": "ed25519", "key_id": "admin-1", "sig": sig, "extra": true }));
    for signature in wrong {
        let mut document = good.clone();
        document["signature"] = signature.clone();
        let code = bad(&bytes_of(&document)).code();
        assert!(
            ["malformed-signature", "wrong-algorithm"].contains(&code),
            "{signature}: {code}"
        );
    }
}
