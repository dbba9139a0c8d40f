//! A device that enrols: what it says, and what it takes of the answers. The daemon and `jos agent enrol` both do it so.

use std::path::{Path, PathBuf};

use jos_link::Token;
use jos_link::wire::Enrolled;
use jos_schemas::documents::hub::{DeviceKeys, Enrolment, EnrolmentKind};
use jos_schemas::own;
use jos_schemas::text::Name;
use jos_trust::{SecretKey, request, sha256};

use crate::identity::{self, Extra, Identity, hub_ca};
use crate::run::net::setup::Setup;
use crate::run::{facts, pem};

/// One that has a token and is not known yet.
pub(crate) struct Applicant {
    /// The data directory.
    pub(crate) state_dir: PathBuf,
    /// The agent that will call.
    pub(crate) name: Name,
    /// The token.
    pub(crate) token: Token,
    /// The hub's CA, once it came and was the token's.
    pub(crate) ca: Option<String>,
}

impl Applicant {
    /// What the network half is told.
    pub(crate) fn setup(&self, extra: &Extra) -> Result<Setup, String> {
        let key = identity::tls_key(&self.state_dir)?;
        Ok(identity::setup(
            None,
            Some((&self.token, self.ca.as_deref())),
            extra,
            &key,
        ))
    }

    /// The enrolment, with the token's secret.
    pub(crate) fn enrolment(&self, secret: String) -> Result<Vec<u8>, String> {
        let tls = identity::tls_key(&self.state_dir)?;
        let ledger = identity::ledger_key(&self.state_dir)?;
        let enrolment = Enrolment {
            schema: None,
            kind: EnrolmentKind::default(),
            token: secret,
            name: self.name.clone(),
            keys: keys(&tls, &ledger),
            facts: facts::facts(Path::new("/")),
        };
        own::write(&enrolment).map_err(|e| e.to_string())
    }

    /// The hub's CA, from whoever answered: taken only if it is the token's.
    pub(crate) fn take_ca(&mut self, bytes: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(bytes);
        // Of a hub whose CA was rotated there are several; its certificate leads back to those before.
        let mut found = None;
        for (one, der) in pem::all(&text) {
            let hash = sha256(&der);
            if hash == self.token.ca {
                self.ca = Some(one.to_owned());
                return Ok(());
            }
            found = found.or(Some(hash));
        }
        let found = found.ok_or("what answers there has no CA certificate to show")?;
        Err(format!(
            "what answers there is not the hub of this token: its CA is {found}, the token names {}",
            self.token.ca
        ))
    }

    /// Known from now on: kept before anything else is done with it.
    pub(crate) fn take(&self, enrolled: Enrolled) -> Result<Identity, String> {
        let ca = self.ca.clone().ok_or("an answer before the CA was known")?;
        let identity = Identity::new(enrolled, &self.token, ca, &self.name);
        // What was said of the CA of another hub.
        hub_ca::forget(&self.state_dir)?;
        identity.save(&self.state_dir)?;
        Ok(identity)
    }
}

fn keys(tls: &SecretKey, ledger: &SecretKey) -> DeviceKeys {
    DeviceKeys {
        tls: request::certificate_request(tls),
        ledger: ledger.public().to_base64(),
        encryption: None,
    }
}

/// A token was used: it is good for nothing, and lies around no longer.
pub(crate) fn used(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        log::warn!(
            "{}: the enrolment token was used and cannot be removed: {error}; remove it by hand",
            path.display()
        );
    }
}
