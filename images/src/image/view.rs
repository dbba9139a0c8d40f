//! The files of an ext4 file system, read where it lies on a disk: nothing is mounted, and no right is needed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use ext4_view::{Ext4, Ext4Error, Ext4Read, FileType, PathBuf};

use super::ImageError;
use super::table::Entry;

/// A file system.
pub(crate) struct View {
    fs: Ext4,
    /// As errors name it.
    shown: String,
}

/// A path in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Without a leading slash; what is no UTF-8 in it is shown by a sign of its own.
    pub(crate) path: String,
    /// To the byte.
    raw: Vec<u8>,
    /// Permission bits.
    pub(crate) mode: u32,
    /// Owner.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Bytes of its content.
    pub(crate) size: u64,
    /// What it is.
    pub(crate) what: What,
}

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A directory.
    Dir,
    /// A regular file.
    File,
    /// A symbolic link, and where it leads.
    Link(Vec<u8>),
    /// A device, a pipe, a socket.
    Special(&'static str),
}

impl Found {
    /// Its path as the building machine's file system takes it.
    pub(crate) fn on_disk(&self) -> &Path {
        use std::os::unix::ffi::OsStrExt;
        Path::new(std::ffi::OsStr::from_bytes(&self.raw))
    }
}

impl View {
    /// Opens the one in this partition of `disk`, which errors call `shown`.
    pub(crate) fn open(disk: &Path, entry: &Entry, shown: &str) -> Result<Self, ImageError> {
        let file = File::open(disk).map_err(ImageError::io(disk))?;
        let shown = format!("{shown}: partition {}", entry.number);
        let window = Window {
            file,
            start: entry.start,
            size: entry.size,
        };
        let fs = Ext4::load(Box::new(window)).map_err(|e| wrong(&shown, "its file system", &e))?;
        Ok(Self { fs, shown })
    }

    /// Tells of every path, a folder before what lies in it, and otherwise sorted by name.
    pub(crate) fn walk(&self, each: &mut dyn FnMut(&Found) -> Result<(), ImageError>) -> Result<(), ImageError> {
        self.below(&[], 0, each)
    }

    fn below(
        &self,
        folder: &[u8],
        depth: u32,
        each: &mut dyn FnMut(&Found) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let shown = String::from_utf8_lossy(folder).into_owned();
        let odd = |e: Ext4Error| wrong(&self.shown, &format!("/{shown}"), &e);
        if depth > 256 {
            return Err(ImageError::Unfit(format!("{}: /{shown}: too deep", self.shown)));
        }
        let mut names = Vec::new();
        for entry in self.fs.read_dir(&absolute(folder).map_err(odd)?).map_err(odd)? {
            let entry = entry.map_err(odd)?;
            let name = entry.file_name().as_ref().to_vec();
            if name != b"." && name != b".." {
                names.push((name, entry.metadata().map_err(odd)?));
            }
        }
        names.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, metadata) in names {
            let raw = if folder.is_empty() {
                name
            } else {
                [folder, b"/", &name].concat()
            };
            let what = match metadata.file_type() {
                FileType::Directory => What::Dir,
                FileType::Regular => What::File,
                FileType::Symlink => {
                    let at = absolute(&raw).map_err(odd)?;
                    What::Link(self.fs.read_link(&at).map_err(odd)?.as_ref().to_vec())
                }
                FileType::BlockDevice => What::Special("block device"),
                FileType::CharacterDevice => What::Special("character device"),
                FileType::Fifo => What::Special("pipe"),
                FileType::Socket => What::Special("socket"),
            };
            let found = Found {
                path: String::from_utf8_lossy(&raw).into_owned(),
                raw,
                mode: u32::from(metadata.mode()),
                uid: metadata.uid(),
                gid: metadata.gid(),
                size: metadata.len(),
                what,
            };
            each(&found)?;
            if found.what == What::Dir {
                self.below(&found.raw, depth + 1, each)?;
            }
        }
        Ok(())
    }

    /// The content of a file that a walk has found.
    pub(crate) fn content(&self, found: &Found) -> Result<impl Read + use<>, ImageError> {
        let odd = |e: Ext4Error| wrong(&self.shown, &format!("/{}", found.path), &e);
        self.fs.open(&absolute(&found.raw).map_err(odd)?).map_err(odd)
    }

    /// The file that a path leads to, through links; none where there is none.
    pub(crate) fn read(&self, path: &str) -> Result<Option<Vec<u8>>, ImageError> {
        match self.fs.read(format!("/{path}").as_str()) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Ext4Error::NotFound | Ext4Error::NotADirectory | Ext4Error::IsADirectory) => Ok(None),
            Err(error) => Err(wrong(&self.shown, &format!("/{path}"), &error)),
        }
    }
}

fn absolute(path: &[u8]) -> Result<PathBuf, Ext4Error> {
    PathBuf::try_from([b"/", path].concat()).map_err(|_| Ext4Error::MalformedPath)
}

fn wrong(shown: &str, at: &str, error: &Ext4Error) -> ImageError {
    ImageError::Unfit(format!("{shown}: {at} cannot be read: {error}"))
}

/// A partition as a source of its own.
struct Window {
    file: File,
    start: u64,
    size: u64,
}

impl Ext4Read for Window {
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if at.checked_add(into.len() as u64).is_none_or(|end| end > self.size) {
            return Err("it reaches beyond its partition".into());
        }
        self.file.seek(SeekFrom::Start(self.start + at))?;
        Ok(self.file.read_exact(into)?)
    }
}
