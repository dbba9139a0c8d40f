//! Files that must be whole or absent, on Windows: as `files.rs` elsewhere, without modes and without folders of others.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// What went wrong, and where.
#[derive(Debug, thiserror::Error)]
#[error("{}: {doing}: {source}", path.display())]
pub(crate) struct FileError {
    path: PathBuf,
    doing: &'static str,
    source: io::Error,
}

/// Reads a regular file, `limit` bytes at most.
pub(crate) fn read(path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError {
        path: path.to_owned(),
        doing: "cannot read",
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err(failed(io::Error::other("not a regular file")));
    }
    // It may grow while it is read: one byte more than the limit is enough to see it.
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > limit {
        return Err(failed(io::Error::other(format!(
            "longer than the limit of {limit} bytes"
        ))));
    }
    Ok(bytes)
}

/// Sixteen random hex digits, for names that nobody else chooses or guesses.
pub(crate) fn unlike_any_other() -> io::Result<String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|e| io::Error::other(format!("the system gives no random bytes: {e}")))?;
    Ok(format!("{:016x}", u64::from_ne_bytes(random)))
}

/// A new file; who may read it is its folder's affair.
pub(crate) fn new_private(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).open(path)
}

/// Replaces a file by a whole new one; `durable` also survives power loss. Who may read it is its folder's affair.
pub(crate) fn replace(path: &Path, bytes: &[u8], durable: bool) -> Result<(), FileError> {
    let failed = |source| FileError {
        path: path.to_owned(),
        doing: "cannot write",
        source,
    };
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failed(io::Error::other("not a file's path")));
    };
    let unlike = unlike_any_other().map_err(failed)?;
    let temporary = folder.join(format!(".{}.{unlike}", name.to_string_lossy()));
    let write = || -> io::Result<()> {
        let mut file = File::options().write(true).create_new(true).open(&temporary)?;
        file.write_all(bytes)?;
        if durable {
            file.sync_all()?;
        }
        drop(file);
        // NTFS logs its names in order; the standard library replaces by POSIX semantics where the system has them.
        std::fs::rename(&temporary, path)
    };
    write().map_err(|source| {
        let _ = std::fs::remove_file(&temporary);
        failed(source)
    })
}
