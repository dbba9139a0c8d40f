//! One reading of the ledger, record by record.

mod imported;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jos_runtime::ledger::{Archive, BLOB_LIMIT, LedgerHead, LedgerKey, Line, canonical};
use jos_schemas::documents::ledger::{Decision, Proposal};
use jos_schemas::documents::policy::Source;
use jos_schemas::documents::runtime::MachineState;
use jos_schemas::text::Name;
use jos_trust::sha256;
use serde_json::{Value, json};

use super::{Chain, Divergence, Failure, NAMED, Report, Rerun};
use crate::execute::{advance, after, fs_written, last_state, queue_sent};
use crate::import::Logs;
use crate::join::Trail;
use crate::records::{Came, Draft, IMPORTED, Read};
use crate::seals::Seals;
use crate::{gate, machine};

/// A job that has begun.
struct Open {
    agent: String,
    /// Decisions that have no outcome yet, in order.
    waiting: Vec<Decision>,
    ids: BTreeSet<String>,
    state: MachineState,
    /// Why it fails, as far as the records made it follow.
    reason: Option<String>,
    decided: usize,
    verdict: Option<(u64, String, String)>,
}

pub(super) struct Pass<'p> {
    archive: &'p Archive<'p>,
    kinds: &'p BTreeSet<String>,
    open: HashMap<String, Open>,
    queues: BTreeMap<String, u64>,
    logs: Logs,
    report: Report,
    seals: Seals<'p>,
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
        }
    }

    pub(super) fn line(&mut self, line: &Line<'_>) {
        self.report.records += 1;
        if let Err(reason) = self.seals.line(line) {
            self.diverges(line.index, "", "", &reason);
        }
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

    fn fails(&mut self, kind: &'static str, line: &Line<'_>, read: &Read, decision: Option<&str>, reason: &str) {
        self.report.attribution.push(Failure {
            kind,
            record: line.index,
            agent: read.agent.clone(),
            job: read.job.clone(),
            decision: decision.map(str::to_owned),
            reason: reason.to_owned(),
        });
    }

    fn rerun(&mut self, line: &Line<'_>, read: &Read) {
        let (record, attempt) = (line.index, read.attempt);
        self.report.reruns.push(Rerun {
            record,
            job: read.job.clone(),
            agent: read.agent.clone(),
            attempt,
        });
    }

    fn job(&mut self, line: &Line<'_>, read: &Read) -> Wrong {
        if read.attempt > 1 {
            self.rerun(line, read);
        }
        let open = Open {
            agent: read.agent.clone(),
            waiting: Vec::new(),
            ids: BTreeSet::new(),
            state: MachineState::Pending,
            reason: None,
            decided: 0,
            verdict: None,
        };
        let before = self.open.insert(read.job.clone(), open);
        source(line, Source::Operator)?;
        let trail: Trail = serde_json::from_value(read.act["trail"].clone()).map_err(|e| e.to_string())?;
        self.trail(&trail, &read.agent)?;
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
    fn opened<'o>(open: &'o mut HashMap<String, Open>, read: &Read) -> Result<&'o mut Open, String> {
        let job = open.get_mut(&read.job).ok_or("its job has not begun, or is over")?;
        if job.agent != read.agent {
            return Err(format!("found the agent {} in a job of {}", read.agent, job.agent));
        }
        Ok(job)
    }

    fn decision(&mut self, line: &Line<'_>, read: &Read) -> Wrong {
        let decision: Decision = read.document()?;
        self.report.decisions += 1;
        *self.report.agents.entry(read.agent.clone()).or_default() += 1;
        source(line, Source::Agent)?;
        let job = Self::opened(&mut self.open, read)?;
        if decision.source != Source::Agent {
            return Err("found a decision of another source than its record".into());
        }
        let proposal = Proposal {
            id: decision.id.clone(),
            kind: decision.kind.clone(),
            payload: decision.payload.clone(),
        };
        gate::judge(&proposal, &mut job.ids).map_err(|e| format!("the gate refuses this decision: {e}"))?;
        let head = json!({ "job": read.job, "agent": read.agent });
        let same = same(line, head, Some(json!(decision)));
        job.decided += 1;
        job.waiting.push(decision);
        same
    }

    fn refused(&mut self, line: &Line<'_>, read: &Read) -> Wrong {
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
            return match gate::judge(&proposal, &mut BTreeSet::new()) {
                Err(again) if again == reason => Ok(()),
                // Its words are those of the documents' readers, which may change.
                Err(_) if proposal.kind == gate::DEVICE => Ok(()),
                Err(again) => Err(format!("the gate refuses this for another reason: {again}")),
                Ok(()) => Err("the gate does not refuse this".into()),
            };
        }
        Ok(())
    }

    fn outcome(&mut self, line: &Line<'_>, read: &Read) -> Wrong {
        let came: Came = read.document()?;
        source(line, Source::Agent)?;
        let trailed = self.trail(&came.trail, &read.agent);
        let job = Self::opened(&mut self.open, read)?;
        if job.reason.is_some() {
            return Err("found an outcome after one that failed".into());
        }
        if job.waiting.is_empty() {
            return Err("found an outcome without a decision".into());
        }
        let decision = job.waiting.remove(0);
        if decision.id != read.decision || decision.kind != read.kind {
            return Err(format!(
                "found the outcome of {:?}, expected that of {:?}",
                read.decision, decision.id
            ));
        }
        let computed = match decision.kind.as_str() {
            "advance" => Some(advance(&decision, job.state)),
            // Whether it was granted is the record's word; what it did when it was is not.
            "fs.write" if came.ok() => Some(fs_written(&decision)),
            "queue.send" if came.ok() => Some(queue_sent(&decision)),
            _ => None,
        };
        let again = match computed {
            Some(Ok(result)) => Came {
                result,
                reason: None,
                trail: came.trail.clone(),
            },
            Some(Err(reason)) => Came {
                result: Value::Null,
                reason: Some(reason),
                trail: came.trail.clone(),
            },
            None => came.clone(),
        };
        job.state = after(job.state, &decision, &again);
        job.reason = again.reason.clone();
        if job.state == MachineState::Failed && again.ok() && decision.kind == "advance" {
            job.verdict = Some((line.index, decision.id.clone(), note(&again)));
        } else {
            job.verdict = None;
        }
        let built_in = gate::BUILT_IN.contains(&decision.kind.as_str());
        if again.ok() {
            match decision.kind.as_str() {
                "fs.write" => self.wrote(&again.result),
                "queue.send" => self.sent(&again.result),
                kind if !built_in || kind == gate::DEVICE => {
                    *self.report.captured_results.entry(decision.kind.clone()).or_default() += 1
                }
                _ => {}
            }
        }
        if !built_in && !self.kinds.contains(&decision.kind) {
            self.report.missing.insert(decision.kind.clone());
        }
        if let Some(reason) = &again.reason {
            self.fails("failed", line, read, Some(&decision.id), reason);
        }
        let agent = Name::new(&*read.agent).map_err(|e| e.to_string())?;
        let draft = Draft::outcome(&read.job, &agent, &decision, &again);
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

    fn ended(&mut self, line: &Line<'_>, read: &Read) -> Wrong {
        source(line, Source::Agent)?;
        Self::opened(&mut self.open, read)?;
        let Some(job) = self.open.remove(&read.job) else {
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
            let (agent, job) = (read.agent.clone(), read.job.clone());
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
        let agent = Name::new(&*read.agent).map_err(|e| e.to_string())?;
        same(
            line,
            Draft::ended(&read.job, &agent, state, reason.as_deref()).head,
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

/// Whether the payload that was made again has the bytes of the one that is there.
fn same(line: &Line<'_>, mut head: Value, act: Option<Value>) -> Wrong {
    if let Some(act) = act {
        let bytes = canonical(&act).map_err(|e| e.to_string())?;
        head["act"] = if bytes.len() > BLOB_LIMIT {
            json!({ "blob": sha256(&bytes).to_string(), "size": bytes.len() })
        } else {
            act
        };
    }
    let bytes = canonical(&head).map_err(|e| e.to_string())?;
    if bytes == line.payload {
        return Ok(());
    }
    let (made, there) = (String::from_utf8_lossy(&bytes), String::from_utf8_lossy(line.payload));
    let at = made.bytes().zip(there.bytes()).take_while(|(a, b)| a == b).count();
    let part = |text: &str| {
        text.get(at.saturating_sub(20)..)
            .unwrap_or_default()
            .chars()
            .take(80)
            .collect::<String>()
    };
    Err(format!(
        "found \u{2026}{}, expected \u{2026}{}",
        part(&there),
        part(&made)
    ))
}
