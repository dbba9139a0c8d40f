//! Endless data and bytes that are no state: what is refused before, and in spite of, a signature.

use super::*;

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
