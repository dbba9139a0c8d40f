//! xz, the compression dpkg uses by itself, and its bounded reader.

use std::io::Write;

use lzma_rust2::{CheckType, XzOptions, XzReader, XzWriter};

use super::{FormatError, gzip::read_to_limit};

/// Memory a foreign stream may ask for, in KiB: 128 MiB, above what `xz -9` needs to decompress (65 MiB).
const MEMORY_LIMIT_KIB: u32 = 128 << 10;

/// Compress at preset 6, one block, CRC64: what dpkg-deb itself uses. A stream holds neither name nor time.
///
/// # Errors
/// [`FormatError::Codec`]; writing to memory gives no cause for it.
pub fn compress(what: &str, bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
    let codec = |source| FormatError::Codec {
        what: format!("{what}: xz"),
        source,
    };
    let mut options = XzOptions::with_preset(6);
    options.set_check_sum_type(CheckType::Crc64);
    let mut writer = XzWriter::new(Vec::new(), options).map_err(codec)?;
    writer.write_all(bytes).map_err(codec)?;
    writer.finish().map_err(codec)
}

/// Decompress to at most `limit` bytes.
///
/// # Errors
/// [`FormatError::Codec`] for a damaged stream or one that asks for too much memory, [`FormatError::TooLarge`] past
/// the limit.
pub fn decompress(what: &str, bytes: &[u8], limit: u64) -> Result<Vec<u8>, FormatError> {
    let mut reader = XzReader::new_mem_limit(bytes, true, MEMORY_LIMIT_KIB);
    read_to_limit(&format!("{what}: unxz"), &mut reader, limit)
}
