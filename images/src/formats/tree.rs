//! The tree of files a package installs.
//!
//! Owns: the list of entries, sorted by path, and the rules that keep a package inside its root: no `..`, no absolute
//! path, no NUL or other control character, no path twice, nothing below a file or a link ("tar slip").
//! Never: touches the target system; [`disk`] reads a tree from the builder's disk.

pub mod disk;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::FormatError;

/// Longest path, in bytes, that a tree takes (Linux `PATH_MAX` less the leading `./` and the final NUL).
pub const PATH_LIMIT: usize = 4093;
/// Longest single name, in bytes (`NAME_MAX` of every file system the packages meet).
pub const NAME_LIMIT: usize = 255;

/// What one entry is.
#[derive(Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file with its content.
    File(Vec<u8>),
    /// A directory.
    Dir,
    /// A symbolic link with its target, as it will be stored.
    Symlink(String),
}

impl std::fmt::Debug for EntryKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // Contents can hold secrets and are megabytes long: a size says enough.
            Self::File(bytes) => write!(f, "File({} bytes)", bytes.len()),
            Self::Dir => f.write_str("Dir"),
            Self::Symlink(target) => write!(f, "Symlink({target:?})"),
        }
    }
}

/// One file, directory or link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path below the root, normalised: `usr/bin/jos`.
    pub path: String,
    /// Permission bits, `0o7777` at most. Links carry `0o777`.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// What it is.
    pub kind: EntryKind,
    /// Whether a user's changes survive an upgrade (Debian Policy §10.7.3). Regular files only.
    pub conffile: bool,
    /// Made by us to hold another entry; an explicit directory may still take its place.
    implied: bool,
}

impl Entry {
    /// A regular file owned by 0:0.
    #[must_use]
    pub fn file(path: impl Into<String>, mode: u32, bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(path.into(), mode, EntryKind::File(bytes.into()))
    }

    /// A directory owned by 0:0.
    #[must_use]
    pub fn dir(path: impl Into<String>, mode: u32) -> Self {
        Self::new(path.into(), mode, EntryKind::Dir)
    }

    /// A symbolic link owned by 0:0.
    #[must_use]
    pub fn symlink(path: impl Into<String>, target: impl Into<String>) -> Self {
        Self::new(path.into(), 0o777, EntryKind::Symlink(target.into()))
    }

    /// The same entry with another owner.
    #[must_use]
    pub fn owned_by(mut self, uid: u32, gid: u32) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    /// The same entry as a configuration file.
    #[must_use]
    pub fn as_conffile(mut self) -> Self {
        self.conffile = true;
        self
    }

    /// Length of a file's content or a link's target in bytes; 0 for a directory.
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.kind {
            EntryKind::File(bytes) => bytes.len() as u64,
            EntryKind::Dir => 0,
            EntryKind::Symlink(target) => target.len() as u64,
        }
    }

    /// Whether this is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.kind == EntryKind::Dir
    }

    fn new(path: String, mode: u32, kind: EntryKind) -> Self {
        Self {
            path,
            mode,
            uid: 0,
            gid: 0,
            kind,
            conffile: false,
            implied: false,
        }
    }
}

/// A sorted, checked set of entries. The root itself is not an entry: writers add it as 0755 0:0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
    special_modes: bool,
}

impl Tree {
    /// An empty tree that refuses set-user-id, set-group-id and sticky bits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Allow set-user-id, set-group-id and sticky bits from here on. A vendor must ask for these by name.
    pub fn allow_special_modes(&mut self) {
        self.special_modes = true;
    }

    /// Add one entry; its path is normalised and missing parents are added as 0755 0:0.
    ///
    /// # Errors
    /// [`FormatError::Path`] for a path that leaves the root, is already there, or lies below something that is not a
    /// directory; for a mode with bits that were not allowed; for a link whose relative target leaves the root.
    pub fn insert(&mut self, mut entry: Entry) -> Result<(), FormatError> {
        let path = normalise(&entry.path)?;
        if entry.mode & !0o7777 != 0 {
            return Err(FormatError::path(
                path,
                format!("mode {:o} is more than permission bits", entry.mode),
            ));
        }
        if entry.mode & 0o7000 != 0 && !self.special_modes {
            let problem = format!(
                "mode {:04o} has a setuid, setgid or sticky bit, which was not asked for",
                entry.mode
            );
            return Err(FormatError::path(path, problem));
        }
        if entry.conffile && !matches!(entry.kind, EntryKind::File(_)) {
            return Err(FormatError::path(
                path,
                "only a regular file can be a conffile (Debian Policy §10.7.3)",
            ));
        }
        if let EntryKind::Symlink(target) = &entry.kind {
            check_target(&path, target)?;
        }
        self.make_room(&path, entry.is_dir())?;
        entry.path.clone_from(&path);
        self.entries.insert(path, entry);
        Ok(())
    }

    /// Add a regular file owned by 0:0.
    ///
    /// # Errors
    /// As [`Tree::insert`].
    pub fn file(&mut self, path: impl Into<String>, mode: u32, bytes: impl Into<Vec<u8>>) -> Result<(), FormatError> {
        self.insert(Entry::file(path, mode, bytes))
    }

    /// Add a configuration file owned by 0:0.
    ///
    /// # Errors
    /// As [`Tree::insert`].
    pub fn conffile(
        &mut self,
        path: impl Into<String>,
        mode: u32,
        bytes: impl Into<Vec<u8>>,
    ) -> Result<(), FormatError> {
        self.insert(Entry::file(path, mode, bytes).as_conffile())
    }

    /// Add a directory owned by 0:0.
    ///
    /// # Errors
    /// As [`Tree::insert`].
    pub fn dir(&mut self, path: impl Into<String>, mode: u32) -> Result<(), FormatError> {
        self.insert(Entry::dir(path, mode))
    }

    /// Add a symbolic link owned by 0:0.
    ///
    /// # Errors
    /// As [`Tree::insert`].
    pub fn symlink(&mut self, path: impl Into<String>, target: impl Into<String>) -> Result<(), FormatError> {
        self.insert(Entry::symlink(path, target))
    }

    /// Add every entry of `other` below `prefix` (`""` for the root).
    ///
    /// # Errors
    /// As [`Tree::insert`]: a path both trees hold is refused, unless both hold it as a directory.
    pub fn graft(&mut self, prefix: &str, other: Tree) -> Result<(), FormatError> {
        for (_, mut entry) in other.entries {
            if !prefix.is_empty() {
                entry.path = format!("{}/{}", prefix.trim_end_matches('/'), entry.path);
            }
            let known_dir =
                entry.is_dir() && normalise(&entry.path).is_ok_and(|p| self.get(&p).is_some_and(Entry::is_dir));
            if !(entry.implied || known_dir) {
                self.insert(entry)?;
            }
        }
        Ok(())
    }

    /// The entries, sorted by path bytes; a parent always comes before what it holds.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The entry at a normalised path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// Number of entries, parents included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the tree holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Paths of the conffiles with a leading `/`, sorted, as `conffiles` lists them (deb-conffiles(5)).
    #[must_use]
    pub fn conffiles(&self) -> Vec<String> {
        self.entries()
            .filter(|e| e.conffile)
            .map(|e| format!("/{}", e.path))
            .collect()
    }

    /// Disk space in KiB as `dpkg-gencontrol` counts it: each file rounded up, one for everything else.
    #[must_use]
    pub fn installed_kib(&self) -> u64 {
        let one = |e: &Entry| {
            if let EntryKind::File(b) = &e.kind {
                (b.len() as u64).div_ceil(1024)
            } else {
                1
            }
        };
        self.entries().map(one).sum::<u64>() + 1
    }

    /// Refuse two paths that differ only in letter case, which macOS' file system takes for one.
    ///
    /// # Errors
    /// [`FormatError::Path`] naming the second of them.
    pub fn check_case_insensitive(&self) -> Result<(), FormatError> {
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        for entry in self.entries() {
            if let Some(other) = seen.insert(entry.path.to_lowercase(), &entry.path) {
                let problem = format!("differs from {other:?} only in letter case, one file on the target");
                return Err(FormatError::path(&entry.path, problem));
            }
        }
        Ok(())
    }

    fn make_room(&mut self, path: &str, is_dir: bool) -> Result<(), FormatError> {
        match self.entries.get(path) {
            Some(old) if !(old.implied && is_dir) => {
                let problem = if old.implied {
                    "is already a directory that holds other entries"
                } else {
                    "is there twice"
                };
                return Err(FormatError::path(path, problem));
            }
            _ => {}
        }
        let mut parents = Vec::new();
        for (at, _) in path.match_indices('/') {
            let parent = &path[..at];
            match self.entries.get(parent) {
                Some(entry) if entry.is_dir() => {}
                Some(_) => {
                    let problem = format!("lies below {parent:?}, which is not a directory");
                    return Err(FormatError::path(path, problem));
                }
                None => parents.push(parent.to_owned()),
            }
        }
        for parent in parents {
            let mut dir = Entry::dir(parent.clone(), 0o755);
            dir.implied = true;
            self.entries.insert(parent, dir);
        }
        Ok(())
    }
}

/// Check a path and bring it into the one form a tree uses: relative, no `.`, no empty part. One leading `./` and one
/// trailing `/` are taken off, since archives write them.
///
/// # Errors
/// [`FormatError::Path`] for anything else that is not a plain relative path.
pub fn normalise(path: &str) -> Result<String, FormatError> {
    let refuse = |problem: &str| Err(FormatError::path(path, problem));
    if path.chars().any(char::is_control) {
        return refuse("holds a NUL, line break or other control character");
    }
    if path.starts_with('/') {
        return refuse("is absolute, expected a path relative to the package's root");
    }
    let plain = path.strip_prefix("./").unwrap_or(path);
    let plain = plain.strip_suffix('/').unwrap_or(plain);
    if plain.is_empty() {
        return refuse("is empty or names the root itself");
    }
    if plain.len() > PATH_LIMIT {
        return refuse("is longer than 4093 bytes");
    }
    for part in plain.split('/') {
        match part {
            "" => return refuse("has an empty part (`//` or a leading `/`)"),
            "." => return refuse("has a `.` part"),
            ".." => return refuse("has a `..` part, which could leave the package's root"),
            long if long.len() > NAME_LIMIT => return refuse("has a name longer than 255 bytes"),
            _ => {}
        }
    }
    Ok(plain.to_owned())
}

/// A link may point anywhere below the root, or name an absolute path of the target; a relative target must not climb
/// out above the root, where it would mean something else on each machine.
fn check_target(path: &str, target: &str) -> Result<(), FormatError> {
    if target.is_empty() || target.len() > PATH_LIMIT || target.chars().any(char::is_control) {
        return Err(FormatError::path(
            path,
            format!("is a link with an impossible target {target:?}"),
        ));
    }
    if target.starts_with('/') {
        return Ok(());
    }
    let mut depth = path.matches('/').count();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => {
                return Err(FormatError::path(
                    path,
                    format!("is a link whose target {target:?} leaves the root"),
                ));
            }
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    Ok(())
}
