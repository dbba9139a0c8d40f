//! ed25519 keys (RFC 8032), checked strictly.
//!
//! Owns: the key types, what makes a public key acceptable, how a key gets its id, and the one verification used on
//! hub and device alike. Strict means: S below the group order, no small-order key or R, no non-canonical encoding
//! (RFC 8032 §5.1.7 with the cofactorless equation; see "Taming the many EdDSAs", 2020). Never prints a secret.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use jos_schemas::documents::desired_state::{Signature, SignatureAlg};
use jos_schemas::text::KeyIdText;
use zeroize::Zeroizing;

use crate::digest::sha256;

/// A hint that finds a key; it authorises nothing by itself.
pub type KeyId = KeyIdText;

/// A public key that passed the checks of [`PublicKey::from_bytes`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// Why 32 bytes are not taken as a public key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPublicKey {
    /// Not base64, or not canonical base64.
    #[error("the public key is not standard base64 with padding (RFC 4648 §4)")]
    NotBase64,
    /// Another length than 32 bytes.
    #[error("the public key has {found} bytes, expected 32")]
    Length {
        /// How many there are.
        found: usize,
    },
    /// The bytes name no point of the curve.
    #[error("the public key is no point of the curve")]
    NotAPoint,
    /// The same point has another, shorter encoding.
    #[error("the public key is not in its canonical encoding")]
    NotCanonical,
    /// Signatures of such a key can be made by anybody.
    #[error("the public key has small order, so anybody could sign for it")]
    SmallOrder,
}

impl PublicKey {
    /// Takes 32 bytes (RFC 8032 §5.1.5) that are a canonical encoding of a point of large order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, BadPublicKey> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| BadPublicKey::NotAPoint)?;
        if key.is_weak() {
            return Err(BadPublicKey::SmallOrder);
        }
        if key.to_edwards().compress().as_bytes() != bytes {
            return Err(BadPublicKey::NotCanonical);
        }
        Ok(Self(key))
    }

    /// Takes 32 bytes in standard base64 with padding.
    pub fn from_base64(text: &str) -> Result<Self, BadPublicKey> {
        let bytes = STANDARD.decode(text).map_err(|_| BadPublicKey::NotBase64)?;
        let bytes: [u8; 32] = bytes
            .try_into()
            .map_err(|b: Vec<u8>| BadPublicKey::Length { found: b.len() })?;
        Self::from_bytes(&bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// As documents write it: standard base64 with padding.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.as_bytes())
    }

    /// The id a key has unless its maker names it: the first 16 hex digits of the SHA-256 of the 32 bytes.
    pub fn default_id(&self) -> KeyId {
        let hex = sha256(self.as_bytes()).to_string();
        KeyId::new(&hex[..16]).expect("hex digits follow the rule of KeyIdText")
    }

    /// Whether `signature` (64 bytes) is this key's over `message`, strictly.
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0
            .verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature))
            .is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.to_base64())
    }
}

/// A secret key with its id. Wiped from memory when dropped; `Debug` shows the id only.
#[derive(Clone)]
pub struct SecretKey {
    key: SigningKey,
    id: KeyId,
    /// For people.
    comment: Option<String>,
    /// A throwaway key of `jos-image build --dev-key`.
    dev: bool,
}

impl SecretKey {
    /// A new key from 32 bytes of `random`, which must fill the whole slice with bytes nobody can guess.
    pub fn generate(random: &mut dyn FnMut(&mut [u8])) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        random(&mut *seed);
        Self::from_bytes(&seed)
    }

    /// The key of a 32-byte seed (RFC 8032 §5.1.5), with its default id.
    pub fn from_bytes(seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let id = PublicKey(key.verifying_key()).default_id();
        Self {
            key,
            id,
            comment: None,
            dev: false,
        }
    }

    /// The same key under another id.
    pub fn with_id(mut self, id: KeyId) -> Self {
        self.id = id;
        self
    }

    /// The same key with words for people.
    pub fn with_comment(mut self, comment: Option<String>) -> Self {
        self.comment = comment;
        self
    }

    /// The same key marked as a throwaway: every trust document that names it says so.
    pub fn as_dev(mut self) -> Self {
        self.dev = true;
        self
    }

    /// Its id.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Words for people.
    pub fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    /// Whether it is a throwaway.
    pub fn is_dev(&self) -> bool {
        self.dev
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.key.verifying_key())
    }

    /// The 32-byte seed, for the key file alone.
    pub(crate) fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes())
    }

    /// The key itself, for what is signed in another form than documents are.
    pub(crate) fn raw(&self) -> &SigningKey {
        &self.key
    }

    /// Signs `message`, which must come from [`crate::canonical::signed_bytes`] so that a signature of one kind of
    /// document is never one of another.
    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        let sig = self.key.sign(message);
        Signature {
            alg: SignatureAlg::Ed25519,
            key_id: self.id.clone(),
            sig: STANDARD.encode(sig.to_bytes()),
        }
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({}, secret redacted)", self.id)
    }
}

#[cfg(test)]
mod tests;
