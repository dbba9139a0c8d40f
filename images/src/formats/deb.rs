//! Debian binary packages: deb(5), deb-control(5), deb-md5sums(5), deb-conffiles(5); Debian Policy §3, §5, §6, §10.7.
//!
//! A package is an ar archive of `debian-binary` ("2.0\n"), `control.tar.xz` and `data.tar.xz`, in that order.

#[cfg(test)]
mod tests;

use super::control::{self, Description, Stanza};
use super::{EntryKind, FormatError, Scripts, Tree, ar, gzip, hash, tar, xz};

/// The fields of `control` (deb-control(5)). Lists hold one relation each; `Installed-Size` is worked out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DebControl {
    /// `Package`, Policy §5.6.1.
    pub package: String,
    /// `Version`, Policy §5.6.12.
    pub version: String,
    /// `Architecture`: `amd64`, `arm64`, `armhf`, …, `all`.
    pub architecture: String,
    /// `Maintainer`: `Name <address>`, Policy §5.6.2.
    pub maintainer: String,
    /// `Pre-Depends`.
    pub pre_depends: Vec<String>,
    /// `Depends`, Policy §7.2.
    pub depends: Vec<String>,
    /// `Recommends`.
    pub recommends: Vec<String>,
    /// `Suggests`.
    pub suggests: Vec<String>,
    /// `Conflicts`.
    pub conflicts: Vec<String>,
    /// `Breaks`.
    pub breaks: Vec<String>,
    /// `Replaces`.
    pub replaces: Vec<String>,
    /// `Provides`.
    pub provides: Vec<String>,
    /// `Section`, `admin` when empty.
    pub section: String,
    /// `Priority`, `optional` when empty.
    pub priority: String,
    /// `Homepage`, left out when empty.
    pub homepage: String,
    /// `Description`, Policy §5.6.13.
    pub description: Description,
}

impl DebControl {
    /// The stanza as `control` and `Packages` carry it.
    ///
    /// # Errors
    /// [`FormatError::Field`] for the first field outside its grammar.
    pub fn stanza(&self, installed_kib: u64) -> Result<Stanza, FormatError> {
        control::check_package(&self.package)?;
        control::check_version(&self.version)?;
        check_architecture(&self.architecture)?;
        check_maintainer(&self.maintainer)?;
        let or = |value: &str, default: &'static str| {
            if value.is_empty() {
                default.to_owned()
            } else {
                value.to_owned()
            }
        };
        let mut stanza = Stanza::default();
        stanza.push("Package", &self.package)?;
        stanza.push("Version", &self.version)?;
        stanza.push("Architecture", &self.architecture)?;
        stanza.push("Maintainer", &self.maintainer)?;
        stanza.push("Installed-Size", &installed_kib.to_string())?;
        for (name, items) in [
            ("Pre-Depends", &self.pre_depends),
            ("Depends", &self.depends),
            ("Recommends", &self.recommends),
            ("Suggests", &self.suggests),
            ("Conflicts", &self.conflicts),
            ("Breaks", &self.breaks),
            ("Replaces", &self.replaces),
            ("Provides", &self.provides),
        ] {
            stanza.push_some(name, &control::relations(name, items)?)?;
        }
        stanza.push("Section", control::one_line("Section", &or(&self.section, "admin"))?)?;
        stanza.push(
            "Priority",
            control::one_line("Priority", &or(&self.priority, "optional"))?,
        )?;
        if !self.homepage.is_empty() {
            stanza.push("Homepage", control::one_line("Homepage", &self.homepage)?)?;
        }
        stanza.push("Description", &self.description.value()?)?;
        Ok(stanza)
    }
}

/// How the two inner archives are compressed. dpkg reads both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DebCompression {
    /// `.tar.xz`, what dpkg-deb writes by itself.
    #[default]
    Xz,
    /// `.tar.gz`: larger, faster.
    Gzip,
}

/// Everything a .deb is made of.
#[derive(Debug, Clone, Default)]
pub struct DebPackage {
    /// The control fields.
    pub control: DebControl,
    /// The maintainer scripts.
    pub scripts: Scripts,
    /// The files, with conffiles marked.
    pub tree: Tree,
    /// Time of every member, seconds since 1970 (`SOURCE_DATE_EPOCH`).
    pub epoch: u32,
    /// Compression of the inner archives.
    pub compression: DebCompression,
}

impl DebPackage {
    /// `NAME_VERSION_ARCH.deb`, the name a repository gives it.
    #[must_use]
    pub fn file_name(&self) -> String {
        let c = &self.control;
        control::file_name(&c.package, &c.version, &c.architecture, "deb")
    }

    /// The control stanza, `Installed-Size` included, as an index of packages carries it.
    ///
    /// # Errors
    /// [`FormatError::Field`] for the first field outside its grammar.
    pub fn stanza(&self) -> Result<Stanza, FormatError> {
        self.control.stanza(self.tree.installed_kib())
    }

    /// The package. Equal input gives equal bytes.
    ///
    /// # Errors
    /// [`FormatError::Field`] for a control field or script outside its grammar, [`FormatError::TooLarge`] for what
    /// the archives cannot hold.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FormatError> {
        let mut control = Tree::new();
        control.file("control", 0o644, self.stanza()?.to_string())?;
        let conffiles = self.tree.conffiles();
        if !conffiles.is_empty() {
            control.file("conffiles", 0o644, conffiles.join("\n") + "\n")?;
        }
        let md5sums = md5sums(&self.tree);
        if !md5sums.is_empty() {
            control.file("md5sums", 0o644, md5sums)?;
        }
        self.scripts.add_to(&mut control)?;
        let (control_name, control) = self.archive("control.tar", &control)?;
        let (data_name, data) = self.archive("data.tar", &self.tree)?;
        ar::write(
            &[
                ("debian-binary", b"2.0\n"),
                (&control_name, &control),
                (&data_name, &data),
            ],
            self.epoch,
        )
    }

    fn archive(&self, name: &str, tree: &Tree) -> Result<(String, Vec<u8>), FormatError> {
        let plain = tar::write(tree, self.epoch, tar::Owners::NamedRoot)?;
        Ok(match self.compression {
            DebCompression::Xz => (format!("{name}.xz"), xz::compress(name, &plain)?),
            DebCompression::Gzip => (format!("{name}.gz"), gzip::compress(name, &plain)?),
        })
    }
}

/// deb-md5sums(5): regular files that are not conffiles, whose sums dpkg keeps itself.
fn md5sums(tree: &Tree) -> String {
    let mut out = String::new();
    for entry in tree.entries().filter(|e| !e.conffile) {
        if let EntryKind::File(bytes) = &entry.kind {
            out.push_str(&format!("{}  {}\n", hash::md5(bytes), entry.path));
        }
    }
    out
}

/// Policy §5.6.8: one concrete architecture of a binary package, or `all`.
fn check_architecture(name: &str) -> Result<(), FormatError> {
    let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || name == "any" || name.starts_with('-') || !name.bytes().all(ok) {
        let expected = "one architecture of a-z 0-9 -, such as amd64, arm64, armhf or all (Debian Policy §5.6.8)";
        return Err(FormatError::field("Architecture", name, expected));
    }
    Ok(())
}

/// Policy §5.6.2: name, then the address in angle brackets.
pub(crate) fn check_maintainer(value: &str) -> Result<(), FormatError> {
    let address = value.strip_suffix('>').and_then(|v| v.split_once('<'));
    let sound = |(name, mail): (&str, &str)| {
        !name.trim().is_empty() && mail.contains('@') && !mail.contains(|c: char| c.is_whitespace() || c == '<')
    };
    if !address.is_some_and(sound) || value.chars().any(char::is_control) || value.trim() != value {
        return Err(FormatError::field(
            "Maintainer",
            value,
            "`Name <address@example.org>` (Debian Policy §5.6.2)",
        ));
    }
    Ok(())
}
