//! The tables of a package: their columns, as Windows Installer's own schema has them, and the order of its actions.

use msi::{Category, Column, Value};

/// A table and its columns. A column is `name type category`: `*` marks a key, `s` is a text (`l` one that can be
/// translated), `i` a number, `v` a stream; a capital letter lets it be null; behind it the width (0: any).
pub(super) type Schema = (&'static str, &'static [&'static str]);

pub(super) const SCHEMAS: &[Schema] = &[
    ("AppSearch", &["*Property s72 Identifier", "*Signature_ s72 Identifier"]),
    (
        "Component",
        &[
            "*Component s72 Identifier",
            "ComponentId S38 GUID",
            "Directory_ s72 Identifier Directory",
            "Attributes i2",
            "Condition S255 Condition",
            "KeyPath S72 Identifier",
        ],
    ),
    (
        "CreateFolder",
        &[
            "*Directory_ s72 Identifier Directory",
            "*Component_ s72 Identifier Component",
        ],
    ),
    (
        "Directory",
        &[
            "*Directory s72 Identifier",
            "Directory_Parent S72 Identifier Directory",
            "DefaultDir l255 DefaultDir",
        ],
    ),
    (
        "Environment",
        &[
            "*Environment s72 Identifier",
            "Name l255 Text",
            "Value L255 Formatted",
            "Component_ s72 Identifier Component",
        ],
    ),
    (
        "Feature",
        &[
            "*Feature s38 Identifier",
            "Feature_Parent S38 Identifier Feature",
            "Title L64 Text",
            "Description L255 Text",
            "Display I2",
            "Level i2",
            "Directory_ S72 UpperCase",
            "Attributes i2",
        ],
    ),
    (
        "FeatureComponents",
        &[
            "*Feature_ s38 Identifier Feature",
            "*Component_ s72 Identifier Component",
        ],
    ),
    (
        "File",
        &[
            "*File s72 Identifier",
            "Component_ s72 Identifier Component",
            "FileName l255 Filename",
            "FileSize i4",
            "Version S72 Version",
            "Language S20 Language",
            "Attributes I2",
            "Sequence i2",
        ],
    ),
    ("Icon", &["*Name s72 Identifier", "Data v0"]),
    (
        "LaunchCondition",
        &["*Condition s255 Condition", "Description l255 Formatted"],
    ),
    (
        "Media",
        &[
            "*DiskId i2",
            "LastSequence i2",
            "DiskPrompt L64 Text",
            "Cabinet S255 Cabinet",
            "VolumeLabel S32 Text",
            "Source S72 Property",
        ],
    ),
    (
        "MsiLockPermissionsEx",
        &[
            "*MsiLockPermissionsEx s72 Identifier",
            "LockObject s72 Identifier",
            "Table s32 Text",
            "SDDLText s0 FormattedSDDLText",
            "Condition S255 Condition",
        ],
    ),
    ("Property", &["*Property s72 Identifier", "Value l0 Text"]),
    (
        "RegLocator",
        &[
            "*Signature_ s72 Identifier",
            "Root i2",
            "Key s255 RegPath",
            "Name S255 Formatted",
            "Type I2",
        ],
    ),
    (
        "Registry",
        &[
            "*Registry s72 Identifier",
            "Root i2",
            "Key l255 RegPath",
            "Name L255 Formatted",
            "Value L0 Formatted",
            "Component_ s72 Identifier Component",
        ],
    ),
    (
        "ServiceControl",
        &[
            "*ServiceControl s72 Identifier",
            "Name l255 Formatted",
            "Event i2",
            "Arguments S255 Formatted",
            "Wait I2",
            "Component_ s72 Identifier Component",
        ],
    ),
    (
        "ServiceInstall",
        &[
            "*ServiceInstall s72 Identifier",
            "Name s255 Formatted",
            "DisplayName L255 Formatted",
            "ServiceType i4",
            "StartType i4",
            "ErrorControl i4",
            "LoadOrderGroup S255 Formatted",
            "Dependencies S255 Formatted",
            "StartName S255 Formatted",
            "Password S255 Formatted",
            "Arguments S255 Formatted",
            "Component_ s72 Identifier Component",
            "Description L255 Formatted",
        ],
    ),
    (
        "Upgrade",
        &[
            "*UpgradeCode s38 GUID",
            "*VersionMin S20 Text",
            "*VersionMax S20 Text",
            "*Language S255 Language",
            "*Attributes i4",
            "Remove S255 Formatted",
            "ActionProperty s72 UpperCase",
        ],
    ),
    ("AdminExecuteSequence", SEQUENCE),
    ("InstallExecuteSequence", SEQUENCE),
    ("InstallUISequence", SEQUENCE),
];

const SEQUENCE: &[&str] = &["*Action s72 Identifier", "Condition S255 Condition", "Sequence I2"];

/// What an installation does, in order. The old version goes first, inside the same transaction: where the new one cannot be
/// installed, the old one is put back.
pub(super) const INSTALL: &[(&str, i32)] = &[
    ("FindRelatedProducts", 25),
    ("AppSearch", 50),
    ("LaunchConditions", 100),
    ("ValidateProductID", 700),
    ("CostInitialize", 800),
    ("FileCost", 900),
    ("CostFinalize", 1000),
    ("MigrateFeatureStates", 1200),
    ("InstallValidate", 1400),
    ("InstallInitialize", 1500),
    ("RemoveExistingProducts", 1510),
    ("ProcessComponents", 1600),
    ("UnpublishFeatures", 1800),
    ("StopServices", 1900),
    ("DeleteServices", 2000),
    ("RemoveRegistryValues", 2600),
    ("RemoveEnvironmentStrings", 3300),
    ("RemoveFiles", 3500),
    ("RemoveFolders", 3600),
    ("CreateFolders", 3700),
    ("InstallFiles", 4000),
    ("WriteRegistryValues", 5000),
    ("WriteEnvironmentStrings", 5200),
    ("InstallServices", 5800),
    ("StartServices", 5900),
    ("RegisterUser", 6000),
    ("RegisterProduct", 6100),
    ("PublishFeatures", 6300),
    ("PublishProduct", 6400),
    ("InstallFinalize", 6600),
];

/// What runs before that where somebody double-clicked the package: the same questions, so that the answers are known.
pub(super) const WINDOW: &[(&str, i32)] = &[
    ("FindRelatedProducts", 25),
    ("AppSearch", 50),
    ("LaunchConditions", 100),
    ("ValidateProductID", 700),
    ("CostInitialize", 800),
    ("FileCost", 900),
    ("CostFinalize", 1000),
    ("MigrateFeatureStates", 1200),
    ("ExecuteAction", 1300),
];

/// `msiexec /a`: the files, unpacked.
pub(super) const UNPACK: &[(&str, i32)] = &[
    ("CostInitialize", 800),
    ("FileCost", 900),
    ("CostFinalize", 1000),
    ("InstallValidate", 1400),
    ("InstallInitialize", 1500),
    ("InstallAdminPackage", 3900),
    ("InstallFiles", 4000),
    ("InstallFinalize", 6600),
];

/// The columns of a schema, as the writer wants them.
pub(super) fn columns(schema: &[&str]) -> Vec<Column> {
    schema.iter().filter_map(|text| column(text)).collect()
}

fn column(text: &str) -> Option<Column> {
    let mut words = text.split(' ');
    let name = words.next()?;
    let kind = words.next()?;
    let (letter, width) = kind.split_at(1);
    let letter = letter.chars().next()?;
    let mut column = Column::build(name.trim_start_matches('*'));
    if name.starts_with('*') {
        column = column.primary_key();
    }
    if letter.is_ascii_uppercase() {
        column = column.nullable();
    }
    if let Some(category) = words.next() {
        column = column.category(category.parse::<Category>().ok()?);
    }
    if let Some(table) = words.next() {
        column = column.foreign_key(table, 1);
    }
    let width: usize = width.parse().ok()?;
    Some(match (letter.to_ascii_lowercase(), width) {
        ('s', _) => column.string(width),
        ('l', _) => column.localizable().string(width),
        ('i', 2) => column.int16(),
        ('i', _) => column.int32(),
        _ => column.category(Category::Binary).binary(),
    })
}

/// The rows of one sequence.
pub(super) fn sequence(actions: &[(&str, i32)]) -> Vec<Vec<Value>> {
    let row = |(action, at): &(&str, i32)| vec![Value::from(*action), Value::Null, Value::Int(*at)];
    actions.iter().map(row).collect()
}

/// A text, or nothing where it is empty.
pub(super) fn some(text: &str) -> Value {
    match text.is_empty() {
        true => Value::Null,
        false => Value::from(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_understood_and_every_table_has_a_key() {
        for (table, schema) in SCHEMAS {
            let columns = columns(schema);
            assert_eq!(columns.len(), schema.len(), "{table}");
            assert!(columns.iter().any(Column::is_primary_key), "{table}");
            for (column, text) in columns.iter().zip(*schema) {
                let word = text.split(' ').nth(1).expect("a type");
                assert_eq!(
                    column.is_nullable(),
                    word.starts_with(|c: char| c.is_ascii_uppercase()),
                    "{table} {text}"
                );
            }
        }
    }

    #[test]
    fn actions_are_in_order_and_the_old_version_goes_before_anything_is_written() {
        for sequence in [INSTALL, WINDOW, UNPACK] {
            assert!(sequence.windows(2).all(|pair| pair[0].1 < pair[1].1));
        }
        let at = |name: &str| INSTALL.iter().position(|(action, _)| *action == name).expect(name);
        assert!(
            at("FindRelatedProducts") < at("LaunchConditions"),
            "a downgrade is refused by what was found"
        );
        assert!(at("AppSearch") < at("LaunchConditions"));
        assert!(at("InstallInitialize") < at("RemoveExistingProducts"));
        assert!(at("RemoveExistingProducts") < at("ProcessComponents"));
        assert!(at("StopServices") < at("DeleteServices") && at("DeleteServices") < at("RemoveFiles"));
        assert!(at("InstallFiles") < at("InstallServices") && at("InstallServices") < at("StartServices"));
    }
}
