//! What the parts of a node ask of each other: agents, tools, models, and the handles through which they touch anything.
//!
//! Both sides of every trait live in this crate or in the program; a trait here never carries a path, a socket or a
//! clock, so whoever implements it has no more power than what is handed to it in the call.

use jos_schemas::documents::ledger::{Decision, Proposal};
use jos_schemas::documents::runtime::{Change, Job, Right};
use jos_schemas::text::Name;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Thinks: turns a job into proposals. It holds nothing between calls that a replay would need.
pub trait Agent: Send + Sync {
    /// What it proposes for `job`. The hands that a node gives it here read, receive and ask; they change nothing.
    fn decide(&self, job: &Job, hands: &mut dyn Hands) -> Result<Vec<Proposal>, AgentError>;
}

/// Acts: executes the decisions of its own kinds, after the gate and the ledger.
pub trait Tool: Send + Sync {
    /// The kinds that it executes.
    fn kinds(&self) -> &[String];
    /// Whether the payload is one that it would execute; the reason when not. Asked by the gate, before anything is recorded.
    fn validate(&self, decision: &Decision) -> Result<(), String>;
    /// Does it, and gives the result that the record captures.
    fn execute(&self, decision: &Decision, hands: &mut dyn Hands) -> Result<Value, AgentError>;
}

/// All that an agent or a tool can reach: each call is held against what **the proposing agent** was granted, and audited.
pub trait Hands {
    /// Whose grants count.
    fn agent(&self) -> &Name;
    /// The content of a file below the data directory.
    fn read(&mut self, path: &str) -> Result<Vec<u8>, AgentError>;
    /// Writes a file below the data directory, whole or not at all.
    fn write(&mut self, path: &str, content: &[u8]) -> Result<(), AgentError>;
    /// Puts a message into a queue.
    fn send(&mut self, queue: &str, message: &Value) -> Result<(), AgentError>;
    /// Takes the oldest message out of a queue.
    fn receive(&mut self, queue: &str) -> Result<Option<Value>, AgentError>;
    /// Asks the model; the reply is captured.
    fn ask(&mut self, request: &Prompt) -> Result<Reply, AgentError>;
    /// Proposes a change of the device to its plane, under the id of the node's decision; gives what came of it.
    fn propose(&mut self, _decision: &str, _change: &Change) -> Result<Value, AgentError> {
        Err(AgentError::Failed(
            "only a decision of the kind device.propose reaches the plane".into(),
        ))
    }
    /// Notes an access that was refused before it reached these hands (a tool's own grants), and gives the refusal.
    fn deny(&mut self, right: Right, to: &str) -> AgentError {
        AgentError::Failed(format!("{} was not granted {right:?} on {to}", self.agent()))
    }
}

/// A language model behind one trait: swapped by configuration alone.
pub trait Model: Send + Sync {
    /// Its name, as `echo` or `openai:gpt-4o`.
    fn name(&self) -> &str;
    /// The reply to a prompt. Runs on the thread of the job that asks.
    fn complete(&self, prompt: &Prompt) -> Result<Reply, AgentError>;
}

/// The plane of the device whose daemon runs this node. It has a gate and a ledger of its own.
pub trait Device: Send + Sync {
    /// Hands a change over and waits for what comes of it. The same change of the same decision is done once, however often it
    /// is handed over.
    fn propose(&self, proposed: &Proposed<'_>) -> Result<Value, AgentError>;
}

/// A change of the device, with what the node knows of who proposes it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Proposed<'p> {
    /// The agent, by the node's own knowledge.
    pub agent: &'p Name,
    /// The job.
    pub job: &'p str,
    /// The node's decision.
    pub decision: &'p str,
    /// The change.
    pub change: &'p Change,
}

/// What a model is asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    /// What the model is told of its part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The question.
    pub prompt: String,
    /// Handed to the model as they are: `temperature`, `max_tokens`, …
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub options: serde_json::Map<String, Value>,
}

/// What a model answered, as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Which model.
    pub model: String,
    /// What it said.
    pub text: String,
}

/// One access that was asked for: allowed or denied, in the order of asking.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Access {
    /// Who asked, by the node's own knowledge.
    pub agent: Name,
    /// For what.
    pub right: Right,
    /// The path or the queue.
    pub to: String,
    /// Whether it was given.
    pub allowed: bool,
}

/// Why an agent, a tool, a model or a handle did not do what it was asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AgentError {
    /// Not granted.
    #[error("{agent} was not granted {right} on {to}; a role or a capability would have to name it")]
    Denied {
        /// Who.
        agent: Name,
        /// What, as `fs.write`.
        right: String,
        /// The path or the queue.
        to: String,
    },
    /// It ran and failed.
    #[error("{0}")]
    Failed(String),
    /// It passed a limit: time, memory, fuel, length.
    #[error("stopped: {0}")]
    Limit(String),
}
