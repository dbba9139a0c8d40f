//! The xar archive around a macOS installer (xar's wiki page "xarformat").
//!
//! A header of 28 bytes, big-endian — `xar!`, header size u16, version 1 u16, compressed and plain length of the table
//! of contents u64 each, checksum kind u32 (1 is SHA-1) — then the table, XML in zlib, then the heap. The heap starts
//! with the SHA-1 of the compressed table; members follow, stored as they are.
//!
//! SHA-1 is what the format checks damage with; who made an archive is a matter of signatures, not of these sums.

mod read;
#[cfg(test)]
mod tests;

pub use read::{Member, read};

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::{Compression, write::ZlibEncoder};

use super::{EntryKind, FormatError, Tree, hash};

/// The first bytes of an archive.
pub const MAGIC: &[u8; 4] = b"xar!";

/// The tree's files and directories as an archive; links have no place in an installer's outer archive.
///
/// # Errors
/// [`FormatError::Path`] for a link.
pub fn write(tree: &Tree, epoch: u32) -> Result<Vec<u8>, FormatError> {
    let mut heap = vec![0u8; 20];
    let mut toc = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<xar>\n <toc>\n");
    let time = utc(epoch);
    let _ = writeln!(toc, "  <creation-time>{time}</creation-time>");
    toc.push_str("  <checksum style=\"sha1\">\n   <offset>0</offset>\n   <size>20</size>\n  </checksum>\n");

    // By parts, not by bytes: `a-b` must not come between `a` and `a/c`, or `a` would have to be closed too early.
    let mut entries: Vec<_> = tree.entries().collect();
    entries.sort_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
    let mut depth = 0;
    for (id, entry) in (1..).zip(entries) {
        let level = entry.path.matches('/').count();
        close(&mut toc, &mut depth, level);
        let name = entry.path.rsplit('/').next().unwrap_or(&entry.path);
        let _ = writeln!(toc, "  <file id=\"{id}\">\n   <name>{}</name>", escape(name));
        let kind = match &entry.kind {
            EntryKind::File(bytes) => {
                let (sum, size) = (hash::sha1(bytes), bytes.len());
                let _ = write!(
                    toc,
                    "   <data>\n    <archived-checksum style=\"sha1\">{sum}</archived-checksum>\n    \
                     <extracted-checksum style=\"sha1\">{sum}</extracted-checksum>\n    \
                     <encoding style=\"application/octet-stream\"/>\n    <size>{size}</size>\n    \
                     <offset>{}</offset>\n    <length>{size}</length>\n   </data>\n",
                    heap.len()
                );
                heap.extend_from_slice(bytes);
                "file"
            }
            EntryKind::Dir => "directory",
            EntryKind::Symlink(_) => {
                return Err(FormatError::path(
                    &entry.path,
                    "is a link; the outer archive holds files and directories",
                ));
            }
        };
        let _ = writeln!(
            toc,
            "   <type>{kind}</type>\n   <mode>{:04o}</mode>\n   <uid>{}</uid>\n   <gid>{}</gid>\n   <mtime>{time}</mtime>",
            entry.mode, entry.uid, entry.gid
        );
        depth += 1;
    }
    close(&mut toc, &mut depth, 0);
    toc.push_str(" </toc>\n</xar>\n");

    let codec = |source| FormatError::Codec {
        what: "table of contents: zlib".into(),
        source,
    };
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(toc.as_bytes()).map_err(codec)?;
    let packed = encoder.finish().map_err(codec)?;
    heap[..20].copy_from_slice(&hash::sha1_raw(&packed));

    let mut out = MAGIC.to_vec();
    out.extend(28u16.to_be_bytes());
    out.extend(1u16.to_be_bytes());
    out.extend((packed.len() as u64).to_be_bytes());
    out.extend((toc.len() as u64).to_be_bytes());
    out.extend(1u32.to_be_bytes());
    out.extend(packed);
    out.extend(heap);
    Ok(out)
}

fn close(toc: &mut String, depth: &mut usize, level: usize) {
    while *depth > level {
        toc.push_str("  </file>\n");
        *depth -= 1;
    }
}

/// Text as XML character data or an attribute's value.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            other => out.push(other),
        }
    }
    out
}

/// Seconds since 1970 as `2026-01-02T03:04:05Z` (proleptic Gregorian calendar, no leap seconds).
fn utc(epoch: u32) -> String {
    let (days, seconds) = (epoch / 86_400, epoch % 86_400);
    // Years that start in March put the leap day last; day 719468 of that count is 1970-01-01.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + u32::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
