//! Windows Installer packages.

use std::collections::{BTreeMap, BTreeSet};

use super::report::{FileRow, PackageKind, Report, ScriptRow};
use crate::formats::control::Stanza;
use crate::formats::msi::database::{Database, Table};
use crate::formats::msi::{cabinet, of_property};
use crate::formats::{Entry, FormatError, Tree, UNPACKED_LIMIT};

/// How deep folders may lie in each other.
const DEPTH: usize = 64;
/// Component attribute: left alone where it is there.
const NEVER_OVERWRITE: i64 = 0x80;
const PERMANENT: i64 = 0x10;

pub(super) fn inspect(bytes: &[u8]) -> Result<Report, FormatError> {
    let database = Database::read(bytes)?;
    let mut report = Report::new(PackageKind::Msi, Stanza::default(), &Tree::new());
    fields(&database, &mut report);
    let contents = contents(&database, &mut report)?;
    let folders = Folders::of(&database);
    let locked = locked(&database);
    let mut tree = Tree::new();
    for (path, mode) in created(&database, &folders, &locked) {
        // A folder may be named by several components.
        if tree.get(&path).is_none() {
            tree.insert(Entry::dir(path, mode))?;
        }
    }
    let components = Components::of(&database);
    let files = database.table("File");
    for row in &files.rows {
        let (key, component) = (files.text(row, "File"), files.text(row, "Component_"));
        let Some((folder, attributes)) = components.0.get(component) else {
            report.problems.push(format!(
                "the file {key:?} is of the component {component:?}, which is not there"
            ));
            continue;
        };
        let Some(folder) = folders.path(folder) else {
            report.problems.push(format!(
                "the file {key:?} lies in the folder {folder:?}, which is not there"
            ));
            continue;
        };
        let path = format!("{folder}/{}", long(files.text(row, "FileName")));
        let Some(content) = contents.get(key) else {
            report.problems.push(format!("/{path} is not in the cabinet"));
            continue;
        };
        if files.int(row, "FileSize") != i64::try_from(content.len()).ok() {
            report
                .problems
                .push(format!("/{path} has another size than the table of files says"));
        }
        let mode = if locked.contains(&("File", key)) { 0o600 } else { 0o644 };
        let entry = Entry::file(&path, mode, content.as_slice());
        if attributes & (NEVER_OVERWRITE | PERMANENT) == NEVER_OVERWRITE | PERMANENT {
            report.conffiles.push(format!("/{path}"));
            tree.insert(entry.as_conffile())?;
        } else {
            tree.insert(entry)?;
        }
    }
    let listed: BTreeSet<&str> = files.rows.iter().map(|row| files.text(row, "File")).collect();
    for name in contents.keys().filter(|name| !listed.contains(name.as_str())) {
        report
            .problems
            .push(format!("the cabinet holds {name:?}, which no row names"));
    }
    report.conffiles.sort();
    report.files = tree.entries().map(FileRow::of).collect();
    report.tree = tree;
    Ok(report)
}

fn fields(database: &Database, report: &mut Report) {
    let properties = database.table("Property");
    let of = |name: &str| {
        let mut rows = properties.rows.iter();
        let row = rows.find(|row| properties.text(row, "Property") == name);
        row.map(|row| properties.text(row, "Value").to_owned())
    };
    for name in [
        "ProductName",
        "Manufacturer",
        "ProductVersion",
        "ProductCode",
        "UpgradeCode",
        "ARPHELPLINK",
        "ARPCONTACT",
        "ARPCOMMENTS",
    ] {
        push(report, name, of(name));
    }
    for name in ["ProductName", "ProductVersion", "ProductCode", "Manufacturer"] {
        if of(name).is_none_or(|value| value.is_empty()) {
            report.problems.push(format!("the property {name} is missing"));
        }
    }
    push(report, "Platform", database.summary.get(&7).cloned());
    push(report, "PackageCode", database.summary.get(&9).cloned());
    let services = database.table("ServiceInstall");
    for row in &services.rows {
        let name = services.text(row, "Name");
        for (what, column) in [
            ("", "DisplayName"),
            ("-Arguments", "Arguments"),
            ("-Account", "StartName"),
        ] {
            let text = services.text(row, column);
            push(report, &format!("Service-{name}{what}"), Some(text.to_owned()));
        }
        let start = match services.int(row, "StartType") {
            Some(2) => "automatic",
            Some(3) => "on demand",
            Some(4) => "disabled",
            _ => "at boot",
        };
        push(report, &format!("Service-{name}-Start"), Some(start.to_owned()));
    }
    // What a package runs on its own account.
    let actions = database.table("CustomAction");
    for row in &actions.rows {
        let text = format!("{} {}\n", actions.text(row, "Source"), actions.text(row, "Target"));
        let name = format!("CustomAction {}", actions.text(row, "Action"));
        report.scripts.push(ScriptRow::new(&name, text.as_bytes()));
    }
}

/// A value that is no plain field is left out with a problem.
fn push(report: &mut Report, name: &str, value: Option<String>) {
    let Some(value) = value.filter(|value| !value.trim().is_empty()) else {
        return;
    };
    let value = value.trim();
    if value.contains('\n') || report.control.push(name, value).is_err() {
        report.problems.push(format!(
            "{name:?} is no name of a field, or its value is not one line of text"
        ));
    }
}

fn contents(database: &Database, report: &mut Report) -> Result<BTreeMap<String, Vec<u8>>, FormatError> {
    let media = database.table("Media");
    let mut all = BTreeMap::new();
    let mut left = UNPACKED_LIMIT;
    for row in &media.rows {
        let name = media.text(row, "Cabinet");
        let Some(stream) = name.strip_prefix('#').and_then(|name| database.streams.get(name)) else {
            report
                .problems
                .push(format!("the cabinet {name:?} is not in the package"));
            continue;
        };
        let files = cabinet::read(stream, left)?;
        left -= files.values().map(|bytes| bytes.len() as u64).sum::<u64>();
        all.extend(files);
    }
    Ok(all)
}

/// Folders by their key: the parent's key and the name.
struct Folders<'a>(BTreeMap<&'a str, (&'a str, &'a str)>);

impl<'a> Folders<'a> {
    fn of(database: &'a Database) -> Self {
        let table = database.table("Directory");
        let of_row = |row| {
            let row: &'a Vec<_> = row;
            let parent = table.text(row, "Directory_Parent");
            (table.text(row, "Directory"), (parent, table.text(row, "DefaultDir")))
        };
        Self(table.rows.iter().map(of_row).collect())
    }

    fn path(&self, key: &str) -> Option<String> {
        let (mut parts, mut key) = (Vec::new(), key);
        for _ in 0..DEPTH {
            if let Some(known) = of_property(key) {
                parts.push(known);
                break;
            }
            let (parent, name) = self.0.get(key)?;
            if parent.is_empty() || *parent == key {
                break;
            }
            match long(name) {
                "." => {}
                name => parts.push(name),
            }
            key = parent;
        }
        parts.reverse();
        Some(parts.join("/"))
    }
}

/// The long one of `SHORT|Long name`, of the target where source and target differ (`target:source`).
fn long(name: &str) -> &str {
    let target = name.split(':').next().unwrap_or(name);
    target.rsplit('|').next().unwrap_or(target)
}

/// Components by their key: the folder and the attributes.
struct Components<'a>(BTreeMap<&'a str, (&'a str, i64)>);

impl<'a> Components<'a> {
    fn of(database: &'a Database) -> Self {
        let table: &'a Table = database.table("Component");
        let of_row = |row| {
            let row: &'a Vec<_> = row;
            let attributes = table.int(row, "Attributes").unwrap_or(0);
            (
                table.text(row, "Component"),
                (table.text(row, "Directory_"), attributes),
            )
        };
        Self(table.rows.iter().map(of_row).collect())
    }
}

/// What is for the system and administrators alone: its table and its key there.
fn locked(database: &Database) -> BTreeSet<(&str, &str)> {
    let table = database.table("MsiLockPermissionsEx");
    let private = table.rows.iter().filter(|row| {
        let text = table.text(row, "SDDLText");
        // Protected, and nobody in it but the system (SY) and administrators (BA).
        text.starts_with("D:P(")
            && text
                .split('(')
                .skip(1)
                .all(|ace| ace.ends_with(";;;SY)") || ace.ends_with(";;;BA)"))
    });
    private
        .map(|row| (table.text(row, "Table"), table.text(row, "LockObject")))
        .collect()
}

fn created(database: &Database, folders: &Folders<'_>, locked: &BTreeSet<(&str, &str)>) -> BTreeMap<String, u32> {
    let table = database.table("CreateFolder");
    let mut all = BTreeMap::new();
    for row in &table.rows {
        let key = table.text(row, "Directory_");
        let mode = if locked.contains(&("CreateFolder", key)) {
            0o700
        } else {
            0o755
        };
        if let Some(path) = folders.path(key).filter(|path| !path.is_empty()) {
            all.insert(path, mode);
        }
    }
    all
}
