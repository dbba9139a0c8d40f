//! The policy: what each source of decisions was granted on this device. Default deny; never sent by the hub.

use std::collections::BTreeMap;

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Issues, checked};
use crate::ruled;
use crate::text::{AbsPath, Name, ServiceName, Sha256Hex};

/// The `kind` of a policy.
pub const KIND: &str = "jos.policy";

/// What the person at the root shell, or the vendor who baked the device, granted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Where an editor finds the JSON Schema; ignored by jos.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Always `jos.policy`.
    pub kind: PolicyKind,
    /// Refuse to run when the network half cannot be confined.
    #[serde(default)]
    pub require_confinement: bool,
    /// Further paths that no step may touch, besides jos' own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protected: Vec<Glob>,
    /// How much of its history an agent keeps on this device.
    #[serde(default, skip_serializing_if = "Retention::is_default")]
    pub ledger: Retention,
    /// Of what this machine measures, these figures may leave it for the hub: all of them when absent, none of an empty list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<Vec<Figure>>,
    /// Grants for each source.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "json-schema", schemars(extend("propertyNames" = { "enum": ["baseline", "hub", "local", "artifact", "drift", "operator", "schedule", "agent"] })))]
    pub grants: BTreeMap<Source, Grant>,
    /// What single agents of the runtime may change, by their names. One that is named here has this alone; the others have
    /// `grants.agent`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub agents: BTreeMap<Name, Grant>,
}

impl Policy {
    /// Every grant, whoever has it.
    pub fn all_grants(&self) -> impl Iterator<Item = &Grant> {
        self.grants.values().chain(self.agents.values())
    }
}

/// How much of its history an agent keeps: its ledger and its blobs together. What is older than the last two
/// checkpoints goes when one of the two limits is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Bytes of ledger and blobs of one agent.
    #[serde(deserialize_with = "ruled::int::<_, _, 65_536, 1_099_511_627_776>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 65_536, max = 1_099_511_627_776_u64)))]
    pub bytes: u64,
    /// Days.
    #[serde(deserialize_with = "ruled::int::<_, _, 1, 36_500>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 36_500)))]
    pub days: u32,
    /// Content of more bytes than this is kept by its hash alone: replay then says so and does not rebuild it.
    #[serde(deserialize_with = "ruled::int::<_, _, 0, 1_099_511_627_776>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 1_099_511_627_776_u64)))]
    pub content: u64,
}

impl Default for Retention {
    /// A quarter of a flash of 16 MiB at most, a year, and every document that may be signed.
    fn default() -> Self {
        Self {
            bytes: 4 << 20,
            days: 365,
            content: 1 << 20,
        }
    }
}

impl Retention {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// One of the figures of a machine, as telemetry names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Per cent of all CPUs.
    Cpu,
    /// Bytes, all and available.
    Memory,
    /// Bytes of the file system that holds the data, all and free.
    Disk,
    /// Over one, five and fifteen minutes.
    Load,
    /// Of the hottest zone.
    Temperature,
    /// Bytes received and sent.
    Network,
    /// Seconds since boot.
    Uptime,
    /// Whether the services that the state names run.
    Services,
    /// What stands in the file that `hub.metrics` names.
    Custom,
}

impl Figure {
    /// As telemetry names it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Load => "load",
            Self::Temperature => "temperature",
            Self::Network => "network",
            Self::Uptime => "uptime",
            Self::Services => "services",
            Self::Custom => "custom",
        }
    }
}

/// The constant `jos.policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
pub enum PolicyKind {
    /// The only value.
    #[default]
    #[serde(rename = "jos.policy")]
    Policy,
}

/// Who proposed a decision. Set by the plane from the authenticated origin, never read from a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The signed state that the profile baked.
    Baseline,
    /// A signed state that the hub delivered.
    Hub,
    /// A signed state given on this machine (`jos agent apply`, `run`).
    Local,
    /// The flow of an installed `.jos` artifact.
    Artifact,
    /// The plane itself putting right what drifted; acts under the grant of the state's own source.
    Drift,
    /// An operator at the shell.
    Operator,
    /// A schedule.
    Schedule,
    /// An agent of the runtime.
    Agent,
}

/// What one source may do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Paths that may be written, made or removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileGrant>,
    /// Services that may be started, stopped, enabled, restarted or notified. `*` is not a service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceName>,
    /// Packages that may be installed or removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "ruled::list::<_, ruled::Line>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Vec<ruled::Line>"))]
    pub packages: Vec<String>,
    /// Whole systems that may be moved to, by what their bundles say that they are for. `*` is not one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "ruled::list::<_, ruled::Compatible>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Vec<ruled::Compatible>"))]
    pub images: Vec<String>,
    /// What of the UCI files may be changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uci: Vec<UciGrant>,
    /// Kernel parameters that may be set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "ruled::list::<_, ruled::Line>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Vec<ruled::Line>"))]
    pub sysctl: Vec<String>,
    /// Users and groups that may be made or removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "ruled::list::<_, ruled::AccountName>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Vec<ruled::AccountName>"))]
    pub users: Vec<String>,
    /// Every command that may be executed: by a shell step, `unless`, `undo`, health, confirm, cron.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<CommandGrant>,
    /// Agents and tools that a state may bring, by hash.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<Sha256Hex>,
    /// What to do about drift.
    #[serde(default)]
    pub drift: DriftPolicy,
    /// Take states without `audience` or `expires` from this source although they do not come from a local file.
    #[serde(default)]
    pub allow_unscoped: bool,
}

/// A glob over absolute paths: `*` within one component, `**` for any number of components, `?` for one character.
pub type Glob = AbsPath;

/// A path grant: a glob, or a glob with what else it allows.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(untagged)]
pub enum FileGrant {
    /// Plain data below this glob.
    Glob(Glob),
    /// With more rights.
    Wide(WideFileGrant),
}

/// A path grant with more rights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WideFileGrant {
    /// Which paths.
    pub path: Glob,
    /// Also paths that become code: units, cron, hotplug, init.d, sudoers, ld.so, udev, profile.d, listed programs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub code: bool,
    /// Also setuid, setgid and sticky bits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub setuid: bool,
}

/// A UCI grant: what may be changed, or that with what else it allows. `network` is all of `/etc/config/network`,
/// `network.lan` one section, `firewall.@zone` all sections of a type that have no name, `network.*.ipaddr` one option.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(untagged)]
pub enum UciGrant {
    /// Plain data.
    Pattern(#[cfg_attr(feature = "json-schema", schemars(with = "ruled::UciPattern"))] String),
    /// With more rights.
    Wide(WideUciGrant),
}

/// A UCI grant with more rights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WideUciGrant {
    /// What.
    #[serde(deserialize_with = "ruled::text::<_, ruled::UciPattern>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::UciPattern"))]
    pub path: String,
    /// Also options that some program executes, or that say who may do what.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub code: bool,
}

/// A command grant: the exact bytes, or an argv template.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(untagged)]
pub enum CommandGrant {
    /// Exactly these bytes, run by `/bin/sh -c`.
    Exact(#[cfg_attr(feature = "json-schema", schemars(with = "ruled::Command"))] String),
    /// Words with typed holes, run without a shell.
    Template(CommandTemplate),
}

/// An argv template: each word literal, or a hole `{int}`, `{word}`, `{host}`, `{ip}`, `{path}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct CommandTemplate {
    /// The words; the first is an absolute path to the program and never a hole.
    #[serde(deserialize_with = "ruled::list::<_, ruled::ArgvWord>")]
    #[cfg_attr(
        feature = "json-schema",
        schemars(with = "Vec<ruled::ArgvWord>", length(min = 1, max = 64))
    )]
    #[cfg_attr(feature = "json-schema", schemars(extend("prefixItems" = [{ "type": "string", "pattern": "^/[^{}]*$" }])))]
    pub argv: Vec<String>,
}

/// What happens when the world no longer matches the state in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DriftPolicy {
    /// Put it right.
    #[default]
    Correct,
    /// Only say so.
    Report,
}

impl FileGrant {
    /// The glob.
    pub fn path(&self) -> &Glob {
        match self {
            FileGrant::Glob(glob) => glob,
            FileGrant::Wide(wide) => &wide.path,
        }
    }
}

impl<'de> Deserialize<'de> for FileGrant {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        crate::untagged::text_or_table(
            d,
            "a path glob or {path, code, setuid}",
            FileGrant::Glob,
            FileGrant::Wide,
        )
    }
}

impl UciGrant {
    /// What it covers.
    pub fn path(&self) -> &str {
        match self {
            UciGrant::Pattern(path) => path,
            UciGrant::Wide(wide) => &wide.path,
        }
    }
}

impl<'de> Deserialize<'de> for UciGrant {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let pattern = |text: ruled::Ruled<ruled::UciPattern>| UciGrant::Pattern(text.into());
        crate::untagged::text_or_table(d, "a part of the UCI files or {path, code}", pattern, UciGrant::Wide)
    }
}

impl<'de> Deserialize<'de> for CommandGrant {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let exact = |text: ruled::Ruled<ruled::Command>| CommandGrant::Exact(text.into());
        crate::untagged::text_or_table(d, "a command or {argv}", exact, CommandGrant::Template)
    }
}

checked!(CommandTemplate);

impl Check for CommandTemplate {
    fn check(&self, issues: &mut Issues) {
        match self.argv.first() {
            None => issues.add("/argv", "found 0 words, expected 1 to 64"),
            Some(_) if self.argv.len() > 64 => {
                issues.add("/argv", format!("found {} words, expected 1 to 64", self.argv.len()))
            }
            Some(program) if !program.starts_with('/') || program.contains(['{', '}']) => issues.add(
                "/argv/0",
                format!("found {program:?}, expected the absolute path of a program, without holes"),
            ),
            Some(_) => return,
        };
    }
}
