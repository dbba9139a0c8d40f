//! The desired state: what a device should look like, signed by an admin.
//!
//! Here is the document itself; its steps, its health checks and its signatures are files of their own.

mod health;
mod signature;
mod steps;

pub use health::{CommandCheck, HealthCheck, HttpCheck, ServiceCheck, TcpCheck};
pub use signature::{Signature, SignatureAlg};
pub use steps::{
    AbsentStep, BlobSource, Content, CronStep, DirectoryStep, FileStep, GroupStep, ImageStep, LinkStep, PackageState,
    PackageStep, SecretRef, ServiceAction, ServiceStep, ShellStep, Step, SysctlStep, UciStep, UciValue, UserStep,
};

use std::collections::BTreeMap;

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Issues, checked};
use crate::ruled;
use crate::text::{Name, Utc};

/// The `kind` of a desired state.
pub const KIND: &str = "jos.agent.desired_state";

/// Most steps of one state.
pub const MOST_STEPS: usize = 10_000;

/// A list of decisions that, applied together, give the device its shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, remote = "Self")]
#[cfg_attr(feature = "json-schema", schemars(extend("not" = { "required": ["signature", "signatures"], "properties": { "signatures": { "minItems": 1 } } })))]
pub struct DesiredState {
    /// Where an editor finds the JSON Schema; ignored by jos.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// How the document is opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jos: Option<JosHeader>,
    /// Always `jos.agent.desired_state`.
    pub kind: DesiredStateKind,
    /// Who and which.
    pub meta: Meta,
    /// What.
    pub spec: Spec,
    /// One signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// Several signatures, for thresholds above one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<Signature>,
}

/// The constant `jos.agent.desired_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
pub enum DesiredStateKind {
    /// The only value.
    #[serde(rename = "jos.agent.desired_state")]
    DesiredState,
}

/// The upstream standard's header.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct JosHeader {
    /// The command that opens the document, as `jos agent run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<String>,
    /// Programs known to open it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supports: Vec<String>,
}

/// Identity and scope of a desired state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Meta {
    /// The agent that takes it; equals the agent's own name.
    pub name: Name,
    /// Rises with every change; 1 to 2^53-1.
    #[serde(deserialize_with = "ruled::int::<_, _, 1, 9_007_199_254_740_991>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 9_007_199_254_740_991_u64)))]
    pub version: u64,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// After this moment the state is no longer adopted (one in force stays in force).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Utc>,
    /// Features that the device must have, else the outcome is `unsupported`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Name>,
    /// Remove what an earlier version managed and this one no longer lists.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prune: bool,
    /// Who it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
}

/// Which devices may take a state. Labels select, they do not authorise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Audience {
    /// The tenant pinned at enrolment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Name>,
    /// Device ids; empty means any device of the tenant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// Labels that must all match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What to apply, how to know that it works, when to confirm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct Spec {
    /// The steps, in order; 10,000 at most.
    #[cfg_attr(feature = "json-schema", schemars(length(max = 10_000)))]
    pub apply: Vec<Step>,
    /// Asked after applying; a failure rolls everything back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// Extra condition that must hold before the change is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Confirm>,
    /// What the agent reports and how often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<Telemetry>,
}

/// Reporting interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// Seconds between reports, 1 to 86400.
    #[serde(deserialize_with = "ruled::int::<_, _, 1, 86_400>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 86_400)))]
    pub interval: u32,
}

/// Commit-confirmed: at least one of the two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, remote = "Self")]
#[cfg_attr(feature = "json-schema", schemars(extend("anyOf" = [{ "required": ["hub_within"] }, { "required": ["command"] }])))]
pub struct Confirm {
    /// Seconds within which the hub must answer under the new state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_int::<_, _, 1, 86_400>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 86_400)))]
    pub hub_within: Option<u32>,
    /// A listed command that must succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe::<_, ruled::Command>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<ruled::Command>"))]
    pub command: Option<String>,
}

checked!(DesiredState, Spec, Confirm);

impl Check for DesiredState {
    fn check(&self, issues: &mut Issues) {
        if self.signature.is_some() && !self.signatures.is_empty() {
            issues
                .add(
                    "/signatures",
                    "found both \"signature\" and \"signatures\", expected one of them",
                )
                .help("put every signature into \"signatures\"");
        }
    }
}

impl Check for Spec {
    fn check(&self, issues: &mut Issues) {
        if self.apply.len() > MOST_STEPS {
            let message = format!("found {} steps, expected {MOST_STEPS} at most", self.apply.len());
            issues
                .add("/apply", message)
                .help("one blob can carry what many files would");
        }
    }
}

impl Check for Confirm {
    fn check(&self, issues: &mut Issues) {
        if self.hub_within.is_none() && self.command.is_none() {
            issues.add("", "found neither \"hub_within\" nor \"command\", expected one of them or both").help(
                "hub_within = 120 keeps the change only if the hub answers within two minutes; or leave \"confirm\" out",
            );
        }
    }
}

impl DesiredState {
    /// JSON pointers to what an example left to be filled in (`"..."`). Such a state is valid and cannot be applied.
    pub fn placeholders(&self) -> Vec<String> {
        let steps = self.spec.apply.iter().enumerate();
        steps
            .filter_map(|(at, step)| step.placeholder().map(|field| format!("/spec/apply/{at}/{field}")))
            .collect()
    }
}

/// For `skip_serializing_if`: what is false is not written.
fn is_false(flag: &bool) -> bool {
    !*flag
}
