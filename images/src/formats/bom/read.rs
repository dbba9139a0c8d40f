//! Reads the paths of a bill of materials, trusting no offset in it.

use std::collections::{BTreeMap, BTreeSet};

use crate::formats::FormatError;

/// More paths than this are refused.
const ROW_LIMIT: usize = 1 << 20;

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A device node.
    Device,
}

/// One path of the bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// `.` for the root, else `./usr/bin/jos`.
    pub path: String,
    /// What it is.
    pub kind: RowKind,
    /// Type and permission bits, as `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: u32,
    /// Bytes.
    pub size: u32,
    /// cksum(1) of a file's content or a link's target.
    pub cksum: u32,
    /// A link's target.
    pub target: String,
}

/// All rows, in the order of the pages.
///
/// # Errors
/// [`FormatError::Damaged`] for anything that is not a sound store.
pub fn read(bytes: &[u8]) -> Result<Vec<Row>, FormatError> {
    let store = Store::open(bytes)?;
    let tree = store.block(store.variable("Paths")?)?;
    if tree.get(..4) != Some(b"tree") {
        return Err(bad("the variable Paths is not a tree"));
    }
    let said = u32_at(tree, 16)? as usize;
    let mut names: BTreeMap<u32, String> = BTreeMap::new();
    let mut rows = Vec::new();
    let mut seen = BTreeSet::new();
    let mut page_id = store.first_leaf(u32_at(tree, 8)?)?;
    while page_id != 0 {
        if !seen.insert(page_id) {
            return Err(bad("the pages of paths run in a circle"));
        }
        let page = store.block(page_id)?;
        for n in 0..usize::from(u16_at(page, 2)?) {
            let (value, key) = (u32_at(page, 12 + 8 * n)?, u32_at(page, 16 + 8 * n)?);
            let (value, key) = (store.block(value)?, store.block(key)?);
            let (id, record) = (u32_at(value, 0)?, store.block(u32_at(value, 4)?)?);
            let path = match (u32_at(key, 0)?, c_string(key, 4)?) {
                (0, name) => name,
                (parent, name) => {
                    let parent = names
                        .get(&parent)
                        .ok_or_else(|| bad("a path comes before its parent"))?;
                    format!("{parent}/{name}")
                }
            };
            if path.len() > 8192 || rows.len() >= ROW_LIMIT || names.insert(id, path.clone()).is_some() {
                return Err(bad(
                    "a path is too long, there are too many, or a number is there twice",
                ));
            }
            rows.push(row(path, record)?);
        }
        page_id = u32_at(page, 4)?;
    }
    if rows.len() != said {
        return Err(bad(format!(
            "the tree of paths speaks of {said} and holds {}",
            rows.len()
        )));
    }
    Ok(rows)
}

fn row(path: String, record: &[u8]) -> Result<Row, FormatError> {
    let kind = match record.first() {
        Some(1) => RowKind::File,
        Some(2) => RowKind::Dir,
        Some(3) => RowKind::Symlink,
        Some(4) => RowKind::Device,
        _ => return Err(bad(format!("{path} is of no known kind"))),
    };
    let target = if kind == RowKind::Symlink {
        c_string(record, 31)?
    } else {
        String::new()
    };
    Ok(Row {
        path,
        kind,
        mode: u32::from(u16_at(record, 4)?),
        uid: u32_at(record, 6)?,
        gid: u32_at(record, 10)?,
        mtime: u32_at(record, 14)?,
        size: u32_at(record, 18)?,
        cksum: u32_at(record, 23)?,
        target,
    })
}

struct Store<'a> {
    bytes: &'a [u8],
    table: &'a [u8],
    variables: &'a [u8],
}

impl<'a> Store<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, FormatError> {
        if !bytes.starts_with(b"BOMStore") || u32_at(bytes, 8)? != 1 {
            return Err(bad("expected `BOMStore` and version 1"));
        }
        let table = part(bytes, u32_at(bytes, 16)?, u32_at(bytes, 20)?)?;
        let variables = part(bytes, u32_at(bytes, 24)?, u32_at(bytes, 28)?)?;
        Ok(Self {
            bytes,
            table,
            variables,
        })
    }

    fn variable(&self, name: &str) -> Result<u32, FormatError> {
        let mut at = 4;
        for _ in 0..u32_at(self.variables, 0)? {
            let length = self
                .variables
                .get(at + 4)
                .copied()
                .ok_or_else(|| bad("the variables are cut off"))?;
            let end = at + 5 + usize::from(length);
            if self.variables.get(at + 5..end) == Some(name.as_bytes()) {
                return u32_at(self.variables, at);
            }
            at = end;
        }
        Err(bad(format!("there is no variable {name}")))
    }

    fn block(&self, id: u32) -> Result<&'a [u8], FormatError> {
        if id == 0 || id >= u32_at(self.table, 0)? {
            return Err(bad(format!("there is no block {id}")));
        }
        let at = 4 + 8 * id as usize;
        part(self.bytes, u32_at(self.table, at)?, u32_at(self.table, at + 4)?)
    }

    /// Down the first page of each level.
    fn first_leaf(&self, mut id: u32) -> Result<u32, FormatError> {
        for _ in 0..16 {
            let page = self.block(id)?;
            if u16_at(page, 0)? != 0 {
                return Ok(id);
            }
            id = u32_at(page, 12)?;
        }
        Err(bad("the tree of paths is deeper than 16 pages"))
    }
}

fn part(bytes: &[u8], at: u32, length: u32) -> Result<&[u8], FormatError> {
    let (at, length) = (at as usize, length as usize);
    let end = at.checked_add(length).ok_or_else(|| bad("an offset is too large"))?;
    bytes
        .get(at..end)
        .ok_or_else(|| bad("a block lies outside of the file"))
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, FormatError> {
    let two = bytes
        .get(at..)
        .and_then(|b| b.first_chunk::<2>())
        .ok_or_else(|| bad("a block is cut off"))?;
    Ok(u16::from_be_bytes(*two))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, FormatError> {
    let four = bytes
        .get(at..)
        .and_then(|b| b.first_chunk::<4>())
        .ok_or_else(|| bad("a block is cut off"))?;
    Ok(u32::from_be_bytes(*four))
}

fn c_string(bytes: &[u8], at: usize) -> Result<String, FormatError> {
    let tail = bytes.get(at..).unwrap_or(&[]);
    let end = tail
        .iter()
        .position(|b| *b == 0)
        .ok_or_else(|| bad("a name does not end in a NUL"))?;
    String::from_utf8(tail[..end].to_vec()).map_err(|_| bad("a name is not UTF-8"))
}

fn bad(problem: impl Into<String>) -> FormatError {
    FormatError::damaged("Bom", problem)
}
