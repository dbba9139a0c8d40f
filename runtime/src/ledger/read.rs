//! Reading a whole ledger from the disk, from the oldest record kept.

use jos_schemas::documents::ledger::Record;
use jos_trust::Digest;

use super::head::Head;
use super::line::Line;
use super::{LedgerError, LedgerHead, segment};
use crate::disk::Disk;

/// How often a reading starts anew because the oldest segments went while they were opened.
const TRIES: u32 = 8;

/// What a ledger spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Index of the first record kept; the history before it was pruned.
    pub first: u64,
    /// Hash of the record before it; zeros where there was none.
    pub prev: Digest,
    /// Number of records ever written and hash of the last.
    pub head: LedgerHead,
    /// Number of the oldest segment file, and how many there are.
    pub segments: (u32, u32),
    /// Bytes of all segments.
    pub bytes: u64,
    /// Bytes at the end that are no record: a write that was cut short, or one that is under way.
    pub torn: u64,
}

/// Every record kept, checked and in order. Pure reading: a torn tail is left where it is, nothing is locked.
pub fn read_lines(disk: &Disk, dir: &str, each: &mut dyn FnMut(&Line<'_>)) -> Result<Extent, LedgerError> {
    // A writer may drop the oldest segments meanwhile: before anything was given out, that only means to look again.
    read_from(disk, dir, None, each).map(|(extent, _)| extent)
}

/// A segment, and count and hash before it: where reading goes on.
#[derive(Clone, Debug)]
pub(super) struct Start {
    number: u32,
    before: Option<(u64, Digest)>,
}

/// The same from a segment on, and where the last one begins.
pub(super) fn read_from(
    disk: &Disk,
    dir: &str,
    start: Option<Start>,
    each: &mut dyn FnMut(&Line<'_>),
) -> Result<(Extent, Option<Start>), LedgerError> {
    for _ in 0..TRIES {
        let mut given = false;
        let read = read_once(disk, dir, start.clone(), &mut |line| {
            given = true;
            each(line);
        });
        match read {
            Err(LedgerError::Moved) if !given => {}
            done => return done,
        }
    }
    Err(LedgerError::Moved)
}

/// The records of a first segment, from its bytes alone: what every ledger is read by, without a disk.
pub fn read_segment<'b>(bytes: &'b [u8], each: &mut dyn FnMut(&Line<'b>)) -> Result<LedgerHead, LedgerError> {
    let scan = segment::scan(0, bytes, Some((0, Digest::ZERO)), each);
    scan.end?;
    Ok(LedgerHead::of(scan.count, &scan.hash))
}

/// Every record kept, whole.
pub fn read_all(disk: &Disk, dir: &str, each: &mut dyn FnMut(&Record, &Digest)) -> Result<LedgerHead, LedgerError> {
    let mut failed = None;
    let extent = read_lines(disk, dir, &mut |line| match line.record() {
        Ok(record) => each(&record, &line.hash),
        Err(e) => failed = failed.take().or(Some(e)),
    })?;
    failed.map_or(Ok(extent.head), Err)
}

fn read_once(
    disk: &Disk,
    dir: &str,
    start: Option<Start>,
    each: &mut dyn FnMut(&Line<'_>),
) -> Result<(Extent, Option<Start>), LedgerError> {
    let head = Head::read(disk, dir)?;
    let numbers = segment::numbers(disk, dir)?;
    let Some((oldest, newest)) = numbers.first().copied().zip(numbers.last().copied()) else {
        check_head(head.as_ref(), 0, Digest::ZERO)?;
        let extent = Extent {
            first: 0,
            prev: Digest::ZERO,
            head: LedgerHead::of(0, &Digest::ZERO),
            segments: (0, 0),
            bytes: 0,
            torn: 0,
        };
        return Ok((extent, None));
    };
    let (oldest, mut before) = match start {
        Some(start) if (oldest..=newest).contains(&start.number) => (start.number, start.before),
        Some(_) => return Err(LedgerError::Moved),
        None => {
            let oldest = beginning(disk, dir, oldest, newest)?;
            (oldest, (oldest == 0).then_some((0, Digest::ZERO)))
        }
    };
    let mut extent = None;
    let mut last = None;
    let (mut bytes, mut torn, mut agrees) = (0, 0, true);
    for number in oldest..=newest {
        let Some(content) = segment::read(disk, dir, number)? else {
            return Err(missing(disk, dir, number));
        };
        let scan = segment::scan(number, &content, before, &mut |line| {
            agrees &= head.as_ref().is_none_or(|h| h.agrees(line));
            each(line);
        });
        bytes += content.len() as u64;
        last = Some(Start { number, before });
        let good = (scan.count, scan.hash);
        if extent.is_none() {
            let prev = before.map_or_else(|| first_prev(&content), |(_, hash)| hash);
            extent = Some((scan.first, prev));
        }
        if let Err(e) = scan.end {
            // Only at the very end, and only what the head does not count, can a write have been cut short.
            if number < newest || head.as_ref().is_none_or(|h| scan.count < h.count) {
                return Err(e);
            }
            torn = content.len() as u64 - scan.length;
        }
        before = Some(good);
    }
    let (count, hash) = before.unwrap_or((0, Digest::ZERO));
    if !agrees {
        return Err(OTHER_LAST);
    }
    check_head(head.as_ref(), count, hash)?;
    let (first, prev) = extent.unwrap_or((0, Digest::ZERO));
    let extent = Extent {
        first,
        prev,
        head: LedgerHead::of(count, &hash),
        segments: (oldest, newest - oldest + 1),
        bytes,
        torn,
    };
    Ok((extent, last))
}

/// Where history does not begin at its beginning, it begins with a checkpoint: a segment that is gone without one was
/// taken away, not pruned.
pub(super) fn no_beginning(number: u32) -> LedgerError {
    LedgerError::Corrupt {
        segment: number,
        offset: 0,
        what: "the segments before it are missing, and no checkpoint follows",
    }
}

/// The segment in which history begins: the oldest, or the first with a checkpoint where a pruning was cut short.
fn beginning(disk: &Disk, dir: &str, oldest: u32, newest: u32) -> Result<u32, LedgerError> {
    if oldest == 0 {
        return Ok(0);
    }
    for number in oldest..=newest {
        let Some(content) = segment::read(disk, dir, number)? else {
            return Err(missing(disk, dir, number));
        };
        if segment::first(number, &content)?.is_some_and(|line| line.kind == super::CHECKPOINT) {
            return Ok(number);
        }
    }
    Err(no_beginning(oldest))
}

/// The segment is gone: pruned while we read, or taken away.
fn missing(disk: &Disk, dir: &str, number: u32) -> LedgerError {
    match segment::numbers(disk, dir) {
        Ok(numbers) if numbers.first().is_some_and(|first| *first > number) => LedgerError::Moved,
        Ok(_) => LedgerError::Corrupt {
            segment: number,
            offset: 0,
            what: "the segment is missing",
        },
        Err(e) => e,
    }
}

/// The hash before the first record, as the header says it.
fn first_prev(content: &[u8]) -> Digest {
    let hex = content.get(segment::HEADER - 65..segment::HEADER - 1);
    hex.and_then(|hex| std::str::from_utf8(hex).ok())
        .and_then(|hex| hex.parse().ok())
        .unwrap_or(Digest::ZERO)
}

pub(super) const OTHER_LAST: LedgerError = LedgerError::Head {
    what: "the head names another record than the one that is there",
};

/// Whether head and last record fit. A head that lags is fine; one that is ahead is a truncation.
pub(super) fn check_head(head: Option<&Head>, count: u64, hash: Digest) -> Result<(), LedgerError> {
    let Some(head) = head else {
        let what = "the head file is missing, but there are records";
        return if count == 0 {
            Ok(())
        } else {
            Err(LedgerError::Head { what })
        };
    };
    if count < head.count {
        return Err(LedgerError::Truncated {
            head: head.count,
            found: count,
        });
    }
    if count == head.count && hash != head.hash {
        return Err(OTHER_LAST);
    }
    Ok(())
}
