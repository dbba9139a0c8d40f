//! Reads a user-supplied directory into a [`Tree`].
//!
//! Owns: the walk, which holds a descriptor on each directory and opens every name below it with `O_NOFOLLOW`, so a
//! link is stored as a link and is never a way out of the directory, even when swapped while we read.
//! Never: reads device nodes, FIFOs or sockets; keeps the builder's owners.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use super::{Entry, FormatError, Tree};

/// What to accept from a directory on disk.
#[derive(Debug, Clone, Copy)]
pub struct DiskOptions {
    /// Keep set-user-id, set-group-id and sticky bits instead of refusing them.
    pub special_modes: bool,
    /// The most bytes of file content to take in all.
    pub max_bytes: u64,
    /// The most entries to take.
    pub max_entries: usize,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            special_modes: false,
            max_bytes: 1 << 30,
            max_entries: 100_000,
        }
    }
}

/// Read the directory `root`. Entries are owned by 0:0; write permission of group and others is dropped, so that two
/// checkouts made under different umasks (0002, 0022) give the same package.
///
/// # Errors
/// [`FormatError::Io`] when something cannot be read, [`FormatError::Path`] for an entry no package may hold,
/// [`FormatError::TooLarge`] past a limit.
pub fn read(root: &Path, options: &DiskOptions) -> Result<Tree, FormatError> {
    let mut tree = Tree::new();
    tree.special_modes = options.special_modes;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let dir = Dir::open(root, flags, Mode::empty()).map_err(|e| FormatError::io(root, e.into()))?;
    let mut walk = Walk {
        tree,
        options,
        bytes: 0,
        root,
    };
    walk.directory(dir, "")?;
    Ok(walk.tree)
}

struct Walk<'a> {
    tree: Tree,
    options: &'a DiskOptions,
    bytes: u64,
    root: &'a Path,
}

impl Walk<'_> {
    fn directory(&mut self, mut dir: Dir, below: &str) -> Result<(), FormatError> {
        let mut names = Vec::new();
        for item in dir.iter() {
            let item = item.map_err(|e| self.io(below, e))?;
            match item.file_name().to_str() {
                Ok("." | "..") => {}
                Ok(name) => names.push(name.to_owned()),
                Err(_) => {
                    let path = format!("{below}{}", item.file_name().to_string_lossy());
                    return Err(FormatError::path(path, "is not UTF-8, rename it"));
                }
            }
        }
        names.sort_unstable();
        for name in names {
            self.entry(&dir, &name, format!("{below}{name}"))?;
        }
        Ok(())
    }

    fn entry(&mut self, dir: &Dir, name: &str, path: String) -> Result<(), FormatError> {
        if self.tree.len() >= self.options.max_entries {
            let limit = self.options.max_entries as u64;
            return Err(FormatError::TooLarge {
                what: format!("{}: entries", self.root.display()),
                size: limit + 1,
                limit,
            });
        }
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
        let fd = match openat(dir, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            // What O_NOFOLLOW says of a link; readlinkat says EINVAL if it is something else by now.
            Err(nix::Error::ELOOP) => {
                let target = readlinkat(dir, name).map_err(|e| self.io(&path, e))?;
                let target = target
                    .into_string()
                    .map_err(|_| FormatError::path(&path, "is a link to a name that is not UTF-8"))?;
                return self.tree.insert(Entry::symlink(path, target));
            }
            Err(nix::Error::ENXIO) => return Err(not_packable(&path)),
            Err(e) => return Err(self.io(&path, e)),
        };
        let stat = fstat(fd.as_fd()).map_err(|e| self.io(&path, e))?;
        #[allow(clippy::useless_conversion, reason = "a u16 on macOS")]
        let mode = u32::from(stat.st_mode) & 0o7777 & !0o022;
        match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFDIR => {
                self.tree.insert(Entry::dir(path.clone(), mode))?;
                let below = Dir::from_fd(fd).map_err(|e| self.io(&path, e))?;
                self.directory(below, &format!("{path}/"))
            }
            SFlag::S_IFREG => {
                let bytes = self.content(fd, &stat, &path)?;
                self.tree.insert(Entry::file(path, mode, bytes))
            }
            _ => Err(not_packable(&path)),
        }
    }

    fn content(&mut self, fd: OwnedFd, stat: &FileStat, path: &str) -> Result<Vec<u8>, FormatError> {
        let left = self.options.max_bytes - self.bytes;
        let said = u64::try_from(stat.st_size).unwrap_or(0);
        let mut bytes = Vec::new();
        if said <= left {
            // A file may grow while it is read: the limit holds for what is read, not for what was said.
            let file = File::from(fd);
            file.take(left + 1)
                .read_to_end(&mut bytes)
                .map_err(|e| FormatError::io(self.full(path), e))?;
        }
        let found = said.max(bytes.len() as u64);
        if found > left {
            let what = format!("{}: bytes of all files", self.root.display());
            return Err(FormatError::TooLarge {
                what,
                size: self.bytes + found,
                limit: self.options.max_bytes,
            });
        }
        self.bytes += bytes.len() as u64;
        Ok(bytes)
    }

    fn full(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn io(&self, path: &str, errno: nix::Error) -> FormatError {
        FormatError::io(self.full(path), errno.into())
    }
}

fn not_packable(path: &str) -> FormatError {
    FormatError::path(
        path,
        "is a device node, FIFO or socket; a package holds files, directories and links",
    )
}
