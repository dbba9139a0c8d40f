//! What the running system knows of accounts, also of those that no file lists.

use nix::unistd::{Group, User};

/// uid and gid of a user.
pub(super) fn user(name: &str) -> Option<(u32, u32)> {
    let user = User::from_name(name).ok().flatten()?;
    Some((user.uid.as_raw(), user.gid.as_raw()))
}

/// gid of a group.
pub(super) fn group(name: &str) -> Option<u32> {
    Some(Group::from_name(name).ok().flatten()?.gid.as_raw())
}
