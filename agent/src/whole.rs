//! What files have in common on every system: an error that says where, a content up to a limit, a name that nobody guesses, and
//! the way a file is replaced by a whole one. `files.rs` of each system adds what only that one has.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What went wrong, and where.
#[derive(Debug, thiserror::Error)]
#[error("{}: {doing}: {source}", path.display())]
pub(crate) struct FileError {
    path: PathBuf,
    doing: &'static str,
    source: io::Error,
}

impl FileError {
    /// Of this path, while this was done.
    pub(crate) fn at<E: Into<io::Error>>(path: &Path, doing: &'static str) -> impl Fn(E) -> Self + use<E> {
        let path = path.to_owned();
        move |source| Self {
            path: path.clone(),
            doing,
            source: source.into(),
        }
    }

    /// What kind of error it was.
    #[cfg(unix)]
    pub(crate) fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

/// The content of a regular file that is open, `limit` bytes at most.
pub(crate) fn content(file: File, path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    let failed = FileError::at::<io::Error>(path, "cannot read");
    let meta = file.metadata().map_err(&failed)?;
    if !meta.is_file() {
        return Err(failed(io::Error::other("not a regular file")));
    }
    if meta.len() > limit as u64 {
        let what = format!("{} bytes, the limit is {limit}", meta.len());
        return Err(failed(io::Error::other(what)));
    }
    // The file may grow while it is read: one byte more than the limit is enough to see it.
    let mut bytes = Vec::with_capacity(meta.len() as usize + 1);
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(&failed)?;
    if bytes.len() > limit {
        let what = format!("longer than the limit of {limit} bytes");
        return Err(failed(io::Error::other(what)));
    }
    Ok(bytes)
}

/// Sixteen random hex digits, for names that nobody else chooses or guesses.
pub(crate) fn unlike_any_other() -> io::Result<String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|e| io::Error::other(format!("the system gives no random bytes: {e}")))?;
    Ok(format!("{:016x}", u64::from_ne_bytes(random)))
}

/// Has `write` make a file of the name that it is given, beside `path`, and bring it to its own; a half-made one goes away.
pub(crate) fn exchange(path: &Path, write: impl FnOnce(&Path, &Path) -> io::Result<()>) -> Result<(), FileError> {
    let failed = FileError::at::<io::Error>(path, "cannot write");
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failed(io::Error::other("not a file's path")));
    };
    let unlike = unlike_any_other().map_err(&failed)?;
    let temporary = folder.join(format!(".{}.{unlike}", name.to_string_lossy()));
    write(&temporary, folder).map_err(|source| {
        let _ = std::fs::remove_file(&temporary);
        failed(source)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_beyond_the_limit_is_refused_with_both_numbers() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("settings");
        std::fs::write(&path, b"1234").expect("written");
        let read = |limit| content(File::open(&path).expect("open"), &path, limit);
        assert_eq!(read(4).expect("at the limit"), b"1234");
        let error = read(3).expect_err("too long").to_string();
        assert!(
            error.contains("settings: cannot read: 4 bytes, the limit is 3"),
            "{error}"
        );
    }

    #[test]
    fn what_fails_half_way_leaves_the_old_file_and_nothing_beside_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("settings");
        std::fs::write(&path, b"old").expect("written");
        let error = exchange(&path, |temporary, _| {
            std::fs::write(temporary, b"half")?;
            Err(io::Error::other("the disk is full"))
        });
        let error = error.expect_err("it fails").to_string();
        assert!(error.contains("cannot write: the disk is full"), "{error}");
        assert_eq!(std::fs::read(&path).expect("there"), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 1);
    }
}
