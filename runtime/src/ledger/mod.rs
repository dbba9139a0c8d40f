//! The ledger: what was decided, by whom, and what came of it. Append-only, chained by hash, one per NAME.
//!
//! Owns the files below `ledger/` and `blobs/`. Never decides anything, never changes a record.
//!
//! ```text
//! ledger/00000000.jsl, 00000001.jsl, …   segments
//! ┌ jos-ledger 1 SSSSSSSS IIIIIIIIIIIIIIII PREV\n      magic, format, segment, index of its first record, hash before it
//! │ LLLLLLLL HASH RECORD\n                             length of RECORD in bytes, SHA-256, canonical JSON (RFC 8785)
//! │ LLLLLLLL HASH RECORD\n                             S, I, L: lower-case hex of fixed width
//! └ …
//! HASH   = SHA-256("jos-record-v1\n" RECORD); RECORD.prev is the HASH of the record before, 64 zeros for the first
//!
//! ledger/head     two slots of 127 bytes, written in turn, the one with the higher N counts:
//!                 jos-head 1 N(16 hex) COUNT(16 hex) HASH(64 hex) CHECK(16 hex)\n   CHECK: first 16 of the SHA-256 of
//!                                                                                  what stands before it
//! ledger/lock     flock(2), held for one commit group: read the tail, append, sync, release
//! blobs/SHA256    content that is too large for a record, named by its hash
//! ```
//!
//! **Tail.** The head is written after the records are durable and is not synced itself: it may lag. So fewer records
//! than the head counts is a truncation; bytes beyond the head's count that do not read are a torn write and are cut;
//! everything else that does not read is corruption, named by segment, offset and kind.

mod blobs;
mod head;
mod segment;
#[cfg(test)]
mod tests;

use jos_schemas::documents::ledger::Record;
use jos_schemas::documents::policy::Source;
use jos_schemas::text::{Name, Sha256Hex, Utc};
use jos_trust::{Digest, sha256};
use serde::Serialize;
use serde_json::Value;

use crate::disk::{Disk, DiskError};
use head::Head;

pub use blobs::{BLOB_LIMIT, Blobs};

/// A segment is closed when it has grown beyond this many bytes.
const SEGMENT_LIMIT: u64 = 256 * 1024;
/// The longest segment that is read: one record may be as large as a document and its frame.
const READ_LIMIT: u64 = 16 * 1024 * 1024;

/// What is wrong with a ledger, or with writing to it.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Bytes that cannot have been written so.
    #[error("ledger damaged: segment {segment:08}, offset {offset}: {what}")]
    Corrupt {
        /// Which segment.
        segment: u32,
        /// Byte offset in it.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// Fewer records than the head counts.
    #[error("ledger truncated: the head counts {head} records, {found} are there")]
    Truncated {
        /// What the head says.
        head: u64,
        /// What was read.
        found: u64,
    },
    /// Records are there, but no readable head.
    #[error("ledger damaged: {what}")]
    Head {
        /// What is wrong.
        what: &'static str,
    },
    /// Another process writes and does not finish.
    #[error("the ledger is locked by another process; wait for it or end it")]
    Locked,
    /// The record does not fit the format.
    #[error("the record cannot be written: {0}")]
    Unwritable(String),
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// How many records there are, and the hash of the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LedgerHead {
    /// Number of records.
    pub count: u64,
    /// Hash of the last; 64 zeros when there is none.
    pub hash: Sha256Hex,
}

/// A record to be appended: what the ledger itself does not know.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The plane's reading of now.
    pub time: Utc,
    /// Who proposed it.
    pub source: Source,
    /// The agent's name.
    pub name: Name,
    /// Version of the state.
    pub version: Option<u64>,
    /// What led to it.
    pub cause: Option<String>,
    /// `decision`, `outcome`, `refused`, `broken`.
    pub kind: &'static str,
    /// Content; no floating-point numbers.
    pub payload: Value,
}

/// An open ledger: its tail, and where to append.
pub struct Ledger<'d> {
    disk: &'d Disk,
    dir: String,
    tail: Tail,
    /// Bytes of an unfinished write that were cut when it was opened.
    pub torn: u64,
}

/// Where the last good record ends.
#[derive(Clone, Debug)]
struct Tail {
    segment: u32,
    length: u64,
    count: u64,
    hash: Digest,
    head: Head,
}

impl<'d> Ledger<'d> {
    /// Opens the ledger in `dir` (made when missing): reads the head and the last segment, and cuts a torn tail.
    pub fn open(disk: &'d Disk, dir: &str) -> Result<Self, LedgerError> {
        disk.ensure_dir(dir)?;
        let _lock = lock(disk, dir)?;
        let (tail, torn) = read_tail(disk, dir)?;
        if torn > 0 {
            disk.truncate(&segment::path(dir, tail.segment), tail.length)?;
        }
        Ok(Self {
            disk,
            dir: dir.to_owned(),
            tail,
            torn,
        })
    }

    /// Number of records and hash of the last.
    pub fn head(&self) -> LedgerHead {
        LedgerHead {
            count: self.tail.count,
            hash: self.tail.hash.to_hex(),
        }
    }

    /// Appends a commit group: all records are durable when it returns, or none counts. Gives the index of the first.
    pub fn append(&mut self, entries: Vec<Entry>) -> Result<u64, LedgerError> {
        let _lock = lock(self.disk, &self.dir)?;
        self.catch_up()?;
        let first = self.tail.count;
        let mut tail = self.tail.clone();
        let mut bytes = Vec::new();
        if tail.length == 0 || tail.length > SEGMENT_LIMIT {
            if tail.length > 0 {
                tail.segment += 1;
            }
            tail.length = 0;
            bytes.extend_from_slice(segment::header(tail.segment, tail.count, &tail.hash).as_bytes());
        }
        for entry in entries {
            let record = Record {
                index: tail.count,
                prev: tail.hash.to_hex(),
                time: entry.time,
                source: entry.source,
                name: entry.name,
                version: entry.version,
                cause: entry.cause,
                kind: entry.kind.to_owned(),
                payload: entry.payload,
            };
            let (line, hash) = segment::line(&record)?;
            bytes.extend_from_slice(&line);
            tail.count += 1;
            tail.hash = hash;
        }
        let path = segment::path(&self.dir, tail.segment);
        if let Err(e) = self.disk.append(&path, &bytes) {
            // What got through is beyond the head and would be read as a torn tail or, worse, as records that were
            // reported as failed. Cut it; if that fails too, the next open decides by the head.
            let _ = self.disk.truncate(&path, tail.length);
            return Err(e.into());
        }
        tail.length += bytes.len() as u64;
        tail.head = tail.head.next(tail.count, tail.hash);
        tail.head.write(self.disk, &self.dir)?;
        self.tail = tail;
        Ok(first)
    }

    /// Another process may have appended since: the head or the segment's length tells.
    fn catch_up(&mut self) -> Result<(), LedgerError> {
        let head = Head::read(self.disk, &self.dir)?;
        let length = self
            .disk
            .lstat(&segment::path(&self.dir, self.tail.segment))?
            .map_or(0, |m| m.size);
        if head.as_ref() == Some(&self.tail.head) && length == self.tail.length {
            return Ok(());
        }
        let (tail, torn) = read_tail(self.disk, &self.dir)?;
        if torn > 0 {
            self.disk
                .truncate(&segment::path(&self.dir, tail.segment), tail.length)?;
        }
        self.tail = tail;
        Ok(())
    }

    /// Every record from the first, checked; calls `each` with the record and its hash.
    pub fn read(&self, each: &mut dyn FnMut(&Record, &Digest)) -> Result<LedgerHead, LedgerError> {
        read_all(self.disk, &self.dir, each)
    }

    /// The last record, if there is one.
    pub fn last(&self) -> Result<Option<Record>, LedgerError> {
        self.last_where(&|_| true)
    }

    /// The last record of the newest two segments that `wanted` picks: enough for what repeats.
    pub fn last_where(&self, wanted: &dyn Fn(&Record) -> bool) -> Result<Option<Record>, LedgerError> {
        for number in (self.tail.segment.saturating_sub(1)..=self.tail.segment).rev() {
            let Some(bytes) = segment::read(self.disk, &self.dir, number)? else {
                continue;
            };
            let mut found = None;
            let scan = segment::scan(number, &bytes, None, &mut |record, _| {
                if wanted(record) {
                    found = Some(record.clone());
                }
            });
            scan.end?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

/// Reads the whole ledger in `dir`, checks it, and gives the head. Pure reading: a torn tail is left where it is.
pub fn read_all(disk: &Disk, dir: &str, each: &mut dyn FnMut(&Record, &Digest)) -> Result<LedgerHead, LedgerError> {
    let head = Head::read(disk, dir)?;
    let (mut count, mut hash, mut number) = (0, Digest::ZERO, 0);
    while let Some(bytes) = segment::read(disk, dir, number)? {
        let scan = segment::scan(number, &bytes, Some((count, hash)), each);
        count = scan.count;
        hash = scan.hash;
        if let Err(e) = scan.end {
            let is_last = segment::read(disk, dir, number + 1)?.is_none();
            if is_last && head.as_ref().is_some_and(|h| count >= h.count) {
                break;
            }
            return Err(e);
        }
        number += 1;
    }
    check_head(head.as_ref(), count, hash)?;
    Ok(LedgerHead {
        count,
        hash: hash.to_hex(),
    })
}

/// Head and last segment. Gives the tail and the number of torn bytes behind it.
fn read_tail(disk: &Disk, dir: &str) -> Result<(Tail, u64), LedgerError> {
    let head = Head::read(disk, dir)?;
    let mut last = None;
    for name in disk.list(dir)? {
        if let Some(number) = name.to_str().and_then(segment::number) {
            last = last.max(Some(number));
        }
    }
    let Some(mut number) = last else {
        check_head(head.as_ref(), 0, Digest::ZERO)?;
        let head = head.map_or_else(|| Head::create(disk, dir), Ok)?;
        return Ok((
            Tail {
                segment: 0,
                length: 0,
                count: 0,
                hash: Digest::ZERO,
                head,
            },
            0,
        ));
    };
    let mut torn = 0;
    loop {
        let bytes = segment::read(disk, dir, number)?.unwrap_or_default();
        // A header alone is not believed: it must continue the segment before, or the beginning.
        let before = match number {
            0 => (0, Digest::ZERO),
            n => {
                let bytes = segment::read(disk, dir, n - 1)?.unwrap_or_default();
                let scan = segment::scan(n - 1, &bytes, None, &mut |_, _| {});
                scan.end?;
                (scan.count, scan.hash)
            }
        };
        let scan = segment::scan(number, &bytes, Some(before), &mut |_, _| {});
        if let Err(e) = scan.end {
            let unfinished_header = scan.length == 0;
            // Only what the head does not count can be a write that a crash cut short.
            if head.as_ref().is_none_or(|h| scan.count < h.count) {
                return Err(e);
            }
            log::warn!("ledger tail cut: {e}");
            torn += bytes.len() as u64 - scan.length;
            if unfinished_header {
                disk.remove(&segment::path(dir, number))?;
                if number > 0 {
                    number -= 1;
                    continue;
                }
                let head = head.map_or_else(|| Head::create(disk, dir), Ok)?;
                return Ok((
                    Tail {
                        segment: 0,
                        length: 0,
                        count: 0,
                        hash: Digest::ZERO,
                        head,
                    },
                    0,
                ));
            }
        }
        check_head(head.as_ref(), scan.count, scan.hash)?;
        let head = head.ok_or(LedgerError::Head {
            what: "the head file is missing, but there are records",
        })?;
        return Ok((
            Tail {
                segment: number,
                length: scan.length,
                count: scan.count,
                hash: scan.hash,
                head,
            },
            torn,
        ));
    }
}

fn check_head(head: Option<&Head>, count: u64, hash: Digest) -> Result<(), LedgerError> {
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
        return Err(LedgerError::Head {
            what: "the head names another last record than the one that is there",
        });
    }
    Ok(())
}

fn lock(disk: &Disk, dir: &str) -> Result<std::fs::File, LedgerError> {
    let file = disk.lock_file(&format!("{dir}/lock"))?;
    // A commit group is one write and one fsync long: waiting for it is right. The lock goes with the descriptor.
    file.lock().map_err(|_| LedgerError::Locked)?;
    Ok(file)
}

/// The hash that chains records.
fn record_hash(canonical: &[u8]) -> Digest {
    let mut hasher = jos_trust::digest::Hasher::default();
    hasher.update(b"jos-record-v1\n");
    hasher.update(canonical);
    hasher.finish()
}

/// First half of a SHA-256 in hex: enough against accidents, which is all that the head's checksum is for.
fn short_check(bytes: &[u8]) -> String {
    sha256(bytes).to_string()[..16].to_owned()
}
