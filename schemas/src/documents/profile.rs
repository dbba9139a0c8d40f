//! The profile: what a vendor writes to bake an appliance.

use std::collections::BTreeMap;

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::declared::RuntimeConfig;
use super::policy::{Figure, Glob, Grant, Policy, PolicyKind, Retention, Source};
use crate::node::{Kind, Node};
use crate::ruled;
use crate::text::{AbsPath, Mode, Name, Owner};

mod tool;

pub use tool::{Tool, ToolFile};

/// One appliance, or a base that appliances extend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// Where an editor finds the JSON Schema; ignored by jos.
    #[serde(rename = "$schema", skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The profile under this one: looked up beside it, then in `--profiles DIR`, then among the built-in bases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extends: Option<String>,
    /// Whose appliance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brand: Option<Brand>,
    /// The packages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<Package>,
    /// For which machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Which hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hub: Option<Hub>,
    /// The agent's own settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<Agent>,
    /// The node of the runtime that each device runs: `[runtime]` of its agent.toml, and a program that carries one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RuntimeConfig>,
    /// What each source is granted on the device; becomes `/etc/jos/policy.toml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<ProfilePolicy>,
    /// The first trust root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<TrustSource>,
    /// The baseline state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<StateSource>,
    /// Further files in the packages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ProfileFile>,
    /// Packages of programs, in place of an appliance.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// The bootable image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// Which outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Outputs>,
}

/// Whose appliance: what owners of the device see.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Brand {
    /// The company. No quotes, newlines or control characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// The product.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// Greeting at login; may have several lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub motd: Option<String>,
    /// Where people get help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub support_url: Option<String>,
    /// Who answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub support_email: Option<String>,
    /// Logo file, relative to the profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logo: Option<String>,
}

/// The packages that come out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Package {
    /// Package name; also the agent's name on the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Service name where it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Name>,
    /// Upstream version, digits first: `1.4.2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Package release, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_int::<_, _, 1, 999_999>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 999_999)))]
    pub release: Option<u32>,
    /// `Name <mail>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintainer: Option<String>,
    /// SPDX expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// One line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Reverse-DNS identifier of the macOS package and launchd job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identifier: Option<String>,
    /// Dependencies, all formats.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depends: Vec<String>,
    /// Further dependencies of the .deb.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depends_debian: Vec<String>,
    /// Further dependencies of the .ipk.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depends_openwrt: Vec<String>,
    /// Further names that the package provides, besides `jos-agent`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub provides: Vec<String>,
    /// Further packages that it cannot stand beside, besides `jos-agent`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
}

/// For which machines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Target {
    /// As `openwrt/mipsel_24kc`, `debian/arm64`, `macos/universal`, `windows/amd64`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
}

/// Which hub the device will call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Hub {
    /// `https://…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// PEM file with the hub's CA, relative to the profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// File with an enrolment token, relative to the profile: every device with this package enrols with it, so it should
    /// be counted, end soon, and the package be no public one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// The agent's own settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Agent {
    /// Seconds between two looks at the world.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_int::<_, _, 1, 86_400>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 86_400)))]
    pub interval: Option<u32>,
    /// Labels of every device with this package.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Pinned tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Name>,
}

/// The policy as a profile writes it: a [`Policy`] that need not say its kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ProfilePolicy {
    /// Refuse to run when the network half cannot be confined.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub require_confinement: bool,
    /// Further paths that no step may touch, besides jos' own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub protected: Vec<Glob>,
    /// How much of its history an agent keeps on the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger: Option<Retention>,
    /// Of what the machine measures, these figures may leave it for the hub: all of them when absent, none of an empty list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<Vec<Figure>>,
    /// Grants for each source.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "json-schema", schemars(extend("propertyNames" = { "enum": ["baseline", "hub", "local", "artifact", "drift", "operator", "schedule", "agent"] })))]
    pub grants: BTreeMap<Source, Grant>,
    /// What single agents of the runtime may change, by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub agents: BTreeMap<Name, Grant>,
}

impl From<ProfilePolicy> for Policy {
    fn from(p: ProfilePolicy) -> Self {
        Policy {
            schema: None,
            kind: PolicyKind::Policy,
            require_confinement: p.require_confinement,
            protected: p.protected,
            ledger: p.ledger.unwrap_or_default(),
            telemetry: p.telemetry,
            grants: p.grants,
            agents: p.agents,
        }
    }
}

/// Where the first trust root comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct TrustSource {
    /// A signed trust document, relative to the profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// Where the baseline comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct StateSource {
    /// A desired state, signed or to be signed by `build --key`; relative to the profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// A desired state for one kind of target where it differs: `openwrt`, `debian`, `macos`, `windows`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_system: BTreeMap<String, String>,
}

/// A file that the packages carry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ProfileFile {
    /// Where it lies on the device.
    pub path: AbsPath,
    /// File or folder, relative to the profile. One of `source` and `content`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The text itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Permission bits; `0644` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Kept over upgrades when the owner changed it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub conffile: bool,
    /// Only for these systems: `openwrt`, `debian`, `macos`, `windows`; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub systems: Vec<String>,
}

/// The bootable image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Image {
    /// The machines that images are made for: `amd64-uefi`, `arm64-uefi`, `raspberry-pi`. None: packages only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub boards: Vec<String>,
    /// The root file system to start from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Release of Debian; `bookworm` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suite: Option<Name>,
    /// Package mirror; the building machine's own when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
    /// Kernel package; Debian's own for the machine when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Name>,
    /// Words added to the kernel's command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<String>,
    /// Further Debian packages, besides what the appliance's own package depends on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// Size of the root file system before its first boot, as `2G`; it grows to its medium then. With `update`, the size of
    /// each of the two, for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// How the system is replaced as a whole; by its packages when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<Update>,
    /// Who signs its update bundles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rauc: Option<Rauc>,
    /// Host name, `{serial}` for the device's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// `rw` or `ro`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<RootMode>,
    /// Locale, as `en_US.UTF-8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// Login users.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<ImageUser>,
    /// The wireless network that devices join.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wifi: Option<Wifi>,
}

/// How the system of an image is replaced as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Update {
    /// Two root file systems: RAUC writes the next system into the one that is not in use.
    Rauc,
}

/// Who signs the update bundles of an image. Files are relative to the profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Rauc {
    /// The signer's certificate, PEM.
    pub cert: String,
    /// Its secret key, PEM. It goes into nothing that is made.
    pub key: String,
    /// The certificates that devices believe, PEM; the signer's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyring: Option<String>,
}

/// The wireless network of an image; a device's seed may name another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Wifi {
    /// Where the devices stand, as two capital letters: radios keep to its rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// The network's name. Absent: each device's seed says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssid: Option<String>,
    /// The file with its passphrase, one line, relative to the profile; an open network when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<String>,
}

/// How the root file system is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RootMode {
    /// Writable.
    Rw,
    /// Read-only.
    Ro,
}

/// A login user of the image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ImageUser {
    /// Login name.
    pub name: Owner,
    /// OpenSSH public keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_keys: Vec<String>,
}

/// Which outputs to write.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Outputs {
    /// Write packages (the default).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packages: Option<bool>,
}

/// Lays `over` on `base`: tables merge, scalars and lists replace, and a list whose key is written `"name+"` is appended
/// to the list under it. Every value keeps its span. `refuse` hears where a `"name+"` finds something other than a list, and what to say of it.
pub fn merge(base: &mut Node, over: Node, refuse: &mut dyn FnMut(&Node, &str)) {
    let Kind::Object(entries) = over.kind else {
        *base = over;
        return;
    };
    if !matches!(base.kind, Kind::Object(_)) {
        *base = Node {
            span: over.span.clone(),
            kind: Kind::Object(Vec::new()),
        };
    }
    let Kind::Object(under) = &mut base.kind else { return };
    let is_addition = |e: &crate::node::Entry| e.key.ends_with('+') && matches!(e.value.kind, Kind::Array(_));
    // What replaces comes before what adds, whatever their order in the file.
    let (additions, plain): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_addition);
    for mut entry in plain {
        match under.iter_mut().find(|e| e.key == entry.key) {
            Some(known) if matches!(entry.value.kind, Kind::Object(_)) => merge(&mut known.value, entry.value, refuse),
            Some(known) => *known = entry,
            None => {
                // Additions inside a table that nothing lies under are folded all the same.
                let mut folded = Node {
                    span: entry.value.span.clone(),
                    kind: Kind::Null,
                };
                merge(&mut folded, entry.value, refuse);
                entry.value = folded;
                under.push(entry);
            }
        }
    }
    for mut entry in additions {
        entry.key.pop();
        match under.iter_mut().find(|e| e.key == entry.key) {
            None => under.push(entry),
            Some(known) => match (&mut known.value.kind, entry.value.kind) {
                (Kind::Array(items), Kind::Array(more)) => items.extend(more),
                _ => {
                    let message = format!("\"{0}+\" adds to a list, but {0:?} under it is no list", entry.key);
                    refuse(
                        &Node {
                            span: entry.key_span,
                            kind: Kind::Null,
                        },
                        &message,
                    );
                }
            },
        }
    }
}

#[cfg(test)]
mod tests;
