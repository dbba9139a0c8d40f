//! The signature that stands in a document, beside what it is over.

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ruled;
use crate::text::KeyIdText;

/// A detached ed25519 signature over the canonical bytes of the document without its signatures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// A constant, not a choice.
    pub alg: SignatureAlg,
    /// A hint to find the key.
    pub key_id: KeyIdText,
    /// 64 bytes in standard base64 with padding (RFC 4648 §4).
    #[serde(deserialize_with = "ruled::text::<_, ruled::SignatureText>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::SignatureText"))]
    pub sig: String,
}

/// The only signature algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
pub enum SignatureAlg {
    /// RFC 8032, verified strictly.
    #[serde(rename = "ed25519")]
    Ed25519,
}

impl Signature {
    /// The document's `"signature"`/`"signatures"` members are left out of the signed bytes.
    pub const MEMBERS: [&'static str; 2] = ["signature", "signatures"];
}
