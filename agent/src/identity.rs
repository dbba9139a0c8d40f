//! Who this device is to its hub: `identity/` in the data directory, one for the device.
//!
//! ```text
//! identity/ledger.key   0600  signs checkpoints, and speaks for the device when its certificate has ended (the plane's)
//! identity/tls.key      0600  the network half's; handed to it over the pipe, so that it needs no file
//! identity/hub.json     0600  what enrolment gave: id, tenant, labels, addresses, CA, certificate
//! identity/hub-ca.json  0600  the hub's next CA, as the tenant's admins signed it ([`hub_ca`])
//! identity/trust.json   0644  the trust root that the token named, where the package brought none
//! identity/lock               held by who changes the above: several agents share one identity
//! ```

pub(crate) mod hub_ca;

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use jos_link::Token;
use jos_link::wire::{Certificate, Enrolled};
use jos_schemas::own;
use jos_schemas::text::{Name, Utc};
use jos_trust::{Digest, SecretKey, keyfile, request};
use serde::{Deserialize, Serialize};

use crate::files;
use crate::lock::Lock;
use crate::run::net::setup::Setup;
use crate::world::Kernel;

const FORMAT: u32 = 1;
const LIMIT: usize = 256 << 10;

/// Which generation of jos wrote it.
#[derive(Deserialize)]
struct Generation {
    format: u32,
}

/// What enrolment gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    format: u32,
    /// The id that the hub chose.
    pub(crate) device: String,
    /// The tenant, for good.
    pub(crate) tenant: Name,
    /// Labels, as they were at the enrolment: a network half that was taken over cannot move the device to another group.
    pub(crate) labels: BTreeMap<String, String>,
    /// Where the hub is.
    pub(crate) addresses: Vec<String>,
    /// Its CA, PEM.
    pub(crate) ca: String,
    /// Our certificate, PEM.
    pub(crate) certificate: String,
    /// When that ends, by the hub's clock.
    pub(crate) not_after: Utc,
    /// Content id of the trust root that the token named.
    pub(crate) trust: Option<Digest>,
    /// The agents of this device that call the hub.
    pub(crate) agents: Vec<Name>,
}

impl Identity {
    /// What is kept in this data directory; none of a device that is not enrolled.
    pub(crate) fn load(state_dir: &Path) -> Result<Option<Self>, String> {
        let path = folder(state_dir).join("hub.json");
        if !path.exists() {
            return Ok(None);
        }
        let bytes = files::read(&path, LIMIT).map_err(|e| e.to_string())?;
        let shown = path.display();
        let malformed = |e| format!("{shown}: {e}");
        // Before the rest: another format may have members that this one does not know.
        let Generation { format } = own::read(&bytes).map_err(malformed)?;
        if format != FORMAT {
            return Err(format!(
                "{shown} has format {format}, and this jos knows {FORMAT}: a newer jos wrote it. Nothing was touched; install that jos again, or a newer one"
            ));
        }
        own::read(&bytes).map(Some).map_err(malformed)
    }

    /// Of a reply to an enrolment of `agent` with `token`, whose CA is `ca`.
    pub(crate) fn new(enrolled: Enrolled, token: &Token, ca: String, agent: &Name) -> Self {
        Self {
            format: FORMAT,
            device: enrolled.device,
            tenant: enrolled.tenant,
            labels: enrolled.labels,
            addresses: token.addresses.clone(),
            ca,
            certificate: enrolled.certificate.certificate,
            not_after: enrolled.certificate.not_after,
            trust: token.trust,
            agents: vec![agent.clone()],
        }
    }

    /// Takes the next certificate. The one that first comes of the hub's next CA shows that the hub has gone over to it:
    /// it is the only one from then on.
    pub(crate) fn renewed(&mut self, certificate: Certificate, state_dir: &Path) {
        self.certificate = certificate.certificate;
        self.not_after = certificate.not_after;
        if let Some(next) = hub_ca::kept(state_dir) {
            hub_ca::settle(self, &next.ca);
        }
    }

    /// Makes it durable.
    pub(crate) fn save(&self, state_dir: &Path) -> Result<(), String> {
        let folder = make(state_dir)?;
        let text = own::write_pretty(self).map_err(|e| e.to_string())?;
        files::replace(&folder.join("hub.json"), text.as_bytes(), 0o600, true).map_err(|e| e.to_string())
    }
}

/// Where it lies.
pub(crate) fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("identity")
}

/// Where the trust root lies that the token named.
pub(crate) fn trust_path(state_dir: &Path) -> PathBuf {
    folder(state_dir).join("trust.json")
}

/// Where an install puts the token of an agent: its sandbox lets it remove it there.
pub(crate) fn token_path(state_dir: &Path, name: &Name) -> PathBuf {
    state_dir.join(format!("{name}.token"))
}

fn make(state_dir: &Path) -> Result<PathBuf, String> {
    let folder = folder(state_dir);
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(folder)
}

/// Keeps a trust root for a device that the package gave none.
pub(crate) fn save_trust(state_dir: &Path, bytes: &[u8]) -> Result<PathBuf, String> {
    make(state_dir)?;
    let path = trust_path(state_dir);
    files::replace(&path, bytes, 0o644, true).map_err(|e| e.to_string())?;
    Ok(path)
}

/// The right to change it, or none while another agent of this device has it.
pub(crate) fn lock(state_dir: &Path) -> Result<Lock, String> {
    let path = make(state_dir)?.join("lock");
    Lock::take(&path).map_err(|e| e.to_string())
}

/// The network half's key, made when there is none. A power cut leaves a whole key or none.
pub(crate) fn tls_key(state_dir: &Path) -> Result<SecretKey, String> {
    let folder = make(state_dir)?;
    let path = folder.join("tls.key");
    if !path.exists() {
        let new = folder.join("tls.key.new");
        let _ = std::fs::remove_file(&new);
        let random = &mut |bytes: &mut [u8]| jos_runtime::world::Random::fill(&Kernel, bytes);
        let key = SecretKey::generate(random).with_comment(Some("TLS of this device".into()));
        keyfile::write_secret(&new, &key).map_err(|e| e.to_string())?;
        std::fs::rename(&new, &path).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    keyfile::read_secret(&path).map_err(|e| e.to_string())
}

/// The plane's key.
pub(crate) fn ledger_key(state_dir: &Path) -> Result<SecretKey, String> {
    make(state_dir)?;
    jos_runtime::own_ledger_key(state_dir, &Kernel)
}

/// What the network half is told: of a device that is enrolled, or of one that has a token and perhaps the CA.
pub(crate) fn setup(
    identity: Option<&Identity>,
    token: Option<(&Token, Option<&str>)>,
    extra: &Extra,
    key: &SecretKey,
) -> Setup {
    use base64::Engine as _;
    let mut addresses: Vec<String> = extra.url.iter().cloned().collect();
    let known = identity.map(|i| &i.addresses).or(token.map(|(t, _)| &t.addresses));
    for address in known.into_iter().flatten() {
        if !addresses.contains(address) {
            addresses.push(address.clone());
        }
    }
    let ca = identity.map(|i| i.ca.as_str()).or(token.and_then(|(_, ca)| ca));
    Setup {
        addresses,
        proxy: extra.proxy.clone(),
        ca: ca.map(str::to_owned),
        certificate: identity.map(|i| i.certificate.clone()),
        key: base64::engine::general_purpose::STANDARD.encode(&*request::pkcs8(key)),
        floor: extra.floor,
    }
}

/// What this machine's own settings add to what the hub said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extra {
    /// `hub.url`: tried before the addresses of the token.
    pub(crate) url: Option<String>,
    /// `hub.proxy`.
    pub(crate) proxy: Option<String>,
    /// Seconds since 1970 before which no clock is believed.
    pub(crate) floor: i64,
}

/// The token in a file; none where there is no such file. One that others may read is refused.
pub(crate) fn token_in(path: &Path) -> Result<Option<Token>, String> {
    let shown = path.display();
    let meta = match path.metadata() {
        Ok(meta) => meta,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(format!("{shown}: {e}")),
    };
    let mode = std::os::unix::fs::MetadataExt::mode(&meta) & 0o7777;
    if mode & 0o077 != 0 {
        return Err(format!(
            "{shown}: others may read this enrolment token (mode {mode:04o}); chmod 600 it"
        ));
    }
    let bytes = files::read(path, 8 << 10).map_err(|e| e.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{shown}: not text"))?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|e| format!("{shown}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tls_key_is_made_once_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let key = tls_key(dir.path()).unwrap();
        assert_eq!(tls_key(dir.path()).unwrap().public(), key.public());
        assert_ne!(ledger_key(dir.path()).unwrap().public(), key.public());
        let mode = |path: &str| {
            let meta = dir.path().join(path).metadata().unwrap();
            std::os::unix::fs::MetadataExt::mode(&meta) & 0o777
        };
        assert_eq!((mode("identity"), mode("identity/tls.key")), (0o700, 0o600));
    }

    #[test]
    fn a_token_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        assert_eq!(token_in(&path).unwrap().map(|t| t.to_string()), None);
        let token = Token {
            addresses: vec!["https://h".into()],
            ca: Digest::ZERO,
            trust: None,
            secret: [1; jos_link::token::SECRET],
        };
        files::replace(&path, format!("{token}\n").as_bytes(), 0o640, false).unwrap();
        assert!(token_in(&path).unwrap_err().contains("chmod 600"));
        files::replace(&path, format!("{token}\n").as_bytes(), 0o600, false).unwrap();
        assert!(token_in(&path).unwrap() == Some(token));
    }
}
