//! gzip without a name or a time (RFC 1952), and its bounded reader.

use std::io::{Read, Write};

use flate2::{Compression, GzBuilder, read::MultiGzDecoder};

use super::FormatError;

/// Compress at level 9; header fields that vary by machine or day (name, time, operating system) are left empty.
///
/// # Errors
/// [`FormatError::Codec`]; writing to memory gives no cause for it.
pub fn compress(what: &str, bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
    let mut writer = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    let codec = |source| FormatError::Codec {
        what: format!("{what}: gzip"),
        source,
    };
    writer.write_all(bytes).map_err(codec)?;
    writer.finish().map_err(codec)
}

/// Decompress to at most `limit` bytes.
///
/// # Errors
/// [`FormatError::Codec`] for a damaged stream, [`FormatError::TooLarge`] past the limit.
pub fn decompress(what: &str, bytes: &[u8], limit: u64) -> Result<Vec<u8>, FormatError> {
    read_to_limit(&format!("{what}: gunzip"), &mut MultiGzDecoder::new(bytes), limit)
}

pub(crate) fn read_to_limit(what: &str, reader: &mut dyn Read, limit: u64) -> Result<Vec<u8>, FormatError> {
    let mut out = Vec::new();
    let mut bounded = reader.take(limit + 1);
    bounded.read_to_end(&mut out).map_err(|source| FormatError::Codec {
        what: what.to_owned(),
        source,
    })?;
    if out.len() as u64 > limit {
        return Err(FormatError::TooLarge {
            what: what.to_owned(),
            size: out.len() as u64,
            limit,
        });
    }
    Ok(out)
}
