//! TLS of both listeners: 1.3 alone, one provider of cryptography, no resumption, the hub's own certificate.
//!
//! A resumed session would keep a certificate alive past its end; every connection shows its own anew.

use std::sync::{Arc, PoisonError, RwLock};

use jos_trust::Digest;
use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;

use crate::ca::{self, Pair};
use crate::clock::Clock;
use crate::hub::Hub;
use crate::names;

/// Left of the hub's own certificate when a new one is made, in seconds.
const RENEW_WITH_LEFT: i64 = 30 * 86_400;

/// TLS could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("TLS: {0}")]
pub struct TlsError(String);

fn failed(error: impl std::fmt::Display) -> TlsError {
    TlsError(error.to_string())
}

/// The one provider of cryptography.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The hub's own certificate, which is replaced while connections go on.
#[derive(Debug)]
pub struct OwnCertificate {
    current: RwLock<Own>,
}

/// One certificate with what decides how long it is shown.
#[derive(Debug)]
struct Own {
    shown: Arc<CertifiedKey>,
    pem: String,
    /// How many certificates lead on from it.
    chain: usize,
    ends: i64,
    /// The name of the CA that signed it, and when that was.
    issued: (Digest, i64),
}

impl OwnCertificate {
    /// The one in the data directory; a folder that was copied for one more hub has none yet.
    pub fn load(hub: &Hub) -> Result<Self, TlsError> {
        // A crash between the two files leaves halves that do not fit: both are made anew.
        let own = match kept(hub)? {
            Some(own) => own,
            None => made(hub)?,
        };
        Ok(Self {
            current: RwLock::new(own),
        })
    }

    /// Makes a new one where the current one ends soon, is of a CA that signs no more, or its key is to go; leads it back
    /// to CAs that have come. Gives whether anything changed.
    pub fn renew(&self, hub: &Hub) -> Result<bool, TlsError> {
        let keys = hub.authorities();
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let over = current.ends - hub.clock.now() <= RENEW_WITH_LEFT
            || keys.is_of_before(current.issued.0)
            || current.issued.1 < keys.servers_since;
        if !over && current.chain == keys.chain().len() {
            return Ok(false);
        }
        let pem = current.pem.clone();
        drop(current);
        let own = if over {
            made(hub)?
        } else {
            let key = hub.dir.read_secret("server.key").map_err(failed)?;
            certified(hub, &Pair { certificate: pem, key })?
        };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = own;
        Ok(true)
    }
}

/// The one in the data directory, where there is a whole one.
fn kept(hub: &Hub) -> Result<Option<Own>, TlsError> {
    if !hub.dir.file("server.key").exists() || !hub.dir.file("server.pem").exists() {
        return Ok(None);
    }
    let pair = Pair {
        certificate: hub.dir.read("server.pem").map_err(failed)?,
        key: hub.dir.read_secret("server.key").map_err(failed)?,
    };
    Ok(certified(hub, &pair).ok())
}

/// A new key with its certificate, in the data directory.
fn made(hub: &Hub) -> Result<Own, TlsError> {
    let names = names::of(&hub.addresses);
    let pair = hub.authorities().ca().server(&names, hub.clock.now()).map_err(failed)?;
    let own = certified(hub, &pair)?;
    hub.dir
        .replace("server.key", 0o600, pair.key.as_bytes())
        .map_err(failed)?;
    hub.dir
        .replace("server.pem", 0o644, pair.certificate.as_bytes())
        .map_err(failed)?;
    Ok(own)
}

fn certified(hub: &Hub, pair: &Pair) -> Result<Own, TlsError> {
    let no_certificate = || failed("server.pem: no X.509 certificate");
    let mut chain = vec![ca::der(&pair.certificate).ok_or_else(no_certificate)?];
    let lead_back = hub.authorities().chain();
    let count = lead_back.len();
    chain.extend(lead_back);
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).map_err(failed)?;
    let shown = CertifiedKey::from_der(chain, key, &provider()).map_err(failed)?;
    Ok(Own {
        shown: Arc::new(shown),
        pem: pair.certificate.clone(),
        chain: count,
        ends: ca::not_after(&pair.certificate).ok_or_else(no_certificate)?,
        issued: ca::issued(&pair.certificate)
            .map(|(by, since)| (by, since + ca::BACKDATED))
            .ok_or_else(no_certificate)?,
    })
}

impl ResolvesServerCert for OwnCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(
            self.current
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .shown
                .clone(),
        )
    }
}

/// What meets connections of one listener; it changes with the CAs while connections go on.
#[derive(Debug)]
pub struct Meeting {
    own: Arc<OwnCertificate>,
    /// Whether it is devices that come here.
    devices: bool,
    /// For which state of the CAs, and how.
    current: RwLock<(u64, Arc<ServerConfig>)>,
}

impl Meeting {
    /// Of devices, or else of admins.
    pub fn new(hub: &Hub, own: Arc<OwnCertificate>, devices: bool) -> Result<Self, TlsError> {
        let current = RwLock::new(config(hub, &own, devices)?);
        Ok(Self { own, devices, current })
    }

    /// How the next connection is met.
    pub fn config(&self, hub: &Hub) -> Arc<ServerConfig> {
        let (revision, current) = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        if !self.devices || revision == hub.authorities().revision {
            return current;
        }
        match config(hub, &self.own, self.devices) {
            Ok(fresh) => {
                let met = fresh.1.clone();
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
                met
            }
            Err(error) => {
                tracing::error!(cause = error.to_string(), "the CAs have changed and TLS has not");
                current
            }
        }
    }
}

fn config(hub: &Hub, own: &Arc<OwnCertificate>, devices: bool) -> Result<(u64, Arc<ServerConfig>), TlsError> {
    let revision = hub.authorities().revision;
    let config = if devices {
        for_devices(hub, own.clone())?
    } else {
        for_admins(hub, own.clone())?
    };
    Ok((revision, config))
}

/// For devices: a client certificate of this hub, or none. Which paths are open without one, the gate decides.
fn for_devices(hub: &Hub, own: Arc<OwnCertificate>) -> Result<Arc<ServerConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    for ca in hub.authorities().accepted() {
        roots.add(ca).map_err(failed)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .map_err(failed)?;
    let builder = builder(&hub.clock)?.with_client_cert_verifier(verifier);
    Ok(finished(builder.with_cert_resolver(own)))
}

/// For admins: no client certificate; a token says who asks.
fn for_admins(hub: &Hub, own: Arc<OwnCertificate>) -> Result<Arc<ServerConfig>, TlsError> {
    Ok(finished(
        builder(&hub.clock)?.with_no_client_auth().with_cert_resolver(own),
    ))
}

fn builder(clock: &Clock) -> Result<rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>, TlsError> {
    ServerConfig::builder_with_details(provider(), Arc::new(clock.clone()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(failed)
}

fn finished(mut config: ServerConfig) -> Arc<ServerConfig> {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}
