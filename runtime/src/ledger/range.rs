//! A few records out of the middle, found by their index: for who knows where to look and must not read all of it.

use std::ops::Range;

use super::line::Line;
use super::{LedgerError, segment};
use crate::disk::Disk;

/// The records whose index lies in `range`, in order, as far as they are there. Each is held against its hash and against the
/// one before it in its segment; the chain from the beginning is for those who read all of it.
pub fn read_range(
    disk: &Disk,
    dir: &str,
    range: Range<u64>,
    each: &mut dyn FnMut(&Line<'_>),
) -> Result<(), LedgerError> {
    let numbers = segment::numbers(disk, dir)?;
    let Some(newest) = numbers.last().copied() else {
        return Ok(());
    };
    let (mut low, mut high) = (0, numbers.len());
    // The last segment that does not begin behind the range.
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let bytes = segment::read(disk, dir, numbers[middle])?.unwrap_or_default();
        let begins = match segment::first(numbers[middle], &bytes) {
            Ok(first) => first.map_or(u64::MAX, |line| line.index),
            // A write that was cut short, or one that is under way.
            Err(_) if numbers[middle] == newest => u64::MAX,
            Err(e) => return Err(e),
        };
        if begins <= range.start {
            low = middle;
        } else {
            high = middle;
        }
    }
    for number in &numbers[low..] {
        // Pruned meanwhile: it is not there.
        let Some(bytes) = segment::read(disk, dir, *number)? else {
            continue;
        };
        let scan = segment::scan(*number, &bytes, None, &mut |line| {
            if range.contains(&line.index) {
                each(line);
            }
        });
        if *number != newest {
            scan.end?;
        }
        if scan.count >= range.end {
            break;
        }
    }
    Ok(())
}
