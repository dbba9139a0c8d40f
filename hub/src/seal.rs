//! Secrets that lie in the database: sealed by a key that lies in the folder of every hub, so that whoever reads the
//! database, or a dump of it, can sign nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use zeroize::Zeroizing;

use crate::random;

/// What seals and opens.
pub struct Seal(LessSafeKey);

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(redacted)")
    }
}

impl Seal {
    /// Made of the secret that every hub on one database has; it serves for nothing else.
    pub fn of(folder: &hmac::Key) -> Self {
        let key = hmac::sign(folder, b"jos hub seal v1");
        let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_ref()).expect("SHA-256 gives 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// Seals a text; `about` is what it is of, so that no sealed text serves in the place of another.
    pub fn close(&self, about: &str, text: &str) -> String {
        let mut nonce = [0; NONCE_LEN];
        random::fill(&mut nonce);
        let mut bytes = text.as_bytes().to_vec();
        let sealed = self
            .0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(about), &mut bytes);
        sealed.expect("a text of some hundred bytes is not too long");
        STANDARD.encode([nonce.as_slice(), &bytes].concat())
    }

    /// Opens it; none where another folder sealed it, or something else.
    pub fn open(&self, about: &str, sealed: &str) -> Option<Zeroizing<String>> {
        let bytes = STANDARD.decode(sealed).ok()?;
        let (nonce, text) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let mut text = Zeroizing::new(text.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let open = self.0.open_in_place(nonce, Aad::from(about), &mut text).ok()?;
        String::from_utf8(open.to_vec()).ok().map(Zeroizing::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_for_the_same_folder_and_the_same_thing_alone() {
        let seal = |secret: &[u8]| Seal::of(&hmac::Key::new(hmac::HMAC_SHA256, secret));
        let sealed = seal(b"one").close("ca 2", "a key");
        assert!(!sealed.contains("a key"));
        let opened = seal(b"one").open("ca 2", &sealed);
        assert_eq!(opened.as_deref().map(String::as_str), Some("a key"));
        assert!(seal(b"one").open("ca 3", &sealed).is_none());
        assert!(seal(b"two").open("ca 2", &sealed).is_none());
        assert!(seal(b"one").open("ca 2", "AAAA").is_none());
    }
}
