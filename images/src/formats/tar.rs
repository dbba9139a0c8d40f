//! A GNU tar writer.
//!
//! Owns: headers, long names and padding. Names are `./path`, directories end in `/`, the root `./` comes first, as
//! dpkg-deb and opkg write and expect them; owners are numbers, the time is one for all members.
//! Never: reads; [`super::inspect()`] uses the `tar` crate, so that writer and reader cannot share a mistake.
//!
//! The crate's builder is not used for writing: it drops the `./` that both package managers expect.
//!
//! Header, 512 bytes (tar(5), "Old/Gnu tar"): name 100, mode 8, uid 8, gid 8, size 12, mtime 12, checksum 8, type 1,
//! link 100, magic `ustar  \0`, user 32, group 32, then zeros. Numbers are octal text. A name or link over 100 bytes
//! comes before its header in a member of type `L` or `K` named `././@LongLink`.

use super::{Entry, EntryKind, FormatError, Tree};

const BLOCK: usize = 512;
/// GNU tar pads its output to records of 20 blocks.
const RECORD: usize = 20 * BLOCK;
/// Largest value of an octal field of 8 (7 digits) and of 12 (11 digits).
const ID_LIMIT: u32 = 0o7_777_777;
const SIZE_LIMIT: u64 = 0o77_777_777_777;

/// Whether members also carry the owner's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// Numbers only, as `tar --numeric-owner` writes for opkg.
    Numeric,
    /// `root` beside a zero, as dpkg-deb writes.
    NamedRoot,
}

/// The tree as an uncompressed archive; every member has the time `epoch`.
///
/// # Errors
/// [`FormatError::TooLarge`] for a file of 8 GiB or more or an owner above 2097151.
pub fn write(tree: &Tree, epoch: u32, owners: Owners) -> Result<Vec<u8>, FormatError> {
    let mut out = Vec::new();
    let style = Style { epoch, owners };
    style.member(&mut out, &Entry::dir("", 0o755))?;
    for entry in tree.entries() {
        style.member(&mut out, entry)?;
    }
    out.resize(out.len() + 2 * BLOCK, 0);
    out.resize(out.len().next_multiple_of(RECORD), 0);
    Ok(out)
}

/// Named files in the given order, mode 0644 and without a root entry: the outer archive of an .ipk.
///
/// # Errors
/// As [`write()`].
pub fn write_files(files: &[(&str, &[u8])], epoch: u32) -> Result<Vec<u8>, FormatError> {
    let mut out = Vec::new();
    let style = Style {
        epoch,
        owners: Owners::Numeric,
    };
    for (name, bytes) in files {
        style.member(&mut out, &Entry::file(*name, 0o644, *bytes))?;
    }
    out.resize(out.len() + 2 * BLOCK, 0);
    out.resize(out.len().next_multiple_of(RECORD), 0);
    Ok(out)
}

struct Style {
    epoch: u32,
    owners: Owners,
}

impl Style {
    fn member(&self, out: &mut Vec<u8>, entry: &Entry) -> Result<(), FormatError> {
        let (kind, body, link): (u8, &[u8], &str) = match &entry.kind {
            EntryKind::File(bytes) => (b'0', bytes, ""),
            EntryKind::Dir => (b'5', &[], ""),
            EntryKind::Symlink(target) => (b'2', &[], target),
        };
        let slash = if entry.is_dir() && !entry.path.is_empty() {
            "/"
        } else {
            ""
        };
        let name = format!("./{}{slash}", entry.path);
        for (what, id) in [("uid", entry.uid), ("gid", entry.gid)] {
            if id > ID_LIMIT {
                let what = format!("{name}: {what}");
                return Err(FormatError::TooLarge {
                    what,
                    size: u64::from(id),
                    limit: u64::from(ID_LIMIT),
                });
            }
        }
        if body.len() as u64 > SIZE_LIMIT {
            return Err(FormatError::TooLarge {
                what: name,
                size: body.len() as u64,
                limit: SIZE_LIMIT,
            });
        }
        for (kind, text) in [(b'K', link), (b'L', name.as_str())] {
            if text.len() > 100 {
                let mut bytes = text.as_bytes().to_vec();
                bytes.push(0);
                let long = Entry::file("", 0o644, Vec::new());
                self.header(out, kind, "././@LongLink", "", &long, bytes.len() as u64, 0);
                pad(out, &bytes);
            }
        }
        self.header(out, kind, &name, link, entry, body.len() as u64, self.epoch);
        pad(out, body);
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one header")]
    fn header(&self, out: &mut Vec<u8>, kind: u8, name: &str, link: &str, entry: &Entry, size: u64, mtime: u32) {
        let mut head = [0u8; BLOCK];
        put(&mut head[..100], name.as_bytes());
        put(&mut head[100..107], format!("{:07o}", entry.mode).as_bytes());
        put(&mut head[108..115], format!("{:07o}", entry.uid).as_bytes());
        put(&mut head[116..123], format!("{:07o}", entry.gid).as_bytes());
        put(&mut head[124..135], format!("{size:011o}").as_bytes());
        put(&mut head[136..147], format!("{mtime:011o}").as_bytes());
        head[148..156].fill(b' ');
        head[156] = kind;
        put(&mut head[157..257], link.as_bytes());
        put(&mut head[257..265], b"ustar  \0");
        if self.owners == Owners::NamedRoot {
            let name = |id: u32| if id == 0 { &b"root"[..] } else { b"" };
            put(&mut head[265..297], name(entry.uid));
            put(&mut head[297..329], name(entry.gid));
        }
        // The checksum is the sum of all bytes with its own field as spaces: six octal digits, NUL, space.
        let sum: u32 = head.iter().map(|b| u32::from(*b)).sum();
        put(&mut head[148..154], format!("{sum:06o}").as_bytes());
        head[154] = 0;
        out.extend_from_slice(&head);
    }
}

fn put(field: &mut [u8], bytes: &[u8]) {
    let n = bytes.len().min(field.len());
    field[..n].copy_from_slice(&bytes[..n]);
}

fn pad(out: &mut Vec<u8>, body: &[u8]) {
    out.extend_from_slice(body);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}
