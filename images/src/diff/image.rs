//! What differs between two images of a disk: the partitions, and the files of those that hold ext4 or FAT.
//!
//! Owns: pairing partitions by number, and files by path. A partition whose bytes are the same is not looked into; one whose
//! file system is read by nobody here is compared by its hash.
//! Never: mounts anything, or looks at times, inodes and extended attributes: two images of one content differ in those alone
//! where this says so of the whole partition.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use jos_schemas::report::Plain;

use super::{Difference, LARGEST_TEXT, lines, text};
use crate::formats::hash::sha256;
use crate::image::ImageError;
use crate::image::kinds::{self, Holds};
use crate::image::table::{self, Entry};
use crate::image::tools;
use crate::image::view::{Found, View, What};

/// A difference, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Placed {
    /// The partition's name, else its file system's, else its number; none outside of partitions and in packages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// What it is.
    #[serde(flatten)]
    pub difference: Difference,
}

impl From<Difference> for Placed {
    fn from(difference: Difference) -> Self {
        let partition = None;
        Self { partition, difference }
    }
}

impl std::fmt::Display for Placed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(partition) = &self.partition else {
            return self.difference.fmt(f);
        };
        let mut shown = self.difference.clone();
        match &mut shown {
            Difference::Added { path, .. }
            | Difference::Removed { path, .. }
            | Difference::Metadata { path, .. }
            | Difference::Content { path, .. } => *path = format!("{partition}:{path}"),
            _ => return write!(f, "{}: {shown}", Plain(partition)),
        }
        shown.fmt(f)
    }
}

/// All that differs between two raw disks; nothing where they are the same to the byte. `scratch` is an empty folder.
///
/// # Errors
/// [`ImageError`] when one of them is no disk, or cannot be read.
pub fn diff(a: &Path, b: &Path, scratch: &Path) -> Result<Vec<Placed>, ImageError> {
    let mut all = Vec::new();
    let (old, new) = (table::read(a)?, table::read(b)?);
    let sizes = (length(a)?, length(b)?);
    if same(&mut whole(a, 0)?, &mut whole(b, 0)?).map_err(ImageError::io(a))? && sizes.0 == sizes.1 {
        return Ok(all);
    }
    if sizes.0 != sizes.1 {
        all.push(Placed::from(Difference::Disk {
            attribute: "size",
            old: sizes.0.to_string(),
            new: sizes.1.to_string(),
        }));
    }
    let numbers: std::collections::BTreeSet<u32> = old.iter().chain(&new).map(|e| e.number).collect();
    for number in numbers {
        let of = |table: &[Entry]| table.iter().find(|e| e.number == number).cloned();
        match (of(&old), of(&new)) {
            (Some(old), Some(new)) => {
                let scratch = scratch.join(number.to_string());
                std::fs::create_dir_all(&scratch).map_err(ImageError::io(&scratch))?;
                partition((a, &old), (b, &new), &scratch, &mut all)?;
            }
            (old, new) => {
                let (disk, entry, is_new) = match (old, new) {
                    (Some(old), _) => (a, old, false),
                    (_, Some(new)) => (b, new, true),
                    (None, None) => continue,
                };
                let size = entry.size;
                let holds = kinds::look(disk, &entry)?;
                let name = name(&entry, &holds);
                let path = String::new();
                all.push(Placed {
                    partition: Some(name),
                    difference: if is_new {
                        Difference::Added { path, size }
                    } else {
                        Difference::Removed { path, size }
                    },
                });
            }
        }
    }
    if all.is_empty() {
        all.push(Placed::from(Difference::Packing {
            old: sum(whole(a, 0)?).map_err(ImageError::io(a))?,
            new: sum(whole(b, 0)?).map_err(ImageError::io(b))?,
        }));
    }
    Ok(all)
}

fn length(path: &Path) -> Result<u64, ImageError> {
    Ok(std::fs::metadata(path).map_err(ImageError::io(path))?.len())
}

fn whole(path: &Path, from: u64) -> Result<BufReader<File>, ImageError> {
    let mut file = File::open(path).map_err(ImageError::io(path))?;
    file.seek(SeekFrom::Start(from)).map_err(ImageError::io(path))?;
    Ok(BufReader::with_capacity(1 << 20, file))
}

fn part(disk: &Path, entry: &Entry) -> Result<impl Read + use<>, ImageError> {
    Ok(whole(disk, entry.start)?.take(entry.size))
}

fn name(entry: &Entry, holds: &Holds) -> String {
    let named = [entry.name.as_str(), holds.label()];
    let found = named.into_iter().find(|n| !n.is_empty());
    found.map_or_else(|| entry.number.to_string(), str::to_owned)
}

/// Whether two sources give the same, up to the first byte that differs.
fn same(a: &mut impl Read, b: &mut impl Read) -> std::io::Result<bool> {
    let (mut old, mut new) = (vec![0; 256 << 10], vec![0; 256 << 10]);
    loop {
        let (m, n) = (fill(a, &mut old)?, fill(b, &mut new)?);
        if m != n || old[..m] != new[..n] {
            return Ok(false);
        }
        if m == 0 {
            return Ok(true);
        }
    }
}

fn fill(source: &mut impl Read, into: &mut [u8]) -> std::io::Result<usize> {
    let mut count = 0;
    while count < into.len() {
        match source.read(&mut into[count..])? {
            0 => break,
            more => count += more,
        }
    }
    Ok(count)
}

fn sum(mut source: impl Read) -> std::io::Result<String> {
    let mut hash = jos_trust::digest::Hasher::default();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(hash.finish().to_string()),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn partition(
    (a, old): (&Path, &Entry),
    (b, new): (&Path, &Entry),
    scratch: &Path,
    all: &mut Vec<Placed>,
) -> Result<(), ImageError> {
    let (was, is) = (kinds::look(a, old)?, kinds::look(b, new)?);
    let name = name(old, &was);
    let mut say = |difference: Difference| {
        let partition = Some(name.clone());
        all.push(Placed { partition, difference });
    };
    for (attribute, old, new) in [
        ("name", old.name.clone(), new.name.clone()),
        ("start", old.start.to_string(), new.start.to_string()),
        ("size", old.size.to_string(), new.size.to_string()),
        ("type", old.kind.clone(), new.kind.clone()),
        ("id", old.id.clone(), new.id.clone()),
        ("file system", was.name().to_owned(), is.name().to_owned()),
        ("label", was.label().to_owned(), is.label().to_owned()),
    ] {
        if old != new {
            say(Difference::Disk { attribute, old, new });
        }
    }
    if old.size == new.size && same(&mut part(a, old)?, &mut part(b, new)?).map_err(ImageError::io(a))? {
        return Ok(());
    }
    let sides = (
        Tree::read(a, old, &was, &scratch.join("a"))?,
        Tree::read(b, new, &is, &scratch.join("b"))?,
    );
    if let (Some(was), Some(is)) = sides {
        let found = files(&was, &is)?;
        if !found.is_empty() {
            found.into_iter().for_each(say);
            return Ok(());
        }
        if old.size != new.size {
            return Ok(());
        }
    }
    let sums = (sum(part(a, old)?), sum(part(b, new)?));
    let (old, new) = (sums.0.map_err(ImageError::io(a))?, sums.1.map_err(ImageError::io(b))?);
    say(match (&was, &is) {
        (Holds::Ext(_), Holds::Ext(_)) | (Holds::Fat(_), Holds::Fat(_)) => Difference::Packing { old, new },
        _ => Difference::Bytes { old, new },
    });
    Ok(())
}

/// What is at a path.
struct Node {
    kind: &'static str,
    /// Empty where the file system knows none.
    mode: String,
    owner: String,
    size: u64,
    target: Option<String>,
    found: Option<Found>,
}

/// The files of a partition.
struct Tree {
    nodes: BTreeMap<String, Node>,
    /// Of ext4.
    view: Option<View>,
    /// Of FAT, taken out.
    folder: PathBuf,
}

impl Tree {
    /// None where the file system is one that nobody here reads.
    fn read(disk: &Path, entry: &Entry, holds: &Holds, scratch: &Path) -> Result<Option<Self>, ImageError> {
        let mut tree = Self {
            nodes: BTreeMap::new(),
            view: None,
            folder: scratch.to_owned(),
        };
        match holds {
            Holds::Ext(_) => {
                let view = View::open(disk, entry, &disk.display().to_string())?;
                view.walk(&mut |found| {
                    let (kind, target) = match &found.what {
                        What::Dir => ("folder", None),
                        What::File => ("file", None),
                        What::Link(target) => ("link", Some(String::from_utf8_lossy(target).into_owned())),
                        What::Special(kind) => (*kind, None),
                    };
                    let node = Node {
                        kind,
                        mode: format!("{:04o}", found.mode),
                        owner: format!("{}:{}", found.uid, found.gid),
                        size: found.size,
                        target,
                        found: Some(found.clone()),
                    };
                    tree.nodes.insert(found.path.clone(), node);
                    Ok(())
                })?;
                tree.view = Some(view);
            }
            Holds::Fat(_) => {
                std::fs::create_dir_all(scratch).map_err(ImageError::io(scratch))?;
                let at = format!("{}@@{}", disk.display(), entry.start);
                let mut copy = tools::command("mcopy");
                copy.args(["-s", "-n", "-i", &at, "::"]).arg(scratch);
                tools::run(&mut copy, None, "mtools reads boot partitions: apt install mtools")?;
                tree.fat(&mut Vec::new())?;
            }
            _ => return Ok(None),
        }
        Ok(Some(tree))
    }

    fn fat(&mut self, below: &mut Vec<String>) -> Result<(), ImageError> {
        let at = self.folder.join(below.join("/"));
        for entry in std::fs::read_dir(&at).map_err(ImageError::io(&at))? {
            let entry = entry.map_err(ImageError::io(&at))?;
            let metadata = entry.metadata().map_err(ImageError::io(&at))?;
            below.push(entry.file_name().to_string_lossy().into_owned());
            let node = Node {
                kind: if metadata.is_dir() { "folder" } else { "file" },
                mode: String::new(),
                owner: String::new(),
                size: if metadata.is_dir() { 0 } else { metadata.len() },
                target: None,
                found: None,
            };
            self.nodes.insert(below.join("/"), node);
            if metadata.is_dir() {
                self.fat(below)?;
            }
            below.pop();
        }
        Ok(())
    }

    fn open(&self, path: &str, node: &Node) -> Result<Box<dyn Read>, ImageError> {
        match (&self.view, &node.found) {
            (Some(view), Some(found)) => Ok(Box::new(view.content(found)?)),
            _ => {
                let at = self.folder.join(path);
                Ok(Box::new(File::open(&at).map_err(ImageError::io(&at))?))
            }
        }
    }
}

fn files(a: &Tree, b: &Tree) -> Result<Vec<Difference>, ImageError> {
    let mut all = Vec::new();
    let paths: std::collections::BTreeSet<&String> = a.nodes.keys().chain(b.nodes.keys()).collect();
    for path in paths {
        let shown = format!("/{path}");
        match (a.nodes.get(path), b.nodes.get(path)) {
            (Some(old), Some(new)) => both((a, old), (b, new), path, &mut all)?,
            (Some(old), None) => all.push(Difference::Removed {
                path: shown,
                size: old.size,
            }),
            (None, Some(new)) => all.push(Difference::Added {
                path: shown,
                size: new.size,
            }),
            (None, None) => {}
        }
    }
    Ok(all)
}

fn both(
    (a, old): (&Tree, &Node),
    (b, new): (&Tree, &Node),
    path: &str,
    all: &mut Vec<Difference>,
) -> Result<(), ImageError> {
    let shown = format!("/{path}");
    let pairs = [
        ("kind", old.kind, new.kind),
        ("mode", &old.mode, &new.mode),
        ("owner", &old.owner, &new.owner),
    ];
    for (attribute, old, new) in pairs.into_iter().filter(|(_, old, new)| old != new) {
        all.push(Difference::Metadata {
            path: shown.clone(),
            attribute,
            old: old.to_owned(),
            new: new.to_owned(),
        });
    }
    if let (Some(was), Some(is)) = (&old.target, &new.target)
        && was != is
    {
        all.push(Difference::Content {
            path: shown,
            old: was.clone(),
            new: is.clone(),
            diff: None,
        });
        return Ok(());
    }
    if (old.kind, new.kind) != ("file", "file") {
        return Ok(());
    }
    let io = || ImageError::io(PathBuf::from(&shown));
    if old.size == new.size && same(&mut a.open(path, old)?, &mut b.open(path, new)?).map_err(io())? {
        return Ok(());
    }
    if old.size != new.size {
        all.push(Difference::Metadata {
            path: shown.clone(),
            attribute: "size",
            old: old.size.to_string(),
            new: new.size.to_string(),
        });
    }
    let small = old.size.max(new.size) <= LARGEST_TEXT as u64;
    let (was, is, diff) = if small {
        let (mut was, mut is) = (Vec::new(), Vec::new());
        a.open(path, old)?.read_to_end(&mut was).map_err(io())?;
        b.open(path, new)?.read_to_end(&mut is).map_err(io())?;
        let diff = text(&was).zip(text(&is)).map(|(was, is)| lines(was, is));
        (sha256(&was), sha256(&is), diff)
    } else {
        let sums = (sum(a.open(path, old)?), sum(b.open(path, new)?));
        (sums.0.map_err(io())?, sums.1.map_err(io())?, None)
    };
    all.push(Difference::Content {
        path: shown,
        old: was,
        new: is,
        diff,
    });
    Ok(())
}
