//! Keys and signatures: ECDSA on P-256 with SHA-512, the one kind that every apk v3 reads.
//!
//! Owns: PEM both ways (PKCS #8 and SEC 1 for secret keys, SPKI for public ones), key ids, signatures whose nonce follows
//! from key and message (RFC 6979), so that the same input gives the same bytes.
//! Never: prints a secret key.

use std::fmt;

use p256::ecdsa::signature::{DigestSigner as _, DigestVerifier as _};
use p256::ecdsa::{DerSignature, VerifyingKey};
use p256::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding,
};
use sha2::{Digest, Sha512};
use zeroize::Zeroizing;

use crate::ApkError;

/// A key that signs.
pub struct SigningKey(p256::ecdsa::SigningKey);

/// A key that checks signatures.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl SigningKey {
    /// The key with these 32 bytes as its secret number; whoever calls brings the randomness.
    ///
    /// # Errors
    /// [`ApkError::Key`] for the one seed in 2^32 that is no key: take another.
    pub fn from_seed(seed: [u8; 32]) -> Result<Self, ApkError> {
        let seed = Zeroizing::new(seed);
        p256::ecdsa::SigningKey::from_slice(&seed[..])
            .map(Self)
            .map_err(|_| ApkError::Key("these 32 bytes are no P-256 key, take others".into()))
    }

    /// A key from PEM, `PRIVATE KEY` or `EC PRIVATE KEY`.
    ///
    /// # Errors
    /// [`ApkError::Key`].
    pub fn from_pem(pem: &str) -> Result<Self, ApkError> {
        let key = p256::SecretKey::from_pkcs8_pem(pem)
            .ok()
            .or_else(|| p256::SecretKey::from_sec1_pem(pem).ok());
        let key = key.ok_or_else(|| {
            let help =
                "expected a P-256 secret key in PEM, as `openssl ecparam -name prime256v1 -genkey -noout` makes one";
            ApkError::Key(help.into())
        })?;
        Ok(Self(key.into()))
    }

    /// The key as PKCS #8 PEM.
    ///
    /// # Errors
    /// [`ApkError::Key`] when it cannot be written, which does not happen.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, ApkError> {
        self.0
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|e| ApkError::Key(e.to_string()))
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.verifying_key())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: DerSignature = self.0.sign_digest(|digest: &mut Sha512| digest.update(message));
        signature.as_bytes().to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public().id_hex())
    }
}

impl PublicKey {
    /// A key from SPKI PEM, `PUBLIC KEY`.
    ///
    /// # Errors
    /// [`ApkError::Key`].
    pub fn from_pem(pem: &str) -> Result<Self, ApkError> {
        VerifyingKey::from_public_key_pem(pem)
            .map(Self)
            .map_err(|_| ApkError::Key("expected a P-256 public key in PEM, as /etc/apk/keys/ holds them".into()))
    }

    /// The key as SPKI PEM, for `/etc/apk/keys/`.
    ///
    /// # Errors
    /// [`ApkError::Key`] when it cannot be written, which does not happen.
    pub fn to_pem(&self) -> Result<String, ApkError> {
        self.0
            .to_public_key_pem(LineEnding::LF)
            .map_err(|e| ApkError::Key(e.to_string()))
    }

    /// What a signature names it by: the first half of the SHA-512 of the uncompressed point, cut to 16 bytes.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        let point = self.0.to_sec1_point(false);
        let mut id = [0; 16];
        id.copy_from_slice(&Sha512::digest(point.as_bytes())[..16]);
        id
    }

    /// The id in hexadecimal.
    #[must_use]
    pub fn id_hex(&self) -> String {
        self.id().iter().map(|b| format!("{b:02x}")).collect()
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = DerSignature::from_bytes(signature) else {
            return false;
        };
        let digest = |digest: &mut Sha512| {
            digest.update(message);
            Ok(())
        };
        self.0.verify_digest(digest, &signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id_hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_its_pem_and_signs_alike() {
        let key = SigningKey::from_seed([9; 32]).expect("a key");
        let again = SigningKey::from_pem(&key.to_pem().expect("pem")).expect("read");
        assert_eq!(key.sign(b"message"), again.sign(b"message"));
        let public = PublicKey::from_pem(&key.public().to_pem().expect("pem")).expect("read");
        assert_eq!(public, key.public());
        assert!(public.verifies(b"message", &key.sign(b"message")));
        assert!(!public.verifies(b"messagf", &key.sign(b"message")));
        assert!(!format!("{key:?}").contains("0909"));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for pem in ["", "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"] {
            assert!(SigningKey::from_pem(pem).is_err());
            assert!(PublicKey::from_pem(pem).is_err());
        }
        assert!(SigningKey::from_seed([0; 32]).is_err());
        assert!(SigningKey::from_seed([0xff; 32]).is_err());
    }
}
