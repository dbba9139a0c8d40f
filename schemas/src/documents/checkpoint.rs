//! The checkpoint of a ledger: a full genesis, signed by the device's `ledger` key. Replay and blame start at the oldest
//! one kept.

use std::collections::BTreeMap;

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::desired_state::Signature;
use super::hub::LedgerHead;
use super::kind;
use super::policy::Source;
use crate::ruled;
use crate::text::{AbsPath, KeyIdText, Mode, Name, Owner, Sha256Hex, Utc};

kind!(
    /// The constant `jos.checkpoint`.
    CheckpointKind, "jos.checkpoint"
);

/// Everything that a ledger stands for at one point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Where an editor finds the JSON Schema; ignored by jos.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Always `jos.checkpoint`.
    pub kind: CheckpointKind,
    /// The last record that it stands for.
    pub head: LedgerHead,
    /// When.
    pub time: Utc,
    /// Versions in force by name, as last confirmed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub versions: BTreeMap<Name, u64>,
    /// Version floors by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub floors: BTreeMap<Name, u64>,
    /// Version of the trust root in force.
    #[serde(deserialize_with = "ruled::int::<_, _, 1, 9_007_199_254_740_991>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 9_007_199_254_740_991_u64)))]
    pub trust: u64,
    /// Every managed path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paths: BTreeMap<AbsPath, ManagedPath>,
    /// Ids of jobs not yet done.
    #[serde(
        default,
        deserialize_with = "ruled::list::<_, ruled::Id>",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[cfg_attr(feature = "json-schema", schemars(with = "Vec<ruled::Id>"))]
    pub open_jobs: Vec<String>,
    /// Ids of the latest jobs, so that none is taken twice; bounded.
    #[serde(
        default,
        deserialize_with = "ruled::list::<_, ruled::Id>",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[cfg_attr(feature = "json-schema", schemars(with = "Vec<ruled::Id>"))]
    pub recent_jobs: Vec<String>,
    /// Last firing of each schedule.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schedules: BTreeMap<Name, Utc>,
    /// By the device's `ledger` key; absent where there is none yet, and said so by `verify`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// A managed path as it should be, and who put it there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ManagedPath {
    /// File, directory or link.
    #[serde(rename = "type")]
    pub kind: PathKind,
    /// Permission bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Extended attributes, by hash of the value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, Sha256Hex>,
    /// Hash of a file's content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256Hex>,
    /// What a link holds.
    #[serde(
        default,
        deserialize_with = "ruled::maybe::<_, ruled::LinkTarget>",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<ruled::LinkTarget>"))]
    pub target: Option<String>,
    /// Index of the decision that last changed it.
    #[serde(deserialize_with = "ruled::int::<_, _, 0, 9_007_199_254_740_991>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 9_007_199_254_740_991_u64)))]
    pub decision: u64,
    /// Who proposed it.
    pub source: Source,
    /// Who signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<KeyIdText>,
    /// The state and version that hold it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// What stands at a managed path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PathKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// Nothing, on purpose.
    Absent,
}
