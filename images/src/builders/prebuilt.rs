//! The prebuilt "builder": programs that somebody made before, as `DIR/TRIPLE/jos` (with the runtime: `jos-runtime`), with the
//! list of their crates beside them (`crates.json`, `crates-runtime.json`) where whoever made them left one. An installed
//! `jos-image` carries such a folder.

use std::path::{Path, PathBuf};

use super::{BuildError, Builder, Crate, Flavour, Provenance, Steps, check};
use crate::targets::{Target, Triple};

/// The most bytes a program may have: 64 MiB, against a folder that was named by mistake.
const LIMIT: u64 = 64 << 20;

/// See the module.
pub struct Prebuilt {
    dir: PathBuf,
}

impl Prebuilt {
    /// Takes programs from `dir`.
    ///
    /// # Errors
    /// [`BuildError::Missing`] when there is no such folder.
    pub fn new(dir: &Path) -> Result<Self, BuildError> {
        if !dir.is_dir() {
            return Err(BuildError::Missing {
                what: format!("folder of programs at {}", dir.display()),
                help: "--builder prebuilt=DIR names a folder that holds TRIPLE/jos for each target".into(),
            });
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// The folder that an installed `jos-image` carries: `../lib/jos/programs` beside its own folder.
    #[must_use]
    pub fn installed() -> Option<Self> {
        let own = std::env::current_exe().ok()?;
        let dir = own.parent()?.parent()?.join("lib/jos/programs");
        dir.is_dir().then_some(Self { dir })
    }
}

impl Builder for Prebuilt {
    fn name(&self) -> &'static str {
        "prebuilt"
    }

    fn provenance(&self, _: &Triple, _: Flavour) -> Result<Option<Provenance>, BuildError> {
        Ok(None)
    }

    fn crates(&self, triple: &Triple, flavour: Flavour) -> Result<Vec<Crate>, BuildError> {
        let path = self.dir.join(triple.name).join(flavour.files().1);
        let text = match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text.map_err(|e| BuildError::io(&path, e))?,
        };
        serde_json::from_slice(&text).map_err(|e| BuildError::io(&path, e.into()))
    }

    fn build(&self, triple: &Triple, flavour: Flavour, _: &dyn Steps) -> Result<Vec<u8>, BuildError> {
        let path = self.dir.join(triple.name).join(flavour.files().0);
        let meta = std::fs::metadata(&path).map_err(|_| BuildError::Missing {
            what: format!("program at {}", path.display()),
            help: match flavour {
                Flavour::Device => format!("put the program for {} there, or use --builder zigbuild", triple.name),
                Flavour::Runtime => format!(
                    "[runtime] takes the program with the runtime: `jos-image programs` makes it, for {} as for others; \
                     or use --builder zigbuild",
                    triple.name
                ),
            },
        })?;
        if meta.len() > LIMIT {
            return Err(BuildError::WrongProgram {
                path,
                found: format!("{} bytes", meta.len()),
                expected: format!("a program of at most {LIMIT} bytes"),
            });
        }
        let bytes = std::fs::read(&path).map_err(|e| BuildError::io(&path, e))?;
        check(&path, &bytes, triple.name)?;
        Ok(bytes)
    }
}

/// For packages that bring all their programs: there is none to make.
pub struct Brought;

impl Builder for Brought {
    fn name(&self) -> &'static str {
        "brought"
    }

    fn triples(&self, _: &Target) -> Result<Vec<Triple>, BuildError> {
        Ok(Vec::new())
    }

    fn provenance(&self, _: &Triple, _: Flavour) -> Result<Option<Provenance>, BuildError> {
        Ok(None)
    }

    fn crates(&self, _: &Triple, _: Flavour) -> Result<Vec<Crate>, BuildError> {
        Ok(Vec::new())
    }

    fn build(&self, triple: &Triple, _: Flavour, _: &dyn Steps) -> Result<Vec<u8>, BuildError> {
        Err(BuildError::Unserved {
            builder: self.name(),
            target: triple.name.to_owned(),
            why: "tools bring their programs".into(),
            help: "name a builder with --builder".into(),
        })
    }
}
