//! A change that an agent of the runtime proposes: held against what that agent was granted, done whole or not at all.
//!
//! Owns the rule that a proposal is decided once. Its id follows from who proposed what in which job, so that a node which lost
//! the answer asks again and is told what came of it then. What a state in force lists belongs to its signer: no agent changes
//! it, whatever it was granted.

use jos_schemas::documents::desired_state::{DesiredState, ServiceAction, Step};
use jos_schemas::documents::ledger::{Decision, OutcomeKind};
use jos_schemas::documents::policy::Source;
use jos_schemas::text::Name;
use jos_trust::{Digest, sha256};
use serde_json::{Value, json};

use super::confirm::Verdict;
use super::flow::state_of;
use super::held::Held;
use super::report::impossible;
use super::transact::{Covered, Transaction};
use super::{Plane, PlaneError};
use crate::act::Done;
use crate::compare::{Part, Wanted, lists};
use crate::gate::{Refusal, label, step_path, system_keys, uci_words};
use crate::ledger::{Blobs, Ledger, canonical};
use crate::outcome::{Outcome, Report};
use crate::plan::{Act, Plan};

/// What an agent of a node proposes, by the node's own knowledge of who that is.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposed {
    /// The agent.
    pub agent: Name,
    /// The node's data directory, by the id of its key.
    pub node: String,
    /// The job that the agent works on.
    pub job: String,
    /// The id of the node's own decision.
    pub decision: String,
    /// What is to be done, in this order.
    pub steps: Vec<Step>,
}

impl Plane<'_> {
    /// Decides on a proposal and does it, or says why not. The health check of the state in force decides at the end: what
    /// makes it fail is taken back. Proposed again, it is not done again.
    pub fn propose(&self, proposed: &Proposed) -> Result<Outcome, PlaneError> {
        let _lock = self.lock()?;
        self.recover_under_lock()?;
        let source = Source::Agent;
        let act = serde_json::to_value(&proposed.steps).expect("steps are plain data");
        let bytes = canonical(&act)?;
        let id = change_id(
            &proposed.node,
            &proposed.agent,
            &proposed.job,
            &proposed.decision,
            &bytes,
        );
        let ledger = self.open_ledger()?;
        if let Some(report) = decided_before(&ledger, &id)? {
            return Ok(self.outcome(&ledger, source, None, report, false));
        }
        let (floors, book) = (self.floors()?, self.book(&ledger)?);
        let held = self.held(&floors, &book)?;
        let state = state_of(&self.setup.name, proposed.steps.clone());
        let gate = self.gate().of_agent(Some(&proposed.agent));
        let wanted = Wanted {
            name: &self.setup.name,
            version: 1,
            source,
            in_force: false,
            parts: vec![Part {
                source,
                state: &state,
                follows: None,
                run_once: true,
            }],
        };
        let mut plan = self.compare(&gate, &wanted)?;
        if self.ask_repositories(&plan) {
            plan = self.compare(&gate, &wanted)?;
        }
        plan.problems.extend(not_for_agents(&state, &held, &plan));
        self.bring_content(&mut plan);
        if !plan.is_possible() {
            let mut report = impossible(&plan);
            let who = format!("agent {}, job {}", proposed.agent, proposed.job);
            report.reasons.iter_mut().for_each(|r| *r = format!("{who}: {r}"));
            return self.refused(source, None, report);
        }
        if plan.is_empty() {
            return Ok(self.outcome(&ledger, source, None, Report::new(OutcomeKind::Unchanged), false));
        }
        let act = Blobs::open(&self.data, &self.at("blobs"))?.inline_or_put(&act, &bytes)?;
        let mut payload = json!({
            "agent": proposed.agent, "node": proposed.node, "job": proposed.job, "decision": proposed.decision, "act": act,
        });
        let facts = self.gate_facts(&gate, Some(&proposed.agent));
        self.add_captured(&mut payload, &facts, &[], &wanted, &plan)?;
        let health = held.last().and_then(|top| {
            let check = top.state.value().spec.health_check.as_ref()?;
            Some((top.source, check))
        });
        let transaction = Transaction {
            source,
            version: 0,
            plan: &plan,
            adopts: None,
            decision: Covered::New(Decision {
                id,
                source,
                kind: "agent.change".into(),
                payload,
            }),
            verdict: Verdict {
                source,
                health,
                confirm: None,
                health_decides: true,
            },
            completes: false,
            drift: None,
            env: Vec::new(),
        };
        self.transact(&gate, &transaction, &mut Done::default())
    }
}

/// The id of the decision on a proposal: the same for the same proposal, another for any other.
pub(crate) fn change_id(node: &str, agent: &Name, job: &str, decision: &str, steps: &[u8]) -> String {
    let who = json!([node, agent, job, decision, sha256(steps).to_string()]);
    let digest: Digest = sha256(who.to_string().as_bytes());
    format!("agent-{}", &digest.to_string()[..32])
}

/// What came of this decision, where it was made before. Recovery has come first, so it has an outcome.
fn decided_before(ledger: &Ledger<'_>, id: &str) -> Result<Option<Report>, PlaneError> {
    let (mut decision, mut outcome) = (None, None);
    ledger.read(&mut |record, _| match record.kind.as_str() {
        "decision" if record.source == Source::Agent && record.payload["id"] == id => {
            decision = Some(format!("#{}", record.index));
        }
        "outcome" if decision.is_some() && record.cause == decision => outcome = Some(record.payload.clone()),
        _ => {}
    })?;
    if decision.is_none() {
        return Ok(None);
    }
    let known = outcome.unwrap_or_default();
    let kind = serde_json::from_value(known["outcome"].clone()).unwrap_or(OutcomeKind::RolledBack);
    let reasons = known["reasons"].as_array().into_iter().flatten();
    let reasons = reasons.filter_map(Value::as_str).map(str::to_owned).collect();
    Ok(Some(Report::new(kind).because(reasons)))
}

/// What stands in the way of an agent whatever policy says: what a state in force lists, and the agent's own package.
fn not_for_agents(state: &DesiredState, held: &[Held], plan: &Plan) -> Vec<Refusal> {
    let refusal = |step: String, why: &str| Refusal {
        step,
        why: why.to_owned(),
        needed: None,
    };
    let mut found = Vec::new();
    for (at, step) in state.spec.apply.iter().enumerate() {
        if held.iter().any(|held| touches(step, held.state.value())) {
            let why = "the state in force says what is to be there; whoever signs it changes that, not an agent";
            found.push(refusal(label(at, step), why));
        }
    }
    let itself = |act: &Act| matches!(act, Act::Package { itself: true, .. });
    for task in plan.tasks.iter().filter(|task| itself(&task.act)) {
        let step = plan.changes[task.change].step.clone();
        found.push(refusal(step, "no agent replaces the program that watches it"));
    }
    found
}

/// Whether a step changes what a state lists, or would be changed back by it.
fn touches(step: &Step, held: &DesiredState) -> bool {
    // These say nothing of how a service is to be.
    if matches!(step, Step::Service(s) if matches!(s.action, ServiceAction::Restart | ServiceAction::Reload)) {
        return false;
    }
    let below = |dir: &str, path: &str| path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'));
    let keys = system_keys(step);
    lists(held, step)
        || held.spec.apply.iter().any(|other| {
            let purged = matches!(other, Step::Directory(d) if d.purge);
            let removed = matches!(other, Step::Absent(_));
            let around = match step_path(step).zip(step_path(other)) {
                // Whatever the step does to a tree it does to what the state has there, and the other way round.
                Some((own, theirs)) => {
                    below(own, theirs) && !matches!(step, Step::Directory(d) if !d.purge)
                        || below(theirs, own) && (purged || removed)
                }
                None => false,
            };
            let section = match (step, other) {
                (Step::Uci(own), Step::Uci(theirs)) => {
                    (own.absent || theirs.absent) && uci_words(own) == uci_words(theirs)
                }
                _ => false,
            };
            around || section || system_keys(other).iter().any(|key| keys.contains(key))
        })
}
