//! Each attack of "Signed state" that needs no hub, by its name.

use jos_schemas::documents::trust::Role;
use jos_schemas::read::Format;
use serde_json::{Value, json};

use super::*;
use crate::keys::SecretKey;
use crate::refused::BadSignatures;
use crate::sign;
use crate::testing::*;

fn verify(bytes: &[u8], device: &Device) -> Result<Verified<DesiredState>, Refused> {
    verify_state(Received::json("state.json", bytes), &root(), &device.context())
}

fn good(version: u64, device: &Device) -> Verified<DesiredState> {
    verify(&signed_state(&state(version), &[&admin_key()]), device).expect("a good state")
}

fn refused(bytes: &[u8], device: &Device) -> Refused {
    verify(bytes, device).expect_err("it must be refused")
}

fn bad(bytes: &[u8]) -> BadSignatures {
    match refused(bytes, &Device::new()) {
        Refused::Signatures(bad) => bad,
        other => panic!("refused for another reason: {other:?}"),
    }
}

fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

fn bytes_of(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("JSON")
}

#[test]
fn a_state_signed_by_an_admin_for_this_device_is_verified() {
    let verified = good(7, &Device::new());
    assert_eq!(verified.version(), 7);
    assert_eq!(verified.standing(), Standing::New);
    assert_eq!(verified.signers(), [admin_key().id().clone()]);
    assert_eq!(verified.counter().tenant, Some(name("acme")));
    assert!(!verified.signed_by_dev_key());
    let again = verify(&verified.to_bytes(), &Device::new()).expect("what is stored verifies again");
    assert_eq!(again.content(), verified.content());
}

#[test]
fn the_same_state_in_toml_has_the_same_content_and_the_same_signature() {
    let json = signed_state(&state(7), &[&admin_key()]);
    let signature = json_of(&json)["signature"].clone();
    let toml = format!(
        "kind = \"jos.agent.desired_state\"\n[meta]\nname = \"portal\"\nversion = 7\nexpires = 2027-06-01T00:00:00Z\n\
         [meta.audience]\ntenant = \"acme\"\ndevices = [\"router-7\"]\nlabels = {{ site = \"mx-3\" }}\n\
         [[spec.apply]]\ntype = \"file\"\npath = \"/etc/motd\"\ncontent = \"version 7\\n\"\n\
         [signature]\nalg = \"ed25519\"\nkey_id = \"admin-1\"\nsig = {}\n",
        signature["sig"]
    );
    let received = Received {
        name: "state.toml",
        bytes: toml.as_bytes(),
        format: Format::Toml,
    };
    let verified = verify_state(received, &root(), &Device::new().context()).expect("a good state");
    assert_eq!(verified.content(), good(7, &Device::new()).content());
}

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
fn rollback_to_an_older_version_is_refused_also_after_a_restart_and_a_restored_cache() {
    let mut device = Device::new();
    let newer = good(8, &device);
    device.floors.begin(&newer);
    device.floors.confirm(&newer);
    // The floors outlive the process, a reinstalled package and a restored `state.json`: they are files of their own.
    device.floors = Floors::from_bytes(&device.floors.to_bytes()).expect("what was written");
    let older = signed_state(&state(7), &[&admin_key()]);
    assert_eq!(refused(&older, &device), Refused::Rollback { offered: 7, floor: 8 });
    device.channel = Channel::Local;
    assert_eq!(refused(&older, &device), Refused::Rollback { offered: 7, floor: 8 });
}

#[test]
fn going_back_to_the_state_in_force_after_a_failed_trial_is_no_rollback_attack() {
    let mut device = Device::new();
    device.floors.confirm(&good(8, &device));
    let trial = good(9, &device);
    device.floors.begin(&trial);
    device.floors.fail(&trial);
    assert_eq!(good(8, &device).standing(), Standing::InForce);
    let again = signed_state(&state(9), &[&admin_key()]);
    assert_eq!(refused(&again, &device), Refused::AlreadyFailed { version: 9 });
    assert_eq!(good(10, &device).standing(), Standing::New);
}

#[test]
fn same_version_other_content_is_refused_and_identical_content_is_no_change() {
    let mut device = Device::new();
    let first = good(8, &device);
    device.floors.begin(&first);
    assert_eq!(good(8, &device).standing(), Standing::Again);
    let mut other = state(8);
    other["spec"]["apply"][0]["content"] = json!("something else");
    let other = signed_state(&other, &[&admin_key()]);
    assert_eq!(refused(&other, &device).code(), "same-version-other-content");
    device.floors.confirm(&first);
    assert_eq!(good(8, &device).standing(), Standing::InForce);
    assert_eq!(refused(&other, &device).code(), "same-version-other-content");
    // Another signature under the same content is the same content.
    let resigned = verify(&signed_state(&state(8), &[&second_admin_key()]), &device).expect("the same content");
    assert_eq!(
        (resigned.standing(), resigned.content()),
        (Standing::InForce, first.content())
    );
}

#[test]
fn fast_forward_by_a_stolen_key_is_undone_by_rotation() {
    const FAR: u64 = 9_007_199_254_740_991;
    let mut device = Device::new();
    let before = root();
    device
        .floors
        .adopt_trust(std::slice::from_ref(&before), None, device.tenant.as_ref())
        .expect("the first root");
    device.floors.confirm(&good(41, &device));
    let inflated = good(FAR, &device);
    device.floors.begin(&inflated);
    device.floors.confirm(&inflated);
    let legitimate = signed_state(&state(42), &[&second_admin_key()]);
    assert_eq!(
        refused(&legitimate, &device),
        Refused::Rollback {
            offered: 42,
            floor: FAR
        }
    );

    // The root's holder withdraws the stolen key and names a floor at or above every legitimate version.
    let mut next = sign::successor(&trust());
    sign::withdraw(&mut next, Some(Role::Admin), admin_key().id());
    next.floors.insert(name("portal"), 41);
    let bytes = signed_trust(&next, &[&root_key()]);
    let received = [Received::json("trust.v2.json", &bytes)];
    let chain = before
        .walk(&received, &device.floors, &device.now, &device.now)
        .expect("a good rotation");
    let adopted = device
        .floors
        .adopt_trust(&chain, Some(&before), device.tenant.as_ref())
        .expect("newer");
    assert_eq!(adopted.floors.len(), 1);
    let newest = &chain[0];
    let received = Received::json("state.json", &legitimate);
    let recovered = verify_state(received, newest, &device.context()).expect("the counter recovered");
    assert_eq!(recovered.standing(), Standing::New);
    let stolen = signed_state(&state(FAR), &[&admin_key()]);
    let received = Received::json("state.json", &stolen);
    assert_eq!(
        verify_state(received, newest, &device.context())
            .expect_err("withdrawn")
            .code(),
        "wrong-key"
    );
    // A later root that names no floor leaves the counter alone.
    device.floors.confirm(&recovered);
    let third = signed_trust(&sign::successor(newest.value()), &[&root_key()]);
    let received = [Received::json("trust.v3.json", &third)];
    let chain3 = newest
        .walk(&received, &device.floors, &device.now, &device.now)
        .expect("a good rotation");
    device
        .floors
        .adopt_trust(&chain3, Some(newest), device.tenant.as_ref())
        .expect("newer");
    assert_eq!(device.floors.floor(recovered.counter()).expect("a counter").version, 42);
}

#[test]
fn freeze_an_expired_state_is_not_adopted_but_one_in_force_stays_in_force() {
    let mut device = Device::new();
    let bytes = signed_state(&state(8), &[&admin_key()]);
    let verified = verify(&bytes, &device).expect("in time");
    device.floors.confirm(&verified);
    device.now = utc("2027-06-01T00:00:00Z");
    let expires = device.now.clone();
    assert_eq!(
        refused(&bytes, &device),
        Refused::Expired {
            expires: expires.clone(),
            now: expires
        }
    );
    let stored = verified.to_bytes();
    let kept = reopen(
        Received::json("state.json", &stored),
        verified.counter(),
        Channel::Hub,
        &device.floors,
    );
    assert_eq!(kept.expect("in force for ever").signers(), verified.signers());
}

#[test]
fn freeze_an_expired_trust_root_admits_nothing_new() {
    let mut device = Device::new();
    device.now = utc("2028-01-01T00:00:00Z");
    let mut late = state(8);
    late["meta"]["expires"] = json!("2030-01-01T00:00:00Z");
    let bytes = signed_state(&late, &[&admin_key()]);
    assert_eq!(refused(&bytes, &device).code(), "trust-expired");
    // The baseline lies beside the first root in its package: a router that lay two years in a box still starts.
    device.channel = Channel::Baseline;
    verify(&bytes, &device).expect("the baseline of the package");
}

#[test]
fn time_poisoning_a_clock_at_1970_still_updates_and_a_clock_far_ahead_bricks_nothing() {
    let built = utc("2026-11-01T00:00:00Z");
    let bytes = signed_state(&state(8), &[&admin_key()]);
    let mut device = Device::new();
    device.now = device.floors.now(&utc("1970-01-01T00:00:00Z"), &built);
    assert_eq!(device.now, built);
    verify(&bytes, &device).expect("a device without a clock still updates");
    device.now = device.floors.now(&utc("2099-01-01T00:00:00Z"), &built);
    assert_eq!(refused(&bytes, &device).code(), "trust-expired");
    // Nothing remembered the forced clock, nor the state's own expiry.
    device.now = device.floors.now(&utc(NOW), &built);
    device.floors.confirm(&verify(&bytes, &device).expect("as before"));
    assert_eq!(device.floors.now(&utc(NOW), &built), utc(NOW));
}

#[test]
fn endless_data_is_refused_by_its_length_before_it_is_parsed() {
    let mut huge = signed_state(&state(1), &[&admin_key()]);
    huge.resize((1 << 20) + 1, b' ');
    let Refused::Malformed(report) = refused(&huge, &Device::new()) else {
        panic!("refused for another reason")
    };
    assert!(report.to_string().contains("1048577 bytes"), "{report}");
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
fn cross_tenant_replay() {
    let mut device = Device::new();
    let bytes = signed_state(&state(1), &[&admin_key()]);
    device.tenant = Some(name("other"));
    assert_eq!(refused(&bytes, &device).code(), "trust-of-other-tenant");
    let mut foreign = state(1);
    foreign["meta"]["audience"]["tenant"] = json!("other");
    let own = Some(name("acme"));
    let expected = Refused::OtherTenant {
        found: name("other"),
        own,
    };
    assert_eq!(
        refused(&signed_state(&foreign, &[&admin_key()]), &Device::new()),
        expected
    );
    // A device that was never enrolled belongs to the trust root's tenant.
    device.tenant = None;
    assert_eq!(
        verify(&bytes, &device).expect("the root's tenant").counter().tenant,
        Some(name("acme"))
    );
}

#[test]
fn cross_device_replay() {
    let bytes = signed_state(&state(1), &[&admin_key()]);
    for own in [Some("router-8".to_owned()), Some("router-7 ".to_owned()), None] {
        let mut device = Device::new();
        device.id = own.clone();
        assert_eq!(refused(&bytes, &device), Refused::OtherDevice { count: 1, own });
    }
}

#[test]
fn cross_group_replay() {
    let bytes = signed_state(&state(1), &[&admin_key()]);
    let mut device = Device::new();
    device.labels.insert("site".to_owned(), "mx-4".to_owned());
    assert_eq!(refused(&bytes, &device).code(), "other-label");
    device.labels.clear();
    assert_eq!(refused(&bytes, &device).code(), "other-label");
}

#[test]
fn a_state_for_another_agent_of_the_same_device_is_refused() {
    let mut device = Device::new();
    device.name = name("printer");
    let expected = Refused::OtherName {
        found: name("portal"),
        expected: name("printer"),
    };
    assert_eq!(refused(&signed_state(&state(1), &[&admin_key()]), &device), expected);
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

#[test]
fn unscoped_states_come_from_local_files_or_by_policy_alone() {
    let mut no_audience = state(1);
    no_audience["meta"].as_object_mut().expect("a table").remove("audience");
    let mut labels_only = state(1);
    labels_only["meta"]["audience"] = json!({ "labels": { "site": "mx-3" } });
    let mut no_expiry = state(1);
    no_expiry["meta"].as_object_mut().expect("a table").remove("expires");
    for unscoped in [no_audience, labels_only, no_expiry] {
        let bytes = signed_state(&unscoped, &[&admin_key()]);
        let mut device = Device::new();
        assert_eq!(refused(&bytes, &device).code(), "unscoped");
        device.allow_unscoped = true;
        verify(&bytes, &device).expect("policy allows it");
        device.allow_unscoped = false;
        device.channel = Channel::Local;
        verify(&bytes, &device).expect("a local file");
    }
}

#[test]
fn the_baseline_and_the_hub_count_apart() {
    let mut device = Device::new();
    device.floors.confirm(&good(42, &device));
    device.channel = Channel::Baseline;
    let baseline = good(3, &device);
    assert_eq!(
        (baseline.standing(), baseline.counter().stream),
        (Standing::New, Stream::Baseline)
    );
    device.floors.confirm(&baseline);
    device.channel = Channel::Hub;
    assert_eq!(good(42, &device).standing(), Standing::InForce);
}

#[test]
fn only_the_very_state_in_force_is_reopened() {
    let mut device = Device::new();
    let kept = good(8, &device);
    let counter = kept.counter().clone();
    let reopen =
        |bytes: &[u8], floors: &Floors| reopen(Received::json("state.json", bytes), &counter, Channel::Hub, floors);
    assert_eq!(
        reopen(&kept.to_bytes(), &device.floors)
            .expect_err("nothing in force")
            .code(),
        "not-in-force"
    );
    device.floors.confirm(&kept);
    assert_eq!(
        reopen(&kept.to_bytes(), &device.floors).expect("in force").content(),
        kept.content()
    );
    let other = good(9, &Device::new());
    assert_eq!(
        reopen(&other.to_bytes(), &device.floors)
            .expect_err("another one")
            .code(),
        "not-in-force"
    );
}

#[test]
fn parsing_comes_before_signatures_and_types_after_them() {
    let good = String::from_utf8(signed_state(&state(1), &[&admin_key()])).expect("UTF-8");
    let malformed = [
        good.replacen("\"version\": 1", "\"version\": 1, \"version\": 2", 1),
        good.replacen("\"version\": 1", "\"version\": 1, \"vers\\u0069on\": 2", 1),
        good.replacen("\"version\": 1", "\"version\": -0", 1),
        good.replacen("\"version\": 1", "\"version\": 1e400", 1),
        good.replacen("\"version\": 1", "\"version\": 9007199254740992", 1),
        format!("\u{feff}{good}"),
        format!("{good}x"),
        "[".repeat(100_000),
        String::new(),
    ];
    for text in malformed {
        assert_eq!(
            refused(text.as_bytes(), &Device::new()).code(),
            "malformed",
            "{}",
            &text[..text.len().min(80)]
        );
    }
    let float = good.replacen("\"version\": 1", "\"version\": 1.5", 1);
    assert_eq!(refused(float.as_bytes(), &Device::new()).code(), "not-canonical");
    // A document that is both badly typed and unsigned says that it is unsigned: types are never looked at.
    assert_eq!(
        bad(br#"{"kind":"jos.agent.desired_state","meta":7}"#),
        BadSignatures::Unsigned
    );
}

#[test]
fn a_signature_over_something_that_is_no_state_helps_nobody() {
    let mut wrong = state(1);
    wrong["meta"]["version"] = json!(0);
    let message = canonical::signed_bytes(desired_state::KIND, &Node::from_json(&wrong)).expect("canonical");
    wrong["signature"] = serde_json::to_value(admin_key().sign(&message)).expect("plain data");
    assert_eq!(refused(&bytes_of(&wrong), &Device::new()).code(), "malformed");
}

#[test]
fn no_mutation_of_a_signed_state_is_accepted_and_none_panics() {
    let device = Device::new();
    let good = signed_state(&state(1), &[&admin_key()]);
    let content = verify(&good, &device).expect("good").content();
    let seed: u64 = 20_261_121;
    let mut random = seed;
    let mut next = |below: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).expect("31 bits") % below
    };
    for round in 0..400 {
        let mut bytes = good.clone();
        match next(3) {
            0 => bytes[next(good.len())] ^= 1 << next(8),
            1 => drop(bytes.remove(next(good.len()))),
            _ => bytes.truncate(next(good.len())),
        }
        // White space may change without a change of the value; nothing else may.
        if let Ok(verified) = verify(&bytes, &device) {
            assert_eq!(verified.content(), content, "seed {seed}, round {round}");
        }
    }
}

#[test]
fn the_debug_form_of_a_key_shows_no_secret() {
    let key = SecretKey::from_bytes(&[0xA5; 32]);
    let shown = format!("{key:?}");
    assert!(shown.contains("redacted") && !shown.contains("165"), "{shown}");
}
