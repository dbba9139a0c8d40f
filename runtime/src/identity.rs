//! The device's own `ledger` key, with which it signs the checkpoints of its ledgers.
//!
//! Owns `identity/ledger.key` (0600) and `identity/ledger.key.pub` (0644) in the data directory, one pair for the
//! device, made when it is first needed. What a signature by it says is in `jos_trust::checkpoint`.

use std::path::Path;

use jos_trust::keyfile::{self, KeyFileError, NamedKey};
use jos_trust::{KeyId, PublicKey, SecretKey};

use crate::disk::{Disk, DiskError};
use crate::world::Random;

const DIR: &str = "identity";
const SECRET: &str = "identity/ledger.key";
const PUBLIC: &str = "identity/ledger.key.pub";
/// A key that is not yet whole, and is none.
const NEW: &str = "identity/ledger.key.new";
const NEW_PUBLIC: &str = "identity/ledger.key.pub.new";

/// Why the key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error(transparent)]
    Key(#[from] KeyFileError),
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The key, made when there is none. A power cut leaves a whole key or none.
pub(crate) fn ledger_key(data: &Disk, random: &dyn Random) -> Result<SecretKey, IdentityError> {
    let at = |path: &str| data.root().join(path);
    if data.lstat(SECRET)?.is_none() {
        data.ensure_dir(DIR)?;
        data.remove(NEW)?;
        let key =
            SecretKey::generate(&mut |bytes| random.fill(bytes)).with_comment(Some("ledger of this device".into()));
        keyfile::write_secret(&at(NEW), &key)?;
        data.rename(NEW, SECRET)?;
    }
    let key = keyfile::read_secret(&at(SECRET))?;
    if data.lstat(PUBLIC)?.is_none() {
        data.remove(NEW_PUBLIC)?;
        keyfile::write_public(&at(NEW_PUBLIC), &NamedKey::from(&key))?;
        data.rename(NEW_PUBLIC, PUBLIC)?;
    }
    Ok(key)
}

/// The key of the device whose data directory this is, made when there is none: it speaks for the device to the hub too.
///
/// # Errors
/// A key file that cannot be read, or one that others can.
pub fn own_ledger_key(state_dir: &Path, random: &dyn Random) -> Result<SecretKey, String> {
    let data = Disk::open(state_dir, "identity").map_err(|e| e.to_string())?;
    ledger_key(&data, random).map_err(|e| e.to_string())
}

/// The public half of the device whose data directory this is, where it has one.
pub fn public_ledger_key(state_dir: &Path) -> Result<Option<(KeyId, PublicKey)>, KeyFileError> {
    let path = state_dir.join(PUBLIC);
    if !path.exists() {
        return Ok(None);
    }
    let key = keyfile::read_public(&path)?;
    Ok(Some((key.id, key.public)))
}
