//! Content that is not held in memory: written, and hashed, piece by piece.

use std::fs::File;
use std::io::{self, Read, Write};

use jos_trust::Digest;
use jos_trust::digest::Hasher;

use super::ops::last;
use super::sys::Want;
use super::{Attrs, Disk, DiskError, Meta, Op, Xattrs};

/// Bytes of one piece.
const PIECE: usize = 64 * 1024;

/// A temporary file that is being written.
pub(crate) struct Sink<'s> {
    disk: &'s Disk,
    file: File,
    temp: String,
    path: &'s str,
    written: u64,
}

impl Sink<'_> {
    /// Appends a piece.
    pub(crate) fn put(&mut self, piece: &[u8]) -> Result<(), DiskError> {
        let failed = |e| self.disk.err(self.path, "write it", e);
        self.disk
            .tap(&Op::Write(&self.temp, self.written, piece))
            .and_then(|()| self.file.write_all(piece))
            .map_err(failed)?;
        self.written += piece.len() as u64;
        Ok(())
    }

    /// Bytes so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// What is wrong with the content, as an error of this file.
    pub(crate) fn wrong(&self, what: String) -> DiskError {
        self.disk.err(
            self.path,
            "take the content",
            io::Error::new(io::ErrorKind::InvalidData, what),
        )
    }

    /// Copies `from` to its end, which must come after `size` bytes with `sha256`: what is checked is what was written.
    pub(crate) fn copy(&mut self, from: &mut dyn Read, sha256: &Digest, size: u64) -> Result<(), DiskError> {
        let (mut hasher, mut piece) = (Hasher::default(), vec![0; PIECE]);
        loop {
            let n = match from.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(self.disk.err(self.path, "read its content", e)),
            };
            if self.written + n as u64 > size {
                return Err(self.wrong(format!("more than the {size} bytes that the state names")));
            }
            hasher.update(&piece[..n]);
            self.put(&piece[..n])?;
        }
        if self.written < size {
            return Err(self.wrong(format!("{} bytes, the state names {size}", self.written)));
        }
        let found = hasher.finish();
        if found != *sha256 {
            return Err(self.wrong(format!("its SHA-256 is {found}, the state names {sha256}")));
        }
        Ok(())
    }
}

impl Disk {
    /// Puts what `fill` writes at `path` in one step, as [`Disk::write_file`] does. What stands there may first take the
    /// name `aside`, in the same directory, where it is whole and can be given back.
    pub(crate) fn write_with(
        &self,
        path: &str,
        attrs: Attrs,
        xattrs: &Xattrs,
        aside: Option<&str>,
        fill: &mut dyn FnMut(&mut Sink<'_>) -> Result<(), DiskError>,
    ) -> Result<(), DiskError> {
        let (dir, name) = self.walk_to(path)?;
        self.check_replaceable(&dir, path, name)?;
        let temp = self.temp_beside(path);
        self.tap(&Op::Create(&temp))
            .map_err(|e| self.err(path, "make a temporary file", e))?;
        // 0600 until the owner is right: nobody who may not read the result can read it on the way.
        let file = dir
            .open(last(&temp), Want::New)
            .map_err(|e| self.err(path, "make a temporary file beside it", e))?;
        let mut sink = Sink {
            disk: self,
            file,
            temp,
            path,
            written: 0,
        };
        let filled = fill(&mut sink).and_then(|()| {
            self.seal(&mut sink.file, &sink.temp, path, attrs, xattrs)?;
            if let Some(aside) = aside {
                self.set_aside(&dir, path, name, aside)?;
            }
            self.tap(&Op::Rename(&sink.temp, path))
                .map_err(|e| self.err(path, "put it in place", e))?;
            dir.rename(last(&sink.temp), name)
                .map_err(|e| self.err(path, "put it in place", e))
        });
        if let Err(e) = filled {
            self.drop_temp(&dir, &sink.temp);
            return Err(e);
        }
        self.sync_dir(&dir, path)
    }

    /// What stands at `path` takes the name `aside`, unless something has that name already: then it was moved before.
    fn set_aside(&self, dir: &super::Handle<'_>, path: &str, name: &str, aside: &str) -> Result<(), DiskError> {
        let there = |name: &str| dir.look(name).is_ok();
        if !there(name) || there(last(aside)) {
            return Ok(());
        }
        self.tap(&Op::Rename(path, aside))
            .map_err(|e| self.err(path, "put it aside", e))?;
        dir.rename(name, last(aside))
            .map_err(|e| self.err(path, "put it aside", e))
    }

    /// A regular file's SHA-256, read piece by piece.
    pub(crate) fn hash(&self, path: &str) -> Result<(Digest, Meta), DiskError> {
        let (mut file, meta) = self.open_file(path)?;
        let (mut hasher, mut piece) = (Hasher::default(), vec![0; PIECE]);
        loop {
            match file.read(&mut piece) {
                Ok(0) => return Ok((hasher.finish(), meta)),
                Ok(n) => hasher.update(&piece[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.err(path, "read it", e)),
            }
        }
    }
}
