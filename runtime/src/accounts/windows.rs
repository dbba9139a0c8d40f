//! Windows keeps no account in a file, and none by a number: the gate refuses the steps that would need one.

use crate::disk::Disk;
use crate::world::Clock;

/// The lock that everybody takes who edits account files: there are none.
pub(crate) struct Lock;

impl Lock {
    /// Whether `path` is edited under the lock.
    pub(crate) fn guards(_: &str) -> bool {
        false
    }

    pub(crate) fn take(_: &Disk, _: &dyn Clock) -> Result<Self, String> {
        Err("accounts are not managed on Windows".into())
    }
}

/// uid and gid of a user.
pub(super) fn user(_: &str) -> Option<(u32, u32)> {
    None
}

/// gid of a group.
pub(super) fn group(_: &str) -> Option<u32> {
    None
}
