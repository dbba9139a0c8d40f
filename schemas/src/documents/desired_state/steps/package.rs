//! A software package.

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::documents::desired_state::is_false;
use crate::ruled;

/// A software package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PackageStep {
    /// The package manager's name for it.
    #[serde(deserialize_with = "ruled::text::<_, ruled::PackageName>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::PackageName"))]
    pub name: String,
    /// Installed or absent.
    pub state: PackageState,
    /// Exactly this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe::<_, ruled::PackageVersion>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<ruled::PackageVersion>"))]
    pub version: Option<String>,
    /// Go on although the earlier version cannot be put back.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_no_undo: bool,
}

/// Whether a package is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PackageState {
    /// There.
    Installed,
    /// Not there.
    Absent,
}
