//! Windows Installer packages: a database of tables (written by the `msi` crate) with one cabinet (by `cab`) inside it.
//!
//! Owns: which rows there are, and every name and GUID in them. Tables and actions follow the "Windows Installer Database
//! Reference"; the cabinet's carrier "Microsoft Cabinet Format".
//! Never: runs a program while it installs: there is no custom action, so that nothing of ours can fail half way.
//!
//! A tree's first folder says below which of Windows' own folders everything lies: `Program Files` or `ProgramData`.

pub(crate) mod cabinet;
pub(crate) mod database;
mod folders;
mod names;
mod rows;
mod tables;
#[cfg(test)]
mod tests;

use std::io::{Cursor, Write as _};
use std::time::{Duration, SystemTime};

use msi::{CodePage, Insert, PackageType};
use uuid::Uuid;

use super::{EntryKind, FormatError, Tree, hash};
pub(crate) use folders::of_property;
use rows::Rows;

/// What every compound file begins with, and so every package.
pub const MAGIC: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

/// The most files of one package: the writer looks through all its texts for each new one.
const FILES_LIMIT: usize = 5000;
/// The stream of the cabinet.
const CABINET: &str = "jos.cab";

/// Names and versions, as Windows shows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MsiInfo {
    /// What stays the same over all versions: packages of this name replace each other.
    pub name: String,
    /// The product.
    pub product: String,
    /// The vendor.
    pub manufacturer: String,
    /// What Windows compares: see [`version`].
    pub version: String,
    /// A line about it, with the version as the vendor writes it.
    pub comments: String,
    /// Where to find help; empty when nowhere.
    pub help: String,
    /// Whom to write to; empty when nobody.
    pub contact: String,
    /// An `.ico` file for the list of programs.
    pub icon: Option<Vec<u8>>,
}

/// The service that is installed and started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MsiService {
    /// As `sc query` names it.
    pub name: String,
    /// As the list of services shows it.
    pub display: String,
    /// A line about it.
    pub description: String,
    /// What stands behind the program: words that begin with one of a package's folders become the place they have.
    pub arguments: Vec<String>,
}

/// What only one product on a machine may be: its name is written into the registry, and another product that finds it
/// there is not installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Below `HKEY_LOCAL_MACHINE`.
    pub key: String,
    /// The value's name.
    pub name: String,
    /// What is said to whoever installs a second one; `[OTHER]` in it is the first one's name.
    pub refusal: String,
}

/// Everything an .msi is made of.
#[derive(Debug, Clone, Default)]
pub struct MsiPackage {
    /// Names and versions.
    pub info: MsiInfo,
    /// The files. Conffiles are left alone by an upgrade and stay when the product goes; what has a mode without a bit for
    /// group or others is for the system and administrators alone, whatever the folder above lets others do.
    pub tree: Tree,
    /// The path of the program that the service runs.
    pub program: String,
    /// The service.
    pub service: MsiService,
    /// What it claims.
    pub claim: Option<Claim>,
    /// Time of every member, seconds since 1970 (`SOURCE_DATE_EPOCH`).
    pub epoch: u32,
}

/// The version that Windows compares, `1.4.2.1`, of a profile's version and release; none where it does not fit.
///
/// Windows compares three numbers, up to 255, 255 and 65535. A first number from 2000 to 2255 is a year and loses its
/// thousands. What is behind `~` or `+` is left out; the release, or a fourth number, stands last and is for people.
#[must_use]
pub fn version(version: &str, release: u32) -> Option<String> {
    let numbers = version.split(['~', '+']).next()?;
    let numbers: Vec<u32> = numbers.split('.').map(|n| n.parse().ok()).collect::<Option<_>>()?;
    let at = |i: usize| numbers.get(i).copied().unwrap_or(0);
    let major = match at(0) {
        year @ 2000..=2255 => year - 2000,
        other => other,
    };
    let last = numbers.get(3).copied().unwrap_or(release).min(65_535);
    let fits = major <= 255 && at(1) <= 255 && at(2) <= 65_535;
    fits.then(|| format!("{major}.{}.{}.{last}", at(1), at(2)))
}

/// Why a Windows package cannot install a file at this absolute path, if so.
#[must_use]
pub fn unfit(path: &str) -> Option<&'static str> {
    let path = path.trim_start_matches('/');
    if folders::split(path).is_err() {
        return Some(folders::ELSEWHERE);
    }
    path.split('/').find_map(names::unfit)
}

impl MsiPackage {
    /// The package. Equal input gives equal bytes.
    ///
    /// Every package has a product code and a package code of its own, made from all that is in it: Windows takes two
    /// packages of one code for the same one.
    ///
    /// # Errors
    /// [`FormatError::Field`] for a name or version that Windows would not take, [`FormatError::Path`] for a path that it
    /// cannot have, [`FormatError::TooLarge`] for too many files.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FormatError> {
        self.check()?;
        let rows = Rows::of(self)?;
        let cabinet = cabinet::write(&rows.files, self.epoch)?;
        let write = |product: Uuid, package: Uuid| {
            self.write(&rows, &cabinet, product, package)
                .map_err(|source| FormatError::Codec {
                    what: "writing the database".to_owned(),
                    source,
                })
        };
        let content = hash::sha256(&write(Uuid::nil(), Uuid::nil())?);
        write(names::guid("product", &content), names::guid("package", &content))
    }

    fn write(&self, rows: &Rows, cabinet: &[u8], product: Uuid, code: Uuid) -> std::io::Result<Vec<u8>> {
        let when = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(self.epoch));
        let page = self.codepage();
        let mut package = msi::Package::create(PackageType::Installer, Cursor::new(Vec::new()))?;
        package.set_database_codepage(page);
        let info = package.summary_info_mut();
        info.set_codepage(page);
        info.set_title("Installation Database");
        info.set_subject(&self.info.product);
        info.set_author(&self.info.manufacturer);
        info.set_comments(&self.info.comments);
        info.set_keywords(&["Installer".to_owned()]);
        info.set_arch("x64");
        info.set_languages(&[msi::LanguageId::from_id(rows::LANGUAGE)]);
        info.set_uuid(code);
        // Compressed files, long names; a schema with MsiLockPermissionsEx; to be opened for reading alone.
        info.set_word_count(2);
        info.set_page_count(500);
        info.set_doc_security(2);
        info.set_creating_application(format!("jos-image {}", env!("CARGO_PKG_VERSION")));
        info.set_creation_time(when);
        info.set_last_save_time(when);
        for (name, schema) in tables::SCHEMAS {
            let mut values = rows.of_table(name);
            if *name == "Property" {
                values.push(vec!["ProductCode".into(), names::braced(&product).into()]);
            }
            // An empty table is one more thing to read; the sequences alone must be there.
            if !values.is_empty() {
                package.create_table(*name, tables::columns(schema))?;
                package.insert_rows(Insert::into(*name).rows(values))?;
            }
        }
        package.write_stream(CABINET)?.write_all(cabinet)?;
        if let Some(icon) = &self.info.icon {
            package.write_stream(&format!("Icon.{}", rows::ICON))?.write_all(icon)?;
        }
        let bytes = package.into_inner()?;
        // The writer gives the root the clock's time.
        let mut file = cfb::CompoundFile::open(bytes)?;
        file.set_created_time("/", when)?;
        file.set_modified_time("/", when)?;
        file.flush()?;
        Ok(file.into_inner().into_inner())
    }

    /// Windows' Western code page where it has every letter: older systems show UTF-8 as what it is not.
    fn codepage(&self) -> CodePage {
        let names = self.tree.entries().map(|entry| entry.path.as_str());
        let texts = [
            &self.info.product,
            &self.info.manufacturer,
            &self.info.comments,
            &self.info.contact,
            &self.service.display,
            &self.service.description,
        ];
        let mut all = texts.into_iter().map(String::as_str).chain(names);
        match all.all(|text| text.chars().all(|c| c.is_ascii() || ('\u{a0}'..='\u{ff}').contains(&c))) {
            true => CodePage::Windows1252,
            false => CodePage::Utf8,
        }
    }

    fn check(&self) -> Result<(), FormatError> {
        let info = &self.info;
        let lines = [
            ("product", &info.product),
            ("manufacturer", &info.manufacturer),
            ("service name", &self.service.name),
            ("service's display name", &self.service.display),
        ];
        for (field, value) in lines {
            if value.trim().is_empty() || value.chars().any(char::is_control) || value.chars().count() > 200 {
                return Err(FormatError::field(
                    field,
                    value,
                    "one line of text, 200 characters at most",
                ));
            }
        }
        if self.service.name.contains(['/', '\\']) {
            let expected = "a name without / and \\ (CreateService)";
            return Err(FormatError::field("service name", &self.service.name, expected));
        }
        let numbers: Vec<_> = info.version.split('.').map(str::parse::<u16>).collect();
        let sound = |at: usize, most: u16| numbers.get(at).is_none_or(|n| n.as_ref().is_ok_and(|n| *n <= most));
        if numbers.len() > 4 || !(sound(0, 255) && sound(1, 255) && sound(2, u16::MAX) && sound(3, u16::MAX)) {
            let expected = "up to four numbers: 255.255.65535.65535 at most (ProductVersion)";
            return Err(FormatError::field("version", &info.version, expected));
        }
        let program = self.tree.get(&self.program);
        if !program.is_some_and(|entry| matches!(entry.kind, EntryKind::File(_))) {
            return Err(FormatError::field(
                "program",
                &self.program,
                "the path of a file in the tree",
            ));
        }
        let files = self.tree.entries().filter(|entry| !entry.is_dir()).count();
        if files > FILES_LIMIT {
            return Err(FormatError::TooLarge {
                what: "the .msi: files".to_owned(),
                size: files as u64,
                limit: FILES_LIMIT as u64,
            });
        }
        self.tree.check_case_insensitive()
    }
}
