//! The keys of a repository: one folder with a secret key for each package manager.
//!
//! Owns: `opkg.key` and `apt.key` (key files of jos, Ed25519) and `apk.pem` (PKCS #8, P-256), each 0600 and never
//! overwritten. They are three so that none signs what another's reader might take for its own.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use jos_apk::SigningKey;
use jos_trust::SecretKey;
use jos_trust::keyfile::{read_secret, write_secret};

use super::{RepoError, Settings, openpgp};

const OPKG: &str = "opkg.key";
const APT: &str = "apt.key";
const APK: &str = "apk.pem";

/// The public halves.
#[derive(Debug, Clone)]
pub struct PublicKeys {
    /// Of opkg's key.
    pub opkg: jos_trust::PublicKey,
    /// Of apt's key.
    pub apt: jos_trust::PublicKey,
    /// Of apk's key.
    pub apk: jos_apk::PublicKey,
}

impl PublicKeys {
    /// Reads a repository's `keys/` folder, or a copy of it that was kept elsewhere.
    ///
    /// # Errors
    /// [`RepoError::Folder`] for a key that is missing or none, [`RepoError::Io`].
    pub fn read(dir: &Path, settings: &Settings) -> Result<Self, RepoError> {
        let name = &settings.name;
        let read = |file: String| {
            let path = dir.join(&file);
            let bytes = fs::read(&path).map_err(RepoError::io(&path))?;
            Ok::<_, RepoError>((file, bytes))
        };
        let no_key = |file: &str| RepoError::folder(dir, format!("{file} is no key that jos-image wrote"));
        let (file, opkg) = read(format!("{name}-opkg.pub"))?;
        let opkg = jos_trust::release::public_of(&String::from_utf8_lossy(&opkg)).ok_or_else(|| no_key(&file))?;
        let (file, apt) = read(settings.keyring_file())?;
        let apt = openpgp::key_of(&apt).ok_or_else(|| no_key(&file))?;
        let (file, apk) = read(format!("{name}-apk.pem"))?;
        let apk = jos_apk::PublicKey::from_pem(&String::from_utf8_lossy(&apk)).map_err(|_| no_key(&file))?;
        Ok(Self { opkg, apt, apk })
    }
}

/// The secret keys.
#[derive(Debug)]
pub struct Keys {
    /// Signs opkg's `Packages`.
    pub opkg: SecretKey,
    /// Signs apt's `Release`.
    pub apt: SecretKey,
    /// Signs apk's packages and indexes.
    pub apk: SigningKey,
    /// While keys change: those of before, or those to come. apt's and apk's sign beside the ones above; opkg reads one
    /// signature alone, so that opkg's is only published.
    pub also: Option<Box<Keys>>,
}

impl Keys {
    /// apt's keys, the present one first.
    pub(super) fn all_apt(&self) -> Vec<&SecretKey> {
        std::iter::once(self)
            .chain(self.also.as_deref())
            .map(|keys| &keys.apt)
            .collect()
    }

    /// apk's keys, the present one first.
    pub(super) fn all_apk(&self) -> Vec<&SigningKey> {
        std::iter::once(self)
            .chain(self.also.as_deref())
            .map(|keys| &keys.apk)
            .collect()
    }

    /// New keys out of `random`, which must fill the whole slice with bytes nobody can guess.
    ///
    /// # Errors
    /// [`RepoError::Sign`], with odds of 2^-32: try again.
    pub fn generate(random: &mut dyn FnMut(&mut [u8])) -> Result<Self, RepoError> {
        let comment = |what: &str| Some(format!("signs a repository for {what}"));
        let mut seed = [0; 32];
        random(&mut seed);
        Ok(Self {
            apk: SigningKey::from_seed(seed)?,
            opkg: SecretKey::generate(random).with_comment(comment("opkg")),
            apt: SecretKey::generate(random).with_comment(comment("apt")),
            also: None,
        })
    }

    /// Writes them into a folder that holds none of them yet.
    ///
    /// # Errors
    /// [`RepoError::Folder`] when one is there, [`RepoError::Io`].
    pub fn write(&self, dir: &Path) -> Result<(), RepoError> {
        if let Some(name) = [OPKG, APT, APK].iter().find(|name| dir.join(name).exists()) {
            return Err(RepoError::folder(
                dir,
                format!("{name} is there and is not overwritten"),
            ));
        }
        fs::create_dir_all(dir).map_err(RepoError::io(dir))?;
        for (name, key) in [(OPKG, &self.opkg), (APT, &self.apt)] {
            write_secret(&dir.join(name), key).map_err(|e| RepoError::folder(dir, e.to_string()))?;
        }
        let path = dir.join(APK);
        let pem = self.apk.to_pem()?;
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| {
            file.write_all(pem.as_bytes())?;
            file.sync_all()
        });
        written.map_err(RepoError::io(&path))
    }

    /// Reads the folder.
    ///
    /// # Errors
    /// [`RepoError::Folder`] for a key that is missing, no key, or open to others; [`RepoError::Io`].
    pub fn read(dir: &Path) -> Result<Self, RepoError> {
        let help = "`jos-image repo key new --out DIR` makes all three";
        let secret =
            |name: &str| read_secret(&dir.join(name)).map_err(|e| RepoError::folder(dir, format!("{e}; {help}")));
        let path = dir.join(APK);
        let meta = fs::metadata(&path).map_err(|e| RepoError::folder(dir, format!("{APK}: {e}; {help}")))?;
        if meta.permissions().mode() & 0o077 != 0 {
            return Err(RepoError::folder(
                dir,
                format!("{APK} may be read by others; chmod 600 it"),
            ));
        }
        let pem = zeroize::Zeroizing::new(fs::read_to_string(&path).map_err(RepoError::io(&path))?);
        Ok(Self {
            opkg: secret(OPKG)?,
            apt: secret(APT)?,
            apk: SigningKey::from_pem(&pem).map_err(|e| RepoError::folder(dir, format!("{APK}: {e}")))?,
            also: None,
        })
    }

    /// APT's certificate, one after the other where there are two.
    pub(super) fn certificate(&self, settings: &Settings) -> Result<Vec<u8>, RepoError> {
        let mut all = Vec::new();
        for key in self.all_apt() {
            all.extend(openpgp::certificate(key, &settings.maintainer)?);
        }
        Ok(all)
    }
}
