//! Apple's bill of materials, as its readers describe it: a store of numbered blocks, of which the variable `Paths` names
//! a tree; the tree's leaves pair a path's entry with its parent's number and its name.

use std::collections::BTreeMap;

use super::be;

/// One path as the bill lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: u32,
    /// Bytes.
    pub size: u32,
    /// cksum(1)'s sum of a file.
    pub checksum: u32,
    /// Target of a link.
    pub link: String,
}

struct Store<'a> {
    bytes: &'a [u8],
    index: usize,
}

impl<'a> Store<'a> {
    fn block(&self, number: usize) -> &'a [u8] {
        assert!(number < be(self.bytes, self.index, 4), "there is no block {number}");
        let (at, size) = (
            be(self.bytes, self.index + 4 + number * 8, 4),
            be(self.bytes, self.index + 8 + number * 8, 4),
        );
        &self.bytes[at..at + size]
    }

    fn variable(&self, wanted: &str) -> usize {
        let vars = be(self.bytes, 24, 4);
        let mut at = vars + 4;
        for _ in 0..be(self.bytes, vars, 4) {
            let size = usize::from(self.bytes[at + 4]);
            if &self.bytes[at + 5..at + 5 + size] == wanted.as_bytes() {
                return be(self.bytes, at, 4);
            }
            at += 5 + size;
        }
        panic!("there is no variable {wanted}");
    }
}

/// All paths, with their leading `.`.
///
/// # Panics
/// If it is no such bill.
pub fn read(bytes: &[u8]) -> BTreeMap<String, Listed> {
    assert_eq!(&bytes[..8], b"BOMStore");
    assert_eq!(be(bytes, 8, 4), 1, "version");
    let store = Store {
        bytes,
        index: be(bytes, 16, 4),
    };
    let tree = store.block(store.variable("Paths"));
    assert_eq!(&tree[..4], b"tree");
    let count = be(tree, 16, 4);
    // Down to the leftmost leaf, then along the leaves.
    let mut node = store.block(be(tree, 8, 4));
    while be(node, 0, 2) == 0 {
        node = store.block(be(node, 12, 4));
    }
    let mut names: BTreeMap<usize, (usize, String, Listed)> = BTreeMap::new();
    loop {
        for pair in 0..be(node, 2, 2) {
            let (value, key) = (
                store.block(be(node, 12 + pair * 8, 4)),
                store.block(be(node, 16 + pair * 8, 4)),
            );
            let (id, about) = (be(value, 0, 4), store.block(be(value, 4, 4)));
            let name = key[4..].split(|byte| *byte == 0).next().expect("a name");
            let number = |at| u32::try_from(be(about, at, 4)).expect("four bytes");
            let link_size = be(about, 27, 4);
            let link = about[31..31 + link_size]
                .split(|byte| *byte == 0)
                .next()
                .expect("a target");
            let listed = Listed {
                mode: u32::try_from(be(about, 4, 2)).expect("two bytes"),
                uid: number(6),
                gid: number(10),
                mtime: number(14),
                size: number(18),
                checksum: number(23),
                link: String::from_utf8(link.to_vec()).expect("text"),
            };
            let kind = match listed.mode >> 12 {
                0o10 => 1,
                0o4 => 2,
                0o12 => 3,
                other => panic!("{}: type {other:o}", String::from_utf8_lossy(name)),
            };
            assert_eq!(about[0], kind, "{}", String::from_utf8_lossy(name));
            let name = String::from_utf8(name.to_vec()).expect("text");
            let twice = names.insert(id, (be(key, 0, 4), name, listed));
            assert!(twice.is_none(), "two paths have the number {id}");
        }
        match be(node, 4, 4) {
            0 => break,
            next => node = store.block(next),
        }
    }
    assert_eq!(names.len(), count, "the tree's count");
    let path = |mut id: usize| {
        let mut parts = Vec::new();
        while id != 0 {
            let (parent, name, _) = names.get(&id).unwrap_or_else(|| panic!("no path has the number {id}"));
            parts.push(name.as_str());
            id = *parent;
        }
        parts.reverse();
        parts.join("/")
    };
    names
        .iter()
        .map(|(id, (_, _, listed))| (path(*id), listed.clone()))
        .collect()
}
