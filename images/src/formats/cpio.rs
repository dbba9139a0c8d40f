//! The portable ASCII cpio archive ("odc", cpio(5)), which macOS installers carry gzip'd.
//!
//! A member is a header of octal text — magic `070707`, dev 6, ino 6, mode 6, uid 6, gid 6, nlink 6, rdev 6, mtime 11,
//! name length with its NUL 6, content length 11 — then name and content without padding. `TRAILER!!!` ends it.

use super::{Entry, EntryKind, FormatError, Tree};

/// The first bytes of an archive.
pub const MAGIC: &[u8; 6] = b"070707";
const HEADER: usize = 76;
const TRAILER: &str = "TRAILER!!!";
/// Largest value of a field of six octal digits.
const FIELD_LIMIT: u64 = 0o777_777;
const SIZE_LIMIT: u64 = 0o77_777_777_777;

/// The tree as an uncompressed archive: `.` first, then `./path` sorted; every member has the time `epoch`.
///
/// # Errors
/// [`FormatError::TooLarge`] for an owner above 262143, a file of 8 GiB or more, or more than 262142 entries.
pub fn write(tree: &Tree, epoch: u32) -> Result<Vec<u8>, FormatError> {
    let mut out = Vec::new();
    member(&mut out, ".", 1, epoch, &Entry::dir("", 0o755))?;
    for (entry, inode) in tree.entries().zip(2..) {
        member(&mut out, &format!("./{}", entry.path), inode, epoch, entry)?;
    }
    member(&mut out, TRAILER, 0, 0, &Entry::file("", 0, Vec::new()))?;
    Ok(out)
}

fn member(out: &mut Vec<u8>, name: &str, inode: u64, epoch: u32, entry: &Entry) -> Result<(), FormatError> {
    let (kind, body): (u32, &[u8]) = match &entry.kind {
        EntryKind::File(bytes) => (0o100_000, bytes),
        EntryKind::Dir => (0o040_000, &[]),
        EntryKind::Symlink(target) => (0o120_000, target.as_bytes()),
    };
    let fields = [
        ("number", inode),
        ("uid", u64::from(entry.uid)),
        ("gid", u64::from(entry.gid)),
    ];
    let over = fields.iter().find(|(_, value)| *value > FIELD_LIMIT);
    if let Some((what, size)) = over {
        return Err(FormatError::TooLarge {
            what: format!("{name}: {what}"),
            size: *size,
            limit: FIELD_LIMIT,
        });
    }
    if body.len() as u64 > SIZE_LIMIT {
        return Err(FormatError::TooLarge {
            what: name.to_owned(),
            size: body.len() as u64,
            limit: SIZE_LIMIT,
        });
    }
    let mode = if name == TRAILER { 0 } else { kind | entry.mode };
    let links = if entry.is_dir() { 2 } else { 1 };
    let header = format!(
        "070707{:06o}{inode:06o}{mode:06o}{:06o}{:06o}{links:06o}{:06o}{epoch:011o}{:06o}{:011o}",
        0,
        entry.uid,
        entry.gid,
        0,
        name.len() + 1,
        body.len()
    );
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    out.extend_from_slice(body);
    Ok(())
}

/// Read an archive into a tree; `part` names it in errors.
///
/// # Errors
/// [`FormatError::Damaged`] for anything that is not this format, and what [`Tree::insert`] refuses.
pub fn read(part: &str, bytes: &[u8]) -> Result<Tree, FormatError> {
    let mut tree = Tree::new();
    tree.allow_special_modes();
    let mut rest = bytes;
    loop {
        let at = bytes.len() - rest.len();
        let bad = |problem: &str| FormatError::damaged(format!("{part}, byte {at}"), problem);
        let (head, body) = rest
            .split_at_checked(HEADER)
            .ok_or_else(|| bad("the archive ends without its trailer"))?;
        if !head.starts_with(MAGIC) {
            return Err(bad("expected a member that starts with 070707 (odc cpio)"));
        }
        let octal = |from: usize, to: usize| {
            let mut digits = head[from..to].iter();
            digits.try_fold(0u64, |sum, d| {
                (b'0'..=b'7').contains(d).then(|| sum * 8 + u64::from(d - b'0'))
            })
        };
        let field = |from: usize, to: usize| octal(from, to).ok_or_else(|| bad("a number is not octal"));
        let (mode, uid, gid) = (field(18, 24)? as u32, field(24, 30)? as u32, field(30, 36)? as u32);
        let (name_len, size) = (field(59, 65)? as usize, field(65, 76)?);
        let (name, body) = body
            .split_at_checked(name_len)
            .ok_or_else(|| bad("the name is cut off"))?;
        let name = name
            .strip_suffix(b"\0")
            .ok_or_else(|| bad("the name does not end in a NUL"))?;
        let name = std::str::from_utf8(name).map_err(|_| bad("the name is not UTF-8"))?;
        let size = usize::try_from(size).map_err(|_| bad("the content is cut off"))?;
        let (content, after) = body
            .split_at_checked(size)
            .ok_or_else(|| bad("the content is cut off"))?;
        if name == TRAILER {
            return Ok(tree);
        }
        rest = after;
        if name == "." {
            continue;
        }
        let entry = match mode & 0o170_000 {
            0o100_000 => Entry::file(name, mode & 0o7777, content),
            0o040_000 => Entry::dir(name, mode & 0o7777),
            0o120_000 => {
                let target = std::str::from_utf8(content).map_err(|_| bad("a link's target is not UTF-8"))?;
                let mut link = Entry::symlink(name, target);
                link.mode = mode & 0o7777;
                link
            }
            _ => return Err(bad("a member is neither file, directory nor link")),
        };
        tree.insert(entry.owned_by(uid, gid))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::testing::{EPOCH, long_path, run, tree};

    #[test]
    fn bsdtar_and_7z_list_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut tree = tree();
        tree.insert(Entry::file("usr/local/bin/jos", 0o755, "x").owned_by(0, 80))
            .unwrap();
        let bytes = write(&tree, EPOCH).unwrap();
        assert_eq!(bytes, write(&tree, EPOCH).unwrap());
        std::fs::write(dir.path().join("payload.cpio"), &bytes).unwrap();
        let listing = run(dir.path(), "bsdtar", &["--numeric-owner", "-tvf", "payload.cpio"]);
        let row = |start: &str, end: &str| listing.lines().any(|l| l.starts_with(start) && l.ends_with(end));
        assert!(row("drwxr-xr-x  2 0      0", "."), "{listing}");
        assert!(row("-rwxr-xr-x  1 0      80", "./usr/local/bin/jos"), "{listing}");
        assert!(row("lrwxrwxrwx", "./usr/bin/probe-too -> probe"), "{listing}");
        assert!(row("-rw-r--r--", &format!("./{}", long_path())), "{listing}");
        assert_eq!(listing.lines().count(), tree.len() + 1);
        run(dir.path(), "7z", &["t", "payload.cpio"]);
        run(dir.path(), "bsdtar", &["-xf", "payload.cpio"]);
        assert_eq!(std::fs::read(dir.path().join(long_path())).unwrap(), b"deep\n");
    }

    #[test]
    fn an_archive_reads_back_and_a_cut_one_is_refused() {
        let tree = tree();
        let bytes = write(&tree, EPOCH).unwrap();
        let back = read("payload", &bytes).unwrap();
        let plain = |t: &Tree| {
            t.entries()
                .map(|e| (e.path.clone(), e.mode, e.kind.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(plain(&back), plain(&tree));
        for n in 0..bytes.len() {
            assert!(read("payload", &bytes[..n]).is_err(), "cut to {n} bytes");
        }
    }

    #[test]
    fn an_owner_that_does_not_fit_is_refused() {
        let mut tree = Tree::new();
        tree.insert(Entry::file("a", 0o644, "").owned_by(0o1_000_000, 0))
            .unwrap();
        assert!(write(&tree, EPOCH).unwrap_err().to_string().contains("uid"));
    }
}
