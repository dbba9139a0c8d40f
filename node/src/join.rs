//! Where the node and what it runs are joined: who the agents and tools are, through which hands they act, what time it is.
//!
//! Owns the traits and the one agent that needs no file, `advance`. The registry of a data directory implements
//! [`Agents`]; the program brings clock and randomness.

use std::sync::Arc;

use jos_schemas::documents::ledger::Proposal;
use jos_schemas::documents::runtime::{Job, Right};
use jos_schemas::text::Name;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::contract::{Access, Agent, AgentError, Hands, Prompt, Reply, Tool};

/// Who can be asked, and through what they act.
pub trait Agents: Send + Sync {
    /// Looks whether files came, changed or went. Cheap when none did.
    fn refresh(&self);
    /// The agent of a name.
    fn agent(&self, name: &Name) -> Option<Arc<dyn Agent>>;
    /// The tool that executes decisions of a kind.
    fn tool(&self, kind: &str) -> Option<Arc<dyn Tool>>;
    /// The names of all agents, sorted.
    fn agents(&self) -> Vec<String>;
    /// The kinds that tools execute, sorted.
    fn kinds(&self) -> Vec<String>;
    /// Files that could not be loaded, and why.
    fn broken(&self) -> Vec<Broken>;
    /// Hands that can reach what this agent was granted, for one job, and write down what was asked of them.
    fn hands(&self, agent: &Name, job: &str) -> Box<dyn Audited>;
}

/// A file that is no agent and no tool, although it lies where they do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// Its path below the data directory.
    pub place: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Hands that keep what was asked of them.
pub trait Audited: Hands + Send {
    /// What was asked since the last call, in order.
    fn trail(&mut self) -> Trail;
    /// The job has ended for good: what was lent to it for the case that it runs again can go.
    fn settle(&mut self) -> Result<(), AgentError>;
}

/// What was asked of hands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trail {
    /// Every access, allowed or denied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accesses: Vec<Access>,
    /// Every question to the model, with its reply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Asked>,
}

/// A question to the model and what it said: captured, so that a replay asks nobody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// What was asked.
    pub prompt: Prompt,
    /// The reply.
    pub reply: Reply,
}

/// Fills bytes.
pub type Fill = dyn Fn(&mut [u8]) + Send + Sync;

/// What the program brings from outside.
#[derive(Clone)]
pub struct Outside {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub now: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Fills bytes unpredictably.
    pub random: Arc<Fill>,
}

impl Outside {
    /// So many random bytes in hex.
    pub fn hex(&self, bytes: usize) -> String {
        let mut buffer = vec![0; bytes];
        (self.random)(&mut buffer);
        buffer.iter().map(|b| format!("{b:02x}")).collect()
    }
}

/// The name of the built-in agent.
pub const ADVANCE: &str = "advance";

/// Proposes one `advance` with the job's input: the smallest agent, built in.
#[derive(Clone, Copy, Debug)]
pub struct Advance;

impl Agent for Advance {
    fn decide(&self, job: &Job, _: &mut dyn Hands) -> Result<Vec<Proposal>, AgentError> {
        Ok(vec![Proposal {
            id: "advance".into(),
            kind: ADVANCE.into(),
            payload: job.input.clone(),
        }])
    }
}

/// A node without a registry: the built-in agent alone, and hands that reach nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Agents for Alone {
    fn refresh(&self) {}
    fn agent(&self, name: &Name) -> Option<Arc<dyn Agent>> {
        (name.as_str() == ADVANCE).then(|| Arc::new(Advance) as Arc<dyn Agent>)
    }
    fn tool(&self, _: &str) -> Option<Arc<dyn Tool>> {
        None
    }
    fn agents(&self) -> Vec<String> {
        vec![ADVANCE.into()]
    }
    fn kinds(&self) -> Vec<String> {
        Vec::new()
    }
    fn broken(&self) -> Vec<Broken> {
        Vec::new()
    }
    fn hands(&self, agent: &Name, _: &str) -> Box<dyn Audited> {
        Box::new(Empty {
            agent: agent.clone(),
            trail: Trail::default(),
        })
    }
}

/// Hands that were given nothing: default deny, audited.
struct Empty {
    agent: Name,
    trail: Trail,
}

impl Empty {
    fn deny<T>(&mut self, right: Right, word: &str, to: &str) -> Result<T, AgentError> {
        self.trail.accesses.push(Access {
            agent: self.agent.clone(),
            right,
            to: to.to_owned(),
            allowed: false,
        });
        Err(AgentError::Denied {
            agent: self.agent.clone(),
            right: word.to_owned(),
            to: to.to_owned(),
        })
    }
}

impl Hands for Empty {
    fn agent(&self) -> &Name {
        &self.agent
    }
    fn read(&mut self, path: &str) -> Result<Vec<u8>, AgentError> {
        self.deny(Right::FsRead, "fs.read", path)
    }
    fn write(&mut self, path: &str, _: &[u8]) -> Result<(), AgentError> {
        self.deny(Right::FsWrite, "fs.write", path)
    }
    fn send(&mut self, queue: &str, _: &Value) -> Result<(), AgentError> {
        self.deny(Right::QueueSend, "queue.send", queue)
    }
    fn receive(&mut self, queue: &str) -> Result<Option<Value>, AgentError> {
        self.deny(Right::QueueReceive, "queue.receive", queue)
    }
    fn ask(&mut self, _: &Prompt) -> Result<Reply, AgentError> {
        Err(AgentError::Failed("this node has no model".into()))
    }
}

impl Audited for Empty {
    fn trail(&mut self) -> Trail {
        std::mem::take(&mut self.trail)
    }
    fn settle(&mut self) -> Result<(), AgentError> {
        Ok(())
    }
}
