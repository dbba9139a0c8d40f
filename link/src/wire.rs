//! The wire between agent and hub: HTTP/1.1 over TLS 1.3, JSON bodies. Owns the paths, the limits, the bodies of replies
//! and the codes of refusals. What devices send are documents (`jos_schemas::documents::hub`), read strictly.
//!
//! The migration rule: hubs are upgraded before devices. A hub reads what devices of the version before sent; a device
//! ignores members of a reply that it does not know, and asks only paths that have been there. A change that breaks this
//! gets paths under `/v2`, served beside `/v1` until the last device has moved.

use std::collections::BTreeMap;

use jos_schemas::documents::hub::Freshness;
use jos_schemas::text::{Name, Sha256Hex, Utc};
use serde::{Deserialize, Serialize};

/// Where things are.
pub mod path {
    /// `GET`, no certificate: the hub's CAs as PEM, the one that it uses first. Believed is the one whose fingerprint is the
    /// token's.
    pub const CA: &str = "/v1/ca";
    /// `POST`, no certificate: an enrolment; the reply is [`super::Enrolled`].
    pub const ENROL: &str = "/v1/enrol";
    /// `GET ?device=ID`, no certificate: a [`super::Challenge`].
    pub const CHALLENGE: &str = "/v1/challenge";
    /// `POST`, no certificate: a renewal signed by the `ledger` key; the reply is [`super::Certificate`].
    pub const RECOVER: &str = "/v1/recover";
    /// `POST`: a [`super::RenewRequest`]; the reply is [`super::Certificate`].
    pub const RENEW: &str = "/v1/renew";
    /// `POST`: a heartbeat; the reply is [`super::HeartbeatReply`].
    pub const HEARTBEAT: &str = "/v1/heartbeat";
    /// `POST`: a report; 204 once it is on disk.
    pub const REPORT: &str = "/v1/report";
    /// `POST /ID`: a `jos.answer` to the question of that id; 204 once it is on disk, 404 where that is not open.
    pub const ANSWER: &str = "/v1/answer";
    /// `GET /NAME ?wait=SECONDS`, `If-None-Match`: the desired state, 304 where nothing changed, 204 where there is none.
    pub const STATE: &str = "/v1/state";
    /// `GET /VERSION`: one version of the trust document, 404 where there is none.
    pub const TRUST: &str = "/v1/trust";
    /// `GET`: the newest `jos.hub_ca` of the device's tenant, as its admins signed it; 404 where there is none.
    pub const HUB_CA: &str = "/v1/hub-ca";
    /// `GET /NAME ?nonce=N`: the device floor, signed.
    pub const FLOOR: &str = "/v1/floor";
    /// `GET /SHA256`, `Range`: a blob that a state of the tenant names.
    pub const BLOB: &str = "/v1/blob";
}

/// Seconds that a `GET` of a state may wait, at most.
pub const LONGEST_WAIT: u32 = 300;
/// Bytes of an enrolment, a renewal, a report or an answer, at most.
pub const MAX_SMALL: usize = 64 << 10;
/// Bytes of a heartbeat, at most.
pub const MAX_HEARTBEAT: usize = 128 << 10;
/// Questions that are open for a device, at most; it looks at no more.
pub const MAX_QUESTIONS: usize = 8;
/// Samples in the figures of one heartbeat, at most.
pub const MAX_SAMPLES: usize = 256;
/// Header of a state's reply: its version.
pub const VERSION_HEADER: &str = "jos-version";

/// What a device that was enrolled keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
pub struct Enrolled {
    /// Its id from now on; the hub chose it.
    pub device: String,
    /// Its tenant from now on.
    pub tenant: Name,
    /// Its labels, as the hub holds them.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The certificate of its TLS key.
    pub certificate: Certificate,
    /// Newest version of the trust document, where the tenant has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<u64>,
}

/// A certificate for a device's TLS key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
pub struct Certificate {
    /// PEM, the certificate alone.
    pub certificate: String,
    /// PEM of the CA that signed it, which signs the hub's own too.
    pub ca: String,
    /// When it ends, by the hub's clock.
    pub not_after: Utc,
    /// From when on it is worth renewing.
    pub renew_after: Utc,
}

/// Asks for the next certificate; the TLS peer says for whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// Certificate request (PKCS #10, PEM) for the key that the connection speaks with. Its subject is ignored.
    pub tls: String,
}

/// What a device signs to show that it is there now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
pub struct Challenge {
    /// Repeated in the renewal; good for some minutes.
    pub challenge: String,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
pub struct HeartbeatReply {
    /// What the hub offers now, signed, and its time.
    pub freshness: Freshness,
    /// Newest version of the trust document, where the tenant has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<u64>,
    /// The number of the CA that the newest `jos.hub_ca` of the tenant names, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub_ca: Option<u64>,
    /// Why the newest state that is meant for this device is not offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// The certificate is worth renewing.
    #[serde(default)]
    pub renew: bool,
    /// This hub takes telemetry of before, `figures` of a heartbeat: [`MAX_SAMPLES`] in each at most.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub figures: bool,
    /// What people at the hub want to know of this agent: [`MAX_QUESTIONS`] at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<Question>,
}

/// What people at the hub want to know of an agent. The device decides whether it tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
pub struct Question {
    /// Its id: letters, digits and `-`.
    pub id: String,
    /// One of [`about`]; a device refuses one that it does not know.
    pub about: String,
    /// How many lines or records, where it is about such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<u32>,
    /// Which path, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

impl Question {
    /// Whether its id can stand in a path as it is.
    pub fn is_sound(&self) -> bool {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        (1..=64).contains(&self.id.len()) && self.id.bytes().all(plain)
    }
}

/// What a question may be about.
pub mod about {
    /// The end of the agent's log.
    pub const LOGS: &str = "logs";
    /// The last records of its ledger, in short.
    pub const LEDGER: &str = "ledger";
    /// Why a path is as it is.
    pub const BLAME: &str = "blame";
}

/// A state that is held back from one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Held {
    /// The agent lacks features that the state requires.
    Features {
        /// The state's version.
        version: u64,
        /// What is lacking.
        missing: Vec<Name>,
    },
    /// Several states match the device; which one is meant cannot be told.
    Ambiguous {
        /// Their versions.
        versions: Vec<u64>,
    },
    /// The state's time is over.
    Expired {
        /// The state's version.
        version: u64,
        /// Since when.
        expires: Utc,
    },
}

/// The body of every refusal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
pub struct Problem {
    /// A stable name; [`code`] lists what devices meet.
    pub code: String,
    /// What was found and what was expected.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// More for scripts.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub details: serde_json::Value,
}

/// The codes of refusals that a device acts on.
pub mod code {
    /// 401: this path takes a client certificate, and there is none.
    pub const NO_CERTIFICATE: &str = "no-certificate";
    /// 403: the certificate's key belongs to no device.
    pub const UNKNOWN_DEVICE: &str = "unknown-device";
    /// 403: the device waits for a person to look at it.
    pub const QUARANTINED: &str = "quarantined";
    /// 403: the device was put out for good.
    pub const REVOKED: &str = "revoked";
    /// 403: the token is unknown, used up, expired or revoked; which one, the hub's own log says.
    pub const BAD_TOKEN: &str = "bad-token";
    /// 403: the renewal's signature, challenge or key is not right.
    pub const BAD_RENEWAL: &str = "bad-renewal";
    /// 409: a device with one of these keys is enrolled already.
    pub const KNOWN_KEY: &str = "known-key";
    /// 400: the body is not the document, or not JSON.
    pub const MALFORMED: &str = "malformed";
    /// 413: longer than this path takes.
    pub const TOO_LONG: &str = "too-long";
    /// 429 with `Retry-After`: too often.
    pub const TOO_OFTEN: &str = "too-often";
    /// 503 with `Retry-After`: not now.
    pub const BUSY: &str = "busy";
    /// 404: no such thing for this device.
    pub const NOT_FOUND: &str = "not-found";
}

/// The entity tag of a state's bytes: their SHA-256, quoted.
pub fn etag(bytes_sha256: &Sha256Hex) -> String {
    format!("\"{bytes_sha256}\"")
}
