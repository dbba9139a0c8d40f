//! The end of a ledger, where it is appended to: found by its head and its last two segments.

use jos_trust::Digest;

use super::head::Head;
use super::read::{check_head, no_beginning};
use super::{LedgerError, segment};
use crate::disk::Disk;

/// Where the last good record ends.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    pub(super) segment: u32,
    pub(super) length: u64,
    pub(super) count: u64,
    pub(super) hash: Digest,
    pub(super) head: Head,
}

impl Tail {
    /// Of a ledger without records.
    fn empty(head: Head) -> Self {
        Self {
            segment: 0,
            length: 0,
            count: 0,
            hash: Digest::ZERO,
            head,
        }
    }

    /// Head and last segment. Cuts what a crash left unfinished behind them, and gives how many bytes that were. Under
    /// the lock.
    pub(super) fn read(disk: &Disk, dir: &str) -> Result<(Self, u64), LedgerError> {
        let head = Head::read(disk, dir)?;
        let numbers = segment::numbers(disk, dir)?;
        let Some((oldest, mut number)) = numbers.first().copied().zip(numbers.last().copied()) else {
            check_head(head.as_ref(), 0, Digest::ZERO)?;
            let head = head.map_or_else(|| Head::create(disk, dir), Ok)?;
            return Ok((Self::empty(head), 0));
        };
        let mut torn = 0;
        loop {
            let bytes = segment::read(disk, dir, number)?.unwrap_or_default();
            // A header alone is not believed: it must continue the segment before, or the beginning.
            let before = if number == oldest {
                (oldest == 0).then_some((0, Digest::ZERO))
            } else {
                let bytes = segment::read(disk, dir, number - 1)?.unwrap_or_default();
                let scan = segment::scan(number - 1, &bytes, None, &mut |_| {});
                scan.end?;
                Some((scan.count, scan.hash))
            };
            let mut agrees = true;
            let scan = segment::scan(number, &bytes, before, &mut |line| {
                agrees &= head.as_ref().is_none_or(|h| h.agrees(line));
            });
            let torn_here = bytes.len() as u64 - scan.length;
            let path = segment::path(dir, number);
            if let Err(e) = &scan.end {
                // Only what the head does not count can be a write that a crash cut short.
                if head.as_ref().is_none_or(|h| scan.count < h.count) {
                    return Err(scan.end.err().unwrap_or(super::read::OTHER_LAST));
                }
                log::warn!("ledger tail cut: {e}");
                if scan.length == 0 {
                    // Not even its header was finished: the segment before is the last.
                    disk.remove(&path)?;
                    torn += torn_here;
                    if number > oldest {
                        number -= 1;
                        continue;
                    }
                    let head = head.map_or_else(|| Head::create(disk, dir), Ok)?;
                    return Ok((Self::empty(head), torn));
                }
            }
            if number == oldest && number > 0 && !scan.begins {
                return Err(no_beginning(number));
            }
            let (count, hash) = (scan.count, scan.hash);
            if !agrees {
                return Err(super::read::OTHER_LAST);
            }
            check_head(head.as_ref(), count, hash)?;
            let head = head.ok_or(LedgerError::Head {
                what: "the head file is missing, but there are records",
            })?;
            // Nothing is cut before all else was found good: damage is left as it is.
            if torn_here > 0 {
                disk.truncate(&path, scan.length)?;
                torn += torn_here;
            }
            let tail = Self {
                segment: number,
                length: scan.length,
                count,
                hash,
                head,
            };
            return Ok((tail, torn));
        }
    }
}
