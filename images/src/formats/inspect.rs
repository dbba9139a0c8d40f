//! What is in a package: the reader behind `jos-image inspect FILE`.
//!
//! Owns: telling the kinds apart by their first bytes (never by the name), and one [`Report`] for all of them.
//! Never: trusts a length, name or sum in the file, runs anything, or writes to disk.
//!
//! Two kinds of trouble: what cannot be read is a [`FormatError`]; what can be read and is wrong (a sum that does not
//! fit, a conffile that is not there) is a line of [`Report::problems`].

mod apk;
mod deb;
mod ipk;
mod msi;
mod pkg;
mod report;
#[cfg(test)]
mod tests;
mod untar;

pub use report::{FileKind, FileRow, PackageKind, Report, ScriptRow};
pub(crate) use untar::{control_text, untar};

use std::io::Read;
use std::path::Path;

use super::{FormatError, ar, hash, xar};

/// The largest package taken: 1 GiB.
pub const PACKAGE_LIMIT: u64 = 1 << 30;

/// Read a package from disk and report on it.
///
/// # Errors
/// [`FormatError::Io`] when it cannot be read, [`FormatError::TooLarge`] above [`PACKAGE_LIMIT`], else as [`inspect`].
pub fn inspect_file(path: &Path) -> Result<Report, FormatError> {
    let io = |e| FormatError::io(path, e);
    let file = std::fs::File::open(path).map_err(io)?;
    if !file.metadata().map_err(io)?.is_file() {
        return Err(FormatError::path(
            path.display().to_string(),
            "is not a regular file, expected a package",
        ));
    }
    let mut bytes = Vec::new();
    file.take(PACKAGE_LIMIT + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > PACKAGE_LIMIT {
        let what = path.display().to_string();
        return Err(FormatError::TooLarge {
            what,
            size: bytes.len() as u64,
            limit: PACKAGE_LIMIT,
        });
    }
    inspect(&bytes)
}

/// Report on a package in memory.
///
/// # Errors
/// [`FormatError::UnknownKind`] for something that is no package, [`FormatError::Damaged`], [`FormatError::Codec`],
/// [`FormatError::Path`] or [`FormatError::TooLarge`] for one that cannot be read safely.
pub fn inspect(bytes: &[u8]) -> Result<Report, FormatError> {
    let mut report = if bytes.starts_with(ar::MAGIC) {
        deb::inspect(bytes)?
    } else if bytes.starts_with(&[0x1F, 0x8B]) {
        ipk::inspect(bytes)?
    } else if bytes.starts_with(xar::MAGIC) {
        pkg::inspect(bytes)?
    } else if bytes.starts_with(b"ADB") {
        apk::inspect(bytes)?
    } else if bytes.starts_with(super::msi::MAGIC) {
        msi::inspect(bytes)?
    } else {
        let first = &bytes[..bytes.len().min(8)];
        let found = if first.is_empty() {
            "nothing (it is empty)".to_owned()
        } else {
            hash::hex(first)
        };
        return Err(FormatError::UnknownKind { found });
    };
    report.size = bytes.len() as u64;
    report.sha256 = hash::sha256(bytes);
    Ok(report)
}
