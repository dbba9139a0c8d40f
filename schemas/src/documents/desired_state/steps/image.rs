//! A whole system, for a device with two root file systems.

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::BlobSource;
use crate::ruled;

/// The system that the device runs, as a whole: an update bundle that its other root file system is written from. While
/// another one runs, this step is all that the state does; the rest follows in the new system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ImageStep {
    /// For which devices the bundle is, as it says itself: package name and board.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Compatible>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Compatible"))]
    pub compatible: String,
    /// The version of the system in it, as the bundle says itself.
    #[serde(deserialize_with = "ruled::text::<_, ruled::PackageVersion>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::PackageVersion"))]
    pub version: String,
    /// The bundle.
    pub source: BlobSource,
}
