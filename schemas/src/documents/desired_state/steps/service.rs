//! A service of the init system.

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ruled;
use crate::text::ServiceName;

/// A service of the init system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ServiceStep {
    /// As the init system names it.
    #[serde(deserialize_with = "ruled::service_or_placeholder")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::OrPlaceholder<ServiceName>"))]
    pub name: ServiceName,
    /// What to bring about.
    pub action: ServiceAction,
}

/// What a service step brings about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ServiceAction {
    /// Running.
    Start,
    /// Not running.
    Stop,
    /// Restarted once for each version of the state that lists it.
    Restart,
    /// Asked to read its configuration again, once for each version.
    Reload,
    /// Started at boot, and running now.
    Enable,
    /// Not started at boot, and not running now.
    Disable,
}
