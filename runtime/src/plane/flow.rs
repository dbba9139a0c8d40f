//! A step of an artifact's flow: one decision each, under the grant of the source `artifact`.

use std::time::Duration;

use jos_schemas::documents::desired_state::{
    Content, DesiredState, DesiredStateKind, FileStep, Meta, ServiceAction, ServiceStep, ShellStep, Spec, Step,
};
use jos_schemas::documents::ledger::{Decision, OutcomeKind};
use jos_schemas::documents::policy::Source;
use jos_schemas::text::{AbsPath, Mode, ServiceName};
use serde_json::json;

use super::confirm::Verdict;
use super::report::impossible;
use super::transact::{Covered, Transaction};
use super::{Plane, PlaneError};
use crate::act::Done;
use crate::compare::{Part, Wanted};
use crate::ledger::Blobs;
use crate::outcome::{Outcome, Report};
use crate::world::Ran;

/// One step of a flow, as the artifact wants it on this system.
#[derive(Clone, Debug)]
pub struct FlowStep {
    /// `id_jos` of the artifact.
    pub artifact: String,
    /// Name of the definition.
    pub step: String,
    /// What to do.
    pub what: FlowAct,
    /// Guardrail: a command is killed after this.
    pub timeout: Duration,
    /// The environment that the person at install gave.
    pub env: Vec<(String, String)>,
    /// Guardrail: texts that no command may contain.
    pub avoid: Vec<String>,
}

/// What a step of a flow does.
#[derive(Clone, Debug)]
pub enum FlowAct {
    /// A command that policy lists.
    Command(String),
    /// A file with this text.
    File {
        /// Where.
        path: AbsPath,
        /// The text.
        content: String,
        /// Permission bits; `0644` when absent.
        mode: Option<Mode>,
    },
    /// A service.
    Service {
        /// Which.
        name: ServiceName,
        /// What to bring about.
        action: ServiceAction,
    },
}

/// What it came to.
#[derive(Clone, Debug)]
pub struct FlowOutcome {
    /// How it ended, as for a state. A command that failed is `rolled_back`.
    pub kind: OutcomeKind,
    /// Why, where it is not plainly good.
    pub reason: Option<String>,
    /// The command's end and output, where one ran.
    pub ran: Option<Ran>,
    /// All of it.
    pub outcome: Outcome,
}

impl FlowOutcome {
    fn of(outcome: Outcome, ran: Option<Ran>) -> Self {
        let reason = (!outcome.reasons.is_empty()).then(|| outcome.reasons.join("; "));
        Self {
            kind: outcome.kind,
            reason,
            ran,
            outcome,
        }
    }
}

impl Plane<'_> {
    /// Runs one step: gate, ledger, act, outcome. Each call is one decision; retrying is the caller's.
    pub fn run_flow_step(&self, flow: &FlowStep) -> Result<FlowOutcome, PlaneError> {
        let _lock = self.lock()?;
        self.recover_under_lock()?;
        let source = Source::Artifact;
        let step = match &flow.what {
            FlowAct::Command(command) => Step::Shell(ShellStep {
                command: command.clone(),
                unless: None,
                undo: None,
                timeout: Some(u32::try_from(flow.timeout.as_secs().max(1)).unwrap_or(u32::MAX)),
            }),
            FlowAct::File { path, content, mode } => Step::File(FileStep {
                path: path.clone(),
                content: Some(Content::Text(content.clone())),
                source: None,
                mode: mode.clone(),
                owner: None,
                notify: Vec::new(),
            }),
            FlowAct::Service { name, action } => Step::Service(ServiceStep {
                name: name.clone(),
                action: *action,
            }),
        };
        if let (FlowAct::Command(command), Some(text)) = (&flow.what, avoided(flow)) {
            let reason = format!(
                "{}: {command:?} contains {text:?}, which the artifact's guardrails avoid",
                flow.step
            );
            let report = Report::new(OutcomeKind::Refused).because(vec![reason]);
            return Ok(FlowOutcome::of(self.refused(source, None, report)?, None));
        }
        let state = one_step_state(&self.setup.name, step.clone());
        let gate = self.gate();
        let parts = vec![Part {
            source,
            state: &state,
            follows: None,
            run_once: true,
        }];
        let wanted = Wanted {
            name: &self.setup.name,
            version: 1,
            source,
            in_force: false,
            parts,
        };
        let mut plan = self.compare(&gate, &wanted)?;
        if !plan.is_possible() {
            let mut report = impossible(&plan);
            report
                .reasons
                .iter_mut()
                .for_each(|r| *r = format!("{}: {r}", flow.step));
            return Ok(FlowOutcome::of(self.refused(source, None, report)?, None));
        }
        if plan.is_empty() {
            let report = Report::new(OutcomeKind::Unchanged);
            let outcome = self.outcome(&self.open_ledger()?, source, None, report, false);
            return Ok(FlowOutcome::of(outcome, None));
        }
        for task in &mut plan.tasks {
            if let crate::plan::Act::Shell { timeout, .. } = &mut task.act {
                *timeout = flow.timeout;
            }
        }
        let act = serde_json::to_value(&step).expect("a step is plain data");
        let bytes = serde_json::to_vec(&act).expect("a step is plain data");
        let act = Blobs::open(&self.data, &self.at("blobs"))?.inline_or_put(&act, &bytes)?;
        let mut payload = json!({ "artifact": flow.artifact, "step": flow.step, "act": act });
        self.add_captured(&mut payload, &self.gate_facts(&gate, None), &[], &wanted, &plan)?;
        let decision = Decision {
            id: flow_id(&flow.artifact, &flow.step),
            source,
            kind: "flow.step".into(),
            payload,
        };
        let transaction = Transaction {
            source,
            version: 0,
            plan: &plan,
            adopts: None,
            decision: Covered::New(decision),
            verdict: Verdict {
                source,
                health: None,
                confirm: None,
                health_decides: true,
            },
            completes: false,
            drift: None,
            env: flow.env.clone(),
        };
        let mut done = Done::default();
        let outcome = self.transact(&gate, &transaction, &mut done)?;
        Ok(FlowOutcome::of(outcome, done.last))
    }
}

/// An id may hold letters, digits, `_` and `-`; a definition's name may hold anything.
pub(crate) fn flow_id(artifact: &str, step: &str) -> String {
    flow_id_chars(artifact, step).collect()
}

/// Whether `id` is [`flow_id`] of these.
pub(crate) fn is_flow_id(id: &str, artifact: &str, step: &str) -> bool {
    flow_id_chars(artifact, step).eq(id.chars())
}

fn flow_id_chars(artifact: &str, step: &str) -> impl Iterator<Item = char> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let all = artifact.chars().chain(['-']).chain(step.chars());
    all.map(plain).take(128)
}

fn avoided(flow: &FlowStep) -> Option<&str> {
    let FlowAct::Command(command) = &flow.what else {
        return None;
    };
    flow.avoid
        .iter()
        .map(String::as_str)
        .find(|text| !text.is_empty() && command.contains(text))
}

/// The form in which the comparison takes a single step.
pub(crate) fn one_step_state(name: &jos_schemas::text::Name, step: Step) -> DesiredState {
    state_of(name, vec![step])
}

/// The form in which the comparison takes steps that are of no signed state.
pub(crate) fn state_of(name: &jos_schemas::text::Name, steps: Vec<Step>) -> DesiredState {
    DesiredState {
        schema: None,
        jos: None,
        kind: DesiredStateKind::DesiredState,
        meta: Meta {
            name: name.clone(),
            version: 1,
            description: None,
            expires: None,
            requires: Vec::new(),
            prune: false,
            audience: None,
        },
        spec: Spec {
            apply: steps,
            health_check: None,
            confirm: None,
            telemetry: None,
        },
        signature: None,
        signatures: Vec::new(),
    }
}
