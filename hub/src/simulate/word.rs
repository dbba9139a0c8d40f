//! The way to another CA of the hub's: by the word of the tenant's admins alone, as a real device goes.

use std::sync::PoisonError;

use hyper::{Method, StatusCode};
use jos_link::wire::path;
use jos_schemas::text::Name;
use jos_trust::root::Received;
use jos_trust::statement::verify_hub_ca;
use jos_trust::{Digest, sha256};
use rustls::pki_types::CertificateDer;

use super::connection::{Connection, Trouble};
use super::device::{Device, PATIENCE, refused};
use super::fleet::Fleet;
use crate::ca;

/// What admins said of a CA.
#[derive(Clone, Debug)]
pub(super) struct Word {
    /// The CA's number.
    pub(super) number: u64,
    /// Its certificate.
    pub(super) ca: CertificateDer<'static>,
    subject: Digest,
}

impl Word {
    /// Whether this CA has signed the certificate.
    pub(super) fn signed(&self, certificate: &CertificateDer<'_>) -> bool {
        ca::peer(certificate).is_some_and(|own| own.issuer == self.subject)
    }
}

impl Fleet {
    /// What stands in a document, where its signatures are good: looked at once for all devices.
    async fn word(&self, bytes: &[u8], tenant: &Name) -> Result<Word, Trouble> {
        let hash = format!("{tenant} {}", sha256(bytes));
        let root = self.root.lock().await;
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        let known = words.entry(hash).or_insert_with(|| {
            let root = root.as_ref().ok_or("no-trust")?;
            let said = verify_hub_ca(Received::json("hub", bytes), root, tenant).map_err(|e| e.to_string())?;
            let pem = &said.value().ca;
            let (ca, subject) = ca::der(pem).zip(ca::subject(pem)).ok_or("no certificate")?;
            let number = said.value().version;
            Ok(Word { number, ca, subject })
        });
        known.clone().map_err(|why| Trouble(format!("hub CA: {why}")))
    }
}

impl Device {
    /// Takes the newest word of its admins on the hub's CA.
    pub(super) async fn learn(&mut self, connection: &mut Connection) -> Result<(), Trouble> {
        let reply = connection.ask(Method::GET, path::HUB_CA, None, None, PATIENCE).await?;
        if reply.status != StatusCode::OK {
            return Err(refused(&reply));
        }
        let tenant = self.tenant.clone().ok_or_else(|| Trouble("no tenant".to_owned()))?;
        self.word = Some(self.fleet.word(&reply.body, &tenant).await?);
        self.lead()
    }
}
