//! TLS as this half speaks it: 1.3 alone, one cipher suite, one key exchange, the hub's own CA and no other.
//!
//! Small on purpose (decision 052): the hub takes every suite of TLS 1.3, and ChaCha20-Poly1305 is the quick one on CPUs
//! without AES instructions. Signatures of the hub's certificates are ECDSA on P-256 or ed25519, ours is ed25519.
//!
//! Certificates are checked against the later of the clock and the time floor. Where the clock contradicts the hub's
//! certificate (it stands at 1970, or far ahead), chain and name still have to be right and the certificate may not have
//! ended before the floor; a freshness statement then tells the time.

use std::fmt::Debug;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, Resumption, WantsClientCert};
use rustls::crypto::ring::{cipher_suite, kx_group, sign};
use rustls::crypto::{CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::SigningKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    AlertDescription, CertificateError, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use webpki::ring::{ECDSA_P256_SHA256, ED25519};

use super::setup::Setup;

static ALGORITHMS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[ECDSA_P256_SHA256, ED25519],
    mapping: &[
        (SignatureScheme::ECDSA_NISTP256_SHA256, &[ECDSA_P256_SHA256]),
        (SignatureScheme::ED25519, &[ED25519]),
    ],
};

/// The kernel's random numbers, and ed25519 keys alone.
#[derive(Debug)]
struct Ours;

impl SecureRandom for Ours {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        getrandom::fill(bytes).map_err(|_| GetRandomFailed)
    }
}

impl KeyProvider for Ours {
    fn load_private_key(&self, key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        match key {
            PrivateKeyDer::Pkcs8(key) => sign::any_eddsa_type(&key),
            _ => Err(Error::General("not a PKCS #8 key".into())),
        }
    }
}

/// The system's clock, raised to the floor.
#[derive(Debug)]
struct Raised {
    floor: i64,
}

impl TimeProvider for Raised {
    fn current_time(&self) -> Option<UnixTime> {
        let now = jos_runtime::world::Clock::now(&crate::world::SystemClock).max(self.floor);
        Some(at(u64::try_from(now).ok()?))
    }
}

fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_CHACHA20_POLY1305_SHA256],
        kx_groups: vec![kx_group::X25519],
        signature_verification_algorithms: ALGORITHMS,
        secure_random: &Ours,
        key_provider: &Ours,
    })
}

/// The three ways in which the hub is called.
pub(super) struct Ways {
    /// Believes whoever answers.
    pub(super) anybody: Arc<ClientConfig>,
    /// Believes the hub; once its CA is known.
    pub(super) stranger: Option<Arc<ClientConfig>>,
    /// The same with our certificate; once there is one.
    pub(super) device: Option<Arc<ClientConfig>>,
}

impl Ways {
    pub(super) fn new(setup: &Setup) -> Result<Self, String> {
        let failed = |what: &'static str| move |e: Error| format!("{what}: {e}");
        let builder = || {
            ClientConfig::builder_with_details(provider(), Arc::new(Raised { floor: setup.floor }))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .map_err(failed("TLS"))
                .map(|b| b.dangerous())
        };
        let anybody = builder()?
            .with_custom_certificate_verifier(Arc::new(Blind))
            .with_no_client_auth();
        let (mut stranger, mut device) = (None, None);
        if let Some(ca) = &setup.ca {
            let mut roots = RootCertStore::empty();
            // Two while the hub goes over from one to the next.
            for (_, ca) in crate::run::pem::all(ca) {
                roots.add(ca.into()).map_err(failed("the hub's CA"))?;
            }
            let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
                .build()
                .map_err(|e| format!("the hub's CA: {e}"))?;
            let floor = u64::try_from(setup.floor).unwrap_or(0);
            let verifier = Arc::new(Dated { inner, floor });
            let config = builder()?.with_custom_certificate_verifier(verifier.clone());
            stranger = Some(finished(config.with_no_client_auth()));
            if let Some(certificate) = &setup.certificate {
                // One that is of no use is as none: the device comes back by its other key.
                device = with_certificate(
                    builder()?.with_custom_certificate_verifier(verifier),
                    certificate,
                    &setup.key,
                );
            }
        }
        Ok(Self {
            anybody: finished(anybody),
            stranger,
            device,
        })
    }
}

fn with_certificate(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    certificate: &str,
    key: &str,
) -> Option<Arc<ClientConfig>> {
    let chain = vec![der(certificate)?];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(STANDARD.decode(key).ok()?));
    builder.with_client_auth_cert(chain, key).ok().map(finished)
}

fn finished(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session would outlive its certificate, and the hub gives no tickets.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Whether it was the hub that did not take our certificate.
pub(super) fn refuses_certificate(error: &std::io::Error) -> bool {
    use AlertDescription as A;
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<Error>());
    matches!(
        inner,
        Some(Error::AlertReceived(
            A::BadCertificate
                | A::UnsupportedCertificate
                | A::CertificateRevoked
                | A::CertificateExpired
                | A::CertificateUnknown
                | A::CertificateRequired
                | A::UnknownCA
                | A::AccessDenied
        ))
    )
}

fn der(pem: &str) -> Option<CertificateDer<'static>> {
    crate::run::pem::first(pem).map(CertificateDer::from)
}

/// Whether this PEM is one that a CA can be.
pub(crate) fn is_ca(pem: &str) -> bool {
    der(pem).is_some_and(|der| RootCertStore::empty().add(der).is_ok())
}

/// Whether a client certificate is by this CA, whatever the date.
pub(crate) fn is_of(certificate: &str, ca: &str) -> bool {
    let (Some(end), Some(ca)) = (der(certificate), der(ca)) else {
        return false;
    };
    let (Ok(end), Ok(ca)) = (
        webpki::EndEntityCert::try_from(&end),
        webpki::anchor_from_trusted_cert(&ca),
    ) else {
        return false;
    };
    let mut now = at(0);
    // At its own beginning it is valid.
    for _ in 0..2 {
        let usage = webpki::KeyUsage::client_auth();
        now = match end.verify_for_usage(ALGORITHMS.all, std::slice::from_ref(&ca), &[], now, usage, None, None) {
            Ok(_) => return true,
            Err(webpki::Error::CertNotValidYet { not_before, .. }) => not_before,
            Err(_) => return false,
        };
    }
    false
}

/// Takes any certificate: what is read so can be checked by itself.
#[derive(Debug)]
struct Blind;

impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".into()))
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &ALGORITHMS)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ALGORITHMS.supported_schemes()
    }
}

/// Chain and name by webpki; dates as the module says.
#[derive(Debug)]
struct Dated {
    inner: Arc<WebPkiServerVerifier>,
    floor: u64,
}

impl ServerCertVerifier for Dated {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut now = now;
        // Each certificate of the chain may move the date once.
        for _ in 0..=between.len() + 2 {
            let refused = match self.inner.verify_server_cert(end, between, name, ocsp, now) {
                Err(Error::InvalidCertificate(refused)) => refused,
                other => return other,
            };
            now = match refused {
                CertificateError::NotValidYetContext { not_before, .. } => not_before,
                CertificateError::ExpiredContext { not_after, .. } if not_after.as_secs() >= self.floor => not_after,
                other => return Err(other.into()),
            };
        }
        Err(CertificateError::Expired.into())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Blind.verify_tls12_signature(message, certificate, signature)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Blind.verify_tls13_signature(message, certificate, signature)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ALGORITHMS.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Of the year 2026 to 2046 and of the first quarter of 2027, for hub.example; nobody has their keys any more.
    const CA: &str = include_str!("fixtures/ca.pem");
    const HUB: &str = include_str!("fixtures/hub.pem");
    const FEBRUARY_2027: u64 = 1_801_440_000;
    const MAY_2027: u64 = 1_809_216_000;

    fn verify(name: &str, now: u64, floor: u64) -> Result<(), Error> {
        let mut roots = RootCertStore::empty();
        roots.add(der(CA).expect("PEM")).expect("a CA");
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        let dated = Dated {
            inner: inner.expect("a verifier"),
            floor,
        };
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let end = der(HUB).expect("PEM");
        dated.verify_server_cert(&end, &[], &name, &[], at(now)).map(drop)
    }

    #[test]
    fn a_clock_that_contradicts_the_hub_is_not_believed_and_the_time_floor_is() {
        assert_eq!(verify("hub.example", FEBRUARY_2027, 0), Ok(()));
        // A clock without a battery, and one that is far ahead.
        assert_eq!(verify("hub.example", 0, 0), Ok(()));
        assert_eq!(verify("hub.example", 4_102_444_800, FEBRUARY_2027), Ok(()));
        // What had ended when the hub told the time last has ended.
        assert!(verify("hub.example", MAY_2027, MAY_2027).is_err());
        assert!(verify("hub.example", 4_102_444_800, MAY_2027).is_err());
    }

    #[test]
    fn chain_and_name_have_to_be_right_whatever_the_clock_says() {
        for now in [0, FEBRUARY_2027, 4_102_444_800] {
            assert!(verify("other.example", now, 0).is_err(), "{now}");
            let forged = WebPkiServerVerifier::builder_with_provider(
                Arc::new({
                    let mut roots = RootCertStore::empty();
                    roots.add(der(HUB).expect("PEM")).expect("a root");
                    roots
                }),
                provider(),
            );
            let dated = Dated {
                inner: forged.build().expect("a verifier"),
                floor: 0,
            };
            let name = ServerName::try_from("hub.example").expect("a name");
            let ca = der(CA).expect("PEM");
            assert!(
                dated.verify_server_cert(&ca, &[], &name, &[], at(now)).is_err(),
                "{now}"
            );
        }
    }
}
