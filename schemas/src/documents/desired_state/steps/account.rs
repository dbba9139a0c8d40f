//! Accounts: a user, a group.

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretRef;
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
    /// Fixed numeric id; the first that is free from 100 to 999 when absent and the account is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Primary group; for a new account one of its own name, made with it, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_as::<_, ruled::AccountName, _>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<ruled::AccountName>"))]
    pub group: Option<Owner>,
    /// All supplementary groups; left as they are when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "ruled::list_as::<_, ruled::AccountName, _>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Vec<ruled::AccountName>"))]
    pub groups: Vec<Owner>,
    /// Home directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<AbsPath>,
    /// Make the home directory, 0700, when it is not there; one that is there is left as it is.
    #[serde(default, skip_serializing_if = "is_false")]
    pub make_home: bool,
    /// Login shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<AbsPath>,
    /// Who or what it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe::<_, ruled::Line>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<ruled::Line>"))]
    pub comment: Option<String>,
    /// A password's hash as crypt(5) writes it; a new account without one cannot log in by password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
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
