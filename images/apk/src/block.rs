//! The file around the tree: compression, blocks, and what a signature is over.

use std::io::{Read, Write};

use sha2::{Digest, Sha256, Sha512};

use crate::ApkError;
use crate::key::{PublicKey, SigningKey};

const MAGIC: &[u8; 4] = b"ADB.";
const DEFLATED: &[u8; 4] = b"ADBd";
const OTHERWISE: &[u8; 4] = b"ADBc";
const ALIGNMENT: usize = 8;
/// Largest size that a block's first word holds.
const SHORT: usize = 0x3fff_ffff;

const TREE: u32 = 0;
const SIGNATURE: u32 = 1;
const DATA: u32 = 2;
const LONG: u32 = 3;

/// The number of SHA-512 among apk-tools' digests.
const SHA_512: u8 = 4;
/// What of a signature block stands before the signature, and is signed with it: version, hash, key id.
const SIGNATURE_HEAD: usize = 18;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// `pckg`.
    Package,
    /// `indx`.
    Index,
}

impl Schema {
    fn word(self) -> [u8; 4] {
        match self {
            Self::Package => *b"pckg",
            Self::Index => *b"indx",
        }
    }
}

/// How a file is compressed. apk-tools also writes zstd, which routers are built without.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Raw deflate, at the best level.
    #[default]
    Deflate,
}

/// How much of a stranger's file is taken.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most bytes after decompression.
    pub bytes: u64,
}

impl Default for Limits {
    /// 256 MiB, more than any router has room for.
    fn default() -> Self {
        Self { bytes: 256 << 20 }
    }
}

/// A file taken into its blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocks {
    /// What the tree is.
    pub schema: Schema,
    /// The tree's bytes.
    pub tree: Vec<u8>,
    /// The signature blocks, as they stand.
    pub signatures: Vec<Vec<u8>>,
    /// The data blocks.
    pub data: Vec<DataBlock>,
}

/// The content of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataBlock {
    /// Number of its directory, from 1.
    pub path: u32,
    /// Number of the file there, from 1.
    pub file: u32,
    /// The content.
    pub bytes: Vec<u8>,
}

impl Blocks {
    /// An unsigned file of this tree.
    #[must_use]
    pub fn new(schema: Schema, tree: Vec<u8>, data: Vec<DataBlock>) -> Self {
        Self {
            schema,
            tree,
            signatures: Vec::new(),
            data,
        }
    }

    /// SHA-256 of the tree, by which an index names a package.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.tree).into()
    }

    /// Adds a signature, in place of one by the same key.
    pub fn sign(&mut self, key: &SigningKey) {
        let mut block = vec![0, SHA_512];
        block.extend(key.public().id());
        let signature = key.sign(&self.signed(&block));
        self.signatures.retain(|old| !old.starts_with(&block));
        block.extend(signature);
        self.signatures.push(block);
    }

    /// The first of `keys` that a signature is by.
    ///
    /// # Errors
    /// [`ApkError::Untrusted`], which says whether there was no signature, one by another key, or a wrong one.
    pub fn verify<'k>(&self, keys: &'k [PublicKey]) -> Result<&'k PublicKey, ApkError> {
        let mut known = false;
        for block in &self.signatures {
            let Some((head, signature)) = block.split_at_checked(SIGNATURE_HEAD) else {
                continue;
            };
            if head[..2] != [0, SHA_512] {
                continue;
            }
            for key in keys.iter().filter(|key| key.id() == head[2..]) {
                known = true;
                if key.verifies(&self.signed(head), signature) {
                    return Ok(key);
                }
            }
        }
        let why = if known {
            "the signature is not over this content: the file was changed after it was signed"
        } else if self.signatures.is_empty() {
            "not signed"
        } else {
            "signed by none of the trusted keys"
        };
        Err(ApkError::Untrusted(why.to_owned()))
    }

    fn signed(&self, head: &[u8]) -> Vec<u8> {
        [&self.schema.word(), head, &Sha512::digest(&self.tree)].concat()
    }

    /// The file.
    #[must_use]
    pub fn to_bytes(&self, compression: Compression) -> Vec<u8> {
        let mut plain = [*MAGIC, self.schema.word()].concat();
        block(&mut plain, TREE, &[&self.tree]);
        for signature in &self.signatures {
            block(&mut plain, SIGNATURE, &[signature]);
        }
        for data in &self.data {
            let place = [data.path.to_le_bytes(), data.file.to_le_bytes()].concat();
            block(&mut plain, DATA, &[&place, &data.bytes]);
        }
        match compression {
            Compression::None => plain,
            Compression::Deflate => {
                let mut out = flate2::write::DeflateEncoder::new(DEFLATED.to_vec(), flate2::Compression::best());
                // Writing into memory does not fail.
                let _ = out.write_all(&plain);
                out.finish().unwrap_or(plain)
            }
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`ApkError::Damaged`], [`ApkError::Unsupported`] for another compression or schema, [`ApkError::TooLarge`].
    pub fn from_bytes(bytes: &[u8], limits: Limits) -> Result<Self, ApkError> {
        let plain = decompress(bytes, limits)?;
        let (head, mut rest) = plain
            .split_at_checked(8)
            .ok_or_else(|| ApkError::damaged("header", "the file ends in it"))?;
        let (magic, schema) = head.split_at(4);
        if magic != MAGIC {
            return Err(ApkError::damaged(
                "header",
                "expected ADB., ADBd or ADBc: no apk v3 file",
            ));
        }
        let schema = match schema {
            b"pckg" => Schema::Package,
            b"indx" => Schema::Index,
            other => {
                let name = String::from_utf8_lossy(other).into_owned();
                return Err(ApkError::Unsupported(format!(
                    "apk schema {name:?}, expected pckg or indx"
                )));
            }
        };
        let (mut tree, mut signatures, mut data) = (None, Vec::new(), Vec::new());
        while !rest.is_empty() {
            let (kind, payload, after) = next(rest)?;
            rest = after;
            match kind {
                TREE if tree.is_none() => tree = Some(payload.to_vec()),
                SIGNATURE if tree.is_some() && data.is_empty() => signatures.push(payload.to_vec()),
                DATA if tree.is_some() => data.push(data_block(payload)?),
                other => {
                    let problem = format!("a block of type {other} out of order; expected tree, signatures, data");
                    return Err(ApkError::damaged("blocks", problem));
                }
            }
        }
        let tree = tree.ok_or_else(|| ApkError::damaged("blocks", "there is none with a tree"))?;
        Ok(Self {
            schema,
            tree,
            signatures,
            data,
        })
    }
}

fn data_block(payload: &[u8]) -> Result<DataBlock, ApkError> {
    let number = |at: usize| {
        let word = payload.get(at..at + 4).and_then(|w| w.try_into().ok());
        word.map(u32::from_le_bytes)
            .ok_or_else(|| ApkError::damaged("data", "a block ends before it says whose it is"))
    };
    let (path, file) = (number(0)?, number(4)?);
    Ok(DataBlock {
        path,
        file,
        bytes: payload[8..].to_vec(),
    })
}

fn block(out: &mut Vec<u8>, kind: u32, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|p| p.len()).sum();
    match u32::try_from(4 + length) {
        Ok(size) if size as usize <= SHORT => out.extend((kind << 30 | size).to_le_bytes()),
        _ => {
            out.extend((LONG << 30 | kind).to_le_bytes());
            out.extend([0; 4]);
            out.extend((16 + length as u64).to_le_bytes());
        }
    }
    parts.iter().for_each(|part| out.extend(*part));
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
}

fn next(rest: &[u8]) -> Result<(u32, &[u8], &[u8]), ApkError> {
    let torn = || ApkError::damaged("blocks", "the file ends inside one");
    let word = |at: usize| {
        let word = rest.get(at..at + 4).and_then(|w| w.try_into().ok());
        word.map(u32::from_le_bytes).ok_or_else(torn)
    };
    let first = word(0)?;
    let (kind, head, size) = match first >> 30 {
        LONG => {
            let size = u64::from(word(8)?) | u64::from(word(12)?) << 32;
            (first & 0x3fff_ffff, 16, usize::try_from(size).map_err(|_| torn())?)
        }
        kind => (kind, 4, (first & 0x3fff_ffff) as usize),
    };
    let payload = rest.get(head..size).ok_or_else(torn)?;
    let end = size.checked_next_multiple_of(ALIGNMENT).ok_or_else(torn)?;
    let after = rest.get(end..).ok_or_else(torn)?;
    if rest[size..end].iter().any(|b| *b != 0) {
        return Err(ApkError::damaged(
            "blocks",
            "something stands in the padding, expected zeros",
        ));
    }
    Ok((kind, payload, after))
}

fn decompress(bytes: &[u8], limits: Limits) -> Result<Vec<u8>, ApkError> {
    let too_large = ApkError::TooLarge {
        what: "bytes of an apk file",
        limit: limits.bytes,
    };
    let Some((magic, rest)) = bytes.split_at_checked(4) else {
        return Err(ApkError::damaged("header", "the file is shorter than four bytes"));
    };
    if magic == OTHERWISE {
        let algorithm = rest.first().copied().unwrap_or(0);
        let name = if algorithm == 2 { "zstd" } else { "an unknown one" };
        return Err(ApkError::Unsupported(format!(
            "apk compression {algorithm} ({name}); expected none or deflate, which every device reads"
        )));
    }
    if magic != DEFLATED {
        return if bytes.len() as u64 > limits.bytes {
            Err(too_large)
        } else {
            Ok(bytes.to_vec())
        };
    }
    let mut plain = Vec::new();
    flate2::bufread::DeflateDecoder::new(rest)
        .take(limits.bytes + 1)
        .read_to_end(&mut plain)
        .map_err(|e| ApkError::damaged("compressed bytes", e.to_string()))?;
    if plain.len() as u64 > limits.bytes {
        return Err(too_large);
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Blocks {
        let data = DataBlock {
            path: 1,
            file: 2,
            bytes: b"content".to_vec(),
        };
        Blocks::new(Schema::Package, vec![0; 21], vec![data])
    }

    #[test]
    fn blocks_come_back_through_either_compression() {
        for compression in [Compression::None, Compression::Deflate] {
            let mut blocks = sample();
            blocks.sign(&SigningKey::from_seed([7; 32]).expect("a key"));
            assert_eq!(
                Blocks::from_bytes(&blocks.to_bytes(compression), Limits::default()),
                Ok(blocks)
            );
        }
    }

    #[test]
    fn every_changed_byte_of_a_signed_tree_is_seen_and_every_cut_is_refused() {
        let key = SigningKey::from_seed([7; 32]).expect("a key");
        let keys = [key.public()];
        let mut blocks = sample();
        blocks.sign(&key);
        assert!(blocks.verify(&keys).is_ok());
        for at in 0..blocks.tree.len() {
            let mut other = blocks.clone();
            other.tree[at] ^= 1;
            assert!(matches!(other.verify(&keys), Err(ApkError::Untrusted(_))));
        }
        let whole = blocks.to_bytes(Compression::None);
        for end in 0..whole.len() {
            // A cut between blocks leaves a file of fewer blocks, which the schema then misses.
            if let Ok(cut) = Blocks::from_bytes(&whole[..end], Limits::default()) {
                assert_ne!(cut, blocks);
            }
        }
    }

    #[test]
    fn signing_again_with_the_same_key_leaves_one_signature_and_the_same_bytes() {
        let key = SigningKey::from_seed([7; 32]).expect("a key");
        let mut blocks = sample();
        blocks.sign(&key);
        let once = blocks.to_bytes(Compression::Deflate);
        blocks.sign(&key);
        assert_eq!(blocks.to_bytes(Compression::Deflate), once);
        assert_eq!(blocks.signatures.len(), 1);
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit() {
        let mut blocks = sample();
        blocks.data[0].bytes = vec![0; 1 << 20];
        let packed = blocks.to_bytes(Compression::Deflate);
        assert!(packed.len() < 4096);
        let refused = Blocks::from_bytes(&packed, Limits { bytes: 1 << 16 });
        assert!(matches!(refused, Err(ApkError::TooLarge { limit: 65536, .. })));
    }

    proptest! {
        #[test]
        fn junk_is_read_or_refused_and_nothing_else(junk in prop::collection::vec(any::<u8>(), 0..100), deflated: bool) {
            let head: &[u8] = if deflated { DEFLATED } else { b"ADB.pckg" };
            let _ = Blocks::from_bytes(&[head, &junk].concat(), Limits { bytes: 1 << 20 });
        }
    }
}
