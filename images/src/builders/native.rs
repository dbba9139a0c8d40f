//! The native builder: this machine's own toolchain, for this machine's own CPU and C library.
//!
//! Owns: the quick way to a package for the kind of machine one sits at. The program is linked to the system's C
//! library, so the package depends on it.

use std::path::{Path, PathBuf};

use super::toolchain::{Rust, cargo_home, clean_cargo, host};
use super::{BuildError, Builder, Crate, Flavour, Provenance, Sources, Steps, cargo, check, crates};
use crate::targets::{System, Target, Triple};

/// See the module.
pub struct Native {
    rust: Rust,
    sources: Sources,
    target_dir: PathBuf,
    jobs: Option<usize>,
    triple: Triple,
}

impl Native {
    /// Finds the compiler.
    ///
    /// # Errors
    /// [`BuildError::Missing`] naming what to install, [`BuildError::Unserved`] on a host that is no target.
    pub fn new(sources: Sources, cache: &Path, jobs: Option<usize>) -> Result<Self, BuildError> {
        let rust = host()?;
        let known = [
            "x86_64-unknown-linux-gnu",
            "aarch64-unknown-linux-gnu",
            "aarch64-apple-darwin",
            "x86_64-apple-darwin",
        ];
        let Some(name) = known.into_iter().find(|k| *k == rust.host) else {
            return Err(BuildError::Unserved {
                builder: "native",
                target: rust.host.clone(),
                why: "no package of ours is for this machine".into(),
                help: "use --builder zigbuild".into(),
            });
        };
        let triple = Triple {
            name,
            rustflags: "",
            environment: &[],
        };
        Ok(Self {
            rust,
            sources,
            target_dir: cache.join("native"),
            jobs,
            triple,
        })
    }

    fn remaps(&self) -> Vec<(PathBuf, &'static str)> {
        let mut all = vec![
            (self.sources.root.clone(), "/jos"),
            (self.target_dir.clone(), "/target"),
        ];
        all.extend(cargo_home().map(|home| (home, "/cargo")));
        all
    }
}

impl Builder for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn triples(&self, target: &Target) -> Result<Vec<Triple>, BuildError> {
        let cpu = |name: &'static str| name.split('-').next();
        let serves = target.system == System::Debian
            && self.triple.name.contains("linux")
            && target.programs.iter().all(|p| cpu(p.name) == cpu(self.triple.name));
        if serves {
            return Ok(vec![self.triple]);
        }
        Err(BuildError::Unserved {
            builder: "native",
            target: target.name.into(),
            why: format!(
                "it compiles only for this machine ({}) and its C library",
                self.triple.name
            ),
            help: "use --builder zigbuild, which makes every target on any machine".into(),
        })
    }

    fn provenance(&self, _: &Triple, flavour: Flavour) -> Result<Option<Provenance>, BuildError> {
        Ok(Some(Provenance {
            builder: self.name().into(),
            toolchain: vec![self.rust.version.replace('\n', "; ")],
            flags: cargo::program(flavour).map(str::to_owned).to_vec(),
            sources: self.sources.sha256(flavour).to_owned(),
        }))
    }

    fn crates(&self, triple: &Triple, flavour: Flavour) -> Result<Vec<Crate>, BuildError> {
        let cargo = clean_cargo(&self.rust, &self.rust.cargo, None);
        crates::of(cargo, &self.sources.root, triple.name, flavour)
    }

    fn build(&self, triple: &Triple, flavour: Flavour, steps: &dyn Steps) -> Result<Vec<u8>, BuildError> {
        let mut command = clean_cargo(&self.rust, &self.rust.cargo, None);
        command
            .current_dir(&self.sources.root)
            .arg("build")
            .args(cargo::program(flavour));
        if let Some(jobs) = self.jobs {
            command.arg("-j").arg(jobs.to_string());
        }
        let remaps = self.remaps();
        let flags: Vec<_> = remaps
            .iter()
            .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
            .collect();
        command
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .env("CARGO_TARGET_DIR", &self.target_dir);
        let path = cargo::run(&mut command, "cargo build", triple.name, steps)?;
        let bytes = std::fs::read(&path).map_err(|e| BuildError::io(&path, e))?;
        check(&path, &bytes, triple.name)?;
        Ok(bytes)
    }
}
