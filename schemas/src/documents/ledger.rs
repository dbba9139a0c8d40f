//! Proposal, decision, and the records of the ledger.

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::policy::Source;
use crate::ruled;
use crate::text::{Name, Sha256Hex, Utc};

/// What anybody may hand to the plane: inert, and without a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// Its own id, unique for its source.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Id>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Id"))]
    pub id: String,
    /// What kind of decision is proposed, as `state.apply` or `flow.step`.
    #[serde(deserialize_with = "ruled::text::<_, ruled::DottedName>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::DottedName"))]
    pub kind: String,
    /// Its content.
    pub payload: Value,
}

impl Proposal {
    /// Whether a text can be the kind of a proposal.
    pub fn is_kind(text: &str) -> bool {
        use ruled::Rule as _;
        text.len() <= ruled::DottedName::MAX && ruled::DottedName::holds(text)
    }
}

/// A proposal that the plane took up: with a source, set by the plane from the authenticated origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// The proposal's id.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Id>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Id"))]
    pub id: String,
    /// Who proposed it.
    pub source: Source,
    /// What kind.
    #[serde(deserialize_with = "ruled::text::<_, ruled::DottedName>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::DottedName"))]
    pub kind: String,
    /// Its content; large content by blob hash.
    pub payload: Value,
}

/// One line of a ledger. Hashed over its canonical bytes (RFC 8785) without `hash`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Position, from 0.
    pub index: u64,
    /// Hash of the record before; 64 zeros for the first.
    pub prev: Sha256Hex,
    /// The plane's reading of now.
    pub time: Utc,
    /// Who proposed it.
    pub source: Source,
    /// The state name it belongs to.
    pub name: Name,
    /// Version of the state, where it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// A record elsewhere, or an earlier one here, that led to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What happened, as `decision`, `outcome`, `refused`, `broken`, `checkpoint`.
    pub kind: String,
    /// Content.
    pub payload: Value,
}

/// How an apply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// Changed and healthy.
    Applied,
    /// Already so.
    Unchanged,
    /// Applied, then taken back: the health check or a step failed.
    RolledBack,
    /// Refused by trust, policy or schema; nothing was touched.
    Refused,
    /// Needs a feature that this agent lacks; nothing was touched.
    Unsupported,
    /// Taken back only in part; says what is left.
    Broken,
    /// Drift was found and reported only.
    Drifted,
    /// The hub that has to confirm did not answer, under the old state neither: taken back or not begun, tried again.
    Unconfirmed,
}
