//! A root file system as a list: every path with its owner, its permissions and where its content is.
//!
//! Owns: the list. Contents of the base stay in their folder; only what we write is held in memory.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::ImageError;

/// Where a file's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Here.
    Bytes(Vec<u8>),
    /// In this file of the building machine.
    Disk(PathBuf),
}

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Dir,
    /// A regular file.
    File(Content),
    /// A symbolic link.
    Link(String),
}

/// One path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// What it is.
    pub kind: Kind,
}

/// The list, by path without a leading slash.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    items: BTreeMap<String, Item>,
}

impl Layer {
    /// Every path; a folder comes before what lies in it.
    pub fn items(&self) -> impl Iterator<Item = (&str, &Item)> {
        self.items.iter().map(|(path, item)| (path.as_str(), item))
    }

    /// What is at a path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Item> {
        self.items.get(path)
    }

    /// Puts an item there, in place of what was there. Folders above it that are missing are made.
    pub fn put(&mut self, path: &str, item: Item) {
        let path = self.resolved(path);
        let there = self.items.get(&path).map(|i| &i.kind);
        if item.kind == Kind::Dir && matches!(there, Some(Kind::Dir | Kind::Link(_))) {
            // A package's folder does not change the owner of one that the base has, nor a link to one, as with dpkg.
            return;
        }
        let mut above = path.as_str();
        while let Some((parent, _)) = above.rsplit_once('/') {
            above = parent;
            self.items.entry(parent.to_owned()).or_insert(Item {
                mode: 0o755,
                uid: 0,
                gid: 0,
                kind: Kind::Dir,
            });
        }
        self.items.insert(path, item);
    }

    /// Changes what is at exactly this path.
    pub fn set(&mut self, path: &str, item: Item) {
        self.items.insert(path.to_owned(), item);
    }

    /// A path below `/bin`, `/lib` and the like, which are links into `/usr`, as the file system would find it.
    #[must_use]
    pub fn resolved(&self, path: &str) -> String {
        let path = path.trim_matches('/');
        if let Some((top, rest)) = path.split_once('/')
            && let Some(Item {
                kind: Kind::Link(target),
                ..
            }) = self.items.get(top)
        {
            return format!("{}/{rest}", target.trim_matches('/'));
        }
        path.to_owned()
    }

    /// A file of root's.
    pub fn file(&mut self, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) {
        let kind = Kind::File(Content::Bytes(bytes.into()));
        let (uid, gid) = (0, 0);
        self.put(path, Item { mode, uid, gid, kind });
    }

    /// A folder.
    pub fn dir(&mut self, path: &str, mode: u32, uid: u32, gid: u32) {
        let kind = Kind::Dir;
        self.put(path, Item { mode, uid, gid, kind });
    }

    /// A link.
    pub fn link(&mut self, path: &str, target: &str) {
        let kind = Kind::Link(target.to_owned());
        let (uid, gid) = (0, 0);
        let mode = 0o777;
        self.put(path, Item { mode, uid, gid, kind });
    }

    /// Takes a path and all below it away.
    pub fn remove(&mut self, path: &str) {
        let path = self.resolved(path);
        let below = format!("{path}/");
        self.items.retain(|p, _| *p != path && !p.starts_with(&below));
    }

    /// Takes away every path below `folder` for which `unwanted` says so.
    pub fn remove_below(&mut self, folder: &str, unwanted: impl Fn(&str, &Item) -> bool) {
        let below = format!("{}/", self.resolved(folder));
        self.items
            .retain(|p, i| !p.starts_with(&below) || !unwanted(&p[below.len()..], i));
    }

    /// The bytes of a file, following one link.
    ///
    /// # Errors
    /// [`ImageError`] when it is not there or cannot be read.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, ImageError> {
        match self.items.get(&self.resolved(path)).map(|i| &i.kind) {
            Some(Kind::File(Content::Bytes(bytes))) => Ok(bytes.clone()),
            Some(Kind::File(Content::Disk(at))) => std::fs::read(at).map_err(ImageError::io(at)),
            _ => Err(ImageError::Unfit(format!("the base has no file /{path}"))),
        }
    }

    /// A text file; empty when it is not there.
    ///
    /// # Errors
    /// [`ImageError`] when it cannot be read.
    pub fn text(&self, path: &str) -> Result<String, ImageError> {
        if self.get(&self.resolved(path)).is_none() {
            return Ok(String::new());
        }
        Ok(String::from_utf8_lossy(&self.read(path)?).into_owned())
    }

    /// Bytes of all contents, counted in blocks of 4 KiB.
    ///
    /// # Errors
    /// [`ImageError`] when a file cannot be looked at.
    pub fn weight(&self) -> Result<u64, ImageError> {
        let mut blocks = 0;
        for item in self.items.values() {
            let size = match &item.kind {
                Kind::Dir => 4096,
                Kind::Link(_) => 0,
                Kind::File(Content::Bytes(bytes)) => bytes.len() as u64,
                Kind::File(Content::Disk(at)) => std::fs::metadata(at).map_err(ImageError::io(at))?.len(),
            };
            blocks += size.div_ceil(4096);
        }
        Ok(blocks * 4096)
    }
}
