//! The `.jos` artifact, upstream format v0.0.7. Unknown fields are allowed: the standard lets tools add them.

use std::collections::BTreeMap;

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::desired_state::JosHeader;
use crate::ruled;
use crate::text::Name;

/// An executable description of an intention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
pub struct Artifact {
    /// Its identity.
    pub id_jos: Name,
    /// The contract it follows.
    pub orchestration_contract: OrchestrationContract,
    /// How it is opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jos: Option<ArtifactHeader>,
    /// For people and registries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<ArtifactMeta>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intention: Option<Intention>,
    /// Limits that are enforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guardrails: Option<Guardrails>,
    /// What it asks for; the device's policy is what it gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<Security>,
    /// What it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orchestration: Option<Orchestration>,
    /// Files that travel with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Value>,
    /// Names of what it can do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Value>,
}

/// The contract's version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
pub struct OrchestrationContract {
    /// Semantic version.
    #[serde(deserialize_with = "ruled::text::<_, ruled::SemVer>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::SemVer"))]
    pub version: String,
}

/// The same as a state's header, with room for more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
pub struct ArtifactHeader {
    /// The command that opens it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<String>,
    /// Programs known to open it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supports: Vec<String>,
}

impl From<ArtifactHeader> for JosHeader {
    fn from(h: ArtifactHeader) -> Self {
        JosHeader {
            open: h.open,
            supports: h.supports,
        }
    }
}

/// For people and registries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
pub struct ArtifactMeta {
    /// Title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The artifact's own version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// SPDX expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
}

/// What it is for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
pub struct Intention {
    /// The aim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<String>,
    /// Where it stands; any shape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Value>,
    /// When it is reached; a text or a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_criteria: Option<Value>,
}

/// Limits on a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
pub struct Guardrails {
    /// Tries after the first; 0 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// Milliseconds for one step; 60000 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// A person must confirm before it runs (`--yes` at install).
    #[serde(default)]
    pub require_confirmation: bool,
    /// Texts that no command may contain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub avoid: Vec<String>,
}

/// What it asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
pub struct Security {
    /// Upstream's security type, kept as it is.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Permissions, as `fs:write:/srv/**`, `service:cups`, `shell`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<String>,
}

/// Definitions and the flows through them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
pub struct Orchestration {
    /// What can be done, by name. Types that jos runs: shell, file, service, jos, prompt.
    #[serde(default)]
    pub definitions: BTreeMap<String, Definition>,
    /// In which order; `main` is run.
    #[serde(default)]
    pub flows: BTreeMap<String, Flow>,
}

/// One thing that can be done. Fields beyond those of its type are kept and ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
pub struct Definition {
    /// `shell`, `file`, `service`, `jos`, `prompt`; others are carried but refused at run.
    #[serde(rename = "type")]
    pub kind: String,
    /// shell: the command where no variant for this system is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// shell on Linux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_linux: Option<String>,
    /// shell on macOS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_darwin: Option<String>,
    /// shell on Windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_windows: Option<String>,
    /// shell on every Unix, where no variant for the very system is given (upstream's).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_unix: Option<String>,
    /// shell on OpenWrt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_openwrt: Option<String>,
    /// file: where; jos: the other artifact, beside this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// file: the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// file: permission bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// service: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// service: what to bring about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// jos: upstream's name for `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// prompt: upstream's name for `prompt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// prompt: the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
}

/// A sequence of definitions by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
pub struct Flow {
    /// Definition names in order. Upstream writes `definitions.NAME` or `NAME`.
    #[serde(default)]
    pub steps: Vec<String>,
}
