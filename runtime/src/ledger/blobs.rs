//! Content too large for a record: a file named by its SHA-256.

use std::cell::Cell;
use std::collections::BTreeSet;

use jos_trust::{Digest, sha256};
use serde_json::{Value, json};

use super::LedgerError;
use crate::disk::{Disk, DiskError, Kind};

/// Canonical content of more bytes than this goes to a blob.
pub const BLOB_LIMIT: usize = 4096;
/// The largest blob that is read back into memory.
const READ_LIMIT: u64 = 64 * 1024 * 1024;

/// The blob store of one NAME.
pub struct Blobs<'d> {
    disk: &'d Disk,
    dir: String,
    /// The largest content that is kept.
    content: u64,
    /// How many bytes may still be added.
    room: Cell<u64>,
}

impl<'d> Blobs<'d> {
    /// Opens the store in `dir`, made when missing. Without limits.
    pub fn open(disk: &'d Disk, dir: &str) -> Result<Self, DiskError> {
        disk.ensure_dir(dir)?;
        Ok(Self::at(disk, dir))
    }

    /// The store in `dir`, which need not be there. For reading.
    pub fn at(disk: &'d Disk, dir: &str) -> Self {
        Self {
            disk,
            dir: dir.to_owned(),
            content: u64::MAX,
            room: Cell::new(u64::MAX),
        }
    }

    /// The same, where content of more than `content` bytes, or beyond `room` bytes in all, is kept by its hash alone.
    #[must_use]
    pub(crate) fn limited(self, content: u64, room: u64) -> Self {
        let room = Cell::new(room);
        Self { content, room, ..self }
    }

    fn path(&self, digest: &Digest) -> String {
        format!("{}/{digest}", self.dir)
    }

    /// Keeps `bytes`, durably, and gives their name. Keeping them twice is one file.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, DiskError> {
        let digest = sha256(bytes);
        // What is there may have been damaged since: it is put right rather than believed.
        if !matches!(self.get(&digest), Ok(Some(_))) {
            self.disk.write_private(&self.path(&digest), bytes)?;
            self.room.set(self.room.get().saturating_sub(bytes.len() as u64));
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
            return Err(LedgerError::Blob { digest: *digest });
        }
        Ok(Some(bytes))
    }

    /// A reference to `bytes` for a payload: `{"blob": SHA256, "size": BYTES}` with the bytes kept here, or
    /// `{"hash_only": SHA256, "size": BYTES}` where they are more than may be kept.
    pub fn keep(&self, bytes: &[u8]) -> Result<Value, DiskError> {
        let size = bytes.len() as u64;
        if size > self.content || size > self.room.get() {
            return Ok(json!({ "hash_only": sha256(bytes).to_string(), "size": size }));
        }
        Ok(json!({ "blob": self.put(bytes)?.to_string(), "size": size }))
    }

    /// The value for a payload: itself when small, else a reference as [`Blobs::keep`] gives it.
    pub fn inline_or_put(&self, value: &Value, canonical: &[u8]) -> Result<Value, DiskError> {
        if canonical.len() <= BLOB_LIMIT {
            return Ok(value.clone());
        }
        self.keep(canonical)
    }

    /// The names and sizes of what is there.
    pub fn list(&self) -> Result<Vec<(Digest, u64)>, DiskError> {
        let mut found = Vec::new();
        for name in self.disk.list(&self.dir)? {
            let Some(digest) = name.to_str().and_then(|n| n.parse().ok()) else {
                continue;
            };
            if let Some(meta) = self.disk.lstat(&self.path(&digest))?.filter(|m| m.kind == Kind::File) {
                found.push((digest, meta.size));
            }
        }
        Ok(found)
    }

    /// Removes every blob that is not in `kept`, and what a crash left under a temporary name. Gives how many went.
    pub(crate) fn collect(&self, kept: &BTreeSet<Digest>) -> Result<usize, DiskError> {
        let mut gone = 0;
        for name in self.disk.list(&self.dir)? {
            let Some(name) = name.to_str() else { continue };
            let named = name.parse::<Digest>().ok();
            if named.is_some_and(|digest| !kept.contains(&digest)) || name.starts_with(crate::disk::TEMP_PREFIX) {
                self.disk.remove(&format!("{}/{name}", self.dir))?;
                gone += 1;
            }
        }
        Ok(gone)
    }
}
