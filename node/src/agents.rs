//! The forms of agents: a `.jos` artifact of prompts ([`prompt`]), a WebAssembly module ([`wasm`]), a confined program
//! ([`program`]).
//!
//! Whatever the form, an agent is given a job and hands, and gives back proposals. It never says who it is.

pub mod program;
pub mod prompt;
pub(crate) mod template;
mod verdict;
#[cfg(feature = "wasm")]
pub mod wasm;

use jos_schemas::documents::ledger::Proposal;
use jos_schemas::documents::runtime::Job;
use jos_schemas::own;
use serde_json::{Value, json};

use crate::contract::AgentError;

/// Proposals of one job, at most.
pub const PROPOSALS: usize = 256;
/// Bytes of one payload as JSON.
pub const PAYLOAD_LIMIT: usize = 1 << 20;

/// Collects what an agent proposes, under the limits; ids are the job's with a number.
#[derive(Debug)]
pub(crate) struct Proposals {
    stem: String,
    all: Vec<Proposal>,
}

impl Proposals {
    pub(crate) fn of(job: &Job) -> Self {
        // An id has 128 characters; the longest jobs' are shortened to their hash.
        let stem = if job.id.len() <= 120 {
            job.id.clone()
        } else {
            jos_trust::sha256(job.id.as_bytes()).to_hex().to_string()
        };
        Self { stem, all: Vec::new() }
    }

    /// Adds one.
    pub(crate) fn add(&mut self, kind: &str, payload: Value) -> Result<(), AgentError> {
        if self.all.len() >= PROPOSALS {
            return Err(AgentError::Limit(format!("more than {PROPOSALS} proposals in one job")));
        }
        let length = serde_json::to_vec(&payload).map_or(usize::MAX, |bytes| bytes.len());
        if length > PAYLOAD_LIMIT {
            return Err(AgentError::Limit(format!(
                "a payload of {length} bytes, at most {PAYLOAD_LIMIT}; write an artifact and propose its path"
            )));
        }
        let id = format!("{}-{}", self.stem, self.all.len() + 1);
        let document = json!({ "id": id, "kind": kind, "payload": payload });
        let proposal = own::read_value(&document).map_err(|e| AgentError::Failed(format!("a proposal: {e}")))?;
        self.all.push(proposal);
        Ok(())
    }

    /// Lets the state machine run to its end.
    pub(crate) fn advance(&mut self, well: bool, note: &str) -> Result<(), AgentError> {
        let end = if well { "complete" } else { "fail" };
        self.add("advance", json!({ "events": ["start", end], "note": note }))
    }

    pub(crate) fn done(self) -> Vec<Proposal> {
        self.all
    }
}
