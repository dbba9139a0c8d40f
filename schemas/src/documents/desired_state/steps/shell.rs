//! A command.

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ruled;

/// A command that the device's policy lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ShellStep {
    /// Run by `/bin/sh -c` when policy lists these exact bytes, or without a shell when an argv template matches.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Command>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Command"))]
    pub command: String,
    /// Skip the step when this listed command succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe::<_, ruled::Command>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<ruled::Command>"))]
    pub unless: Option<String>,
    /// A listed command that takes the step back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe::<_, ruled::Command>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<ruled::Command>"))]
    pub undo: Option<String>,
    /// Seconds before it is killed; 60 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_int::<_, _, 1, 86_400>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 86_400)))]
    pub timeout: Option<u32>,
}
