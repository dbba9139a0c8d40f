//! Signatures over statements of in-toto: DSSE envelopes, version 1 (<https://github.com/secure-systems-lab/dsse>).
//!
//! Owns: the bytes under such a signature. They begin with `DSSEv1`, so that none of them is ever one over a document: a
//! statement about a file gives no power over a device.

use crate::keys::{PublicKey, SecretKey};

/// DSSE's pre-authentication encoding: type and payload, each after its length, so that neither passes for the other.
fn encoded(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// The signature of a payload of this type, in base64.
#[must_use]
pub fn sign(kind: &str, payload: &[u8], key: &SecretKey) -> String {
    key.sign(&encoded(kind, payload)).sig
}

/// Whether `signature` (base64) is what [`sign`] gives for this payload and key.
#[must_use]
pub fn verifies(kind: &str, payload: &[u8], signature: &str, key: &PublicKey) -> bool {
    use base64::Engine as _;
    let signature = base64::engine::general_purpose::STANDARD.decode(signature).ok();
    let signature = signature.and_then(|bytes| <[u8; 64]>::try_from(bytes).ok());
    signature.is_some_and(|signature| key.verifies(&encoded(kind, payload), &signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_is_that_of_the_specifications_own_example() {
        let bytes = encoded("http://example.com/HelloWorld", b"hello world");
        assert_eq!(bytes, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn a_signature_holds_for_its_type_payload_and_key_alone() {
        let key = SecretKey::from_bytes(&[7; 32]);
        let signature = sign("a", b"text", &key);
        assert!(verifies("a", b"text", &signature, &key.public()));
        let other = SecretKey::from_bytes(&[8; 32]).public();
        assert!(!verifies("a", b"text", &signature, &other));
        assert!(!verifies("b", b"text", &signature, &key.public()));
        assert!(!verifies("a", b"texT", &signature, &key.public()));
        assert!(!verifies("a", b"text", "AAAA", &key.public()));
        assert!(!verifies("a", b"text", "no base64", &key.public()));
    }
}
