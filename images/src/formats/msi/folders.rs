//! Where a tree's paths lie on Windows.

use crate::formats::FormatError;

/// Windows' own folders: the first part of a tree's path, the property that holds the place, and its short name.
const ROOTS: [(&str, &str, &str); 2] = [
    ("Program Files", "ProgramFiles64Folder", "PFiles"),
    ("ProgramData", "CommonAppDataFolder", "CommAppD"),
];

/// What is wrong with any other path.
pub(super) const ELSEWHERE: &str =
    "lies neither below /Program Files nor below /ProgramData, where a Windows package has its files";

/// The property and the rest of a path.
pub(super) fn split(path: &str) -> Result<(&'static str, &str), FormatError> {
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    match ROOTS.iter().find(|(name, ..)| *name == first) {
        Some((_, property, _)) => Ok((property, rest)),
        None => Err(FormatError::path(path, ELSEWHERE)),
    }
}

/// The rows that every package has: the root and Windows' own folders, with the names that `msiexec /a` gives them.
pub(super) fn roots() -> impl Iterator<Item = (&'static str, String)> {
    ROOTS
        .iter()
        .map(|(name, property, short)| (*property, format!("{short}|{name}")))
}

/// What stands in a tree's path for a property of another's package.
pub(crate) fn of_property(property: &str) -> Option<&'static str> {
    let (name, ..) = ROOTS.iter().find(|(_, known, _)| *known == property)?;
    Some(name)
}

/// As formatted texts of the database say it: `[CommonAppDataFolder]jos\agent.toml`.
pub(super) fn formatted(path: &str) -> Result<String, FormatError> {
    let (property, rest) = split(path.trim_start_matches('/'))?;
    Ok(format!("[{property}]{}", rest.replace('/', "\\")))
}
