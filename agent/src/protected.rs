//! What whoever made this system protects besides jos' own files: lines of `protected` in jos' own share.
//!
//! An image knows where it keeps what makes a device itself; a policy need not.

use std::path::{Path, PathBuf};

use jos_schemas::layout::Layout;
use jos_schemas::text::AbsPath;

use crate::files;
use crate::place::Place;

const LIMIT: usize = 1 << 20;

/// The paths that are listed, as they lie at `place`; none where there is no list. Empty lines and what follows `#` at the
/// beginning of a line say nothing.
pub(crate) fn listed(place: &Place) -> Result<Vec<PathBuf>, String> {
    let file = place.at(Path::new(Layout::HERE.share).join("protected"));
    if !file.exists() {
        return Ok(Vec::new());
    }
    let failed = |why: String| format!("{}: {why}", file.display());
    let bytes = files::read(&file, LIMIT).map_err(|e| e.to_string())?;
    let text = std::str::from_utf8(&bytes).map_err(|e| failed(e.to_string()))?;
    let lines = text.lines().map(str::trim).enumerate();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(at, line)| match AbsPath::new(line) {
            Ok(path) => Ok(place.at(path.as_str())),
            Err(why) => Err(format!("{}:{}: {why}, found {line:?}", file.display(), at + 1)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_a_line_that_is_no_path_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(Some(dir.path().to_owned()));
        assert!(listed(&place).unwrap().is_empty());
        let file = place.at(Path::new(Layout::HERE.share).join("protected"));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "# ours\n\n/data/identity\n  /data/state \n").unwrap();
        let expected = ["data/identity", "data/state"].map(|p| dir.path().join(p));
        assert_eq!(listed(&place).unwrap(), expected);
        std::fs::write(&file, "/data/identity\n../data\n").unwrap();
        let why = listed(&place).unwrap_err();
        assert!(
            why.contains("protected:2: ") && why.contains("found \"../data\""),
            "{why}"
        );
    }
}
