//! The hands of an agent that thinks: what it is given to read, and nothing to change.
//!
//! Between a job and its decisions nothing may happen that the ledger does not have: a file that was written here would stand
//! although the proposals are refused, would be written again when the job runs again, and no replay would know of it.

use jos_schemas::documents::runtime::Right;
use jos_schemas::text::Name;
use serde_json::Value;

use crate::contract::{AgentError, Hands, Prompt, Reply};

/// Leaves of an agent's hands what changes nothing.
pub(crate) struct Thinking<'h>(pub(crate) &'h mut dyn Hands);

impl Thinking<'_> {
    /// On record like any other denial, whatever was granted.
    fn refuse(&mut self, right: Right, to: &str, instead: &str) -> AgentError {
        let _ = self.0.deny(right, to);
        let to = super::shortened(to);
        AgentError::Failed(format!(
            "{} changes nothing while it thinks: propose {instead} on {to} instead, and the node does it once the gate has passed it",
            self.0.agent()
        ))
    }
}

impl Hands for Thinking<'_> {
    fn agent(&self) -> &Name {
        self.0.agent()
    }

    fn read(&mut self, path: &str) -> Result<Vec<u8>, AgentError> {
        self.0.read(path)
    }

    fn write(&mut self, path: &str, _: &[u8]) -> Result<(), AgentError> {
        Err(self.refuse(Right::FsWrite, path, "fs.write"))
    }

    fn send(&mut self, queue: &str, _: &Value) -> Result<(), AgentError> {
        Err(self.refuse(Right::QueueSend, queue, "queue.send"))
    }

    /// What it takes comes again if the job runs again, and only its end drops it.
    fn receive(&mut self, queue: &str) -> Result<Option<Value>, AgentError> {
        self.0.receive(queue)
    }

    fn ask(&mut self, request: &Prompt) -> Result<Reply, AgentError> {
        self.0.ask(request)
    }

    fn deny(&mut self, right: Right, to: &str) -> AgentError {
        self.0.deny(right, to)
    }
}
