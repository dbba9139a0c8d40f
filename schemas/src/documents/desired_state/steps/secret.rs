//! What stands in the place of a value that only the device knows.

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::Name;

/// A secret by name: `/etc/jos/secrets/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SecretRef {
    /// The name.
    pub secret: Name,
}
