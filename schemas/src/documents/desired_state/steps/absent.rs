//! A path where nothing is to be.

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::documents::desired_state::is_false;
use crate::text::{AbsPath, ServiceName};

/// Nothing at this path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AbsentStep {
    /// Which path is to be gone. A directory must be empty unless `recursive`.
    pub path: AbsPath,
    /// Remove a directory with all below it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub recursive: bool,
    /// Services restarted when it changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<ServiceName>,
}
