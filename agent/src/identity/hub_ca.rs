//! The CA that the hub goes over to: what the plane believes of it.
//!
//! Only the word of the tenant's admins brings one (`jos.hub_ca`, role `admin` of the trust root), so neither a network half
//! nor a hub that is taken over can put another in its place. It is believed beside the one that was known, and alone once it
//! has signed a certificate of ours.

use std::path::{Path, PathBuf};

use jos_schemas::documents::hub::HubCa;
use jos_schemas::own;
use jos_trust::TrustRoot;
use jos_trust::root::Received;
use jos_trust::statement::verify_hub_ca;

use super::{Identity, folder};
use crate::files;
use crate::run::net::tls;

const FILE: &str = "hub-ca.json";
const LIMIT: usize = 64 << 10;

fn path(state_dir: &Path) -> PathBuf {
    folder(state_dir).join(FILE)
}

/// The one that was taken, where there is one. It was verified when it was written, and nobody else writes there.
pub(crate) fn kept(state_dir: &Path) -> Option<HubCa> {
    own::read(&files::read(&path(state_dir), LIMIT).ok()?).ok()
}

/// What the network half is to believe: the CA that is known, and the one that takes its place.
pub(crate) fn believed(state_dir: &Path, known: &str) -> String {
    match kept(state_dir) {
        Some(next) if next.ca != known => format!("{known}\n{}", next.ca),
        _ => known.to_owned(),
    }
}

/// Takes what is said to be the word of the admins; gives the number of the CA that counts now. Called under the lock.
pub(crate) fn take(bytes: &[u8], root: &TrustRoot, state_dir: &Path, identity: &mut Identity) -> Result<u64, String> {
    let verify = |bytes: &[u8]| verify_hub_ca(Received::json("the hub's CA", bytes), root, &identity.tenant);
    let said = verify(bytes).map_err(|refused| refused.to_string())?;
    let next = said.value();
    // One that is none would keep the network half from starting.
    if !tls::is_ca(&next.ca) {
        return Err(format!("the hub's CA {}: no PEM certificate of a CA", next.version));
    }
    // A word whose signers have left the trust root is no floor: whoever stole their keys could have named any number.
    let before = files::read(&path(state_dir), LIMIT)
        .ok()
        .and_then(|bytes| verify(&bytes).ok());
    if let Some(before) = before {
        if before.content() == said.content() {
            return Ok(before.version());
        }
        if before.version() >= said.version() {
            return Err(format!(
                "the hub's CA: found number {} again or an earlier one, expected one above {}",
                said.version(),
                before.version()
            ));
        }
    }
    // First the word: a power cut after it leaves both CAs believed, and no state between.
    files::replace(&path(state_dir), &said.to_bytes(), 0o600, true).map_err(|e| e.to_string())?;
    if settle(identity, &next.ca) {
        identity.save(state_dir)?;
    }
    Ok(said.version())
}

/// The next CA is the only one from the moment at which it has signed our certificate.
pub(super) fn settle(identity: &mut Identity, next: &str) -> bool {
    let over = identity.ca != next && tls::is_of(&identity.certificate, next);
    if over {
        next.clone_into(&mut identity.ca);
    }
    over
}

/// The device belongs to another hub from now on.
pub(crate) fn forget(state_dir: &Path) -> Result<(), String> {
    match std::fs::remove_file(path(state_dir)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {e}", path(state_dir).display())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
