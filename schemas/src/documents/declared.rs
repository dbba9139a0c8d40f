//! `[runtime]` of an `agent.toml` and of a profile: the node that a device's daemon runs, and what it declares for it.
//!
//! What is declared is written in the words of the files that stand in a node's data directory, and is read by the types of
//! these files: there is no second form of an agent, a schedule or a model.

use std::collections::BTreeMap;

#[cfg(feature = "json-schema")]
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::runtime::ModelConfig;
use crate::check::{Check, Issues, checked};
use crate::ruled;
use crate::text::{AbsPath, Name};

/// A node of the runtime, run and watched by the daemon. Its agents, tools, schedules and model are the files of its data
/// directory: those declared here, and those put there by people or by the `file` steps of a desired state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct RuntimeConfig {
    /// The node's data directory; made when it is not there.
    pub data_dir: AbsPath,
    /// Whom the node runs as, where the daemon is root; the daemon's own user when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe::<_, ruled::AccountName>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<ruled::AccountName>"))]
    pub user: Option<String>,
    /// Jobs at a time; 8 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "ruled::maybe_int::<_, _, 1, 1_024>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 1_024)))]
    pub workers: Option<u16>,
    /// Which of `models` the agents ask; may be left out where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Name>,
    /// Models by names of your own, each in the words of `config/llm.toml`. The chosen one becomes that file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<Name, ModelConfig>,
    /// Agents by name, each in the words of its file: a `jos.runtime_agent`, or with `orchestration` a `.jos` artifact of
    /// prompts. The table's name is `name` or `id_jos`, and `kind` and the contract's version may be left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "json-schema", schemars(schema_with = "agents_schema"))]
    pub agents: BTreeMap<Name, Map<String, Value>>,
    /// Schedules, each in the words of `jos.schedule`; `kind` may be left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "json-schema", schemars(schema_with = "schedules_schema"))]
    pub schedules: Vec<Map<String, Value>>,
}

checked!(RuntimeConfig);

impl RuntimeConfig {
    /// The node of a data directory, for which nothing is declared.
    pub fn at(data_dir: AbsPath) -> Self {
        Self {
            data_dir,
            user: None,
            workers: None,
            model: None,
            models: BTreeMap::new(),
            agents: BTreeMap::new(),
            schedules: Vec::new(),
        }
    }

    /// The files of what is declared, below the data directory.
    pub fn files(&self) -> Vec<String> {
        let agents = self.agents.iter().map(|(name, table)| agent_file(name, table));
        let schedules = self.schedules.iter().filter_map(schedule_file);
        let model = self.chosen().map(|_| MODEL_FILE.to_owned());
        agents.chain(schedules).chain(model).collect()
    }

    /// The model that its agents ask, where one is declared.
    pub fn chosen(&self) -> Option<&ModelConfig> {
        match &self.model {
            Some(name) => self.models.get(name),
            None => self.models.values().next(),
        }
    }
}

/// Where the chosen model goes, below the data directory.
pub const MODEL_FILE: &str = "config/llm.toml";

/// Where an agent goes.
pub fn agent_file(name: &Name, table: &Map<String, Value>) -> String {
    let kind = if is_artifact(table) { "jos" } else { "json" };
    format!("agents/{name}.{kind}")
}

/// Where a schedule goes; nothing where it has no name.
pub fn schedule_file(table: &Map<String, Value>) -> Option<String> {
    let name = Name::new(table.get("name")?.as_str()?).ok()?;
    Some(format!("schedules/{name}.json"))
}

/// Whether the table of an agent is an artifact's.
pub fn is_artifact(agent: &Map<String, Value>) -> bool {
    agent.contains_key("orchestration")
}

/// The whole document of a declared agent: with what its table may leave out.
pub fn agent(name: &Name, table: &Map<String, Value>) -> Map<String, Value> {
    let mut whole = table.clone();
    let mut or = |key: &str, value: Value| {
        whole.entry(key).or_insert(value);
    };
    if is_artifact(table) {
        or("id_jos", name.as_str().into());
        or("orchestration_contract", serde_json::json!({ "version": "0.0.7" }));
    } else {
        or("kind", "jos.runtime_agent".into());
        or("name", name.as_str().into());
    }
    whole
}

/// The same of a schedule.
pub fn schedule(table: &Map<String, Value>) -> Map<String, Value> {
    let mut whole = table.clone();
    whole.entry("kind").or_insert_with(|| "jos.schedule".into());
    whole
}

impl Check for RuntimeConfig {
    fn check(&self, issues: &mut Issues) {
        let known = || self.models.keys().map(Name::as_str).collect::<Vec<_>>().join(", ");
        match &self.model {
            Some(name) if !self.models.contains_key(name) => {
                let expected = match self.models.is_empty() {
                    true => "a table [runtime.models.NAME]".to_owned(),
                    false => format!("one of {}", known()),
                };
                issues.add("/model", format!("found {:?}, expected {expected}", name.as_str()));
            }
            None if self.models.len() > 1 => {
                issues
                    .add("", format!("found the models {} and no \"model\"", known()))
                    .help("say which of them the agents ask: model = \"NAME\" under [runtime]");
            }
            _ => {}
        }
        #[cfg(feature = "runtime")]
        typed::check(self, issues);
    }
}

/// Reads what is declared by the types of the files. Who runs no node has no use for it, and no room.
#[cfg(feature = "runtime")]
mod typed {
    use std::collections::BTreeMap;

    use serde::de::DeserializeOwned;
    use serde_json::{Map, Value};

    use super::{Issues, RuntimeConfig, agent, is_artifact, schedule};
    use crate::documents::artifact::Artifact;
    use crate::documents::runtime::{RuntimeAgent, Schedule};
    use crate::read::from_json;

    pub(super) fn check(config: &RuntimeConfig, issues: &mut Issues) {
        for (name, table) in &config.agents {
            let at = format!("/agents/{name}");
            let whole = agent(name, table);
            let named = match is_artifact(table) {
                true => read::<Artifact>(whole, &at, issues).map(|artifact| ("id_jos", artifact.id_jos)),
                false => read::<RuntimeAgent>(whole, &at, issues).map(|agent| ("name", agent.name)),
            };
            if let Some((field, said)) = named.filter(|(_, said)| said != name) {
                let message = format!("found {:?}, expected {:?}", said.as_str(), name.as_str());
                issues
                    .add(format!("{at}/{field}"), message)
                    .help(format!("the table's name is the agent's: leave {field} out"));
            }
        }
        let mut names = BTreeMap::new();
        for (number, table) in config.schedules.iter().enumerate() {
            let at = format!("/schedules/{number}");
            let Some(read) = read::<Schedule>(schedule(table), &at, issues) else {
                continue;
            };
            if let Some(first) = names.insert(read.name.clone(), number) {
                let message = format!("found {:?}, which /schedules/{first} has already", read.name.as_str());
                issues.add(format!("{at}/name"), message).help("names are unique");
            }
        }
    }

    fn read<T: DeserializeOwned>(whole: Map<String, Value>, at: &str, issues: &mut Issues) -> Option<T> {
        match from_json(&Value::Object(whole)) {
            Ok(read) => Some(read),
            Err(report) => {
                for issue in report.issues {
                    let added = issues.add(format!("{at}{}", issue.pointer), issue.message);
                    if let Some(help) = issue.help {
                        added.help(help);
                    }
                }
                None
            }
        }
    }
}

/// The document's own schema, with nothing required of what the table may leave out.
#[cfg(feature = "json-schema")]
fn but<T: JsonSchema>(generator: &mut SchemaGenerator, left_out: &[&str], more: &[&str]) -> Schema {
    let mut schema = T::json_schema(generator);
    let mut required: Vec<Value> = match schema.get("required") {
        Some(Value::Array(names)) => names.clone(),
        _ => Vec::new(),
    };
    required.retain(|name| !name.as_str().is_some_and(|name| left_out.contains(&name)));
    required.extend(more.iter().map(|name| Value::from(*name)));
    match required.is_empty() {
        true => drop(schema.remove("required")),
        false => drop(schema.insert("required".into(), Value::Array(required))),
    }
    schema
}

#[cfg(feature = "json-schema")]
fn agents_schema(generator: &mut SchemaGenerator) -> Schema {
    use crate::documents::artifact::Artifact;
    use crate::documents::runtime::RuntimeAgent;

    let artifact = but::<Artifact>(generator, &["id_jos", "orchestration_contract"], &["orchestration"]);
    let program = but::<RuntimeAgent>(generator, &["kind", "name"], &[]);
    let either = serde_json::json!({ "anyOf": [program, artifact] });
    // As of any table by names, with what a name may be.
    let mut schema = BTreeMap::<Name, Value>::json_schema(generator);
    if let Some(Value::Object(patterns)) = schema.get_mut("patternProperties") {
        patterns.values_mut().for_each(|value| *value = either.clone());
    }
    schema
}

#[cfg(feature = "json-schema")]
fn schedules_schema(generator: &mut SchemaGenerator) -> Schema {
    let one = but::<super::runtime::Schedule>(generator, &["kind"], &[]);
    schemars::json_schema!({ "type": "array", "items": one })
}
