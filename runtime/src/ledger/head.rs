//! The head file: two slots written in turn, so that a torn write costs at most the newest of them.

use jos_trust::{Digest, sha256};

use super::LedgerError;
use super::line::Line;
use super::segment::unreadable;
use crate::disk::Disk;

const SLOT: usize = 127;

/// One slot's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    turn: u64,
    pub(super) count: u64,
    pub(super) hash: Digest,
}

impl Head {
    fn path(dir: &str) -> String {
        format!("{dir}/head")
    }

    /// The newest readable slot; `None` without a file. A file without a readable slot is damage, not absence.
    pub(super) fn read(disk: &Disk, dir: &str) -> Result<Option<Self>, LedgerError> {
        let bytes = match disk.read(&Self::path(dir), 4096) {
            Ok((bytes, _)) => bytes,
            Err(e) if e.is_missing() => return Ok(None),
            Err(e) => return Err(unreadable(&e).map_or(e.into(), |what| LedgerError::Head { what })),
        };
        if let Some(found) = newer(&bytes) {
            return Err(LedgerError::Newer { found });
        }
        if bytes.len() != 2 * SLOT {
            return Err(LedgerError::Head {
                what: "the head file has the wrong length",
            });
        }
        let (a, b) = (Self::parse(&bytes[..SLOT]), Self::parse(&bytes[SLOT..]));
        let newest = match (a, b) {
            (Some(a), Some(b)) => Some(if a.turn >= b.turn { a } else { b }),
            (a, b) => a.or(b),
        };
        newest.map(Some).ok_or(LedgerError::Head {
            what: "neither slot of the head file can be read",
        })
    }

    /// The head of an empty ledger, durable in both slots.
    pub(super) fn create(disk: &Disk, dir: &str) -> Result<Self, LedgerError> {
        let head = Self {
            turn: 0,
            count: 0,
            hash: Digest::ZERO,
        };
        let slot = head.slot();
        disk.write_private(&Self::path(dir), &[slot.clone(), slot].concat())?;
        Ok(head)
    }

    pub(super) fn next(&self, count: u64, hash: Digest) -> Self {
        Self {
            turn: self.turn + 1,
            count,
            hash,
        }
    }

    pub(super) fn write(&self, disk: &Disk, dir: &str) -> Result<(), LedgerError> {
        Ok(disk.overwrite(&Self::path(dir), (self.turn % 2) * SLOT as u64, &self.slot())?)
    }

    /// Whether `line`, where it is the last record that the head counts, is the one that it names.
    pub(super) fn agrees(&self, line: &Line<'_>) -> bool {
        line.index + 1 != self.count || line.hash == self.hash
    }

    fn slot(&self) -> Vec<u8> {
        let text = format!("jos-head 1 {:016x} {:016x} {} ", self.turn, self.count, self.hash);
        let check = short_check(text.as_bytes());
        format!("{text}{check}\n").into_bytes()
    }

    fn parse(slot: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(slot).ok()?.strip_suffix('\n')?;
        let (body, check) = text.split_at_checked(text.len().checked_sub(16)?)?;
        if short_check(body.as_bytes()) != check {
            return None;
        }
        let mut words = body.strip_prefix("jos-head 1 ")?.split(' ');
        let turn = u64::from_str_radix(words.next()?, 16).ok()?;
        let count = u64::from_str_radix(words.next()?, 16).ok()?;
        let hash = words.next()?.parse().ok()?;
        Some(Self { turn, count, hash })
    }
}

/// The format that a whole slot of a newer program names. The rule for all of them: a line that begins with `jos-head N ` and
/// ends with its check, however long it is. A flipped bit does not come with the check that it takes.
fn newer(bytes: &[u8]) -> Option<u64> {
    let format = |line: &str| {
        let (body, check) = line.split_at_checked(line.len().checked_sub(16)?)?;
        let format: u64 = body.strip_prefix("jos-head ")?.split(' ').next()?.parse().ok()?;
        (format > 1 && short_check(body.as_bytes()) == check).then_some(format)
    };
    bytes
        .split(|b| *b == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok())
        .find_map(format)
}

/// First half of a SHA-256 in hex: enough against accidents, which is all that the head's checksum is for.
fn short_check(bytes: &[u8]) -> String {
    sha256(bytes).to_string()[..16].to_owned()
}
