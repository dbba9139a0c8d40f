//! Cases that agents must pass: each on a node of its own, in a directory of its own, with copies of the agents and tools.
//!
//! The node is the real one, executor, gate and ledger included; only its data is fresh, so that no case sees the live
//! daemon, or another case. A case that checks nothing is refused when it is read.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jos_schemas::documents::ledger::Proposal;
use jos_schemas::documents::runtime::{Eval, Expect, Job, MachineState};
use jos_schemas::read::{self, Format};
use jos_schemas::text::Name;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::contract::{Agent, AgentError, Hands, Tool};
use crate::error::NodeError;
use crate::jobs;
use crate::join::{Agents, Audited, Broken, Outside};
use crate::place::DataDir;
use crate::queue::Queue;
use crate::registry::{Means, Registry};
use crate::serve::{Settings, serve};

/// Bytes of one case.
const LIMIT: u64 = 1 << 20;
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
    decisions: Vec<String>,
    results: Vec<Value>,
    reason: Option<String>,
}

/// The cases of `evals/` in the order of their files; what is no case is a verdict that failed.
pub fn load(data: &Path) -> Result<(Vec<Eval>, Vec<Verdict>), String> {
    let folder = data.join("evals");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))? {
        let entry = entry.map_err(|e| format!("{}: {e}", folder.display()))?;
        if let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
            && (name.ends_with(".json") || name.ends_with(".toml"))
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    let mut cases: Vec<Eval> = Vec::new();
    let mut broken = Vec::new();
    for name in names {
        let file = format!("evals/{name}");
        let read = case(&folder.join(&name), &file).and_then(|case| {
            let twice = cases.iter().any(|other| other.name == case.name);
            if twice {
                return Err(format!("{file}: the name {} is taken by another case", case.name));
            }
            Ok(case)
        });
        match read {
            Ok(case) => cases.push(case),
            Err(why) => broken.push(Verdict {
                name: name.rsplit_once('.').map_or(name.clone(), |(stem, _)| stem.to_owned()),
                agent: String::new(),
                passed: false,
                differs: vec![why],
            }),
        }
    }
    Ok((cases, broken))
}

fn case(path: &Path, file: &str) -> Result<Eval, String> {
    let meta = fs::symlink_metadata(path).map_err(|e| format!("{file}: {e}"))?;
    if !meta.is_file() || meta.len() > LIMIT {
        return Err(format!("{file}: expected a file of at most {LIMIT} bytes"));
    }
    let bytes = fs::read(path).map_err(|e| format!("{file}: {e}"))?;
    let parsed = read::document::<Eval>(file, &bytes, Format::of_path(file));
    parsed.map(|parsed| parsed.value).map_err(|report| report.to_string())
}

/// Runs one case with the agents and tools of `data`, in `scratch`, a directory that is not there yet and is gone afterwards.
pub fn run(case: &Eval, data: &Path, scratch: &Path, means: &Means, outside: &Outside) -> Result<Verdict, NodeError> {
    let verdict = isolated(case, data, scratch, means, outside);
    // What is left of it is nobody's.
    let _ = fs::remove_dir_all(scratch);
    verdict
}

fn isolated(case: &Eval, data: &Path, scratch: &Path, means: &Means, outside: &Outside) -> Result<Verdict, NodeError> {
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
        decisions: Arc::default(),
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
    let decisions = heard.decisions.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let outcome = outcome(&fresh, decisions)?;
    let mut differs = differences(&case.expect, &outcome);
    if !differs.is_empty() {
        differs.extend(
            outcome
                .reason
                .iter()
                .map(|reason| format!("the job's reason: {reason}")),
        );
        let broken = heard.broken().into_iter();
        differs.extend(broken.map(|broken| format!("{}: {}", broken.place, broken.reason)));
    }
    Ok(Verdict {
        name: case.name.to_string(),
        agent: case.agent.to_string(),
        passed: differs.is_empty(),
        differs,
    })
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

fn outcome(fresh: &DataDir, decisions: Vec<String>) -> Result<Outcome, NodeError> {
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
            decisions,
            results,
            reason: None,
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
        decisions,
        results: Vec::new(),
        reason: Some(reason.map_or_else(|| "the job left no result".into(), |text| text.trim().to_owned())),
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
    if let Some(decisions) = &expect.decisions
        && outcome.decisions != *decisions
    {
        differs.push(format!(
            "decisions: found {}, expected {}",
            shown(&outcome.decisions),
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

/// The registry, and which decisions passed through it.
struct Heard {
    registry: Registry,
    decisions: Arc<Mutex<Vec<String>>>,
}

/// An agent whose proposals are noted down.
struct Overheard {
    agent: Arc<dyn Agent>,
    decisions: Arc<Mutex<Vec<String>>>,
}

impl Agent for Overheard {
    fn decide(&self, job: &Job, hands: &mut dyn Hands) -> Result<Vec<Proposal>, AgentError> {
        let proposals = self.agent.decide(job, hands)?;
        let mut decisions = self.decisions.lock().unwrap_or_else(PoisonError::into_inner);
        decisions.extend(proposals.iter().map(|proposal| proposal.kind.clone()));
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
            decisions: Arc::clone(&self.decisions),
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
