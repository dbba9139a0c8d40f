//! What a device's `tls` key is handed out as: a certificate request for the hub, and the key itself for TLS.
//!
//! Both have a fixed layout for ed25519 (RFC 8410), so they are written here byte for byte. The subject is empty: who a
//! device is follows from its key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer as _;
use zeroize::Zeroizing;

use crate::keys::SecretKey;

/// `CertificationRequestInfo` (RFC 2986 §4.1) up to the key: version 0, no subject, ed25519, a bit string of 32 bytes.
const INFO: [u8; 19] = [
    0x30, 0x33, 0x02, 0x01, 0x00, 0x30, 0x00, 0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// No attributes.
const ATTRIBUTES: [u8; 2] = [0xa0, 0x00];
/// The request around it: ed25519, a bit string of 64 bytes.
const REQUEST: [u8; 2] = [0x30, 0x7f];
const SIGNATURE: [u8; 10] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x41, 0x00];
/// `OneAsymmetricKey` (RFC 8410 §7) up to the seed.
const PRIVATE: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// A certificate request (PKCS #10, PEM) for `key`, signed by it. What is signed begins as no document's bytes do.
pub fn certificate_request(key: &SecretKey) -> String {
    let mut info = INFO.to_vec();
    info.extend(key.public().as_bytes());
    info.extend(ATTRIBUTES);
    let signature = key.raw().sign(&info).to_bytes();
    let der = [&REQUEST[..], &info, &SIGNATURE, &signature].concat();
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE REQUEST-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|b| char::from(*b)));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE REQUEST-----\n");
    pem
}

/// `key` as TLS libraries take it (PKCS #8, DER). Wiped when dropped.
pub fn pkcs8(key: &SecretKey) -> Zeroizing<Vec<u8>> {
    // Sized once: a buffer that grows would leave a copy of the secret in freed memory.
    let mut der = Zeroizing::new(Vec::with_capacity(PRIVATE.len() + 32));
    der.extend_from_slice(&PRIVATE);
    der.extend_from_slice(&*key.seed());
    der
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_holds_the_key_and_is_signed_by_it() {
        let key = SecretKey::from_bytes(&[7; 32]);
        let pem = certificate_request(&key);
        let body: String = pem.lines().filter(|l| !l.starts_with('-')).collect();
        let der = STANDARD.decode(body).unwrap();
        assert_eq!(der.len(), 2 + 0x7f);
        let (info, rest) = der[2..].split_at(53);
        assert_eq!(&info[19..51], key.public().as_bytes());
        assert!(key.public().verifies(info, rest[10..].try_into().unwrap()));
        assert!(pem.lines().all(|l| l.len() <= 64));
        assert_eq!(pkcs8(&key).len(), 48);
    }
}
