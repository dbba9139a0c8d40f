//! What a package says about itself, in its own file and in an index.

use crate::value::Value;
use crate::version::Version;
use crate::{ApkError, Dependency};

/// The fields of a package's description; empty or `None` where there is nothing to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageInfo {
    /// Letters, digits and `+-._`, a letter or digit first.
    pub name: String,
    /// A [`Version`].
    pub version: String,
    /// In an index, the SHA-256 of the package's tree (32 bytes); in a package, the unique id that its writer made of the tree
    /// without it (20 bytes).
    pub hash: Vec<u8>,
    /// One line.
    pub description: String,
    /// As the device's `/etc/apk/arch` says, or `noarch`.
    pub arch: String,
    /// An SPDX expression.
    pub license: String,
    /// Package that this one was built from.
    pub origin: String,
    /// `Name <address>`.
    pub maintainer: String,
    /// Home page.
    pub url: String,
    /// Commit of the recipe, 20 bytes.
    pub repo_commit: Vec<u8>,
    /// Seconds since 1970.
    pub build_time: Option<u64>,
    /// Bytes that its files take.
    pub installed_size: Option<u64>,
    /// Bytes of the package's file; only in an index.
    pub file_size: Option<u64>,
    /// Which of several providers of a name is taken: the highest.
    pub provider_priority: Option<u64>,
    /// Wanted and, with `!`, unwanted packages.
    pub depends: Vec<Dependency>,
    /// Names that this package answers to.
    pub provides: Vec<Dependency>,
    /// Packages whose files this one may take over.
    pub replaces: Vec<Dependency>,
    /// Packages with all of which this one comes by itself.
    pub install_if: Vec<Dependency>,
    /// Packages that usually come with this one.
    pub recommends: Vec<Dependency>,
    /// apk-tools' layer: 0 the root, 1 the user.
    pub layer: Option<u64>,
    /// Words for the repository's own use.
    pub tags: Vec<String>,
}

impl PackageInfo {
    /// `NAME-VERSION.apk`, where a repository looks for it.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}-{}.apk", self.name, self.version)
    }

    /// Refuses a name or version outside its grammar and a text field with a line break.
    ///
    /// # Errors
    /// [`ApkError::Field`].
    pub fn check(&self) -> Result<(), ApkError> {
        self.check_identity()?;
        for (field, text) in [
            ("description", &self.description),
            ("arch", &self.arch),
            ("license", &self.license),
            ("origin", &self.origin),
            ("maintainer", &self.maintainer),
            ("url", &self.url),
        ] {
            if text.chars().any(char::is_control) {
                return Err(ApkError::field(field, text, "one line of text"));
            }
        }
        Ok(())
    }

    fn check_identity(&self) -> Result<(), ApkError> {
        if !is_name(&self.name) {
            let expected = "a letter or digit, then letters, digits and + - . _";
            return Err(ApkError::field("name", &self.name, expected));
        }
        Version::new(&self.version).map(drop)
    }

    /// `hash` is given apart: a package's own is filled in after the tree is written.
    pub(crate) fn to_value(&self, hash: Value) -> Value {
        Value::object(vec![
            Value::text(&self.name),
            Value::text(&self.version),
            hash,
            Value::text(&self.description),
            Value::text(&self.arch),
            Value::text(&self.license),
            Value::text(&self.origin),
            Value::text(&self.maintainer),
            Value::text(&self.url),
            Value::bytes(&self.repo_commit),
            Value::number(self.build_time),
            Value::number(self.installed_size),
            Value::number(self.file_size),
            Value::number(self.provider_priority),
            Dependency::to_array(&self.depends),
            Dependency::to_array(&self.provides),
            Dependency::to_array(&self.replaces),
            Dependency::to_array(&self.install_if),
            Dependency::to_array(&self.recommends),
            Value::number(self.layer),
            Value::array(self.tags.iter().map(|tag| Value::text(tag))),
        ])
    }

    pub(crate) fn from_value(value: &Value) -> Result<Self, ApkError> {
        let tags = value.field(21).items().iter().map(|tag| tag.as_text("tag"));
        let info = Self {
            name: value.field(1).as_text("name")?,
            version: value.field(2).as_text("version")?,
            hash: value.field(3).as_bytes().to_vec(),
            description: value.field(4).as_text("description")?,
            arch: value.field(5).as_text("arch")?,
            license: value.field(6).as_text("license")?,
            origin: value.field(7).as_text("origin")?,
            maintainer: value.field(8).as_text("maintainer")?,
            url: value.field(9).as_text("url")?,
            repo_commit: value.field(10).as_bytes().to_vec(),
            build_time: value.field(11).as_number(),
            installed_size: value.field(12).as_number(),
            file_size: value.field(13).as_number(),
            provider_priority: value.field(14).as_number(),
            depends: Dependency::from_array(value.field(15))?,
            provides: Dependency::from_array(value.field(16))?,
            replaces: Dependency::from_array(value.field(17))?,
            install_if: Dependency::from_array(value.field(18))?,
            recommends: Dependency::from_array(value.field(19))?,
            layer: value.field(20).as_number(),
            tags: tags.collect::<Result<_, _>>()?,
        };
        // What others write may have lines in its texts.
        info.check_identity()?;
        Ok(info)
    }
}

/// A package's name.
fn is_name(name: &str) -> bool {
    let ok = |b: u8| b.is_ascii_alphanumeric() || b"+-._".contains(&b);
    name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric()) && name.bytes().all(ok)
}

/// A name that a package may depend on or provide: also `so:libc.so.6`, `cmd:sh`, `/bin/sh`.
pub(crate) fn is_dependency_name(name: &str) -> bool {
    let ok = |b: u8| b.is_ascii_alphanumeric() || b"+-._,:/[]".contains(&b);
    !name.is_empty() && name.bytes().all(ok)
}
