//! Programs of a vendor's own, packaged beside each other.

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::{AbsPath, Mode, Name};

/// One package of programs that run by themselves: no agent, no state. A profile with tools makes these packages and no
/// appliance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Package name.
    pub name: Name,
    /// One line.
    pub description: String,
    /// More about it, in sentences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Packages that it needs; the C library is added where a program asks for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends: Vec<String>,
    /// Packages that most people want with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recommends: Vec<String>,
    /// Packages that it cannot stand beside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
    /// What it installs. Units of systemd with an `[Install]` section are enabled and started, manual pages compressed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ToolFile>,
}

/// A file or folder of a tool's package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ToolFile {
    /// Where it lies on the machine.
    pub path: AbsPath,
    /// File or folder, relative to the profile. One of `source` and `built`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// File or folder below `--built DIR`; `{arch}` stands for the target's architecture, as `amd64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built: Option<String>,
    /// Permission bits of a file; `0644` when absent. Files of a folder keep theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Kept over upgrades when the owner changed it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub conffile: bool,
}
