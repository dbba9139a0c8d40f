//! Puts a finished set of files into its folder: all of them, or none.
//!
//! Owns: `OUT/PROFILE/`, which always holds exactly what its `manifest.json` lists. The set is written beside it, made
//! durable, and exchanged by a rename; a failure leaves the folder as it was.
//! Never: removes a file that no earlier build wrote.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::manifest::KIND;

/// Why nothing was put there.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The folder holds something else.
    #[error("{} holds {found:?}, which no earlier build wrote", folder.display())]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// The first such file.
        found: String,
    },
    /// A file could not be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl OutputError {
    fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

/// Refuses a folder that this build could not replace, before anything is compiled.
///
/// # Errors
/// [`OutputError`].
pub fn check(folder: &Path) -> Result<(), OutputError> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(OutputError::io(folder))?,
    };
    let known = listed(folder);
    for entry in entries {
        let name = entry
            .map_err(OutputError::io(folder))?
            .file_name()
            .to_string_lossy()
            .into_owned();
        if !known.contains(&name) {
            return Err(OutputError::Foreign {
                folder: folder.to_owned(),
                found: name,
            });
        }
    }
    Ok(())
}

/// The files that the manifest there lists, and those that stand beside a manifest.
fn listed(folder: &Path) -> Vec<String> {
    let Ok(text) = fs::read(folder.join("manifest.json")) else {
        return Vec::new();
    };
    let Ok(manifest) = serde_json::from_slice::<Value>(&text) else {
        return Vec::new();
    };
    if manifest["kind"] != KIND {
        return Vec::new();
    }
    let files = manifest["outputs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|o| o["file"].as_str());
    files
        .map(str::to_owned)
        .chain(
            [
                "manifest.json",
                crate::sbom::FILE,
                crate::provenance::FILE,
                "SHA256SUMS",
                "SHA256SUMS.sig",
                "SHA256SUMS.pub",
            ]
            .map(str::to_owned),
        )
        .collect()
}

/// Puts `files` (name and bytes) into `folder` in place of what an earlier build left there, with `large` ones (name and
/// where they lie, on the same file system), which are moved there.
///
/// # Errors
/// [`OutputError`]; the folder is then as it was.
pub fn publish(folder: &Path, files: &[(&str, &[u8])], large: &[(&str, &Path)]) -> Result<(), OutputError> {
    check(folder)?;
    let parent = folder
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    fs::create_dir_all(parent).map_err(OutputError::io(parent))?;
    let new = Scratch(parent.join(format!(".{name}.new-{}", std::process::id())));
    let old = Scratch(parent.join(format!(".{name}.old-{}", std::process::id())));
    let _ = fs::remove_dir_all(&new.0);
    let _ = fs::remove_dir_all(&old.0);
    fs::create_dir(&new.0).map_err(OutputError::io(&new.0))?;
    for (file, bytes) in files {
        let path = new.0.join(file);
        let written = File::create_new(&path).and_then(|mut f| {
            io::Write::write_all(&mut f, bytes)?;
            f.sync_all()
        });
        written.map_err(OutputError::io(&path))?;
    }
    for (file, from) in large {
        let moved = File::open(from)
            .and_then(|f| f.sync_all())
            .and_then(|()| fs::rename(from, new.0.join(file)));
        moved.map_err(OutputError::io(*from))?;
    }
    let sync = |dir: &Path| File::open(dir).and_then(|d| d.sync_all()).map_err(OutputError::io(dir));
    sync(&new.0)?;
    let there = folder.exists();
    if there {
        fs::rename(folder, &old.0).map_err(OutputError::io(folder))?;
    }
    if let Err(e) = fs::rename(&new.0, folder) {
        if there {
            let _ = fs::rename(&old.0, folder);
        }
        return Err(OutputError::io(folder)(e));
    }
    sync(parent)
}

/// A folder of ours that goes away again.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &[u8] = br#"{"kind":"jos.image.manifest","outputs":[{"file":"a.deb"}]}"#;

    #[test]
    fn a_set_replaces_the_set_before_it_whole() {
        let dir = tempfile::tempdir().expect("folder");
        let out = dir.path().join("out");
        publish(&out, &[("a.deb", b"1"), ("manifest.json", MANIFEST)], &[]).expect("first");
        publish(&out, &[("manifest.json", b"{}")], &[]).expect("second");
        let names: Vec<_> = fs::read_dir(&out)
            .expect("folder")
            .map(|e| e.expect("entry").file_name())
            .collect();
        assert_eq!(names, ["manifest.json"]);
        assert_eq!(
            fs::read_dir(dir.path()).expect("folder").count(),
            1,
            "no scratch folder is left"
        );
    }

    #[test]
    fn a_folder_with_somebody_elses_file_is_left_alone() {
        let dir = tempfile::tempdir().expect("folder");
        fs::write(dir.path().join("thesis.txt"), "x").expect("file");
        let refused = publish(dir.path(), &[("manifest.json", MANIFEST)], &[]).expect_err("foreign");
        assert!(refused.to_string().contains("thesis.txt"), "{refused}");
        assert_eq!(fs::read(dir.path().join("thesis.txt")).expect("file"), b"x");
    }
}
