//! The operating system below the disk: an open directory, and what can be done with one name in it.
//!
//! Owns the seam between systems. `unix.rs` speaks in descriptors and the `…at` calls, `windows.rs` in handles and NT's opens
//! relative to a handle; both offer the same names, so that nothing above knows which system it is on. A name is one
//! component that the walk has checked; a symbolic link (a reparse point) at it is never followed.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;
#[cfg(any(windows, test))]
mod windows_names;
#[cfg(windows)]
mod windows_paths;
#[cfg(windows)]
mod windows_security;
#[cfg(unix)]
mod xattr;

#[cfg(unix)]
pub use unix::*;
#[cfg(windows)]
pub use windows::*;

use super::Meta;

/// Which file it is, on which file system.
pub(crate) type Id = (u64, u64);

/// What a look at a name shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    pub(crate) meta: Meta,
    pub(crate) id: Id,
}

/// How a name is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// To read a file. Never hangs, whatever stands there.
    Read,
    /// A file or a directory, to change what it says of itself and to make it durable.
    Touch,
    /// A new file, to write it: nothing may stand there.
    New,
    /// A file that is there, to write after its end.
    Append,
    /// A new one, to write after its end.
    AppendNew,
    /// One that is there, or a new one.
    AppendOrNew,
    /// A file that is there, to write in its middle.
    Write,
    /// A file to lock, made where it is missing.
    Lock,
}
