//! One segment file: its header, its lines, and the scan that checks them.

use jos_schemas::documents::ledger::Record;
use jos_schemas::node::Node;
use jos_trust::{Digest, canonical};

use super::{LedgerError, READ_LIMIT, record_hash};
use crate::disk::Disk;

/// `jos-ledger 1 SSSSSSSS IIIIIIIIIIIIIIII PREV\n`
const HEADER: usize = 13 + 8 + 1 + 16 + 1 + 64 + 1;
/// `LLLLLLLL HASH `
const FRAME: usize = 8 + 1 + 64 + 1;

pub(super) fn path(dir: &str, number: u32) -> String {
    format!("{dir}/{number:08}.jsl")
}

pub(super) fn number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".jsl")?;
    if digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit()) {
        digits.parse().ok()
    } else {
        None
    }
}

pub(super) fn read(disk: &Disk, dir: &str, number: u32) -> Result<Option<Vec<u8>>, LedgerError> {
    match disk.read(&path(dir, number), READ_LIMIT) {
        Ok((bytes, _)) => Ok(Some(bytes)),
        Err(e) if e.is_missing() => Ok(None),
        Err(e) => Err(e.into()),
    }
}

pub(super) fn header(number: u32, first: u64, prev: &Digest) -> String {
    format!("jos-ledger 1 {number:08x} {first:016x} {prev}\n")
}

/// The line of a record, and its hash.
pub(super) fn line(record: &Record) -> Result<(Vec<u8>, Digest), LedgerError> {
    let value = serde_json::to_value(record).map_err(|e| LedgerError::Unwritable(e.to_string()))?;
    let canonical =
        canonical::to_bytes(&Node::from_json(&value)).map_err(|e| LedgerError::Unwritable(e.to_string()))?;
    let hash = record_hash(&canonical);
    let mut line = format!("{:08x} {hash} ", canonical.len()).into_bytes();
    line.extend_from_slice(&canonical);
    line.push(b'\n');
    Ok((line, hash))
}

/// What a scan came to: how far it is good, and what stopped it.
pub(super) struct Scan {
    /// Records before and in this segment.
    pub(super) count: u64,
    /// Hash of the last good record.
    pub(super) hash: Digest,
    /// Bytes that are good.
    pub(super) length: u64,
    /// What is wrong behind them, if anything is.
    pub(super) end: Result<(), LedgerError>,
}

/// Checks a segment line by line. `expected` is count and hash before it, where they are known; else its header's.
pub(super) fn scan(
    number: u32,
    bytes: &[u8],
    expected: Option<(u64, Digest)>,
    each: &mut dyn FnMut(&Record, &Digest),
) -> Scan {
    let (count, hash) = expected.unwrap_or((0, Digest::ZERO));
    let mut scan = Scan {
        count,
        hash,
        length: 0,
        end: Ok(()),
    };
    scan.end = scan_into(&mut scan, number, bytes, expected, each).map_err(|(offset, what)| LedgerError::Corrupt {
        segment: number,
        offset: offset as u64,
        what,
    });
    scan
}

type Wrong = (usize, &'static str);

fn scan_into(
    scan: &mut Scan,
    number: u32,
    bytes: &[u8],
    expected: Option<(u64, Digest)>,
    each: &mut dyn FnMut(&Record, &Digest),
) -> Result<(), Wrong> {
    let (first, prev) = parse_header(number, bytes).map_err(|what| (0, what))?;
    if expected.is_some_and(|e| e != (first, prev)) {
        return Err((0, "the header does not continue the segment before"));
    }
    (scan.count, scan.hash, scan.length) = (first, prev, HEADER as u64);
    let mut at = HEADER;
    while at < bytes.len() {
        let (record, hash, end) = parse_line(bytes, at).map_err(|what| (at, what))?;
        if record.index != scan.count {
            return Err((at, "a record with another index than its place"));
        }
        if record.prev.as_str() != scan.hash.to_string() {
            return Err((at, "a record that does not continue the one before"));
        }
        each(&record, &hash);
        (scan.count, scan.hash, scan.length) = (scan.count + 1, hash, end as u64);
        at = end;
    }
    Ok(())
}

fn parse_header(number: u32, bytes: &[u8]) -> Result<(u64, Digest), &'static str> {
    let header = bytes.get(..HEADER).ok_or("an unfinished header")?;
    let text = std::str::from_utf8(header).map_err(|_| "a header that is not text")?;
    let rest = text
        .strip_prefix("jos-ledger ")
        .ok_or("not a ledger: the magic is missing")?;
    let rest = rest
        .strip_prefix("1 ")
        .ok_or("a format version that this program does not know")?;
    let mut words = rest.strip_suffix('\n').ok_or("an unfinished header")?.split(' ');
    let mut word = || words.next().ok_or("an unfinished header");
    if u32::from_str_radix(word()?, 16).ok() != Some(number) {
        return Err("the header of another segment");
    }
    let first = u64::from_str_radix(word()?, 16).map_err(|_| "a header without an index")?;
    let prev: Digest = word()?.parse().map_err(|_| "a header without a hash")?;
    // Only the one spelling that is written is read: no byte may differ unnoticed.
    if header != self::header(number, first, &prev).as_bytes() {
        return Err("a header in another spelling");
    }
    Ok((first, prev))
}

fn parse_line(bytes: &[u8], at: usize) -> Result<(Record, Digest, usize), &'static str> {
    let frame = bytes.get(at..at + FRAME).ok_or("an unfinished record")?;
    let frame = std::str::from_utf8(frame).map_err(|_| "a frame that is not text")?;
    let length = usize::from_str_radix(&frame[..8], 16).map_err(|_| "a frame without a length")?;
    let hash: Digest = frame[9..73].parse().map_err(|_| "a frame without a hash")?;
    if frame != format!("{length:08x} {hash} ") {
        return Err("a frame in another spelling");
    }
    let start = at + FRAME;
    let end = start.checked_add(length).ok_or("a frame with an impossible length")?;
    let json = bytes.get(start..end).ok_or("an unfinished record")?;
    if *bytes.get(end).ok_or("an unfinished record")? != b'\n' {
        return Err("a record that does not end where its frame says");
    }
    if record_hash(json) != hash {
        return Err("a record that does not have its hash");
    }
    let record = serde_json::from_slice(json).map_err(|_| "a record of an unknown shape")?;
    Ok((record, hash, end + 1))
}
