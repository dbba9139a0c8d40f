//! Accounts: names to numbers, and the files that say so.
//!
//! Owns the question which number a name has: in the running system, in the root that is being prepared, or in the
//! account files as a plan will leave them.

mod edit;
#[cfg(unix)]
mod lock;
mod table;
#[cfg(test)]
mod tests;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use jos_schemas::text::Owner;

use crate::disk::Disk;

pub(crate) use edit::{Files, User as WantedUser, is_hash};
#[cfg(unix)]
pub(crate) use lock::Lock;
pub(crate) use table::Table;
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;
#[cfg(windows)]
pub(crate) use windows::Lock;

const LIMIT: u64 = 4 * 1024 * 1024;

/// uid and gid of `owner`; a user alone stands for itself and its primary group. `live` asks the system (which may know
/// accounts that no file lists), else the files of the root are read. `passwd` and `group` are those files as a plan
/// leaves them, where it changes them: they come first.
pub(crate) fn resolve(
    disk: &Disk,
    live: bool,
    owner: &Owner,
    passwd: Option<&Table>,
    group_file: Option<&Table>,
) -> Result<(u32, u32), String> {
    let mut parts = owner.as_str().split(':');
    let (user, group) = (parts.next().unwrap_or_default(), parts.next());
    let planned_user = |table: &Table| {
        let at = table.find(user)?;
        Some((table.id(at, 2)?, table.id(at, 3)?))
    };
    let planned_group = |table: &Table, name: &str| table.id(table.find(name)?, 2);
    let found = passwd.and_then(planned_user).or_else(|| user_of(disk, live, user));
    let uid = match (&found, user.parse::<u32>()) {
        (Some((uid, _)), _) => *uid,
        (None, Ok(uid)) => uid,
        (None, Err(_)) => return Err(unknown(disk, "user", user)),
    };
    let gid = match group {
        None => found.map_or(uid, |(_, gid)| gid),
        Some(group) => match (
            group_file
                .and_then(|t| planned_group(t, group))
                .or_else(|| group_of(disk, live, group)),
            group.parse::<u32>(),
        ) {
            (Some(gid), _) | (None, Ok(gid)) => gid,
            (None, Err(_)) => return Err(unknown(disk, "group", group)),
        },
    };
    // (uid_t)-1 means "do not change" to chown(2).
    if uid == u32::MAX || gid == u32::MAX {
        return Err(format!("owner {owner}: 4294967295 is no id"));
    }
    Ok((uid, gid))
}

fn unknown(disk: &Disk, what: &str, name: &str) -> String {
    let file = disk.show(if what == "user" { "/etc/passwd" } else { "/etc/group" });
    format!("unknown owner: {file} has no {what} {name:?}; create it first, or give its number")
}

fn user_of(disk: &Disk, live: bool, name: &str) -> Option<(u32, u32)> {
    if let Some(ids) = system::user(name).filter(|_| live) {
        return Some(ids);
    }
    let line = line_of(disk, "/etc/passwd", name);
    match line {
        // passwd(5): name:password:UID:GID:…
        Some(line) => {
            let mut fields = line.split(':').skip(2).map(|f| f.parse().ok());
            Some((fields.next()??, fields.next()??))
        }
        None if name == "root" => Some((0, 0)),
        None => None,
    }
}

fn group_of(disk: &Disk, live: bool, name: &str) -> Option<u32> {
    if let Some(gid) = system::group(name).filter(|_| live) {
        return Some(gid);
    }
    match line_of(disk, "/etc/group", name) {
        // group(5): name:password:GID:…
        Some(line) => line.split(':').nth(2)?.parse().ok(),
        None if name == "root" => Some(0),
        None => None,
    }
}

fn line_of(disk: &Disk, file: &str, name: &str) -> Option<String> {
    let (bytes, _) = disk.read(file, LIMIT).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.lines()
        .find(|l| l.split(':').next() == Some(name))
        .map(str::to_owned)
}
