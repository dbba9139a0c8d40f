//! What a device answers when people at its hub ask: the end of its log, its ledger in short, why a path is as it is.
//!
//! These are a device's words, for people. Nothing is decided by them, and no content is in them.

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind;
use super::ledger::OutcomeKind;
use super::policy::Source;
use crate::ruled;
use crate::text::{AbsPath, KeyIdText, Name, Utc};

kind!(
    /// The constant `jos.answer`.
    AnswerKind, "jos.answer"
);

/// An answer to one question of the hub's: what was asked for, or why it is not told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Where an editor finds the JSON Schema; ignored by jos.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Always `jos.answer`.
    pub kind: AnswerKind,
    /// The agent's name.
    pub name: Name,
    /// When, by the device's reading.
    pub time: Utc,
    /// Why the device does not tell; then nothing else is told.
    #[serde(
        default,
        deserialize_with = "ruled::maybe::<_, ruled::Line>",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<ruled::Line>"))]
    pub refused: Option<String>,
    /// To `logs`: the last lines of the agent's log, the oldest first.
    #[serde(
        default,
        deserialize_with = "ruled::maybe_list::<_, ruled::Line>",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<Vec<ruled::Line>>"))]
    pub logs: Option<Vec<String>>,
    /// To `ledger`: its last records in short, the oldest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<Vec<BriefRecord>>,
    /// To `blame`: what the ledger knows of one path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blame: Option<Blame>,
}

/// A record of a ledger without its content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BriefRecord {
    /// Its position, from 0.
    #[serde(deserialize_with = "ruled::int::<_, _, 0, 9_007_199_254_740_991>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 9_007_199_254_740_991_u64)))]
    pub index: u64,
    /// When.
    pub time: Utc,
    /// What happened, as `decision` or `outcome`.
    #[serde(deserialize_with = "ruled::text::<_, ruled::DottedName>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::DottedName"))]
    pub kind: String,
    /// Who proposed it.
    pub source: Source,
    /// Version of the state, where it belongs to one.
    #[serde(default, deserialize_with = "ruled::maybe_int::<_, _, 0, 9_007_199_254_740_991>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 9_007_199_254_740_991_u64)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Of a decision: what kind, as `state.apply`.
    #[serde(
        default,
        deserialize_with = "ruled::maybe::<_, ruled::DottedName>",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<ruled::DottedName>"))]
    pub decision: Option<String>,
    /// Of a decision: the ids of the keys that had signed the state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<KeyIdText>,
    /// Of an outcome: the record of its decision.
    #[serde(default, deserialize_with = "ruled::maybe_int::<_, _, 0, 9_007_199_254_740_991>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 9_007_199_254_740_991_u64)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// Of an outcome: how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<OutcomeKind>,
    /// Of an outcome: how many changes it made.
    #[serde(default)]
    pub changed: u32,
}

/// Why a path is as it is, by the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Blame {
    /// The path.
    pub path: AbsPath,
    /// The decision that it stands by; absent where it is not managed, or no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands_by: Option<Deed>,
    /// What happened to it, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Deed>,
    /// The first record that the ledger still has.
    #[serde(default, deserialize_with = "ruled::int::<_, _, 0, 9_007_199_254_740_991>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 9_007_199_254_740_991_u64)))]
    pub since: u64,
}

/// Something that was done to a path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Deed {
    /// The record of the decision.
    #[serde(deserialize_with = "ruled::int::<_, _, 0, 9_007_199_254_740_991>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 9_007_199_254_740_991_u64)))]
    pub decision: u64,
    /// When.
    pub time: Utc,
    /// What, as `created`; absent for what stands.
    #[serde(
        default,
        deserialize_with = "ruled::maybe::<_, ruled::DottedName>",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<ruled::DottedName>"))]
    pub event: Option<String>,
    /// Who proposed it.
    pub source: Source,
    /// Version of the state.
    #[serde(default, deserialize_with = "ruled::maybe_int::<_, _, 0, 9_007_199_254_740_991>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 9_007_199_254_740_991_u64)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The ids of the keys that had signed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<KeyIdText>,
}
