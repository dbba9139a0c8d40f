//! From a package of OpenWrt to what a router is flashed with: a root file system overlay, or an image by a vendor's ImageBuilder.
//!
//! The overlay is the package's files with their services enabled, as `FILES=` of the ImageBuilder takes them; opkg does not know of
//! them. The ImageBuilder gets the package itself, so that opkg or apk on the router upgrades it.
//! Never: has a script of a package run here. What its postinst does, a router's first boot does by `uci-defaults`.

use std::path::{Path, PathBuf};

use crate::formats::hash::sha256;
use crate::formats::inspect::{control_text, untar};
use crate::formats::tar::{self, Owners};
use crate::formats::{EntryKind, FormatError, Tree, UNPACKED_LIMIT, gzip};

/// Why it could not be made.
#[derive(Debug, thiserror::Error)]
pub enum OpenwrtError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no package.
    #[error("{}: {why}", path.display())]
    NoPackage {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It is no ImageBuilder.
    #[error("{}: no ImageBuilder: {what} is not there", path.display())]
    NoBuilder {
        /// Which folder.
        path: PathBuf,
        /// What it lacks.
        what: &'static str,
    },
    /// Another package lies where this one is to be lent.
    #[error("{}: there already, with other bytes than {}", there.display(), package.display())]
    Occupied {
        /// What is there.
        there: PathBuf,
        /// What was to be there.
        package: PathBuf,
    },
    /// make(1) would take it for something else.
    #[error(
        "found {found:?} as {what}, which make(1) cannot take: expected none of white space, $, # and quotes in it"
    )]
    Word {
        /// What it is.
        what: &'static str,
        /// What it says.
        found: String,
    },
    /// make(1) failed.
    #[error("the ImageBuilder's `make image` failed:\n{said}")]
    Make {
        /// The end of what it said.
        said: String,
    },
    /// It wrote no image.
    #[error("the ImageBuilder's `make image` ended well and left no file in {}", .0.display())]
    Nothing(PathBuf),
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> OpenwrtError {
    let path = path.to_owned();
    move |source| OpenwrtError::Io { path, source }
}

/// A package as a router gets it.
#[derive(Debug)]
pub struct Package {
    path: PathBuf,
    /// Its name.
    pub name: String,
    tree: Tree,
}

impl Package {
    /// Reads an `.ipk`.
    ///
    /// # Errors
    /// [`OpenwrtError`].
    pub fn open(path: &Path) -> Result<Self, OpenwrtError> {
        let bytes = std::fs::read(path).map_err(io(path))?;
        let refuse = |why: String| OpenwrtError::NoPackage {
            path: path.to_owned(),
            why,
        };
        let odd = |e: FormatError| refuse(e.to_string());
        let unpack = |part: &str, bytes: &[u8]| untar(part, &gzip::decompress(part, bytes, UNPACKED_LIMIT)?);
        let outer = unpack("the package", &bytes).map_err(odd)?;
        let member = |name: &str| match outer.get(name).map(|entry| &entry.kind) {
            Some(EntryKind::File(bytes)) => unpack(name, bytes).map_err(odd),
            _ => Err(refuse(format!("found no {name} in it, expected an .ipk"))),
        };
        let control = member("control.tar.gz")?;
        let text = control_text(&control, "control").map_err(odd)?.unwrap_or_default();
        let name = text.lines().find_map(|line| line.strip_prefix("Package: "));
        let name = name
            .ok_or_else(|| refuse("its control names no package".into()))?
            .trim()
            .to_owned();
        let tree = member("data.tar.gz")?;
        Ok(Self {
            path: path.to_owned(),
            name,
            tree,
        })
    }

    /// The overlay, as a compressed archive: equal packages give equal bytes.
    ///
    /// # Errors
    /// [`OpenwrtError`].
    pub fn overlay(&self, epoch: u32) -> Result<Vec<u8>, OpenwrtError> {
        let odd = |e: FormatError| OpenwrtError::NoPackage {
            path: self.path.clone(),
            why: e.to_string(),
        };
        let mut tree = self.tree.clone();
        for entry in self.tree.entries() {
            if let (Some(service), EntryKind::File(text)) = (entry.path.strip_prefix("etc/init.d/"), &entry.kind) {
                for (path, target) in enabled(service, &String::from_utf8_lossy(text)) {
                    tree.symlink(path, target).map_err(odd)?;
                }
            }
        }
        let archive = tar::write(&tree, epoch, Owners::Numeric).map_err(odd)?;
        gzip::compress("the overlay", &archive).map_err(odd)
    }
}

/// What `/etc/init.d/SERVICE enable` makes.
fn enabled(service: &str, script: &str) -> Vec<(String, String)> {
    let number = |key: &str| {
        script
            .lines()
            .find_map(|line| line.strip_prefix(key)?.trim().parse::<u8>().ok())
    };
    [("START=", 'S'), ("STOP=", 'K')]
        .into_iter()
        .filter_map(|(key, letter)| {
            let link = format!("etc/rc.d/{letter}{:02}{service}", number(key)?);
            Some((link, format!("../init.d/{service}")))
        })
        .collect()
}

/// What an image is made of, as its `make image` takes it.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// `PROFILE`: the device; the ImageBuilder's first when absent.
    pub profile: Option<String>,
    /// Further packages; `-NAME` leaves one out.
    pub packages: Vec<String>,
    /// Further files, laid over all.
    pub files: Option<PathBuf>,
}

/// A file that the ImageBuilder wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Where it is.
    pub path: PathBuf,
    /// SHA-256.
    pub sha256: String,
}

/// Has a vendor's ImageBuilder make its images with this package, into the folder `out`.
///
/// # Errors
/// [`OpenwrtError`].
pub fn image(
    package: &Path,
    name: &str,
    builder: &Path,
    wanted: &Wanted,
    out: &Path,
    epoch: u32,
) -> Result<Vec<Image>, OpenwrtError> {
    for what in ["Makefile", "packages"] {
        if !builder.join(what).exists() {
            let path = builder.to_owned();
            return Err(OpenwrtError::NoBuilder { path, what });
        }
    }
    let mut words = vec!["image".to_owned()];
    let mut packages = word("a package's name", name)?.to_owned();
    for more in &wanted.packages {
        packages = format!("{packages} {}", word("a package's name", more)?);
    }
    words.push(format!("PACKAGES={packages}"));
    if let Some(profile) = &wanted.profile {
        words.push(format!("PROFILE={}", word("a profile", profile)?));
    }
    if let Some(files) = &wanted.files {
        let files = files.canonicalize().map_err(io(files))?;
        words.push(format!("FILES={}", word("a folder", &files.to_string_lossy())?));
    }
    std::fs::create_dir_all(out).map_err(io(out))?;
    // Of a build that breaks off nothing is taken for an image.
    let fresh = out.canonicalize().map_err(io(out))?.join(".new");
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh).map_err(io(&fresh))?;
    }
    std::fs::create_dir(&fresh).map_err(io(&fresh))?;
    words.push(format!("BIN_DIR={}", word("a folder", &fresh.to_string_lossy())?));

    let there = builder.join("packages").join(package.file_name().unwrap_or_default());
    let lent = lend(package, &there)?;
    let ran = std::process::Command::new("make")
        .arg("-C")
        .arg(builder)
        .args(&words)
        .env("SOURCE_DATE_EPOCH", epoch.to_string())
        .stdin(std::process::Stdio::null())
        .output();
    // What was lent is taken back, whatever came of it.
    if lent {
        std::fs::remove_file(&there).map_err(io(&there))?;
    }
    let ran = ran.map_err(io(Path::new("make")))?;
    if !ran.status.success() {
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr)
        );
        let lines: Vec<&str> = text.lines().collect();
        let said = lines[lines.len().saturating_sub(25)..].join("\n");
        return Err(OpenwrtError::Make { said });
    }
    take(&fresh, out)
}

/// A word that make(1) and the ImageBuilder's shell take as it is.
fn word<'a>(what: &'static str, text: &'a str) -> Result<&'a str, OpenwrtError> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "$#\"'`\\;&|<>()*?".contains(c);
    if text.is_empty() || text.contains(odd) {
        let found = text.to_owned();
        return Err(OpenwrtError::Word { what, found });
    }
    Ok(text)
}

/// Lends a package to the ImageBuilder; whether it has to be taken back.
fn lend(package: &Path, there: &Path) -> Result<bool, OpenwrtError> {
    let bytes = std::fs::read(package).map_err(io(package))?;
    match std::fs::read(there) {
        Ok(found) if found == bytes => Ok(false),
        Ok(_) => Err(OpenwrtError::Occupied {
            there: there.to_owned(),
            package: package.to_owned(),
        }),
        Err(_) => {
            std::fs::write(there, bytes).map_err(io(there))?;
            Ok(true)
        }
    }
}

/// What was written, moved to where it is wanted.
fn take(fresh: &Path, out: &Path) -> Result<Vec<Image>, OpenwrtError> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(fresh).map_err(io(fresh))?.flatten() {
        let (from, path) = (entry.path(), out.join(entry.file_name()));
        if from.is_file() {
            let sha256 = sha256(&std::fs::read(&from).map_err(io(&from))?);
            std::fs::rename(&from, &path).map_err(io(&path))?;
            all.push(Image { path, sha256 });
        }
    }
    std::fs::remove_dir_all(fresh).map_err(io(fresh))?;
    all.sort_by(|a, b| a.path.cmp(&b.path));
    if all.is_empty() {
        Err(OpenwrtError::Nothing(out.to_owned()))
    } else {
        Ok(all)
    }
}
