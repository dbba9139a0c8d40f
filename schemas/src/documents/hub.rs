//! What agent and hub say to each other: freshness, floor, enrolment, renewal, heartbeat, report; and what an admin says to
//! devices about their hub's CA.

use std::collections::BTreeMap;

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::desired_state::Signature;
use super::kind;
use super::ledger::OutcomeKind;
use crate::ruled;
use crate::text::{Name, Sha256Hex, Utc};

kind!(
    /// The constant `jos.freshness`.
    FreshnessKind, "jos.freshness"
);
kind!(
    /// The constant `jos.floor`.
    FloorKind, "jos.floor"
);
kind!(
    /// The constant `jos.hub_ca`.
    HubCaKind, "jos.hub_ca"
);
kind!(
    /// The constant `jos.enrolment`.
    EnrolmentKind, "jos.enrolment"
);
kind!(
    /// The constant `jos.renewal`.
    RenewalKind, "jos.renewal"
);
kind!(
    /// The constant `jos.heartbeat`.
    HeartbeatKind, "jos.heartbeat"
);
kind!(
    /// The constant `jos.report`.
    ReportKind, "jos.report"
);

/// What the hub says, signed for one device, about what it offers now. It raises an alarm and gives time; it never sets a
/// version floor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Freshness {
    /// Where an editor finds the JSON Schema; ignored by jos.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Always `jos.freshness`.
    pub kind: FreshnessKind,
    /// The tenant.
    pub tenant: Name,
    /// The device that it is for.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Id>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Id"))]
    pub device: String,
    /// The agent that it is for.
    pub name: Name,
    /// The version of the desired state that the hub offers this device now; 0 when it offers none.
    #[serde(deserialize_with = "ruled::int::<_, _, 0, 9_007_199_254_740_991>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 9_007_199_254_740_991_u64)))]
    pub offered: u64,
    /// The hub's clock.
    pub time: Utc,
    /// Repeats what the device chose, so that an old statement is no answer.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Id>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Id"))]
    pub nonce: String,
    /// By a key of the role `freshness`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// What the hub remembers of one device, signed for it: the highest version that the device said it had tried. Asked for
/// before a device's first state, and where it has lost its own floors; it raises what the device knows, and never lowers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DeviceFloor {
    /// Where an editor finds the JSON Schema; ignored by jos.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Always `jos.floor`.
    pub kind: FloorKind,
    /// The tenant.
    pub tenant: Name,
    /// The device that it is for.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Id>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Id"))]
    pub device: String,
    /// The agent that it is for.
    pub name: Name,
    /// The version; 0 where the device never said one.
    #[serde(deserialize_with = "ruled::int::<_, _, 0, 9_007_199_254_740_991>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 9_007_199_254_740_991_u64)))]
    pub floor: u64,
    /// The hub's clock.
    pub time: Utc,
    /// Repeats what the device chose, so that an old statement is no answer.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Id>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Id"))]
    pub nonce: String,
    /// By a key of the role `freshness`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// What the admins of a tenant say to its devices: this is the CA that your hub goes over to. A device believes it beside
/// the one that it knows, and alone once the new one has signed the device's own certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HubCa {
    /// Where an editor finds the JSON Schema; ignored by jos.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Always `jos.hub_ca`.
    pub kind: HubCaKind,
    /// The tenant whose devices take it.
    pub tenant: Name,
    /// The number of the CA; the hub's first one is 1. A device never goes back to a lower one.
    #[serde(deserialize_with = "ruled::int::<_, _, 2, 9_007_199_254_740_991>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 2, max = 9_007_199_254_740_991_u64)))]
    pub version: u64,
    /// Its certificate (PEM).
    pub ca: String,
    /// By one key of the role `admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// By several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<Signature>,
}

/// A device's request to be known: once, with a token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// Where an editor finds the JSON Schema; ignored by jos.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Always `jos.enrolment`.
    pub kind: EnrolmentKind,
    /// The enrolment token, taken once.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Id>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Id"))]
    pub token: String,
    /// The agent's name.
    pub name: Name,
    /// The keys that are bound to the device.
    pub keys: DeviceKeys,
    /// What the device says about itself. Shown to people, never taken for identity.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
}

/// The request of a device whose certificate ended while it was away: its `ledger` key speaks for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Renewal {
    /// Where an editor finds the JSON Schema; ignored by jos.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Always `jos.renewal`.
    pub kind: RenewalKind,
    /// The device.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Id>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Id"))]
    pub device: String,
    /// Certificate request (PKCS #10, PEM) for the network half's key, the old one or a new one. Its subject is ignored.
    pub tls: String,
    /// Repeats what the hub chose, so that an old request is none.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Id>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Id"))]
    pub challenge: String,
    /// By the device's `ledger` key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// The keys of a device, both bound at enrolment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DeviceKeys {
    /// Certificate request (PKCS #10, PEM) for the network half's key. Its subject is ignored.
    pub tls: String,
    /// The root half's ed25519 key, which signs ledger checkpoints.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Key32>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Key32"))]
    pub ledger: String,
    /// The X25519 key that secrets are sealed to.
    #[serde(
        default,
        deserialize_with = "ruled::maybe::<_, ruled::Key32>",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<ruled::Key32>"))]
    pub encryption: Option<String>,
}

/// Where a ledger stands; the hub anchors it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LedgerHead {
    /// Index of the last record.
    #[serde(deserialize_with = "ruled::int::<_, _, 0, 9_007_199_254_740_991>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 9_007_199_254_740_991_u64)))]
    pub index: u64,
    /// Its hash.
    pub hash: Sha256Hex,
}

/// What a device says each time it calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Where an editor finds the JSON Schema; ignored by jos.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Always `jos.heartbeat`.
    pub kind: HeartbeatKind,
    /// The agent's name.
    pub name: Name,
    /// Version of the agent program.
    #[serde(deserialize_with = "ruled::text::<_, ruled::SemVer>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::SemVer"))]
    pub agent: String,
    /// Chosen at random when the agent starts. Two copies of one device show by it: each calls on after the other began.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Id>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Id"))]
    pub session: String,
    /// What this agent can do; a state whose `meta.requires` names more is not offered to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Name>,
    /// Version of the state in force; absent before the first.
    #[serde(default, deserialize_with = "ruled::maybe_int::<_, _, 1, 9_007_199_254_740_991>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 9_007_199_254_740_991_u64)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// How the last apply ended; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<OutcomeKind>,
    /// Where the ledger stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<LedgerHead>,
    /// Chosen by the device for the freshness statement that answers.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Id>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Id"))]
    pub nonce: String,
    /// The number of the hub's CA that the device has taken by its admins' word. Said to hubs that speak of one.
    #[serde(default, deserialize_with = "ruled::maybe_int::<_, _, 2, 9_007_199_254_740_991>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 2, max = 9_007_199_254_740_991_u64)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hub_ca: Option<u64>,
    /// The figures that policy lets out, as they are now; `alarm` where a person should look at this device.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub telemetry: BTreeMap<Name, Value>,
    /// Those of before that no hub has acknowledged; the hub's history has these then, and not `telemetry`. Said to hubs
    /// that take them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<Figures>,
}

/// Telemetry that a device kept until a hub takes it. A hub takes a batch once, however often it comes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// Chosen at random for this batch, which is the same whenever it is sent.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Id>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Id"))]
    pub batch: String,
    /// How many the device has had to give up for want of room, ever.
    #[serde(default, deserialize_with = "ruled::int::<_, _, 0, 9_007_199_254_740_991>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 9_007_199_254_740_991_u64)))]
    pub lost: u64,
    /// The oldest first.
    pub samples: Vec<Sample>,
}

/// What a device measured at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// When, by the device's reading.
    pub time: Utc,
    /// As in a heartbeat.
    pub telemetry: BTreeMap<Name, Value>,
}

/// How an apply ended, for the hub.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StateReport {
    /// Where an editor finds the JSON Schema; ignored by jos.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Always `jos.report`.
    pub kind: ReportKind,
    /// The agent's name.
    pub name: Name,
    /// The state's version.
    #[serde(deserialize_with = "ruled::int::<_, _, 1, 9_007_199_254_740_991>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 9_007_199_254_740_991_u64)))]
    pub version: u64,
    /// How it ended.
    pub outcome: OutcomeKind,
    /// When, by the device's reading.
    pub time: Utc,
    /// Why, where it did not go well. Never a secret.
    #[serde(
        default,
        deserialize_with = "ruled::maybe::<_, ruled::Line>",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<ruled::Line>"))]
    pub reason: Option<String>,
    /// Number of steps that changed something.
    #[serde(default)]
    pub changed: u32,
    /// The record that holds the outcome.
    pub ledger: LedgerHead,
}
