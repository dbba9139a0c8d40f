//! Running one job: ask the agent, pass the gate, record, act, record, and say how it ended.
//!
//! Owns the order. A decision is durable before it acts; its outcome is durable before the next one acts; the result is seen
//! in `outbox/` after both. Decisions that only drive the machine change nothing but the ledger itself: they and their
//! outcomes are one commit group, one fsync for the whole job.

use std::cell::RefCell;

use jos_runtime::ledger::Blobs;
use jos_schemas::documents::ledger::{Decision, Proposal};
use jos_schemas::documents::runtime::{Job, MachineState};
use jos_schemas::text::Name;
use serde_json::{Value, json};

use crate::chapter::{Chapters, Page};
use crate::contract::Agent;
use crate::hands::Thinking;
use crate::join::{Agents, Audited, Trail};
use crate::records::{Came, Draft};
use crate::resume::Progress;
use crate::writer::{Halt, Writer};
use crate::{gate, machine};

/// How a job ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ended {
    /// The machine's last state.
    pub(crate) state: MachineState,
    /// Why the job failed; `None` when it did not.
    pub(crate) reason: Option<String>,
    /// Each decision that acted, and what it gave.
    pub(crate) results: Vec<(String, String, Value)>,
}

impl Ended {
    /// The document in `outbox/`.
    pub(crate) fn document(&self, id: &str, agent: &Name) -> Value {
        let result = self.results.last().map(|(.., result)| result);
        let mut document = json!({ "id": id, "agent": agent, "state": self.state, "result": result });
        if self.results.len() > 1 {
            let all = self.results.iter();
            let all = all.map(|(id, kind, result)| json!({ "decision": id, "kind": kind, "result": result }));
            document["results"] = all.collect();
        }
        document
    }
}

/// Everything that is needed to run jobs on one thread.
pub(crate) struct Executor<'e> {
    pub(crate) agents: &'e dyn Agents,
    pub(crate) writer: &'e Writer,
    pub(crate) blobs: &'e Blobs<'e>,
    pub(crate) node: &'e str,
    /// Tells the queue how far a job came, where whoever takes it over cannot read this node's ledger.
    pub(crate) keep: Option<&'e Keep<'e>>,
    /// No chapter of the ledger ends while a job is on its way: from its first record to the end of it.
    pub(crate) chapters: &'e Chapters,
    pub(crate) page: RefCell<Option<Page<'e>>>,
}

/// See [`Executor::keep`]: the job's id, its attempt, how far it came.
pub(crate) type Keep<'k> = dyn Fn(&str, u32, &Progress) -> Result<(), Halt> + 'k;

/// A job on its way.
struct Run<'r> {
    job: &'r Job,
    decisions: Vec<Decision>,
    results: Vec<(String, String, Value)>,
    state: MachineState,
    attempt: u32,
    /// What the queue is told.
    kept: Option<Progress>,
}

impl Executor<'_> {
    /// Runs a job from its beginning.
    pub(crate) fn run(&self, job: &Job, attempt: u32) -> Result<Ended, Halt> {
        let mut hands = self.agents.hands(&job.agent, &job.id);
        let ended = self.run_with(job, attempt, &mut *hands)?;
        settle(&mut *hands, &job.id);
        Ok(ended)
    }

    fn run_with(&self, job: &Job, attempt: u32, hands: &mut dyn Audited) -> Result<Ended, Halt> {
        let Some(agent) = self.agent(&job.agent) else {
            let there = self.agents.agents().join(", ");
            let reason = format!("found no agent named {}, expected one of {there}", job.agent);
            return self.end_undecided(job, attempt, Trail::default(), Vec::new(), reason);
        };
        let proposed = agent.decide(job, &mut Thinking(hands));
        let trail = hands.trail();
        let proposals = match proposed {
            Ok(proposals) if proposals.is_empty() => {
                let reason = format!("the agent {} proposed nothing", job.agent);
                return self.end_undecided(job, attempt, trail, Vec::new(), reason);
            }
            Ok(proposals) => proposals,
            Err(e) => return self.end_undecided(job, attempt, trail, Vec::new(), e.to_string()),
        };
        let decisions = match gate::pass(proposals, &mut |decision| self.validate(decision)) {
            Ok(decisions) => decisions,
            Err((proposals, refusal)) => {
                let reason = format!("refused: {}", refusal.reason);
                let refused = proposals.into_iter().skip(refusal.at).take(1);
                let refused = refused.map(|proposal| (proposal, refusal.reason.clone())).collect();
                return self.end_undecided(job, attempt, trail, refused, reason);
            }
        };
        let mut drafts = vec![Draft::job(job, self.node, attempt, decisions.len(), &trail)];
        drafts.extend(decisions.iter().map(|decision| Draft::decision(job, decision)));
        // What only drives the machine is nowhere to be seen before its group is durable.
        let mut kept = None;
        if decisions.iter().any(|decision| decision.kind != "advance") {
            self.append(std::mem::take(&mut drafts))?;
            kept = self.keep.is_some().then(|| Progress {
                trail,
                decides: decisions.len(),
                decisions: decisions.clone(),
                ..Progress::default()
            });
            self.tell(job, attempt, kept.as_ref())?;
        }
        let run = Run {
            kept,
            ..Run::of(job, attempt, decisions)
        };
        self.act(run, drafts, hands)
    }

    /// Goes on where the ledger says that another run of the job stopped. The agent is not asked again.
    pub(crate) fn go_on(&self, job: &Job, attempt: u32, progress: Progress) -> Result<Ended, Halt> {
        let mut drafts = vec![Draft::resumed(job, self.node, attempt)];
        if progress.told {
            self.append(told(job, self.node, attempt, &progress))?;
            drafts.clear();
        }
        let mut run = Run {
            kept: self.keep.is_some().then(|| progress.clone()),
            ..Run::of(job, attempt, progress.decisions)
        };
        let done = progress.outcomes.len();
        for (decision, came) in run.decisions.iter().zip(&progress.outcomes) {
            if let Some(reason) = &came.reason {
                let reason = reason.clone();
                return self.end(run, drafts, Some(reason));
            }
            run.state = after(run.state, decision, came);
            run.results
                .push((decision.id.clone(), decision.kind.clone(), came.result.clone()));
        }
        run.decisions.drain(..done);
        // A run that dies in its first act is on record too.
        if !drafts.is_empty() && run.decisions.iter().any(|decision| decision.kind != "advance") {
            self.append(std::mem::take(&mut drafts))?;
        }
        let mut hands = self.agents.hands(&job.agent, &job.id);
        let ended = self.act(run, drafts, &mut *hands)?;
        settle(&mut *hands, &job.id);
        Ok(ended)
    }

    /// The agent, also one that came this moment.
    fn agent(&self, name: &Name) -> Option<std::sync::Arc<dyn Agent>> {
        self.agents.agent(name).or_else(|| {
            self.agents.refresh();
            self.agents.agent(name)
        })
    }

    fn validate(&self, decision: &Decision) -> Result<(), String> {
        let tool = self.agents.tool(&decision.kind).or_else(|| {
            self.agents.refresh();
            self.agents.tool(&decision.kind)
        });
        match tool {
            Some(tool) => tool.validate(decision),
            None => Err(self.unknown(&decision.kind)),
        }
    }

    fn unknown(&self, kind: &str) -> String {
        let mut there: Vec<String> = gate::BUILT_IN.map(str::to_owned).to_vec();
        there.extend(self.agents.kinds());
        format!(
            "found the kind {kind:?}, which nothing here executes; expected one of {}",
            there.join(", ")
        )
    }

    /// Executes what is left, in order. `drafts` go in front of the first record.
    fn act(&self, mut run: Run<'_>, mut drafts: Vec<Draft>, hands: &mut dyn Audited) -> Result<Ended, Halt> {
        let decisions = std::mem::take(&mut run.decisions);
        let last = decisions.len().saturating_sub(1);
        for (at, decision) in decisions.iter().enumerate() {
            let came = self.execute(decision, run.state, hands);
            drafts.push(Draft::outcome(&run.job.id, &run.job.agent, decision, &came));
            if let Some(kept) = &mut run.kept {
                kept.outcomes.push(came.clone());
            }
            if let Some(reason) = came.reason {
                return self.end(run, drafts, Some(reason));
            }
            run.state = after(run.state, decision, &came);
            run.results
                .push((decision.id.clone(), decision.kind.clone(), came.result));
            let quiet = decision.kind == "advance" && decisions[at..].iter().all(|d| d.kind == "advance");
            if at < last && !quiet {
                self.append(std::mem::take(&mut drafts))?;
                self.tell(run.job, run.attempt, run.kept.as_ref())?;
            }
        }
        self.end(run, drafts, None)
    }

    fn execute(&self, decision: &Decision, state: MachineState, hands: &mut dyn Audited) -> Came {
        let did = match decision.kind.as_str() {
            "advance" => advance(decision, state),
            "fs.write" => fs_write(decision, hands),
            "queue.send" => queue_send(decision, hands),
            gate::DEVICE => device_propose(decision, hands),
            kind => match self.agents.tool(kind) {
                Some(tool) => tool.execute(decision, hands).map_err(|e| e.to_string()),
                None => Err(self.unknown(kind)),
            },
        };
        // A result that has no canonical bytes could not be recorded.
        let did = did.and_then(|result| match jos_runtime::ledger::canonical(&result) {
            Ok(_) => Ok(result),
            Err(e) => Err(format!("the result of {}: {e}", decision.kind)),
        });
        let trail = hands.trail();
        match did {
            Ok(result) => Came {
                result,
                reason: None,
                trail,
            },
            Err(reason) => Came {
                result: Value::Null,
                reason: Some(reason),
                trail,
            },
        }
    }

    fn end(&self, run: Run<'_>, mut drafts: Vec<Draft>, reason: Option<String>) -> Result<Ended, Halt> {
        let state = last_state(run.state, reason.is_none());
        drafts.push(Draft::ended(&run.job.id, &run.job.agent, state, reason.as_deref()));
        self.append(drafts)?;
        Ok(Ended {
            state,
            reason,
            results: run.results,
        })
    }

    /// A job of which nothing was decided.
    fn end_undecided(
        &self,
        job: &Job,
        attempt: u32,
        trail: Trail,
        refused: Vec<(Proposal, String)>,
        reason: String,
    ) -> Result<Ended, Halt> {
        let mut drafts = vec![Draft::job(job, self.node, attempt, 0, &trail)];
        drafts.extend(
            refused
                .iter()
                .map(|(proposal, reason)| Draft::refused(job, proposal, reason)),
        );
        self.end(Run::of(job, attempt, Vec::new()), drafts, Some(reason))
    }

    /// A job that is given up before anybody was asked again.
    pub(crate) fn give_up(&self, job: &Job, attempt: u32) -> Result<Ended, Halt> {
        let reason = format!(
            "begun {} times, and the node ended each time before the job did; not begun again",
            attempt - 1
        );
        self.end_undecided(job, attempt, Trail::default(), Vec::new(), reason)
    }

    /// The job is on its way from here on.
    pub(crate) fn begin_to_record(&self) {
        self.page.borrow_mut().get_or_insert_with(|| self.chapters.turn());
    }

    fn append(&self, drafts: Vec<Draft>) -> Result<(), Halt> {
        self.begin_to_record();
        self.writer.append(drafts, self.blobs)
    }

    /// After the ledger and before anything acts: whoever is told that the job is not its own any more acts no more.
    fn tell(&self, job: &Job, attempt: u32, progress: Option<&Progress>) -> Result<(), Halt> {
        match (self.keep, progress) {
            (Some(keep), Some(progress)) => keep(&job.id, attempt, progress),
            _ => Ok(()),
        }
    }
}

impl<'r> Run<'r> {
    fn of(job: &'r Job, attempt: u32, decisions: Vec<Decision>) -> Self {
        Self {
            job,
            decisions,
            results: Vec::new(),
            state: MachineState::Pending,
            attempt,
            kept: None,
        }
    }
}

/// What another node recorded of a job, as this one's ledger takes it over.
fn told(job: &Job, node: &str, attempt: u32, progress: &Progress) -> Vec<Draft> {
    let mut drafts = vec![Draft::job(job, node, attempt, progress.decides, &progress.trail)];
    drafts.extend(progress.decisions.iter().map(|decision| Draft::decision(job, decision)));
    let came = progress.decisions.iter().zip(&progress.outcomes);
    drafts.extend(came.map(|(decision, came)| Draft::outcome(&job.id, &job.agent, decision, came)));
    drafts
}

fn settle(hands: &mut dyn Audited, job: &str) {
    if let Err(e) = hands.settle() {
        log::warn!("job {job}: {e}");
    }
}

/// The state after a decision that went well.
pub(crate) fn after(state: MachineState, decision: &Decision, came: &Came) -> MachineState {
    if decision.kind != "advance" {
        return state;
    }
    let said = came.result.get("finalState").cloned().unwrap_or_default();
    serde_json::from_value(said).unwrap_or(state)
}

/// The state in which a job ends: a job that drove no machine is done when all went well, and failed when not.
pub(crate) fn last_state(state: MachineState, ok: bool) -> MachineState {
    match (ok, state) {
        (false, _) => MachineState::Failed,
        (true, MachineState::Pending) => MachineState::Done,
        (true, state) => state,
    }
}

/// Drives the machine. Pure: a replay calls it too.
pub(crate) fn advance(decision: &Decision, from: MachineState) -> Result<Value, String> {
    let events = machine::events(&decision.payload)?;
    let mut state = from;
    for event in &events {
        state = machine::step(state, event)?;
    }
    let mut result = json!({ "decision": decision.id, "events": events, "from": from, "finalState": state });
    if let Some(note) = decision.payload.get("note") {
        result["note"] = note.clone();
    }
    Ok(result)
}

/// What an `fs.write` gives. Pure.
pub(crate) fn fs_written(decision: &Decision) -> Result<Value, String> {
    let (path, content) = gate::fs_write(&decision.payload)?;
    Ok(json!({ "path": path, "bytes": content.len(), "sha256": jos_trust::sha256(content.as_bytes()).to_string() }))
}

/// What a `queue.send` gives. Pure.
pub(crate) fn queue_sent(decision: &Decision) -> Result<Value, String> {
    let (queue, _) = gate::queue_send(&decision.payload)?;
    Ok(json!({ "queue": queue }))
}

fn fs_write(decision: &Decision, hands: &mut dyn Audited) -> Result<Value, String> {
    let (path, content) = gate::fs_write(&decision.payload)?;
    hands.write(path, content.as_bytes()).map_err(|e| e.to_string())?;
    fs_written(decision)
}

fn queue_send(decision: &Decision, hands: &mut dyn Audited) -> Result<Value, String> {
    let (queue, message) = gate::queue_send(&decision.payload)?;
    hands.send(queue, message).map_err(|e| e.to_string())?;
    queue_sent(decision)
}

fn device_propose(decision: &Decision, hands: &mut dyn Audited) -> Result<Value, String> {
    let change = gate::device_change(&decision.payload)?;
    hands.propose(&decision.id, &change).map_err(|e| e.to_string())
}
