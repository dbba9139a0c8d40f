//! A repository of packages: one folder that any web server serves.
//!
//! Owns: where everything lies in it, its settings (`repo.json`), taking packages in, and writing all indexes anew from what
//! lies there. Packages are written before the indexes that name them, and signatures last.
//! Never: holds a secret key; takes in a package that carries a secret or whose parts do not agree.
//!
//! ```text
//! repo.json                       settings and public keys
//! index.html                      what to type on a device
//! keys/NAME-opkg.pub              for /etc/opkg/keys/NUMBER
//! keys/NAME-apk.pem               for /etc/apk/keys
//! keys/NAME-archive-keyring.gpg   for /usr/share/keyrings
//! opkg/ARCH/                      *.ipk, Packages, Packages.gz, Packages.sig
//! apk/ARCH/                       *.apk, packages.adb
//! apt/pool/, apt/dists/SUITE/     *.deb, and what apt asks for; NAME.sources
//! macos/                          *.pkg, SHA256SUMS
//! windows/                        *.msi, SHA256SUMS
//! ```

mod apk;
mod apt;
mod keyring;
pub mod keys;
pub mod openpgp;
mod opkg;
mod page;
mod settings;
mod verify;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::bake::secrets;
use crate::formats::inspect::PackageKind;
use crate::formats::{EntryKind, FormatError, Report, inspect};

pub use keys::Keys;
pub use settings::{BadSetting, Settings};
pub use verify::{Finding, verify};

/// Why a repository was not written.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A package that cannot be taken in.
    #[error("{}: {why}", path.display())]
    Package {
        /// Which.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// A folder that is no repository, or holds something else.
    #[error("{}: {why}", dir.display())]
    Folder {
        /// Which.
        dir: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// A package format refused.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A key could not sign.
    #[error("signing: {0}")]
    Sign(String),
}

impl RepoError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    fn folder(dir: &Path, why: impl Into<String>) -> Self {
        Self::Folder {
            dir: dir.to_owned(),
            why: why.into(),
        }
    }
}

impl From<openpgp::Refused> for RepoError {
    fn from(error: openpgp::Refused) -> Self {
        Self::Sign(error.to_string())
    }
}

impl From<jos_apk::ApkError> for RepoError {
    fn from(error: jos_apk::ApkError) -> Self {
        Self::Format(error.into())
    }
}

/// What is to be taken in.
#[derive(Debug, Clone, Copy)]
pub struct Packages<'a> {
    /// The files.
    pub files: &'a [PathBuf],
    /// Whether packages whose devices trust a throwaway key are taken as well.
    pub dev: bool,
}

/// A repository on disk.
#[derive(Debug, Clone)]
pub struct Repository {
    /// Its folder.
    pub dir: PathBuf,
    /// Its settings.
    pub settings: Settings,
}

/// What one kind of package manager finds: how many packages for which architectures.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Offer {
    /// Architectures, sorted.
    pub architectures: Vec<String>,
    /// Names of the packages, sorted, each once.
    pub names: Vec<String>,
}

/// What a repository offers.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Offers {
    /// To opkg.
    pub opkg: Offer,
    /// To apk.
    pub apk: Offer,
    /// To apt.
    pub apt: Offer,
    /// To the macOS installer.
    pub macos: Offer,
    /// To Windows Installer.
    pub windows: Offer,
}

impl Offer {
    fn note(&mut self, architecture: &str, name: &str) {
        for (all, one) in [(&mut self.architectures, architecture), (&mut self.names, name)] {
            if let Err(at) = all.binary_search_by(|known| known.as_str().cmp(one)) {
                all.insert(at, one.to_owned());
            }
        }
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

impl Repository {
    /// A new one in `dir`, which must be empty or not there.
    ///
    /// # Errors
    /// [`RepoError::Folder`], [`RepoError::Io`].
    pub fn create(dir: &Path, settings: Settings) -> Result<Self, RepoError> {
        if !entries(dir)?.is_empty() {
            let why = "is not empty; add to a repository that is there with `jos-image repo add`";
            return Err(RepoError::folder(dir, why));
        }
        Ok(Self {
            dir: dir.to_owned(),
            settings,
        })
    }

    /// The one in `dir`.
    ///
    /// # Errors
    /// [`RepoError::Folder`] when there is none.
    pub fn open(dir: &Path) -> Result<Self, RepoError> {
        let path = dir.join(settings::FILE);
        let text = fs::read(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => RepoError::folder(
                dir,
                "is no repository: it has no repo.json; `jos-image repo build` makes one",
            ),
            _ => RepoError::io(&path)(e),
        })?;
        let settings = Settings::from_json(&text).map_err(|e| RepoError::folder(dir, format!("repo.json: {e}")))?;
        Ok(Self {
            dir: dir.to_owned(),
            settings,
        })
    }

    /// Takes packages in and writes every index anew, signed, as of `now` (seconds since 1970).
    ///
    /// # Errors
    /// [`RepoError`]; every package is looked at before anything is written.
    pub fn publish(&mut self, packages: &Packages<'_>, keys: &Keys, now: u32) -> Result<Offers, RepoError> {
        let mut taken = Vec::new();
        for path in packages.files {
            let (place, bytes) = self.place(path, packages.dev, keys)?;
            if taken
                .iter()
                .any(|(other, content)| *other == place && *content != bytes)
            {
                return Err(RepoError::Package {
                    path: path.clone(),
                    why: format!(
                        "another package given here is {}, too, with another content",
                        place.display()
                    ),
                });
            }
            taken.push((place, bytes));
        }
        for (path, bytes) in &taken {
            put(&self.dir.join(path), bytes)?;
        }
        self.settings.take_keys(keys);
        let offers = Offers {
            opkg: opkg::write(&self.dir.join("opkg"), keys)?,
            apk: apk::write(&self.dir.join("apk"), keys, &self.settings)?,
            apt: apt::write(&self.dir.join("apt"), &self.settings, keys, now)?,
            macos: summed(&self.dir.join("macos"), "pkg", "universal")?,
            windows: summed(&self.dir.join("windows"), "msi", "amd64")?,
        };
        self.put_keys(keys)?;
        put(
            &self.dir.join("index.html"),
            page::render(&self.settings, &offers).as_bytes(),
        )?;
        put(&self.dir.join(settings::FILE), self.settings.to_json().as_bytes())?;
        Ok(offers)
    }

    /// Where a package belongs, and the bytes to put there.
    fn place(&self, path: &Path, dev: bool, keys: &Keys) -> Result<(PathBuf, Vec<u8>), RepoError> {
        let refused = |why: String| RepoError::Package {
            path: path.to_owned(),
            why,
        };
        let mut bytes = fs::read(path).map_err(RepoError::io(path))?;
        let report = inspect(&bytes).map_err(|e| refused(e.to_string()))?;
        if let Some(problem) = report.problems.first() {
            return Err(refused(format!("{problem}; `jos-image inspect` shows all of it")));
        }
        if let Some(why) = secret(&report) {
            return Err(refused(why));
        }
        if !dev && by_throwaway_key(&report) {
            let why = "its devices trust a throwaway key (jos-image build --dev-key), which lies on a desk unguarded; \
                       build it with --key, or take it with --allow-dev into a repository for tests";
            return Err(refused(why.into()));
        }
        let field = |name: &str| report.control.get(name).unwrap_or_default().to_owned();
        let name = field("Package");
        // They become the package's path: whoever made it does not choose where else it lies.
        if !matches!(report.kind, PackageKind::Pkg | PackageKind::Msi)
            && let Some(odd) = ["Package", "Version", "Architecture"]
                .into_iter()
                .find(|name| !is_part(&field(name)))
        {
            let expected = "expected a letter or digit, then letters, digits and + - . _ ~ :";
            return Err(refused(format!("{odd}: found {:?}, {expected}", field(odd))));
        }
        let place = match report.kind {
            PackageKind::Deb => apt::pool(&name, &field("Version"), &field("Architecture")),
            PackageKind::Ipk => {
                let architecture = field("Architecture");
                PathBuf::from(format!(
                    "opkg/{architecture}/{name}_{}_{architecture}.ipk",
                    field("Version")
                ))
            }
            PackageKind::Apk => {
                bytes = apk::signed(&bytes, keys)?;
                PathBuf::from(format!("apk/{}/{name}-{}.apk", field("Architecture"), field("Version")))
            }
            PackageKind::Pkg => Path::new("macos").join(path.file_name().unwrap_or_default()),
            PackageKind::Msi => Path::new("windows").join(path.file_name().unwrap_or_default()),
        };
        let there = self.dir.join(&place);
        if fs::read(&there).is_ok_and(|there| there != bytes) {
            let why = format!(
                "{} is in the repository with another content; a changed package needs a new version or release, \
                 since devices know the old one by its hash",
                place.display()
            );
            return Err(refused(why));
        }
        Ok((place, bytes))
    }

    fn put_keys(&self, keys: &Keys) -> Result<(), RepoError> {
        let dir = self.dir.join("keys");
        let name = &self.settings.name;
        let opkg = jos_trust::release::public_text(&keys.opkg.public());
        put(&dir.join(format!("{name}-opkg.pub")), opkg.as_bytes())?;
        put(
            &dir.join(format!("{name}-apk.pem")),
            keys.apk.public().to_pem()?.as_bytes(),
        )?;
        put(
            &dir.join(self.settings.keyring_file()),
            &keys.certificate(&self.settings)?,
        )?;
        // The others, under names of their own while keys change, and not a day longer.
        let mut others = Vec::new();
        if let Some(also) = &keys.also {
            let opkg = also.opkg.public();
            let (number, id) = (jos_trust::release::key_number(&opkg), also.apk.public().id_hex());
            let opkg = jos_trust::release::public_text(&opkg);
            others.push((dir.join(format!("{name}-opkg-{number}.pub")), opkg));
            others.push((dir.join(format!("{name}-apk-{id}.pem")), also.apk.public().to_pem()?));
        }
        for (path, text) in &others {
            put(path, text.as_bytes())?;
        }
        for path in entries(&dir)? {
            let file = file_name(&path);
            let is_other = [format!("{name}-opkg-"), format!("{name}-apk-")]
                .iter()
                .any(|start| file.starts_with(start));
            if is_other && !others.iter().any(|(other, _)| *other == path) {
                fs::remove_file(&path).map_err(RepoError::io(&path))?;
            }
        }
        Ok(())
    }
}

/// Whether the devices of a package trust a key of `jos-image build --dev-key`.
fn by_throwaway_key(report: &Report) -> bool {
    let roots = report.tree.entries().filter(|e| e.path.ends_with("/jos/trust.json"));
    let mut texts = roots.filter_map(|e| match &e.kind {
        EntryKind::File(bytes) => serde_json::from_slice::<serde_json::Value>(bytes).ok(),
        EntryKind::Dir | EntryKind::Symlink(_) => None,
    });
    texts.any(|trust| {
        trust
            .pointer("/keys")
            .and_then(|keys| keys.as_object())
            .is_some_and(|keys| keys.values().any(|key| key["dev"] == true))
    })
}

/// Whether a field of a package may be a part of a path.
fn is_part(text: &str) -> bool {
    let ok = |b: u8| b.is_ascii_alphanumeric() || b"+-._~:".contains(&b);
    text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric()) && text.len() <= 200 && text.bytes().all(ok)
}

/// The first secret among the texts that a package installs or runs.
fn secret(report: &Report) -> Option<String> {
    for script in &report.scripts {
        if let Some(found) = secrets::find(script.text.as_bytes()) {
            let (name, line, what) = (&script.name, found.line, found.what);
            return Some(format!("its script {name} line {line} holds {what}; {}", secrets::HELP));
        }
    }
    for entry in report.tree.entries() {
        let EntryKind::File(bytes) = &entry.kind else { continue };
        if std::str::from_utf8(bytes).is_err() {
            continue;
        }
        if let Some(found) = secrets::find(bytes) {
            return Some(format!(
                "/{} line {} holds {}; {}",
                entry.path,
                found.line,
                found.what,
                secrets::HELP
            ));
        }
    }
    None
}

/// A folder of installers, with their sums beside them.
fn summed(dir: &Path, extension: &str, architecture: &str) -> Result<Offer, RepoError> {
    let (mut offer, mut sums) = (Offer::default(), String::new());
    for path in files(dir, extension)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = fs::read(&path).map_err(RepoError::io(&path))?;
        sums.push_str(&format!("{}  {name}\n", crate::formats::hash::sha256(&bytes)));
        offer.note(architecture, &name);
    }
    if !sums.is_empty() {
        put(&dir.join("SHA256SUMS"), sums.as_bytes())?;
    }
    Ok(offer)
}

/// The files of a folder whose name ends in `.extension`, sorted; none where there is no folder.
fn files(dir: &Path, extension: &str) -> Result<Vec<PathBuf>, RepoError> {
    let mut all = entries(dir)?;
    all.retain(|path| path.extension().is_some_and(|e| e == extension));
    Ok(all)
}

/// What lies in a folder, sorted; nothing where there is no folder.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, RepoError> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(RepoError::io(dir))?,
    };
    let mut all = Vec::new();
    for entry in entries {
        all.push(entry.map_err(RepoError::io(dir))?.path());
    }
    all.sort();
    Ok(all)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Writes a file whole or not at all; leaves one alone that holds these bytes.
fn put(path: &Path, bytes: &[u8]) -> Result<(), RepoError> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(RepoError::io(dir))?;
    let new = dir.join(format!(".{}.new", file_name(path)));
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    });
    written.map_err(RepoError::io(path))
}
