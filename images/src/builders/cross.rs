//! The cross builder: `cross` runs cargo in a container per target, by the `Cross.toml` of the checkout.
//!
//! Owns: the same flags as zigbuild, for people who have a container engine and would rather use it. Our own machines
//! have none: the tests prove what is said when the engine is missing, not the programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::toolchain::{Rust, clean_cargo, host, on_path};
use super::{BuildError, Builder, Crate, Flavour, Provenance, Sources, Steps, cargo, check, crates};
use crate::targets::Triple;

/// See the module.
pub struct Cross {
    rust: Rust,
    cross: PathBuf,
    engine: PathBuf,
    version: String,
    sources: Sources,
    target_dir: PathBuf,
    jobs: Option<usize>,
}

impl Cross {
    /// Finds the engine, then `cross`.
    ///
    /// # Errors
    /// [`BuildError::Missing`] naming what to install.
    pub fn new(sources: Sources, cache: &Path, jobs: Option<usize>) -> Result<Self, BuildError> {
        let named = std::env::var_os("CROSS_CONTAINER_ENGINE")
            .filter(|v| !v.is_empty())
            .map(PathBuf::from);
        let engine = named
            .or_else(|| on_path("docker"))
            .or_else(|| on_path("podman"))
            .ok_or_else(|| BuildError::Missing {
                what: "container engine (docker or podman) on PATH, which the cross builder needs".into(),
                help: "install Docker or Podman, or use --builder zigbuild, which needs no container".into(),
            })?;
        let works = Command::new(&engine)
            .arg("info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !works.is_ok_and(|s| s.success()) {
            return Err(BuildError::Missing {
                what: format!("working container engine: `{} info` fails", engine.display()),
                help: "start it and make sure that you may use it, or use --builder zigbuild".into(),
            });
        }
        let cross = on_path("cross").ok_or_else(|| BuildError::Missing {
            what: "`cross` on PATH".into(),
            help: "cargo install cross --locked, or use --builder zigbuild".into(),
        })?;
        let said = Command::new(&cross)
            .arg("--version")
            .output()
            .map_err(|e| BuildError::io(&cross, e))?;
        let version = String::from_utf8_lossy(&said.stdout)
            .lines()
            .next()
            .unwrap_or("cross")
            .to_owned();
        Ok(Self {
            rust: host()?,
            cross,
            engine,
            version,
            sources,
            target_dir: cache.join("cross-containers"),
            jobs,
        })
    }
}

impl Builder for Cross {
    fn name(&self) -> &'static str {
        "cross"
    }

    fn triples(&self, target: &crate::targets::Target) -> Result<Vec<Triple>, BuildError> {
        if target.programs.iter().any(|p| p.name.contains("apple")) {
            return Err(BuildError::Unserved {
                builder: "cross",
                target: target.name.into(),
                why: "there is no container for macOS".into(),
                help: "use --builder zigbuild for macOS".into(),
            });
        }
        Ok(target.programs.to_vec())
    }

    fn provenance(&self, triple: &Triple, flavour: Flavour) -> Result<Option<Provenance>, BuildError> {
        let mut flags: Vec<String> = triple.rustflags.split(' ').map(str::to_owned).collect();
        flags.extend(cargo::program(flavour).map(str::to_owned));
        let toolchain = vec![self.rust.version.replace('\n', "; "), self.version.clone()];
        Ok(Some(Provenance {
            builder: self.name().into(),
            toolchain,
            flags,
            sources: self.sources.sha256(flavour).to_owned(),
        }))
    }

    fn crates(&self, triple: &Triple, flavour: Flavour) -> Result<Vec<Crate>, BuildError> {
        let cargo = clean_cargo(&self.rust, &self.rust.cargo, None);
        crates::of(cargo, &self.sources.root, triple.name, flavour)
    }

    fn build(&self, triple: &Triple, flavour: Flavour, steps: &dyn Steps) -> Result<Vec<u8>, BuildError> {
        let mut command = clean_cargo(&self.rust, &self.cross, None);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
            .current_dir(&self.sources.root)
            .arg("build")
            .args(cargo::program(flavour))
            .args(["--target", triple.name]);
        if let Some(jobs) = self.jobs {
            command.arg("-j").arg(jobs.to_string());
        }
        command
            .env("CROSS_CONTAINER_ENGINE", &self.engine)
            .env("CARGO_TARGET_DIR", &self.target_dir);
        command.env("RUSTFLAGS", triple.rustflags).env("RUSTC_BOOTSTRAP", "1");
        let path = cargo::run(
            &mut command,
            &format!("cross build for {}", triple.name),
            triple.name,
            steps,
        )?;
        // `cross` names the path as the container sees it.
        let path = if path.exists() {
            path
        } else {
            self.target_dir.join(triple.name).join("device/jos")
        };
        let bytes = std::fs::read(&path).map_err(|e| BuildError::io(&path, e))?;
        check(&path, &bytes, triple.name)?;
        Ok(bytes)
    }
}
