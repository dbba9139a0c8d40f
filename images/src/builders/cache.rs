//! The cache of compiled programs, by content: sources, lock file, toolchain, flags and target name the slot.
//!
//! Owns: `$JOS_CACHE/programs/KEY/{jos,provenance.json,crates.json}`. A slot appears whole (written beside, then renamed), is
//! checked when it is read, and may be deleted at any time.
//! Never: holds anything that cannot be made again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::{BuildError, Crate, Provenance, toolchain};
use crate::formats::hash::sha256;

/// What a program is made of, beside it.
pub(super) const CRATES: &str = "crates.json";

/// The place of one program.
pub struct Slot {
    root: PathBuf,
    dir: PathBuf,
    triple: String,
}

/// What a slot says about the program beside it.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Label {
    sha256: String,
    provenance: Provenance,
}

/// Held while a program is made.
pub struct Turn {
    _file: File,
}

/// Where programs are kept.
#[must_use]
pub fn default_dir() -> PathBuf {
    toolchain::cache_dir().join("programs")
}

impl Slot {
    /// The slot of what `provenance` describes.
    #[must_use]
    pub fn new(root: &Path, triple: &str, provenance: &Provenance) -> Self {
        let text = serde_json::to_string(&(1, triple, provenance)).unwrap_or_default();
        let key = sha256(text.as_bytes());
        Self {
            root: root.to_owned(),
            dir: root.join(key),
            triple: triple.to_owned(),
        }
    }

    /// The program, when it is there and whole.
    ///
    /// # Errors
    /// [`BuildError::Io`] when the slot is there and cannot be read.
    pub fn read(&self) -> Result<Option<Vec<u8>>, BuildError> {
        let (label, program) = (self.dir.join("provenance.json"), self.dir.join("jos"));
        let Ok(text) = fs::read(&label) else { return Ok(None) };
        let bytes = fs::read(&program).map_err(|e| BuildError::io(&program, e))?;
        let whole = serde_json::from_slice::<Label>(&text).is_ok_and(|l| l.sha256 == sha256(&bytes));
        if !whole {
            // A torn or edited slot is worth nothing: made again.
            fs::remove_dir_all(&self.dir).map_err(|e| BuildError::io(&self.dir, e))?;
            return Ok(None);
        }
        Ok(Some(bytes))
    }

    /// Waits for whoever makes the same program at this moment.
    ///
    /// # Errors
    /// [`BuildError::Io`].
    pub fn lock(&self) -> Result<Turn, BuildError> {
        fs::create_dir_all(&self.root).map_err(|e| BuildError::io(&self.root, e))?;
        let path = self.dir.with_extension("lock");
        let file = File::create(&path).map_err(|e| BuildError::io(&path, e))?;
        file.lock().map_err(|e| BuildError::io(&path, e))?;
        Ok(Turn { _file: file })
    }

    /// Keeps a program: whole, or not at all.
    ///
    /// # Errors
    /// [`BuildError::Io`].
    pub fn write(&self, bytes: &[u8], provenance: &Provenance) -> Result<(), BuildError> {
        let beside = self.dir.with_extension(format!("new-{}", std::process::id()));
        let io = |path: &Path| {
            let path = path.to_owned();
            move |e| BuildError::io(path, e)
        };
        let _ = fs::remove_dir_all(&beside);
        fs::create_dir_all(&beside).map_err(io(&beside))?;
        let label = Label {
            sha256: sha256(bytes),
            provenance: provenance.clone(),
        };
        let text = serde_json::to_vec_pretty(&label).unwrap_or_default();
        for (name, content) in [("jos", bytes), ("provenance.json", text.as_slice())] {
            let path = beside.join(name);
            fs::write(&path, content).map_err(io(&path))?;
        }
        let _ = fs::remove_dir_all(&self.dir);
        fs::rename(&beside, &self.dir).map_err(io(&self.dir))
    }

    /// The crates of the program, where they were asked for before.
    #[must_use]
    pub fn crates(&self) -> Option<Vec<Crate>> {
        serde_json::from_slice(&fs::read(self.dir.join(CRATES)).ok()?).ok()
    }

    /// Keeps them beside the program. A wish, not a promise: they can be asked for again.
    pub fn keep_crates(&self, crates: &[Crate]) {
        let new = self.dir.join(format!(".{CRATES}.{}", std::process::id()));
        let text = serde_json::to_vec_pretty(crates).unwrap_or_default();
        let _ = fs::write(&new, text).and_then(|()| fs::rename(&new, self.dir.join(CRATES)));
    }

    /// How many units the last compilation for this triple had, for a progress bar.
    #[must_use]
    pub fn units(&self) -> Option<u64> {
        fs::read_to_string(units_file(&self.root, &self.triple))
            .ok()?
            .trim()
            .parse()
            .ok()
    }
}

/// Remembers how many units a compilation had. A wish, not a promise: a failure to write is no failure.
pub fn remember_units(root: &Path, triple: &str, units: u64) {
    let _ = fs::write(units_file(root, triple), units.to_string());
}

fn units_file(root: &Path, triple: &str) -> PathBuf {
    root.join(format!("{triple}.units"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provenance(flag: &str) -> Provenance {
        Provenance {
            builder: "zigbuild".into(),
            toolchain: vec!["rustc 1.96".into()],
            flags: vec![flag.into()],
            sources: "0".into(),
        }
    }

    #[test]
    fn a_kept_program_comes_back_and_another_flag_is_another_slot() {
        let dir = tempfile::tempdir().expect("folder");
        let slot = Slot::new(dir.path(), "t", &provenance("a"));
        assert_eq!(slot.read().expect("read"), None);
        slot.write(b"program", &provenance("a")).expect("write");
        assert_eq!(slot.read().expect("read").as_deref(), Some(b"program".as_slice()));
        assert_eq!(Slot::new(dir.path(), "t", &provenance("b")).read().expect("read"), None);
    }

    #[test]
    fn a_slot_that_was_edited_is_thrown_away() {
        let dir = tempfile::tempdir().expect("folder");
        let slot = Slot::new(dir.path(), "t", &provenance("a"));
        slot.write(b"program", &provenance("a")).expect("write");
        fs::write(slot.dir.join("jos"), b"something else").expect("edit");
        assert_eq!(slot.read().expect("read"), None);
        assert!(!slot.dir.exists());
    }
}
