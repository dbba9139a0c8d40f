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
//!
//! **Beginning.** History begins at record 0, or where a segment begins with a record of kind `checkpoint`: what was
//! before it has been pruned. A first segment of another number that does not is a ledger whose beginning was taken away.
//!
//! ```text
//! append ─► lock ─► tail ─► one write, one fsync ─► head        group: many writers, one append
//! read   ─► segments in order ─► line by line (hash, form, index, chain) ─► head
//! damage ─► aside: set aside within a limit, the next ledger begins with a `broken` record
//! retain ─► checkpoint durable ─► oldest segments go ─► blobs that nothing names any more go
//! export ─► one file with records and blobs, the same bytes for the same ledger
//! ```

mod archive;
mod aside;
mod blobs;
mod chapters;
mod cursor;
mod export;
mod follow;
mod group;
mod head;
mod jcs;
mod line;
mod named;
mod range;
mod read;
pub(crate) mod retain;
mod scan;
mod segment;
mod tail;
#[cfg(test)]
mod tests;
mod verify;

use jos_schemas::documents::ledger::Record;
use jos_schemas::documents::policy::Source;
use jos_schemas::text::{Name, Sha256Hex, Utc};
use jos_trust::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::disk::{Disk, DiskError};
use tail::Tail;

pub use archive::Archive;
pub use aside::{Aside, asides, set_aside_damaged};
pub(crate) use aside::{newest as newest_aside, set_aside, trim as trim_asides};
pub use blobs::{BLOB_LIMIT, Blobs};
pub use chapters::{CHAPTER, Chapter, chapters, drop_segment, names_from};
pub use cursor::Cursor;
pub use export::{Export, LedgerKey, export};
pub use follow::Follow;
pub use group::{Committer, Submitted, Submitter};
pub use line::{Line, source_word};
pub use named::{blob_names, required_blobs};
pub use range::read_range;
pub use read::{Extent, read_all, read_lines, read_segment};
pub use verify::{Anchor, Anchored, Sealed, Verdict, verify};

/// The kind of a record that history may begin with.
pub const CHECKPOINT: &str = "checkpoint";
/// A segment is closed when it has grown beyond this many bytes.
const SEGMENT_LIMIT: u64 = 128 * 1024;
/// The largest record, and the largest commit group.
const RECORD_LIMIT: u64 = 8 * 1024 * 1024;
const GROUP_LIMIT: usize = 12 * 1024 * 1024;
/// The longest segment that is read: the limit and one commit group.
const READ_LIMIT: u64 = 16 * 1024 * 1024;

/// What to do about files of a newer program.
pub(crate) fn newer(what: &str, found: u64) -> String {
    format!(
        "{what} has format {found}, and this jos knows 1: a newer jos wrote it. Nothing was touched; install that jos again, or a newer one"
    )
}

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
    /// A record whose bytes are right and whose content is not.
    #[error("ledger damaged: {0}")]
    Unreadable(String),
    /// Whole, and written by a program that came after this one: no damage, and nothing is set aside for it.
    #[error("{}", newer("the ledger", *.found))]
    Newer {
        /// The format that its head names.
        found: u64,
    },
    /// A blob that is not what its name says.
    #[error("blob {digest}: its content does not have the hash that is its name")]
    Blob {
        /// Its name.
        digest: Digest,
    },
    /// The oldest segments went while the ledger was read.
    #[error("the ledger was pruned while it was read; read it again")]
    Moved,
    /// Another process writes and does not finish.
    #[error("the ledger is locked by another process; wait for it or end it")]
    Locked,
    /// The disk refused a commit group of many writers: none of it counts, and it may go better later.
    #[error("{0}")]
    Group(String),
    /// The record does not fit the format.
    #[error("the record cannot be written: {0}")]
    Unwritable(String),
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl LedgerError {
    /// The ledger itself is wrong, and would be again: not the disk, the lock or what is to be written.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Corrupt { .. } | Self::Truncated { .. } | Self::Head { .. } | Self::Unreadable(_)
        )
    }
}

/// How many records there are, and the hash of the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerHead {
    /// Number of records.
    pub count: u64,
    /// Hash of the last; 64 zeros when there is none.
    pub hash: Sha256Hex,
}

impl LedgerHead {
    pub(crate) fn of(count: u64, hash: &Digest) -> Self {
        Self {
            count,
            hash: hash.to_hex(),
        }
    }
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
    /// `decision`, `outcome`, `refused`, `broken`, `checkpoint`.
    pub kind: &'static str,
    /// Content.
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

impl<'d> Ledger<'d> {
    /// Opens the ledger in `dir` (made when missing): reads the head and the last segments, and cuts a torn tail.
    pub fn open(disk: &'d Disk, dir: &str) -> Result<Self, LedgerError> {
        disk.ensure_dir(dir)?;
        let _lock = lock(disk, dir)?;
        let (tail, torn) = Tail::read(disk, dir)?;
        Ok(Self {
            disk,
            dir: dir.to_owned(),
            tail,
            torn,
        })
    }

    /// Number of records and hash of the last.
    pub fn head(&self) -> LedgerHead {
        LedgerHead::of(self.tail.count, &self.tail.hash)
    }

    /// Appends a commit group: all records are durable when it returns, or none counts. Gives the index of the first.
    pub fn append(&mut self, entries: Vec<Entry>) -> Result<u64, LedgerError> {
        match self.append_all(vec![entries], false)?.pop() {
            Some(done) => done,
            None => Ok(self.tail.count),
        }
    }

    /// Appends a record as the first of a new segment, so that the segments before it can go.
    pub(crate) fn append_first(&mut self, entry: Entry) -> Result<u64, LedgerError> {
        match self.append_all(vec![vec![entry]], true)?.pop() {
            Some(done) => done,
            None => Ok(self.tail.count),
        }
    }

    /// The same for a record that has to name the one before it: `make` is given the head under the lock.
    pub(crate) fn append_first_after(
        &mut self,
        make: &mut dyn FnMut(&LedgerHead) -> Result<Entry, LedgerError>,
    ) -> Result<u64, LedgerError> {
        let _lock = lock(self.disk, &self.dir)?;
        self.catch_up()?;
        let entry = make(&self.head())?;
        match self.append_here(vec![vec![entry]], true)?.pop() {
            Some(done) => done,
            None => Ok(self.tail.count),
        }
    }

    /// Appends several commit groups with one write and one fsync. A group that cannot be written fails alone; where the
    /// disk fails, all do.
    pub(crate) fn append_all(
        &mut self,
        groups: Vec<Vec<Entry>>,
        new_segment: bool,
    ) -> Result<Vec<Result<u64, LedgerError>>, LedgerError> {
        let _lock = lock(self.disk, &self.dir)?;
        self.catch_up()?;
        self.append_here(groups, new_segment)
    }

    /// The same under the lock, at the tail as it is.
    fn append_here(
        &mut self,
        groups: Vec<Vec<Entry>>,
        new_segment: bool,
    ) -> Result<Vec<Result<u64, LedgerError>>, LedgerError> {
        let mut tail = self.tail.clone();
        let mut bytes = Vec::new();
        // History may begin where a segment begins with a checkpoint: one that was not meant so stays in the segment before.
        let may_begin = groups
            .iter()
            .flatten()
            .next()
            .is_some_and(|first| first.kind == CHECKPOINT);
        if tail.length == 0 || (tail.length > SEGMENT_LIMIT && !may_begin) || new_segment {
            if tail.length > 0 {
                tail.segment += 1;
            }
            tail.length = 0;
            bytes.extend_from_slice(segment::header(tail.segment, tail.count, &tail.hash).as_bytes());
        }
        let mut done = Vec::with_capacity(groups.len());
        for group in groups {
            let (first, length, before) = (tail.count, bytes.len(), tail.hash);
            let written = group.iter().try_for_each(|entry| {
                tail.hash = line::write(entry, tail.count, &tail.hash, &mut bytes)?;
                tail.count += 1;
                if bytes.len() > GROUP_LIMIT {
                    let what = format!("a commit group of more than {GROUP_LIMIT} bytes");
                    return Err(LedgerError::Unwritable(what));
                }
                Ok(())
            });
            if written.is_err() {
                bytes.truncate(length);
                (tail.count, tail.hash) = (first, before);
            }
            done.push(written.map(|()| first));
        }
        if tail.count == self.tail.count {
            return Ok(done);
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
        // The records are durable and count. A head that cannot be written lags, which is allowed.
        let headed = tail.head.write(self.disk, &self.dir);
        self.tail = tail;
        if let Err(e) = headed {
            log::warn!("the head of the ledger lags: {e}");
        }
        Ok(done)
    }

    /// Another process may have appended since: the head or the segment's length tells.
    fn catch_up(&mut self) -> Result<(), LedgerError> {
        let head = head::Head::read(self.disk, &self.dir)?;
        let length = self
            .disk
            .lstat(&segment::path(&self.dir, self.tail.segment))?
            .map_or(0, |m| m.size);
        if head.as_ref() == Some(&self.tail.head) && length == self.tail.length {
            return Ok(());
        }
        (self.tail, _) = Tail::read(self.disk, &self.dir)?;
        Ok(())
    }

    /// Every record kept, checked; calls `each` with the record and its hash.
    pub fn read(&self, each: &mut dyn FnMut(&Record, &Digest)) -> Result<LedgerHead, LedgerError> {
        read_all(self.disk, &self.dir, each)
    }

    /// The same from segment `from` on, which must begin at the beginning or with a checkpoint.
    pub(crate) fn read_from(&self, from: u32, each: &mut dyn FnMut(&Line<'_>)) -> Result<(), LedgerError> {
        let mut before = None;
        for number in from..=self.tail.segment {
            let bytes = segment::read(self.disk, &self.dir, number)?.unwrap_or_default();
            let scan = segment::scan(number, &bytes, before, each);
            scan.end?;
            before = Some((scan.count, scan.hash));
        }
        Ok(())
    }

    /// What the record says that a ledger after a damaged one begins with.
    pub(crate) fn begins_broken(&self) -> Result<Option<Value>, LedgerError> {
        let Some(bytes) = segment::read(self.disk, &self.dir, 0)? else {
            return Ok(None);
        };
        let first = segment::first(0, &bytes)?.filter(|line| line.kind == "broken");
        first.map(|line| line.payload()).transpose()
    }

    /// The last record, if there is one.
    pub fn last(&self) -> Result<Option<Record>, LedgerError> {
        self.last_line(&|_| true)
    }

    /// The last record of the newest two segments that `wanted` picks: enough for what repeats.
    pub fn last_where(&self, wanted: &dyn Fn(&Record) -> bool) -> Result<Option<Record>, LedgerError> {
        self.last_line(&|line| line.record().is_ok_and(|record| wanted(&record)))
    }

    /// The same, picked by what can be seen without reading payloads.
    pub fn last_line(&self, wanted: &dyn Fn(&Line<'_>) -> bool) -> Result<Option<Record>, LedgerError> {
        Ok(self.last_found(wanted)?.map(|(record, _)| record))
    }

    /// [`Ledger::last_where`], with where the ledger stood when that was its last record.
    pub(crate) fn last_placed(
        &self,
        wanted: &dyn Fn(&Record) -> bool,
    ) -> Result<Option<(Record, LedgerHead)>, LedgerError> {
        self.last_found(&|line| line.record().is_ok_and(|record| wanted(&record)))
    }

    fn last_found(&self, wanted: &dyn Fn(&Line<'_>) -> bool) -> Result<Option<(Record, LedgerHead)>, LedgerError> {
        for number in (self.tail.segment.saturating_sub(1)..=self.tail.segment).rev() {
            let Some(mut bytes) = segment::read(self.disk, &self.dir, number)? else {
                continue;
            };
            if number == self.tail.segment {
                // What another process is just writing is none of ours.
                bytes.truncate(usize::try_from(self.tail.length).unwrap_or(usize::MAX));
            }
            let mut found = None;
            let scan = segment::scan(number, &bytes, None, &mut |line| {
                if wanted(line) {
                    found = Some(*line);
                }
            });
            scan.end?;
            if let Some(line) = found {
                return Ok(Some((line.record()?, LedgerHead::of(line.index + 1, &line.hash))));
            }
        }
        Ok(None)
    }
}

/// The bytes that `value` has in a record (RFC 8785), or why it has none.
pub fn canonical(value: &Value) -> Result<Vec<u8>, LedgerError> {
    let mut bytes = Vec::new();
    jcs::write(value, &mut bytes).map_err(LedgerError::Unwritable)?;
    Ok(bytes)
}

/// Whether these are the bytes that some value has in a record: one pass, and no tree is made.
pub fn is_canonical(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok() && jcs::value_end(bytes, 0) == Some(bytes.len())
}

/// The lock of the ledger in `dir`, held until what is given back is dropped.
fn lock(disk: &Disk, dir: &str) -> Result<std::fs::File, LedgerError> {
    let path = format!("{dir}/lock");
    loop {
        let file = disk.lock_file(&path)?;
        // A commit group is one write and one fsync long: waiting for it is right. The lock goes with the descriptor.
        file.lock().map_err(|_| LedgerError::Locked)?;
        // Whoever set a damaged ledger aside took its lock file along: then this is the lock of another ledger.
        let here = disk.lstat(&path)?.map(|meta| meta.inode);
        if crate::disk::number_of(&file) == here {
            return Ok(file);
        }
        disk.ensure_dir(dir)?;
    }
}
