//! What a node writes into the ledger, and how it reads it back.
//!
//! ```text
//! job       {job, agent, node, attempt, decides, act: {id, agent, input, trail}}   an agent was asked
//! resumed   {job, agent, node, attempt}                                            a run goes on where another stopped
//! decision  {job, agent, act: {id, source, kind, payload}}                         one of its proposals passed the gate
//! refused   {job, agent, reason, act: {id, kind, payload}}                         one did not
//! outcome   {job, agent, decision, kind, ok, act: {result, reason, trail}}         what came of a decision
//! ended     {job, agent, ok, state, reason}                                        the job is over
//! fired     {schedule, job, due}                                                   a schedule submitted a job
//! imported  {log, index, checksum, agent, decision, kind, ok, act: {line, result, reason}}   a decision of another runtime
//! checkpoint                                                                       a signed head (see `seals`)
//! node      {node, word}                                                           a node began or ended
//! broken    {folder, what, good, …}                                                a damaged ledger before this one was set aside
//! ```
//!
//! What agents and tools said stands in `act`, which always has three members or more: the ledger's own readers look into no
//! such document, so nothing in it can be taken for a reference. A larger one is a blob, `act: {blob, size}`.

use std::borrow::Cow;

use jos_runtime::ledger::{Archive, Aside, BLOB_LIMIT, Blobs, Entry, LedgerError, Line, canonical, is_canonical};
use jos_schemas::documents::ledger::{Decision, Proposal};
use jos_schemas::documents::policy::Source;
use jos_schemas::documents::runtime::{Job, MachineState};
use jos_schemas::text::{Name, Utc};
use jos_trust::Digest;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::import::jaros::Taken;
use crate::join::Trail;

/// The name that a node's records carry.
pub(crate) const NAME: &str = "runtime";
/// The kind of what was taken over from another runtime.
pub(crate) const IMPORTED: &str = "imported";

/// What came of a decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Came {
    /// What the handler gave; null where it failed.
    pub(crate) result: Value,
    /// Why it failed; null where it did not.
    pub(crate) reason: Option<String>,
    /// What its hands were asked.
    pub(crate) trail: Trail,
}

impl Came {
    pub(crate) fn ok(&self) -> bool {
        self.reason.is_none()
    }
}

/// A record about to be written: its kind, who caused it, its payload without `act`, and `act`.
#[derive(Clone)]
pub(crate) struct Draft {
    pub(crate) kind: &'static str,
    pub(crate) source: Source,
    pub(crate) head: Value,
    pub(crate) act: Option<Value>,
}

impl Draft {
    /// An agent was asked, and so many decisions follow: fewer are a group that a power cut tore, of which none acted.
    pub(crate) fn job(job: &Job, node: &str, attempt: u32, decides: usize, trail: &Trail) -> Self {
        Self {
            kind: "job",
            source: Source::Operator,
            head: json!({ "job": job.id, "agent": job.agent, "node": node, "attempt": attempt, "decides": decides }),
            act: Some(json!({ "id": job.id, "agent": job.agent, "input": job.input, "trail": trail })),
        }
    }

    /// A proposal became a decision.
    pub(crate) fn decision(job: &Job, decision: &Decision) -> Self {
        Self {
            kind: "decision",
            source: Source::Agent,
            head: json!({ "job": job.id, "agent": job.agent }),
            act: Some(json!(decision)),
        }
    }

    /// A proposal did not.
    pub(crate) fn refused(job: &Job, proposal: &Proposal, reason: &str) -> Self {
        Self {
            kind: "refused",
            source: Source::Agent,
            head: json!({ "job": job.id, "agent": job.agent, "reason": reason }),
            act: Some(json!(proposal)),
        }
    }

    /// What came of a decision.
    pub(crate) fn outcome(job: &str, agent: &Name, decision: &Decision, came: &Came) -> Self {
        Self {
            kind: "outcome",
            source: Source::Agent,
            head: json!({ "job": job, "agent": agent, "decision": decision.id, "kind": decision.kind, "ok": came.ok() }),
            act: Some(json!(came)),
        }
    }

    /// The job is over.
    pub(crate) fn ended(job: &str, agent: &Name, state: MachineState, reason: Option<&str>) -> Self {
        Self {
            kind: "ended",
            source: Source::Agent,
            head: json!({ "job": job, "agent": agent, "ok": reason.is_none(), "state": state, "reason": reason }),
            act: None,
        }
    }

    /// Another run of a job goes on where the last one stopped.
    pub(crate) fn resumed(job: &Job, node: &str, attempt: u32) -> Self {
        Self {
            kind: "resumed",
            source: Source::Operator,
            head: json!({ "job": job.id, "agent": job.agent, "node": node, "attempt": attempt }),
            act: None,
        }
    }

    /// A schedule submitted a job.
    pub(crate) fn fired(schedule: &Name, job: &str, due: &Utc) -> Self {
        Self {
            kind: "fired",
            source: Source::Schedule,
            head: json!({ "schedule": schedule, "job": job, "due": due }),
            act: None,
        }
    }

    /// The ledger before this one was damaged, and set aside.
    pub(crate) fn broken(aside: &Aside) -> Self {
        Self {
            kind: "broken",
            source: Source::Operator,
            head: json!(aside),
            act: None,
        }
    }

    /// A decision that another runtime recorded, as the line that it was in the log of which `log` is the first checksum.
    pub(crate) fn imported(log: &str, taken: &Taken, line: &str, came: &Came) -> Self {
        Self {
            kind: IMPORTED,
            source: Source::Operator,
            head: json!({
                "log": log, "index": taken.index, "checksum": taken.checksum.to_string(), "agent": taken.agent,
                "decision": taken.decision.id, "kind": taken.decision.kind, "ok": came.ok(),
            }),
            act: Some(json!({ "line": line, "result": came.result, "reason": came.reason })),
        }
    }

    /// A signed checkpoint over all records before.
    pub(crate) fn checkpoint(document: Value) -> Self {
        Self {
            kind: jos_runtime::ledger::CHECKPOINT,
            source: Source::Operator,
            head: document,
            act: None,
        }
    }

    /// A node began or ended.
    pub(crate) fn node(node: &str, word: &str) -> Self {
        Self {
            kind: "node",
            source: Source::Operator,
            head: json!({ "node": node, "word": word }),
            act: None,
        }
    }

    /// As the ledger takes it; a large `act` goes to the blobs first.
    pub(crate) fn entry(self, now: i64, blobs: &Blobs<'_>) -> Result<Entry, LedgerError> {
        let mut payload = self.head;
        if let Some(act) = self.act {
            let bytes = canonical(&act)?;
            payload["act"] = if bytes.len() > BLOB_LIMIT {
                blobs.keep(&bytes)?
            } else {
                act
            };
        }
        Ok(Entry {
            time: Utc::from_unix(now),
            source: self.source,
            name: name(),
            version: None,
            cause: payload["job"].as_str().map(|job| format!("job {job}")),
            kind: self.kind,
            payload,
        })
    }
}

#[expect(
    clippy::unwrap_used,
    reason = "the constant follows the rule; a test holds it to that"
)]
fn name() -> Name {
    Name::new(NAME).unwrap()
}

/// A record's payload as it is read, without a tree and mostly without a copy: members that are not there are empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Read<'l> {
    #[serde(borrow)]
    pub(crate) job: Cow<'l, str>,
    #[serde(borrow)]
    pub(crate) agent: Cow<'l, str>,
    #[serde(borrow)]
    pub(crate) decision: Cow<'l, str>,
    #[serde(borrow)]
    pub(crate) kind: Cow<'l, str>,
    pub(crate) ok: bool,
    pub(crate) state: Option<MachineState>,
    pub(crate) reason: Option<String>,
    pub(crate) attempt: u32,
    pub(crate) decides: usize,
    pub(crate) node: String,
    pub(crate) schedule: String,
    pub(crate) log: String,
    pub(crate) index: u64,
    pub(crate) checksum: String,
    #[serde(borrow)]
    act: Option<&'l RawValue>,
    /// Its `act` where that was a blob.
    #[serde(skip)]
    blob: Option<String>,
}

impl<'l> Read<'l> {
    /// Of a line, with its `act` out of the blobs where it is there.
    pub(crate) fn of(line: &Line<'l>, archive: &Archive<'_>) -> Result<Self, String> {
        let mut read: Self = serde_json::from_slice(line.payload).map_err(|e| e.to_string())?;
        if let Some(digest) = read.act.and_then(|act| reference(act.get())) {
            let bytes = archive.blob(&digest).map_err(|e| e.to_string())?;
            let bytes = bytes.ok_or_else(|| format!("the blob {digest} is missing"))?;
            // What stands in a line was held to this when the line was read.
            if !is_canonical(&bytes) {
                return Err(format!("the blob {digest} is no canonical JSON"));
            }
            read.blob = Some(String::from_utf8(bytes).map_err(|e| e.to_string())?);
        }
        Ok(read)
    }

    /// Its `act` as a document, which may borrow from it.
    pub(crate) fn document<'r, T: Deserialize<'r>>(&'r self) -> Result<T, String> {
        let act = self.act.map_or("null", RawValue::get);
        serde_json::from_str(self.blob.as_deref().unwrap_or(act)).map_err(|e| e.to_string())
    }
}

/// The blob that stands for an `act`, which is canonical: exactly two members.
pub(crate) fn reference(act: &str) -> Option<Digest> {
    if !act.starts_with("{\"blob\":") {
        return None;
    }
    let act: Value = serde_json::from_str(act).ok()?;
    let members = act.as_object().filter(|members| members.len() == 2)?;
    members.get("size")?;
    members.get("blob")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_an_agent_says_can_be_taken_for_a_reference() {
        assert_eq!(name().as_str(), NAME);
        let hostile = json!({ "blob": "a".repeat(64), "size": 1 });
        let job = crate::jobs::job("j".into(), name(), hostile.clone());
        let decision = Decision {
            id: "d".into(),
            source: Source::Agent,
            kind: "x".into(),
            payload: hostile.clone(),
        };
        let came = Came {
            result: hostile,
            reason: None,
            trail: Trail::default(),
        };
        for draft in [
            Draft::job(&job, "n", 1, 0, &Trail::default()),
            Draft::decision(&job, &decision),
            Draft::outcome("j", &name(), &decision, &came),
        ] {
            let act = draft.act.unwrap();
            assert!(act.as_object().unwrap().len() >= 3, "{act}");
            assert_eq!(reference(&act.to_string()), None);
        }
    }
}
