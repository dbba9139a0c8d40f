//! Which Rust compiles, and with what environment.
//!
//! Owns: the choice of toolchain, in the same order as `scripts/lib/toolchain.sh`, and the clean environment in which
//! cargo runs: nothing of a cargo or rustup that started us leaks into what is built.
//! Never: installs anything; what is missing is named with the command that brings it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::BuildError;

/// Lowest compiler that the sources need.
pub const MINIMUM: (u32, u32) = (1, 95);

/// A compiler with its cargo.
#[derive(Clone, Debug)]
pub struct Rust {
    /// The compiler.
    pub rustc: PathBuf,
    /// Its cargo.
    pub cargo: PathBuf,
    /// `rustc -vV`, which names the exact commit.
    pub version: String,
    /// `rustc --print sysroot`.
    pub sysroot: PathBuf,
    /// The triple of this machine.
    pub host: String,
}

impl Rust {
    /// Asks the compiler at `rustc`; `None` when it does not run or is too old.
    fn ask(rustc: &Path, cargo: &Path) -> Option<Self> {
        let output = |args: &[&str]| {
            let out = Command::new(rustc)
                .args(args)
                .output()
                .ok()
                .filter(|o| o.status.success())?;
            String::from_utf8(out.stdout).ok()
        };
        let version = output(&["-vV"])?;
        let field = |name: &str| {
            version
                .lines()
                .find_map(|l| l.strip_prefix(name))
                .map(|v| v.trim().to_owned())
        };
        let release = field("release:")?;
        let mut numbers = release.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
        let found = (numbers.next()?, numbers.next()?);
        let sysroot = PathBuf::from(output(&["--print", "sysroot"])?.trim());
        let host = field("host:")?;
        (found >= MINIMUM && cargo.is_file()).then(|| Self {
            rustc: rustc.to_owned(),
            cargo: cargo.to_owned(),
            version: version.trim().to_owned(),
            sysroot,
            host,
        })
    }

    /// Where the standard library's source lies, when it is there.
    #[must_use]
    pub fn library_source(&self) -> Option<PathBuf> {
        let library = self.sysroot.join("lib/rustlib/src/rust/library");
        library.join("std").is_dir().then_some(library)
    }

    /// What the library's source is, where it did not come with the compiler.
    #[must_use]
    pub fn library_package(&self) -> Option<String> {
        let name = std::fs::read_to_string(self.sysroot.join("lib/rustlib/src/rust/package")).ok()?;
        Some(format!("library: {}", name.trim()))
    }

    /// `1.95.0`.
    fn release(&self) -> Option<&str> {
        self.version.lines().find_map(|l| l.strip_prefix("release: "))
    }

    /// The one line of `rustc --version` that people know.
    #[must_use]
    pub fn short(&self) -> &str {
        self.version.lines().next().unwrap_or(&self.version)
    }
}

/// The compiler on PATH, then the distribution's.
fn candidates() -> [Option<(PathBuf, PathBuf)>; 2] {
    [
        on_path("rustc").zip(on_path("cargo")),
        Some(("/usr/bin/rustc".into(), "/usr/bin/cargo".into())),
    ]
}

/// A toolchain for this machine's own programs.
///
/// # Errors
/// [`BuildError::Missing`] naming what to install.
pub fn host() -> Result<Rust, BuildError> {
    let found = candidates()
        .into_iter()
        .flatten()
        .find_map(|(rustc, cargo)| Rust::ask(&rustc, &cargo));
    found.ok_or_else(|| BuildError::Missing {
        what: format!("a Rust toolchain of at least {}.{}", MINIMUM.0, MINIMUM.1),
        help: "run scripts/setup --for build, or bring programs that are built already: --builder prebuilt=DIR".into(),
    })
}

/// The compiler on PATH with the library's source beside it, as `scripts/setup` puts them together in the cache where
/// rustup has no source to give: a folder by the compiler's release, good only while it still is that very compiler.
fn joined(own: &Rust, cache: &Path) -> Option<Rust> {
    let bin = cache.join("rust").join(own.release()?).join("bin");
    Rust::ask(&bin.join("rustc"), &bin.join("cargo")).filter(|rust| rust.version == own.version)
}

/// A toolchain that has the standard library's source, which `-Zbuild-std` compiles for any target.
///
/// # Errors
/// [`BuildError::Missing`] naming what to install.
pub fn cross(cache: &Path) -> Result<Rust, BuildError> {
    let with_source = |rust: &Rust| rust.library_source().is_some();
    let [own, distribution] = candidates();
    let ask = |(rustc, cargo): (PathBuf, PathBuf)| Rust::ask(&rustc, &cargo);
    let own = own.and_then(ask);
    let beside = own.as_ref().and_then(|own| joined(own, cache));
    let mut all = [own, beside, distribution.and_then(ask)].into_iter().flatten();
    all.find(with_source).ok_or_else(|| BuildError::Missing {
        what: format!(
            "a Rust toolchain of at least {}.{} with the standard library's source",
            MINIMUM.0, MINIMUM.1
        ),
        help: WITH_SOURCE.into(),
    })
}

/// The ways to such a toolchain, as `scripts/setup` knows them, and the one that needs none.
const WITH_SOURCE: &str = "\
with rustup: rustup component add rust-src; where that is not to be had: scripts/setup --for cross, which puts Debian's \
rust-src of the very release beside the compiler; without rustup: apt install rustc-web cargo-web rust-web-src (Debian 12); or \
bring programs that are built already: --builder prebuilt=DIR";

/// jemalloc, where this machine has it. rustup's compiler carries it within, a distribution's allocates by the C library,
/// and takes an eighth more CPU time for it. What is compiled is the same.
pub(super) fn allocator() -> Option<PathBuf> {
    let library = format!("/usr/lib/{}-linux-gnu/libjemalloc.so.2", std::env::consts::ARCH);
    Some(PathBuf::from(library)).filter(|path| path.is_file())
}

/// The first program of this name on PATH.
#[must_use]
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|p| p.is_file())
}

/// The folder that holds what is expensive to make again: `$JOS_CACHE`, else `jos` in the user's cache folder.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the last resort where there is no home; nothing secret lies there"
)]
pub fn cache_dir() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("JOS_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|c| c.join("jos")))
        .or_else(|| set("HOME").map(|h| h.join(".cache/jos")))
        .unwrap_or_else(|| std::env::temp_dir().join("jos-cache"))
}

/// cargo with a clean environment: only what a build needs, so that the same sources give the same program whoever
/// calls.
#[must_use]
pub fn clean_cargo(rust: &Rust, cargo: &Path, ahead: Option<&Path>) -> Command {
    let mut command = Command::new(cargo);
    command.env_clear();
    let mut path = OsString::new();
    let own = rust.rustc.parent().map(Path::to_owned);
    for dir in ahead
        .map(Path::to_owned)
        .into_iter()
        .chain(own)
        .chain(["/usr/bin".into(), "/bin".into()])
    {
        if !path.is_empty() {
            path.push(":");
        }
        path.push(dir);
    }
    command
        .env("PATH", path)
        .env("RUSTC", &rust.rustc)
        .env("CARGO", &rust.cargo)
        .env("CARGO_INCREMENTAL", "0");
    // Proxies, certificates and registries are this machine's way to its dependencies; Cargo.lock pins their content.
    for (name, value) in std::env::vars_os() {
        let keep = name.to_str().is_some_and(|n| {
            let lower = n.to_ascii_lowercase();
            matches!(
                n,
                "HOME" | "CARGO_HOME" | "RUSTUP_HOME" | "TMPDIR" | "LANG" | "SSL_CERT_FILE" | "SSL_CERT_DIR"
            ) || matches!(lower.as_str(), "http_proxy" | "https_proxy" | "all_proxy" | "no_proxy")
                || n.starts_with("CARGO_HTTP_")
                || n.starts_with("CARGO_NET_")
                || n.starts_with("CARGO_REGISTR")
                || n.starts_with("CARGO_SOURCE_")
        });
        if keep {
            command.env(name, value);
        }
    }
    command
}

/// Where cargo keeps the sources of dependencies: the path prefix that must not reach a program.
#[must_use]
pub fn cargo_home() -> Option<PathBuf> {
    let set = std::env::var_os("CARGO_HOME")
        .filter(|v| !v.is_empty())
        .map(PathBuf::from);
    set.or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".cargo")))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A compiler of `release` in `dir`, which says that `dir` is its sysroot.
    fn compiler(dir: &Path, release: &str, commit: &str) -> Rust {
        let bin = dir.join("bin");
        fs::create_dir_all(&bin).expect("a folder");
        let words = format!(
            "#!/bin/sh\ncase $1 in\n-vV) printf 'rustc {release}\\ncommit-hash: {commit}\\nhost: x\\nrelease: {release}\\n' ;;\n*) echo {} ;;\nesac\n",
            dir.display()
        );
        for name in ["rustc", "cargo"] {
            fs::write(bin.join(name), &words).expect("written");
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("a program");
        }
        Rust::ask(&bin.join("rustc"), &bin.join("cargo")).expect("it answers")
    }

    #[test]
    fn the_librarys_source_in_the_cache_serves_only_the_very_compiler_that_it_was_put_beside() {
        let dir = tempfile::tempdir().expect("a folder");
        let own = compiler(&dir.path().join("own"), "1.99.0", "abc");
        let cache = dir.path().join("cache");
        assert!(joined(&own, &cache).is_none(), "there is none yet");
        let beside = cache.join("rust/1.99.0");
        compiler(&beside, "1.99.0", "abc");
        let source = beside.join("lib/rustlib/src/rust");
        fs::create_dir_all(source.join("library/std")).expect("a folder");
        fs::write(source.join("package"), "rust-src_1.99.0+dfsg1-1_all\n").expect("written");
        let found = joined(&own, &cache).expect("it is that compiler");
        assert_eq!(found.library_source(), Some(source.join("library")));
        assert_eq!(
            found.library_package().as_deref(),
            Some("library: rust-src_1.99.0+dfsg1-1_all")
        );
        assert_eq!(own.library_package(), None);
        // A nightly of the same number is another compiler.
        compiler(&beside, "1.99.0", "def");
        assert!(joined(&own, &cache).is_none());
        // An update leaves the old one behind.
        let newer = compiler(&dir.path().join("own"), "1.100.0", "ghi");
        assert!(joined(&newer, &cache).is_none());
    }
}
