//! Content by hash: is it the one that was signed?
//!
//! Size first, then hash (TUF §5.6.2: mix-and-match, endless data): a piece beyond the signed size is refused before it
//! is hashed or written, so that no server can fill a disk.

use jos_schemas::documents::desired_state::BlobSource;

use crate::digest::{Digest, Hasher};

/// Takes in the pieces of a blob as they arrive.
#[derive(Clone, Debug)]
pub struct BlobCheck {
    hasher: Hasher,
    taken: u64,
    size: u64,
    expected: Digest,
}

/// Why content is not the one that was signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongBlob {
    /// More bytes than were signed.
    #[error("more than the signed {size} bytes arrived")]
    TooLong {
        /// The signed size in bytes.
        size: u64,
    },
    /// Fewer bytes than were signed.
    #[error("{found} bytes arrived, {size} were signed")]
    TooShort {
        /// How many arrived.
        found: u64,
        /// The signed size in bytes.
        size: u64,
    },
    /// As many, but others.
    #[error("the content has SHA-256 {found}, {expected} was signed")]
    OtherContent {
        /// What arrived.
        found: Digest,
        /// What was signed.
        expected: Digest,
    },
}

impl BlobCheck {
    /// A check against what a signed state names.
    pub fn new(signed: &BlobSource) -> Self {
        Self {
            hasher: Hasher::default(),
            taken: 0,
            size: signed.size,
            expected: Digest::from(&signed.sha256),
        }
    }

    /// Takes the next piece; an error means that the piece must not be kept.
    pub fn update(&mut self, piece: &[u8]) -> Result<(), WrongBlob> {
        let piece_length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        match self.taken.checked_add(piece_length).filter(|taken| *taken <= self.size) {
            Some(taken) => self.taken = taken,
            None => return Err(WrongBlob::TooLong { size: self.size }),
        }
        self.hasher.update(piece);
        Ok(())
    }

    /// All pieces are there.
    pub fn finish(self) -> Result<(), WrongBlob> {
        if self.taken != self.size {
            return Err(WrongBlob::TooShort {
                found: self.taken,
                size: self.size,
            });
        }
        match self.hasher.finish() {
            found if found == self.expected => Ok(()),
            found => Err(WrongBlob::OtherContent {
                found,
                expected: self.expected,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::sha256;

    fn signed() -> BlobSource {
        BlobSource {
            sha256: sha256(b"model").to_hex(),
            size: 5,
            urls: Vec::new(),
        }
    }

    #[test]
    fn mix_and_match_a_blob_that_was_not_signed_is_refused() {
        let mut check = BlobCheck::new(&signed());
        check.update(b"modem").expect("as long as signed");
        assert_eq!(
            check.finish(),
            Err(WrongBlob::OtherContent {
                found: sha256(b"modem"),
                expected: sha256(b"model")
            })
        );
    }

    #[test]
    fn endless_data_is_refused_at_the_first_byte_too_many() {
        let mut check = BlobCheck::new(&signed());
        check.update(b"mod").expect("less than signed");
        assert_eq!(check.update(b"els"), Err(WrongBlob::TooLong { size: 5 }));
        assert_eq!(check.finish(), Err(WrongBlob::TooShort { found: 3, size: 5 }));
    }

    #[test]
    fn the_signed_blob_is_taken_in_any_pieces() {
        let mut check = BlobCheck::new(&signed());
        for piece in [&b"m"[..], b"", b"odel"] {
            check.update(piece).expect("within the size");
        }
        assert_eq!(check.finish(), Ok(()));
    }
}
