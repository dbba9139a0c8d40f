//! Vectors: RFC 8032 §7.1, and the edges of "Taming the many EdDSAs" (2020), appendix C, made here from their definition.

use ed25519_dalek::{Signature as Raw, Verifier as _};

use super::*;

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    let digits: Vec<u8> = hex
        .bytes()
        .map(|c| (c as char).to_digit(16).expect("hex") as u8)
        .collect();
    let bytes: Vec<u8> = digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect();
    bytes.try_into().expect("the right length")
}

/// The group order L = 2^252 + 27742317777372353535851937790883648493, little-endian (RFC 8032 §5.1).
fn order() -> [u8; 32] {
    bytes("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
}

/// The small-order points in canonical encoding: orders 1, 2, 4, 4, 8, 8, 8, 8.
const SMALL: [&str; 8] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
];

#[test]
fn rfc_8032_test_vectors_are_reproduced() {
    // §7.1, TEST 1 (empty message) and TEST 3 (two bytes). Published test vectors, not anybody's keys.
    let vectors = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            &b""[..],
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            &b"\xaf\x82"[..],
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ];
    for (seed, public, message, signature) in vectors {
        let key = SecretKey::from_bytes(&bytes(seed));
        assert_eq!(key.public().as_bytes(), &bytes::<32>(public));
        let signed = STANDARD.decode(key.sign(message).sig).expect("base64");
        assert_eq!(signed, bytes::<64>(signature));
        assert!(key.public().verifies(message, &bytes(signature)));
        assert!(!key.public().verifies(b"other", &bytes(signature)));
    }
}

#[test]
fn a_signature_with_s_at_or_above_the_group_order_is_refused() {
    let key = SecretKey::from_bytes(&[7; 32]);
    let signature: [u8; 64] = STANDARD
        .decode(key.sign(b"m").sig)
        .expect("base64")
        .try_into()
        .expect("64 bytes");
    assert!(key.public().verifies(b"m", &signature));
    // S + L is the same scalar modulo the order: a lax verifier takes it, which makes signatures malleable.
    let mut malleable = signature;
    let mut carry = 0;
    for (byte, add) in malleable[32..].iter_mut().zip(order()) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = (sum & 0xff) as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    assert!(!key.public().verifies(b"m", &malleable));
    let mut exactly_the_order = signature;
    exactly_the_order[32..].copy_from_slice(&order());
    assert!(!key.public().verifies(b"m", &exactly_the_order));
}

#[test]
fn public_keys_of_small_order_are_refused() {
    for small in SMALL {
        assert_eq!(
            PublicKey::from_bytes(&bytes(small)),
            Err(BadPublicKey::SmallOrder),
            "{small}"
        );
    }
}

#[test]
fn a_small_order_key_would_take_any_message_without_the_strict_check() {
    // R = A = the neutral element, S = 0: S·B = R + k·A holds for every message.
    let neutral = ed25519_dalek::VerifyingKey::from_bytes(&bytes(SMALL[0])).expect("a point");
    let mut forged = [0; 64];
    forged[0] = 1;
    assert!(
        neutral.verify(b"anything", &Raw::from_bytes(&forged)).is_ok(),
        "why strictness is needed"
    );
    assert!(neutral.verify_strict(b"anything", &Raw::from_bytes(&forged)).is_err());
}

#[test]
fn a_signature_with_r_of_small_order_is_refused() {
    let key = SecretKey::from_bytes(&[7; 32]);
    for small in SMALL {
        let mut forged = [0; 64];
        forged[..32].copy_from_slice(&bytes::<32>(small));
        assert!(!key.public().verifies(b"m", &forged), "{small}");
    }
}

#[test]
fn non_canonical_encodings_of_a_key_are_refused() {
    // y = p + n for small n: below 2^255, and the same field element as n.
    let mut refused = 0;
    for low in 0xed..=0xff_u8 {
        for sign in [0x7f, 0xff] {
            let mut encoding = [0xff; 32];
            (encoding[0], encoding[31]) = (low, sign);
            assert!(PublicKey::from_bytes(&encoding).is_err(), "{low:x} {sign:x}");
            refused += usize::from(PublicKey::from_bytes(&encoding) == Err(BadPublicKey::NotCanonical));
        }
    }
    assert!(
        refused > 0,
        "some of them are points of large order, refused for their encoding alone"
    );
    // x = 0 with the sign bit set ("minus zero").
    let mut minus_zero: [u8; 32] = bytes(SMALL[0]);
    minus_zero[31] |= 0x80;
    assert!(PublicKey::from_bytes(&minus_zero).is_err());
}

#[test]
fn bytes_that_are_no_point_and_texts_that_are_no_base64_are_refused() {
    let mut not_a_point = [0; 32];
    not_a_point[0] = 2;
    assert_eq!(PublicKey::from_bytes(&not_a_point), Err(BadPublicKey::NotAPoint));
    let good = SecretKey::from_bytes(&[7; 32]).public().to_base64();
    assert!(PublicKey::from_base64(&good).is_ok());
    for bad in [
        good.trim_end_matches('='),
        &format!("{good}\n"),
        &good[..40],
        "",
        &good.replace('=', "=="),
    ] {
        assert!(PublicKey::from_base64(bad).is_err(), "{bad:?}");
    }
    // The last character before the padding carries unused bits, which must be zero.
    let last = good.as_bytes()[42];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let at = alphabet.iter().position(|c| *c == last).expect("base64");
    let mut slack = good.into_bytes();
    slack[42] = alphabet[at ^ 1];
    assert_eq!(
        PublicKey::from_base64(std::str::from_utf8(&slack).expect("ASCII")),
        Err(BadPublicKey::NotBase64)
    );
}

#[test]
fn a_key_is_made_from_all_the_random_bytes_it_asks_for() {
    let mut asked = 0;
    let key = SecretKey::generate(&mut |bytes| {
        asked += bytes.len();
        bytes.fill(7);
    });
    assert_eq!((asked, key.public()), (32, SecretKey::from_bytes(&[7; 32]).public()));
    assert_eq!(key.id().as_str(), &sha256(key.public().as_bytes()).to_string()[..16]);
}

#[test]
fn the_debug_form_of_a_key_shows_no_secret() {
    let key = SecretKey::from_bytes(&[0xA5; 32]);
    let shown = format!("{key:?}");
    assert!(shown.contains("redacted") && !shown.contains("165"), "{shown}");
}
