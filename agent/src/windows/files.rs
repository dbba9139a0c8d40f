//! Files that must be whole or absent, on Windows: as `files.rs` elsewhere, without modes and without folders of others.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use crate::whole;
pub(crate) use crate::whole::{FileError, unlike_any_other};

/// Reads a regular file, `limit` bytes at most.
pub(crate) fn read(path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    let file = File::open(path).map_err(FileError::at(path, "cannot read"))?;
    whole::content(file, path, limit)
}

/// A new file; who may read it is its folder's affair.
pub(crate) fn new_private(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).open(path)
}

/// Replaces a file by a whole new one; `durable` also survives power loss. Who may read it is its folder's affair.
pub(crate) fn replace(path: &Path, bytes: &[u8], durable: bool) -> Result<(), FileError> {
    whole::exchange(path, |temporary, _| {
        let mut file = new_private(temporary)?;
        file.write_all(bytes)?;
        if durable {
            file.sync_all()?;
        }
        drop(file);
        // NTFS logs its names in order; the standard library replaces by POSIX semantics where the system has them.
        std::fs::rename(temporary, path)
    })
}
