//! What may go: the oldest history, up to a checkpoint, and then the blobs that nothing names any more.
//!
//! ```text
//! 00000000 … │ 00000007 checkpoint … │ 00000011 checkpoint … │ 00000019 checkpoint …
//! ╰─────────── may go, oldest first ─────────╯ ╰── the last two stay whatever they weigh ──╯
//! ```
//!
//! Segments go one by one, oldest first, each removal durable: after a crash anywhere, what is left of the interval
//! stands before the checkpoint, is not read, and goes with the next pruning. Blobs go last: one that is left over is
//! found by the next collection.

use std::collections::BTreeSet;

use jos_schemas::text::Utc;
use jos_trust::Digest;

use super::named::blob_names;
use super::{Blobs, LedgerError, aside, lock, segment};
use crate::disk::{Disk, Kind};

/// Larger blobs are no documents: they name no other blobs.
const DOCUMENT: u64 = 4 * 1024 * 1024;
/// No file of the journal or of the states in force is longer.
const FILE_LIMIT: u64 = 256 * 1024 * 1024;

/// The segments from one place where history may begin to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    /// Its segments: from the first to the one before the last number.
    pub(crate) segments: std::ops::Range<u32>,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// When it began: the time of its first record, in seconds since 1970.
    pub(crate) began: i64,
    /// It begins with a checkpoint, not with the beginning.
    pub(crate) checkpoint: bool,
}

/// The intervals of the ledger in `dir`, oldest first.
pub(crate) fn intervals(disk: &Disk, dir: &str) -> Result<Vec<Interval>, LedgerError> {
    let mut found: Vec<Interval> = Vec::new();
    for number in segment::numbers(disk, dir)? {
        let bytes = segment::read(disk, dir, number)?.unwrap_or_default();
        let first = segment::first(number, &bytes)?;
        let checkpoint = first.is_some_and(|line| line.kind == super::CHECKPOINT);
        let size = bytes.len() as u64;
        match found.last_mut() {
            Some(last) if !checkpoint => {
                last.segments.end = number + 1;
                last.bytes += size;
            }
            _ => found.push(Interval {
                segments: number..number + 1,
                bytes: size,
                began: first.and_then(|line| Utc::new(line.time).ok()).map_or(0, |t| t.unix()),
                checkpoint,
            }),
        }
    }
    Ok(found)
}

/// How many of the oldest may go at most: the last two checkpoints stay.
pub(crate) fn droppable(intervals: &[Interval]) -> usize {
    let checkpoints = intervals.iter().filter(|i| i.checkpoint).count();
    if checkpoints < 2 { 0 } else { intervals.len() - 2 }
}

/// Removes the segments of `interval`, which is the oldest.
pub(crate) fn drop_oldest(disk: &Disk, dir: &str, interval: &Interval) -> Result<(), LedgerError> {
    let _lock = lock(disk, dir)?;
    for number in interval.segments.clone() {
        disk.remove(&segment::path(dir, number))?;
    }
    Ok(())
}

/// Bytes of the ledger in `dir` and of its blobs.
pub(crate) fn size(disk: &Disk, dir: &str, blobs: &str) -> Result<u64, LedgerError> {
    Ok(aside::size_of(disk, dir)? + aside::size_of(disk, blobs)?)
}

/// Bytes of the blobs that the records of `interval` name and its first record does not.
pub(crate) fn own_blobs(disk: &Disk, dir: &str, interval: &Interval, blobs: &Blobs<'_>) -> Result<u64, LedgerError> {
    let (mut named, mut before) = (BTreeSet::new(), BTreeSet::new());
    for number in interval.segments.clone() {
        let bytes = segment::read(disk, dir, number)?.unwrap_or_default();
        if number == interval.segments.start
            && interval.checkpoint
            && let Some(line) = segment::first(number, &bytes)?
        {
            blob_names(line.payload, &mut before);
        }
        blob_names(&bytes, &mut named);
    }
    let own = |digest: &Digest| named.contains(digest) && !before.contains(digest);
    Ok(blobs.list()?.iter().filter(|(d, _)| own(d)).map(|(_, size)| size).sum())
}

/// Every blob of `blobs` that a record kept, another such blob, or a file in `beside` names.
pub(crate) fn named(
    disk: &Disk,
    dir: &str,
    blobs: &Blobs<'_>,
    beside: &[String],
) -> Result<BTreeSet<Digest>, LedgerError> {
    let present: std::collections::BTreeMap<Digest, u64> = blobs.list()?.into_iter().collect();
    let mut found = BTreeSet::new();
    for number in segment::numbers(disk, dir)? {
        blob_names(&segment::read(disk, dir, number)?.unwrap_or_default(), &mut found);
    }
    for path in beside {
        names_below(disk, path, &mut found)?;
    }
    found.retain(|digest| present.contains_key(digest));
    let mut open: Vec<Digest> = found.iter().copied().collect();
    while let Some(digest) = open.pop() {
        if present.get(&digest).is_none_or(|size| *size > DOCUMENT) {
            continue;
        }
        let mut more = BTreeSet::new();
        match blobs.get(&digest) {
            Ok(bytes) => blob_names(&bytes.unwrap_or_default(), &mut more),
            // What it named cannot be told any more.
            Err(e) => log::warn!("{e}"),
        }
        open.extend(more.into_iter().filter(|d| present.contains_key(d) && found.insert(*d)));
    }
    Ok(found)
}

/// The names in a file, or in every file of a folder.
fn names_below(disk: &Disk, path: &str, found: &mut BTreeSet<Digest>) -> Result<(), LedgerError> {
    match disk.lstat(path)?.map(|meta| meta.kind) {
        Some(Kind::File) => blob_names(&disk.read(path, FILE_LIMIT)?.0, found),
        Some(Kind::Dir) => {
            for name in disk.list(path)? {
                if let Some(name) = name.to_str() {
                    // A file there may itself be named by a hash: an undo copy, a state.
                    found.extend(name.split('.').next().and_then(|stem| stem.parse::<Digest>().ok()));
                    // What has come of a content so far names nothing.
                    if !name.ends_with(crate::content::PART) {
                        names_below(disk, &format!("{path}/{name}"), found)?;
                    }
                }
            }
        }
        _ => {}
    }
    Ok(())
}
