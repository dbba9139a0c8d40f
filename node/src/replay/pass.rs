//! One reading of the ledger, record by record.

mod again;
mod imported;
mod quick;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use jos_runtime::ledger::{Archive, LedgerHead, LedgerKey, Line, canonical};
use jos_schemas::documents::ledger::{Decision, Proposal};
use jos_schemas::documents::policy::Source;
use jos_schemas::documents::runtime::MachineState;
use jos_schemas::text::Name;
use jos_trust::sha256;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use again::{Again, same};

use super::{Chain, Divergence, Failure, NAMED, Report, Rerun};
use crate::execute::{advance, after, fs_written, last_state, queue_sent};
use crate::import::Logs;
use crate::join::Trail;
use crate::records::{Came, Draft, IMPORTED, Read};
use crate::seals::Seals;
use crate::{gate, machine};

/// A job that has begun.
struct Open {
    agent: Name,
    /// Decisions that have no outcome yet, in order.
    waiting: VecDeque<Decision>,
    ids: HashSet<String>,
    state: MachineState,
    /// Why it fails, as far as the records made it follow.
    reason: Option<String>,
    decided: usize,
    verdict: Option<(u64, String, String)>,
}

/// A decision as its record says it, its payload as it stands there.
#[derive(Deserialize)]
struct Decided<'r> {
    id: String,
    source: Source,
    kind: String,
    #[serde(borrow)]
    payload: &'r RawValue,
}

/// The trail of a job's `act`.
#[derive(Deserialize)]
struct Asked {
    trail: Trail,
}

/// What came of one, likewise.
#[derive(Deserialize)]
struct Captured<'r> {
    reason: Option<String>,
    #[serde(borrow)]
    result: &'r RawValue,
    #[serde(borrow)]
    trail: &'r RawValue,
}

pub(super) struct Pass<'p> {
    archive: &'p Archive<'p>,
    kinds: &'p BTreeSet<String>,
    open: HashMap<String, Open>,
    queues: BTreeMap<String, u64>,
    logs: Logs,
    report: Report,
    seals: Seals<'p>,
    again: Again,
}

type Wrong = Result<(), String>;

impl<'p> Pass<'p> {
    pub(super) fn new(archive: &'p Archive<'p>, kinds: &'p BTreeSet<String>, key: Option<&'p LedgerKey>) -> Self {
        let report = Report {
            decisions: 0,
            agents: BTreeMap::new(),
            records: 0,
            jobs: BTreeMap::new(),
            unfinished: 0,
            model_calls: 0,
            captured_replies: 0,
            captured_results: BTreeMap::new(),
            imported: 0,
            unrecorded: BTreeMap::new(),
            final_state: None,
            state_hash: String::new(),
            files: BTreeMap::new(),
            byte_identical: true,
            deterministic: false,
            chain: Chain::Intact,
            seals: 0,
            attribution: Vec::new(),
            reruns: Vec::new(),
            missing: BTreeSet::new(),
            divergences: Vec::new(),
            diverged: 0,
            head: None,
            ok: false,
        };
        Self {
            archive,
            kinds,
            open: HashMap::new(),
            queues: BTreeMap::new(),
            logs: Logs::default(),
            report,
            seals: Seals::new(key),
            again: Again::default(),
        }
    }

    pub(super) fn line(&mut self, line: &Line<'_>) {
        self.report.records += 1;
        if let Err(reason) = self.seals.line(line) {
            self.diverges(line.index, "", "", &reason);
        }
        if self.quick(line).is_none() {
            self.whole(line);
        }
    }

    fn whole(&mut self, line: &Line<'_>) {
        let read = match Read::of(line, self.archive) {
            Ok(read) => read,
            Err(e) => return self.diverges(line.index, "", "", &e),
        };
        let followed = match line.kind {
            "job" => self.job(line, &read),
            "resumed" => {
                self.rerun(line, &read);
                Ok(())
            }
            "decision" => self.decision(line, &read),
            "refused" => self.refused(line, &read),
            "outcome" => self.outcome(line, &read),
            "ended" => self.ended(line, &read),
            IMPORTED => self.imported(line, &read),
            "fired" | "node" | "checkpoint" | "broken" => Ok(()),
            other => Err(format!("found a record of the kind {other:?}, which no node writes")),
        };
        if let Err(reason) = followed {
            self.diverges(line.index, &read.job, &read.agent, &reason);
        }
    }

    fn diverges(&mut self, record: u64, job: &str, agent: &str, reason: &str) {
        self.report.diverged += 1;
        if self.report.divergences.len() < NAMED {
            self.report.divergences.push(Divergence {
                record,
                job: job.to_owned(),
                agent: agent.to_owned(),
                reason: reason.to_owned(),
            });
        }
    }

    fn fails(&mut self, kind: &'static str, line: &Line<'_>, read: &Read<'_>, decision: Option<&str>, reason: &str) {
        self.report.attribution.push(Failure {
            kind,
            record: line.index,
            agent: read.agent.to_string(),
            job: read.job.to_string(),
            decision: decision.map(str::to_owned),
            reason: reason.to_owned(),
        });
    }

    fn rerun(&mut self, line: &Line<'_>, read: &Read<'_>) {
        let (record, attempt) = (line.index, read.attempt);
        self.report.reruns.push(Rerun {
            record,
            job: read.job.to_string(),
            agent: read.agent.to_string(),
            attempt,
        });
    }

    fn job(&mut self, line: &Line<'_>, read: &Read<'_>) -> Wrong {
        if read.attempt > 1 {
            self.rerun(line, read);
        }
        let agent = Name::new(&*read.agent).map_err(|e| e.to_string())?;
        let before = self.open.insert(read.job.to_string(), Open::of(agent));
        source(line, Source::Operator)?;
        let asked: Asked = read.document()?;
        self.trail(&asked.trail, &read.agent)?;
        if before.is_some() && read.attempt < 2 {
            return Err("this job was begun before and has not ended".into());
        }
        Ok(())
    }

    fn trail(&mut self, trail: &Trail, agent: &str) -> Wrong {
        self.report.captured_replies += trail.asked.len() as u64;
        match trail.accesses.iter().find(|access| access.agent.as_str() != agent) {
            Some(access) => Err(format!("found an access by {} in a job of {agent}", access.agent)),
            None => Ok(()),
        }
    }

    /// The job that a record belongs to, which must be its agent's.
    fn opened<'o>(open: &'o mut HashMap<String, Open>, read: &Read<'_>) -> Result<&'o mut Open, String> {
        let job = open.get_mut(&*read.job).ok_or("its job has not begun, or is over")?;
        if job.agent.as_str() != read.agent {
            return Err(format!("found the agent {} in a job of {}", read.agent, job.agent));
        }
        Ok(job)
    }

    fn decision(&mut self, line: &Line<'_>, read: &Read<'_>) -> Wrong {
        let decided: Decided<'_> = read.document()?;
        self.report.decisions += 1;
        count(&mut self.report.agents, &read.agent);
        source(line, Source::Agent)?;
        let job = Self::opened(&mut self.open, read)?;
        if decided.source != Source::Agent {
            return Err("found a decision of another source than its record".into());
        }
        let proposal = Proposal {
            id: decided.id,
            kind: decided.kind,
            payload: serde_json::from_str(decided.payload.get()).map_err(|e| e.to_string())?,
        };
        gate::judge(&proposal, &mut job.ids).map_err(|e| format!("the gate refuses this decision: {e}"))?;
        let Proposal { id, kind, payload } = proposal;
        let again = &mut self.again;
        again.act().text("id", &id).text("kind", &kind);
        again.raw("payload", decided.payload.get()).text("source", "agent");
        again.head().text("agent", &read.agent).text("job", &read.job);
        let alike = again.is(line);
        let decision = Decision {
            id,
            source: Source::Agent,
            kind,
            payload,
        };
        let same = if alike {
            Ok(())
        } else {
            let head = json!({ "job": read.job, "agent": read.agent });
            same(line, head, Some(json!(decision)))
        };
        job.decided += 1;
        job.waiting.push_back(decision);
        same
    }

    fn refused(&mut self, line: &Line<'_>, read: &Read<'_>) -> Wrong {
        let proposal: Proposal = read.document()?;
        let reason = read.reason.clone().unwrap_or_default();
        self.fails("refused", line, read, Some(&proposal.id), &reason);
        source(line, Source::Agent)?;
        let job = Self::opened(&mut self.open, read)?;
        job.reason.get_or_insert_with(|| format!("refused: {reason}"));
        let head = json!({ "job": read.job, "agent": read.agent, "reason": reason });
        same(line, head, Some(json!(proposal)))?;
        // A tool's own word can only be taken as it was recorded; the ids of proposals before it were not.
        if gate::BUILT_IN.contains(&proposal.kind.as_str()) && !reason.contains("twice") {
            return match gate::judge(&proposal, &mut HashSet::new()) {
                Err(again) if again == reason => Ok(()),
                // Its words are those of the documents' readers, which may change.
                Err(_) if proposal.kind == gate::DEVICE => Ok(()),
                Err(again) => Err(format!("the gate refuses this for another reason: {again}")),
                Ok(()) => Err("the gate does not refuse this".into()),
            };
        }
        Ok(())
    }

    fn outcome(&mut self, line: &Line<'_>, read: &Read<'_>) -> Wrong {
        let captured: Captured<'_> = read.document()?;
        source(line, Source::Agent)?;
        let trail: Trail = match captured.trail.get() {
            "{}" => Trail::default(),
            said => serde_json::from_str(said).map_err(|e| e.to_string())?,
        };
        let trailed = self.trail(&trail, &read.agent);
        let job = Self::opened(&mut self.open, read)?;
        if job.reason.is_some() {
            return Err("found an outcome after one that failed".into());
        }
        let decision = job.waiting.pop_front().ok_or("found an outcome without a decision")?;
        if decision.id != read.decision || decision.kind != read.kind {
            return Err(format!(
                "found the outcome of {:?}, expected that of {:?}",
                read.decision, decision.id
            ));
        }
        let ok = captured.reason.is_none();
        let computed = match decision.kind.as_str() {
            "advance" => Some(advance(&decision, job.state)),
            // Whether it was granted is the record's word; what it did when it was is not.
            "fs.write" if ok => Some(fs_written(&decision)),
            "queue.send" if ok => Some(queue_sent(&decision)),
            _ => None,
        };
        // A result that only the live run could know stays the bytes that it is; no tree is made of it.
        let captures = computed.is_none();
        let (result, reason) = match computed {
            Some(Ok(result)) => (result, None),
            Some(Err(reason)) => (Value::Null, Some(reason)),
            None => (Value::Null, captured.reason),
        };
        let came = Came { result, reason, trail };
        job.state = after(job.state, &decision, &came);
        job.reason.clone_from(&came.reason);
        if decision.kind == "advance" {
            let failed = job.state == MachineState::Failed && came.ok();
            job.verdict = failed.then(|| (line.index, decision.id.clone(), note(&came)));
        }
        let built_in = gate::BUILT_IN.contains(&decision.kind.as_str());
        if came.ok() {
            match decision.kind.as_str() {
                "fs.write" => self.wrote(&came.result),
                "queue.send" => self.sent(&came.result),
                kind if !built_in || kind == gate::DEVICE => count(&mut self.report.captured_results, kind),
                _ => {}
            }
        }
        if !built_in && !self.kinds.contains(&decision.kind) && !self.report.missing.contains(&decision.kind) {
            self.report.missing.insert(decision.kind.clone());
        }
        if let Some(reason) = &came.reason {
            self.fails("failed", line, read, Some(&decision.id), reason);
        }
        let again = &mut self.again;
        again.act().maybe("reason", came.reason.as_deref());
        if captures {
            again.raw("result", captured.result.get());
        } else {
            again.value("result", &came.result)?;
        }
        if came.trail == Trail::default() {
            again.raw("trail", "{}");
        } else {
            again.value("trail", &json!(came.trail))?;
        }
        again.head().text("agent", &read.agent).text("decision", &decision.id);
        again.text("job", &read.job).text("kind", &decision.kind);
        again.truth("ok", came.ok());
        if again.is(line) {
            return trailed;
        }
        let result = match captures {
            true => serde_json::from_str(captured.result.get()).map_err(|e| e.to_string())?,
            false => came.result,
        };
        let agent = &Self::opened(&mut self.open, read)?.agent;
        let draft = Draft::outcome(&read.job, agent, &decision, &Came { result, ..came });
        same(line, draft.head, draft.act)?;
        trailed
    }

    fn wrote(&mut self, result: &Value) {
        let text = |name: &str| result[name].as_str().unwrap_or_default().to_owned();
        self.report.files.insert(text("path"), text("sha256"));
    }

    fn sent(&mut self, result: &Value) {
        *self
            .queues
            .entry(result["queue"].as_str().unwrap_or_default().to_owned())
            .or_default() += 1;
    }

    fn ended(&mut self, line: &Line<'_>, read: &Read<'_>) -> Wrong {
        source(line, Source::Agent)?;
        Self::opened(&mut self.open, read)?;
        let Some(job) = self.open.remove(&*read.job) else {
            return Ok(());
        };
        // Where nothing was decided or refused, only the live run knows what the agent said.
        let undecided = job.decided == 0 && job.reason.is_none();
        let reason = if undecided {
            read.reason.clone()
        } else {
            job.reason.clone()
        };
        if undecided {
            let why = reason.clone().unwrap_or_default();
            self.fails("agent", line, read, None, &why);
        }
        let state = last_state(job.state, reason.is_none());
        *self.report.jobs.entry(machine::word(state)).or_default() += 1;
        self.report.final_state = Some(state);
        if let Some((record, decision, why)) = job.verdict.filter(|_| reason.is_none()) {
            let (agent, job) = (read.agent.to_string(), read.job.to_string());
            self.report.attribution.push(Failure {
                kind: "verdict",
                record,
                agent,
                job,
                decision: Some(decision),
                reason: why,
            });
        }
        if undecided && reason.is_none() {
            return Err("found a job that ended well without a decision".into());
        }
        if reason.is_none() && !job.waiting.is_empty() {
            return Err(format!(
                "found {} decisions without an outcome in a job that ended well",
                job.waiting.len()
            ));
        }
        let again = &mut self.again;
        again.bare().text("agent", &read.agent).text("job", &read.job);
        again.truth("ok", reason.is_none());
        again
            .maybe("reason", reason.as_deref())
            .text("state", machine::word(state));
        if again.is(line) {
            return Ok(());
        }
        same(
            line,
            Draft::ended(&read.job, &job.agent, state, reason.as_deref()).head,
            None,
        )
    }

    pub(super) fn report(mut self, chain: Chain, head: Option<LedgerHead>) -> Report {
        if let Err(reason) = self.seals.end(self.report.records) {
            self.diverges(self.report.records.saturating_sub(1), "", "", &reason);
        }
        self.report.seals = self.seals.good;
        self.report.unfinished = self.open.len() as u64;
        self.report.byte_identical = chain == Chain::Intact && self.report.diverged == 0;
        let mut state = json!({
            "jobs": self.report.jobs, "agents": self.report.agents, "files": self.report.files,
            "queues": self.queues, "finalState": self.report.final_state,
        });
        if self.report.imported > 0 {
            state["logs"] = json!(self.logs.heads());
        }
        self.report.state_hash = canonical(&state)
            .map(|bytes| sha256(&bytes).to_string())
            .unwrap_or_default();
        (self.report.chain, self.report.head) = (chain, head);
        self.report
    }
}

/// What an agent said when it drove the machine to FAILED.
fn note(came: &Came) -> String {
    let note = came.result.get("note").filter(|note| !note.is_null());
    let said = note.map(|note| note.as_str().map_or_else(|| note.to_string(), str::to_owned));
    said.unwrap_or_else(|| "it drove the machine to FAILED".into())
}

fn source(line: &Line<'_>, expected: Source) -> Wrong {
    if line.source == expected {
        Ok(())
    } else {
        Err("found another source than a node sets".into())
    }
}

/// One more of a name.
fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => drop(counts.insert(name.to_owned(), 1)),
    }
}
