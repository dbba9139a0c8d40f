//! Damage is survived: a damaged ledger is set aside as it is, within a limit of bytes, and a new one begins.
//!
//! ```text
//! NAME/ledger             the one that is written
//! NAME/ledger.damaged-3   the last that was set aside; then 2, 1, …; the oldest go first
//! ```

use jos_trust::Digest;
use serde::Serialize;

use super::head::Head;
use super::{LedgerError, LedgerHead, segment};
use crate::disk::{Disk, Kind};

/// A ledger that was set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Aside {
    /// Its folder's name, beside `ledger`.
    pub folder: String,
    /// What is wrong with it.
    pub what: String,
    /// In which segment, where it is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment: Option<u32>,
    /// At which byte of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// How far it is good.
    pub good: LedgerHead,
    /// How far its head says that it went, where that can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claimed: Option<LedgerHead>,
}

/// The numbers of the ledgers set aside beside `ledger` in `dir`, oldest first.
fn numbers(disk: &Disk, dir: &str) -> Result<Vec<u32>, LedgerError> {
    let mut numbers = Vec::new();
    for name in disk.list(dir)? {
        let digits = name.to_str().and_then(|n| n.strip_prefix("ledger.damaged-"));
        numbers.extend(
            digits
                .filter(|d| !d.starts_with('0'))
                .and_then(|d| d.parse::<u32>().ok()),
        );
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn folder(number: u32) -> String {
    format!("ledger.damaged-{number}")
}

/// The folders of the ledgers set aside in `dir` (`portal`), oldest first.
pub fn asides(disk: &Disk, dir: &str) -> Result<Vec<String>, LedgerError> {
    Ok(numbers(disk, dir)?.into_iter().map(folder).collect())
}

/// Gives the ledger of `dir` another name. One rename: a power cut leaves it where it was, or set aside.
pub(crate) fn set_aside(disk: &Disk, dir: &str) -> Result<(), LedgerError> {
    let number = numbers(disk, dir)?.last().map_or(1, |n| n + 1);
    Ok(disk.rename(&format!("{dir}/ledger"), &format!("{dir}/{}", folder(number)))?)
}

/// Sets the ledger of `dir` aside where it is damaged, within `limit` bytes for all that were, and gives what is wrong with
/// it. For a ledger that no plane keeps; whoever calls sees to it that nobody else does at the same time.
pub fn set_aside_damaged(disk: &Disk, dir: &str, limit: u64) -> Result<Option<Aside>, LedgerError> {
    match super::Ledger::open(disk, &format!("{dir}/ledger")) {
        Err(e) if e.is_damage() => {
            set_aside(disk, dir)?;
            let aside = newest(disk, dir)?;
            trim(disk, dir, limit)?;
            Ok(aside)
        }
        opened => opened.map(|_| None),
    }
}

/// The newest ledger set aside, and what is wrong with it: found by reading it again.
pub(crate) fn newest(disk: &Disk, dir: &str) -> Result<Option<Aside>, LedgerError> {
    let Some(number) = numbers(disk, dir)?.pop() else {
        return Ok(None);
    };
    Ok(Some(examine(disk, dir, folder(number))))
}

fn examine(disk: &Disk, dir: &str, folder: String) -> Aside {
    let path = format!("{dir}/{folder}");
    let (mut count, mut hash) = (0, Digest::ZERO);
    let read = super::read_lines(disk, &path, &mut |line| (count, hash) = (line.index + 1, line.hash));
    let claimed = Head::read(disk, &path).ok().flatten();
    let claimed = claimed.map(|head| LedgerHead::of(head.count, &head.hash));
    let (segment, offset) = match &read {
        Err(LedgerError::Corrupt { segment, offset, .. }) => (Some(*segment), Some(*offset)),
        _ => (None, None),
    };
    let what = match read {
        Err(e) => e.to_string(),
        // What it was set aside for can be read again after all; or it was put there by hand.
        Ok(_) => "it was set aside, and reads now".into(),
    };
    Aside {
        folder,
        what,
        segment,
        offset,
        good: LedgerHead::of(count, &hash),
        claimed,
    }
}

/// Drops the oldest ledgers set aside until all of them have no more than `limit` bytes; of the newest, its oldest
/// segments.
pub(crate) fn trim(disk: &Disk, dir: &str, limit: u64) -> Result<(), LedgerError> {
    let mut left = limit;
    for (age, number) in numbers(disk, dir)?.into_iter().rev().enumerate() {
        let path = format!("{dir}/{}", folder(number));
        let size = size_of(disk, &path)?;
        if size <= left {
            left -= size;
            continue;
        }
        if age > 0 {
            log::warn!("{path}: the limit of {limit} bytes for damaged ledgers is reached; this one goes");
            disk.remove_tree(&path)?;
            left = 0;
            continue;
        }
        let mut over = size - left;
        for number in segment::numbers(disk, &path)? {
            if over == 0 {
                break;
            }
            let segment = segment::path(&path, number);
            let size = disk.lstat(&segment)?.map_or(0, |m| m.size);
            disk.remove(&segment)?;
            over = over.saturating_sub(size);
        }
        left = 0;
    }
    Ok(())
}

/// Bytes of the files in a folder.
pub(super) fn size_of(disk: &Disk, dir: &str) -> Result<u64, LedgerError> {
    let mut size = 0;
    for name in disk.list(dir)? {
        let Some(name) = name.to_str() else { continue };
        let meta = disk.lstat(&format!("{dir}/{name}"))?;
        size += meta.filter(|m| m.kind == Kind::File).map_or(0, |m| m.size);
    }
    Ok(size)
}
