//! `agent.toml`: how one agent runs on this machine. Written by `jos agent install`, by a package, or by UCI.

use std::collections::BTreeMap;

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::declared::RuntimeConfig;
use crate::ruled;
use crate::text::{AbsPath, Name, ServiceName};

/// The configuration of one agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// Where an editor finds the JSON Schema; ignored by jos.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The agent's name: the service, the state, the data directory.
    pub name: Name,
    /// The vendor's brand, shown by `status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe::<_, ruled::Line>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<ruled::Line>"))]
    pub product: Option<String>,
    /// The service's name where it differs from the agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Name>,
    /// The launchd label, in reverse DNS, where macOS runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identifier: Option<ServiceName>,
    /// The artifact or desired state that it runs; the command line's wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<AbsPath>,
    /// A local desired state kept converged; a newer confirmed one replaces the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<AbsPath>,
    /// Policy; `/etc/jos/policy.toml` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<AbsPath>,
    /// First trust root; `/usr/share/jos/trust.json` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<AbsPath>,
    /// Data; `/var/lib/jos` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<AbsPath>,
    /// Secrets; `/etc/jos/secrets` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<AbsPath>,
    /// The user of the network half; `jos` or `nobody` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_user: Option<String>,
    /// Pinned tenant, until enrolment pins it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Name>,
    /// Pinned device id, until enrolment pins it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// This device's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Seconds between two looks at the world; 60 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_int::<_, _, 1, 86_400>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 86_400)))]
    pub interval: Option<u32>,
    /// The hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<HubConfig>,
    /// The node of the runtime that this agent's daemon runs; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RuntimeConfig>,
}

impl AgentConfig {
    /// The configuration that says nothing but the name.
    pub fn named(name: Name) -> Self {
        Self {
            schema: None,
            name,
            product: None,
            service: None,
            identifier: None,
            artifact: None,
            state: None,
            policy: None,
            trust: None,
            state_dir: None,
            secrets: None,
            network_user: None,
            tenant: None,
            device: None,
            labels: BTreeMap::new(),
            interval: None,
            hub: None,
            runtime: None,
        }
    }
}

/// Which hub.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HubConfig {
    /// `https://…`.
    #[serde(deserialize_with = "ruled::text::<_, ruled::HubUrl>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::HubUrl"))]
    pub url: String,
    /// PEM file with the CA of the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<AbsPath>,
    /// File with the enrolment token, removed once it was used; `token` beside `agent.toml` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<AbsPath>,
    /// `http://[USER:PASSWORD@]HOST:PORT`: the proxy that leads to the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe::<_, ruled::Line>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<ruled::Line>"))]
    pub proxy: Option<String>,
    /// KiB a second at which content is fetched from the hub, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_int::<_, _, 1, 10_000_000>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 10_000_000)))]
    pub blob_rate: Option<u32>,
    /// File with figures of your own for the hub: lines of `NAME NUMBER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<AbsPath>,
    /// Whether people at the hub may ask for the agent's log, its ledger in short, and why a path is as it is; true when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<bool>,
}

impl HubConfig {
    /// The address alone.
    pub fn at(url: String) -> Self {
        Self {
            url,
            ca: None,
            token: None,
            proxy: None,
            blob_rate: None,
            metrics: None,
            answers: None,
        }
    }
}
