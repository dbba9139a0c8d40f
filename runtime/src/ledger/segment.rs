//! One segment file: its name, its header, and the scan that checks its lines.

use jos_trust::Digest;

use super::line::{Chain, Line};
use super::{LedgerError, READ_LIMIT};
use crate::disk::{Disk, DiskError};

/// `jos-ledger 1 SSSSSSSS IIIIIIIIIIIIIIII PREV\n`
pub(super) const HEADER: usize = 13 + 8 + 1 + 16 + 1 + 64 + 1;

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

/// The numbers of the segments that are there, in order.
pub(super) fn numbers(disk: &Disk, dir: &str) -> Result<Vec<u32>, LedgerError> {
    let names = disk.list(dir)?;
    let mut numbers: Vec<u32> = names.iter().filter_map(|n| number(n.to_str()?)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

pub(super) fn read(disk: &Disk, dir: &str, number: u32) -> Result<Option<Vec<u8>>, LedgerError> {
    match disk.read(&path(dir, number), READ_LIMIT) {
        Ok((bytes, _)) => Ok(Some(bytes)),
        Err(e) if e.is_missing() => Ok(None),
        Err(e) => Err(unreadable(&e).map_or(e.into(), |what| LedgerError::Corrupt {
            segment: number,
            offset: 0,
            what,
        })),
    }
}

/// What the disk says where the bytes themselves are lost: damage, which opening again does not heal.
pub(super) fn unreadable(e: &DiskError) -> Option<&'static str> {
    match e {
        DiskError::TooLarge { .. } => Some("it is longer than any that is written"),
        DiskError::Io { source, .. } => crate::disk::damage(source),
        _ => None,
    }
}

pub(super) fn header(number: u32, first: u64, prev: &Digest) -> String {
    format!("jos-ledger 1 {number:08x} {first:016x} {prev}\n")
}

/// What a scan came to: how far it is good, and what stopped it.
pub(super) struct Scan {
    /// Index of the first record in this segment.
    pub(super) first: u64,
    /// Records before and in this segment.
    pub(super) count: u64,
    /// Hash of the last good record.
    pub(super) hash: Digest,
    /// Bytes that are good.
    pub(super) length: u64,
    /// It begins with a checkpoint: history may begin here.
    pub(super) begins: bool,
    /// What is wrong behind them, if anything is.
    pub(super) end: Result<(), LedgerError>,
}

/// Checks a segment line by line. `expected` is count and hash before it, where they are known; else its header's.
pub(super) fn scan<'b>(
    number: u32,
    bytes: &'b [u8],
    expected: Option<(u64, Digest)>,
    each: &mut dyn FnMut(&Line<'b>),
) -> Scan {
    let (count, hash) = expected.unwrap_or((0, Digest::ZERO));
    let mut scan = Scan {
        first: count,
        count,
        hash,
        length: 0,
        begins: false,
        end: Ok(()),
    };
    scan.end = scan_into(&mut scan, number, bytes, expected, each).map_err(|(offset, what)| LedgerError::Corrupt {
        segment: number,
        offset: offset as u64,
        what,
    });
    scan
}

/// The first record of a segment, if it has one.
pub(super) fn first(number: u32, bytes: &[u8]) -> Result<Option<Line<'_>>, LedgerError> {
    let wrong = |offset, what| LedgerError::Corrupt {
        segment: number,
        offset,
        what,
    };
    let (first, prev) = parse_header(number, bytes).map_err(|what| wrong(0, what))?;
    if bytes.len() == HEADER {
        return Ok(None);
    }
    let line = Chain::new(first, prev).next(bytes, HEADER);
    line.map(|(line, _)| Some(line))
        .map_err(|what| wrong(HEADER as u64, what))
}

type Wrong = (usize, &'static str);

fn scan_into<'b>(
    scan: &mut Scan,
    number: u32,
    bytes: &'b [u8],
    expected: Option<(u64, Digest)>,
    each: &mut dyn FnMut(&Line<'b>),
) -> Result<(), Wrong> {
    let (first, prev) = parse_header(number, bytes).map_err(|what| (0, what))?;
    if expected.is_some_and(|e| e != (first, prev)) {
        return Err((0, "the header does not continue the segment before"));
    }
    (scan.first, scan.count, scan.hash, scan.length) = (first, first, prev, HEADER as u64);
    let (mut at, mut chain) = (HEADER, Chain::new(first, prev));
    while at < bytes.len() {
        let (line, end) = chain.next(bytes, at).map_err(|what| (at, what))?;
        scan.begins |= at == HEADER && line.kind == super::CHECKPOINT;
        each(&line);
        (scan.count, scan.hash, scan.length) = (chain.count, chain.hash, end as u64);
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
