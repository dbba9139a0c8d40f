//! Secrets: values that only the device knows, by name.
//!
//! Owns reading them from their directory and the keyed hash under which everything else knows them. Never prints,
//! stores or logs a value; the plan, the ledger and the journal hold the name and a MAC (HMAC-SHA256, RFC 2104) under a
//! key that does not leave the device, so that a guess cannot be checked against a copy of the ledger.

use std::path::{Path, PathBuf};

use jos_schemas::text::Name;
use jos_trust::digest::{Hasher, sha256};
use zeroize::Zeroizing;

use crate::disk::{Disk, DiskError};
use crate::hex;
use crate::world::Random;

/// More than this is no secret but a file.
const LIMIT: u64 = 64 * 1024;
const KEY: &str = "identity/mac.key";

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// No such file.
    #[error("secret {name}: {path} does not exist; write the value there, mode 0600")]
    Missing {
        /// Its name.
        name: String,
        /// Where it was looked for.
        path: String,
    },
    /// Others can read or write it.
    #[error(
        "secret {name}: {path} has mode {mode:04o} and owner {uid}, expected 0600 (or stricter) and owner {expected}"
    )]
    Exposed {
        /// Its name.
        name: String,
        /// Where it is.
        path: String,
        /// Its mode.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Who should own it.
        expected: u32,
    },
    /// The disk said no.
    #[error("secret {name}: {source}")]
    Disk {
        /// Its name.
        name: String,
        /// What was wrong.
        source: DiskError,
    },
}

/// The secrets of the device.
pub(crate) struct Secrets {
    dir: PathBuf,
    key: Zeroizing<Vec<u8>>,
}

impl Secrets {
    /// `dir` holds one file a secret; the MAC key lies in the data directory and is made when missing.
    pub(crate) fn open(dir: &Path, data: &Disk, random: &dyn Random) -> Result<Self, DiskError> {
        let key = match data.read(KEY, 32) {
            Ok((bytes, _)) => Zeroizing::new(bytes),
            Err(e) if e.is_missing() => {
                let mut bytes = Zeroizing::new(vec![0; 32]);
                random.fill(&mut bytes);
                data.ensure_dir("identity")?;
                data.write_private(KEY, &bytes)?;
                bytes
            }
            Err(e) => return Err(e),
        };
        Ok(Self {
            dir: dir.to_owned(),
            key,
        })
    }

    /// The value: all bytes of the file, a final newline too.
    pub(crate) fn get(&self, name: &Name) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let path = self.dir.join(name.as_str()).display().to_string();
        let fail = |source: DiskError| {
            if source.is_missing() {
                SecretError::Missing {
                    name: name.to_string(),
                    path: path.clone(),
                }
            } else {
                SecretError::Disk {
                    name: name.to_string(),
                    source,
                }
            }
        };
        let disk = Disk::open(&self.dir, "").map_err(fail)?;
        let (bytes, meta) = disk.read(name.as_str(), LIMIT).map_err(fail)?;
        let bytes = Zeroizing::new(bytes);
        let (me, _) = crate::disk::me();
        if meta.mode & 0o077 != 0 || (meta.uid != me && meta.uid != 0) {
            let (mode, uid) = (meta.mode, meta.uid);
            return Err(SecretError::Exposed {
                name: name.to_string(),
                path,
                mode,
                uid,
                expected: me,
            });
        }
        Ok(bytes)
    }

    /// The name under which a value is known outside: 64 hex digits.
    pub(crate) fn mac(&self, value: &[u8]) -> String {
        hex::encode(&hmac_sha256(&self.key, &[b"jos-secret-v1\n", value]))
    }
}

/// RFC 2104 with SHA-256 (block of 64 bytes). Keys here are 32 bytes.
fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut block = Zeroizing::new([0_u8; 64]);
    if key.len() > 64 {
        block[..32].copy_from_slice(sha256(key).as_bytes());
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |with: u8| Zeroizing::new(block.map(|b| b ^ with));
    let mut inner = Hasher::default();
    inner.update(&*pad(0x36));
    for part in parts {
        inner.update(part);
    }
    let mut outer = Hasher::default();
    outer.update(&*pad(0x5c));
    outer.update(inner.finish().as_bytes());
    *outer.finish().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::hmac_sha256;
    use crate::hex::encode;

    /// RFC 4231 §4.3 and §4.4.
    #[test]
    fn the_mac_is_that_of_the_standard() {
        let mac = hmac_sha256(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(
            encode(&mac),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        let mac = hmac_sha256(&[0xaa; 20], &[&[0xdd; 50]]);
        assert_eq!(
            encode(&mac),
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"
        );
    }
}
