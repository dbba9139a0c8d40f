//! The partition table that a Raspberry Pi's boot ROM reads: the MBR, of which the 3 knows no other.
//!
//! Layout: the table in the first sector, partitions from 4 MiB on (the erase block of a card), each at a whole MiB. Addresses
//! are by sector; those by cylinder say "too far", as everything past 8 GiB does.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use super::ImageError;
use super::disk::Spot;

/// FAT32, by sector.
pub(super) const FAT32: u8 = 0x0c;
/// A file system of Linux.
pub(super) const LINUX: u8 = 0x83;

const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;
const START: u64 = 4 * MIB;

/// Writes a disk with at most four partitions, each of so many bytes with its type, one after the other and all empty; gives
/// where they are.
pub(super) fn write(to: &Path, signature: u32, partitions: &[(u64, u8)]) -> Result<Vec<Spot>, ImageError> {
    let mut table = [0; 512];
    table[440..444].copy_from_slice(&signature.to_le_bytes());
    table[510..].copy_from_slice(&[0x55, 0xaa]);
    let mut at = START;
    let mut places = Vec::new();
    for ((size, kind), entry) in partitions.iter().zip(table[446..510].chunks_mut(16)) {
        let end = (at + size).next_multiple_of(MIB);
        let sector = |bytes: u64| {
            u32::try_from(bytes / SECTOR).map_err(|_| {
                ImageError::Unfit("an image with an MBR ends at 2 TiB: make `size` under [image] smaller".into())
            })
        };
        entry[..4].copy_from_slice(&[0, 0xfe, 0xff, 0xff]);
        entry[4..8].copy_from_slice(&[*kind, 0xfe, 0xff, 0xff]);
        entry[8..12].copy_from_slice(&sector(at)?.to_le_bytes());
        entry[12..].copy_from_slice(&sector(end - at)?.to_le_bytes());
        places.push(Spot {
            disk: to.to_owned(),
            at,
        });
        at = end;
    }
    let io = |e| ImageError::io(to)(e);
    let mut file = File::create(to).map_err(io)?;
    file.set_len(at).map_err(io)?;
    file.write_all(&table).map_err(io)?;
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_names_its_partitions_by_sector() {
        let dir = tempfile::tempdir().expect("a folder");
        let disk = dir.path().join("disk");
        let spots = write(&disk, 0x1234_5678, &[(1 << 20, FAT32), ((2 << 20) + 1, LINUX)]).expect("a disk");
        assert_eq!(spots.iter().map(|s| s.at >> 20).collect::<Vec<_>>(), [4, 5]);
        let bytes = std::fs::read(&disk).expect("the disk");
        assert_eq!(bytes.len(), 8 << 20);
        assert_eq!(bytes[440..444], [0x78, 0x56, 0x34, 0x12]);
        assert_eq!(
            (bytes[450], bytes[466], &bytes[510..512]),
            (FAT32, LINUX, &[0x55, 0xaa][..])
        );
        assert_eq!(bytes[454..462], [0, 0x20, 0, 0, 0, 8, 0, 0], "from 4 MiB on, 1 MiB");
        assert_eq!(bytes[470..478], [0, 0x28, 0, 0, 0, 0x18, 0, 0], "from 5 MiB on, 3 MiB");
    }
}
