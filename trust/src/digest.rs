//! SHA-256 (FIPS 180-4) as a type of its own, so that a digest is never mistaken for other text. The rounds are ring's, which
//! every program of jos has for TLS: in assembly also for processors without instructions for SHA-256.

use std::fmt;
use std::str::FromStr;

use jos_schemas::text::Sha256Hex;
use ring::digest::{self, Context, SHA256};
use serde::{Deserialize, Serialize};

/// A SHA-256 digest. Displays, parses and serialises as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// The digest of `bytes`.
pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::new(&digest::digest(&SHA256, bytes))
}

/// A digest computed piece by piece, for content that is not held in memory.
#[derive(Clone)]
pub struct Hasher(Context);

impl Default for Hasher {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").finish_non_exhaustive()
    }
}

impl Hasher {
    /// Takes in the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }
    /// The digest of all pieces.
    pub fn finish(self) -> Digest {
        Digest::new(&self.0.finish())
    }
}

impl Digest {
    fn new(found: &digest::Digest) -> Self {
        Self(found.as_ref().try_into().expect("SHA-256 gives 32 bytes"))
    }
    /// 64 zeros: the "hash before" of a first record.
    pub const ZERO: Self = Self([0; 32]);
    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// From the 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    /// As the documents write it.
    pub fn to_hex(&self) -> Sha256Hex {
        Sha256Hex::new(self.to_string()).expect("64 lower-case hex digits follow the rule of Sha256Hex")
    }
}

/// A text that is not 64 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {found:?}, expected 64 lower-case hex digits (SHA-256)")]
pub struct NotADigest {
    /// What was found, cut at 80 characters.
    pub found: String,
}

impl FromStr for Digest {
    type Err = NotADigest;
    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let bad = || NotADigest {
            found: text.chars().take(80).collect(),
        };
        let hex = text.as_bytes();
        if hex.len() != 64 {
            return Err(bad());
        }
        let digit = |c: u8| match c {
            b'0'..=b'9' => Ok(c - b'0'),
            b'a'..=b'f' => Ok(c - b'a' + 10),
            _ => Err(bad()),
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = NotADigest;
    fn try_from(text: String) -> Result<Self, NotADigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

impl From<&Sha256Hex> for Digest {
    fn from(hex: &Sha256Hex) -> Self {
        hex.as_str().parse().expect("Sha256Hex holds 64 lower-case hex digits")
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_abc_is_that_of_fips_180_4() {
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc").to_string(), hex);
        assert_eq!(hex.parse::<Digest>().expect("hex"), sha256(b"abc"));
        let mut pieces = Hasher::default();
        pieces.update(b"a");
        pieces.update(b"bc");
        assert_eq!(pieces.finish(), sha256(b"abc"));
    }

    #[test]
    fn upper_case_short_and_non_ascii_text_is_not_a_digest() {
        for bad in [
            "",
            "BA",
            &"A".repeat(64),
            &"a".repeat(63),
            &"é".repeat(32),
            &"g".repeat(64),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
