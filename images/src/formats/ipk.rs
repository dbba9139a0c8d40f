//! opkg packages for OpenWrt up to 24.10, in the layout OpenWrt's `ipkg-build` writes.
//!
//! A package is a gzip'd GNU tar of `./debian-binary` ("2.0\n"), `./data.tar.gz` and `./control.tar.gz`, in that
//! order; owners are numbers, names sorted, all times equal. `Installed-Size` is the size in bytes of the uncompressed
//! data archive (not KiB as in a .deb); `conffiles` is sorted.

#[cfg(test)]
mod tests;

use super::control::{self, Description, Stanza};
use super::{FormatError, Scripts, Tree, gzip, tar};

/// The fields of `control` that OpenWrt's build writes; `Installed-Size` and `SourceDateEpoch` are worked out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IpkControl {
    /// `Package`, lower case, no underscore: opkg splits file names there.
    pub package: String,
    /// `Version`, OpenWrt style `1.2.3-r1` or any that opkg compares (Debian's rules).
    pub version: String,
    /// `Architecture` as the device's `opkg print-architecture` says, such as `mipsel_24kc`, or `all`.
    pub architecture: String,
    /// `Maintainer`, left out when empty.
    pub maintainer: String,
    /// `Depends`.
    pub depends: Vec<String>,
    /// `Provides`.
    pub provides: Vec<String>,
    /// `Conflicts`.
    pub conflicts: Vec<String>,
    /// `Replaces`.
    pub replaces: Vec<String>,
    /// `Source`, the feed path the package comes from, left out when empty.
    pub source: String,
    /// `License` as an SPDX expression, left out when empty.
    pub license: String,
    /// `Section`, `utils` when empty.
    pub section: String,
    /// `URL`, left out when empty.
    pub url: String,
    /// `Description`.
    pub description: Description,
}

impl IpkControl {
    fn stanza(&self, epoch: u32, installed: u64) -> Result<Stanza, FormatError> {
        control::check_package(&self.package)?;
        control::check_version(&self.version)?;
        check_architecture(&self.architecture)?;
        let mut stanza = Stanza::default();
        stanza.push("Package", &self.package)?;
        stanza.push("Version", &self.version)?;
        for (name, items) in [
            ("Depends", &self.depends),
            ("Provides", &self.provides),
            ("Conflicts", &self.conflicts),
            ("Replaces", &self.replaces),
        ] {
            stanza.push_some(name, &control::relations(name, items)?)?;
        }
        let section = if self.section.is_empty() {
            "utils"
        } else {
            &self.section
        };
        let epoch = epoch.to_string();
        for (name, value) in [
            ("Source", self.source.as_str()),
            ("License", &self.license),
            ("Section", section),
            ("SourceDateEpoch", &epoch),
            ("URL", &self.url),
            ("Maintainer", &self.maintainer),
            ("Architecture", &self.architecture),
            ("Installed-Size", &installed.to_string()),
        ] {
            if !value.is_empty() {
                stanza.push(name, control::one_line(name, value)?)?;
            }
        }
        stanza.push("Description", &self.description.value()?)?;
        Ok(stanza)
    }
}

/// Everything an .ipk is made of.
#[derive(Debug, Clone, Default)]
pub struct IpkPackage {
    /// The control fields.
    pub control: IpkControl,
    /// The maintainer scripts.
    pub scripts: Scripts,
    /// The files, with conffiles marked.
    pub tree: Tree,
    /// Time of every member, seconds since 1970 (`SOURCE_DATE_EPOCH`).
    pub epoch: u32,
}

/// A finished package with what an index of packages says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltIpk {
    /// The package file.
    pub bytes: Vec<u8>,
    /// Its control stanza; an index adds `Filename`, `Size` and `SHA256sum` with [`Stanza::insert_before`].
    pub stanza: Stanza,
}

impl IpkPackage {
    /// `NAME_VERSION_ARCH.ipk`.
    #[must_use]
    pub fn file_name(&self) -> String {
        let c = &self.control;
        control::file_name(&c.package, &c.version, &c.architecture, "ipk")
    }

    /// The package. Equal input gives equal bytes.
    ///
    /// # Errors
    /// As [`IpkPackage::build`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, FormatError> {
        Ok(self.build()?.bytes)
    }

    /// The package together with its control stanza.
    ///
    /// # Errors
    /// [`FormatError::Field`] for a control field or script outside its grammar, [`FormatError::TooLarge`] for what
    /// the archives cannot hold.
    pub fn build(&self) -> Result<BuiltIpk, FormatError> {
        let data = tar::write(&self.tree, self.epoch, tar::Owners::Numeric)?;
        let stanza = self.control.stanza(self.epoch, data.len() as u64)?;
        let mut control = Tree::new();
        control.file("control", 0o644, stanza.to_string())?;
        let conffiles = self.tree.conffiles();
        if !conffiles.is_empty() {
            control.file("conffiles", 0o644, conffiles.join("\n") + "\n")?;
        }
        self.scripts.add_to(&mut control)?;
        let control = tar::write(&control, self.epoch, tar::Owners::Numeric)?;
        let control = gzip::compress("control.tar.gz", &control)?;
        let data = gzip::compress("data.tar.gz", &data)?;
        let members: [(&str, &[u8]); 3] = [
            ("debian-binary", b"2.0\n"),
            ("data.tar.gz", &data),
            ("control.tar.gz", &control),
        ];
        let bytes = gzip::compress("package", &tar::write_files(&members, self.epoch)?)?;
        Ok(BuiltIpk { bytes, stanza })
    }
}

/// OpenWrt's `ARCH_PACKAGES` names, such as `aarch64_cortex-a53`.
fn check_architecture(name: &str) -> Result<(), FormatError> {
    let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-+.".contains(&b);
    if !name.bytes().next().is_some_and(|b| b.is_ascii_lowercase()) || !name.bytes().all(ok) {
        let expected = "an opkg architecture such as mipsel_24kc, aarch64_cortex-a53, x86_64 or all";
        return Err(FormatError::field("Architecture", name, expected));
    }
    Ok(())
}
