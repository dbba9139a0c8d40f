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
    /// The agent.
    pub name: Name,
    /// The last record that it stands for: the one before it.
    pub head: LedgerHead,
    /// When.
    pub time: Utc,
    /// The states in force.
    #[serde(default, skip_serializing_if = "Streams::is_empty")]
    pub streams: Streams,
    /// The counters of this agent, as they were outside the ledger.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub floors: Vec<FloorAt>,
    /// Version of the trust root in force, where there is one.
    #[serde(
        default,
        deserialize_with = "ruled::maybe_int::<_, _, 1, 9_007_199_254_740_991>",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 9_007_199_254_740_991_u64)))]
    pub trust: Option<u64>,
    /// The blob of what the gate judged by last: policy, protected paths, own services, features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Sha256Hex>,
    /// Every managed path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paths: BTreeMap<AbsPath, ManagedPath>,
    /// Paths that other agents of this device own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub owners: BTreeMap<AbsPath, Name>,
    /// Ids of the latest steps of flows; bounded.
    #[serde(
        default,
        deserialize_with = "ruled::list::<_, ruled::Id>",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[cfg_attr(feature = "json-schema", schemars(with = "Vec<ruled::Id>"))]
    pub recent_flows: Vec<String>,
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
    /// By the device's `ledger` key; absent where there was none, and said so by `jos ledger verify`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// The states in force; the later overlays the earlier.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Streams {
    /// What the profile baked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<HeldState>,
    /// What the hub or this machine gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<HeldState>,
}

impl Streams {
    /// Whether nothing is in force.
    pub fn is_empty(&self) -> bool {
        self.baseline.is_none() && self.state.is_none()
    }
}

/// A state in force, and where its document is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HeldState {
    /// Its version.
    #[serde(deserialize_with = "ruled::int::<_, _, 1, 9_007_199_254_740_991>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 9_007_199_254_740_991_u64)))]
    pub version: u64,
    /// SHA-256 of its canonical bytes without signatures.
    pub content: Sha256Hex,
    /// Who proposed it.
    pub source: Source,
    /// When it came into force.
    pub since: Utc,
    /// Index of the decision that brought it.
    #[serde(
        default,
        deserialize_with = "ruled::maybe_int::<_, _, 0, 9_007_199_254_740_991>",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 9_007_199_254_740_991_u64)))]
    pub decision: Option<u64>,
    /// Who signed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<KeyIdText>,
    /// Services, commands and health wait for the first boot.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
    /// The blob that holds it with its signatures; absent where it was kept by hash alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<Sha256Hex>,
}

/// One counter of the floors, as it was outside the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FloorAt {
    /// The tenant, where one is pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Name>,
    /// Which stream.
    pub stream: StreamName,
    /// The highest version that was tried, or what a trust document set.
    #[serde(deserialize_with = "ruled::int::<_, _, 0, 9_007_199_254_740_991>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 9_007_199_254_740_991_u64)))]
    pub version: u64,
    /// The version in force.
    #[serde(
        default,
        deserialize_with = "ruled::maybe_int::<_, _, 1, 9_007_199_254_740_991>",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 9_007_199_254_740_991_u64)))]
    pub in_force: Option<u64>,
    /// Versions that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<u64>,
}

/// Which of the two streams of states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum StreamName {
    /// What the profile baked.
    Baseline,
    /// What the hub or this machine gave.
    State,
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
    /// Bytes of a file's content.
    #[serde(
        default,
        deserialize_with = "ruled::maybe_int::<_, _, 0, 9_007_199_254_740_991>",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 9_007_199_254_740_991_u64)))]
    pub size: Option<u64>,
    /// The blob with a file's content, where it is not in the document of the state in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<Sha256Hex>,
    /// The device-keyed MAC of a content that holds a secret, in place of its hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Sha256Hex>,
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
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Utc>,
    /// Who signed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<KeyIdText>,
    /// The version of the state that holds it.
    #[serde(
        default,
        deserialize_with = "ruled::maybe_int::<_, _, 1, 9_007_199_254_740_991>",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 9_007_199_254_740_991_u64)))]
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
