//! Reading a package's database: tables, streams and the summary, of any origin.
//!
//! The `msi` crate that writes them reads too, and trusts what it reads: a key that is missing ends the program. Here every
//! number is held against what there is. The compound file below is read by `cfb`.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};

use crate::formats::FormatError;

const PART: &str = "database";
/// The most bytes of one stream.
const STREAM_LIMIT: u64 = 1 << 30;
/// The most rows of one table, and texts of all.
const ROWS_LIMIT: usize = 1 << 16;
/// Before the name of a stream that is a table.
const TABLE: char = '\u{4840}';
const SUMMARY: &str = "\u{5}SummaryInformation";

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    Null,
    Int(i64),
    Text(String),
    Stream,
}

/// A table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

impl Table {
    /// What stands in a column of a row; nothing where there is no such column.
    pub(crate) fn text<'a>(&self, row: &'a [Cell], column: &str) -> &'a str {
        match self.cell(row, column) {
            Some(Cell::Text(text)) => text,
            _ => "",
        }
    }

    pub(crate) fn int(&self, row: &[Cell], column: &str) -> Option<i64> {
        match self.cell(row, column) {
            Some(Cell::Int(number)) => Some(*number),
            _ => None,
        }
    }

    fn cell<'a>(&self, row: &'a [Cell], column: &str) -> Option<&'a Cell> {
        row.get(self.columns.iter().position(|name| name == column)?)
    }
}

/// What a package holds.
#[derive(Debug, Default)]
pub(crate) struct Database {
    pub(crate) tables: BTreeMap<String, Table>,
    /// Streams that are no tables, by name.
    pub(crate) streams: BTreeMap<String, Vec<u8>>,
    /// The summary's texts by their number.
    pub(crate) summary: BTreeMap<u32, String>,
}

static EMPTY: Table = Table {
    columns: Vec::new(),
    rows: Vec::new(),
};

impl Database {
    /// A table, empty where there is none.
    pub(crate) fn table(&self, name: &str) -> &Table {
        self.tables.get(name).unwrap_or(&EMPTY)
    }

    /// # Errors
    /// [`FormatError::Damaged`] for what is no sound database.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, FormatError> {
        let wrong = |e: std::io::Error| FormatError::damaged(PART, e.to_string());
        // Version 3 has sectors of 512 bytes, version 4 of 4096; `cfb` lets the last one be cut off.
        let sector = if bytes.get(26) == Some(&4) { 4096 } else { 512 };
        if !bytes.len().is_multiple_of(sector) {
            return Err(FormatError::damaged(
                PART,
                format!("{} bytes are no whole sectors of {sector}", bytes.len()),
            ));
        }
        let mut file = cfb::CompoundFile::open(Cursor::new(bytes)).map_err(wrong)?;
        let names: Vec<_> = file
            .read_root_storage()
            .filter(cfb::Entry::is_stream)
            .map(|entry| (entry.path().to_owned(), entry.name().to_owned(), entry.len()))
            .collect();
        let (mut tables, mut streams) = (BTreeMap::new(), BTreeMap::new());
        let mut left = STREAM_LIMIT;
        for (path, name, size) in names {
            // No stream is longer than its file, whatever it says.
            if size > left.min(bytes.len() as u64) {
                return Err(FormatError::damaged(PART, format!("a stream of {size} bytes")));
            }
            left -= size;
            let mut content = Vec::new();
            let stream = file.open_stream(&path).map_err(wrong)?;
            stream.take(size).read_to_end(&mut content).map_err(wrong)?;
            if content.len() as u64 != size {
                return Err(FormatError::damaged(PART, "a stream ends too early"));
            }
            match name.strip_prefix(TABLE) {
                Some(table) => tables.insert(decoded(table), content),
                None => streams.insert(decoded(&name), content),
            };
        }
        let pool = Pool::read(&tables)?;
        let summary = match streams.remove(SUMMARY) {
            Some(bytes) => summary(&bytes),
            None => return Err(FormatError::damaged(PART, "has no summary: it is no package")),
        };
        Ok(Self {
            tables: all_tables(&tables, &pool)?,
            streams,
            summary: summary.unwrap_or_default(),
        })
    }
}

/// The texts of all tables, which hold numbers in their place.
struct Pool {
    texts: Vec<String>,
    /// Bytes of such a number.
    width: usize,
}

impl Pool {
    fn read(streams: &BTreeMap<String, Vec<u8>>) -> Result<Self, FormatError> {
        let stream = |name: &str| {
            let found = streams.get(name).map(Vec::as_slice);
            found.ok_or_else(|| FormatError::damaged(PART, format!("has no {name}")))
        };
        let (pool, data) = (stream("_StringPool")?, stream("_StringData")?);
        let mut numbers = pool.chunks_exact(4);
        let half = |b: &[u8]| usize::from(u16::from_le_bytes([b[0], b[1]]));
        let head = numbers.next().unwrap_or(&[0; 4]);
        let page = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let (mut texts, mut at) = (Vec::new(), 0_usize);
        while let Some(entry) = numbers.next() {
            let (mut length, uses) = (half(entry), half(&entry[2..]));
            // A text of more than 64 KiB has its length behind it.
            if length == 0 && uses > 0 {
                let Some(long) = numbers.next() else { break };
                length = u32::from_le_bytes([long[0], long[1], long[2], long[3]]) as usize;
            }
            let text = at.checked_add(length).and_then(|end| data.get(at..end));
            let text = text.ok_or_else(|| FormatError::damaged("_StringData", "ends too early"))?;
            at += length;
            texts.push(of_page(text, page & 0x7fff_ffff));
        }
        let width = if page & 0x8000_0000 == 0 { 2 } else { 3 };
        Ok(Self { texts, width })
    }

    fn get(&self, number: usize) -> Result<Cell, FormatError> {
        match number.checked_sub(1).map(|at| self.texts.get(at)) {
            None => Ok(Cell::Null),
            Some(Some(text)) => Ok(Cell::Text(text.clone())),
            Some(None) => Err(FormatError::damaged(
                PART,
                format!("names text {number}, which is not there"),
            )),
        }
    }
}

/// UTF-8, or one byte a letter as in Latin-1: enough for what `jos-image` writes, and readable for the rest.
fn of_page(bytes: &[u8], page: u32) -> String {
    match page {
        65001 => String::from_utf8_lossy(bytes).into_owned(),
        _ => bytes.iter().map(|b| char::from(*b)).collect(),
    }
}

fn all_tables(streams: &BTreeMap<String, Vec<u8>>, pool: &Pool) -> Result<BTreeMap<String, Table>, FormatError> {
    let schema: &[(&str, i64)] = &[("Table", 0xd40), ("Number", 0x502), ("Name", 0xd40), ("Type", 0x502)];
    let columns = rows("_Columns", streams, schema, pool)?;
    let mut found: BTreeMap<String, BTreeMap<i64, (String, i64)>> = BTreeMap::new();
    for row in columns {
        let [Cell::Text(table), Cell::Int(number), Cell::Text(name), Cell::Int(kind)] = row.as_slice() else {
            return Err(FormatError::damaged("_Columns", "a row lacks a value"));
        };
        let own = found.entry(table.clone()).or_default();
        own.insert(*number, (name.clone(), *kind));
    }
    let mut all = BTreeMap::new();
    for (name, columns) in found {
        let schema: Vec<(&str, i64)> = columns.values().map(|(name, kind)| (name.as_str(), *kind)).collect();
        let table = Table {
            rows: rows(&name, streams, &schema, pool)?,
            columns: columns.values().map(|(name, _)| name.clone()).collect(),
        };
        all.insert(name, table);
    }
    Ok(all)
}

/// A table lies by columns: all first values, then all second ones.
fn rows(
    table: &str,
    streams: &BTreeMap<String, Vec<u8>>,
    schema: &[(&str, i64)],
    pool: &Pool,
) -> Result<Vec<Vec<Cell>>, FormatError> {
    let bytes = streams.get(table).map(Vec::as_slice).unwrap_or_default();
    let widths: Vec<usize> = schema.iter().map(|(_, kind)| width(*kind, pool)).collect();
    let row: usize = widths.iter().sum();
    if row == 0 || !bytes.len().is_multiple_of(row) || bytes.len() / row > ROWS_LIMIT {
        let problem = format!("{} bytes are no rows of {row}", bytes.len());
        return Err(FormatError::damaged(table, problem));
    }
    let count = bytes.len() / row;
    let mut all = vec![Vec::new(); count];
    let mut at = 0;
    for ((_, kind), width) in schema.iter().zip(&widths) {
        for row in &mut all {
            let raw = &bytes[at..at + width];
            let number = raw.iter().rev().fold(0_i64, |sum, b| sum << 8 | i64::from(*b));
            row.push(match (kind & 0xfff & !0x200, number) {
                (_, 0) => Cell::Null,
                (0x900, _) => Cell::Stream,
                (kind, _) if kind & 0x800 != 0 => pool.get(usize::try_from(number).unwrap_or(usize::MAX))?,
                _ => Cell::Int(number - (1 << (8 * width - 1))),
            });
            at += width;
        }
    }
    Ok(all)
}

fn width(kind: i64, pool: &Pool) -> usize {
    match kind & 0xfff & !0x200 {
        0x900 => 2,
        text if text & 0x800 != 0 => pool.width,
        number if number & 0xff == 4 => 4,
        _ => 2,
    }
}

/// Stream names pack two letters into one.
fn decoded(name: &str) -> String {
    const LETTERS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._";
    let letter = |n: u32| char::from(LETTERS[n as usize & 63]);
    let mut out = String::new();
    for c in name.chars() {
        match c as u32 {
            two @ 0x3800..0x4800 => out.extend([letter(two - 0x3800), letter((two - 0x3800) >> 6)]),
            one @ 0x4800..0x4840 => out.push(letter(one - 0x4800)),
            _ => out.push(c),
        }
    }
    out
}

/// The texts of a property set (\[MS-OLEPS\]); none where it is no such.
fn summary(bytes: &[u8]) -> Option<BTreeMap<u32, String>> {
    let word = |at: usize| {
        let b = bytes.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    };
    let section = word(44)? as usize;
    let count = word(section.checked_add(4)?)?.min(64) as usize;
    let (mut page, mut found) = (0, Vec::new());
    for index in 0..count {
        let entry = section.checked_add(8 + 8 * index)?;
        let at = section.checked_add(word(entry + 4)? as usize)?;
        match (word(entry)?, word(at)?) {
            // The code page, a number of two bytes.
            (1, 2) => page = word(at + 4)? & 0xffff,
            (id, 30) => {
                let text = bytes.get(at + 8..(at + 8).checked_add(word(at + 4)? as usize)?)?;
                let text = text.split(|b| *b == 0).next().unwrap_or_default();
                found.push((id, text));
            }
            _ => {}
        }
    }
    Some(found.into_iter().map(|(id, text)| (id, of_page(text, page))).collect())
}
