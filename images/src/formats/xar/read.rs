//! Takes a xar archive apart, checking every sum and trusting no length in it.

use std::collections::BTreeSet;

use flate2::read::ZlibDecoder;
use roxmltree::{Document, Node, ParsingOptions};

use crate::formats::{FormatError, UNPACKED_LIMIT, gzip::read_to_limit, hash, tree::normalise};

/// The largest table of contents: 16 MiB.
const TOC_LIMIT: u64 = 16 << 20;
/// The deepest nesting of directories.
const DEPTH_LIMIT: usize = 32;
/// The most elements of the table.
const NODE_LIMIT: u32 = 1 << 20;

/// One file of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its path, such as `base.pkg/Payload`.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// The files of an archive in the order of its table.
///
/// # Errors
/// [`FormatError::Damaged`] for a wrong checksum, an offset outside of the file, a kind of compression that installers
/// do not use, or anything that is not this format; [`FormatError::TooLarge`] past our limits.
pub fn read(bytes: &[u8]) -> Result<Vec<Member>, FormatError> {
    let (head, _) = bytes.split_at_checked(28).ok_or_else(|| bad("the header is cut off"))?;
    let number = |from: usize, to: usize| head[from..to].iter().fold(0u64, |sum, b| sum << 8 | u64::from(*b));
    if !head.starts_with(super::MAGIC) || number(6, 8) != 1 {
        return Err(bad("expected `xar!` and version 1"));
    }
    let (size, packed_len, plain_len, kind) = (number(4, 6), number(8, 16), number(16, 24), number(24, 28));
    if plain_len > TOC_LIMIT {
        return Err(FormatError::TooLarge {
            what: "table of contents".into(),
            size: plain_len,
            limit: TOC_LIMIT,
        });
    }
    let start = usize::try_from(size)
        .ok()
        .filter(|s| *s >= 28)
        .ok_or_else(|| bad("the header's size is wrong"))?;
    let end = usize::try_from(packed_len).ok().and_then(|l| start.checked_add(l));
    let packed = end
        .and_then(|e| bytes.get(start..e))
        .ok_or_else(|| bad("the table of contents is cut off"))?;
    let heap = &bytes[start + packed.len()..];
    let toc = read_to_limit("table of contents: zlib", &mut ZlibDecoder::new(packed), TOC_LIMIT)?;
    if toc.len() as u64 != plain_len {
        return Err(bad("the table of contents is not as long as the header says"));
    }
    let toc = std::str::from_utf8(&toc).map_err(|_| bad("the table of contents is not UTF-8"))?;
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: NODE_LIMIT,
        ..ParsingOptions::default()
    };
    let document =
        Document::parse_with_options(toc, options).map_err(|e| bad(format!("the table of contents: {e}")))?;
    let toc = child(document.root_element(), "toc").ok_or_else(|| bad("the table of contents has no <toc>"))?;
    check_toc_sum(kind, toc, packed, heap)?;
    let mut walk = Walk {
        heap,
        left: UNPACKED_LIMIT,
        seen: BTreeSet::new(),
        members: Vec::new(),
    };
    walk.files(toc, "", 0)?;
    Ok(walk.members)
}

fn check_toc_sum(kind: u64, toc: Node<'_, '_>, packed: &[u8], heap: &[u8]) -> Result<(), FormatError> {
    let sum = child(toc, "checksum").ok_or_else(|| bad("the table of contents has no <checksum>"))?;
    let found = slice(heap, count(sum, "offset")?, count(sum, "size")?)?;
    let expected = match (kind, sum.attribute("style")) {
        (1, Some("sha1")) => hash::sha1(packed),
        (3, Some("sha256")) => hash::sha256(packed),
        _ => return Err(bad("the checksum is neither sha1 nor sha256")),
    };
    if hash::hex(found) != expected {
        return Err(bad(
            "the table of contents does not have the checksum the archive carries",
        ));
    }
    Ok(())
}

struct Walk<'a> {
    heap: &'a [u8],
    /// Bytes that may still be unpacked.
    left: u64,
    seen: BTreeSet<String>,
    members: Vec<Member>,
}

impl Walk<'_> {
    fn files(&mut self, parent: Node<'_, '_>, below: &str, depth: usize) -> Result<(), FormatError> {
        if depth > DEPTH_LIMIT {
            return Err(bad("directories are nested too deep"));
        }
        for file in parent.children().filter(|n| n.has_tag_name("file")) {
            let name = text(file, "name").ok_or_else(|| bad("a file has no name"))?;
            if name.contains('/') {
                return Err(bad(format!("the name {name:?} holds a slash")));
            }
            let path = normalise(&format!("{below}{name}"))?;
            if !self.seen.insert(path.clone()) {
                return Err(bad(format!("{path} is there twice")));
            }
            if let Some(data) = child(file, "data") {
                let bytes = self.content(&path, data)?;
                self.members.push(Member {
                    path: path.clone(),
                    bytes,
                });
            }
            self.files(file, &format!("{path}/"), depth + 1)?;
        }
        Ok(())
    }

    fn content(&mut self, path: &str, data: Node<'_, '_>) -> Result<Vec<u8>, FormatError> {
        let stored = slice(self.heap, count(data, "offset")?, count(data, "length")?)?;
        let style = child(data, "encoding")
            .and_then(|e| e.attribute("style"))
            .unwrap_or("application/octet-stream");
        let bytes = match style {
            // Many members may name the same bytes of the heap: the limit counts each of them.
            "application/octet-stream" => read_to_limit(path, &mut &*stored, self.left)?,
            "application/x-gzip" => read_to_limit(path, &mut ZlibDecoder::new(stored), self.left)?,
            other => {
                return Err(FormatError::damaged(
                    path,
                    format!("is compressed as {other:?}, expected none or gzip"),
                ));
            }
        };
        self.left -= bytes.len() as u64;
        for (name, what) in [("archived-checksum", stored), ("extracted-checksum", bytes.as_slice())] {
            let Some(sum) = child(data, name) else { continue };
            let expected = match sum.attribute("style") {
                Some("sha1" | "SHA1") => hash::sha1(what),
                Some("sha256" | "SHA256") => hash::sha256(what),
                _ => {
                    return Err(FormatError::damaged(
                        path,
                        format!("has a {name} that is neither sha1 nor sha256"),
                    ));
                }
            };
            if sum.text().map(str::trim) != Some(expected.as_str()) {
                return Err(FormatError::damaged(
                    path,
                    format!("does not have the {name} the archive carries"),
                ));
            }
        }
        if count(data, "size")? != bytes.len() as u64 {
            return Err(FormatError::damaged(path, "is not as long as the archive says"));
        }
        Ok(bytes)
    }
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|n| n.has_tag_name(name))
}

fn text<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    child(node, name)?.text()
}

fn count(node: Node<'_, '_>, name: &str) -> Result<u64, FormatError> {
    let digits = text(node, name).map(str::trim);
    digits
        .and_then(|d| d.parse().ok())
        .ok_or_else(|| bad(format!("<{name}> is not a number")))
}

fn slice(heap: &[u8], at: u64, length: u64) -> Result<&[u8], FormatError> {
    let range = usize::try_from(at).ok().zip(usize::try_from(length).ok());
    let range = range.and_then(|(at, length)| Some(at..at.checked_add(length)?));
    range
        .and_then(|r| heap.get(r))
        .ok_or_else(|| bad("a member lies outside of the file"))
}

fn bad(problem: impl Into<String>) -> FormatError {
    FormatError::damaged("xar archive", problem)
}
