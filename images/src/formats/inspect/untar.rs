//! A tar archive as a checked tree, read by the `tar` crate.

use std::io::Read;

use tar::{Archive, EntryType};

use crate::formats::{Entry, EntryKind, FormatError, Tree, UNPACKED_LIMIT};

/// The most entries of one archive.
const ENTRY_LIMIT: usize = 200_000;

/// Read every member. The rules of [`Tree::insert`] hold for foreign packages too: an archive with a "tar slip" is
/// refused, not listed.
pub(crate) fn untar(part: &str, bytes: &[u8]) -> Result<Tree, FormatError> {
    untar_within(part, bytes, UNPACKED_LIMIT)
}

/// At most `limit` bytes of content, hard links included: each is listed with the content that it points to, so that a
/// small archive could name one large file any number of times.
fn untar_within(part: &str, bytes: &[u8], limit: u64) -> Result<Tree, FormatError> {
    let wrong = |e: std::io::Error| FormatError::damaged(part, e.to_string());
    let mut tree = Tree::new();
    tree.allow_special_modes();
    let mut held = 0;
    let mut hold = |content: &[u8]| {
        held += content.len() as u64;
        if held > limit {
            let what = format!("{part}: content");
            return Err(FormatError::TooLarge {
                what,
                size: held,
                limit,
            });
        }
        Ok(())
    };
    let mut archive = Archive::new(bytes);
    for member in archive.entries().map_err(wrong)? {
        let mut member = member.map_err(wrong)?;
        if tree.len() >= ENTRY_LIMIT {
            let limit = ENTRY_LIMIT as u64;
            return Err(FormatError::TooLarge {
                what: format!("{part}: entries"),
                size: limit + 1,
                limit,
            });
        }
        let path = text(part, &member.path_bytes())?;
        let header = member.header().clone();
        let id = |id: u64| u32::try_from(id).map_err(|_| FormatError::damaged(part, format!("{path}: owner {id}")));
        let (uid, gid) = (id(header.uid().map_err(wrong)?)?, id(header.gid().map_err(wrong)?)?);
        let mode = header.mode().map_err(wrong)? & 0o7777;
        let kind = header.entry_type();
        if matches!(path.as_str(), "." | "./") && kind.is_dir() {
            continue;
        }
        let entry = match kind {
            EntryType::Regular | EntryType::Continuous => {
                let mut content = Vec::new();
                member.read_to_end(&mut content).map_err(wrong)?;
                hold(&content)?;
                Entry::file(&path, mode, content)
            }
            EntryType::Directory => Entry::dir(&path, mode),
            EntryType::Symlink => {
                let mut link = Entry::symlink(&path, target(part, &path, &member)?);
                link.mode = mode;
                link
            }
            EntryType::Link => {
                let to = target(part, &path, &member)?;
                let to = tree.get(to.strip_prefix("./").unwrap_or(&to)).map(|e| &e.kind);
                let Some(EntryKind::File(content)) = to else {
                    let problem = format!("{path} is a hard link to something that is no earlier file");
                    return Err(FormatError::damaged(part, problem));
                };
                hold(content)?;
                Entry::file(&path, mode, content.clone())
            }
            other => {
                let problem = format!(
                    "{path} is of type {:?}, expected file, directory or link",
                    other.as_byte() as char
                );
                return Err(FormatError::damaged(part, problem));
            }
        };
        tree.insert(entry.owned_by(uid, gid))?;
    }
    Ok(tree)
}

fn target<R: Read>(part: &str, path: &str, member: &tar::Entry<'_, R>) -> Result<String, FormatError> {
    let bytes = member.link_name_bytes();
    let bytes = bytes.ok_or_else(|| FormatError::damaged(part, format!("{path} is a link without a target")))?;
    text(part, &bytes)
}

fn text(part: &str, bytes: &[u8]) -> Result<String, FormatError> {
    let found = || String::from_utf8_lossy(bytes).into_owned();
    String::from_utf8(bytes.to_vec()).map_err(|_| FormatError::damaged(part, format!("{:?} is not UTF-8", found())))
}

/// The text of a control file.
pub(crate) fn control_text(tree: &Tree, name: &str) -> Result<Option<String>, FormatError> {
    let Some(Entry {
        kind: EntryKind::File(bytes),
        ..
    }) = tree.get(name)
    else {
        return Ok(None);
    };
    let text = String::from_utf8(bytes.clone());
    text.map(Some).map_err(|_| FormatError::damaged(name, "is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_links_cannot_make_a_small_archive_hold_more_than_the_limit() {
        let mut archive = tar::Builder::new(Vec::new());
        let header = |kind, size| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(size);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header
        };
        let content = vec![0; 1000];
        archive
            .append_data(&mut header(EntryType::Regular, 1000), "first", content.as_slice())
            .unwrap();
        for n in 0..4 {
            archive
                .append_link(&mut header(EntryType::Link, 0), format!("again-{n}"), "first")
                .unwrap();
        }
        let bytes = archive.into_inner().unwrap();
        assert_eq!(untar_within("p", &bytes, 5000).unwrap().len(), 5);
        let said = untar_within("p", &bytes, 4999).unwrap_err().to_string();
        assert!(said.contains("p: content") && said.contains("limit of 4999"), "{said}");
    }
}
