//! The report and its text.

use std::fmt;

use jos_schemas::report::Plain;

use crate::formats::control::Stanza;
use crate::formats::{Entry, EntryKind, Tree, hash};

/// Kinds of packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PackageKind {
    /// Debian binary package.
    Deb,
    /// opkg package.
    Ipk,
    /// apk v3 package.
    Apk,
    /// macOS installer product.
    Pkg,
    /// Windows Installer package.
    Msi,
}

/// Kinds of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// Regular file.
    File,
    /// Directory.
    Dir,
    /// Symbolic link.
    Symlink,
}

/// One entry of a package.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FileRow {
    /// Absolute path on the target.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits as four octal digits.
    pub mode: String,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Bytes of a file's content or a link's target.
    pub size: u64,
    /// SHA-256 of a file's content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// A link's target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

impl FileRow {
    pub(super) fn of(entry: &Entry) -> Self {
        let (kind, sha256, target) = match &entry.kind {
            EntryKind::File(bytes) => (FileKind::File, Some(hash::sha256(bytes)), None),
            EntryKind::Dir => (FileKind::Dir, None, None),
            EntryKind::Symlink(target) => (FileKind::Symlink, None, Some(target.clone())),
        };
        let mode = format!("{:04o}", entry.mode);
        let path = format!("/{}", entry.path);
        Self {
            path,
            kind,
            mode,
            uid: entry.uid,
            gid: entry.gid,
            size: entry.size(),
            sha256,
            target,
        }
    }
}

/// One script the package manager would run.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ScriptRow {
    /// Its name, such as `postinst`.
    pub name: String,
    /// SHA-256 of it.
    pub sha256: String,
    /// Its text; bytes that are not UTF-8 are replaced.
    pub text: String,
}

impl ScriptRow {
    pub(super) fn new(name: &str, bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        Self {
            name: name.to_owned(),
            sha256: hash::sha256(bytes),
            text,
        }
    }
}

/// What is in a package.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Its kind.
    pub kind: PackageKind,
    /// Bytes of the package file.
    pub size: u64,
    /// SHA-256 of the package file.
    pub sha256: String,
    /// Control fields in their order; of a .pkg what `PackageInfo` and `Distribution` say, of an .msi its properties and services.
    pub control: Stanza,
    /// Scripts, sorted by name.
    pub scripts: Vec<ScriptRow>,
    /// Absolute paths of the conffiles.
    pub conffiles: Vec<String>,
    /// Entries, sorted by path, without the root.
    pub files: Vec<FileRow>,
    /// The entries with their content.
    #[serde(skip)]
    pub(crate) tree: Tree,
    /// What is wrong with the package although it can be read; empty for a sound one.
    pub problems: Vec<String>,
}

impl Report {
    pub(super) fn new(kind: PackageKind, control: Stanza, tree: &Tree) -> Self {
        Self {
            kind,
            size: 0,
            sha256: String::new(),
            control,
            scripts: Vec::new(),
            conffiles: Vec::new(),
            files: tree.entries().map(FileRow::of).collect(),
            tree: tree.clone(),
            problems: Vec::new(),
        }
    }

    /// Take over the list of conffiles, one absolute path a line, and check that each is a file of the package.
    pub(super) fn take_conffiles(&mut self, text: &str, tree: &Tree) {
        for line in text.lines().filter(|l| !l.is_empty()) {
            // deb-conffiles(5): a line may start with the flag remove-on-upgrade.
            let path = line.strip_prefix("remove-on-upgrade ").unwrap_or(line);
            let there = path
                .strip_prefix('/')
                .and_then(|p| tree.get(p))
                .is_some_and(|e| !e.is_dir());
            if !there && path == line {
                self.problems
                    .push(format!("conffiles names {path:?}, which is no file of the package"));
            }
            self.conffiles.push(path.to_owned());
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            PackageKind::Deb => "Debian package (.deb)",
            PackageKind::Ipk => "opkg package (.ipk)",
            PackageKind::Apk => "apk v3 package (.apk)",
            PackageKind::Pkg => "macOS installer (.pkg)",
            PackageKind::Msi => "Windows Installer package (.msi)",
        };
        writeln!(f, "{kind}, {} bytes, sha256 {}\n", self.size, self.sha256)?;
        write!(f, "{}", Plain(&self.control.to_string()))?;
        writeln!(f, "\nFiles ({}):", self.files.len())?;
        for row in &self.files {
            let kind = match row.kind {
                FileKind::File => '-',
                FileKind::Dir => 'd',
                FileKind::Symlink => 'l',
            };
            let sum = row.sha256.as_deref().map_or("-", |s| &s[..16]);
            write!(
                f,
                "  {kind}{} {:>5}:{:<5} {:>9} {sum:<16} ",
                row.mode, row.uid, row.gid, row.size
            )?;
            match &row.target {
                Some(target) => writeln!(f, "{} -> {}", Plain(&row.path), Plain(target))?,
                None => writeln!(f, "{}", Plain(&row.path))?,
            }
        }
        for (what, lines) in [("Configuration files", &self.conffiles), ("Problems", &self.problems)] {
            if !lines.is_empty() {
                writeln!(f, "\n{what}:")?;
                lines.iter().try_for_each(|line| writeln!(f, "  {}", Plain(line)))?;
            }
        }
        for script in &self.scripts {
            writeln!(f, "\nScript {}, sha256 {}:", script.name, script.sha256)?;
            script
                .text
                .lines()
                .try_for_each(|line| writeln!(f, "  | {}", Plain(&line.replace('\t', "    "))))?;
        }
        Ok(())
    }
}
