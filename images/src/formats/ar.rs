//! The common ar archive as deb(5) uses it: names of at most 15 bytes, no symbol table.
//!
//! `!<arch>\n`, then for each member a header of 60 bytes (name 16, mtime 12, uid 6, gid 6, mode 8 octal, size 10,
//! "`\n"; text padded with blanks) and its content, padded to an even offset with a line feed.

use super::FormatError;

/// The first bytes of an archive.
pub const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER: usize = 60;

/// Write members in the given order, owner 0:0, mode 0644.
///
/// # Errors
/// [`FormatError::TooLarge`] for a name over 15 bytes or a member of 10^10 bytes or more.
pub fn write(members: &[(&str, &[u8])], epoch: u32) -> Result<Vec<u8>, FormatError> {
    let mut out = MAGIC.to_vec();
    for (name, bytes) in members {
        for (what, size, limit) in [("name", name.len(), 15), ("size", bytes.len(), 9_999_999_999)] {
            if size as u64 > limit {
                return Err(FormatError::TooLarge {
                    what: format!("{name}: {what}"),
                    size: size as u64,
                    limit,
                });
            }
        }
        let header = format!(
            "{name:<16}{epoch:<12}{:<6}{:<6}{:<8}{:<10}`\n",
            0,
            0,
            "100644",
            bytes.len()
        );
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(bytes);
        if bytes.len() % 2 == 1 {
            out.push(b'\n');
        }
    }
    Ok(out)
}

/// One member as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its name, without the padding and without the `/` some writers add.
    pub name: &'a str,
    /// Its content.
    pub bytes: &'a [u8],
}

/// Take an archive apart.
///
/// # Errors
/// [`FormatError::Damaged`] with the offset of what is not an archive.
pub fn read(bytes: &[u8]) -> Result<Vec<Member<'_>>, FormatError> {
    let bad = |at: usize, problem: &str| FormatError::damaged(format!("ar archive, byte {at}"), problem);
    let mut rest = bytes.strip_prefix(MAGIC).ok_or_else(|| bad(0, "expected `!<arch>`"))?;
    let mut members = Vec::new();
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        let (head, body) = rest
            .split_at_checked(HEADER)
            .ok_or_else(|| bad(at, "the member's header is cut off"))?;
        if !head.ends_with(b"`\n") {
            return Err(bad(
                at,
                "the member's header does not end in a grave accent and a line feed",
            ));
        }
        let text = std::str::from_utf8(head).map_err(|_| bad(at, "the member's header is not text"))?;
        // A header may be UTF-8 and still have a character across a field's edge: `get` refuses that.
        let field = |from: usize, to: usize| text.get(from..to).map(str::trim_end);
        let name = field(0, 16)
            .map(|n| n.strip_suffix('/').unwrap_or(n))
            .filter(|n| !n.is_empty());
        let name = name.ok_or_else(|| bad(at, "the member has no name"))?;
        let digits = field(48, 58).filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
        let size = digits
            .and_then(|d| d.parse::<usize>().ok())
            .ok_or_else(|| bad(at, "the member's size is not a number"))?;
        let (content, after) = body
            .split_at_checked(size)
            .ok_or_else(|| bad(at, "the member is longer than what is left of the file"))?;
        members.push(Member { name, bytes: content });
        rest = if size % 2 == 1 {
            after.get(1..).unwrap_or(&[])
        } else {
            after
        };
    }
    Ok(members)
}
