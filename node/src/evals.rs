//! Cases that agents must pass: each on a node of its own, in a directory of its own, with copies of the agents and tools.
//!
//! The node is the real one, executor, gate and ledger included; only its data is fresh, so that no case sees the live
//! daemon, or another case. A case that checks nothing is refused when it is read (`evals/read.rs`).

mod jaros;
mod read;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jos_runtime::disk::Disk;
use jos_runtime::ledger::Archive;
use jos_schemas::documents::ledger::Proposal;
use jos_schemas::documents::runtime::{Expect, Job, MachineState};
use jos_schemas::text::Name;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::contract::{Agent, AgentError, Hands, Tool};
use crate::error::NodeError;
use crate::jobs;
use crate::join::{Agents, Audited, Broken, Outside};
use crate::place::{BLOBS, DataDir, LEDGER};
use crate::queue::Queue;
use crate::records::{Came, Read};
use crate::registry::{Means, Registry};
use crate::serve::{Settings, serve};
use read::Wanted;
pub use read::{Case, load};

/// The job of every case.
const JOB: &str = "eval";

/// How a case went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The case.
    pub name: String,
    /// The agent.
    pub agent: String,
    /// Nothing differs.
    pub passed: bool,
    /// What differs: check, found, expected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differs: Vec<String>,
}

/// What came of a case's job.
#[derive(Clone, Debug, Default, PartialEq)]
struct Outcome {
    state: Option<MachineState>,
    /// What the agent proposed, in order.
    proposed: Vec<Seen>,
    /// The id of the proposal that the gate refused.
    refused: Option<String>,
    /// What came of the first decision that acted, or why it failed.
    first: Option<Result<Value, String>>,
    results: Vec<Value>,
    reason: Option<String>,
}

/// A proposal, before the gate.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    id: String,
    kind: String,
    payload: Value,
}

/// Runs one case with the agents and tools of `data`, in `scratch`, a directory that is not there yet and is gone afterwards.
pub fn run(case: &Case, data: &Path, scratch: &Path, means: &Means, outside: &Outside) -> Result<Verdict, NodeError> {
    let once = || {
        let ran = isolated(case, data, scratch, means, outside);
        // What is left of it is nobody's.
        let _ = fs::remove_dir_all(scratch);
        ran
    };
    let (outcome, broken) = once()?;
    let mut differs = match &case.wanted {
        Wanted::Ours(expect) => differences(expect, &outcome),
        Wanted::Theirs(expect) => {
            let again = expect.is_twice().then(once).transpose()?.map(|(again, _)| again);
            expect.differences(&case.agent, &outcome, again.as_ref())
        }
    };
    if !differs.is_empty() {
        let reason = outcome.reason.iter();
        differs.extend(reason.map(|reason| format!("the job's reason: {reason}")));
        let broken = broken.iter();
        differs.extend(broken.map(|broken| format!("{}: {}", broken.place, broken.reason)));
    }
    Ok(Verdict {
        name: case.name.clone(),
        agent: case.agent.to_string(),
        passed: differs.is_empty(),
        differs,
    })
}

fn isolated(
    case: &Case,
    data: &Path,
    scratch: &Path,
    means: &Means,
    outside: &Outside,
) -> Result<(Outcome, Vec<Broken>), NodeError> {
    let (fresh, _) = DataDir::create(scratch)?;
    for folder in ["agents", "tools"] {
        copy(&data.join(folder), &fresh.path(folder))?;
    }
    let types = data.join("config/queues.toml");
    if types.is_file() {
        let to = fresh.path("config/queues.toml");
        fs::copy(&types, &to).map_err(NodeError::io(&to, "copy the queues' types"))?;
    }
    let means = Means {
        messages: None,
        ..means.clone()
    };
    let registry = Registry::new(scratch, means);
    let heard = Arc::new(Heard {
        registry,
        proposed: Arc::default(),
    });
    Agents::refresh(&*heard);
    // Its own, whatever the live node's is.
    let queue = Queue::folder(&fresh)?;
    queue.submit(&jobs::job(JOB.to_owned(), case.agent.clone(), case.input.clone()))?;
    let settings = Settings {
        workers: 1,
        lease: Duration::from_secs(60),
        drain: true,
    };
    // Nobody writes into it: the node ends when the job has.
    let (signal, _writer) = io::pipe().map_err(NodeError::io(scratch, "make a pipe"))?;
    let agents: Arc<dyn Agents> = Arc::clone(&heard) as Arc<dyn Agents>;
    serve(
        &fresh,
        queue,
        agents,
        outside,
        &settings,
        std::os::fd::AsFd::as_fd(&signal),
        &|| false,
    )?;
    let proposed = heard.proposed.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok((outcome(&fresh, proposed)?, heard.broken()))
}

fn copy(from: &Path, to: &Path) -> Result<(), NodeError> {
    let entries = match fs::read_dir(from) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(NodeError::io(from, "list it"))?,
    };
    for entry in entries {
        let entry = entry.map_err(NodeError::io(from, "list it"))?;
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let to = to.join(entry.file_name());
            fs::copy(entry.path(), &to).map_err(NodeError::io(&to, "copy it"))?;
        }
    }
    Ok(())
}

/// What its ledger says of the gate and of the first decision.
fn recorded(fresh: &DataDir, outcome: &mut Outcome) -> Result<(), String> {
    let disk = Disk::open(&fresh.path("state"), "0").map_err(|e| e.to_string())?;
    let archive = Archive::folder(&disk, LEDGER, BLOBS);
    let mut wrong = None;
    let lines = archive.lines(&mut |line| {
        let noted = match line.kind {
            "refused" => Read::of(line, &archive).and_then(|read| {
                let proposal: Proposal = read.document()?;
                outcome.refused = Some(proposal.id);
                Ok(())
            }),
            "outcome" if outcome.first.is_none() => Read::of(line, &archive).and_then(|read| {
                let came: Came = read.document()?;
                outcome.first = Some(came.reason.map_or(Ok(came.result), Err));
                Ok(())
            }),
            _ => Ok(()),
        };
        if let Err(e) = noted {
            wrong.get_or_insert(e);
        }
    });
    lines.map_err(|e| e.to_string())?;
    wrong.map_or(Ok(()), Err)
}

fn outcome(fresh: &DataDir, proposed: Vec<Seen>) -> Result<Outcome, NodeError> {
    let mut seen = Outcome {
        proposed,
        ..Outcome::default()
    };
    recorded(fresh, &mut seen).map_err(|why| NodeError::invalid("the case's ledger", why))?;
    let result = fresh.path(&format!("outbox/{JOB}.json"));
    if let Ok(bytes) = fs::read(&result) {
        let document: Value = serde_json::from_slice(&bytes).map_err(|e| NodeError::invalid("the result", e))?;
        let state = document.get("state").cloned().unwrap_or_default();
        let all = document.get("results").and_then(Value::as_array);
        let mut results: Vec<Value> = all
            .into_iter()
            .flatten()
            .filter_map(|r| r.get("result").cloned())
            .collect();
        results.extend(document.get("result").cloned());
        return Ok(Outcome {
            state: serde_json::from_value(state).ok(),
            results,
            ..seen
        });
    }
    let folder = fresh.path("failed");
    let reason = fresh
        .names("failed")?
        .iter()
        .find(|name| name.ends_with(".reason"))
        .and_then(|name| fs::read_to_string(folder.join(name)).ok());
    Ok(Outcome {
        state: Some(MachineState::Failed),
        reason: Some(reason.map_or_else(|| "the job left no result".into(), |text| text.trim().to_owned())),
        ..seen
    })
}

/// Every check that does not hold.
fn differences(expect: &Expect, outcome: &Outcome) -> Vec<String> {
    let mut differs = Vec::new();
    if let Some(state) = &expect.state
        && outcome.state.as_ref() != Some(state)
    {
        differs.push(format!(
            "state: found {}, expected {}",
            shown(&outcome.state),
            shown(state)
        ));
    }
    let kinds: Vec<&str> = outcome.proposed.iter().map(|seen| seen.kind.as_str()).collect();
    if let Some(decisions) = &expect.decisions
        && kinds != *decisions
    {
        differs.push(format!(
            "decisions: found {}, expected {}",
            shown(&kinds),
            shown(decisions)
        ));
    }
    for (name, wanted) in expect.result.iter().flatten() {
        let mut found = outcome.results.iter().filter_map(|result| result.get(name)).peekable();
        let last = found
            .peek()
            .map_or_else(|| "nothing".to_owned(), |found| found.to_string());
        if !found.any(|found| found == wanted) {
            differs.push(format!("result.{name}: found {last}, expected {wanted}"));
        }
    }
    if let Some(reason) = &expect.reason
        && !outcome.reason.as_ref().is_some_and(|found| found.contains(reason))
    {
        let found = outcome.reason.as_deref().unwrap_or("a job that did not fail");
        differs.push(format!("reason: found {found:?}, expected one with {reason:?}"));
    }
    differs
}

fn shown(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The registry, and which proposals passed through it.
struct Heard {
    registry: Registry,
    proposed: Arc<Mutex<Vec<Seen>>>,
}

/// An agent whose proposals are noted down.
struct Overheard {
    agent: Arc<dyn Agent>,
    proposed: Arc<Mutex<Vec<Seen>>>,
}

impl Agent for Overheard {
    fn decide(&self, job: &Job, hands: &mut dyn Hands) -> Result<Vec<Proposal>, AgentError> {
        let proposals = self.agent.decide(job, hands)?;
        let mut proposed = self.proposed.lock().unwrap_or_else(PoisonError::into_inner);
        proposed.extend(proposals.iter().map(|proposal| Seen {
            id: proposal.id.clone(),
            kind: proposal.kind.clone(),
            payload: proposal.payload.clone(),
        }));
        Ok(proposals)
    }
}

impl Agents for Heard {
    fn refresh(&self) {
        Agents::refresh(&self.registry);
    }
    fn agent(&self, name: &Name) -> Option<Arc<dyn Agent>> {
        let agent = Agents::agent(&self.registry, name)?;
        Some(Arc::new(Overheard {
            agent,
            proposed: Arc::clone(&self.proposed),
        }))
    }
    fn tool(&self, kind: &str) -> Option<Arc<dyn Tool>> {
        Agents::tool(&self.registry, kind)
    }
    fn agents(&self) -> Vec<String> {
        Agents::agents(&self.registry)
    }
    fn kinds(&self) -> Vec<String> {
        Agents::kinds(&self.registry)
    }
    fn broken(&self) -> Vec<Broken> {
        Agents::broken(&self.registry)
    }
    fn hands(&self, agent: &Name, job: &str) -> Box<dyn Audited> {
        Agents::hands(&self.registry, agent, job)
    }
}
