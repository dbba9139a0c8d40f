//! A file that is brought piece by piece and may be gone on with later, also by another process.

use std::fs::File;
use std::io::{self, Read, Write};

use jos_trust::Digest;
use jos_trust::digest::Hasher;

use super::sys::Want;
use super::{Disk, DiskError, Op};

/// Bytes of one piece.
const PIECE: usize = 64 * 1024;

/// Why a file did not become what it was to be.
#[derive(Debug)]
pub(crate) enum Short {
    /// Its source broke off: what came is worth keeping.
    BrokeOff(DiskError),
    /// It is another content: worth nothing.
    Other(DiskError),
    /// It could not be written.
    Disk(DiskError),
}

impl Short {
    /// In words.
    pub(crate) fn error(self) -> DiskError {
        match self {
            Self::BrokeOff(e) | Self::Other(e) | Self::Disk(e) => e,
        }
    }
}

impl Disk {
    /// Appends `from` to the file at `path`, which is made 0600 where it is missing, until it is whole: `size` bytes with
    /// `sha256`, what it had before included. It is durable then. On the way it is not: a power cut may leave anything,
    /// which the hash finds.
    pub(crate) fn grow(&self, path: &str, from: &mut dyn Read, sha256: &Digest, size: u64) -> Result<(), Short> {
        let disk = |doing, e: io::Error| Short::Disk(self.err(path, doing, e));
        let other = |what: String| {
            let wrong = io::Error::new(io::ErrorKind::InvalidData, what);
            Short::Other(self.err(path, "take the content", wrong))
        };
        let (mut hasher, mut piece) = (Hasher::default(), vec![0; PIECE]);
        let mut written = self.begun(path, &mut hasher, &mut piece).map_err(Short::Disk)?;
        let mut file = self.to_append(path).map_err(Short::Disk)?;
        loop {
            let n = match from.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Short::BrokeOff(self.err(path, "read its content", e))),
            };
            if written + n as u64 > size {
                return Err(other(format!("more than the {size} bytes that the state names")));
            }
            hasher.update(&piece[..n]);
            self.tap(&Op::Write(path, written, &piece[..n]))
                .and_then(|()| file.write_all(&piece[..n]))
                .map_err(|e| disk("write it", e))?;
            written += n as u64;
        }
        if written < size {
            return Err(other(format!("{written} bytes, the state names {size}")));
        }
        let found = hasher.finish();
        if found != *sha256 {
            return Err(other(format!("its SHA-256 is {found}, the state names {sha256}")));
        }
        self.tap(&Op::Sync(path))
            .and_then(|()| file.sync_all())
            .map_err(|e| disk("make it durable", e))
    }

    /// What it has already goes into `hasher`; gives how much that is.
    fn begun(&self, path: &str, hasher: &mut Hasher, piece: &mut [u8]) -> Result<u64, DiskError> {
        let mut file = match self.open_file(path) {
            Ok((file, _)) => file,
            Err(e) if e.is_missing() => return Ok(0),
            Err(e) => return Err(e),
        };
        let mut length = 0;
        loop {
            match file.read(piece) {
                Ok(0) => return Ok(length),
                Ok(n) => {
                    hasher.update(&piece[..n]);
                    length += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.err(path, "read it", e)),
            }
        }
    }

    fn to_append(&self, path: &str) -> Result<File, DiskError> {
        let (dir, name) = self.walk_to(path)?;
        self.tap(&Op::Create(path)).map_err(|e| self.err(path, "make it", e))?;
        dir.open(name, Want::AppendOrNew)
            .map_err(|e| self.err(path, "make it", e))
    }
}
