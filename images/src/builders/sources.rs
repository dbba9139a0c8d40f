//! The sources of the device program: where they are, and their one hash.
//!
//! Owns: finding the checkout, and naming everything that can change the program `jos`.
//! Never: changes a source file.

use std::path::{Path, PathBuf};

use jos_trust::digest::{Hasher, sha256};

use super::{BuildError, Flavour, manifests};

/// Folders and files that the program is made of. `profiles/units` and the feed's files are compiled in.
const PARTS: [&str; 9] = [
    "Cargo.lock",
    "Cargo.toml",
    "agent",
    "link",
    "openwrt-feed/jos-agent/files",
    "profiles/units",
    "runtime",
    "schemas",
    "trust",
];
/// The same of the runtime alone.
const RUNTIME: [&str; 1] = ["node"];
/// Never compiled into a release program.
const LEFT_OUT: [&str; 4] = ["benches", "fixtures", "target", "tests"];

/// A checkout of the sources.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Its root.
    pub root: PathBuf,
    device: String,
    runtime: String,
}

impl Sources {
    /// The checkout at `given`; without one, the checkout that holds the working folder, else the one that holds this
    /// program.
    ///
    /// # Errors
    /// [`BuildError::Missing`] when there is none, [`BuildError::Io`] when one cannot be read.
    pub fn find(given: Option<&Path>) -> Result<Self, BuildError> {
        let root = match given {
            Some(dir) if is_checkout(dir) => dir.to_owned(),
            Some(dir) => {
                return Err(BuildError::Missing {
                    what: format!("the sources of jos in {}", dir.display()),
                    help: "name the folder that holds jos' Cargo.toml and agent/ with --source DIR".into(),
                });
            }
            None => default_root().ok_or_else(|| BuildError::Missing {
                what: "the sources of jos".into(),
                help: "run in a checkout, name one with --source DIR, or bring built programs: --builder prebuilt=DIR"
                    .into(),
            })?,
        };
        let root = root.canonicalize().map_err(|e| BuildError::io(&root, e))?;
        let device = hash(&root, &PARTS)?;
        let runtime = hash(&root, &[&PARTS[..], &RUNTIME].concat())?;
        Ok(Self { root, device, runtime })
    }

    /// SHA-256 over the names and contents of everything that can change the program; of the workspace's manifests only
    /// what it reads.
    #[must_use]
    pub fn sha256(&self, flavour: Flavour) -> &str {
        match flavour {
            Flavour::Device => &self.device,
            Flavour::Runtime => &self.runtime,
        }
    }
}

/// The checkout around the working folder or around this program.
#[must_use]
pub fn default_root() -> Option<PathBuf> {
    let starts = [std::env::current_dir().ok(), std::env::current_exe().ok()];
    starts
        .into_iter()
        .flatten()
        .find_map(|s| s.ancestors().find(|d| is_checkout(d)).map(Path::to_owned))
}

fn is_checkout(dir: &Path) -> bool {
    ["Cargo.toml", "Cargo.lock", "agent/Cargo.toml", "schemas/Cargo.toml"]
        .iter()
        .all(|f| dir.join(f).is_file())
}

fn hash(root: &Path, parts: &[&str]) -> Result<String, BuildError> {
    let mut files = Vec::new();
    for part in parts {
        collect(root, Path::new(part), &mut files)?;
    }
    files.sort();
    let lock = read(root, "Cargo.lock")?;
    let reached = manifests::reached(&String::from_utf8_lossy(&lock));
    let mut all = Hasher::default();
    for file in files {
        let mut bytes = read(root, &file)?;
        if let Some((kept, names)) = &reached {
            let part = match file.to_str() {
                Some("Cargo.lock") => Some(kept.clone()),
                Some("Cargo.toml") => manifests::manifest(&String::from_utf8_lossy(&bytes), names),
                _ => None,
            };
            bytes = part.map_or(bytes, String::into_bytes);
        }
        all.update(format!("{}\0{}\n", file.display(), sha256(&bytes)).as_bytes());
    }
    Ok(all.finish().to_string())
}

fn read(root: &Path, file: impl AsRef<Path>) -> Result<Vec<u8>, BuildError> {
    let path = root.join(file);
    std::fs::read(&path).map_err(|e| BuildError::io(&path, e))
}

fn collect(root: &Path, below: &Path, files: &mut Vec<PathBuf>) -> Result<(), BuildError> {
    let path = root.join(below);
    let Ok(meta) = std::fs::metadata(&path) else {
        return Ok(());
    };
    if meta.is_file() {
        files.push(below.to_owned());
        return Ok(());
    }
    let entries = std::fs::read_dir(&path).map_err(|e| BuildError::io(&path, e))?;
    for entry in entries {
        let name = entry.map_err(|e| BuildError::io(&path, e))?.file_name();
        let left_out = name
            .to_str()
            .is_none_or(|n| n.starts_with('.') || LEFT_OUT.contains(&n));
        if !left_out {
            collect(root, &below.join(name), files)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("folder");
        for file in [
            "Cargo.toml",
            "Cargo.lock",
            "agent/Cargo.toml",
            "agent/src/main.rs",
            "schemas/Cargo.toml",
        ] {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("folders");
            std::fs::write(path, file).expect("file");
        }
        dir
    }

    #[test]
    fn the_hash_follows_every_source_but_no_test_and_no_other_folder() {
        let dir = checkout();
        let of = || {
            let sources = Sources::find(Some(dir.path())).expect("checkout");
            Flavour::ALL.map(|flavour| sources.sha256(flavour).to_owned())
        };
        let first = of();
        std::fs::create_dir_all(dir.path().join("agent/tests")).expect("folder");
        std::fs::write(dir.path().join("agent/tests/a.rs"), "x").expect("file");
        std::fs::write(dir.path().join("README.md"), "x").expect("file");
        assert_eq!(of(), first);
        std::fs::create_dir_all(dir.path().join("node/src")).expect("folder");
        std::fs::write(dir.path().join("node/src/lib.rs"), "x").expect("file");
        let [device, runtime] = of();
        assert_eq!(device, first[0], "a node is no part of a program without one");
        assert_ne!(runtime, first[1]);
        std::fs::write(dir.path().join("agent/src/main.rs"), "fn main() {}").expect("file");
        assert_ne!(of()[0], first[0]);
        assert_ne!(of()[1], runtime);
    }

    #[test]
    fn a_folder_without_sources_is_refused_by_name() {
        let dir = tempfile::tempdir().expect("folder");
        let said = Sources::find(Some(dir.path())).expect_err("no checkout").to_string();
        assert!(said.contains(&dir.path().display().to_string()), "{said}");
    }
}
