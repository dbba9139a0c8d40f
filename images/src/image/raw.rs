//! A raw disk out of a file: as it is, or out of xz, sparse where it holds nothing.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use jos_trust::digest::Hasher;
use lzma_rust2::XzReader;

use super::ImageError;
use super::disk::{Poured, pour};

/// Memory that a stream may ask for, in KiB: `xz -9` needs 65 MiB.
const MEMORY_LIMIT_KIB: u32 = 128 << 10;

/// What was read so far.
struct Counted<R> {
    source: R,
    hash: Hasher,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.source.read(into)?;
        self.hash.update(&into[..count]);
        Ok(count)
    }
}

/// Writes the disk in `path`, which errors call `shown`, to `to`, and gives the SHA-256 of what it read.
///
/// # Errors
/// [`ImageError::Refused`] for a file that is compressed in another way, or damaged.
pub(crate) fn unpack(path: &Path, shown: &str, to: &Path) -> Result<String, ImageError> {
    let refused = |what: String, help: String| ImageError::Refused { what, help };
    let mut source = File::open(path).map_err(ImageError::io(path))?;
    let mut head = [0; 8];
    let found = source.read(&mut head).map_err(ImageError::io(path))?;
    source.rewind().map_err(ImageError::io(path))?;
    let head = &head[..found];
    for (mark, what, help) in [
        (&b"\x1f\x8b"[..], "compressed by gzip", "gunzip it"),
        (b"\x28\xb5\x2f\xfd", "compressed by zstd", "unzstd it"),
        (b"BZh", "compressed by bzip2", "bunzip2 it"),
        (b"PK\x03\x04", "a zip archive", "unzip it"),
        (b"7z\xbc\xaf", "a 7z archive", "7z x it"),
        (b"QFI\xfb", "a disk of QEMU (qcow2)", "qemu-img convert -O raw it"),
    ] {
        if head.starts_with(mark) {
            return Err(refused(
                format!("{shown} is {what}: expected a raw disk, or one compressed by xz"),
                format!("{help}, and pin the hash of what comes out"),
            ));
        }
    }
    let mut counted = Counted {
        source,
        hash: Hasher::default(),
    };
    let mut disk = File::create(to).map_err(ImageError::io(to))?;
    let poured = if head.starts_with(b"\xfd7zXZ\0") {
        pour(
            &mut XzReader::new_mem_limit(BufReader::new(&mut counted), true, MEMORY_LIMIT_KIB),
            &mut disk,
            0,
        )
    } else {
        pour(&mut counted, &mut disk, 0)
    };
    let size = match poured {
        Ok(size) => size,
        Err(Poured::Write(error)) => return Err(ImageError::io(to)(error)),
        Err(Poured::Read(error)) => {
            let help = "is it whole? `xz --test` says; a stream may ask for 128 MiB of memory";
            return Err(refused(format!("{shown} cannot be unpacked: {error}"), help.into()));
        }
    };
    disk.set_len(size).map_err(ImageError::io(to))?;
    // What may come after the last stream belongs to the file's hash.
    std::io::copy(&mut counted, &mut std::io::sink()).map_err(ImageError::io(path))?;
    Ok(counted.hash.finish().to_string())
}
