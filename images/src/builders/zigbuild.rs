//! The zigbuild builder: cargo-zigbuild links for every target with one linker, zig; std comes from its source.
//!
//! Owns: the recipe. No container, no privileges, no cross gcc; one machine makes all programs.
//! Reproducible: paths of this machine are remapped, nothing is incremental, no build id, no time.

use std::path::{Path, PathBuf};

use super::lent::Lent;
use super::toolchain::{Rust, allocator, cargo_home, clean_cargo, cross};
use super::{BuildError, Builder, Crate, Flavour, Provenance, Sources, Steps, cargo, check, crates, elf};
use crate::targets::Triple;

/// See the module.
pub struct Zigbuild {
    rust: Rust,
    library: PathBuf,
    zig: PathBuf,
    versions: Vec<String>,
    sources: Sources,
    /// A folder for each triple: cargo locks what it builds in, and several triples are compiled at once.
    target_dirs: PathBuf,
    lent: Lent,
    jobs: Option<usize>,
}

impl Zigbuild {
    /// Finds compiler, library source and linker.
    ///
    /// # Errors
    /// [`BuildError::Missing`] naming what to install.
    pub fn new(sources: Sources, cache: &Path, jobs: Option<usize>) -> Result<Self, BuildError> {
        let rust = cross(cache)?;
        let library = rust.library_source().unwrap_or_default();
        let venv = match std::env::var_os("JOS_ZIG_VENV").filter(|v| !v.is_empty()) {
            Some(set) => PathBuf::from(set),
            None => cache.join("zig"),
        };
        let zig = venv.join("bin");
        if !zig.join("cargo-zigbuild").is_file() {
            return Err(BuildError::Missing {
                what: format!("cargo-zigbuild in {}", zig.display()),
                help: "run scripts/setup --for cross, name a venv with JOS_ZIG_VENV, or bring programs that are built \
                       already: --builder prebuilt=DIR"
                    .into(),
            });
        }
        let versions = pinned_versions(&venv);
        Ok(Self {
            rust,
            library,
            zig,
            versions,
            sources,
            target_dirs: cache.join("cross"),
            lent: Lent::default(),
            jobs,
        })
    }

    fn flags(&self, triple: &Triple, shown: bool) -> Vec<String> {
        let mut flags: Vec<String> = triple.rustflags.split(' ').map(str::to_owned).collect();
        let mut remap = |path: &Path, to: &str| {
            let from = if shown {
                "…".into()
            } else {
                path.display().to_string()
            };
            flags.push(format!("--remap-path-prefix={from}={to}"));
        };
        remap(&self.sources.root, "/jos");
        remap(&self.target_dirs.join(triple.name), "/target");
        remap(&self.library, "/rust/library");
        if let Some(home) = cargo_home() {
            remap(&home, "/cargo");
        }
        flags
    }
}

/// How the standard library is built: without unwinding, since a panic ends the program; without the symbolizer of
/// backtraces, which finds nothing in a stripped program, and with the smaller of its algorithms.
const STD: [&str; 2] = ["-Zbuild-std=std,panic_abort", "-Zbuild-std-features=optimize_for_size"];

impl Builder for Zigbuild {
    fn name(&self) -> &'static str {
        "zigbuild"
    }

    fn provenance(&self, triple: &Triple, flavour: Flavour) -> Result<Option<Provenance>, BuildError> {
        let mut toolchain = vec![self.rust.version.replace('\n', "; ")];
        toolchain.extend(self.rust.library_package());
        toolchain.extend(self.versions.iter().cloned());
        let mut flags = self.flags(triple, true);
        flags.extend(triple.environment.iter().map(|(name, value)| format!("{name}={value}")));
        flags.extend(cargo::program(flavour).map(str::to_owned));
        flags.extend(STD.map(str::to_owned));
        let sources = self.sources.sha256(flavour).to_owned();
        Ok(Some(Provenance {
            builder: self.name().into(),
            toolchain,
            flags,
            sources,
        }))
    }

    fn crates(&self, triple: &Triple, flavour: Flavour) -> Result<Vec<Crate>, BuildError> {
        let mut cargo = clean_cargo(&self.rust, &self.rust.cargo, None);
        cargo.env("RUSTC_BOOTSTRAP", "1");
        crates::of(cargo, &self.sources.root, triple.name, flavour)
    }

    fn build(&self, triple: &Triple, flavour: Flavour, steps: &dyn Steps) -> Result<Vec<u8>, BuildError> {
        let target = self.target_dirs.join(triple.name);
        self.lent.take(triple.environment, &target);
        let mut command = clean_cargo(&self.rust, &self.rust.cargo, Some(&self.zig));
        command
            .current_dir(&self.sources.root)
            .arg("zigbuild")
            .args(cargo::program(flavour));
        command.args(STD).args(["--target", triple.name]);
        if let Some(jobs) = self.jobs {
            command.arg("-j").arg(jobs.to_string());
        }
        // Separated by 0x1f, so that a folder with a blank in its name stays one flag.
        command.env("CARGO_ENCODED_RUSTFLAGS", self.flags(triple, false).join("\x1f"));
        command.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", &target);
        if let Some(allocator) = allocator() {
            command.env("LD_PRELOAD", allocator);
        }
        // zig's own cache of start files and headers, beside ours rather than in the home folder.
        command.env("ZIG_GLOBAL_CACHE_DIR", self.target_dirs.join("zig"));
        command.env("CARGO_ZIGBUILD_CACHE_DIR", self.target_dirs.join("zigbuild"));
        command.envs(triple.environment.iter().copied());
        let what = format!("cargo zigbuild for {}", triple.name);
        let path = cargo::run(&mut command, &what, triple.name, steps)?;
        self.lent.offer(triple.environment, &target);
        let bytes = std::fs::read(&path).map_err(|e| BuildError::io(&path, e))?;
        check(&path, &bytes, triple.name)?;
        Ok(if triple.name.starts_with("mips") {
            elf::without_sections(bytes)
        } else {
            bytes
        })
    }
}

/// `ziglang 0.17.1`, `cargo_zigbuild 0.24.0`: what pip wrote down in the venv.
fn pinned_versions(venv: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let read = |dir: PathBuf| std::fs::read_dir(dir).into_iter().flatten().flatten();
    for python in read(venv.join("lib")) {
        for package in read(python.path().join("site-packages")) {
            let name = package.file_name().to_string_lossy().into_owned();
            let tool = name.strip_suffix(".dist-info").and_then(|n| n.split_once('-'));
            if let Some((tool @ ("ziglang" | "cargo_zigbuild"), version)) = tool {
                found.push(format!("{tool} {version}"));
            }
        }
    }
    found.sort();
    found
}
