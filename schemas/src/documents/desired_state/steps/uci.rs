//! The `uci` step: what an OpenWrt configuration says in one section.

use std::collections::BTreeMap;

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretRef;
use crate::check::{Check, Issues, checked};
use crate::documents::desired_state::is_false;
use crate::node::{escaped, shortened};
use crate::ruled;
use crate::text::ServiceName;

/// See [`Step::Uci`](super::Step::Uci). The section is named by one of `section` and `match`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, remote = "Self")]
#[cfg_attr(feature = "json-schema", schemars(extend("allOf" = [
    { "oneOf": [
        { "required": ["section"], "properties": { "match": { "maxProperties": 0 } } },
        { "required": ["match", "section_type"], "properties": { "match": { "minProperties": 1 } }, "not": { "required": ["section"] } },
    ] },
    { "not": { "required": ["absent"], "properties": { "absent": { "const": true } }, "anyOf": [
        { "required": ["options"], "properties": { "options": { "minProperties": 1 } } },
        { "required": ["remove"], "properties": { "remove": { "minItems": 1 } } },
    ] } },
])))]
pub struct UciStep {
    /// File under `/etc/config`.
    #[serde(deserialize_with = "ruled::text::<_, ruled::UciName>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::UciName"))]
    pub config: String,
    /// Section by its name, or one without a name by its type and place: `@zone[0]`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[serde(deserialize_with = "ruled::text::<_, ruled::UciSection>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::UciSection"))]
    pub section: String,
    /// Type of the section, needed when it does not exist yet and with `match`.
    #[serde(rename = "section_type", default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe::<_, ruled::UciName>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<ruled::UciName>"))]
    pub section_type: Option<String>,
    /// The one section of `section_type` whose options have these values; made, with them, where there is none.
    #[serde(rename = "match", default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "json-schema", schemars(with = "BTreeMap<String, ruled::UciText>", extend("propertyNames" = { "pattern": "^[A-Za-z0-9_]+$", "maxLength": 64 })))]
    pub matching: BTreeMap<String, String>,
    /// Option values: text, a list of texts, or a secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "json-schema", schemars(extend("propertyNames" = { "pattern": "^[A-Za-z0-9_]+$", "maxLength": 64 })))]
    pub options: BTreeMap<String, UciValue>,
    /// Options that are not to be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "ruled::list::<_, ruled::UciOption>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Vec<ruled::UciOption>"))]
    pub remove: Vec<String>,
    /// The section is not to be there.
    #[serde(default, skip_serializing_if = "is_false")]
    pub absent: bool,
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
    One(#[cfg_attr(feature = "json-schema", schemars(with = "ruled::UciText"))] String),
    /// `list`.
    Many(#[cfg_attr(feature = "json-schema", schemars(with = "Vec<ruled::UciText>", length(min = 1)))] Vec<String>),
    /// A value that only the device knows.
    Secret(SecretRef),
}

impl<'de> Deserialize<'de> for UciValue {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let expected = "text, a list of texts, or {\"secret\": NAME}";
        crate::untagged::text_list_or_table(d, expected, UciValue::One, UciValue::Many, UciValue::Secret)
    }
}

checked!(UciStep);

impl Check for UciStep {
    fn check(&self, issues: &mut Issues) {
        match (self.section.is_empty(), self.matching.is_empty(), &self.section_type) {
            (true, true, _) => {
                issues
                    .add("", "found neither \"section\" nor \"match\", expected one of them")
                    .help("section = \"lan\" or \"@zone[0]\" names it; match = { name = \"lan\" } finds it by what it says");
            }
            (false, false, _) => {
                issues.add("/match", "found both \"section\" and \"match\", expected one of them");
            }
            (true, false, None) => {
                issues.add("", "found \"match\" without \"section_type\", expected both");
            }
            _ => {}
        }
        if self.absent && !(self.options.is_empty() && self.remove.is_empty()) {
            issues.add(
                "/absent",
                "found options of a section that is to be absent, expected none",
            );
        }
        for (name, text) in &self.matching {
            option_name(issues, "match", name);
            value(issues, &format!("/match/{}", escaped(name)), text);
        }
        for (name, set) in &self.options {
            option_name(issues, "options", name);
            let at = format!("/options/{}", escaped(name));
            match set {
                UciValue::One(text) => value(issues, &at, text),
                UciValue::Many(texts) if texts.is_empty() => {
                    let help = format!("UCI has no empty lists; to have none: remove = [{name:?}]");
                    issues
                        .add(at, "found an empty list, expected one text or more")
                        .help(help);
                }
                UciValue::Many(texts) => {
                    for (n, text) in texts.iter().enumerate() {
                        value(issues, &format!("{at}/{n}"), text);
                    }
                }
                UciValue::Secret(_) => {}
            }
        }
        for (n, name) in self.remove.iter().enumerate() {
            if self.options.contains_key(name) || self.matching.contains_key(name) {
                issues.add(
                    format!("/remove/{n}"),
                    format!("found option {name:?}, which the step also wants to be there"),
                );
            }
        }
        for name in self.matching.keys().filter(|n| self.options.contains_key(*n)) {
            let at = format!("/options/{}", escaped(name));
            issues.add(
                at,
                "found an option that \"match\" finds the section by, expected it once",
            );
        }
    }
}

fn option_name(issues: &mut Issues, field: &str, name: &str) {
    if !ruled::holds::<ruled::UciOption>(name) {
        let expected = ruled::expected::<ruled::UciOption>();
        let message = format!("found option {:?}, expected {expected}", shortened(name));
        issues.add(format!("/{field}/{}", escaped(name)), message);
    }
}

fn value(issues: &mut Issues, at: &str, text: &str) {
    if !ruled::holds::<ruled::UciText>(text) {
        let message = format!(
            "found {:?}, expected {}",
            shortened(text),
            ruled::expected::<ruled::UciText>()
        );
        let added = issues.add(at, message);
        if text.is_empty() {
            added.help("UCI has no empty options; to have none, name it in \"remove\"");
        }
    }
}
