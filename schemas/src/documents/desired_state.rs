//! The desired state: what a device should look like, signed by an admin.

use std::collections::BTreeMap;

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Issues, checked};
use crate::node::{escaped, shortened};
use crate::ruled;
use crate::tagged::tagged;
use crate::text::PLACEHOLDER;
use crate::text::{AbsPath, KeyIdText, Mode, Name, Owner, ServiceName, Sha256Hex, Utc};

/// The `kind` of a desired state.
pub const KIND: &str = "jos.agent.desired_state";

/// A list of decisions that, applied together, give the device its shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, remote = "Self")]
#[cfg_attr(feature = "json-schema", schemars(extend("not" = { "required": ["signature", "signatures"], "properties": { "signatures": { "minItems": 1 } } })))]
pub struct DesiredState {
    /// Where an editor finds the JSON Schema; ignored by jos.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// How the document is opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jos: Option<JosHeader>,
    /// Always `jos.agent.desired_state`.
    pub kind: DesiredStateKind,
    /// Who and which.
    pub meta: Meta,
    /// What.
    pub spec: Spec,
    /// One signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// Several signatures, for thresholds above one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<Signature>,
}

/// The constant `jos.agent.desired_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
pub enum DesiredStateKind {
    /// The only value.
    #[serde(rename = "jos.agent.desired_state")]
    DesiredState,
}

/// The upstream standard's header.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct JosHeader {
    /// The command that opens the document, as `jos agent run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<String>,
    /// Programs known to open it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supports: Vec<String>,
}

/// Identity and scope of a desired state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Meta {
    /// The agent that takes it; equals the agent's own name.
    pub name: Name,
    /// Rises with every change; 1 to 2^53-1.
    #[serde(deserialize_with = "ruled::int::<_, _, 1, 9_007_199_254_740_991>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 9_007_199_254_740_991_u64)))]
    pub version: u64,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// After this moment the state is no longer adopted (one in force stays in force).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Utc>,
    /// Features that the device must have, else the outcome is `unsupported`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Name>,
    /// Remove what an earlier version managed and this one no longer lists.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prune: bool,
    /// Who it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
}

/// Which devices may take a state. Labels select, they do not authorise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Audience {
    /// The tenant pinned at enrolment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Name>,
    /// Device ids; empty means any device of the tenant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// Labels that must all match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What to apply, how to know that it works, when to confirm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct Spec {
    /// The steps, in order; 10,000 at most.
    #[cfg_attr(feature = "json-schema", schemars(length(max = 10_000)))]
    pub apply: Vec<Step>,
    /// Asked after applying; a failure rolls everything back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// Extra condition that must hold before the change is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Confirm>,
    /// What the agent reports and how often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<Telemetry>,
}

/// Reporting interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// Seconds between reports, 1 to 86400.
    #[serde(deserialize_with = "ruled::int::<_, _, 1, 86_400>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 86_400)))]
    pub interval: u32,
}

/// Commit-confirmed: at least one of the two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, remote = "Self")]
#[cfg_attr(feature = "json-schema", schemars(extend("anyOf" = [{ "required": ["hub_within"] }, { "required": ["command"] }])))]
pub struct Confirm {
    /// Seconds within which the hub must answer under the new state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_int::<_, _, 1, 86_400>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 86_400)))]
    pub hub_within: Option<u32>,
    /// A listed command that must succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe::<_, ruled::Command>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<ruled::Command>"))]
    pub command: Option<String>,
}

/// A detached ed25519 signature over the canonical bytes of the document without its signatures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// A constant, not a choice.
    pub alg: SignatureAlg,
    /// A hint to find the key.
    pub key_id: KeyIdText,
    /// 64 bytes in standard base64 with padding (RFC 4648 §4).
    #[serde(deserialize_with = "ruled::text::<_, ruled::SignatureText>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::SignatureText"))]
    pub sig: String,
}

/// The only signature algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
pub enum SignatureAlg {
    /// RFC 8032, verified strictly.
    #[serde(rename = "ed25519")]
    Ed25519,
}

/// One decision. Told apart by `type`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Step {
    /// A regular file with exactly this content.
    File(FileStep),
    /// A directory that exists.
    Directory(DirectoryStep),
    /// A symbolic link.
    Link(LinkStep),
    /// Nothing at this path.
    Absent(AbsentStep),
    /// A service of the init system.
    Service(ServiceStep),
    /// A software package.
    Package(PackageStep),
    /// An OpenWrt UCI section.
    Uci(UciStep),
    /// A user account.
    User(UserStep),
    /// A group.
    Group(GroupStep),
    /// A line of a crontab.
    Cron(CronStep),
    /// A kernel parameter.
    Sysctl(SysctlStep),
    /// A command that the device's policy lists.
    Shell(ShellStep),
}

/// See [`Step::File`].
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

/// A secret by name: `/etc/jos/secrets/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SecretRef {
    /// The name.
    pub secret: Name,
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

/// See [`Step::Directory`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DirectoryStep {
    /// Where.
    pub path: AbsPath,
    /// Permission bits; `0755` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Owner; `root:root` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Remove what the state does not list below it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub purge: bool,
    /// Services restarted when it changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<ServiceName>,
}

/// See [`Step::Link`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LinkStep {
    /// Where the link stands.
    pub path: AbsPath,
    /// What it holds, absolute or relative, never resolved by jos.
    #[serde(deserialize_with = "ruled::text::<_, ruled::LinkTarget>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::LinkTarget"))]
    pub target: String,
    /// Services restarted when it changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<ServiceName>,
}

/// See [`Step::Absent`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AbsentStep {
    /// Which path is to be gone. A directory must be empty unless `recursive`.
    pub path: AbsPath,
    /// Remove a directory with all below it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub recursive: bool,
    /// Services restarted when it changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<ServiceName>,
}

/// See [`Step::Service`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ServiceStep {
    /// As the init system names it.
    #[serde(deserialize_with = "ruled::service_or_placeholder")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::OrPlaceholder<ServiceName>"))]
    pub name: ServiceName,
    /// What to bring about.
    pub action: ServiceAction,
}

/// What a service step brings about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ServiceAction {
    /// Running.
    Start,
    /// Not running.
    Stop,
    /// Restarted once for each version of the state that lists it.
    Restart,
    /// Asked to read its configuration again, once for each version.
    Reload,
    /// Started at boot, and running now.
    Enable,
    /// Not started at boot, and not running now.
    Disable,
}

/// See [`Step::Package`].
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

/// See [`Step::Uci`].
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

/// See [`Step::User`].
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

/// See [`Step::Group`].
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

/// See [`Step::Cron`].
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

/// See [`Step::Sysctl`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SysctlStep {
    /// Dotted name, as `net.ipv4.ip_forward`.
    #[serde(deserialize_with = "ruled::text::<_, ruled::SysctlKey>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::SysctlKey"))]
    pub key: String,
    /// Its value as text.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Line>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Line"))]
    pub value: String,
}

/// See [`Step::Shell`].
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

/// How to know that the applied state works. Told apart by `type`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum HealthCheck {
    /// A GET that answers 2xx or 3xx.
    Http(HttpCheck),
    /// A TCP connection that opens.
    Tcp(TcpCheck),
    /// A listed command that succeeds.
    Command(CommandCheck),
    /// A service that is active.
    Service(ServiceCheck),
}

/// See [`HealthCheck::Http`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HttpCheck {
    /// `http://…` or `https://…`.
    #[serde(deserialize_with = "ruled::text::<_, ruled::WebUrl>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::WebUrl"))]
    pub url: String,
    /// Tries after the first, 0 to 100; 5 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_int::<_, _, 0, 100>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 100)))]
    pub retries: Option<u32>,
    /// Seconds for each try, 1 to 3600; 3 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_int::<_, _, 1, 3600>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 3600)))]
    pub timeout: Option<u32>,
}

/// See [`HealthCheck::Tcp`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TcpCheck {
    /// Name or address.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Host>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Host"))]
    pub host: String,
    /// Port.
    #[serde(deserialize_with = "ruled::int::<_, _, 1, 65_535>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 65_535)))]
    pub port: u16,
    /// Tries after the first; 5 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_int::<_, _, 0, 100>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 100)))]
    pub retries: Option<u32>,
    /// Seconds for each try; 3 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_int::<_, _, 1, 3600>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 3600)))]
    pub timeout: Option<u32>,
}

/// See [`HealthCheck::Command`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CommandCheck {
    /// A listed command.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Command>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Command"))]
    pub command: String,
    /// Tries after the first; 5 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_int::<_, _, 0, 100>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 100)))]
    pub retries: Option<u32>,
    /// Seconds for each try; 3 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_int::<_, _, 1, 3600>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 3600)))]
    pub timeout: Option<u32>,
}

/// See [`HealthCheck::Service`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ServiceCheck {
    /// As the init system names it.
    pub name: ServiceName,
    /// Tries after the first; 5 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_int::<_, _, 0, 100>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 100)))]
    pub retries: Option<u32>,
    /// Seconds for each try; 3 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_int::<_, _, 1, 3600>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 3600)))]
    pub timeout: Option<u32>,
}

fn is_false(b: &bool) -> bool {
    !*b
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        crate::untagged::text_or_table(d, "text or {\"secret\": NAME}", Content::Text, Content::Secret)
    }
}

impl<'de> Deserialize<'de> for UciValue {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let expected = "text, a list of texts, or {\"secret\": NAME}";
        crate::untagged::text_list_or_table(d, expected, UciValue::One, UciValue::Many, UciValue::Secret)
    }
}

impl Signature {
    /// The document's `"signature"`/`"signatures"` members are left out of the signed bytes.
    pub const MEMBERS: [&'static str; 2] = ["signature", "signatures"];
}

tagged!(Step, "a step", {
    "file" => File(FileStep),
    "directory" => Directory(DirectoryStep),
    "link" => Link(LinkStep),
    "absent" => Absent(AbsentStep),
    "service" => Service(ServiceStep),
    "package" => Package(PackageStep),
    "uci" => Uci(UciStep),
    "user" => User(UserStep),
    "group" => Group(GroupStep),
    "cron" => Cron(CronStep),
    "sysctl" => Sysctl(SysctlStep),
    "shell" => Shell(ShellStep),
});

tagged!(HealthCheck, "a health check", {
    "http" => Http(HttpCheck),
    "tcp" => Tcp(TcpCheck),
    "command" => Command(CommandCheck),
    "service" => Service(ServiceCheck),
});

checked!(DesiredState, Spec, Confirm, FileStep, UciStep);

/// Most steps of one state.
pub const MOST_STEPS: usize = 10_000;

impl Check for DesiredState {
    fn check(&self, issues: &mut Issues) {
        if self.signature.is_some() && !self.signatures.is_empty() {
            issues
                .add(
                    "/signatures",
                    "found both \"signature\" and \"signatures\", expected one of them",
                )
                .help("put every signature into \"signatures\"");
        }
    }
}

impl Check for Spec {
    fn check(&self, issues: &mut Issues) {
        if self.apply.len() > MOST_STEPS {
            let message = format!("found {} steps, expected {MOST_STEPS} at most", self.apply.len());
            issues
                .add("/apply", message)
                .help("one blob can carry what many files would");
        }
    }
}

impl Check for Confirm {
    fn check(&self, issues: &mut Issues) {
        if self.hub_within.is_none() && self.command.is_none() {
            issues.add("", "found neither \"hub_within\" nor \"command\", expected one of them or both").help(
                "hub_within = 120 keeps the change only if the hub answers within two minutes; or leave \"confirm\" out",
            );
        }
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

impl DesiredState {
    /// JSON pointers to what an example left to be filled in (`"..."`). Such a state is valid and cannot be applied.
    pub fn placeholders(&self) -> Vec<String> {
        let mut out = Vec::new();
        for (at, step) in self.spec.apply.iter().enumerate() {
            let field = match step {
                Step::File(file) if file.path.is_placeholder() => "path",
                Step::Service(service) if service.name.is_placeholder() => "name",
                Step::Shell(shell) if shell.command == PLACEHOLDER => "command",
                _ => continue,
            };
            out.push(format!("/spec/apply/{at}/{field}"));
        }
        out
    }
}
