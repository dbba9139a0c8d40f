//! A scratch folder with a profile, programs that look like programs, and the built `jos-image`.
#![allow(dead_code, unreachable_pub)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use jos_images::targets::TRIPLES;

/// A profile that builds; tests break it one line at a time.
pub const PROFILE: &str = r#"extends = "base/debian"

[brand]
vendor = "Acme Tools"
product = "Lobby Printer"
support_url = "https://acme.example/support"

[package]
name = "lobby-printer"
service = "acme-lobby"
version = "1.4.2"
maintainer = "Acme Tools <support@acme.example>"
depends = ["cups"]

[target]
targets = ["debian/arm64", "openwrt/mipsel_24kc"]

[state]
baseline = "lobby/baseline.toml"

[policy.grants.baseline]
files = ["/etc/lobby", "/etc/lobby/**"]
"#;

/// Its baseline.
pub const BASELINE: &str = r#"kind = "jos.agent.desired_state"

[meta]
name = "lobby-printer"
version = 3

[[spec.apply]]
type = "file"
path = "/etc/lobby/greeting"
content = "hello\n"
"#;

/// A scratch folder.
pub struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    /// With profile, baseline and programs.
    pub fn new() -> Self {
        let bench = Self {
            dir: tempfile::tempdir().expect("folder"),
        };
        bench.write("lobby.toml", PROFILE);
        bench.write("lobby/baseline.toml", BASELINE);
        for triple in TRIPLES {
            for name in ["jos", "jos-runtime"] {
                bench.write(&format!("programs/{}/{name}", triple.name), program(triple.name));
            }
        }
        bench
    }

    /// A path below it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("folders");
        fs::write(&path, bytes).expect("file");
        path
    }

    /// The profile with `from` replaced by `to`.
    pub fn edit(&self, from: &str, to: &str) -> &Self {
        let text = fs::read_to_string(self.path("lobby.toml")).expect("profile");
        assert!(text.contains(from), "the profile has no {from:?}");
        self.write("lobby.toml", text.replacen(from, to, 1));
        self
    }

    /// Runs `jos-image` here with a cache of its own.
    pub fn run(&self, args: &[&str]) -> Run {
        self.run_with(args, &[])
    }

    /// The same with further environment.
    pub fn run_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Run {
        let out = Command::new(env!("CARGO_BIN_EXE_jos-image"))
            .args(args)
            .current_dir(self.dir.path())
            .env("JOS_CACHE", self.path("cache"))
            .env_remove("SOURCE_DATE_EPOCH")
            .envs(environment.iter().copied())
            .output()
            .expect("jos-image runs");
        Run(out)
    }

    /// Builds with the throwaway key and the programs here.
    pub fn build(&self, more: &[&str]) -> Run {
        let mut args = vec!["build", "lobby.toml", "--builder", "prebuilt=programs"];
        if !more.iter().any(|a| ["--key", "--no-key"].contains(a)) {
            args.push("--dev-key");
        }
        args.extend(more.iter().filter(|a| **a != "--no-key"));
        self.run(&args)
    }

    /// Names in a folder, sorted.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten();
        let mut names: Vec<_> = entries
            .map(|e| e.expect("entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// A file's bytes.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Runs another program here; its standard output.
    pub fn tool(&self, program: &str, args: &[&str]) -> String {
        let out = Command::new(program).args(args).current_dir(self.dir.path()).output();
        let out = out.unwrap_or_else(|e| panic!("{program} (scripts/setup --for test installs it): {e}"));
        assert!(
            out.status.success(),
            "{program} {args:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8_lossy(&out.stdout).into_owned()
    }
}

/// What a run gave.
pub struct Run(Output);

impl Run {
    /// Standard output of a run that must have succeeded.
    pub fn ok(&self) -> String {
        assert_eq!(self.code(), 0, "{}{}", self.stdout(), self.stderr());
        self.stdout()
    }

    /// Standard error of a run that must have been refused as invalid.
    pub fn invalid(&self) -> String {
        assert_eq!(self.code(), 2, "{}{}", self.stdout(), self.stderr());
        self.stderr()
    }

    /// The exit code.
    pub fn code(&self) -> i32 {
        self.0.status.code().expect("no signal")
    }

    /// Standard output.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    /// Standard error.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }
}

/// The smallest file that is a static program for this triple, as far as headers say.
pub fn program(triple: &str) -> Vec<u8> {
    let cpu = triple.split('-').next().expect("a CPU");
    if triple.contains("apple") {
        return mach_o(cpu);
    }
    if triple.contains("windows") {
        return portable_executable();
    }
    let (machine, bits, little): (u16, u8, bool) = match cpu {
        "x86_64" => (62, 64, true),
        "aarch64" => (183, 64, true),
        "arm" => (40, 32, true),
        "mipsel" => (8, 32, true),
        "mips" => (8, 32, false),
        other => panic!("no program for {other}"),
    };
    let mut bytes = vec![0x7f, b'E', b'L', b'F', bits / 32, if little { 1 } else { 2 }, 1];
    bytes.resize(if bits == 64 { 64 } else { 52 }, 0);
    let half = |n: u16| if little { n.to_le_bytes() } else { n.to_be_bytes() };
    bytes[16..18].copy_from_slice(&half(2));
    bytes[18..20].copy_from_slice(&half(machine));
    bytes.extend_from_slice(triple.as_bytes());
    bytes
}

/// A DOS header that leads to a COFF one, for AMD64.
fn portable_executable() -> Vec<u8> {
    let mut bytes = b"MZ\x90\0".to_vec();
    bytes.resize(0x3c, 0);
    bytes.extend_from_slice(&0x40_u32.to_le_bytes());
    bytes.extend_from_slice(b"PE\0\0\x64\x86");
    bytes.resize(0x200, 0);
    bytes
}

/// A Mach-O header with an (empty) code signature, which arm64 must have.
fn mach_o(cpu: &str) -> Vec<u8> {
    let cpu_type: u32 = if cpu == "aarch64" { 0x0100_000c } else { 0x0100_0007 };
    let cpu_subtype: u32 = if cpu == "aarch64" { 0 } else { 3 };
    let (commands, size) = (2u32, 24 + 16);
    let mut bytes = Vec::new();
    for word in [0xfeed_facf_u32, cpu_type, cpu_subtype, 2, commands, size, 0, 0] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    // LC_BUILD_VERSION: macOS 11.0.
    for word in [0x32_u32, 24, 1, 0x000b_0000, 0x000b_0000, 0] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    // LC_CODE_SIGNATURE at the end of the file.
    let end = 32 + size;
    for word in [0x1d_u32, 16, end, 16] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(&[0xfa, 0xde, 0x0c, 0xc0, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

/// Every file below a folder with its bytes, paths relative to it.
pub fn tree(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten() {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                todo.push(path);
            } else {
                let name = path.strip_prefix(root).expect("below").display().to_string();
                all.push((name, fs::read(&path).expect("file")));
            }
        }
    }
    all.sort();
    all
}

/// A time for repositories.
pub const TIME: &[(&str, &str)] = &[("SOURCE_DATE_EPOCH", "1795219200")];

/// A bench with packages in `dist` and a repository of them in `site`.
pub fn published() -> Bench {
    let bench = Bench::new();
    bench.build(&[]).ok();
    bench.run(&["repo", "key", "new", "--out", "keys"]).ok();
    build(&bench, "site", "dist").ok();
    bench
}

/// Builds the repository `site` of `packages`.
pub fn build(bench: &Bench, site: &str, packages: &str) -> Run {
    let args = [
        "repo",
        "build",
        site,
        "--keys",
        "keys",
        "--name",
        "acme",
        "--title",
        "Acme Tools",
        "--maintainer",
        "Acme Tools <packages@acme.example>",
        "--url",
        "https://packages.acme.example/",
        "--allow-dev",
        packages,
    ];
    bench.run_with(&args, TIME)
}
