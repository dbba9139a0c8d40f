//! The bill of materials ("BOMStore") a macOS installer keeps as its receipt.
//!
//! Owns: writing one for a tree; [`read()`] is the reader, written apart from the writer.
//! Apple does not document the format; this follows what is known of it in public (`lsbom`'s behaviour and the
//! descriptions of the free readers). Nothing here can prove that macOS takes it.
//!
//! All numbers are big-endian. A store is a header of 512 bytes, named variables, blocks, and a table of the blocks:
//!
//! ```text
//! header    "BOMStore", version 1, non-null blocks, table offset, table length, variables offset, variables length
//! variables count, then { block u32, length u8, name }
//! table     count, then { address u32, length u32 }; entry 0 is null; then a free list of count 0 and two null entries
//! ```
//!
//! Variables are `BomInfo`, `Paths`, `HLIndex`, `VIndex`, `Size64`. A tree is "tree", version 1, block of its root
//! page, page size, number of paths, a zero byte. A page is { leaf u16, count u16, next u32, previous u32 } and pairs
//! { value block, key block }; in a leaf of `Paths` the value is { id, record block } and the key { parent id, name
//! NUL }, in a branch the value is a page below and the key its last one. Keys are sorted by parent id, then name.

mod read;
#[cfg(test)]
mod tests;

pub use read::{Row, RowKind, read};

use super::{Entry, EntryKind, FormatError, Tree};

const HEADER: usize = 512;
/// Size of a page of `Paths`, `HLIndex` and `Size64`, and of the inner tree of `VIndex`.
const PAGE: usize = 4096;
const V_PAGE: usize = 128;
/// Pairs we put into one page; 510 would fit.
const PAGE_PAIRS: usize = 256;
/// Two levels of pages.
const PATH_LIMIT: u64 = (PAGE_PAIRS * PAGE_PAIRS) as u64;

/// The bill for a payload: its root `.` (0755 0:0) and every entry, all with the time `epoch`.
///
/// # Errors
/// [`FormatError::TooLarge`] for a file of 4 GiB or more, or more than 65535 entries.
pub fn write(tree: &Tree, epoch: u32) -> Result<Vec<u8>, FormatError> {
    let root = Entry::dir(".", 0o755);
    let rows = rows(tree, &root);
    let count = rows.len() as u64;
    if count > PATH_LIMIT {
        return Err(FormatError::TooLarge {
            what: "Bom: paths".into(),
            size: count,
            limit: PATH_LIMIT,
        });
    }
    let mut store = Store {
        blocks: vec![Vec::new()],
        variables: Vec::new(),
    };
    let n = be32(count, "Bom: paths")?;

    // Version, number of paths and one more, one entry for architecture 0, whose sizes may stay 0.
    let info = store.add([words(&[1, n + 1, 1]), words(&[0; 4])].concat());
    store.variable("BomInfo", info);

    let mut pairs = Vec::new();
    for row in &rows {
        let record = store.add(record(row.entry, epoch)?);
        let value = store.add(words(&[row.id, record]));
        let key = [words(&[row.parent]), row.name.as_bytes().to_vec(), vec![0]].concat();
        pairs.push((value, store.add(key)));
    }
    let top = store.pages(&pairs);
    let paths = store.tree(top, PAGE, n);
    store.variable("Paths", paths);

    let index = store.empty_tree(PAGE);
    store.variable("HLIndex", index);
    let inner = store.empty_tree(V_PAGE);
    let index = store.add([words(&[1, inner, 0]), vec![0]].concat());
    store.variable("VIndex", index);
    let index = store.empty_tree(PAGE);
    store.variable("Size64", index);
    store.finish()
}

/// One path with the number others know it by.
struct PathRow<'a> {
    id: u32,
    parent: u32,
    name: &'a str,
    entry: &'a Entry,
}

/// Numbers the paths level by level, siblings by name: then the order of ids is the order of keys.
fn rows<'a>(tree: &'a Tree, root: &'a Entry) -> Vec<PathRow<'a>> {
    let split = |e: &'a Entry| e.path.rsplit_once('/').unwrap_or(("", &e.path));
    let mut by_parent: std::collections::BTreeMap<&str, Vec<&'a Entry>> = std::collections::BTreeMap::new();
    for entry in tree.entries() {
        by_parent.entry(split(entry).0).or_default().push(entry);
    }
    let mut rows = vec![PathRow {
        id: 1,
        parent: 0,
        name: ".",
        entry: root,
    }];
    let mut at = 0;
    while at < rows.len() {
        let (id, entry) = (rows[at].id, rows[at].entry);
        let below = if at == 0 { "" } else { entry.path.as_str() };
        let mut children = if entry.is_dir() {
            by_parent.remove(below).unwrap_or_default()
        } else {
            Vec::new()
        };
        children.sort_unstable_by_key(|e| split(e).1);
        for child in children {
            let next = rows.len() as u32 + 1;
            rows.push(PathRow {
                id: next,
                parent: id,
                name: split(child).1,
                entry: child,
            });
        }
        at += 1;
    }
    rows
}

/// What `lsbom` prints of one path: kind u8, 1, architecture u16, mode u16, uid, gid, time, size, 1, checksum, length
/// of the link's target with its NUL, target.
fn record(entry: &Entry, epoch: u32) -> Result<Vec<u8>, FormatError> {
    let (kind, type_bits, size, sum, link) = match &entry.kind {
        EntryKind::File(bytes) => (1, 0o100_000, bytes.len(), cksum(bytes), None),
        EntryKind::Dir => (2, 0o040_000, 0, 0, None),
        EntryKind::Symlink(target) => (3, 0o120_000, target.len(), cksum(target.as_bytes()), Some(target)),
    };
    let mut out: Vec<u8> = vec![kind, 1];
    out.extend_from_slice(&3u16.to_be_bytes());
    out.extend_from_slice(&((type_bits | entry.mode) as u16).to_be_bytes());
    let size = be32(size as u64, &format!("Bom: {}: bytes", entry.path))?;
    out.extend(words(&[entry.uid, entry.gid, epoch, size]));
    out.push(1);
    let target = link.map(|t| [t.as_bytes(), b"\0"].concat()).unwrap_or_default();
    out.extend(words(&[sum, target.len() as u32]));
    out.extend(target);
    Ok(out)
}

struct Store {
    blocks: Vec<Vec<u8>>,
    variables: Vec<(&'static str, u32)>,
}

impl Store {
    fn add(&mut self, bytes: Vec<u8>) -> u32 {
        self.blocks.push(bytes);
        // At most three blocks for each of 65536 paths.
        (self.blocks.len() - 1) as u32
    }

    fn variable(&mut self, name: &'static str, block: u32) {
        self.variables.push((name, block));
    }

    fn tree(&mut self, child: u32, page: usize, paths: u32) -> u32 {
        self.add([b"tree".to_vec(), words(&[1, child, page as u32, paths]), vec![0]].concat())
    }

    fn empty_tree(&mut self, page: usize) -> u32 {
        let leaf = self.add(page_bytes(true, 0, 0, &[], page));
        self.tree(leaf, page, 0)
    }

    /// Leaves of the pairs, chained both ways, and a branch above them when there is more than one.
    fn pages(&mut self, pairs: &[(u32, u32)]) -> u32 {
        let chunks: Vec<_> = pairs.chunks(PAGE_PAIRS).collect();
        let first = self.blocks.len() as u32;
        let mut branch = Vec::new();
        for (n, chunk) in (0u32..).zip(&chunks) {
            let next = if n as usize + 1 < chunks.len() {
                first + n + 1
            } else {
                0
            };
            let previous = if n > 0 { first + n - 1 } else { 0 };
            let leaf = self.add(page_bytes(true, next, previous, chunk, PAGE));
            branch.push((leaf, chunk.last().map_or(0, |(_, key)| *key)));
        }
        match branch.as_slice() {
            [(only, _)] => *only,
            many => self.add(page_bytes(false, 0, 0, many, PAGE)),
        }
    }

    fn finish(self) -> Result<Vec<u8>, FormatError> {
        let mut variables = words(&[self.variables.len() as u32]);
        for (name, block) in &self.variables {
            variables.extend(block.to_be_bytes());
            variables.push(name.len() as u8);
            variables.extend_from_slice(name.as_bytes());
        }
        let mut body = Vec::new();
        let mut table = words(&[self.blocks.len() as u32]);
        let start = HEADER + variables.len();
        for block in &self.blocks {
            let address = if block.is_empty() { 0 } else { start + body.len() };
            table.extend(words(&[be32(address as u64, "Bom: bytes")?, block.len() as u32]));
            body.extend_from_slice(block);
        }
        table.extend(words(&[0; 5]));
        let table_at = be32((start + body.len()) as u64, "Bom: bytes")?;
        let mut out = b"BOMStore".to_vec();
        let blocks = self.blocks.len() as u32 - 1;
        out.extend(words(&[
            1,
            blocks,
            table_at,
            table.len() as u32,
            HEADER as u32,
            variables.len() as u32,
        ]));
        out.resize(HEADER, 0);
        out.extend(variables);
        out.extend(body);
        out.extend(table);
        Ok(out)
    }
}

fn page_bytes(leaf: bool, next: u32, previous: u32, pairs: &[(u32, u32)], size: usize) -> Vec<u8> {
    let mut out = u16::from(leaf).to_be_bytes().to_vec();
    out.extend((pairs.len() as u16).to_be_bytes());
    out.extend(words(&[next, previous]));
    for (value, key) in pairs {
        out.extend(words(&[*value, *key]));
    }
    out.resize(size, 0);
    out
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_be_bytes()).collect()
}

fn be32(value: u64, what: &str) -> Result<u32, FormatError> {
    let limit = u64::from(u32::MAX);
    u32::try_from(value).map_err(|_| FormatError::TooLarge {
        what: what.to_owned(),
        size: value,
        limit,
    })
}

/// The checksum of cksum(1), POSIX.1: CRC-32 of polynomial 0x04C11DB7, most significant bit first, over the bytes and
/// then their number, complemented.
#[must_use]
pub fn cksum(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: u8| (crc << 8) ^ CRC_TABLE[((crc >> 24) as u8 ^ byte) as usize];
    let mut crc = bytes.iter().fold(0, |crc, byte| step(crc, *byte));
    let mut length = bytes.len() as u64;
    while length > 0 {
        crc = step(crc, length as u8);
        length >>= 8;
    }
    !crc
}

static CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut crc = (n as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000_0000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x04C1_1DB7
            };
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
};
