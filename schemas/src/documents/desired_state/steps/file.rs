//! A file: its content in the state, as a secret or as a blob.

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretRef;
use crate::check::{Check, Issues, checked};
use crate::ruled;
use crate::text::{AbsPath, Mode, Owner, ServiceName, Sha256Hex};

/// A regular file with exactly this content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, remote = "Self")]
#[cfg_attr(feature = "json-schema", schemars(extend("oneOf" = [{ "required": ["content"] }, { "required": ["source"] }])))]
pub struct FileStep {
    /// Where.
    #[serde(deserialize_with = "ruled::path_or_placeholder")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::OrPlaceholder<AbsPath>"))]
    pub path: AbsPath,
    /// The content: text, or a secret by name. One of `content` and `source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// The content as a blob, by hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<BlobSource>,
    /// Permission bits; `0644` when absent (`0600` for a secret). Setuid, setgid and sticky bits need a grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Owner; `root:root` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Services restarted once, after all files, when this file changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<ServiceName>,
}

/// Text, or a secret by name.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(untagged)]
pub enum Content {
    /// The text itself, UTF-8.
    Text(String),
    /// A value that only the device knows.
    Secret(SecretRef),
}

/// Content by hash, fetched or found in the blob store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BlobSource {
    /// SHA-256 of the content.
    pub sha256: Sha256Hex,
    /// Its length in bytes, checked before the hash.
    #[serde(deserialize_with = "ruled::int::<_, _, 0, 9_007_199_254_740_991>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 9_007_199_254_740_991_u64)))]
    pub size: u64,
    /// Where it may be had, tried in order, besides the hub.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "ruled::list::<_, ruled::WebUrl>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Vec<ruled::WebUrl>"))]
    pub urls: Vec<String>,
}

checked!(FileStep);

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        crate::untagged::text_or_table(d, "text or {\"secret\": NAME}", Content::Text, Content::Secret)
    }
}

impl Check for FileStep {
    fn check(&self, issues: &mut Issues) {
        match (&self.content, &self.source) {
            (Some(_), Some(_)) => issues.add("/source", "found both \"content\" and \"source\", expected one of them"),
            (None, None) => issues.add("", "found neither \"content\" nor \"source\", expected one of them"),
            _ => return,
        };
        issues.help("content = \"…\" gives the text itself; source = { sha256, size } names a blob");
    }
}
