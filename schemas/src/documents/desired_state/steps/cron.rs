//! An entry of a crontab.

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::documents::desired_state::is_false;
use crate::ruled;
use crate::text::{Name, Owner};

/// A line of a crontab.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CronStep {
    /// Identifies the entry.
    pub name: Name,
    /// Five fields.
    #[serde(deserialize_with = "ruled::text::<_, ruled::CronSchedule>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::CronSchedule"))]
    pub schedule: String,
    /// A listed command.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Command>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Command"))]
    pub command: String,
    /// Whose crontab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_as::<_, ruled::AccountName, _>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<ruled::AccountName>"))]
    pub user: Option<Owner>,
    /// Remove the entry instead.
    #[serde(default, skip_serializing_if = "is_false")]
    pub absent: bool,
}
