//! Content too large for a record: a file named by its SHA-256.

use jos_trust::{Digest, sha256};
use serde_json::{Value, json};

use super::LedgerError;
use crate::disk::{Disk, DiskError};

/// Canonical content of more bytes than this goes to a blob.
pub const BLOB_LIMIT: usize = 4096;
/// The largest blob that is read back into memory.
const READ_LIMIT: u64 = 64 * 1024 * 1024;

/// The blob store of one NAME.
pub struct Blobs<'d> {
    disk: &'d Disk,
    dir: String,
}

impl<'d> Blobs<'d> {
    /// Opens the store in `dir`, made when missing.
    pub fn open(disk: &'d Disk, dir: &str) -> Result<Self, DiskError> {
        disk.ensure_dir(dir)?;
        Ok(Self {
            disk,
            dir: dir.to_owned(),
        })
    }

    fn path(&self, digest: &Digest) -> String {
        format!("{}/{digest}", self.dir)
    }

    /// Keeps `bytes`, durably, and gives their name. Keeping them twice is one file.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, DiskError> {
        let digest = sha256(bytes);
        let path = self.path(&digest);
        if self.disk.lstat(&path)?.is_none_or(|m| m.size != bytes.len() as u64) {
            self.disk.write_private(&path, bytes)?;
        }
        Ok(digest)
    }

    /// The bytes named `digest`: checked, `None` when missing.
    pub fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, LedgerError> {
        let bytes = match self.disk.read(&self.path(digest), READ_LIMIT) {
            Ok((bytes, _)) => bytes,
            Err(e) if e.is_missing() => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        if sha256(&bytes) != *digest {
            return Err(LedgerError::Head {
                what: "a blob does not have the hash that is its name",
            });
        }
        Ok(Some(bytes))
    }

    /// The value for a payload: itself when small, else `{"blob": SHA256, "size": BYTES}` with the bytes kept here.
    pub fn inline_or_put(&self, value: &Value, canonical: &[u8]) -> Result<Value, DiskError> {
        if canonical.len() <= BLOB_LIMIT {
            return Ok(value.clone());
        }
        let digest = self.put(canonical)?;
        Ok(json!({ "blob": digest.to_string(), "size": canonical.len() }))
    }
}
