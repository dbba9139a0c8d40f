//! Taps that let calls fail: as a power cut, a full disk, a path that cannot be written.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use crate::disk::{Op, Tap};

/// Fails the k-th write-like call and, when the power is gone, all after it.
pub(crate) struct Cut {
    pub(crate) left: Cell<u64>,
    pub(crate) for_good: bool,
    pub(crate) error: io::ErrorKind,
}

impl Cut {
    pub(crate) fn power(k: u64) -> Rc<Self> {
        Rc::new(Self {
            left: Cell::new(k),
            for_good: true,
            error: io::ErrorKind::Other,
        })
    }
    /// One call fails, as on a full disk; the next ones go through.
    pub(crate) fn once(k: u64, error: io::ErrorKind) -> Rc<Self> {
        Rc::new(Self {
            left: Cell::new(k),
            for_good: false,
            error,
        })
    }
    pub(crate) fn happened(&self) -> bool {
        self.left.get() == 0 || self.left.get() == u64::MAX
    }
}

impl Tap for Cut {
    fn before(&self, _: &Op<'_>) -> io::Result<()> {
        match self.left.get() {
            u64::MAX => Ok(()),
            0 => {
                if !self.for_good {
                    self.left.set(u64::MAX);
                }
                Err(self.error.into())
            }
            k => {
                self.left.set(k - 1);
                Ok(())
            }
        }
    }
}

/// Fails every write-like call on paths that start so.
pub(crate) struct OnPath {
    prefix: &'static str,
    error: io::ErrorKind,
    /// Calls that it let fail.
    pub(crate) hits: Cell<u32>,
    /// Calls that it lets pass before.
    pub(crate) spare: Cell<u32>,
}

impl OnPath {
    pub(crate) fn failing(prefix: &'static str, error: io::ErrorKind) -> Rc<Self> {
        Rc::new(Self {
            prefix,
            error,
            hits: Cell::new(0),
            spare: Cell::new(0),
        })
    }
}

impl Tap for OnPath {
    fn before(&self, op: &Op<'_>) -> io::Result<()> {
        let path = match op {
            Op::Create(p) | Op::Write(p, ..) | Op::Meta(p, _) | Op::MakeDir(p) | Op::MakeLink(p, _) => p,
            Op::Rename(p, _) | Op::Remove(p) | Op::Truncate(p, _) | Op::Sync(p) | Op::SyncDir(p) => p,
        };
        if !path.starts_with(self.prefix) {
            return Ok(());
        }
        if let Some(left) = self.spare.get().checked_sub(1) {
            self.spare.set(left);
            return Ok(());
        }
        self.hits.set(self.hits.get() + 1);
        Err(self.error.into())
    }
}
