//! macOS installer products: a xar of `Distribution`, `Resources/…` and one component, `base.pkg/` with `PackageInfo`,
//! `Bom`, `Payload` and `Scripts`.
//!
//! `Payload` and `Scripts` are gzip'd odc cpio archives. The XML follows Apple's "Distribution Definition" reference
//! (Installer JavaScript and distribution XML) and what pkgbuild writes. Unsigned: `apple-codesign` signs when a
//! vendor has a certificate. Nothing on a Linux machine can prove that macOS accepts the result.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use super::{EntryKind, FormatError, Tree, bom, cpio, gzip, scripts, xar};

/// Names and versions of an installer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PkgInfo {
    /// Reverse-DNS identifier of the receipt, such as `example.vendor.agent`.
    pub identifier: String,
    /// Version: numbers separated by dots, which is what the installer compares.
    pub version: String,
    /// What the installer's window says.
    pub title: String,
    /// Reverse-DNS name of the vendor, left out when empty.
    pub organization: String,
    /// Lowest macOS release, such as `11.0`.
    pub minimum_os: String,
    /// CPU types the installer may run on, `arm64` and `x86_64`; without `arm64` it would ask for Rosetta.
    pub architectures: Vec<String>,
    /// File names in `resources` shown on the installer's pages.
    pub pages: Pages,
}

/// Which resource is shown where; an empty name leaves the page out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pages {
    /// The picture behind the window.
    pub background: String,
    /// The first page.
    pub welcome: String,
    /// The page before the licence.
    pub readme: String,
    /// The licence, which has to be accepted.
    pub license: String,
    /// The last page.
    pub conclusion: String,
}

/// Everything a .pkg is made of.
#[derive(Debug, Clone, Default)]
pub struct PkgPackage {
    /// Names and versions.
    pub info: PkgInfo,
    /// Script run before the files are put in place.
    pub preinstall: Option<String>,
    /// Script run after.
    pub postinstall: Option<String>,
    /// The files, with their owners; conffile marks have no meaning here.
    pub tree: Tree,
    /// Files for `Resources/`: licence, welcome text, background.
    pub resources: Tree,
    /// Time of every member, seconds since 1970 (`SOURCE_DATE_EPOCH`).
    pub epoch: u32,
}

impl PkgPackage {
    /// `NAME-VERSION.pkg` after the last part of the identifier.
    #[must_use]
    pub fn file_name(&self) -> String {
        let name = self.info.identifier.rsplit('.').next().unwrap_or("package");
        format!("{name}-{}.pkg", self.info.version)
    }

    /// The package. Equal input gives equal bytes.
    ///
    /// # Errors
    /// [`FormatError::Field`] for a name, version or script the installer would not take, [`FormatError::Path`] for
    /// two paths that a Mac's file system takes for one, [`FormatError::TooLarge`] for what the archives cannot hold.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FormatError> {
        self.check()?;
        self.tree.check_case_insensitive()?;
        let mut outer = Tree::new();
        outer.file("Distribution", 0o644, self.distribution())?;
        outer.file("base.pkg/PackageInfo", 0o644, self.package_info())?;
        outer.file("base.pkg/Bom", 0o644, bom::write(&self.tree, self.epoch)?)?;
        outer.file(
            "base.pkg/Payload",
            0o644,
            gzip::compress("Payload", &cpio::write(&self.tree, self.epoch)?)?,
        )?;
        let mut scripts = Tree::new();
        for (name, text) in self.scripts() {
            scripts::check(name, text)?;
            scripts.file(name, 0o755, text)?;
        }
        if !scripts.is_empty() {
            outer.file(
                "base.pkg/Scripts",
                0o644,
                gzip::compress("Scripts", &cpio::write(&scripts, self.epoch)?)?,
            )?;
        }
        outer.graft("Resources", self.resources.clone())?;
        xar::write(&outer, self.epoch)
    }

    fn scripts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let both = [("postinstall", &self.postinstall), ("preinstall", &self.preinstall)];
        both.into_iter()
            .filter_map(|(name, text)| Some((name, text.as_deref()?)))
    }

    fn check(&self) -> Result<(), FormatError> {
        let info = &self.info;
        for (field, value) in [("identifier", &info.identifier), ("organization", &info.organization)] {
            let ok = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
            let parts = value.split('.').all(|p| !p.is_empty() && p.bytes().all(ok));
            if !(parts && value.contains('.') || field == "organization" && value.is_empty()) {
                return Err(FormatError::field(
                    field,
                    value,
                    "a reverse-DNS name such as example.vendor.agent",
                ));
            }
        }
        for (field, value) in [("version", &info.version), ("minimum OS", &info.minimum_os)] {
            let number = |p: &str| !p.is_empty() && p.len() <= 9 && p.bytes().all(|b| b.is_ascii_digit());
            if !value.split('.').all(number) {
                return Err(FormatError::field(
                    field,
                    value,
                    "numbers separated by dots, such as 1.2.3",
                ));
            }
        }
        if info.title.is_empty() || info.title.chars().any(char::is_control) {
            return Err(FormatError::field("title", &info.title, "one line of text"));
        }
        let known = |a: &String| ["arm64", "x86_64"].contains(&a.as_str());
        if info.architectures.is_empty() || !info.architectures.iter().all(known) {
            return Err(FormatError::field(
                "architectures",
                info.architectures.join(","),
                "arm64, x86_64 or both",
            ));
        }
        for (page, file) in info.pages.iter() {
            let there = self
                .resources
                .get(file)
                .is_some_and(|e| matches!(e.kind, EntryKind::File(_)));
            if !there {
                return Err(FormatError::field(page, file, "the path of a file in the resources"));
            }
        }
        Ok(())
    }

    fn install_kib(&self) -> u64 {
        self.tree
            .entries()
            .filter(|e| !e.is_dir())
            .map(|e| e.size().div_ceil(1024))
            .sum()
    }

    fn package_info(&self) -> String {
        let info = &self.info;
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n");
        // Directories that are there already, such as another tool's /usr/local, keep their owner and mode.
        let _ = writeln!(
            out,
            "<pkg-info overwrite-permissions=\"false\" relocatable=\"false\" identifier=\"{}\" \
             postinstall-action=\"none\" version=\"{}\" format-version=\"2\" generator-version=\"jos-image\" \
             install-location=\"/\" auth=\"root\">",
            xar::escape(&info.identifier),
            xar::escape(&info.version)
        );
        let (files, size) = (self.tree.len() + 1, self.install_kib());
        let _ = writeln!(out, "    <payload numberOfFiles=\"{files}\" installKBytes=\"{size}\"/>");
        if self.scripts().next().is_some() {
            out.push_str("    <scripts>\n");
            for (name, _) in self.scripts() {
                let _ = writeln!(out, "        <{name} file=\"./{name}\"/>");
            }
            out.push_str("    </scripts>\n");
        }
        out.push_str("</pkg-info>\n");
        out
    }

    fn distribution(&self) -> String {
        let info = &self.info;
        let (id, version) = (xar::escape(&info.identifier), xar::escape(&info.version));
        let mut out =
            String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<installer-gui-script minSpecVersion=\"2\">\n");
        let _ = writeln!(out, "    <title>{}</title>", xar::escape(&info.title));
        if !info.organization.is_empty() {
            let _ = writeln!(
                out,
                "    <organization>{}</organization>",
                xar::escape(&info.organization)
            );
        }
        for (page, file) in info.pages.iter() {
            let _ = writeln!(out, "    <{page} file=\"{}\"/>", xar::escape(file));
        }
        let _ = write!(
            out,
            "    <domains enable_anywhere=\"false\" enable_currentUserHome=\"false\" enable_localSystem=\"true\"/>\n    \
             <options customize=\"never\" require-scripts=\"false\" rootVolumeOnly=\"true\" hostArchitectures=\"{}\"/>\n    \
             <volume-check>\n        <allowed-os-versions>\n            <os-version min=\"{}\"/>\n        \
             </allowed-os-versions>\n    </volume-check>\n    \
             <choices-outline>\n        <line choice=\"default\">\n            <line choice=\"{id}\"/>\n        \
             </line>\n    </choices-outline>\n    <choice id=\"default\"/>\n    \
             <choice id=\"{id}\" visible=\"false\">\n        <pkg-ref id=\"{id}\"/>\n    </choice>\n    \
             <pkg-ref id=\"{id}\" version=\"{version}\" onConclusion=\"none\" installKBytes=\"{}\" auth=\"root\">\
             #base.pkg</pkg-ref>\n</installer-gui-script>\n",
            info.architectures.join(","),
            xar::escape(&info.minimum_os),
            self.install_kib()
        );
        out
    }
}

impl Pages {
    fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("background", &self.background),
            ("welcome", &self.welcome),
            ("readme", &self.readme),
            ("license", &self.license),
            ("conclusion", &self.conclusion),
        ];
        all.into_iter()
            .map(|(page, file)| (page, file.as_str()))
            .filter(|(_, file)| !file.is_empty())
    }
}
