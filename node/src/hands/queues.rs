//! Typed queues as files: `state/queues/NAME/SEQUENCE.json`, oldest first.
//!
//! A message is put there whole or not at all, and taken under a lock that every node on the directory respects. What a job
//! takes stays beside the others as `SEQUENCE.taken-JOB` until the job has ended: a job that runs again after a crash gets
//! the same messages again, nobody else does. What a queue takes is said in `config/queues.toml`; one that is not named
//! there takes any object.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jos_schemas::read::{self, Format};
use serde_json::Value;

use crate::contract::AgentError;

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
    folder: PathBuf,
    /// Of this job's messages, how many it was given already.
    given: usize,
}

impl Queue {
    pub(super) fn new(root: &Path, name: &str) -> Self {
        Self {
            root: root.to_owned(),
            name: name.to_owned(),
            folder: root.join("state/queues").join(name),
            given: 0,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Puts a message at the end.
    pub(super) fn send(&self, message: &Value) -> Result<(), AgentError> {
        self.fits(message)?;
        let bytes = serde_json::to_vec(message).map_err(|e| AgentError::Failed(e.to_string()))?;
        if bytes.len() > MESSAGE_LIMIT {
            let (name, length) = (&self.name, bytes.len());
            return Err(AgentError::Limit(format!(
                "queue {name}: a message of {length} bytes, at most {MESSAGE_LIMIT}; send the path of an artifact instead"
            )));
        }
        self.locked(|names| {
            let waiting = names.iter().filter(|name| name.ends_with(".json")).count();
            if waiting >= LENGTH {
                let name = &self.name;
                return Err(AgentError::Limit(format!(
                    "queue {name} is full: {waiting} messages wait, at most {LENGTH}; an agent has to receive them first"
                )));
            }
            let last = names.last().and_then(|name| name.get(..20)).map_or(Ok(0), str::parse);
            let next = last.map(|last: u64| last + 1).unwrap_or(1);
            let temp = self.folder.join("new");
            let written = File::create(&temp).and_then(|mut file| {
                file.write_all(&bytes)?;
                file.sync_all()?;
                fs::rename(&temp, self.folder.join(format!("{next:020}.json")))
            });
            written.map_err(|e| self.failed("put the message into", &e))
        })
    }

    /// Takes the oldest message: first those that this job took when it ran before.
    pub(super) fn receive(&mut self, job: &str) -> Result<Option<Value>, AgentError> {
        let own = format!(".taken-{job}");
        let given = self.given;
        let bytes = self.locked(|names| {
            let read = |name: &str| fs::read(self.folder.join(name)).map_err(|e| self.failed("read", &e));
            if let Some(before) = names.iter().filter(|name| name.ends_with(&own)).nth(given) {
                return read(before).map(Some);
            }
            let Some(oldest) = names.iter().find(|name| name.ends_with(".json")) else {
                return Ok(None);
            };
            let bytes = read(oldest)?;
            let taken = format!("{}{own}", oldest.trim_end_matches(".json"));
            let renamed = fs::rename(self.folder.join(oldest), self.folder.join(taken));
            renamed.map_err(|e| self.failed("take the message from", &e))?;
            Ok(Some(bytes))
        })?;
        let Some(bytes) = bytes else { return Ok(None) };
        self.given += 1;
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Some).map_err(|e| {
            let name = &self.name;
            AgentError::Failed(format!("queue {name}: a message that is no JSON ({e}): dropped"))
        })
    }

    /// Drops what this job took.
    pub(super) fn settle(&self, job: &str) -> Result<(), AgentError> {
        let own = format!(".taken-{job}");
        self.locked(|names| {
            let mut mine = names.iter().filter(|name| name.ends_with(&own));
            let removed = mine.try_for_each(|name| fs::remove_file(self.folder.join(name)));
            removed.map_err(|e| self.failed("drop what was taken from", &e))
        })
    }

    /// Does something while nobody else touches the queue, with the names of its messages in their order.
    fn locked<T>(&self, deed: impl FnOnce(&[String]) -> Result<T, AgentError>) -> Result<T, AgentError> {
        fs::create_dir_all(&self.folder).map_err(|e| self.failed("make", &e))?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.folder.join("lock"));
        let lock = lock.and_then(|file| file.lock().map(|()| file));
        // Held until the end of the function.
        let _lock = lock.map_err(|e| self.failed("lock", &e))?;
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(|e| self.failed("list", &e))? {
            let entry = entry.map_err(|e| self.failed("list", &e))?;
            if let Ok(name) = entry.file_name().into_string()
                && name.starts_with(|c: char| c.is_ascii_digit())
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        deed(&names)
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

    fn failed(&self, doing: &str, error: &io::Error) -> AgentError {
        AgentError::Failed(format!("cannot {doing} queue {}: {error}", self.name))
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
