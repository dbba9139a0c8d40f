//! Typed queues: what a message may be, and what a job is given.
//!
//! Where the messages are is another's matter ([`Messages`]): files below `state/queues/` ([`files`]), or the database that
//! several nodes share. Each is put there whole or not at all, and taken by one job. What a job takes stays until the job has
//! ended: a job that runs again after a crash gets the same messages again, nobody else does. What a queue takes is said in
//! `config/queues.toml`; one that is not named there takes any object.

mod files;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jos_schemas::read::{self, Format};
use serde_json::Value;

use crate::contract::AgentError;
use crate::queue::Messages;

/// Bytes of one message.
const MESSAGE_LIMIT: usize = 64 << 10;
/// Messages that wait in one queue.
const LENGTH: usize = 1024;
/// What a field of a message may be.
const TYPES: [&str; 6] = ["any", "boolean", "list", "number", "object", "string"];

/// One queue.
pub(super) struct Queue {
    root: PathBuf,
    name: String,
    messages: Arc<dyn Messages>,
    /// Of this job's messages, how many it was given already.
    given: usize,
}

impl Queue {
    pub(super) fn new(root: &Path, name: &str, messages: Option<&Arc<dyn Messages>>) -> Self {
        Self {
            root: root.to_owned(),
            name: name.to_owned(),
            messages: messages.map_or_else(|| Arc::new(files::Files::of(root)) as _, Arc::clone),
            given: 0,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Puts a message at the end.
    pub(super) fn send(&self, message: &Value) -> Result<(), AgentError> {
        self.fits(message)?;
        let name = &self.name;
        let bytes = serde_json::to_vec(message).map_err(|e| AgentError::Failed(e.to_string()))?;
        if bytes.len() > MESSAGE_LIMIT {
            let length = bytes.len();
            return Err(AgentError::Limit(format!(
                "queue {name}: a message of {length} bytes, at most {MESSAGE_LIMIT}; send the path of an artifact instead"
            )));
        }
        self.messages.send(name, &bytes, LENGTH)?.map_err(|waiting| {
            AgentError::Limit(format!(
                "queue {name} is full: {waiting} messages wait, at most {LENGTH}; an agent has to receive them first"
            ))
        })
    }

    /// Takes the oldest message: first those that this job took when it ran before.
    pub(super) fn receive(&mut self, job: &str) -> Result<Option<Value>, AgentError> {
        let Some(bytes) = self.messages.receive(&self.name, job, self.given)? else {
            return Ok(None);
        };
        self.given += 1;
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Some).map_err(|e| {
            let name = &self.name;
            AgentError::Failed(format!("queue {name}: a message that is no JSON ({e}): dropped"))
        })
    }

    /// Drops what this job took.
    pub(super) fn settle(&self, job: &str) -> Result<(), AgentError> {
        self.messages.settle(&self.name, job)
    }

    /// Holds a message against the queue's type.
    fn fits(&self, message: &Value) -> Result<(), AgentError> {
        let name = &self.name;
        let Value::Object(fields) = message else {
            return Err(AgentError::Failed(format!(
                "queue {name}: found {message}, expected an object"
            )));
        };
        let Some(wanted) = self.wanted()? else { return Ok(()) };
        for (field, kind) in &wanted {
            let (kind, optional) = kind
                .strip_suffix('?')
                .map_or((kind.as_str(), false), |kind| (kind, true));
            match fields.get(field) {
                None if optional => {}
                Some(found) if kind == "any" || kind == kind_of(found) => {}
                found => {
                    let found = found.map_or("nothing", kind_of);
                    return Err(AgentError::Failed(format!(
                        "queue {name}: field {field:?}: found {found}, expected {kind} (config/queues.toml)"
                    )));
                }
            }
        }
        match fields
            .keys()
            .find(|field| !wanted.iter().any(|(known, _)| known == *field))
        {
            Some(unknown) => Err(AgentError::Failed(format!(
                "queue {name}: found field {unknown:?}, which the queue does not have (config/queues.toml)"
            ))),
            None => Ok(()),
        }
    }

    /// The queue's fields with their types, where they are said.
    fn wanted(&self) -> Result<Option<Vec<(String, String)>>, AgentError> {
        let bytes = match fs::read(self.root.join("config/queues.toml")) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(AgentError::Failed(format!("config/queues.toml: {e}"))),
        };
        let node = read::parse("config/queues.toml", &bytes, Format::Toml);
        let node = node.map_err(|report| AgentError::Failed(report.to_string()))?.to_json();
        let Some(queue) = node.get(&self.name) else {
            return Ok(None);
        };
        let wrong = |what: &Value| {
            AgentError::Failed(format!(
                "config/queues.toml: queue {}: found {what}, expected fields of the types {}, each optional with '?'",
                self.name,
                TYPES.join(", ")
            ))
        };
        let fields = queue.as_object().ok_or_else(|| wrong(queue))?;
        let field = |(name, kind): (&String, &Value)| match kind.as_str() {
            Some(word) if TYPES.contains(&word.trim_end_matches('?')) => Ok((name.clone(), word.to_owned())),
            _ => Err(wrong(kind)),
        };
        fields.iter().map(field).collect::<Result<_, _>>().map(Some)
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}
