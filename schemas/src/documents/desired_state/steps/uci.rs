//! A section of OpenWrt's UCI.

use std::collections::BTreeMap;

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretRef;
use crate::check::{Check, Issues, checked};
use crate::node::{escaped, shortened};
use crate::ruled;
use crate::text::ServiceName;

/// An OpenWrt UCI section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct UciStep {
    /// File under `/etc/config`.
    #[serde(deserialize_with = "ruled::text::<_, ruled::UciName>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::UciName"))]
    pub config: String,
    /// Section by name.
    #[serde(deserialize_with = "ruled::text::<_, ruled::UciName>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::UciName"))]
    pub section: String,
    /// Type of the section, needed when it does not exist yet.
    #[serde(rename = "section_type", default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe::<_, ruled::UciName>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<ruled::UciName>"))]
    pub section_type: Option<String>,
    /// Option values: text, a list of texts, or a secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "json-schema", schemars(extend("propertyNames" = { "pattern": "^[A-Za-z0-9_][A-Za-z0-9_-]*$", "maxLength": 64 })))]
    pub options: BTreeMap<String, UciValue>,
    /// Services restarted when it changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<ServiceName>,
}

/// The value of a UCI option.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(untagged)]
pub enum UciValue {
    /// `option`.
    One(String),
    /// `list`.
    Many(Vec<String>),
    /// A value that only the device knows.
    Secret(SecretRef),
}

checked!(UciStep);

impl<'de> Deserialize<'de> for UciValue {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let expected = "text, a list of texts, or {\"secret\": NAME}";
        crate::untagged::text_list_or_table(d, expected, UciValue::One, UciValue::Many, UciValue::Secret)
    }
}

impl Check for UciStep {
    fn check(&self, issues: &mut Issues) {
        for name in self.options.keys() {
            if !ruled::holds::<ruled::UciName>(name) {
                let message = format!(
                    "found option {:?}, expected {}",
                    shortened(name),
                    ruled::expected::<ruled::UciName>()
                );
                issues.add(format!("/options/{}", escaped(name)), message);
            }
        }
    }
}
