//! The little of OpenPGP that an APT repository needs: a certificate, detached and cleartext signatures.
//!
//! Owns: version 4 packets with Ed25519 as GnuPG 2.1 and later write it ("EdDSALegacy", RFC 9580 §9.1 algorithm 22), over
//! SHA-512. A key's creation time is part of its fingerprint and the same for every key here, so that a secret key
//! alone gives the whole certificate, byte for byte.
//! Never: reads certificates or signatures of others; [`verify`] knows what this module writes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jos_trust::{PublicKey, SecretKey, release};
use sha1::Sha1;
use sha2::{Digest, Sha512};

/// 2020-01-01T00:00:00Z, before any signature.
pub(super) const KEY_CREATED: u32 = 1_577_836_800;
const EDDSA: u8 = 22;
const SHA_512: u8 = 10;
/// The curve's object identifier, 1.3.6.1.4.1.11591.15.1, with its length.
const CURVE: [u8; 10] = [9, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];

/// What the key may do: certify and sign (RFC 9580 §5.2.3.29).
const MAY: [u8; 3] = [2, 27, 0x03];

/// Kinds of signatures (RFC 9580 §5.2.1).
#[derive(Clone, Copy)]
enum Kind {
    Binary = 0x00,
    Text = 0x01,
    Certification = 0x13,
}

/// Why nothing was signed.
pub use jos_trust::release::LooksLikeADocument as Refused;

/// The certificate of `key` for `user`, as it lies in `/usr/share/keyrings`.
///
/// # Errors
/// [`Refused`].
pub fn certificate(key: &SecretKey, user: &str) -> Result<Vec<u8>, Refused> {
    let body = key_body(&key.public());
    let hashed = certified(&body, user);
    let signature = signature(key, Kind::Certification, KEY_CREATED, &MAY, &hashed)?;
    Ok([packet(6, &body), packet(13, user.as_bytes()), packet(2, &signature)].concat())
}

/// Whether these are [`certificate`]s for `user`, and that of `key` is one of them.
#[must_use]
pub fn is_certificate(bytes: &[u8], key: &PublicKey, user: &str) -> bool {
    let is_of = |three: &[&[u8]], key: &PublicKey| {
        let body = key_body(key);
        let hash = |fields: &[u8]| digest(fields, &certified(&body, user));
        matches!(three, [first, name, signature]
            if *first == packet(6, &body)
                && *name == packet(13, user.as_bytes())
                && verify_packet(key, (Kind::Certification, &MAY), signature, hash))
    };
    let all = packets(bytes).unwrap_or_default();
    let own = |three: &[&[u8]]| key_of(three[0]).is_some_and(|key| is_of(three, &key));
    all.chunks(3).all(own) && all.chunks(3).any(|three| is_of(three, key))
}

/// What a certification is over (RFC 9580 §5.2.4).
fn certified(body: &[u8], user: &str) -> Vec<u8> {
    [&hashed_key(body), &[0xb4][..], &length(user.len()), user.as_bytes()].concat()
}

/// The key in a [`certificate`], the first where several follow each other.
#[must_use]
pub fn key_of(certificate: &[u8]) -> Option<PublicKey> {
    let point = certificate.get(21..53)?.try_into().ok()?;
    let key = PublicKey::from_bytes(point).ok()?;
    certificate.starts_with(&packet(6, &key_body(&key))).then_some(key)
}

/// The fingerprint in capitals, as `gpg` and `Signed-By` write it.
#[must_use]
pub fn fingerprint(key: &PublicKey) -> String {
    print(key).iter().map(|b| format!("{b:02X}")).collect()
}

/// A detached signature of `bytes` by each key, in one ASCII armour: `Release.gpg`.
///
/// # Errors
/// [`Refused`].
pub fn detached(keys: &[&SecretKey], bytes: &[u8], time: u32) -> Result<String, Refused> {
    Ok(armour("SIGNATURE", &by_each(keys, Kind::Binary, time, bytes)?))
}

fn by_each(keys: &[&SecretKey], kind: Kind, time: u32, message: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut all = Vec::new();
    for key in keys {
        all.extend(packet(2, &signature(key, kind, time, &[], message)?));
    }
    Ok(all)
}

/// `text` with the signature of each key under it: `InRelease` (RFC 9580 §7).
///
/// # Errors
/// [`Refused`].
pub fn cleartext(keys: &[&SecretKey], text: &str, time: u32) -> Result<String, Refused> {
    let signatures = by_each(keys, Kind::Text, time, canonical(text).as_bytes())?;
    let escaped: String = text
        .lines()
        .map(|line| format!("{}{line}\n", if line.starts_with('-') { "- " } else { "" }))
        .collect();
    let armour = armour("SIGNATURE", &signatures);
    Ok(format!(
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{escaped}{armour}"
    ))
}

/// Whether one of [`detached`]'s signatures of `bytes` is by `key`.
#[must_use]
pub fn verify(key: &PublicKey, bytes: &[u8], armoured: &str) -> bool {
    let hash = |fields: &[u8]| digest(fields, bytes);
    any_is_by(key, Kind::Binary, armoured, hash)
}

/// The text in [`cleartext`]'s message, when one of its signatures is by `key`.
#[must_use]
pub fn open(key: &PublicKey, message: &str) -> Option<String> {
    let rest = message.strip_prefix("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n")?;
    let at = rest.find("-----BEGIN PGP SIGNATURE-----\n")?;
    let text: String = rest[..at]
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix("- ").unwrap_or(line)))
        .collect();
    let hash = |fields: &[u8]| digest(fields, canonical(&text).as_bytes());
    any_is_by(key, Kind::Text, &rest[at..], hash).then_some(text)
}

fn any_is_by(key: &PublicKey, kind: Kind, armoured: &str, hash: impl Fn(&[u8]) -> [u8; 64]) -> bool {
    let Some(bytes) = dearmour(armoured) else { return false };
    let all = packets(&bytes).unwrap_or_default();
    all.iter().any(|packet| verify_packet(key, (kind, &[]), packet, &hash))
}

/// Packets as they follow each other, each with its header; none where one is cut off or of a length that we do not write.
fn packets(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let first = usize::from(*bytes.get(1)?);
        let size = match first {
            0..=191 => 2 + first,
            192..=223 => 3 + ((first - 192) << 8) + usize::from(*bytes.get(2)?) + 192,
            _ => return None,
        };
        let (packet, rest) = bytes.split_at_checked(size)?;
        all.push(packet);
        bytes = rest;
    }
    Some(all)
}

/// Lines without trailing blanks, ended as RFC 9580 §5.2.4 says, the last one open.
fn canonical(text: &str) -> String {
    let lines: Vec<_> = text
        .lines()
        .map(|line| line.trim_end_matches([' ', '\t', '\r']))
        .collect();
    lines.join("\r\n")
}

fn key_body(key: &PublicKey) -> Vec<u8> {
    // A point in the native form: 0x40, then the key (RFC 9580 §9.2.1); 263 bits with the leading zero left out.
    let point = [&[0x01, 0x07, 0x40], key.as_bytes().as_slice()].concat();
    [&[4], KEY_CREATED.to_be_bytes().as_slice(), &[EDDSA], &CURVE, &point].concat()
}

fn hashed_key(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    [&[0x99], length.to_be_bytes().as_slice(), body].concat()
}

fn print(key: &PublicKey) -> [u8; 20] {
    Sha1::digest(hashed_key(&key_body(key))).into()
}

/// The part of a signature packet that is hashed with the message.
fn fields(key: &PublicKey, kind: Kind, time: u32, more: &[u8]) -> Vec<u8> {
    let issuer = [&[22, 33, 4], print(key).as_slice()].concat();
    let created = [&[5, 2], time.to_be_bytes().as_slice()].concat();
    let hashed = [issuer, created, more.to_vec()].concat();
    let length = u16::try_from(hashed.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[4, kind as u8, EDDSA, SHA_512], length.as_slice(), &hashed].concat()
}

fn digest(fields: &[u8], message: &[u8]) -> [u8; 64] {
    let trailer = [&[4, 0xff], length(fields.len()).as_slice()].concat();
    Sha512::new()
        .chain_update(message)
        .chain_update(fields)
        .chain_update(trailer)
        .finalize()
        .into()
}

fn signature(key: &SecretKey, kind: Kind, time: u32, more: &[u8], message: &[u8]) -> Result<Vec<u8>, Refused> {
    let fields = fields(&key.public(), kind, time, more);
    let digest = digest(&fields, message);
    let signature = release::sign_digest(&digest, key)?;
    Ok(packet_body(&key.public(), &fields, &digest, &signature))
}

fn packet_body(key: &PublicKey, fields: &[u8], digest: &[u8; 64], signature: &[u8; 64]) -> Vec<u8> {
    let key_id = &print(key)[12..];
    let unhashed = [&[0, 10, 9, 16], key_id].concat();
    let (r, s) = signature.split_at(32);
    [fields, &unhashed, &digest[..2], &number(r), &number(s)].concat()
}

/// A multiprecision number (RFC 9580 §3.2).
fn number(bytes: &[u8]) -> Vec<u8> {
    let bytes = &bytes[bytes.iter().take_while(|b| **b == 0).count()..];
    let bits = bytes
        .first()
        .map_or(0, |first| bytes.len() * 8 - first.leading_zeros() as usize);
    [&u16::try_from(bits).unwrap_or(u16::MAX).to_be_bytes(), bytes].concat()
}

fn verify_packet(key: &PublicKey, (kind, more): (Kind, &[u8]), bytes: &[u8], hash: impl Fn(&[u8]) -> [u8; 64]) -> bool {
    // Everything but the numbers at its end follows from the key and the time, which stands at a fixed place.
    // Our signatures are shorter than 192 bytes: the header has two.
    let Some(body) = bytes.get(2..) else {
        return false;
    };
    let Some(time) = body.get(31..35).and_then(|t| t.try_into().ok()).map(u32::from_be_bytes) else {
        return false;
    };
    let fields = fields(key, kind, time, more);
    let digest = hash(&fields);
    let Some(signature) = numbers(body.get(fields.len() + 14..).unwrap_or_default()) else {
        return false;
    };
    packet(2, &packet_body(key, &fields, &digest, &signature)) == bytes && key.verifies(&digest, &signature)
}

fn numbers(mut rest: &[u8]) -> Option<[u8; 64]> {
    let mut signature = [0; 64];
    for half in signature.chunks_mut(32) {
        let (bits, after) = rest.split_at_checked(2)?;
        let length = usize::from(u16::from_be_bytes([bits[0], bits[1]])).div_ceil(8);
        let (value, after) = after.split_at_checked(length)?;
        half.get_mut(32usize.checked_sub(length)?..)?.copy_from_slice(value);
        rest = after;
    }
    rest.is_empty().then_some(signature)
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

/// A packet with its header (RFC 9580 §4.2.1).
fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    let size = body.len();
    let head = match u8::try_from(size) {
        Ok(short) if short < 192 => vec![short],
        _ if size < 8384 => vec![((size - 192) >> 8) as u8 + 192, (size - 192) as u8],
        _ => [&[0xff], length(size).as_slice()].concat(),
    };
    [&[0xc0 | tag], head.as_slice(), body].concat()
}

/// ASCII armour (RFC 9580 §6.2) with the checksum that older readers expect.
fn armour(what: &str, bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line))
        .collect();
    let sum = STANDARD.encode(&crc24(bytes).to_be_bytes()[1..]);
    format!(
        "-----BEGIN PGP {what}-----\n\n{}\n={sum}\n-----END PGP {what}-----\n",
        lines.join("\n")
    )
}

fn dearmour(text: &str) -> Option<Vec<u8>> {
    let body = text.strip_prefix("-----BEGIN PGP SIGNATURE-----\n\n")?;
    let (body, _) = body.split_once("\n=")?;
    STANDARD.decode(body.replace('\n', "")).ok()
}

fn crc24(bytes: &[u8]) -> u32 {
    let mut crc = 0x00b7_04ce;
    for byte in bytes {
        crc ^= u32::from(*byte) << 16;
        for _ in 0..8 {
            crc <<= 1;
            if crc & 0x0100_0000 != 0 {
                crc ^= 0x0186_4cfb;
            }
        }
    }
    crc & 0x00ff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const TEXT: &str = "Origin: Acme\n- dashed \nSHA256:\n abc 1 main/Packages\n";

    fn key() -> SecretKey {
        SecretKey::from_bytes(&[3; 32])
    }

    #[test]
    fn gpgv_takes_both_kinds_of_signatures_and_refuses_changed_text() {
        let dir = tempfile::tempdir().expect("folder");
        let at = |name: &str| dir.path().join(name);
        std::fs::write(
            at("key.gpg"),
            certificate(&key(), "Acme <a@example.org>").expect("certificate"),
        )
        .expect("key");
        let gpgv = |args: &[&str]| {
            let mut command = Command::new("gpgv");
            let done = command
                .arg("--keyring")
                .arg(at("key.gpg"))
                .args(args)
                .current_dir(dir.path())
                .output()
                .expect("gpgv");
            (
                done.status.success(),
                String::from_utf8_lossy(&done.stderr).into_owned(),
            )
        };
        let time = 1_795_219_200;
        std::fs::write(at("Release"), TEXT).expect("file");
        std::fs::write(
            at("Release.gpg"),
            detached(&[&key()], TEXT.as_bytes(), time).expect("signed"),
        )
        .expect("file");
        let message = cleartext(&[&key()], TEXT, time).expect("signed");
        std::fs::write(at("InRelease"), &message).expect("file");
        for args in [&["Release.gpg", "Release"][..], &["InRelease"]] {
            let (good, said) = gpgv(args);
            assert!(
                good && said.contains("Good signature from \"Acme <a@example.org>\""),
                "{said}"
            );
            assert!(said.contains(&fingerprint(&key().public())), "{said}");
        }
        std::fs::write(at("InRelease"), message.replace("Acme", "Acne")).expect("file");
        assert!(!gpgv(&["InRelease"]).0);
        std::fs::write(at("Release"), TEXT.replace("Acme", "Acne")).expect("file");
        assert!(!gpgv(&["Release.gpg", "Release"]).0);
    }

    #[test]
    fn what_is_written_is_verified_and_nothing_else_is() {
        let public = key().public();
        let message = cleartext(&[&key()], TEXT, 7).expect("signed");
        // Trailing blanks are no part of what is signed.
        assert_eq!(open(&public, &message).as_deref(), Some(TEXT));
        let apart = detached(&[&key()], b"bytes", 7).expect("signed");
        assert!(verify(&public, b"bytes", &apart) && !verify(&public, b"bytez", &apart));
        let other = SecretKey::from_bytes(&[4; 32]).public();
        assert!(!verify(&other, b"bytes", &apart) && open(&other, &message).is_none());
        for at in 0..message.len() {
            let mut changed = message.clone().into_bytes();
            changed[at] ^= 1;
            let Ok(changed) = String::from_utf8(changed) else {
                continue;
            };
            let opened = open(&public, &changed);
            assert!(
                opened.is_none_or(|text| canonical(&text) == canonical(TEXT)),
                "byte {at}"
            );
        }
    }

    #[test]
    fn every_changed_byte_of_a_certificate_is_seen() {
        let (key, user) = (key(), "Acme package archive");
        let whole = certificate(&key, user).expect("certificate");
        assert!(is_certificate(&whole, &key.public(), user));
        assert_eq!(key_of(&whole), Some(key.public()));
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(!is_certificate(&changed, &key.public(), user), "byte {at}");
        }
    }

    #[test]
    fn equal_input_gives_equal_bytes() {
        assert_eq!(cleartext(&[&key()], TEXT, 7), cleartext(&[&key()], TEXT, 7));
        assert_eq!(certificate(&key(), "a"), certificate(&key(), "a"));
    }
}
