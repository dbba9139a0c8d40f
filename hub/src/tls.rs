//! TLS of both listeners: 1.3 alone, one provider of cryptography, no resumption, the hub's own certificate.
//!
//! A resumed session would keep a certificate alive past its end; every connection shows its own anew.

use std::sync::{Arc, PoisonError, RwLock};

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
    current: RwLock<(Arc<CertifiedKey>, i64)>,
}

impl OwnCertificate {
    /// The one in the data directory; a folder that was copied for one more hub has none yet.
    pub fn load(hub: &Hub) -> Result<Self, TlsError> {
        if !hub.dir.file("server.key").exists() {
            return Ok(Self {
                current: RwLock::new(made(hub)?),
            });
        }
        let pair = Pair {
            certificate: hub.dir.read("server.pem").map_err(failed)?,
            key: hub.dir.read_secret("server.key").map_err(failed)?,
        };
        Ok(Self {
            current: RwLock::new(certified(&pair)?),
        })
    }

    /// Makes a new one where the current one ends soon; gives whether it did.
    pub fn renew(&self, hub: &Hub) -> Result<bool, TlsError> {
        let ends = self.current.read().unwrap_or_else(PoisonError::into_inner).1;
        let now = hub.clock.now();
        if ends - now > RENEW_WITH_LEFT {
            return Ok(false);
        }
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = made(hub)?;
        Ok(true)
    }
}

/// A new key with its certificate, in the data directory.
fn made(hub: &Hub) -> Result<(Arc<CertifiedKey>, i64), TlsError> {
    let names = names::of(&hub.addresses);
    let pair = hub.ca.server(&names, hub.clock.now()).map_err(failed)?;
    let certified = certified(&pair)?;
    hub.dir
        .replace("server.key", 0o600, pair.key.as_bytes())
        .map_err(failed)?;
    hub.dir
        .replace("server.pem", 0o644, pair.certificate.as_bytes())
        .map_err(failed)?;
    Ok(certified)
}

fn certified(pair: &Pair) -> Result<(Arc<CertifiedKey>, i64), TlsError> {
    let chain = ca::der(&pair.certificate).ok_or_else(|| failed("server.pem: no PEM certificate in it"))?;
    let ends = ca::not_after(&pair.certificate).ok_or_else(|| failed("server.pem: no X.509 certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).map_err(failed)?;
    let certified = CertifiedKey::from_der(vec![chain], key, &provider());
    // A crash between the two files leaves halves that do not fit: both are made anew.
    Ok((Arc::new(certified.map_err(failed)?), ends))
}

impl ResolvesServerCert for OwnCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).0.clone())
    }
}

/// For devices: a client certificate of this hub, or none. Which paths are open without one, the gate decides.
pub fn for_devices(hub: &Hub, own: Arc<OwnCertificate>) -> Result<Arc<ServerConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    let ca = ca::der(hub.ca.certificate()).ok_or_else(|| failed("ca.pem: no PEM certificate in it"))?;
    roots.add(ca).map_err(failed)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .map_err(failed)?;
    let builder = builder(&hub.clock)?.with_client_cert_verifier(verifier);
    Ok(finished(builder.with_cert_resolver(own)))
}

/// For admins: no client certificate; a token says who asks.
pub fn for_admins(hub: &Hub, own: Arc<OwnCertificate>) -> Result<Arc<ServerConfig>, TlsError> {
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
