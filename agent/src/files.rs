//! Files that must be whole or absent, and folders that nobody can redirect.
//!
//! Owns the atomic write (temporary file beside, fsync, rename, fsync of the folder) and a walk that follows no symbolic
//! link, so that root may write below a home that belongs to somebody else.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat};

use crate::place::Owner;
use crate::whole::{self, content};
pub(crate) use crate::whole::{FileError, unlike_any_other};

fn error(path: &Path, doing: &'static str) -> impl Fn(Errno) -> FileError + use<> {
    FileError::at(path, doing)
}

const DIRECTORY: OFlag = OFlag::O_DIRECTORY
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC)
    .union(OFlag::O_RDONLY);

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens an existing folder by a path that is trusted.
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        let flags = DIRECTORY.difference(OFlag::O_NOFOLLOW);
        let fd = open(path, flags, Mode::empty()).map_err(error(path, "cannot open the folder"))?;
        Ok(Self {
            fd,
            path: path.to_owned(),
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the folder `name` in it, which may be no symbolic link.
    pub(crate) fn enter(&self, name: impl AsRef<OsStr>) -> Result<Self, FileError> {
        let (name, path) = (name.as_ref(), self.path.join(name.as_ref()));
        let fd = openat(&self.fd, name, DIRECTORY, Mode::empty()).map_err(error(&path, "cannot open the folder"))?;
        Ok(Self { fd, path })
    }

    /// Makes the folder `name` in it; fails when something is there.
    pub(crate) fn make(&self, name: impl AsRef<OsStr>, mode: u32, owner: &Owner) -> Result<Self, FileError> {
        let path = self.path.join(name.as_ref());
        let bits = Mode::from_bits_truncate(mode as _);
        mkdirat(&self.fd, name.as_ref(), bits).map_err(error(&path, "cannot make the folder"))?;
        let made = self.enter(name)?;
        fchmod(&made.fd, bits).map_err(error(&path, "cannot set the mode"))?;
        own(&made.fd, &path, owner)?;
        Ok(made)
    }

    /// Opens the folder `name` in it, and makes it when there is none.
    pub(crate) fn enter_or_make(&self, name: &str, mode: u32, owner: &Owner) -> Result<Self, FileError> {
        match self.enter(name) {
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => self.make(name, mode, owner),
            other => other,
        }
    }

    /// Writes a new file in it; fails when something is there.
    pub(crate) fn write_new(&self, name: &str, bytes: &[u8], mode: u32, owner: &Owner) -> Result<(), FileError> {
        let path = self.path.join(name);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(&self.fd, name, flags, Mode::from_bits_truncate(0o600)).map_err(error(&path, "cannot make"))?;
        fchmod(&fd, Mode::from_bits_truncate(mode as _)).map_err(error(&path, "cannot set the mode"))?;
        own(&fd, &path, owner)?;
        let mut file = File::from(fd);
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.map_err(FileError::at(&path, "cannot write"))
    }

    /// Gives the folder `from` in it the name `to`.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), FileError> {
        let path = self.path.join(to);
        renameat(&self.fd, from, &self.fd, to).map_err(error(&path, "cannot rename to this"))?;
        self.sync()
    }

    /// Removes a file in it; no error when it is not there.
    pub(crate) fn remove(&self, name: &str) -> Result<(), FileError> {
        match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => self.sync(),
            Err(errno) => Err(error(&self.path.join(name), "cannot remove")(errno)),
        }
    }

    /// Removes an empty folder in it; no error when it is not there.
    pub(crate) fn remove_folder(&self, name: impl AsRef<OsStr>) -> Result<(), FileError> {
        match unlinkat(&self.fd, name.as_ref(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => self.sync(),
            Err(errno) => Err(error(&self.path.join(name.as_ref()), "cannot remove the folder")(errno)),
        }
    }

    /// Reads a regular file in it, `limit` bytes at most, following no link.
    pub(crate) fn read(&self, name: &str, limit: usize) -> Result<Vec<u8>, FileError> {
        let path = self.path.join(name);
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let fd = openat(&self.fd, name, flags, Mode::empty()).map_err(error(&path, "cannot read"))?;
        content(File::from(fd), &path, limit)
    }

    fn sync(&self) -> Result<(), FileError> {
        nix::unistd::fsync(&self.fd).map_err(error(&self.path, "cannot sync the folder"))
    }
}

fn own(fd: impl AsFd, path: &Path, owner: &Owner) -> Result<(), FileError> {
    if !Uid::effective().is_root() {
        return Ok(());
    }
    fchown(fd, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid))).map_err(error(path, "cannot hand over"))
}

/// Reads a regular file, `limit` bytes at most.
pub(crate) fn read(path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let fd = open(path, flags, Mode::empty()).map_err(error(path, "cannot read"))?;
    content(File::from(fd), path, limit)
}

/// A new file that nobody else may read.
pub(crate) fn new_private(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.write(true).create_new(true).open(path)
}

/// Replaces a file by a whole new one; `durable` also survives power loss.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32, durable: bool) -> Result<(), FileError> {
    whole::exchange(path, |temporary, folder| {
        let mut options = File::options();
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.write(true).create_new(true).open(temporary)?;
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        file.write_all(bytes)?;
        if durable {
            file.sync_all()?;
        }
        std::fs::rename(temporary, path)?;
        if durable {
            File::open(folder)?.sync_all()
        } else {
            Ok(())
        }
    })
}
