//! File operations below one directory, by descriptors, component by component.
//!
//! Owns: every read and write that the plane does, on the managed tree and in its own data directory. Never follows a
//! symbolic link in any component, never writes through a name that it checked earlier, never leaves a half-written
//! file under its real name. Each write-like call passes a [`Tap`] first, so that a test can fail or record it.
//!
//! How a path is walked is written in `walk.rs`: the descriptor that is used is the one that was checked (CWE-367,
//! CWE-59). What is mounted below is entered; what is linked is not.

mod clean;
mod error;
mod grow;
mod mounts;
mod ops;
mod own;
mod stream;
mod sys;
#[cfg(test)]
mod tests;
mod walk;

use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

pub use error::DiskError;
pub(crate) use grow::Short;
pub(crate) use mounts::Mounts;
pub(crate) use stream::Sink;
pub use sys::{base as native, make_private, make_private_new, managed, may_give_away};
pub(crate) use sys::{damage, escaped, me, number_of};
use walk::{Handle, Way};

/// A write-like call, as a [`Tap`] sees it just before it is made. Paths are relative to the disk's root.
#[derive(Debug)]
pub enum Op<'a> {
    /// A new file under a temporary name, or a new log file.
    Create(&'a str),
    /// Bytes into a file at an offset.
    Write(&'a str, u64, &'a [u8]),
    /// Owner, permission bits or extended attributes.
    Meta(&'a str, Attrs),
    /// A new directory.
    MakeDir(&'a str),
    /// A new symbolic link, with its target.
    MakeLink(&'a str, &'a str),
    /// One name takes the place of another.
    Rename(&'a str, &'a str),
    /// A file, link or empty directory goes.
    Remove(&'a str),
    /// A file is cut to a length.
    Truncate(&'a str, u64),
    /// A file's bytes become durable.
    Sync(&'a str),
    /// A directory's names become durable.
    SyncDir(&'a str),
}

/// Stands below the disk: may refuse a call (a test's power cut), or note it down (a test's recording).
pub trait Tap {
    /// Called before each write-like call; an error stands for the call's own failure.
    fn before(&self, op: &Op<'_>) -> io::Result<()>;
}

/// What stands at a path. Never the target of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Link,
    /// FIFO, socket or device; with its name for messages.
    Special(&'static str),
}

/// The metadata that the plane keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky: 0 to 0o7777.
    pub mode: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Hard links to it.
    pub links: u64,
    /// Which file it is on its file system.
    pub inode: u64,
}

/// Permission bits and owner that a path is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attrs {
    /// 0 to 0o7777.
    pub mode: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Attrs {
    /// Of what this process keeps for itself.
    pub(crate) fn mine(mode: u32) -> Self {
        let (uid, gid) = sys::me();
        Self { mode, uid, gid }
    }
}

/// Extended attributes by name, values in hex (they are bytes).
pub type Xattrs = Vec<(String, String)>;

/// A directory opened once; everything below it is reached through its descriptor.
pub struct Disk {
    root: sys::Dir,
    shown: PathBuf,
    way: Cell<Way>,
    tap: Option<Rc<dyn Tap>>,
    tag: RefCell<String>,
    counter: Cell<u32>,
    /// What nothing may reach, where somebody said so.
    own: RefCell<Option<Rc<own::Own>>>,
}

/// The start of every temporary name.
pub(crate) const TEMP_PREFIX: &str = ".jos-";

impl Disk {
    /// Opens `root`, following links in `root` itself: whoever names the root vouches for it. `tag` makes temporary
    /// names unpredictable: random hex from the caller.
    pub fn open(root: &Path, tag: &str) -> Result<Self, DiskError> {
        let dir = sys::Dir::root(&sys::base(root))
            .map_err(|e| DiskError::io(root.display().to_string(), "open the root directory", e))?;
        let (tag, counter) = (RefCell::new(tag.to_owned()), Cell::new(0));
        Ok(Self {
            root: dir,
            shown: root.to_owned(),
            way: Way::first(),
            tap: None,
            tag,
            counter,
            own: RefCell::default(),
        })
    }

    /// Puts a tap below every write-like call.
    #[must_use]
    pub fn with_tap(mut self, tap: Rc<dyn Tap>) -> Self {
        self.tap = Some(tap);
        self
    }

    /// Reaches directories this way, whatever the kernel knows.
    #[cfg(test)]
    fn by(self, way: Way) -> Self {
        self.way.set(way);
        self
    }

    /// The directory as it was named.
    pub fn root(&self) -> &Path {
        &self.shown
    }

    /// Changes the random part of temporary names; the journal remembers it, so that recovery finds what a crash left.
    pub(crate) fn set_tag(&self, tag: &str) {
        tag.clone_into(&mut self.tag.borrow_mut());
    }

    /// A name beside `path` that nothing has and nobody could guess.
    fn temp_beside(&self, path: &str) -> String {
        let n = self.counter.get();
        self.counter.set(n.wrapping_add(1));
        let dir = parent(path).unwrap_or("");
        let slash = if dir.is_empty() && !path.starts_with('/') {
            ""
        } else {
            "/"
        };
        format!("{dir}{slash}{TEMP_PREFIX}{}-{n}", self.tag.borrow())
    }

    fn tap(&self, op: &Op<'_>) -> io::Result<()> {
        self.tap.as_ref().map_or(Ok(()), |t| t.before(op))
    }

    /// `path` as a person would type it.
    pub(crate) fn show(&self, path: &str) -> String {
        if self.shown == Path::new("/") && path.starts_with('/') {
            return path.to_owned();
        }
        self.shown.join(path.trim_start_matches('/')).display().to_string()
    }

    fn err(&self, path: &str, doing: &'static str, e: impl Into<io::Error>) -> DiskError {
        DiskError::io(self.show(path), doing, e.into())
    }
}

/// The directory part of a path: `""` for a single relative component and for a child of `/`.
pub(crate) fn parent(path: &str) -> Option<&str> {
    path.rfind('/').map(|i| &path[..i])
}
