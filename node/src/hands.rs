//! What an agent or a tool touches the world with: every call held against what the **proposing** agent was granted.
//!
//! Owns the real [`Hands`]: files below the data directory (by descriptors, no link is followed), queues, facts about the
//! machine, the model. Allowed or denied, each call leaves an [`Access`] with the name that the node knows the agent by;
//! what a model said is kept for the ledger.

mod facts;
mod files;
mod queues;
#[cfg(test)]
mod tests;
mod thinking;

use std::path::PathBuf;
use std::sync::Arc;

use jos_schemas::documents::runtime::{Change, Right};
use jos_schemas::text::Name;
use serde_json::Value;

use crate::contract::{Access, AgentError, Device, Hands, Model, Prompt, Proposed, Reply};
use crate::queue::Messages;
use crate::roles::{self, Grants};
use files::Files;
use queues::Queue;
pub(crate) use thinking::Thinking;

/// Bytes of one file, either way.
pub const FILE_LIMIT: usize = 1 << 20;
/// Bytes of one question to a model, its system text included.
const QUESTION_LIMIT: usize = 256 << 10;
/// Bytes of one answer.
const ANSWER_LIMIT: usize = 1 << 20;
/// Calls of one job; the audit stays bounded.
const CALLS: usize = 4096;
/// Questions of one job.
const QUESTIONS: usize = 64;

/// What hands are made of.
#[derive(Clone)]
pub struct Grip {
    /// The data directory.
    pub root: PathBuf,
    /// The proposing agent, by the node's own knowledge.
    pub agent: Name,
    /// The job it works on: a message that it takes is kept until [`Granted::settle`], for the case that the job runs again.
    pub job: String,
    /// What it was granted.
    pub grants: Arc<Grants>,
    /// Who answers its questions.
    pub model: Arc<dyn Model>,
    /// The device, where its daemon runs this node.
    pub device: Option<Arc<dyn Device>>,
    /// Where messages to other agents are; without it, in files below the root.
    pub messages: Option<Arc<dyn Messages>>,
}

/// A model's part in a job, as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Asked {
    /// The question.
    pub prompt: Prompt,
    /// The answer.
    pub reply: Reply,
}

/// All that was asked for through hands, in order.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Captured {
    /// Accesses, allowed and denied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accesses: Vec<Access>,
    /// Questions and answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Asked>,
}

/// The hands of one agent for one job.
pub struct Granted {
    grip: Grip,
    taken: Vec<Queue>,
    captured: Captured,
}

impl Granted {
    /// Hands that hold nothing yet; nothing is opened before it is asked for.
    pub fn new(grip: Grip) -> Self {
        Self {
            grip,
            taken: Vec::new(),
            captured: Captured::default(),
        }
    }

    /// What was asked for so far, given away.
    pub fn take_captured(&mut self) -> Captured {
        std::mem::take(&mut self.captured)
    }

    /// The job has ended for good: the messages that it took are gone. Without it, they come again when the job runs again.
    pub fn settle(&mut self) -> Result<(), AgentError> {
        self.taken.drain(..).try_for_each(|queue| queue.settle(&self.grip.job))
    }

    /// Notes the access and says whether it is given.
    fn ask_for(&mut self, right: Right, to: &str, well_formed: Result<(), String>) -> Result<(), AgentError> {
        if self.captured.accesses.len() >= CALLS {
            return Err(AgentError::Limit(format!("more than {CALLS} accesses in one job")));
        }
        let granted = self.grip.grants.allow(right, to) && !roles::is_closed(right, to);
        let allowed = granted && well_formed.is_ok();
        self.captured.accesses.push(Access {
            agent: self.grip.agent.clone(),
            right,
            to: shortened(to),
            allowed,
        });
        if let Err(why) = well_formed {
            return Err(AgentError::Failed(why));
        }
        if !granted {
            return Err(AgentError::Denied {
                agent: self.grip.agent.clone(),
                right: roles::right_word(right).to_owned(),
                to: shortened(to),
            });
        }
        Ok(())
    }

    fn queue(&mut self, right: Right, name: &str) -> Result<Queue, AgentError> {
        let well_formed = Name::new(name).map(drop).map_err(|e| format!("a queue's name: {e}"));
        self.ask_for(right, name, well_formed)?;
        Ok(Queue::new(&self.grip.root, name, self.grip.messages.as_ref()))
    }
}

impl Hands for Granted {
    fn agent(&self) -> &Name {
        &self.grip.agent
    }

    fn read(&mut self, path: &str) -> Result<Vec<u8>, AgentError> {
        self.ask_for(Right::FsRead, path, roles::place(path))?;
        match path.strip_prefix("facts/") {
            Some(which) => facts::read(which, &self.grip.root),
            None => Files::open(&self.grip.root)?.read(path),
        }
    }

    fn write(&mut self, path: &str, content: &[u8]) -> Result<(), AgentError> {
        self.ask_for(Right::FsWrite, path, roles::place(path))?;
        Files::open(&self.grip.root)?.write(path, content)
    }

    fn send(&mut self, queue: &str, message: &Value) -> Result<(), AgentError> {
        self.queue(Right::QueueSend, queue)?.send(message)
    }

    fn receive(&mut self, queue: &str) -> Result<Option<Value>, AgentError> {
        let mut opened = match self.taken.iter().position(|open| open.name() == queue) {
            // Audited like the first time.
            Some(at) => {
                self.queue(Right::QueueReceive, queue)?;
                self.taken.remove(at)
            }
            None => self.queue(Right::QueueReceive, queue)?,
        };
        let message = opened.receive(&self.grip.job);
        self.taken.push(opened);
        message
    }

    fn ask(&mut self, request: &Prompt) -> Result<Reply, AgentError> {
        if self.captured.asked.len() >= QUESTIONS {
            return Err(AgentError::Limit(format!("more than {QUESTIONS} questions in one job")));
        }
        let length = request.prompt.len() + request.system.as_ref().map_or(0, String::len);
        if length > QUESTION_LIMIT {
            return Err(AgentError::Limit(format!(
                "a question of {length} bytes, at most {QUESTION_LIMIT} are asked"
            )));
        }
        let reply = self.grip.model.complete(request)?;
        if reply.text.len() > ANSWER_LIMIT {
            let length = reply.text.len();
            return Err(AgentError::Limit(format!(
                "{} answered with {length} bytes, at most {ANSWER_LIMIT} are taken",
                reply.model
            )));
        }
        self.captured.asked.push(Asked {
            prompt: request.clone(),
            reply: reply.clone(),
        });
        Ok(reply)
    }

    fn propose(&mut self, decision: &str, change: &Change) -> Result<Value, AgentError> {
        self.ask_for(Right::DevicePropose, change.name.as_str(), Ok(()))?;
        let Some(device) = &self.grip.device else {
            let why = "no device's daemon runs this node, so there is no plane; [runtime] in agent.toml runs one";
            return Err(AgentError::Failed(why.into()));
        };
        device.propose(&Proposed {
            agent: &self.grip.agent,
            job: &self.grip.job,
            decision,
            change,
        })
    }

    fn deny(&mut self, right: Right, to: &str) -> AgentError {
        if self.captured.accesses.len() < CALLS {
            self.captured.accesses.push(Access {
                agent: self.grip.agent.clone(),
                right,
                to: shortened(to),
                allowed: false,
            });
        }
        AgentError::Denied {
            agent: self.grip.agent.clone(),
            right: roles::right_word(right).to_owned(),
            to: shortened(to),
        }
    }
}

/// The hands of a tool: what the proposing agent was granted **and** the tool itself was. So neither borrows power of the other.
pub struct Narrowed<'h> {
    hands: &'h mut dyn Hands,
    grants: &'h Grants,
}

impl<'h> Narrowed<'h> {
    /// Leaves of `hands` only what `grants` has as well.
    pub fn new(hands: &'h mut dyn Hands, grants: &'h Grants) -> Self {
        Self { hands, grants }
    }

    fn check(&mut self, right: Right, to: &str) -> Result<(), AgentError> {
        if self.grants.allow(right, to) {
            Ok(())
        } else {
            Err(self.hands.deny(right, to))
        }
    }
}

impl Hands for Narrowed<'_> {
    fn agent(&self) -> &Name {
        self.hands.agent()
    }

    fn read(&mut self, path: &str) -> Result<Vec<u8>, AgentError> {
        self.check(Right::FsRead, path)?;
        self.hands.read(path)
    }

    fn write(&mut self, path: &str, content: &[u8]) -> Result<(), AgentError> {
        self.check(Right::FsWrite, path)?;
        self.hands.write(path, content)
    }

    fn send(&mut self, queue: &str, message: &Value) -> Result<(), AgentError> {
        self.check(Right::QueueSend, queue)?;
        self.hands.send(queue, message)
    }

    fn receive(&mut self, queue: &str) -> Result<Option<Value>, AgentError> {
        self.check(Right::QueueReceive, queue)?;
        self.hands.receive(queue)
    }

    /// No model below the gate: what it says is thought, and thought belongs before the decision.
    fn ask(&mut self, _: &Prompt) -> Result<Reply, AgentError> {
        Err(AgentError::Failed(
            "a tool asks no model: an agent asks, and proposes what came of it".into(),
        ))
    }

    fn deny(&mut self, right: Right, to: &str) -> AgentError {
        self.hands.deny(right, to)
    }
}

/// The hands of a check, which may look at the decision and at nothing else.
pub(crate) struct Nobody;

fn nothing<T>() -> Result<T, AgentError> {
    Err(AgentError::Failed("while it validates, a tool has no hands".into()))
}

impl Hands for Nobody {
    fn agent(&self) -> &Name {
        static NOBODY: std::sync::OnceLock<Name> = std::sync::OnceLock::new();
        #[allow(clippy::expect_used, reason = "a constant that holds")]
        NOBODY.get_or_init(|| Name::new("nobody").expect("a name"))
    }
    fn read(&mut self, _: &str) -> Result<Vec<u8>, AgentError> {
        nothing()
    }
    fn write(&mut self, _: &str, _: &[u8]) -> Result<(), AgentError> {
        nothing()
    }
    fn send(&mut self, _: &str, _: &Value) -> Result<(), AgentError> {
        nothing()
    }
    fn receive(&mut self, _: &str) -> Result<Option<Value>, AgentError> {
        nothing()
    }
    fn ask(&mut self, _: &Prompt) -> Result<Reply, AgentError> {
        nothing()
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(256).collect()
}
