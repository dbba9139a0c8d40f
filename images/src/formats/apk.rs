//! apk packages for OpenWrt from 25.12 on, with the records that OpenWrt's own build puts into each.
//!
//! Owns: a [`Tree`] as the directories of a package; `/lib/apk/packages/NAME.{list,conffiles,conffiles_static}`, which
//! `default_postinst` and `sysupgrade` read (OpenWrt's `package-pack.mk`); a Debian version as apk writes it.
//! The format itself is [`jos_apk`]'s.

use std::collections::BTreeMap;

use jos_apk::{Compression, Content, Dependency, Dir, File, Owner, PackageInfo, Scripts};

use super::{Entry, EntryKind, FormatError, Tree, hash, scripts};

/// Where OpenWrt keeps what it knows of a package.
const RECORDS: &str = "lib/apk/packages";

/// Everything an .apk is made of.
#[derive(Debug, Clone, Default)]
pub struct ApkPackage {
    /// What it says about itself; times and sizes are worked out.
    pub info: PackageInfo,
    /// The scripts.
    pub scripts: Scripts,
    /// The files, with conffiles marked.
    pub tree: Tree,
    /// Time of every file, seconds since 1970 (`SOURCE_DATE_EPOCH`).
    pub epoch: u32,
}

impl ApkPackage {
    /// `NAME-VERSION.ARCH.apk`: several architectures share a folder here, where a repository has `NAME-VERSION.apk`
    /// in a folder for each.
    #[must_use]
    pub fn file_name(&self) -> String {
        let info = &self.info;
        format!("{}-{}.{}.apk", info.name, info.version, info.arch)
    }

    /// The package, unsigned: a repository signs what it takes in. Equal input gives equal bytes.
    ///
    /// # Errors
    /// [`FormatError::Field`] for a value outside its grammar, [`FormatError::Path`] for a file that is not root's: apk
    /// names owners, and a number has no name here.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FormatError> {
        let mut info = self.info.clone();
        info.build_time = Some(u64::from(self.epoch));
        for (name, text) in [
            ("post-install", &self.scripts.post_install),
            ("post-upgrade", &self.scripts.post_upgrade),
            ("pre-deinstall", &self.scripts.pre_deinstall),
        ] {
            if !text.is_empty() {
                scripts::check(name, text)?;
            }
        }
        let package = jos_apk::Package {
            dirs: dirs(&self.with_records()?, self.epoch)?,
            info,
            scripts: self.scripts.clone(),
            triggers: Vec::new(),
            replaces_priority: None,
        };
        Ok(package.to_bytes(&[], Compression::Deflate)?)
    }

    fn with_records(&self) -> Result<Tree, FormatError> {
        let mut tree = self.tree.clone();
        let listed = self.tree.entries().filter(|e| !e.is_dir());
        let list: String = listed.map(|e| format!("/{}\n", e.path)).collect();
        let mut record = |kind: &str, text: String| {
            let path = format!("{RECORDS}/{}.{kind}", self.info.name);
            if text.is_empty() {
                Ok(())
            } else {
                tree.file(path, 0o644, text)
            }
        };
        record("list", list)?;
        record(
            "conffiles",
            self.tree.conffiles().iter().map(|path| format!("{path}\n")).collect(),
        )?;
        let sums = self
            .tree
            .entries()
            .filter(|e| e.conffile)
            .filter_map(|e| match &e.kind {
                EntryKind::File(bytes) => Some(format!("/{} {}\n", e.path, hash::sha256(bytes))),
                EntryKind::Dir | EntryKind::Symlink(_) => None,
            });
        record("conffiles_static", sums.collect())?;
        Ok(tree)
    }
}

fn dirs(tree: &Tree, epoch: u32) -> Result<Vec<Dir>, FormatError> {
    let dir = |path: &str, mode| Dir {
        path: path.to_owned(),
        owner: Owner::root(mode),
        files: Vec::new(),
    };
    let mut dirs = BTreeMap::from([("", dir("", 0o755))]);
    for entry in tree.entries() {
        if (entry.uid, entry.gid) != (0, 0) {
            let problem = format!(
                "belongs to {}:{}, expected root's (0:0) in an .apk",
                entry.uid, entry.gid
            );
            return Err(FormatError::path(&entry.path, problem));
        }
        if entry.is_dir() {
            dirs.insert(&entry.path, dir(&entry.path, entry.mode));
            continue;
        }
        let (parent, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        // A tree lists each directory before what it holds.
        if let Some(parent) = dirs.get_mut(parent) {
            parent.files.push(file(name, entry, epoch));
        }
    }
    Ok(dirs.into_values().collect())
}

fn file(name: &str, entry: &Entry, epoch: u32) -> File {
    let content = match &entry.kind {
        EntryKind::Symlink(target) => Content::Symlink(target.clone()),
        EntryKind::File(bytes) => Content::File(bytes.clone()),
        EntryKind::Dir => Content::File(Vec::new()),
    };
    File {
        name: name.to_owned(),
        owner: Owner::root(entry.mode),
        mtime: u64::from(epoch),
        content,
    }
}

/// A version and release as apk writes them: `1.4.2~rc1` of release 3 is `1.4.2_rc1-r3`. `None` for a tail that apk has
/// no word for.
#[must_use]
pub fn version(version: &str, release: u32) -> Option<String> {
    let text = match version.split_once(['~', '+']) {
        None => version.to_owned(),
        Some((numbers, tail)) => {
            let word = tail.trim_end_matches(|c: char| c.is_ascii_digit());
            let before = matches!(word, "alpha" | "beta" | "pre" | "rc");
            let after = matches!(word, "cvs" | "svn" | "git" | "hg" | "p");
            let fits = if version.contains('~') { before } else { after };
            fits.then(|| format!("{numbers}_{tail}"))?
        }
    };
    let text = format!("{text}-r{release}");
    jos_apk::version::Version::new(&text).ok()?;
    Some(text)
}

/// Names as dependencies, `name` or with a relation as `control` writes it: `libc (>= 1.2)`.
///
/// # Errors
/// [`FormatError::Field`].
pub fn dependencies(names: &[String], conflict: bool) -> Result<Vec<Dependency>, FormatError> {
    let one = |name: &String| {
        let text: String = name.chars().filter(|c| !matches!(c, ' ' | '(' | ')')).collect();
        let text = text.replace(">>", ">").replace("<<", "<");
        format!("{}{text}", if conflict { "!" } else { "" }).parse()
    };
    Ok(names.iter().map(one).collect::<Result<_, jos_apk::ApkError>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_a_profile_are_written_as_apk_orders_them() {
        for (debian, apk) in [
            ("1.4.2", "1.4.2-r1"),
            ("2~rc3", "2_rc3-r1"),
            ("1.0+git2", "1.0_git2-r1"),
        ] {
            assert_eq!(version(debian, 1).as_deref(), Some(apk));
        }
        for none in ["1.0~dev", "1.0+rc1", "1.0~git3", "1.0+dfsg.1"] {
            assert_eq!(version(none, 1), None, "{none}");
        }
    }

    #[test]
    fn relations_of_a_control_file_are_written_as_apk_reads_them() {
        let names = ["libc (>= 1.2)".to_owned(), "uci".to_owned(), "x (<< 2)".to_owned()];
        let texts: Vec<_> = dependencies(&names, false)
            .expect("names")
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(texts, ["libc>=1.2", "uci", "x<2"]);
        assert_eq!(dependencies(&names[1..2], true).expect("names")[0].to_string(), "!uci");
    }

    #[test]
    fn a_package_holds_its_tree_and_the_records_of_openwrt() {
        let mut tree = Tree::new();
        tree.file("usr/bin/jos", 0o755, "program").expect("file");
        tree.conffile("etc/config/jos", 0o644, "config").expect("file");
        tree.symlink("usr/bin/link", "jos").expect("link");
        let package = ApkPackage {
            info: PackageInfo {
                name: "portal".into(),
                version: "1.0-r1".into(),
                arch: "mipsel_24kc".into(),
                ..PackageInfo::default()
            },
            tree,
            epoch: 7,
            ..ApkPackage::default()
        };
        let bytes = package.to_bytes().expect("package");
        assert_eq!(bytes, package.to_bytes().expect("again"));
        let read = jos_apk::Package::from_bytes(&bytes, jos_apk::Limits::default()).expect("read");
        let paths: Vec<_> = read.dirs.iter().map(|d| d.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "",
                "etc",
                "etc/config",
                "lib",
                "lib/apk",
                "lib/apk/packages",
                "usr",
                "usr/bin"
            ]
        );
        let records: Vec<_> = read.dirs[5]
            .files
            .iter()
            .map(|f| (f.name.as_str(), &f.content))
            .collect();
        let text = |text: &str| Content::File(text.into());
        let sum = hash::sha256(b"config");
        assert_eq!(
            records,
            [
                ("portal.conffiles", &text("/etc/config/jos\n")),
                ("portal.conffiles_static", &text(&format!("/etc/config/jos {sum}\n"))),
                ("portal.list", &text("/etc/config/jos\n/usr/bin/jos\n/usr/bin/link\n")),
            ]
        );
        assert_eq!(
            (read.info.build_time, read.info.installed_size.is_some()),
            (Some(7), true)
        );
    }
}
