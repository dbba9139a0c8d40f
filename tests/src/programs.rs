//! Where the programs under test are. They are run as files, as a person runs them; cargo does not build them for us.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The checkout.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate lies one below the workspace")
}

/// `jos`, the workstation's build: `$JOS_BIN`, or the newest one built.
pub fn jos_path() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| find("JOS_BIN", "jos"))
}

/// `jos-image`: `$JOS_IMAGE_BIN`, or the newest one built.
pub fn jos_image_path() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| find("JOS_IMAGE_BIN", "jos-image"))
}

/// `jos-hub`: `$JOS_HUB_BIN`, or the newest one built.
pub fn jos_hub_path() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| find("JOS_HUB_BIN", "jos-hub"))
}

/// A command that runs `jos-hub`, likewise.
pub fn jos_hub() -> Command {
    clean(jos_hub_path())
}

/// A command that runs `jos`, with nothing of the caller's environment but what a program needs to run at all.
pub fn jos() -> Command {
    clean(jos_path())
}

/// A command that runs `jos-image`. It compiles, so it keeps what cargo needs of the environment.
pub fn jos_image() -> Command {
    let mut command = clean(jos_image_path());
    for name in [
        "CARGO_HOME",
        "RUSTUP_HOME",
        "RUSTUP_TOOLCHAIN",
        "RUSTUP_AUTO_INSTALL",
        "JOS_CACHE",
    ] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C.UTF-8");
    for name in ["PATH", "HOME", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

fn find(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable).map(PathBuf::from) {
        assert!(
            path.is_file(),
            "{variable} names {}, which is not a file",
            path.display()
        );
        return path;
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    let built = ["release", "debug"].map(|profile| target.join(profile).join(name));
    let newest = built
        .iter()
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
        .max();
    match newest {
        Some((_, path)) => path.clone(),
        None => panic!(
            "{name} is not built: run scripts/build, or set {variable}; looked for {}",
            built.map(|p| p.display().to_string()).join(" and ")
        ),
    }
}
