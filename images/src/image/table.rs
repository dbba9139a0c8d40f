//! Reading a disk's partition table: MBR, or GPT where the MBR says so (UEFI Specification 2.10, §5.2 and §5.3).

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::ImageError;

const SECTOR: u64 = 512;

/// A partition, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its number, from 1.
    pub number: u32,
    /// Where it begins.
    pub start: u64,
    /// How long it is.
    pub size: u64,
    /// Its name, which only a GPT has.
    pub name: String,
    /// Its type: a GUID, or `0x83`.
    pub kind: String,
    /// Its own GUID, which only a GPT has.
    pub id: String,
}

/// The primary partitions of a disk, or those of its GPT, as the table has them.
///
/// # Errors
/// [`ImageError`] when there is no table.
pub fn read(disk: &Path) -> Result<Vec<Entry>, ImageError> {
    read_as(disk, &disk.display().to_string())
}

/// The same of a disk that errors call by another name than that of its file.
pub(crate) fn read_as(disk: &Path, shown: &str) -> Result<Vec<Entry>, ImageError> {
    let io = |e| ImageError::io(disk)(e);
    let unfit = |what: &str| ImageError::Unfit(format!("{shown}: {what}: expected a disk with an MBR or a GPT"));
    let mut file = File::open(disk).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut at = |offset: u64, bytes: &mut [u8]| {
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.read_exact(bytes))
            .map_err(|_| unfit("its table reaches beyond its end"))
    };
    let mut mbr = [0; 512];
    at(0, &mut mbr)?;
    if mbr[510..] != [0x55, 0xaa] {
        return Err(unfit("no partition table"));
    }
    let short = |bytes: &[u8]| bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b));
    let mut all = Vec::new();
    if mbr[450] == 0xee {
        let mut header = [0; 512];
        at(SECTOR, &mut header)?;
        let (count, each) = (short(&header[80..84]), short(&header[84..88]));
        if header[..8] != *b"EFI PART" || !(128..=4096).contains(&each) || count > 1024 {
            return Err(unfit("a damaged GPT"));
        }
        let table = short(&header[72..80]).saturating_mul(SECTOR);
        let mut entry = [0; 128];
        for number in 0..count {
            at(table.saturating_add(number * each), &mut entry)?;
            if entry[..16] != [0; 16] {
                let (first, last) = (short(&entry[32..40]), short(&entry[40..48]));
                let texts = (text(&entry[56..]), guid(&entry[..16]), guid(&entry[16..32]));
                all.push((number + 1, first, last.saturating_add(1).saturating_sub(first), texts));
            }
        }
    } else {
        for (number, entry) in (1..).zip(mbr[446..510].chunks(16)) {
            // 5 and 15 are chains of further partitions, where no system of ours lies.
            if ![0, 0x05, 0x0f].contains(&entry[4]) {
                let texts = (String::new(), format!("{:#04x}", entry[4]), String::new());
                all.push((number, short(&entry[8..12]), short(&entry[12..16]), texts));
            }
        }
    }
    let mut entries = Vec::new();
    for (number, first, sectors, (name, kind, id)) in all {
        let (start, size) = (first.saturating_mul(SECTOR), sectors.saturating_mul(SECTOR));
        if start == 0 || size == 0 || start.saturating_add(size) > length {
            return Err(unfit(&format!("partition {number} reaches beyond its end")));
        }
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        entries.push(Entry {
            number,
            start,
            size,
            name,
            kind,
            id,
        });
    }
    Ok(entries)
}

/// A name, in UTF-16 up to the first zero.
fn text(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    String::from_utf16_lossy(&units)
}

/// A GUID as people write it: the first three groups are little-endian (UEFI Specification, Appendix A).
fn guid(bytes: &[u8]) -> String {
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let hex: String = ORDER.iter().map(|at| format!("{:02x}", bytes[*at])).collect();
    let groups = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
    groups.map(|(from, to)| &hex[from..to]).join("-")
}

#[cfg(test)]
mod tests {
    use super::super::{disk, mbr};
    use super::*;

    #[test]
    fn the_tables_we_write_are_read_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let image = dir.path().join("image");
        let mib = 1 << 20;
        let places = |image: &Path| -> Vec<(u32, u64, u64)> {
            let entries = read(image).expect("a table");
            entries.iter().map(|e| (e.number, e.start, e.size)).collect()
        };
        mbr::write(&image, 1, &[(mib, mbr::FAT32), (mib, mbr::LINUX)]).expect("a disk");
        assert_eq!(places(&image), [(1, 4 * mib, mib), (2, 5 * mib, mib)]);
        assert_eq!(read(&image).expect("a table")[0].kind, "0x0c");
        let id = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709";
        let parts = [disk::Partition::esp(mib, id), disk::Partition::root(mib, id, id)];
        disk::gpt(&image, id, &parts).expect("a disk");
        assert_eq!(places(&image), [(1, mib, mib), (2, 2 * mib, mib)]);
        let root = read(&image).expect("a table").remove(1);
        assert_eq!(
            (root.name.as_str(), root.kind.as_str(), root.id.as_str()),
            ("root", id, id)
        );
    }

    #[test]
    fn what_is_no_disk_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let image = dir.path().join("image");
        for bytes in [vec![], vec![0; 1024], [vec![1; 510], vec![0x55, 0xaa]].concat()] {
            std::fs::write(&image, bytes).expect("a file");
            assert!(read(&image).is_err());
        }
    }
}
