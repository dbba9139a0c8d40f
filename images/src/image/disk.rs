//! The partition table: GPT, UEFI Specification 2.10 §5.3, with the protective MBR of §5.2.3.
//!
//! Layout: MBR, header and 128 entries in the first 34 sectors; partitions from 1 MiB on, each at a whole MiB; the same
//! entries and header again in the last 33 sectors. Every sector has 512 bytes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use flate2::Crc;

use super::ImageError;

const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;
const ENTRIES: u64 = 128;
const ENTRY: u64 = 128;
/// Sectors of the entries.
const TABLE: u64 = ENTRIES * ENTRY / SECTOR;
/// EFI system partition.
const ESP: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";

/// A file system of Linux.
const LINUX: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";

/// A place on a disk that a file system is written to: no file of its own is copied there afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// The disk.
    pub(super) disk: PathBuf,
    /// Where it begins, in bytes.
    pub(super) at: u64,
}

/// One partition.
pub(super) struct Partition<'a> {
    bytes: u64,
    name: &'static str,
    kind: &'a str,
    id: &'a str,
}

impl<'a> Partition<'a> {
    /// The boot file system that firmware reads.
    pub(super) fn esp(bytes: u64, id: &'a str) -> Self {
        let (name, kind) = ("boot", ESP);
        Self { bytes, name, kind, id }
    }

    /// The file system that a device with a read-only root writes to.
    pub(super) fn data(bytes: u64, id: &'a str) -> Self {
        let (name, kind) = ("data", LINUX);
        Self { bytes, name, kind, id }
    }

    /// One of two places for a root file system, with room for larger ones.
    pub(super) fn slot(name: &'static str, bytes: u64, id: &'a str, kind: &'a str) -> Self {
        Self { bytes, name, kind, id }
    }

    /// The root file system.
    pub(super) fn root(bytes: u64, id: &'a str, kind: &'a str) -> Self {
        let name = "root";
        Self { bytes, name, kind, id }
    }
}

/// Writes a disk with these partitions, one after the other and all empty; gives where they are.
pub(super) fn gpt(to: &Path, disk: &str, partitions: &[Partition<'_>]) -> Result<Vec<Spot>, ImageError> {
    let io = |e| ImageError::io(to)(e);
    let mut places = Vec::new();
    let mut at = MIB;
    for partition in partitions {
        let end = (at + partition.bytes).next_multiple_of(MIB);
        places.push((at / SECTOR, end / SECTOR - 1));
        at = end;
    }
    let sectors = (at + MIB) / SECTOR;
    let mut entries = vec![0; usize::try_from(ENTRIES * ENTRY).unwrap_or_default()];
    for ((partition, (first, last)), entry) in partitions.iter().zip(&places).zip(entries.chunks_mut(ENTRY as usize)) {
        entry[..16].copy_from_slice(&guid(partition.kind)?);
        entry[16..32].copy_from_slice(&guid(partition.id)?);
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&last.to_le_bytes());
        for (unit, place) in partition.name.encode_utf16().zip(entry[56..].chunks_mut(2)) {
            place.copy_from_slice(&unit.to_le_bytes());
        }
    }
    let mut file = File::create(to).map_err(io)?;
    file.set_len(sectors * SECTOR).map_err(io)?;
    let mut put = |sector: u64, bytes: &[u8]| {
        file.seek(SeekFrom::Start(sector * SECTOR))
            .and_then(|_| file.write_all(bytes))
            .map_err(io)
    };
    let last = sectors - 1;
    put(0, &protective(sectors))?;
    put(1, &header(1, last, 2, sectors, &entries, disk)?)?;
    put(2, &entries)?;
    put(last - TABLE, &entries)?;
    put(last, &header(last, 1, last - TABLE, sectors, &entries, disk)?)?;
    let spot = |(first, _): &(u64, u64)| Spot {
        disk: to.to_owned(),
        at: first * SECTOR,
    };
    Ok(places.iter().map(spot).collect())
}

/// Copies the file system at this place into a file of its own.
pub(super) fn lift(from: &Spot, bytes: u64, to: &Path) -> Result<(), ImageError> {
    let mut disk = File::open(&from.disk).map_err(ImageError::io(&from.disk))?;
    disk.seek(SeekFrom::Start(from.at))
        .map_err(ImageError::io(&from.disk))?;
    let mut file = File::create(to).map_err(ImageError::io(to))?;
    pour(&mut disk.take(bytes), &mut file, 0).map_err(|error| match error {
        Poured::Read(error) => ImageError::io(&from.disk)(error),
        Poured::Write(error) => ImageError::io(to)(error),
    })?;
    // Its end may be zeros.
    file.set_len(bytes).map_err(ImageError::io(to))
}

/// On which side a copy failed.
pub(super) enum Poured {
    Read(std::io::Error),
    Write(std::io::Error),
}

/// Copies all that `source` gives to a place of a file, which reads as zero there, and gives how much that was. What is zero
/// is left out.
pub(super) fn pour(source: &mut impl Read, to: &mut File, mut at: u64) -> Result<u64, Poured> {
    let begin = at;
    let mut buffer = vec![0; 64 << 10];
    let zeros = buffer.clone();
    loop {
        let mut count = 0;
        while count < buffer.len() {
            match source.read(&mut buffer[count..]).map_err(Poured::Read)? {
                0 => break,
                more => count += more,
            }
        }
        if count == 0 {
            return Ok(at - begin);
        }
        if buffer[..count] != zeros[..count] {
            to.seek(SeekFrom::Start(at))
                .and_then(|_| to.write_all(&buffer[..count]))
                .map_err(Poured::Write)?;
        }
        at += count as u64;
    }
}

fn header(own: u64, other: u64, table: u64, sectors: u64, entries: &[u8], disk: &str) -> Result<[u8; 512], ImageError> {
    let mut h = [0; 512];
    h[..8].copy_from_slice(b"EFI PART");
    h[8..12].copy_from_slice(&0x0001_0000_u32.to_le_bytes());
    h[12..16].copy_from_slice(&92_u32.to_le_bytes());
    h[24..32].copy_from_slice(&own.to_le_bytes());
    h[32..40].copy_from_slice(&other.to_le_bytes());
    h[40..48].copy_from_slice(&(2 + TABLE).to_le_bytes());
    h[48..56].copy_from_slice(&(sectors - TABLE - 2).to_le_bytes());
    h[56..72].copy_from_slice(&guid(disk)?);
    h[72..80].copy_from_slice(&table.to_le_bytes());
    h[80..84].copy_from_slice(&128_u32.to_le_bytes());
    h[84..88].copy_from_slice(&128_u32.to_le_bytes());
    h[88..92].copy_from_slice(&crc(entries).to_le_bytes());
    let sum = crc(&h[..92]);
    h[16..20].copy_from_slice(&sum.to_le_bytes());
    Ok(h)
}

fn protective(sectors: u64) -> [u8; 512] {
    let mut mbr = [0; 512];
    let size = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
    mbr[446..462].copy_from_slice(&[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0]);
    mbr[458..462].copy_from_slice(&size.to_le_bytes());
    mbr[510..].copy_from_slice(&[0x55, 0xaa]);
    mbr
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// A GUID as the table holds it: the first three groups little-endian (UEFI Specification, Appendix A).
fn guid(text: &str) -> Result<[u8; 16], ImageError> {
    let odd = || ImageError::Unfit(format!("{text:?} is no UUID"));
    let hex: String = text.chars().filter(|c| *c != '-').collect();
    let mut bytes = [0; 16];
    if hex.len() != 32 || !hex.is_ascii() {
        return Err(odd());
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).map_err(|_| odd())?;
    }
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_its_table_twice_and_its_partitions_at_whole_mebibytes() {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = dir.path().join("disk");
        let id = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709";
        let parts = [Partition::esp(4, id), Partition::root(3 << 20, id, id)];
        let spots = gpt(&disk, id, &parts).expect("a disk");
        assert_eq!(spots.iter().map(|s| s.at >> 20).collect::<Vec<_>>(), [1, 2]);
        let bytes = std::fs::read(&disk).expect("the disk");
        assert_eq!(bytes.len() % (1 << 20), 0);
        let last = bytes.len() - 512;
        assert_eq!(bytes[510..512], [0x55, 0xaa]);
        assert_eq!(
            (&bytes[512..520], &bytes[last..last + 8]),
            (&b"EFI PART"[..], &b"EFI PART"[..])
        );
        assert_eq!(
            bytes[1024..1024 + 16384],
            bytes[last - 16384..last],
            "the entries stand there twice"
        );
        // The type of a root for amd64, as the UEFI Specification's Appendix A orders its bytes.
        assert_eq!(bytes[1024 + 128..1024 + 132], [0xe3, 0xbc, 0x68, 0x4f]);
        assert_eq!(bytes.len(), 6 << 20, "a whole mebibyte for the second table");
    }

    #[test]
    fn a_file_system_is_lifted_out_of_a_place_that_is_larger() {
        let dir = tempfile::tempdir().expect("a folder");
        let (disk, lifted) = (dir.path().join("disk"), dir.path().join("lifted"));
        let id = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709";
        let parts = [
            Partition::esp(1 << 20, id),
            Partition::slot("root-a", 3 << 20, id, id),
            Partition::slot("root-b", 3 << 20, id, id),
        ];
        let spots = gpt(&disk, id, &parts).expect("a disk");
        assert_eq!(spots[2].at, 5 << 20, "the second place is behind all of the first");
        let mut file = File::options().write(true).open(&disk).expect("the disk");
        file.seek(SeekFrom::Start(spots[1].at)).expect("its place");
        file.write_all(&[7; 4096]).expect("written");
        lift(&spots[1], 2 << 20, &lifted).expect("a file");
        let bytes = std::fs::read(&lifted).expect("the file");
        assert_eq!(bytes.len(), 2 << 20);
        assert!(bytes[..4096].iter().all(|b| *b == 7) && bytes[4096..].iter().all(|b| *b == 0));
    }

    #[test]
    fn what_is_no_uuid_is_refused() {
        for text in ["", "4f68bce3", "zz68bce3-e8cd-4db1-96e7-fbcaf984b709"] {
            assert!(guid(text).is_err(), "{text}");
        }
    }
}
