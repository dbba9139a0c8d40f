//! A ledger to be read, wherever it lies: the folder of an agent, or an export.

use jos_trust::{Digest, KeyId, PublicKey};

use super::{Blobs, Export, Extent, LedgerError, Line, read_lines};
use crate::disk::Disk;

/// Records and blobs of one ledger.
pub enum Archive<'a> {
    /// Below a data directory.
    Folder {
        /// The disk whose root is the folder of the agent, or above.
        disk: &'a Disk,
        /// Where the segments are.
        dir: String,
        /// The blobs.
        blobs: Blobs<'a>,
    },
    /// One file.
    Export(Box<Export<'a>>),
}

impl<'a> Archive<'a> {
    /// The ledger in `dir` with the blobs in `blobs`.
    pub fn folder(disk: &'a Disk, dir: &str, blobs: &str) -> Self {
        Self::Folder {
            disk,
            dir: dir.to_owned(),
            blobs: Blobs::at(disk, blobs),
        }
    }

    /// Every record kept, checked and in order.
    pub fn lines(&self, each: &mut dyn FnMut(&Line<'_>)) -> Result<Extent, LedgerError> {
        match self {
            Self::Folder { disk, dir, .. } => read_lines(disk, dir, each),
            Self::Export(export) => export.lines(each),
        }
    }

    /// The bytes of a blob: checked, `None` when it is not there.
    pub fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, LedgerError> {
        match self {
            Self::Folder { blobs, .. } => blobs.get(digest),
            Self::Export(export) => export.blob(digest),
        }
    }

    /// The names and sizes of the blobs that are there.
    pub fn blobs(&self) -> Result<Vec<(Digest, u64)>, LedgerError> {
        match self {
            Self::Folder { blobs, .. } => Ok(blobs.list()?),
            Self::Export(export) => Ok(export.blobs()),
        }
    }

    /// The key that it brings along: for checking that its checkpoints were made by one device, not by which.
    pub fn own_key(&self) -> Option<(KeyId, PublicKey)> {
        match self {
            Self::Folder { .. } => None,
            Self::Export(export) => export.key.clone(),
        }
    }
}
