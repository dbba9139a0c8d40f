//! What drives the runtime: jobs, schedules, evals, agents, tools.

use std::collections::BTreeMap;

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::desired_state::Step;
use super::kind;
use crate::check::{Check, Issues, checked};
use crate::ruled;
use crate::text::{Name, Sha256Hex, Utc};

kind!(
    /// The constant `jos.job`.
    JobKind, "jos.job"
);
kind!(
    /// The constant `jos.schedule`.
    ScheduleKind, "jos.schedule"
);
kind!(
    /// The constant `jos.eval`.
    EvalKind, "jos.eval"
);
kind!(
    /// The constant `jos.runtime_agent`.
    AgentKind, "jos.runtime_agent"
);
kind!(
    /// The constant `jos.tool`.
    ToolKind, "jos.tool"
);

/// Work for an agent. Enters only as a file in `inbox/`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Where an editor finds the JSON Schema; ignored by jos.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// `jos.job`; may be left out in `inbox/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<JobKind>,
    /// Names the job's files; a second job of the same id is refused.
    #[serde(deserialize_with = "ruled::text::<_, ruled::Id>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::Id"))]
    pub id: String,
    /// Which agent.
    pub agent: Name,
    /// Given to the agent as it is.
    #[serde(default)]
    pub input: Value,
}

/// What becomes of firings that were missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// Dropped.
    #[default]
    Skip,
    /// Made up once.
    Once,
    /// Made up each.
    All,
}

/// Submits a job again and again. Exactly one of `every`, `cron`, `at`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, remote = "Self")]
#[cfg_attr(
    feature = "json-schema",
    schemars(extend("oneOf" = [{ "required": ["every"] }, { "required": ["cron"] }, { "required": ["at"] }]))
)]
pub struct Schedule {
    /// Where an editor finds the JSON Schema; ignored by jos.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Always `jos.schedule`.
    pub kind: ScheduleKind,
    /// Its name.
    pub name: Name,
    /// Which agent.
    pub agent: Name,
    /// The job's input.
    #[serde(default)]
    pub input: Value,
    /// Every so many seconds.
    #[serde(
        default,
        deserialize_with = "ruled::maybe_int::<_, _, 1, 31_536_000>",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 31_536_000)))]
    pub every: Option<u32>,
    /// Five cron fields, in `zone`.
    #[serde(
        default,
        deserialize_with = "ruled::maybe::<_, ruled::CronSchedule>",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<ruled::CronSchedule>"))]
    pub cron: Option<String>,
    /// Once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Utc>,
    /// IANA time zone, as `America/Mexico_City`; UTC when absent.
    #[serde(
        default,
        deserialize_with = "ruled::maybe::<_, ruled::Zone>",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<ruled::Zone>"))]
    pub zone: Option<String>,
    /// What becomes of firings that were missed.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// Does not fire.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
}

/// Who answers the agents' questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Says back the prompt.
    Echo,
    /// The same in capitals.
    Uppercase,
    /// A server of Ollama's own kind.
    Ollama,
    /// Any server that speaks `/chat/completions`.
    OpenAi,
}

impl Provider {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Uppercase => "uppercase",
            Self::Ollama => "ollama",
            Self::OpenAi => "openai",
        }
    }
}

/// The model that a node's agents ask: `config/llm.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Who answers; `JOS_LLM` counts before it, `echo` when both are absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// The model's name there, as `gemma2:2b`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Where it is: `http://…` or `https://…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// The name of the variable that holds the key: the key itself stands in no file that is copied around.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// Seconds for one answer, all of it; 120 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// Tries after the first; 2 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Whether the answer is taken as it comes; true when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    /// PEM file with the certificates to believe, instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Handed to the model as it is.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub options: Map<String, Value>,
}

/// A case that an agent must pass, run in isolation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Eval {
    /// Where an editor finds the JSON Schema; ignored by jos.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Always `jos.eval`.
    pub kind: EvalKind,
    /// Its name.
    pub name: Name,
    /// Which agent.
    pub agent: Name,
    /// The job's input.
    #[serde(default)]
    pub input: Value,
    /// What must come out.
    pub expect: Expect,
}

/// What must come out: at least one check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, remote = "Self", default)]
#[cfg_attr(feature = "json-schema", schemars(extend("minProperties" = 1)))]
pub struct Expect {
    /// The state machine's last state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<MachineState>,
    /// Kinds of the decisions, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decisions: Option<Vec<String>>,
    /// The result holds at least these members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<BTreeMap<String, Value>>,
    /// The job fails, and its reason contains this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The states of the runtime's machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum MachineState {
    /// Not begun.
    Pending,
    /// At work.
    Running,
    /// Waits for something.
    Blocked,
    /// Ended well.
    Done,
    /// Ended badly.
    Failed,
}

/// A program that proposes decisions. Plain `.jos` artifacts with `prompt` steps need no such document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, remote = "Self")]
#[cfg_attr(feature = "json-schema", schemars(extend("oneOf" = [{ "required": ["wasm"] }, { "required": ["argv"] }])))]
pub struct RuntimeAgent {
    /// Where an editor finds the JSON Schema; ignored by jos.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Always `jos.runtime_agent`.
    pub kind: AgentKind,
    /// Its name: what jobs ask for.
    pub name: Name,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A WebAssembly module beside this document, by hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wasm: Option<Sha256Hex>,
    /// A program that speaks JSON lines, and its arguments.
    #[serde(
        default,
        deserialize_with = "ruled::maybe_list::<_, ruled::Word>",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(
        feature = "json-schema",
        schemars(with = "Option<Vec<ruled::Word>>", length(min = 1, max = 64))
    )]
    pub argv: Option<Vec<String>>,
    /// Named bundles of rights that it is granted, as `worker`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Name>,
    /// What it is granted besides; nothing when both are empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Capability>,
}

/// A program that validates and executes decisions of its own kinds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, remote = "Self")]
#[cfg_attr(feature = "json-schema", schemars(extend("oneOf" = [{ "required": ["wasm"] }, { "required": ["argv"] }])))]
pub struct Tool {
    /// Where an editor finds the JSON Schema; ignored by jos.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Always `jos.tool`.
    pub kind: ToolKind,
    /// Its name.
    pub name: Name,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The decision kinds that it executes.
    #[serde(deserialize_with = "ruled::list::<_, ruled::DottedName>")]
    #[cfg_attr(
        feature = "json-schema",
        schemars(with = "Vec<ruled::DottedName>", length(min = 1, max = 64))
    )]
    pub decisions: Vec<String>,
    /// A WebAssembly module beside this document, by hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wasm: Option<Sha256Hex>,
    /// A program that speaks JSON lines, and its arguments.
    #[serde(
        default,
        deserialize_with = "ruled::maybe_list::<_, ruled::Word>",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(
        feature = "json-schema",
        schemars(with = "Option<Vec<ruled::Word>>", length(min = 1, max = 64))
    )]
    pub argv: Option<Vec<String>>,
    /// Named bundles of rights that it is granted, as `worker`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Name>,
    /// What it is granted besides; nothing when both are empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Capability>,
}

/// One right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Capability {
    /// What may be done.
    pub right: Right,
    /// A queue's name, or a path prefix below the data directory.
    #[serde(deserialize_with = "ruled::text::<_, ruled::RelativePath>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::RelativePath"))]
    pub to: String,
}

/// The payload of `device.propose`: a change of the device that an agent proposes to its plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The plane: the name of the device's agent, as in `meta.name` of its desired state.
    pub name: Name,
    /// Steps as a desired state has them, done in this order, all or none.
    pub steps: Vec<Step>,
}

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
pub enum Right {
    /// Put into a queue.
    #[serde(rename = "queue.send")]
    QueueSend,
    /// Take from a queue.
    #[serde(rename = "queue.receive")]
    QueueReceive,
    /// Read files.
    #[serde(rename = "fs.read")]
    FsRead,
    /// Write files.
    #[serde(rename = "fs.write")]
    FsWrite,
    /// Propose changes of the device to the plane of this name.
    #[serde(rename = "device.propose")]
    DevicePropose,
}

checked!(Schedule, Expect, RuntimeAgent, Tool);

impl Check for Schedule {
    fn check(&self, issues: &mut Issues) {
        let given = [self.every.is_some(), self.cron.is_some(), self.at.is_some()]
            .iter()
            .filter(|there| **there)
            .count();
        if given != 1 {
            issues.add(
                "",
                format!("found {given} of \"every\", \"cron\" and \"at\", expected exactly one"),
            );
        }
    }
}

impl Check for Expect {
    fn check(&self, issues: &mut Issues) {
        if *self == Expect::default() {
            issues
                .add("", "found no check, expected at least one")
                .help("a case that checks nothing would always pass");
        }
    }
}

/// Exactly one form, with its words.
fn form(wasm: bool, argv: Option<&[String]>, issues: &mut Issues) {
    if wasm == argv.is_some() {
        let found = if wasm { "both" } else { "neither" };
        issues.add("", format!("found {found} \"wasm\" and \"argv\", expected exactly one"));
    }
    if let Some(words) = argv.filter(|words| !(1..=64).contains(&words.len())) {
        issues.add("/argv", format!("found {} words, expected 1 to 64", words.len()));
    }
}

impl Check for RuntimeAgent {
    fn check(&self, issues: &mut Issues) {
        form(self.wasm.is_some(), self.argv.as_deref(), issues);
    }
}

impl Check for Tool {
    fn check(&self, issues: &mut Issues) {
        form(self.wasm.is_some(), self.argv.as_deref(), issues);
        if !(1..=64).contains(&self.decisions.len()) {
            issues.add(
                "/decisions",
                format!("found {} kinds, expected 1 to 64", self.decisions.len()),
            );
        }
    }
}
