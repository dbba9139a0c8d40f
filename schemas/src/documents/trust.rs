//! The trust document: which keys may do what. Versioned, itself signed; named and shaped after the TUF root role.

use std::collections::BTreeMap;

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::desired_state::{Signature, SignatureAlg};
use crate::ruled;
use crate::text::{KeyIdText, Name, Utc};

/// The `kind` of a trust document.
pub const KIND: &str = "jos.trust";

/// One version of the trust root.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// Where an editor finds the JSON Schema; ignored by jos.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Always `jos.trust`.
    pub kind: TrustKind,
    /// Rises by exactly one with each change.
    #[serde(deserialize_with = "ruled::int::<_, _, 1, 9_007_199_254_740_991>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 9_007_199_254_740_991_u64)))]
    pub version: u64,
    /// The tenant whose devices take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Name>,
    /// Only the last version's expiry counts; gates adoption only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Utc>,
    /// Public keys by id.
    pub keys: BTreeMap<KeyIdText, TrustedKey>,
    /// Which keys hold which role, and how many of them must sign.
    #[cfg_attr(feature = "json-schema", schemars(extend("propertyNames" = { "enum": ["root", "admin", "freshness"] })))]
    pub roles: BTreeMap<Role, RoleKeys>,
    /// Version floors by state name, set exactly (even downwards) when this document is adopted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub floors: BTreeMap<Name, u64>,
    /// One signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// Several signatures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<Signature>,
}

/// The constant `jos.trust`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
pub enum TrustKind {
    /// The only value.
    #[default]
    #[serde(rename = "jos.trust")]
    Trust,
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TrustedKey {
    /// A constant.
    pub alg: SignatureAlg,
    /// 32 bytes in standard base64 with padding.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Key32>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Key32"))]
    pub public: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// A throwaway key of `jos-image build --dev-key`; never trusted by a release build's review.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dev: bool,
}

/// What a key may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Trust documents.
    Root,
    /// Desired states.
    Admin,
    /// Freshness statements.
    Freshness,
}

/// The keys of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RoleKeys {
    /// Key ids.
    pub keys: Vec<KeyIdText>,
    /// How many different keys must sign; 1 to the number of keys.
    #[serde(deserialize_with = "ruled::int::<_, _, 1, 64>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 64)))]
    pub threshold: u32,
}
