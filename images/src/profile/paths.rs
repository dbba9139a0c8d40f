//! Files that a profile names, relative to the file that names them.
//!
//! Owns: the rule that such a path stays within its profile's folder, through `..` and through links alike.

use std::fs;
use std::path::{Component, Path, PathBuf};

use jos_schemas::node::Node;

use super::files::{Files, Problems, shown};

/// The largest single file that a profile brings: 64 MiB.
pub const LARGEST: u64 = 64 << 20;

/// Finds what the text at `pointer` names; anything wrong is reported at that text.
pub fn find(files: &Files, node: &Node, pointer: &str, problems: &mut Problems<'_>) -> Option<PathBuf> {
    let given = node.pointer(pointer)?.as_str()?;
    named(files, node, pointer, given, problems)
}

/// Finds `given`, of which the text at `pointer` speaks.
pub fn named(files: &Files, node: &Node, pointer: &str, given: &str, problems: &mut Problems<'_>) -> Option<PathBuf> {
    let at = node.pointer(pointer)?;
    let file = files.file(&at.span);
    let mut refuse = |message: String, help: &str| {
        problems.add(&at.span, pointer, message, help);
        None
    };
    let Some(folder) = &file.folder else {
        return refuse(
            format!("a built-in base names the file {given:?}"),
            "name files in your own profile",
        );
    };
    const STAY: &str = "put the file into the profile's folder and name it relative to there";
    let path = Path::new(given);
    let climbs = path
        .components()
        .any(|c| !matches!(c, Component::Normal(_) | Component::CurDir));
    if given.is_empty() || climbs {
        return refuse(format!("the path {given:?} leaves the profile's folder"), STAY);
    }
    let whole = folder.join(path);
    let real = match whole.canonicalize() {
        Ok(real) => real,
        Err(e) => {
            let help = format!("it is looked up in {}", shown(folder));
            return refuse(format!("{given:?} cannot be read: {e}"), &help);
        }
    };
    if !real.starts_with(folder) {
        return refuse(format!("{given:?} is a link that leaves the profile's folder"), STAY);
    }
    Some(real)
}

/// Finds and reads a file.
pub fn read(files: &Files, node: &Node, pointer: &str, problems: &mut Problems<'_>) -> Option<(PathBuf, Vec<u8>)> {
    let path = find(files, node, pointer, problems)?;
    let read = || {
        let size = fs::metadata(&path)?.len();
        if size > LARGEST {
            return Err(std::io::Error::other(format!(
                "{size} bytes are more than the limit of {LARGEST}"
            )));
        }
        fs::read(&path)
    };
    match read() {
        Ok(bytes) => Some((path, bytes)),
        Err(e) => {
            let message = format!("{}: {e}", shown(&path));
            problems.at(node, pointer, message, "name a readable file");
            None
        }
    }
}
