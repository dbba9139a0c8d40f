//! Key files, secret and public. Their files, modes and memory are jos-trust's; here is only their shape.

use std::fmt;

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::desired_state::SignatureAlg;
use super::kind;
use crate::ruled;
use crate::text::KeyIdText;

kind!(
    /// The constant `jos.key`.
    KeyKind, "jos.key"
);
kind!(
    /// The constant `jos.public_key`.
    PublicKeyKind, "jos.public_key"
);

/// A secret key. `Debug` does not show it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    /// Always `jos.key`.
    pub kind: KeyKind,
    /// A constant.
    pub alg: SignatureAlg,
    /// How signatures name it.
    pub key_id: KeyIdText,
    /// Its public half: 32 bytes in base64.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Key32>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Key32"))]
    pub public: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// A throwaway key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dev: bool,
    /// The seed of RFC 8032: 32 bytes in base64.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Key32>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Key32"))]
    pub secret: String,
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile")
            .field("key_id", &self.key_id)
            .field("secret", &"redacted")
            .finish_non_exhaustive()
    }
}

/// A public key as others hand it over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PublicKeyFile {
    /// Always `jos.public_key`.
    pub kind: PublicKeyKind,
    /// A constant.
    pub alg: SignatureAlg,
    /// How signatures name it.
    pub key_id: KeyIdText,
    /// 32 bytes in base64.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Key32>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Key32"))]
    pub public: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// A throwaway key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dev: bool,
}
