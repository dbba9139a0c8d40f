//! Who signs the update bundles of an appliance's images.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jos_schemas::documents::profile::{Profile, Update};

use super::appliance::Input;
use super::baseline::Signing;
use crate::formats::hash::sha256;
use crate::profile::files::shown;
use crate::profile::{Problems, Resolved, paths};

/// A signer of bundles.
#[derive(Clone, Debug)]
pub enum Signer {
    /// As the profile names it.
    Named(Files),
    /// The pair that this machine keeps for `--dev-key`.
    Throwaway,
    /// Nobody: an earlier build is repeated, and its bundles are taken as they are.
    Published {
        /// Certificate and keyring, where the profile names them; there is no key.
        files: Option<Files>,
        /// Size and SHA-256 by file name.
        bundles: BTreeMap<String, (u64, String)>,
    },
}

/// Certificate, key and whom devices believe.
#[derive(Clone, Debug)]
pub struct Files {
    /// PEM.
    pub cert: Vec<u8>,
    /// Where the secret key lies; it is never read here.
    pub key: PathBuf,
    /// PEM.
    pub keyring: Vec<u8>,
}

/// Finds it, where the profile's images have two roots.
pub(super) fn signer(
    resolved: &Resolved,
    profile: &Profile,
    signing: &Signing,
    inputs: &mut Vec<Input>,
    problems: &mut Problems<'_>,
) -> Option<Signer> {
    let image = profile.image.as_ref()?;
    if image.update != Some(Update::Rauc) {
        return None;
    }
    let (files, node) = (&resolved.files, &resolved.node);
    let bundles = signing.published.as_ref().map(|published| published.bundles.clone());
    let Some(named) = &image.rauc else {
        return match bundles {
            Some(bundles) if signing.is_dev() => Some(Signer::Published { files: None, bundles }),
            None if signing.is_dev() => Some(Signer::Throwaway),
            _ => {
                let help = "name cert and key under [image.rauc]; --dev-key takes a throwaway pair on the desk";
                problems.at(node, "/image/update", "nobody is named who signs the bundles", help);
                None
            }
        };
    };
    let mut certificates = |role: &'static str, member: &str, name: &str| {
        let pointer = format!("/image/rauc/{member}");
        let (path, bytes) = paths::read(files, node, &pointer, problems)?;
        let text = String::from_utf8_lossy(&bytes);
        if !text.contains("-----BEGIN CERTIFICATE-----") || text.contains("PRIVATE KEY-----") {
            let message = format!("{} holds no certificate, or a secret beside it", shown(&path));
            problems.at(node, &pointer, message, "expected PEM: `-----BEGIN CERTIFICATE-----`");
            return None;
        }
        inputs.push(Input {
            role,
            name: name.to_owned(),
            sha256: sha256(&bytes),
        });
        Some(bytes)
    };
    let cert = certificates("rauc-cert", "cert", &named.cert)?;
    let keyring = match &named.keyring {
        Some(name) => certificates("rauc-keyring", "keyring", name)?,
        None => cert.clone(),
    };
    if let Some(bundles) = bundles {
        let key = PathBuf::new();
        let files = Some(Files { cert, key, keyring });
        return Some(Signer::Published { files, bundles });
    }
    let key = paths::find(files, node, "/image/rauc/key", problems)?;
    Some(Signer::Named(Files { cert, key, keyring }))
}
