//! A symbolic link.

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ruled;
use crate::text::{AbsPath, ServiceName};

/// A symbolic link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LinkStep {
    /// Where the link stands.
    pub path: AbsPath,
    /// What it holds, absolute or relative, never resolved by jos.
    #[serde(deserialize_with = "ruled::text::<_, ruled::LinkTarget>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::LinkTarget"))]
    pub target: String,
    /// Services restarted when it changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<ServiceName>,
}
