//! The cabinet inside a package: written by the `cab` crate, read by ourselves, within limits and without trust.
//!
//! Format: "Microsoft Cabinet Format" and "Microsoft MSZIP Data Compression Format" (\[MS-MCI\]).

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};

use cab::{CabinetBuilder, CompressionType};
use flate2::{Decompress, FlushDecompress, Status};
use time::{OffsetDateTime, PrimitiveDateTime};

use super::rows::Packed;
use crate::formats::FormatError;

const PART: &str = "cabinet";
/// The most bytes that a block unpacks to, and the most that one may refer back to.
const BLOCK: usize = 0x8000;

pub(super) fn write(files: &[Packed<'_>], epoch: u32) -> Result<Vec<u8>, FormatError> {
    let codec = |source| FormatError::Codec {
        what: "writing the cabinet".to_owned(),
        source,
    };
    let when = OffsetDateTime::from_unix_timestamp(i64::from(epoch)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let mut builder = CabinetBuilder::new();
    let folder = builder.add_folder(CompressionType::MsZip);
    for file in files {
        let entry = folder.add_file(file.key.as_str());
        entry.set_datetime(PrimitiveDateTime::new(when.date(), when.time()));
    }
    let mut writer = builder.build(Cursor::new(Vec::new())).map_err(codec)?;
    let mut left = files.iter();
    while let Some(mut file) = writer.next_file().map_err(codec)? {
        if let Some(packed) = left.next() {
            file.write_all(packed.bytes).map_err(codec)?;
        }
    }
    Ok(writer.finish().map_err(codec)?.into_inner())
}

/// Numbers out of a file, none of them believed.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], FormatError> {
        let end = self.at.checked_add(length);
        let Some(part) = end.and_then(|end| self.bytes.get(self.at..end)) else {
            return Err(FormatError::damaged(
                PART,
                format!("ends at {}, expected more", self.bytes.len()),
            ));
        };
        self.at += length;
        Ok(part)
    }

    fn u8(&mut self) -> Result<usize, FormatError> {
        Ok(usize::from(self.take(1)?[0]))
    }

    fn u16(&mut self) -> Result<u16, FormatError> {
        let b = self.take(2)?;
        Ok(u16::from_le_bytes([b[0], b[1]]))
    }

    fn u32(&mut self) -> Result<u32, FormatError> {
        let b = self.take(4)?;
        Ok(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    fn text(&mut self) -> Result<String, FormatError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(length) = rest.iter().take(257).position(|b| *b == 0) else {
            return Err(FormatError::damaged(PART, "a name without an end"));
        };
        let text = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.at += length + 1;
        Ok(text)
    }
}

struct Folder {
    at: usize,
    blocks: u16,
    packing: u16,
}

/// Every file of a cabinet, by name; `limit` bytes of content at most.
pub(crate) fn read(bytes: &[u8], limit: u64) -> Result<BTreeMap<String, Vec<u8>>, FormatError> {
    let damaged = |problem: &str| FormatError::damaged(PART, problem);
    let mut reader = Reader { bytes, at: 0 };
    if reader.take(4)? != b"MSCF" {
        return Err(damaged("does not begin with MSCF"));
    }
    reader.take(4)?;
    if u64::from(reader.u32()?) != bytes.len() as u64 {
        return Err(damaged("says another size than it has"));
    }
    reader.take(4)?;
    let first_file = reader.u32()? as usize;
    reader.take(6)?;
    let (folders, files, flags) = (reader.u16()?, reader.u16()?, reader.u16()?);
    reader.take(4)?;
    if flags & 3 != 0 {
        return Err(damaged("is one of several; expected a whole one"));
    }
    let (mut of_folder, mut of_block) = (0, 0);
    if flags & 4 != 0 {
        let of_header = usize::from(reader.u16()?);
        (of_folder, of_block) = (reader.u8()?, reader.u8()?);
        reader.take(of_header)?;
    }
    let mut all = Vec::new();
    for _ in 0..folders {
        let folder = Folder {
            at: reader.u32()? as usize,
            blocks: reader.u16()?,
            packing: reader.u16()? & 0xf,
        };
        reader.take(of_folder)?;
        all.push(folder);
    }
    let (mut contents, mut left) = (Vec::new(), limit);
    for folder in &all {
        let content = unpack(bytes, folder, of_block, left)?;
        left -= content.len() as u64;
        contents.push(content);
    }
    reader.at = first_file;
    let mut found = BTreeMap::new();
    let mut given = 0;
    for _ in 0..files {
        let (size, at, folder) = (reader.u32()? as usize, reader.u32()? as usize, reader.u16()?);
        reader.take(6)?;
        let name = reader.text()?;
        // Two names for the same bytes would make a small cabinet a large one.
        given += size as u64;
        let content = contents.get(usize::from(folder));
        let part = content.and_then(|content| content.get(at..at.checked_add(size)?));
        match part {
            Some(part) if given <= limit => found.insert(name, part.to_vec()),
            _ => return Err(damaged("a file lies outside of what is packed")),
        };
    }
    Ok(found)
}

fn unpack(bytes: &[u8], folder: &Folder, of_block: usize, limit: u64) -> Result<Vec<u8>, FormatError> {
    let damaged = |problem: &str| FormatError::damaged(PART, problem);
    let mut out: Vec<u8> = Vec::new();
    let mut reader = Reader { bytes, at: folder.at };
    for _ in 0..folder.blocks {
        let sum = reader.u32()?;
        let (packed, unpacked) = (reader.u16()?, reader.u16()?);
        let own = reader.take(of_block)?;
        let data = reader.take(usize::from(packed))?;
        if sum != 0 && checksum(&[own, data], packed, unpacked) != sum {
            return Err(damaged("a block's sum does not fit"));
        }
        let size = out.len() as u64 + u64::from(unpacked);
        if size > limit {
            let what = "cabinet: content".to_owned();
            return Err(FormatError::TooLarge { what, size, limit });
        }
        let unpacked = usize::from(unpacked);
        match folder.packing {
            0 if data.len() == unpacked => out.extend_from_slice(data),
            1 if unpacked <= BLOCK => {
                let block = inflate(data, &out[out.len().saturating_sub(BLOCK)..], unpacked)
                    .ok_or_else(|| damaged("a block is no MSZIP"))?;
                out.extend_from_slice(&block);
            }
            0 | 1 => return Err(damaged("a block has another size than it says")),
            2 => return Err(damaged("is packed by Quantum; expected MSZIP or none")),
            _ => return Err(damaged("is packed by LZX; expected MSZIP or none")),
        }
    }
    Ok(out)
}

/// One MSZIP block: a deflate stream of its own, which may refer back to the block before it. That one is given first, as
/// a stored block.
fn inflate(data: &[u8], before: &[u8], size: usize) -> Option<Vec<u8>> {
    let data = data.strip_prefix(b"CK")?;
    let mut inflater = Decompress::new(false);
    let mut out = Vec::with_capacity(before.len() + size);
    if !before.is_empty() {
        let length = u16::try_from(before.len()).ok()?;
        let mut stored = vec![0];
        stored.extend_from_slice(&length.to_le_bytes());
        stored.extend_from_slice(&(!length).to_le_bytes());
        stored.extend_from_slice(before);
        let status = inflater.decompress_vec(&stored, &mut out, FlushDecompress::Sync).ok()?;
        if !matches!(status, Status::Ok) || out.len() != before.len() {
            return None;
        }
    }
    inflater.decompress_vec(data, &mut out, FlushDecompress::Finish).ok()?;
    (out.len() == before.len() + size).then(|| out.split_off(before.len()))
}

/// Little-endian words xor-ed; what is left over is read the other way around, as the format has it.
fn checksum(parts: &[&[u8]], packed: u16, unpacked: u16) -> u32 {
    let all = parts.concat();
    let words = all.chunks_exact(4);
    let rest = words.remainder().iter().fold(0, |sum, b| sum << 8 | u32::from(*b));
    let word = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    words.fold(rest, |sum, b| sum ^ word(b)) ^ (u32::from(packed) | u32::from(unpacked) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed<'a>(key: &str, bytes: &'a [u8]) -> Packed<'a> {
        let key = key.to_owned();
        Packed { key, bytes }
    }

    #[test]
    fn what_was_packed_is_read_again_over_many_blocks() {
        let mut noise = 1_u32;
        let random: Vec<u8> = (0..100_000)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 24) as u8
            })
            .collect();
        let text = b"all work and no play ".repeat(9000);
        let files = [packed("a", &random), packed("b", b""), packed("c", &text)];
        let bytes = write(&files, 1_795_219_200).unwrap();
        assert!(bytes.len() < random.len() + 10_000, "the text is packed");
        let read = read(&bytes, 1 << 20).unwrap();
        assert_eq!(read["a"], random);
        assert_eq!(read["b"], b"");
        assert_eq!(read["c"], text);
    }

    #[test]
    fn more_than_the_limit_is_refused_before_it_is_unpacked() {
        let bytes = write(&[packed("a", &vec![0; 200_000])], 0).unwrap();
        let said = read(&bytes, 100_000).unwrap_err().to_string();
        assert!(
            said.contains("cabinet: content") && said.contains("limit of 100000"),
            "{said}"
        );
    }

    #[test]
    fn a_changed_byte_of_the_content_is_found_by_its_sum() {
        let mut bytes = write(&[packed("a", b"hello hello hello hello")], 0).unwrap();
        let last = bytes.len() - 3;
        bytes[last] ^= 1;
        let said = read(&bytes, 1000).unwrap_err().to_string();
        assert!(said.contains("sum"), "{said}");
    }
}
