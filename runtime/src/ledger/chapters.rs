//! Chapters of a ledger that no plane keeps: what whoever keeps it may drop, and how one begins.
//!
//! ```text
//! 00000000 … │ 00000007 checkpoint "chapter" … │ 00000011 checkpoint "chapter" …
//! ╰── may go, oldest segment first ──╯
//! ```
//!
//! A chapter begins with a checkpoint that is the first record of its segment, names the record before it, and has the cause
//! `chapter`. Whoever begins one answers for it that nothing after it needs what is before. Segments go one by one, oldest
//! first, each removal durable: after a crash anywhere, what is left of a chapter stands before the checkpoint of the next and
//! goes with the next pruning.

use std::collections::BTreeSet;

use jos_schemas::text::Utc;
use jos_trust::Digest;

use super::named::blob_names;
use super::{Entry, Ledger, LedgerError, LedgerHead, lock, segment};
use crate::disk::Disk;

/// The cause of a checkpoint that begins a chapter.
pub const CHAPTER: &str = "chapter";

/// The segments from one place where history may begin to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chapter {
    /// Its segments: from the first to the one before the last number.
    pub segments: std::ops::Range<u32>,
    /// Their bytes.
    pub bytes: u64,
    /// Index of its first record.
    pub first: u64,
    /// When it began: the time of its first record, in seconds since 1970.
    pub began: i64,
    /// It begins with such a checkpoint: not the beginning, and not what a crash left of a chapter that was dropped.
    pub whole: bool,
}

impl Ledger<'_> {
    /// Begins a chapter: `make` is given the head, under the lock, and makes the checkpoint that names it.
    pub fn begin_chapter(
        &mut self,
        make: &mut dyn FnMut(&LedgerHead) -> Result<Entry, LedgerError>,
    ) -> Result<u64, LedgerError> {
        self.append_first_after(&mut |head| {
            let mut entry = make(head)?;
            (entry.kind, entry.cause) = (super::CHECKPOINT, Some(CHAPTER.to_owned()));
            Ok(entry)
        })
    }
}

/// The chapters of the ledger in `dir`, oldest first. Those of `known`, from an earlier look, are not read again but for the
/// last of them.
pub fn chapters(disk: &Disk, dir: &str, known: &[Chapter]) -> Result<Vec<Chapter>, LedgerError> {
    let numbers = segment::numbers(disk, dir)?;
    let oldest = numbers.first().copied().unwrap_or_default();
    let before = known.split_last().map_or(&[][..], |(_, before)| before);
    let mut found: Vec<Chapter> = before
        .iter()
        .filter(|chapter| chapter.segments.start >= oldest)
        .cloned()
        .collect();
    // Another process may have dropped some meanwhile, or a part of one.
    if before.len() != found.len() || found.first().is_some_and(|first| first.segments.start != oldest) {
        found.clear();
    }
    let from = found.last().map_or(oldest, |last| last.segments.end);
    for number in numbers.into_iter().filter(|number| *number >= from) {
        let Some(bytes) = segment::read(disk, dir, number)? else {
            return Err(LedgerError::Moved);
        };
        let first = segment::first(number, &bytes)?;
        let begins = first.is_some_and(|line| line.kind == super::CHECKPOINT && line.cause == Some(CHAPTER));
        let size = bytes.len() as u64;
        match found.last_mut() {
            Some(last) if !begins => {
                last.segments.end = number + 1;
                last.bytes += size;
            }
            _ => found.push(Chapter {
                segments: number..number + 1,
                bytes: size,
                first: first.map_or(0, |line| line.index),
                began: first.and_then(|line| Utc::new(line.time).ok()).map_or(0, |t| t.unix()),
                whole: begins,
            }),
        }
    }
    Ok(found)
}

/// Removes a segment, which must be the oldest and not of the last chapter; durably.
pub fn drop_segment(disk: &Disk, dir: &str, number: u32) -> Result<(), LedgerError> {
    let _lock = lock(disk, dir)?;
    Ok(disk.remove(&segment::path(dir, number))?)
}

/// Everything in the segments from `from` on that may be the name of a blob, and the number of the last one: it may grow, so
/// that a later look begins there.
pub fn names_from(disk: &Disk, dir: &str, from: u32, found: &mut BTreeSet<Digest>) -> Result<u32, LedgerError> {
    let mut last = from;
    for number in segment::numbers(disk, dir)?
        .into_iter()
        .filter(|number| *number >= from)
    {
        let Some(bytes) = segment::read(disk, dir, number)? else {
            return Err(LedgerError::Moved);
        };
        blob_names(&bytes, found);
        last = number;
    }
    Ok(last)
}
