//! Accounts: a user, a group.

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::documents::desired_state::is_false;
use crate::ruled;
use crate::text::{AbsPath, Owner};

/// A user account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UserStep {
    /// Login name.
    #[serde(deserialize_with = "ruled::text_as::<_, ruled::AccountName, _>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::AccountName"))]
    pub name: Owner,
    /// Fixed numeric id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Supplementary groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "ruled::list_as::<_, ruled::AccountName, _>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Vec<ruled::AccountName>"))]
    pub groups: Vec<Owner>,
    /// Home directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<AbsPath>,
    /// Login shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<AbsPath>,
    /// Remove the account instead.
    #[serde(default, skip_serializing_if = "is_false")]
    pub absent: bool,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GroupStep {
    /// Group name.
    #[serde(deserialize_with = "ruled::text_as::<_, ruled::AccountName, _>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::AccountName"))]
    pub name: Owner,
    /// Fixed numeric id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Remove the group instead.
    #[serde(default, skip_serializing_if = "is_false")]
    pub absent: bool,
}
