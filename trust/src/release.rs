//! Signatures beside files: the list of checksums that comes with packages.
//!
//! Owns: the text form that OpenBSD's signify and OpenWrt's usign share, so that either verifies what we sign: a comment
//! line, then base64 of `"Ed"`, an 8-byte key number, and the ed25519 signature (or public key) itself.
//! Never signs bytes that could be those of a document: a list of checksums gives no power over a device.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::canonical::CONTEXT;
use crate::digest::sha256;
use crate::keys::{PublicKey, SecretKey};

/// The bytes could be mistaken for those under a document's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file starts like the signed bytes of a document; only lists of checksums and the like are signed so")]
pub struct LooksLikeADocument;

/// The signature of `bytes`, to be stored as `NAME.sig`.
pub fn sign_file(name: &str, bytes: &[u8], key: &SecretKey) -> Result<String, LooksLikeADocument> {
    if bytes.starts_with(CONTEXT.as_bytes()) {
        return Err(LooksLikeADocument);
    }
    let signature = key.sign(bytes);
    let signature = STANDARD.decode(signature.sig).expect("our own base64");
    Ok(text(
        &format!("signature of {name} by {}", key.id()),
        &key.public(),
        &signature,
    ))
}

/// The signature of a SHA-512 digest, as OpenPGP makes one with Ed25519 (RFC 9580 §5.2.4). A digest is no text that could
/// start like the signed bytes of a document: that it does by chance has odds of 2^-136.
///
/// # Errors
/// [`LooksLikeADocument`] in that case.
pub fn sign_digest(digest: &[u8; 64], key: &SecretKey) -> Result<[u8; 64], LooksLikeADocument> {
    if digest.starts_with(CONTEXT.as_bytes()) {
        return Err(LooksLikeADocument);
    }
    let signature = STANDARD.decode(key.sign(digest).sig).expect("our own base64");
    Ok(signature.try_into().expect("an ed25519 signature has 64 bytes"))
}

/// Whether `signature` is what [`sign_file`] gives for these bytes and this key.
#[must_use]
pub fn verifies_file(bytes: &[u8], signature: &str, key: &PublicKey) -> bool {
    let value = signature
        .lines()
        .nth(1)
        .and_then(|line| STANDARD.decode(line.trim_end()).ok());
    let Some((head, signature)) = value.as_deref().and_then(|value| value.split_at_checked(10)) else {
        return false;
    };
    let id = sha256(key.as_bytes());
    let signature = signature.try_into();
    head[..2] == *b"Ed" && head[2..] == id.as_bytes()[..8] && signature.is_ok_and(|s| key.verifies(bytes, s))
}

/// A key's number as usign names it: the file name in `/etc/opkg/keys`.
#[must_use]
pub fn key_number(key: &PublicKey) -> String {
    sha256(key.as_bytes()).to_string()[..16].to_owned()
}

/// The public key in the form that signify and usign take with `-p`.
pub fn public_text(key: &PublicKey) -> String {
    text(&format!("public key {}", key.default_id()), key, key.as_bytes())
}

/// The inverse of [`public_text`].
#[must_use]
pub fn public_of(text: &str) -> Option<PublicKey> {
    let value = STANDARD.decode(text.lines().nth(1)?.trim_end()).ok()?;
    let key = PublicKey::from_bytes(value.get(10..)?.try_into().ok()?).ok()?;
    (public_text(&key).lines().nth(1) == text.lines().nth(1)).then_some(key)
}

fn text(comment: &str, key: &PublicKey, value: &[u8]) -> String {
    let mut bytes = b"Ed".to_vec();
    bytes.extend_from_slice(&sha256(key.as_bytes()).as_bytes()[..8]);
    bytes.extend_from_slice(value);
    format!("untrusted comment: {comment}\n{}\n", STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_the_form_that_signify_reads() {
        let key = SecretKey::from_bytes(&[7; 32]);
        let signed = sign_file("SHA256SUMS", b"abc  x\n", &key).expect("a list");
        let (comment, value) = signed.split_once('\n').expect("two lines");
        assert!(comment.starts_with("untrusted comment: "));
        let bytes = STANDARD.decode(value.trim_end()).expect("base64");
        assert_eq!((&bytes[..2], bytes.len()), (b"Ed".as_slice(), 2 + 8 + 64));
        let public = STANDARD
            .decode(public_text(&key.public()).lines().nth(1).expect("two lines"))
            .expect("base64");
        assert_eq!((public.len(), &public[2..10]), (2 + 8 + 32, &bytes[2..10]));
        let signature: [u8; 64] = bytes[10..].try_into().expect("64 bytes");
        assert!(key.public().verifies(b"abc  x\n", &signature));
    }

    #[test]
    fn what_is_signed_is_verified_by_the_key_that_was_published() {
        let key = SecretKey::from_bytes(&[7; 32]);
        let signed = sign_file("Packages", b"list", &key).expect("a list");
        let public = public_of(&public_text(&key.public())).expect("a key");
        assert_eq!(public, key.public());
        assert!(verifies_file(b"list", &signed, &public) && !verifies_file(b"lisT", &signed, &public));
        let other = SecretKey::from_bytes(&[8; 32]).public();
        assert!(!verifies_file(b"list", &signed, &other));
        assert_eq!(key_number(&public).len(), 16);
        for junk in ["", "untrusted comment: x\n", "x\nRWQ=\n", "x\n////\n"] {
            assert!(
                public_of(junk).is_none() && !verifies_file(b"list", junk, &public),
                "{junk:?}"
            );
        }
    }

    #[test]
    fn bytes_that_could_be_a_document_are_not_signed() {
        let key = SecretKey::from_bytes(&[7; 32]);
        assert_eq!(
            sign_file("x", b"jos-signature-v1\njos.trust\n{}", &key),
            Err(LooksLikeADocument)
        );
    }
}
