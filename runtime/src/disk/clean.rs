//! Cleaning up: what was put aside, what a crash left, and what a killed process may have left in the cache only.

use std::io::ErrorKind;

use super::sys::{self, Want};
use super::{Disk, DiskError, Kind, Meta, Op, TEMP_PREFIX};

impl Disk {
    /// Removes a directory with all below it, links unfollowed, of whatever kind. For what the plane itself put aside.
    /// What is mounted below is another's: then nothing is removed. Durable when it returns.
    pub(crate) fn remove_tree(&self, path: &str) -> Result<(), DiskError> {
        // Gone already, but perhaps not on the medium: whoever removed it may not have come as far as the fsync.
        let Some(meta) = self.lstat(path)? else {
            return self.settle(path);
        };
        if meta.kind == Kind::Dir {
            let own = format!("/{}", path.trim_start_matches('/'));
            let below = format!("{own}/");
            if let Some(point) = self.mounts().iter().find(|m| **m == own || m.starts_with(&below)) {
                let busy = sys::error(ErrorKind::ResourceBusy);
                return Err(self.err(point, "remove what is mounted there: unmount it", busy));
            }
        }
        self.remove_below(path, &meta)?;
        let (dir, _) = self.walk_to(path)?;
        self.sync_dir(&dir, path)
    }

    /// Makes durable what stands at `path`, or that nothing does, whoever brought that about: a process that was killed
    /// may have done it and not reached the fsync, and what is read is no proof of what is on the medium.
    pub(crate) fn settle(&self, path: &str) -> Result<(), DiskError> {
        let Some((dir, name)) = self.walk(path)? else {
            return Ok(());
        };
        let found = dir.look(name).map(|stat| stat.meta.kind);
        if matches!(found, Ok(Kind::File | Kind::Dir)) {
            let file = dir.open(name, Want::Touch).map_err(|e| self.err(path, "open it", e))?;
            self.tap(&Op::Sync(path))
                .and_then(|()| sys::sync_settled(&file))
                .map_err(|e| self.err(path, "make it durable", e))?;
        }
        self.sync_dir(&dir, path)
    }

    fn remove_below(&self, path: &str, meta: &Meta) -> Result<(), DiskError> {
        if meta.kind == Kind::Dir {
            for name in self.list(path)? {
                let Some(name) = name.to_str() else {
                    let wrong = sys::error(ErrorKind::InvalidData);
                    return Err(self.err(path, "remove a name that is not UTF-8 below it", wrong));
                };
                let inner = format!("{path}/{name}");
                if let Some(found) = self.lstat(&inner)? {
                    self.remove_below(&inner, &found)?;
                }
            }
        }
        let (dir, name) = self.walk_to(path)?;
        self.tap(&Op::Remove(path))
            .map_err(|e| self.err(path, "remove it", e))?;
        dir.remove(name, meta.kind == Kind::Dir)
            .map_err(|e| self.err(path, "remove it", e))
    }

    /// Removes what a crash left under temporary names with `tag` in directory `dir`.
    pub(crate) fn sweep(&self, dir: &str, tag: &str) -> Result<(), DiskError> {
        let prefix = format!("{TEMP_PREFIX}{tag}-");
        for name in self.list(dir)? {
            if let Some(name) = name.to_str().filter(|n| n.starts_with(&prefix)) {
                let path = format!("{dir}/{name}");
                let (handle, _) = self.walk_to(&path)?;
                self.tap(&Op::Remove(&path))
                    .map_err(|e| self.err(dir, "remove a temporary file", e))?;
                handle
                    .remove(name, false)
                    .map_err(|e| self.err(dir, "remove a temporary file", e))?;
                self.sync_dir(&handle, &path)?;
            }
        }
        Ok(())
    }
}
