//! Following a ledger as it grows: each record once. A look reads the segment that was the last one anew, and those behind it;
//! what lies before is not read again.

use jos_trust::Digest;

use super::read::{Start, read_from};
use super::{LedgerError, LedgerHead, Line};
use crate::disk::Disk;

/// How far a ledger was followed.
#[derive(Debug, Default)]
pub struct Follow {
    start: Option<Start>,
    /// Records that were given out, and the hash of the last.
    seen: Option<(u64, Digest)>,
    bytes: u64,
}

impl Follow {
    /// The records since the last look, checked and in order; all of them at the first. [`LedgerError::Moved`]: this is another
    /// ledger than the one of before, or what follows was dropped meanwhile; whoever follows begins anew.
    pub fn next(&mut self, disk: &Disk, dir: &str, each: &mut dyn FnMut(&Line<'_>)) -> Result<LedgerHead, LedgerError> {
        let before = self.seen;
        let mut last = before;
        let mut is_other = false;
        let read = read_from(disk, dir, self.start.clone(), &mut |line| match before {
            Some((count, hash)) if line.index + 1 == count => is_other |= line.hash != hash,
            Some((count, _)) if line.index < count => {}
            _ if !is_other => {
                last = Some((line.index + 1, line.hash));
                each(line);
            }
            _ => {}
        });
        let (extent, start) = read?;
        self.bytes += extent.bytes;
        // It was seen before anything was given out: that record comes first.
        if is_other || before.is_some_and(|(count, _)| extent.head.count < count) {
            return Err(LedgerError::Moved);
        }
        (self.start, self.seen) = (start, last);
        Ok(extent.head)
    }

    /// Bytes that were read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
