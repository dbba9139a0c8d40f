//! The programs of the building machine that images need, and how their failures are told.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::ImageError;

/// Program and the Debian package that brings it.
const TOOLS: [(&str, &str); 8] = [
    ("mmdebstrap", "mmdebstrap"),
    ("fakeroot", "fakeroot"),
    ("mke2fs", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
    ("mformat", "mtools"),
    ("mcopy", "mtools"),
    ("apt-get", "apt"),
];

/// Those that update bundles need besides.
const BUNDLES: [(&str, &str); 3] = [
    ("rauc", "rauc"),
    ("mksquashfs", "squashfs-tools"),
    ("openssl", "openssl"),
];

/// Folders looked into besides PATH: an ordinary user of Debian has no `sbin` there.
const SBIN: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Where this program is.
pub(super) fn on_path(program: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(SBIN.map(PathBuf::from));
    dirs.map(|dir| dir.join(program)).find(|p| p.is_file())
}

/// What is made besides images themselves.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// Bases of packages: not every one is brought.
    pub bases: bool,
    /// RAUC's bundles.
    pub bundles: bool,
}

/// Refuses where a tool is missing, before any work is done.
pub(super) fn need_all(needs: Needs) -> Result<(), ImageError> {
    let more = BUNDLES.iter().filter(|_| needs.bundles);
    let mut missing: Vec<&str> = TOOLS
        .iter()
        .filter(|(program, _)| needs.bases || *program != "mmdebstrap")
        .chain(more)
        .filter(|(program, _)| on_path(Path::new(program)).is_none())
        .map(|(_, package)| *package)
        .collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    Err(ImageError::missing(
        format!("images need {}, which is not installed here", missing.join(", ")),
        format!(
            "apt install {}   (or scripts/setup --for image in a checkout)",
            missing.join(" ")
        ),
    ))
}

/// A command with a clean environment: what a caller has set (locale, mtools settings) changes no bytes.
pub(crate) fn command(program: &str) -> Command {
    let found = on_path(Path::new(program)).unwrap_or_else(|| program.into());
    let mut command = Command::new(found);
    let inherited = std::env::var("PATH").unwrap_or_default();
    command.env_clear();
    for name in [
        "HOME",
        "TMPDIR",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "APT_CONFIG",
        "SSL_CERT_FILE",
    ] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .env("PATH", format!("{inherited}:{}", SBIN.join(":")))
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC0")
        .env("MTOOLS_SKIP_CHECK", "1")
        .env("MTOOLSRC", "/dev/null");
    command
}

/// Runs a command to its end and gives what it wrote to standard output.
pub(crate) fn run(command: &mut Command, input: Option<&[u8]>, help: &str) -> Result<Vec<u8>, ImageError> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let tool = tool.rsplit('/').next().unwrap_or(&tool).to_owned();
    let failed = |said: String| ImageError::Tool {
        tool: tool.clone(),
        said,
        help: help.to_owned(),
    };
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| failed(e.to_string()))?;
    let feed = child.stdin.take();
    let out = std::thread::scope(|scope| {
        scope.spawn(move || {
            // One that ends early is told by its exit code.
            if let (Some(mut pipe), Some(bytes)) = (feed, input) {
                drop(pipe.write_all(bytes));
            }
        });
        child.wait_with_output()
    })
    .map_err(|e| failed(e.to_string()))?;
    if out.status.success() {
        return Ok(out.stdout);
    }
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    let lines: Vec<&str> = text.lines().collect();
    Err(failed(lines[lines.len().saturating_sub(25)..].join("\n")))
}

/// Size and SHA-256 of a file.
pub(crate) fn size_and_sum(path: &Path) -> Result<(u64, String), ImageError> {
    let mut file = std::fs::File::open(path).map_err(ImageError::io(path))?;
    let mut hash = jos_trust::digest::Hasher::default();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let count = file.read(&mut buffer).map_err(ImageError::io(path))?;
        if count == 0 {
            return Ok((size, hash.finish().to_string()));
        }
        size += count as u64;
        hash.update(&buffer[..count]);
    }
}
