//! A kernel parameter.

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ruled;

/// A kernel parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SysctlStep {
    /// Dotted name, as `net.ipv4.ip_forward`.
    #[serde(deserialize_with = "ruled::text::<_, ruled::SysctlKey>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::SysctlKey"))]
    pub key: String,
    /// Its value as text.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Line>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Line"))]
    pub value: String,
}
