//! A directory.

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::documents::desired_state::is_false;
use crate::text::{AbsPath, Mode, Owner, ServiceName};

/// A directory that exists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DirectoryStep {
    /// Where.
    pub path: AbsPath,
    /// Permission bits; `0755` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Owner; `root:root` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Remove what the state does not list below it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub purge: bool,
    /// Services restarted when it changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<ServiceName>,
}
