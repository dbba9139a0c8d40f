//! The hub's own certificate authority: it signs device keys and the hub's server key, and nothing else.
//!
//! A certificate says only "this key was let in, until then". Who a device is follows from its key, in the registry: the
//! subject of a request, and whatever else a device writes into it, is dropped.
//!
//! A CA that follows another one has a second certificate, by the one before: who knows that one alone still accepts the
//! hub. [`crate::authorities`] keeps them in order.

use jos_trust::{Digest, sha256};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::random;

/// Days of a device's certificate.
pub const DEVICE_DAYS: i64 = 14;
/// Days of the hub's own certificate.
const SERVER_DAYS: i64 = 90;
/// Days of the CA's certificate: devices know it by its fingerprint.
const CA_DAYS: i64 = 20 * 365;
/// A device whose clock is behind by less takes a new certificate all the same.
pub const BACKDATED: i64 = 3600;
const DAY: i64 = 86_400;

/// The authority could not do it.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A key or a certificate of the hub's own is not one.
    #[error("{what}: {reason}")]
    Own {
        /// Which one.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// A device's request is not one.
    #[error("the certificate request is not taken: {0}")]
    Request(String),
}

/// A key with its certificate, as PEM.
#[derive(Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: Zeroizing<String>,
}

/// A certificate for a device.
#[derive(Clone, Debug)]
pub struct Issued {
    /// PEM.
    pub certificate: String,
    /// SHA-256 of the public key (SubjectPublicKeyInfo, DER).
    pub key: Digest,
    /// Serial number, in hex.
    pub serial: String,
    /// When it ends, in seconds since 1970.
    pub not_after: i64,
    /// From when on it is worth renewing.
    pub renew_after: i64,
    /// The number of the CA that signed it.
    pub issuer: u64,
}

/// Who is at the other end of a connection, by the certificate that TLS has verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// SHA-256 of the public key (SubjectPublicKeyInfo, DER).
    pub key: Digest,
    /// Serial number, in hex.
    pub serial: String,
    /// SHA-256 of the name of the CA that signed it (DER).
    pub issuer: Digest,
}

/// The authority.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    fingerprint: Digest,
    number: u64,
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ca({})", self.fingerprint)
    }
}

fn own(what: &'static str) -> impl Fn(rcgen::Error) -> CaError {
    move |error| CaError::Own {
        what,
        reason: error.to_string(),
    }
}

/// Makes a new authority.
pub fn make(now: i64) -> Result<Pair, CaError> {
    let key = KeyPair::generate().map_err(own("the CA's key"))?;
    let certificate = params_of_ca(now, now + CA_DAYS * DAY)
        .self_signed(&key)
        .map_err(own("the CA's certificate"))?;
    Ok(pair(&certificate, &key))
}

/// Makes one that follows `before`: the same name and key in a second certificate, by `before`, PEM.
pub fn make_after(before: &Ca, now: i64) -> Result<(Pair, String), CaError> {
    let key = KeyPair::generate().map_err(own("the CA's key"))?;
    let mut params = params_of_ca(now, now + CA_DAYS * DAY);
    let certificate = params.self_signed(&key).map_err(own("the CA's certificate"))?;
    // Not longer than who vouches.
    let ends = not_after(&before.certificate).unwrap_or(now);
    params.serial_number = Some(serial().0);
    within(&mut params, now - BACKDATED, ends.min(now + CA_DAYS * DAY));
    let vouched = params
        .signed_by(&key, &before.issuer)
        .map_err(own("the CA's certificate by the one before"))?;
    Ok((pair(&certificate, &key), vouched.pem()))
}

/// No limit on what may stand below: a CA vouches for the one that follows it, and certificates for devices are none of CAs.
fn params_of_ca(from: i64, until: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    // Its own name, so that authorities are told apart where a person lists certificates, and where a device's is renewed.
    params.distinguished_name = named(&format!("jos hub CA {}", *random::hex(4)));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(serial().0);
    within(&mut params, from, until);
    params
}

fn pair(certificate: &rcgen::Certificate, key: &KeyPair) -> Pair {
    Pair {
        certificate: certificate.pem(),
        key: Zeroizing::new(key.serialize_pem()),
    }
}

impl Ca {
    /// The authority of these two PEM files, the hub's so-manieth.
    pub fn open(certificate: &str, key: &str, number: u64) -> Result<Self, CaError> {
        let key = KeyPair::from_pem(key).map_err(own("ca.key"))?;
        let issuer = Issuer::from_ca_cert_pem(certificate, key).map_err(own("ca.pem"))?;
        let fingerprint = fingerprint(certificate).ok_or_else(|| CaError::Own {
            what: "ca.pem",
            reason: "no PEM certificate in it".to_owned(),
        })?;
        Ok(Self {
            issuer,
            certificate: certificate.to_owned(),
            fingerprint,
            number,
        })
    }

    /// The hub's first one is 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its certificate as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// SHA-256 of its certificate's DER: what tokens pin.
    pub fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    /// A new server key with its certificate for these host names and addresses.
    pub fn server(&self, names: &[String], now: i64) -> Result<Pair, CaError> {
        let mut params = CertificateParams::new(names.to_vec()).map_err(own("the server's names"))?;
        params.distinguished_name = named("jos hub");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.serial_number = Some(serial().0);
        within(&mut params, now - BACKDATED, now + SERVER_DAYS * DAY);
        let key = KeyPair::generate().map_err(own("the server's key"))?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(own("the server's certificate"))?;
        Ok(pair(&certificate, &key))
    }

    /// A certificate for the key of `request`, for the device `id`. Of the request nothing but the key is taken.
    pub fn device(&self, request: CertificateSigningRequestParams, id: &str, now: i64) -> Result<Issued, CaError> {
        let (number, serial) = serial();
        let not_after = now + DEVICE_DAYS * DAY;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(id);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(number);
        within(&mut params, now - BACKDATED, not_after);
        let key = sha256(&request.public_key.subject_public_key_info());
        let request = CertificateSigningRequestParams {
            params,
            public_key: request.public_key,
        };
        let certificate = request
            .signed_by(&self.issuer)
            .map_err(|error| CaError::Request(error.to_string()))?;
        Ok(Issued {
            certificate: certificate.pem(),
            key,
            serial,
            not_after,
            renew_after: now + DEVICE_DAYS * DAY * 2 / 3,
            issuer: self.number,
        })
    }
}

/// Reads a request, whose signature must be by the key in it; gives the hash of that key.
pub fn read_request(pem: &str) -> Result<(CertificateSigningRequestParams, Digest), CaError> {
    let request =
        CertificateSigningRequestParams::from_pem(pem).map_err(|error| CaError::Request(error.to_string()))?;
    let key = sha256(&request.public_key.subject_public_key_info());
    Ok((request, key))
}

/// Who a verified certificate belongs to; `None` where it is not X.509, which TLS does not let happen.
pub fn peer(certificate: &CertificateDer<'_>) -> Option<Peer> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(Peer {
        key: sha256(parsed.tbs_certificate.subject_pki.raw),
        serial: parsed
            .tbs_certificate
            .raw_serial()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect(),
        issuer: sha256(parsed.tbs_certificate.issuer.as_raw()),
    })
}

/// SHA-256 of the name that a CA's certificate gives it (DER), as [`Peer::issuer`] has it.
pub fn subject(pem: &str) -> Option<Digest> {
    let der = der(pem)?;
    let (_, parsed) = X509Certificate::from_der(&der).ok()?;
    Some(sha256(parsed.tbs_certificate.subject.as_raw()))
}

/// SHA-256 of the name of the CA that signed the certificate of this PEM, and when that is valid from.
pub fn issued(pem: &str) -> Option<(Digest, i64)> {
    let der = der(pem)?;
    let (_, parsed) = X509Certificate::from_der(&der).ok()?;
    let of = &parsed.tbs_certificate;
    Some((sha256(of.issuer.as_raw()), of.validity.not_before.timestamp()))
}

/// When the certificate of this PEM ends, in seconds since 1970.
pub fn not_after(pem: &str) -> Option<i64> {
    let der = der(pem)?;
    let (_, parsed) = X509Certificate::from_der(&der).ok()?;
    Some(parsed.tbs_certificate.validity.not_after.timestamp())
}

/// SHA-256 of the DER of the first certificate in a PEM.
pub fn fingerprint(pem: &str) -> Option<Digest> {
    der(pem).map(|der| sha256(&der))
}

/// The certificate with this fingerprint among those of a PEM, as a PEM of its own.
pub fn of_fingerprint(pem: &str, wanted: Digest) -> Option<String> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    let starts = pem.match_indices(BEGIN).map(|(at, _)| at);
    starts
        .map(|at| {
            let end = pem[at + BEGIN.len()..].find(BEGIN);
            &pem[at..end.map_or(pem.len(), |end| at + BEGIN.len() + end)]
        })
        .find(|one| fingerprint(one) == Some(wanted))
        .map(str::to_owned)
}

/// The first certificate in a PEM.
pub fn der(pem: &str) -> Option<CertificateDer<'static>> {
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(pem.as_bytes()).ok()
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn within(params: &mut CertificateParams, from: i64, until: i64) {
    let date = |seconds: i64| {
        let text = jos_schemas::text::Utc::from_unix(seconds);
        let part = |at: std::ops::Range<usize>| text.as_str()[at].parse::<u16>().unwrap_or_default();
        let start = rcgen::date_time_ymd(i32::from(part(0..4)), part(5..7) as u8, part(8..10) as u8);
        start + std::time::Duration::from_secs(u64::try_from(seconds.rem_euclid(DAY)).unwrap_or_default())
    };
    params.not_before = date(from);
    params.not_after = date(until);
}

/// 16 random bytes, positive (RFC 5280 §4.1.2.2); and the same in hex.
fn serial() -> (SerialNumber, String) {
    let mut bytes = [0; 16];
    random::fill(&mut bytes);
    bytes[0] = bytes[0] & 0x7f | 0x40;
    let text = bytes.iter().map(|b| format!("{b:02x}")).collect();
    (SerialNumber::from_slice(&bytes), text)
}
