//! The operations themselves. Reads first, then writes in the order: temporary name, bytes, owner, mode, fsync, rename,
//! fsync of the directory.

use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};

use super::sys::{self, Want};
use super::{Attrs, Disk, DiskError, Handle, Kind, Meta, Op, Xattrs, parent};

impl Disk {
    /// What stands at `path`, or `None`: nothing does below what is not a directory. The last component is not followed.
    pub fn lstat(&self, path: &str) -> Result<Option<Meta>, DiskError> {
        let (dir, name) = match self.walk(path) {
            Ok(Some(found)) => found,
            Ok(None) | Err(DiskError::NotADirectory { .. }) => return Ok(None),
            Err(e) => return Err(e),
        };
        match dir.look(name) {
            Ok(stat) => Ok(Some(stat.meta)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
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
        let file = dir.open(name, Want::Read).map_err(|e| self.err(path, "open it", e))?;
        Ok(sys::xattrs(&file))
    }

    pub(crate) fn open_file(&self, path: &str) -> Result<(File, Meta), DiskError> {
        let (dir, name) = self.walk_to(path)?;
        let file = match dir.open(name, Want::Read) {
            Ok(file) => file,
            Err(e) => {
                if let Some(target) = dir.link_words(name) {
                    return Err(DiskError::LinkInPath {
                        path: self.show(path),
                        component: self.show(path),
                        target,
                    });
                }
                return Err(self.err(path, "open it", e));
            }
        };
        let meta = sys::look_at(&file).map_err(|e| self.err(path, "look at it", e))?.meta;
        match meta.kind {
            Kind::File => Ok((file, meta)),
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
        let target = dir.target(name).map_err(|e| self.err(path, "read the link", e))?;
        let wrong = |_| sys::error(ErrorKind::InvalidData);
        let text = target.into_string().map_err(wrong);
        text.map_err(|e| self.err(path, "read the link: its target is not UTF-8", e))
    }

    /// The names in a directory, sorted; `/` for the root itself. Missing directory: empty.
    pub fn list(&self, path: &str) -> Result<Vec<OsString>, DiskError> {
        let opened = if path.is_empty() || path == "/" {
            self.root.again()
        } else {
            let Some((dir, name)) = self.walk(path)? else {
                return Ok(Vec::new());
            };
            match dir.enter(name) {
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
                other => other,
            }
        };
        let names = opened.and_then(sys::Dir::names);
        let mut names = names.map_err(|e| self.err(path, "list the directory", e))?;
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
        self.set_owner_of(file, path, attrs)?;
        sys::set_xattrs(file, xattrs).map_err(|e| self.err(path, "set its extended attributes", e))?;
        self.set_mode_of(file, path, attrs)?;
        self.tap(&Op::Sync(temp))
            .map_err(|e| self.err(path, "make it durable", e))?;
        // Not fsync(2) itself: on macOS that leaves the bytes in the drive's cache.
        file.sync_all().map_err(|e| self.err(path, "make it durable", e))
    }

    fn set_owner_of(&self, file: &File, path: &str, attrs: Attrs) -> Result<(), DiskError> {
        let now = sys::look_at(file).map_err(|e| self.err(path, "look at it", e))?.meta;
        if (now.uid, now.gid) != (attrs.uid, attrs.gid) {
            sys::set_owner(file, attrs).map_err(|e| self.err(path, "set its owner", e))?;
        }
        Ok(())
    }

    fn set_mode_of(&self, file: &File, path: &str, attrs: Attrs) -> Result<(), DiskError> {
        sys::set_mode(file, attrs).map_err(|e| self.err(path, "set its mode", e))
    }

    /// Sets mode and owner of a file or directory that stands there.
    pub fn set_attrs(&self, path: &str, attrs: Attrs) -> Result<(), DiskError> {
        let (dir, name) = self.walk_to(path)?;
        let file = dir.open(name, Want::Touch).map_err(|e| self.err(path, "open it", e))?;
        let meta = sys::look_at(&file).map_err(|e| self.err(path, "look at it", e))?.meta;
        self.check_changeable(path, &meta)?;
        self.tap(&Op::Meta(path, attrs))
            .map_err(|e| self.err(path, "set its owner and mode", e))?;
        self.set_owner_of(&file, path, attrs)?;
        self.set_mode_of(&file, path, attrs)?;
        self.tap(&Op::Sync(path))
            .map_err(|e| self.err(path, "make it durable", e))?;
        sys::sync_touched(&file).map_err(|e| self.err(path, "make it durable", e))
    }

    /// Makes a directory; its parent must be there.
    pub fn make_dir(&self, path: &str, attrs: Attrs) -> Result<(), DiskError> {
        let (dir, name) = self.walk_to(path)?;
        self.tap(&Op::MakeDir(path))
            .map_err(|e| self.err(path, "make the directory", e))?;
        dir.make_dir(name)
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
        dir.make_link(temp_name, target)
            .map_err(|e| self.err(path, "make the link", e))?;
        let done = (|| {
            let now = dir.look(temp_name).map_err(|e| self.err(path, "look at it", e))?.meta;
            if (now.uid, now.gid) != owner {
                let link = Attrs {
                    mode: 0o777,
                    uid: owner.0,
                    gid: owner.1,
                };
                self.tap(&Op::Meta(&temp, link))
                    .map_err(|e| self.err(path, "set its owner", e))?;
                dir.own_link(temp_name, link)
                    .map_err(|e| self.err(path, "set its owner", e))?;
            }
            self.tap(&Op::Rename(&temp, path))
                .map_err(|e| self.err(path, "put it in place", e))?;
            dir.rename(temp_name, name)
                .map_err(|e| self.err(path, "put it in place", e))
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
        dir.remove(name, meta.kind == Kind::Dir)
            .map_err(|e| self.err(path, "remove it", e))?;
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
        if dir.look(last(to)).is_ok() {
            return Err(self.err(to, "take the name", sys::error(ErrorKind::AlreadyExists)));
        }
        self.tap(&Op::Rename(from, to))
            .map_err(|e| self.err(from, "rename it", e))?;
        dir.rename(old, last(to)).map_err(|e| self.err(from, "rename it", e))?;
        self.sync_dir(&dir, from)
    }

    /// Appends to a log file (made 0600 when missing) and makes the bytes durable. One write, one fsync.
    pub fn append(&self, path: &str, bytes: &[u8]) -> Result<(), DiskError> {
        let (dir, name) = self.walk_to(path)?;
        let (mut file, new) = match dir.open(name, Want::Append) {
            Ok(file) => (file, false),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                self.tap(&Op::Create(path)).map_err(|e| self.err(path, "make it", e))?;
                let file = dir.open(name, Want::AppendNew);
                (file.map_err(|e| self.err(path, "make it", e))?, true)
            }
            Err(e) => return Err(self.err(path, "open it", e)),
        };
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
        let file = dir.open(name, Want::Write).map_err(|e| self.err(path, "open it", e))?;
        self.tap(&Op::Write(path, offset, bytes))
            .map_err(|e| self.err(path, "write it", e))?;
        sys::write_at(&file, bytes, offset).map_err(|e| self.err(path, "write it", e))
    }

    /// Cuts a file to `length` bytes, durably.
    pub(crate) fn truncate(&self, path: &str, length: u64) -> Result<(), DiskError> {
        let (dir, name) = self.walk_to(path)?;
        let file = dir.open(name, Want::Write).map_err(|e| self.err(path, "open it", e))?;
        self.tap(&Op::Truncate(path, length))
            .map_err(|e| self.err(path, "cut it", e))?;
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
        match self.make_dir(path, Attrs::mine(0o700)) {
            Err(DiskError::Io { source, .. }) if source.kind() == ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// Opens (making it 0600) a file for locking.
    pub(crate) fn lock_file(&self, path: &str) -> Result<File, DiskError> {
        let (dir, name) = self.walk_to(path)?;
        dir.open(name, Want::Lock)
            .map_err(|e| self.err(path, "open the lock", e))
    }

    /// The plane's own file: 0600, owned by whoever runs it, replaced in one step.
    pub fn write_private(&self, path: &str, bytes: &[u8]) -> Result<(), DiskError> {
        self.write_file(path, bytes, Attrs::mine(0o600), &Vec::new())
    }

    pub(super) fn check_replaceable(&self, dir: &Handle<'_>, path: &str, name: &str) -> Result<(), DiskError> {
        match dir.look(name) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(self.err(path, "look at it", e)),
            Ok(sys::Stat { meta, .. }) => {
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
            let _ = dir.remove(last(temp), false);
        }
    }

    pub(super) fn sync_dir(&self, dir: &Handle<'_>, path: &str) -> Result<(), DiskError> {
        self.tap(&Op::SyncDir(path))
            .map_err(|e| self.err(path, "make its directory durable", e))?;
        dir.sync().map_err(|e| self.err(path, "make its directory durable", e))
    }
}

pub(super) fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
