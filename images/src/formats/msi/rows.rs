//! What stands in the tables of a package.

use std::collections::{BTreeMap, BTreeSet};

use msi::Value;

use super::tables::{self, some};
use super::{MsiPackage, folders, names};
use crate::formats::{Entry, EntryKind, FormatError};

/// English (United States): the texts of Windows' own dialogs are the system's anyway.
pub(super) const LANGUAGE: u16 = 1033;
/// The key of the icon, which must end as the file that it is of.
pub(super) const ICON: &str = "product.ico";
const FEATURE: &str = "Agent";

/// Component attributes (`msidbComponentAttributes…`).
const PERMANENT: i32 = 0x10;
const NEVER_OVERWRITE: i32 = 0x80;
const IS_64_BIT: i32 = 0x100;
/// `msidbFileAttributesVital`: an installation without this file is none.
const VITAL: i32 = 0x200;

/// For the system and administrators alone; `P`: nothing of what the folder above lets others do. In ProgramData everybody
/// may otherwise make files, and a service would follow them.
const PRIVATE_FOLDER: &str = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)";
const PRIVATE_FILE: &str = "D:P(A;;FA;;;SY)(A;;FA;;;BA)";

/// A file of the cabinet.
pub(super) struct Packed<'a> {
    /// Its name there: the key of its row.
    pub(super) key: String,
    /// What it holds.
    pub(super) bytes: &'a [u8],
}

/// All rows but that of the product code.
pub(super) struct Rows<'a> {
    tables: BTreeMap<&'static str, Vec<Vec<Value>>>,
    /// In the order of the cabinet.
    pub(super) files: Vec<Packed<'a>>,
    short: BTreeMap<String, BTreeSet<String>>,
    folders: BTreeMap<String, String>,
}

impl<'a> Rows<'a> {
    pub(super) fn of(package: &'a MsiPackage) -> Result<Self, FormatError> {
        let mut rows = Self {
            tables: BTreeMap::new(),
            files: Vec::new(),
            short: BTreeMap::new(),
            folders: BTreeMap::new(),
        };
        rows.add("Directory", vec!["TARGETDIR".into(), Value::Null, "SourceDir".into()]);
        for (property, name) in folders::roots() {
            rows.add("Directory", vec![property.into(), "TARGETDIR".into(), name.into()]);
        }
        rows.add(
            "Feature",
            vec![
                FEATURE.into(),
                Value::Null,
                "Agent".into(),
                Value::Null,
                Value::Int(1),
                Value::Int(1),
                Value::Null,
                // Not to be left out.
                Value::Int(0x10),
            ],
        );
        for entry in package.tree.entries() {
            match &entry.kind {
                EntryKind::Dir => rows.folder(package, entry)?,
                EntryKind::File(bytes) => rows.file(entry, bytes)?,
                EntryKind::Symlink(_) => {
                    let problem = "is a link; a Windows package holds files and folders";
                    return Err(FormatError::path(&entry.path, problem));
                }
            }
        }
        let last = i32::try_from(rows.files.len()).unwrap_or(i32::MAX);
        let media = vec![
            Value::Int(1),
            Value::Int(last),
            Value::Null,
            format!("#{}", super::CABINET).into(),
            Value::Null,
            Value::Null,
        ];
        rows.add("Media", media);
        rows.service(package)?;
        rows.upgrade(package);
        rows.properties(package);
        for (table, actions) in [
            ("InstallExecuteSequence", tables::INSTALL),
            ("InstallUISequence", tables::WINDOW),
            ("AdminExecuteSequence", tables::UNPACK),
        ] {
            tables::sequence(actions)
                .into_iter()
                .for_each(|row| rows.add(table, row));
        }
        Ok(rows)
    }

    /// The rows of a table, none where it has none.
    pub(super) fn of_table(&self, name: &str) -> Vec<Vec<Value>> {
        self.tables.get(name).cloned().unwrap_or_default()
    }

    fn add(&mut self, table: &'static str, row: Vec<Value>) {
        self.tables.entry(table).or_default().push(row);
    }

    /// The key of the folder at `path`, with rows for it and those above.
    fn folder_key(&mut self, path: &str) -> Result<String, FormatError> {
        if let Some(key) = self.folders.get(path) {
            return Ok(key.clone());
        }
        let (property, rest) = folders::split(path)?;
        if rest.is_empty() {
            return Ok(property.to_owned());
        }
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.folder_key(above)?;
        let name = self.filename(above, name, path)?;
        let key = names::key("d", path);
        self.add("Directory", vec![key.as_str().into(), parent.into(), name.into()]);
        self.folders.insert(path.to_owned(), key.clone());
        Ok(key)
    }

    fn filename(&mut self, above: &str, name: &str, path: &str) -> Result<String, FormatError> {
        if let Some(problem) = names::unfit(name) {
            return Err(FormatError::path(path, problem));
        }
        let taken = self.short.entry(above.to_lowercase()).or_default();
        Ok(names::filename(name, path, taken))
    }

    fn component(&mut self, path: &str, folder: &str, attributes: i32, key: &str) -> String {
        let component = names::key("c", path);
        // The same file at the same place is the same component in every version, as the installer's rules ask.
        let id = names::braced(&names::guid("component", &path.to_lowercase()));
        self.add(
            "Component",
            vec![
                component.as_str().into(),
                id.into(),
                folder.into(),
                Value::Int(attributes | IS_64_BIT),
                Value::Null,
                some(key),
            ],
        );
        self.add("FeatureComponents", vec![FEATURE.into(), component.as_str().into()]);
        component
    }

    /// A folder without anything in it, or with rights of its own, is a component; the others come with their files.
    fn folder(&mut self, package: &MsiPackage, entry: &Entry) -> Result<(), FormatError> {
        let path = entry.path.as_str();
        let (_, rest) = folders::split(path)?;
        if rest.is_empty() {
            return Ok(());
        }
        let folder = self.folder_key(path)?;
        let below = format!("{path}/");
        let is_empty = !package.tree.entries().any(|other| other.path.starts_with(&below));
        let rights = if entry.mode & 0o077 == 0 { PRIVATE_FOLDER } else { "" };
        if is_empty || !rights.is_empty() {
            let component = self.component(path, &folder, 0, "");
            self.add("CreateFolder", vec![folder.as_str().into(), component.into()]);
            self.lock(path, &folder, "CreateFolder", rights);
        }
        Ok(())
    }

    fn file(&mut self, entry: &Entry, bytes: &'a [u8]) -> Result<(), FormatError> {
        let path = entry.path.as_str();
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = self.folder_key(above)?;
        let filename = self.filename(above, name, path)?;
        let key = names::key("f", path);
        let attributes = if entry.conffile { PERMANENT | NEVER_OVERWRITE } else { 0 };
        let component = self.component(path, &folder, attributes, &key);
        let size = i32::try_from(bytes.len()).map_err(|_| FormatError::TooLarge {
            what: path.to_owned(),
            size: bytes.len() as u64,
            limit: i32::MAX as u64,
        })?;
        self.files.push(Packed {
            key: key.clone(),
            bytes,
        });
        let sequence = i32::try_from(self.files.len()).unwrap_or(i32::MAX);
        self.add(
            "File",
            vec![
                key.as_str().into(),
                component.into(),
                filename.into(),
                Value::Int(size),
                Value::Null,
                Value::Null,
                Value::Int(VITAL),
                Value::Int(sequence),
            ],
        );
        let rights = if entry.mode & 0o077 == 0 { PRIVATE_FILE } else { "" };
        self.lock(path, &key, "File", rights);
        Ok(())
    }

    fn lock(&mut self, path: &str, key: &str, table: &str, rights: &str) {
        if !rights.is_empty() {
            let row = vec![
                names::key("l", path).into(),
                key.into(),
                table.into(),
                rights.into(),
                Value::Null,
            ];
            self.add("MsiLockPermissionsEx", row);
        }
    }

    /// The service, the folder of the program on the search path, and the claim: all of them of the program's component.
    fn service(&mut self, package: &MsiPackage) -> Result<(), FormatError> {
        let service = &package.service;
        let component = names::key("c", &package.program);
        let above = package.program.rsplit_once('/').map_or("", |(above, _)| above);
        let folder = self.folder_key(above)?;
        let mut words = Vec::new();
        for word in &service.arguments {
            words.push(match word.starts_with('/') {
                true => format!("\"{}\"", folders::formatted(word)?),
                false => escaped(word),
            });
        }
        self.add(
            "ServiceInstall",
            vec![
                "service".into(),
                escaped(&service.name).into(),
                escaped(&service.display).into(),
                // A process of its own; started with the system; without it there is no installation.
                Value::Int(0x10),
                Value::Int(2),
                Value::Int(0x8001),
                Value::Null,
                Value::Null,
                Value::Null,
                Value::Null,
                some(&words.join(" ")),
                component.as_str().into(),
                some(&escaped(&service.description)),
            ],
        );
        // Started and stopped by an installation, stopped and removed when the product goes; each is waited for.
        let control = vec![
            "control".into(),
            escaped(&service.name).into(),
            Value::Int(0x01 | 0x02 | 0x20 | 0x80),
            Value::Null,
            Value::Int(1),
            component.as_str().into(),
        ];
        self.add("ServiceControl", control);
        // `=` set, `-` taken away again, `*` for everybody; `[~]` is what was there.
        let path = format!("[~];[{folder}]");
        let row = vec!["path".into(), "=-*PATH".into(), path.into(), component.as_str().into()];
        self.add("Environment", row);
        if let Some(claim) = &package.claim {
            let (key, name) = (claim.key.as_str(), claim.name.as_str());
            let row = vec![
                "claim".into(),
                Value::Int(2),
                key.into(),
                name.into(),
                package.info.name.as_str().into(),
                component.into(),
            ];
            self.add("Registry", row);
            // A value as it is, in the registry of 64-bit programs.
            let row = vec![
                "claimed".into(),
                Value::Int(2),
                key.into(),
                name.into(),
                Value::Int(2 | 0x10),
            ];
            self.add("RegLocator", row);
            self.add("AppSearch", vec!["OTHER".into(), "claimed".into()]);
            let free = format!("Installed OR NOT OTHER OR OTHER = \"{}\"", package.info.name);
            self.add("LaunchCondition", vec![free.into(), claim.refusal.as_str().into()]);
        }
        Ok(())
    }

    fn upgrade(&mut self, package: &MsiPackage) {
        let code = upgrade_code(package);
        let version = package.info.version.as_str();
        let bound = |min: Value, max: Value, attributes: i32, property: &str| {
            vec![
                code.as_str().into(),
                min,
                max,
                Value::Null,
                Value::Int(attributes),
                Value::Null,
                property.into(),
            ]
        };
        // Both bounds included: a package of the same version was built anew, and replaces the other.
        self.add(
            "Upgrade",
            bound("0.0.0".into(), version.into(), 0x1 | 0x100 | 0x200, "OLDER"),
        );
        // Only found, never removed.
        self.add("Upgrade", bound(version.into(), Value::Null, 0x2, "NEWER"));
        let refusal = "A newer version of [ProductName] is installed. To go back to [ProductVersion], remove it first: \
                       its settings and data stay.";
        self.add("LaunchCondition", vec!["Installed OR NOT NEWER".into(), refusal.into()]);
        let refusal = "[ProductName] needs a 64-bit Windows of version 10 or later.";
        self.add(
            "LaunchCondition",
            vec!["Installed OR VersionNT64 >= 603".into(), refusal.into()],
        );
    }

    fn properties(&mut self, package: &MsiPackage) {
        let info = &package.info;
        let (code, language) = (upgrade_code(package), LANGUAGE.to_string());
        let all = [
            ("ALLUSERS", "1"),
            ("ARPCOMMENTS", &info.comments),
            ("ARPCONTACT", &info.contact),
            ("ARPHELPLINK", &info.help),
            ("ARPNOMODIFY", "1"),
            ("ARPPRODUCTICON", if info.icon.is_some() { ICON } else { "" }),
            ("ARPURLINFOABOUT", &info.help),
            ("Manufacturer", &info.manufacturer),
            ("ProductLanguage", &language),
            ("ProductName", &info.product),
            ("ProductVersion", &info.version),
            // Whatever lies there of the old version is on its way out: no file is kept for its date.
            ("REINSTALLMODE", "amus"),
            ("SecureCustomProperties", "NEWER;OLDER;OTHER"),
            ("UpgradeCode", &code),
        ];
        for (name, value) in all.into_iter().filter(|(_, value)| !value.is_empty()) {
            self.add("Property", vec![name.into(), value.into()]);
        }
        if info.icon.is_some() {
            self.add("Icon", vec![ICON.into(), Value::Binary]);
        }
    }
}

/// What versions of one product have in common.
fn upgrade_code(package: &MsiPackage) -> String {
    names::braced(&names::guid("upgrade", &package.info.name))
}

/// A text in which `[` and `]` are letters.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '[' | ']' => out.push_str(&format!("[\\{c}]")),
            other => out.push(other),
        }
    }
    out
}
