//! Every document by name: how to tell it, how to read it, its JSON Schema.

use crate::documents::agent_config::AgentConfig;
use crate::documents::artifact::Artifact;
use crate::documents::desired_state::{self, DesiredState};
use crate::documents::policy::{self, Policy};
use crate::documents::trust::{self, Trust};
use crate::node::Node;
use crate::read::from_node;
use crate::report::Report;

/// Where the published schemas are named. These are identifiers: nothing is fetched from there by any jos program.
pub const SCHEMA_BASE: &str = "https://josfox.github.io/jos/schemas/";

/// One kind of document.
#[derive(Clone, Copy)]
pub struct Document {
    /// Its short name, as in `schemas/json/NAME.json` and `jos validate --kind NAME`.
    pub name: &'static str,
    /// What it is, in a few words.
    pub title: &'static str,
    /// The constant in its field `kind`, where it has one.
    pub kind: Option<&'static str>,
    /// Holds a secret: no part of it may be shown.
    pub secret: bool,
    /// Reads it, for its errors only.
    pub check: fn(name: &str, text: &str, node: &Node) -> Result<(), Report>,
    /// Its JSON Schema 2020-12.
    #[cfg(feature = "json-schema")]
    pub schema: fn(&Document) -> serde_json::Value,
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Document")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Document {
    /// The `$id` of its schema.
    pub fn id(&self) -> String {
        format!("{SCHEMA_BASE}{}.json", self.name)
    }
}

macro_rules! documents {
    ($($name:literal, $type:ty, $kind:expr, $title:literal;)+) => {
        &[$(Document {
            name: $name,
            title: $title,
            kind: $kind,
            secret: false,
            check: |name, text, node| from_node::<$type>(name, text, node).map(drop),
            #[cfg(feature = "json-schema")]
            schema: crate::schema::of::<$type>,
        }),+]
    };
}

/// What a device reads. Readers cost space, so that a device carries no others.
const DEVICE: &[Document] = documents! {
    "artifact", Artifact, None, "A .jos artifact, upstream format v0.0.7";
    "desired-state", DesiredState, Some(desired_state::KIND), "What a device should look like";
    "policy", Policy, Some(policy::KIND), "What each source is granted on a device";
    "trust", Trust, Some(trust::KIND), "Which keys may do what";
    "agent-config", AgentConfig, None, "agent.toml: how one agent runs on a machine";
};

/// What only workstations and hubs look at as files.
#[cfg(feature = "json-schema")]
mod workstation {
    use super::{Document, check_key, check_profile};
    use crate::documents::answer::Answer;
    use crate::documents::checkpoint::Checkpoint;
    use crate::documents::hub::{DeviceFloor, Enrolment, Freshness, Heartbeat, HubCa, Renewal, StateReport};
    use crate::documents::key::{KeyFile, PublicKeyFile};
    use crate::documents::ledger::{Decision, Proposal, Record};
    use crate::documents::rollout::Rollout;
    use crate::documents::runtime::{Eval, Job, RuntimeAgent, Schedule, Tool};
    use crate::read::from_node;

    pub(super) const PLAIN: &[Document] = documents! {
        "freshness", Freshness, Some("jos.freshness"), "What the hub offers one device now";
        "floor", DeviceFloor, Some("jos.floor"), "What the hub remembers of one device's versions";
        "hub-ca", HubCa, Some("jos.hub_ca"), "The CA that a hub goes over to, vouched for by a tenant's admins";
        "proposal", Proposal, None, "What anybody may hand to the plane";
        "decision", Decision, None, "A proposal that the plane took up";
        "record", Record, None, "One record of a ledger";
        "checkpoint", Checkpoint, Some("jos.checkpoint"), "Everything a ledger stands for at one point";
        "enrolment", Enrolment, Some("jos.enrolment"), "A device's request to be known";
        "renewal", Renewal, Some("jos.renewal"), "A device's request for a certificate after a long absence";
        "heartbeat", Heartbeat, Some("jos.heartbeat"), "What a device says each time it calls";
        "report", StateReport, Some("jos.report"), "How an apply ended, for the hub";
        "answer", Answer, Some("jos.answer"), "What a device tells when people at its hub ask";
        "job", Job, Some("jos.job"), "Work for an agent of the runtime";
        "schedule", Schedule, Some("jos.schedule"), "Submits a job again and again";
        "eval", Eval, Some("jos.eval"), "A case that an agent must pass";
        "agent", RuntimeAgent, Some("jos.runtime_agent"), "A program that proposes decisions";
        "tool", Tool, Some("jos.tool"), "A program that executes decisions of its own kinds";
        "rollout", Rollout, Some("jos.rollout"), "How a version reaches a fleet";
        "public-key", PublicKeyFile, Some("jos.public_key"), "A public key";
    };

    pub(super) const PROFILE: Document = Document {
        name: "profile",
        title: "What a vendor writes to bake an appliance",
        kind: None,
        secret: false,
        check: check_profile,
        schema: crate::schema::of_profile,
    };

    pub(super) const KEY: Document = Document {
        name: "key",
        title: "A secret key",
        kind: Some("jos.key"),
        secret: true,
        check: check_key,
        schema: crate::schema::of::<KeyFile>,
    };
}

/// Every document that this build reads, by name.
pub fn catalogue() -> Vec<Document> {
    let mut all = DEVICE.to_vec();
    #[cfg(feature = "json-schema")]
    {
        all.extend_from_slice(workstation::PLAIN);
        all.extend([workstation::PROFILE, workstation::KEY]);
    }
    all.sort_by_key(|document| document.name);
    all
}

/// The document called `name`, or the name that was most likely meant.
pub fn find(name: &str) -> Result<Document, Option<&'static str>> {
    let all = catalogue();
    match all
        .iter()
        .find(|document| document.name == name || document.kind == Some(name))
    {
        Some(document) => Ok(*document),
        None => Err(crate::read::nearest(name, all.iter().map(|document| document.name))),
    }
}

/// Tells a document by its `kind`, by `$schema`, by `id_jos`, else by members that no other document has.
pub fn detect(node: &Node) -> Option<Document> {
    let text = |key: &str| node.get(key).and_then(Node::as_str);
    let has = |key: &str| node.get(key).is_some();
    if let Some(kind) = text("kind")
        && let Some(document) = catalogue().into_iter().find(|document| document.kind == Some(kind))
    {
        return Some(document);
    }
    let named = text("$schema")
        .and_then(|id| id.rsplit('/').next())
        .and_then(|file| file.strip_suffix(".json"));
    if let Some(document) = named.and_then(|name| find(name).ok()) {
        return Some(document);
    }
    let name = if has("id_jos") || has("orchestration_contract") {
        "artifact"
    } else if has("payload") && has("prev") {
        "record"
    } else if has("payload") && has("source") {
        "decision"
    } else if has("payload") {
        "proposal"
    } else if has("agent") && has("id") {
        "job"
    } else if has("spec") && has("meta") {
        "desired-state"
    } else if has("keys") && has("roles") {
        "trust"
    } else if ["brand", "package", "target", "extends", "image", "outputs", "files"]
        .into_iter()
        .any(has)
    {
        "profile"
    } else if has("grants") {
        "policy"
    } else if has("name")
        && [
            "artifact",
            "state",
            "policy",
            "trust",
            "state_dir",
            "interval",
            "hub",
            "runtime",
        ]
        .into_iter()
        .any(has)
    {
        "agent-config"
    } else {
        return None;
    };
    find(name).ok()
}

/// A profile is read after its `"name+"` lists have been laid on nothing; what it extends is not looked at.
#[cfg(feature = "json-schema")]
fn check_profile(name: &str, text: &str, node: &Node) -> Result<(), Report> {
    use crate::documents::profile::{self, Profile};
    use crate::node::Kind;
    use crate::report::Issue;

    let mut merged = Node {
        span: node.span.clone(),
        kind: Kind::Object(Vec::new()),
    };
    let mut wrong = Vec::new();
    profile::merge(&mut merged, node.clone(), &mut |at, message| {
        wrong.push(Issue::new(message).at(text, &at.span))
    });
    let read = from_node::<Profile>(name, text, &merged).map(drop);
    if wrong.is_empty() {
        return read;
    }
    let mut report = read.err().unwrap_or_else(|| Report {
        file: name.to_owned(),
        issues: Vec::new(),
        more: false,
    });
    report.issues.append(&mut wrong);
    report.issues.sort_by_key(|issue| (issue.line, issue.column));
    Err(report)
}

/// No part of a secret key reaches a message, wherever it was written by mistake.
#[cfg(feature = "json-schema")]
fn check_key(name: &str, text: &str, node: &Node) -> Result<(), Report> {
    from_node::<crate::documents::key::KeyFile>(name, text, node)
        .map(drop)
        .map_err(Report::without_content)
}
