//! What a partition holds, by its first bytes: enough to find a root, and to say what was found where one was expected.
//!
//! Owns: the marks of file systems and of what lies in their place (each as its own documentation has it), and the few fields of
//! ext4's superblock that are asked for before anything is read or written
//! (Documentation/filesystems/ext4/super.rst of Linux).

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::ImageError;
use super::table::Entry;

/// Bytes that are looked at.
const LOOKED_AT: usize = 68 << 10;

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// ext4, or an older one of its kind.
    Ext(Ext),
    /// FAT, with its label.
    Fat(String),
    /// Something else that has a name.
    Other(&'static str),
    /// Nothing that is known.
    Unknown,
}

impl Holds {
    /// As people call it.
    #[must_use]
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Ext(_) => "ext4",
            Self::Fat(_) => "FAT",
            Self::Other(name) => name,
            Self::Unknown => "nothing known",
        }
    }

    /// The file system's own name.
    #[must_use]
    pub(crate) fn label(&self) -> &str {
        match self {
            Self::Ext(ext) => &ext.label,
            Self::Fat(label) => label,
            _ => "",
        }
    }
}

/// A superblock of ext4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ext {
    /// Its label.
    pub(crate) label: String,
    /// Unmounted, with an empty journal and no errors.
    pub(crate) clean: bool,
    /// Bytes of a block.
    pub(crate) block: u64,
    /// Bytes that are free.
    pub(crate) free: u64,
    /// Files that may still be made.
    pub(crate) free_files: u64,
}

/// Looks at a partition.
///
/// # Errors
/// [`ImageError::Io`].
pub(crate) fn look(disk: &Path, entry: &Entry) -> Result<Holds, ImageError> {
    let io = || ImageError::io(disk);
    let mut file = File::open(disk).map_err(io())?;
    file.seek(SeekFrom::Start(entry.start)).map_err(io())?;
    let mut bytes = Vec::new();
    let length = entry.size.min(LOOKED_AT as u64);
    file.take(length).read_to_end(&mut bytes).map_err(io())?;
    bytes.resize(LOOKED_AT, 0);
    Ok(of(&bytes))
}

fn of(bytes: &[u8]) -> Holds {
    let is = |at: usize, mark: &[u8]| bytes[at..at + mark.len()] == *mark;
    if is(1024 + 0x38, &[0x53, 0xef]) {
        return Holds::Ext(superblock(&bytes[1024..2048]));
    }
    for (at, mark, name) in [
        (0, &b"hsqs"[..], "squashfs"),
        (0, b"XFSB", "XFS"),
        (0, b"LUKS\xba\xbe", "an encrypted volume (LUKS)"),
        (0, b"\xeb\x52\x90NTFS", "NTFS"),
        (512, b"LABELONE", "a physical volume of LVM"),
        (1024, &[0x10, 0x20, 0xf5, 0xf2], "F2FS"),
        (1024, &[0xe2, 0xe1, 0xf5, 0xe0], "EROFS"),
        (4086, b"SWAPSPACE2", "swap"),
        (0x1_0040, b"_BHRfS_M", "btrfs"),
    ] {
        if is(at, mark) {
            return Holds::Other(name);
        }
    }
    if is(510, &[0x55, 0xaa]) {
        for (type_at, label_at) in [(82, 71), (54, 43)] {
            if is(type_at, b"FAT") {
                return Holds::Fat(text(&bytes[label_at..label_at + 11]));
            }
        }
    }
    Holds::Unknown
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
}

fn superblock(bytes: &[u8]) -> Ext {
    let number = |at: usize, count: usize| {
        bytes[at..at + count]
            .iter()
            .rev()
            .fold(0, |n, b| n << 8 | u64::from(*b))
    };
    let incompatible = number(0x60, 4);
    let wide = incompatible & 0x80 != 0;
    let block = 1024 << number(0x18, 4).min(6);
    let free = number(0x0c, 4) | if wide { number(0x158, 4) << 32 } else { 0 };
    Ext {
        label: text(&bytes[0x78..0x88]),
        clean: number(0x3a, 2) & 3 == 1 && incompatible & 4 == 0,
        block,
        free: free.saturating_mul(block),
        free_files: number(0x10, 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_a_partition_is_told_by_its_mark() {
        let holds = |at: usize, mark: &[u8]| {
            let mut bytes = vec![0; LOOKED_AT];
            bytes[at..at + mark.len()].copy_from_slice(mark);
            of(&bytes)
        };
        assert_eq!(holds(0, b""), Holds::Unknown);
        assert_eq!(holds(0x1_0040, b"_BHRfS_M"), Holds::Other("btrfs"));
        assert_eq!(holds(512, b"LABELONE"), Holds::Other("a physical volume of LVM"));
        assert_eq!(holds(1024 + 0x38, &[0x53, 0xef]).name(), "ext4");
    }

    #[test]
    fn a_superblock_says_how_much_is_free_and_whether_it_was_left_in_order() {
        let mut bytes = vec![0; 1024];
        bytes[0x0c] = 10;
        bytes[0x10] = 7;
        bytes[0x18] = 2;
        bytes[0x3a] = 1;
        bytes[0x78..0x7e].copy_from_slice(b"rootfs");
        let ext = superblock(&bytes);
        assert_eq!((ext.label.as_str(), ext.clean, ext.block), ("rootfs", true, 4096));
        assert_eq!((ext.free, ext.free_files), (40960, 7));
        bytes[0x60] = 4;
        assert!(!superblock(&bytes).clean, "its journal is to be replayed");
        bytes[0x60] = 0;
        bytes[0x3a] = 3;
        assert!(!superblock(&bytes).clean, "it has errors");
    }
}
