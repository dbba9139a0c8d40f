//! The operations themselves. Reads first, then writes in the order: temporary name, bytes, owner, mode, fsync, rename,
//! fsync of the directory.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, fsync, symlinkat, unlinkat};

use super::{Attrs, Disk, DiskError, Handle, Kind, Meta, Op, Xattrs, parent, xattr};

impl Disk {
    /// What stands at `path`, or `None`: nothing does below what is not a directory. The last component is not followed.
    pub fn lstat(&self, path: &str) -> Result<Option<Meta>, DiskError> {
        let (dir, name) = match self.walk(path) {
            Ok(Some(found)) => found,
            Ok(None) | Err(DiskError::NotADirectory { .. }) => return Ok(None),
            Err(e) => return Err(e),
        };
        match fstatat(dir.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(meta(&stat))),
            Err(Errno::ENOENT) => Ok(None),
            Err(e) => Err(self.err(path, "look at it", e)),
        }
    }

    /// Whether a directory stands there.
    pub(crate) fn is_dir(&self, path: &str) -> bool {
        self.lstat(path).is_ok_and(|m| m.is_some_and(|m| m.kind == Kind::Dir))
    }

    /// A regular file's bytes and metadata, of one and the same open file. At most `limit` bytes.
    pub fn read(&self, path: &str, limit: u64) -> Result<(Vec<u8>, Meta), DiskError> {
        let (mut file, meta) = self.open_file(path)?;
        if meta.size > limit {
            return Err(DiskError::TooLarge {
                path: self.show(path),
                size: meta.size,
                limit,
            });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(meta.size).unwrap_or(0));
        let read = (&mut file).take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|e| self.err(path, "read it", e))?;
        if bytes.len() as u64 > limit {
            return Err(DiskError::TooLarge {
                path: self.show(path),
                size: bytes.len() as u64,
                limit,
            });
        }
        Ok((bytes, meta))
    }

    /// The extended attributes of a file or directory that undo must bring back; empty where there are none.
    pub fn xattrs(&self, path: &str) -> Result<Xattrs, DiskError> {
        let (dir, name) = self.walk_to(path)?;
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let fd = openat(dir.as_fd(), name, flags, Mode::empty()).map_err(|e| self.err(path, "open it", e))?;
        Ok(xattr::all(fd.as_fd()))
    }

    pub(crate) fn open_file(&self, path: &str) -> Result<(File, Meta), DiskError> {
        let (dir, name) = self.walk_to(path)?;
        // O_NONBLOCK: a FIFO in the place of a file must not hang us before it is refused.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let fd = match openat(dir.as_fd(), name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(e) => {
                if let Ok(target) = readlinkat(dir.as_fd(), name) {
                    let target = target.to_string_lossy().into_owned();
                    return Err(DiskError::LinkInPath {
                        path: self.show(path),
                        component: self.show(path),
                        target,
                    });
                }
                return Err(self.err(path, "open it", e));
            }
        };
        let meta = meta(&fstat(&fd).map_err(|e| self.err(path, "look at it", e))?);
        match meta.kind {
            Kind::File => Ok((File::from(fd), meta)),
            Kind::Special(what) => Err(DiskError::Special {
                path: self.show(path),
                what,
            }),
            Kind::Dir | Kind::Link => Err(DiskError::InTheWay {
                path: self.show(path),
                found: "a directory",
                expected: "a file",
            }),
        }
    }

    /// What a symbolic link holds. Bytes that are not UTF-8 are refused: no document could name them.
    pub fn read_link(&self, path: &str) -> Result<String, DiskError> {
        let (dir, name) = self.walk_to(path)?;
        let target = readlinkat(dir.as_fd(), name).map_err(|e| self.err(path, "read the link", e))?;
        target
            .into_string()
            .map_err(|_| self.err(path, "read the link: its target is not UTF-8", Errno::EILSEQ))
    }

    /// The names in a directory, sorted; `/` for the root itself. Missing directory: empty.
    pub fn list(&self, path: &str) -> Result<Vec<OsString>, DiskError> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
        let opened = if path.is_empty() || path == "/" {
            openat(self.root.as_fd(), ".", flags, Mode::empty())
        } else {
            let Some((dir, name)) = self.walk(path)? else {
                return Ok(Vec::new());
            };
            match openat(dir.as_fd(), name, flags, Mode::empty()) {
                Err(Errno::ENOENT) => return Ok(Vec::new()),
                other => other,
            }
        };
        let failed = |e: Errno| self.err(path, "list the directory", e);
        let mut dir = nix::dir::Dir::from_fd(opened.map_err(failed)?).map_err(failed)?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        names.sort();
        Ok(names)
    }

    /// Puts `bytes` at `path` in one step: whoever opens it sees the old content or the new, never a part, and a power
    /// cut leaves one of the two. Replaces a file or a link (the link itself), nothing else.
    pub fn write_file(&self, path: &str, bytes: &[u8], attrs: Attrs, xattrs: &Xattrs) -> Result<(), DiskError> {
        self.write_with(path, attrs, xattrs, None, &mut |sink| sink.put(bytes))
    }

    /// Owner, attributes and mode of a file that is complete, and its durability.
    pub(super) fn seal(
        &self,
        file: &mut File,
        temp: &str,
        path: &str,
        attrs: Attrs,
        xattrs: &Xattrs,
    ) -> Result<(), DiskError> {
        self.tap(&Op::Meta(temp, attrs))
            .map_err(|e| self.err(path, "set its owner and mode", e))?;
        // chown drops capabilities, and a mode may forbid the rest: the attributes stand between the two.
        self.set_owner_of(file.as_fd(), path, attrs)?;
        xattr::set_all(file.as_fd(), xattrs).map_err(|e| self.err(path, "set its extended attributes", e))?;
        self.set_mode_of(file.as_fd(), path, attrs)?;
        self.tap(&Op::Sync(temp))
            .map_err(|e| self.err(path, "make it durable", e))?;
        // Not fsync(2) itself: on macOS that leaves the bytes in the drive's cache.
        file.sync_all().map_err(|e| self.err(path, "make it durable", e))
    }

    /// Owner first: chown clears setuid bits (chown(2)), so the mode comes after.
    fn set_owner_of(&self, fd: impl AsFd, path: &str, attrs: Attrs) -> Result<(), DiskError> {
        let now = meta(&fstat(&fd).map_err(|e| self.err(path, "look at it", e))?);
        if (now.uid, now.gid) != (attrs.uid, attrs.gid) {
            fchown(&fd, Some(Uid::from_raw(attrs.uid)), Some(Gid::from_raw(attrs.gid)))
                .map_err(|e| self.err(path, "set its owner", e))?;
        }
        Ok(())
    }

    fn set_mode_of(&self, fd: impl AsFd, path: &str, attrs: Attrs) -> Result<(), DiskError> {
        fchmod(&fd, Mode::from_bits_truncate(attrs.mode as _)).map_err(|e| self.err(path, "set its mode", e))
    }

    /// Sets mode and owner of a file or directory that stands there.
    pub fn set_attrs(&self, path: &str, attrs: Attrs) -> Result<(), DiskError> {
        let (dir, name) = self.walk_to(path)?;
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let fd = openat(dir.as_fd(), name, flags, Mode::empty()).map_err(|e| self.err(path, "open it", e))?;
        let meta = meta(&fstat(&fd).map_err(|e| self.err(path, "look at it", e))?);
        self.check_changeable(path, &meta)?;
        self.tap(&Op::Meta(path, attrs))
            .map_err(|e| self.err(path, "set its owner and mode", e))?;
        self.set_owner_of(&fd, path, attrs)?;
        self.set_mode_of(&fd, path, attrs)?;
        self.tap(&Op::Sync(path))
            .map_err(|e| self.err(path, "make it durable", e))?;
        fsync(&fd).map_err(|e| self.err(path, "make it durable", e))
    }

    /// Makes a directory; its parent must be there.
    pub fn make_dir(&self, path: &str, attrs: Attrs) -> Result<(), DiskError> {
        let (dir, name) = self.walk_to(path)?;
        self.tap(&Op::MakeDir(path))
            .map_err(|e| self.err(path, "make the directory", e))?;
        mkdirat(dir.as_fd(), name, Mode::from_bits_truncate(0o700))
            .map_err(|e| self.err(path, "make the directory", e))?;
        self.set_attrs(path, attrs)?;
        self.sync_dir(&dir, path)
    }

    /// Puts a symbolic link at `path` in one step. Replaces a file or a link, nothing else. `owner` is uid and gid.
    pub fn make_link(&self, path: &str, target: &str, owner: (u32, u32)) -> Result<(), DiskError> {
        let (dir, name) = self.walk_to(path)?;
        self.check_replaceable(&dir, path, name)?;
        let temp = self.temp_beside(path);
        let temp_name = last(&temp);
        self.tap(&Op::MakeLink(&temp, target))
            .map_err(|e| self.err(path, "make the link", e))?;
        symlinkat(target, dir.as_fd(), temp_name).map_err(|e| self.err(path, "make the link", e))?;
        let done = (|| {
            let now = fstatat(dir.as_fd(), temp_name, AtFlags::AT_SYMLINK_NOFOLLOW)
                .map_err(|e| self.err(path, "look at it", e))?;
            if (now.st_uid, now.st_gid) != owner {
                let link = Attrs {
                    mode: 0o777,
                    uid: owner.0,
                    gid: owner.1,
                };
                self.tap(&Op::Meta(&temp, link))
                    .map_err(|e| self.err(path, "set its owner", e))?;
                let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
                fchownat(
                    dir.as_fd(),
                    temp_name,
                    Some(uid),
                    Some(gid),
                    AtFlags::AT_SYMLINK_NOFOLLOW,
                )
                .map_err(|e| self.err(path, "set its owner", e))?;
            }
            self.tap(&Op::Rename(&temp, path))
                .map_err(|e| self.err(path, "put it in place", e))?;
            renameat(dir.as_fd(), temp_name, dir.as_fd(), name).map_err(|e| self.err(path, "put it in place", e))
        })();
        if let Err(e) = done {
            self.drop_temp(&dir, &temp);
            return Err(e);
        }
        self.sync_dir(&dir, path)
    }

    /// Removes a file, a link or an empty directory. Missing is fine.
    pub fn remove(&self, path: &str) -> Result<(), DiskError> {
        let Some(meta) = self.lstat(path)? else { return Ok(()) };
        let (dir, name) = self.walk_to(path)?;
        self.check_changeable(path, &meta)?;
        self.tap(&Op::Remove(path))
            .map_err(|e| self.err(path, "remove it", e))?;
        let flag = if meta.kind == Kind::Dir {
            UnlinkatFlags::RemoveDir
        } else {
            UnlinkatFlags::NoRemoveDir
        };
        unlinkat(dir.as_fd(), name, flag).map_err(|e| self.err(path, "remove it", e))?;
        self.sync_dir(&dir, path)
    }

    /// Gives what stands at `from` the name `to` in the same directory. `to` must be free.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        let (dir, old) = self.walk_to(from)?;
        if parent(from) != parent(to) {
            return Err(DiskError::BadPath {
                path: to.to_owned(),
                why: "it is in another directory",
            });
        }
        if fstatat(dir.as_fd(), last(to), AtFlags::AT_SYMLINK_NOFOLLOW).is_ok() {
            return Err(self.err(to, "take the name", Errno::EEXIST));
        }
        self.tap(&Op::Rename(from, to))
            .map_err(|e| self.err(from, "rename it", e))?;
        renameat(dir.as_fd(), old, dir.as_fd(), last(to)).map_err(|e| self.err(from, "rename it", e))?;
        self.sync_dir(&dir, from)
    }

    /// Appends to a log file (made 0600 when missing) and makes the bytes durable. One write, one fsync.
    pub fn append(&self, path: &str, bytes: &[u8]) -> Result<(), DiskError> {
        let (dir, name) = self.walk_to(path)?;
        let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let (fd, new) = match openat(dir.as_fd(), name, flags, Mode::empty()) {
            Ok(fd) => (fd, false),
            Err(Errno::ENOENT) => {
                self.tap(&Op::Create(path)).map_err(|e| self.err(path, "make it", e))?;
                let flags = flags | OFlag::O_CREAT | OFlag::O_EXCL;
                let fd = openat(dir.as_fd(), name, flags, Mode::from_bits_truncate(0o600))
                    .map_err(|e| self.err(path, "make it", e))?;
                (fd, true)
            }
            Err(e) => return Err(self.err(path, "open it", e)),
        };
        let mut file = File::from(fd);
        self.tap(&Op::Write(path, u64::MAX, bytes))
            .map_err(|e| self.err(path, "append to it", e))?;
        file.write_all(bytes).map_err(|e| self.err(path, "append to it", e))?;
        self.tap(&Op::Sync(path))
            .map_err(|e| self.err(path, "make it durable", e))?;
        file.sync_all().map_err(|e| self.err(path, "make it durable", e))?;
        if new { self.sync_dir(&dir, path) } else { Ok(()) }
    }

    /// Overwrites bytes in place, without fsync: for what may lag.
    pub(crate) fn overwrite(&self, path: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let (dir, name) = self.walk_to(path)?;
        let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(dir.as_fd(), name, flags, Mode::empty()).map_err(|e| self.err(path, "open it", e))?;
        self.tap(&Op::Write(path, offset, bytes))
            .map_err(|e| self.err(path, "write it", e))?;
        File::from(fd)
            .write_all_at(bytes, offset)
            .map_err(|e| self.err(path, "write it", e))
    }

    /// Cuts a file to `length` bytes, durably.
    pub(crate) fn truncate(&self, path: &str, length: u64) -> Result<(), DiskError> {
        let (dir, name) = self.walk_to(path)?;
        let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(dir.as_fd(), name, flags, Mode::empty()).map_err(|e| self.err(path, "open it", e))?;
        self.tap(&Op::Truncate(path, length))
            .map_err(|e| self.err(path, "cut it", e))?;
        let file = File::from(fd);
        file.set_len(length)
            .and_then(|()| file.sync_all())
            .map_err(|e| self.err(path, "cut it", e))
    }

    /// A directory of the plane's own, 0700, with its parents.
    pub fn ensure_dir(&self, path: &str) -> Result<(), DiskError> {
        if self.lstat(path)?.is_some_and(|m| m.kind == Kind::Dir) {
            return Ok(());
        }
        if let Some(above) = parent(path).filter(|p| !p.is_empty()) {
            self.ensure_dir(above)?;
        }
        let attrs = Attrs {
            mode: 0o700,
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
        };
        match self.make_dir(path, attrs) {
            Err(DiskError::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// Opens (making it 0600) a file for locking.
    pub(crate) fn lock_file(&self, path: &str) -> Result<File, DiskError> {
        let (dir, name) = self.walk_to(path)?;
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(dir.as_fd(), name, flags, Mode::from_bits_truncate(0o600))
            .map_err(|e| self.err(path, "open the lock", e))?;
        Ok(File::from(fd))
    }

    /// The plane's own file: 0600, owned by whoever runs it, replaced in one step.
    pub fn write_private(&self, path: &str, bytes: &[u8]) -> Result<(), DiskError> {
        let attrs = Attrs {
            mode: 0o600,
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
        };
        self.write_file(path, bytes, attrs, &Vec::new())
    }

    pub(super) fn check_replaceable(&self, dir: &Handle<'_>, path: &str, name: &str) -> Result<(), DiskError> {
        match fstatat(dir.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => Ok(()),
            Err(e) => Err(self.err(path, "look at it", e)),
            Ok(stat) => {
                let meta = meta(&stat);
                self.check_changeable(path, &meta)?;
                if meta.kind == Kind::Dir {
                    let (found, expected) = ("a directory", "a file, a link or nothing");
                    return Err(DiskError::InTheWay {
                        path: self.show(path),
                        found,
                        expected,
                    });
                }
                Ok(())
            }
        }
    }

    /// The rule for everything that is changed or removed: no special files, no file with several names.
    pub(crate) fn check_changeable(&self, path: &str, meta: &Meta) -> Result<(), DiskError> {
        match meta.kind {
            Kind::Special(what) => Err(DiskError::Special {
                path: self.show(path),
                what,
            }),
            Kind::File if meta.links > 1 => Err(DiskError::HardLinked {
                path: self.show(path),
                links: meta.links,
            }),
            _ => Ok(()),
        }
    }

    /// After a failure the temporary file goes; if even that fails, recovery sweeps it.
    pub(super) fn drop_temp(&self, dir: &Handle<'_>, temp: &str) {
        if self.tap(&Op::Remove(temp)).is_ok() {
            let _ = unlinkat(dir.as_fd(), last(temp), UnlinkatFlags::NoRemoveDir);
        }
    }

    pub(super) fn sync_dir(&self, dir: &Handle<'_>, path: &str) -> Result<(), DiskError> {
        self.tap(&Op::SyncDir(path))
            .map_err(|e| self.err(path, "make its directory durable", e))?;
        match fsync(dir) {
            // Some file systems cannot sync a directory (EINVAL, fsync(2)); their renames are ordered by themselves.
            Ok(()) | Err(Errno::EINVAL) => Ok(()),
            Err(e) => Err(self.err(path, "make its directory durable", e)),
        }
    }
}

pub(super) fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

// The field types differ between Linux, 32-bit Linux and macOS: some of the conversions are none here and needed there.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
pub(super) fn meta(stat: &FileStat) -> Meta {
    let mode = stat.st_mode as u32;
    let kind = match mode & 0o170_000 {
        0o100_000 => Kind::File,
        0o040_000 => Kind::Dir,
        0o120_000 => Kind::Link,
        0o010_000 => Kind::Special("a FIFO"),
        0o140_000 => Kind::Special("a socket"),
        0o060_000 => Kind::Special("a block device"),
        0o020_000 => Kind::Special("a character device"),
        _ => Kind::Special("something unknown"),
    };
    Meta {
        kind,
        mode: mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        links: stat.st_nlink as u64,
        inode: stat.st_ino as u64,
    }
}
