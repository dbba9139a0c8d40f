//! The main flow of an artifact, under its guardrails.
//!
//! Each try of each step is one decision of the plane, with source `artifact`. Steps run in order; the first that fails after
//! its retries ends the flow. What is refused is not tried again.

use std::time::Duration;

use jos_runtime::world::World;
use jos_runtime::{FlowAct, FlowStep, Plane};
use jos_schemas::documents::ledger::OutcomeKind;
use serde::Serialize;

use crate::signals;
use crate::subject::{Act, Loaded};

/// Milliseconds for a step where the artifact says nothing.
const TIMEOUT: u64 = 60_000;
/// Longest pause between two tries, in seconds.
const LONGEST: u64 = 30;

/// How a flow ended.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Flow {
    /// Every step was done.
    pub(crate) ok: bool,
    /// Steps done.
    pub(crate) done: usize,
    /// Steps in all, those of composed artifacts included.
    pub(crate) steps: usize,
    /// The step that failed, as `artifact/step`.
    pub(crate) failed: Option<String>,
    /// Why.
    pub(crate) reason: Option<String>,
    /// Tries in all.
    pub(crate) tries: usize,
}

/// Runs the flow.
pub(crate) fn run(plane: &Plane<'_>, world: &World<'_>, artifact: &Loaded, environment: &[(String, String)]) -> Flow {
    let mut flow = Flow {
        ok: false,
        done: 0,
        steps: count(artifact),
        failed: None,
        reason: None,
        tries: 0,
    };
    flow.ok = steps(plane, world, artifact, environment, &mut flow);
    flow
}

fn count(artifact: &Loaded) -> usize {
    artifact
        .steps
        .iter()
        .map(|s| {
            if let Act::Artifact(other) = &s.act {
                count(other)
            } else {
                1
            }
        })
        .sum()
}

fn steps(
    plane: &Plane<'_>,
    world: &World<'_>,
    artifact: &Loaded,
    environment: &[(String, String)],
    flow: &mut Flow,
) -> bool {
    let guardrails = artifact.artifact.guardrails.clone().unwrap_or_default();
    let retries = guardrails.max_retries.unwrap_or(0);
    for step in &artifact.steps {
        let what = match &step.act {
            Act::Artifact(other) => {
                if !steps(plane, world, other, environment, flow) {
                    return false;
                }
                continue;
            }
            Act::Shell(command) => FlowAct::Command(command.clone()),
            Act::File { path, content, mode } => FlowAct::File {
                path: path.clone(),
                content: content.clone(),
                mode: mode.clone(),
            },
            Act::Service { name, action } => FlowAct::Service {
                name: name.clone(),
                action: *action,
            },
        };
        let label = format!("{}/{}", artifact.artifact.id_jos, step.name);
        let ask = FlowStep {
            artifact: artifact.artifact.id_jos.to_string(),
            step: step.name.clone(),
            what,
            timeout: Duration::from_millis(guardrails.timeout_ms.unwrap_or(TIMEOUT)),
            env: environment.to_vec(),
            avoid: guardrails.avoid.clone(),
        };
        let mut left = retries;
        loop {
            if signals::stop_requested() {
                flow.failed = Some(label);
                flow.reason = Some("stopped".into());
                return false;
            }
            flow.tries += 1;
            let (again, reason) = match plane.run_flow_step(&ask) {
                Ok(outcome) => match outcome.kind {
                    OutcomeKind::Applied | OutcomeKind::Unchanged => break,
                    kind => {
                        let ending = outcome.ran.as_ref().map(|ran| ran.ending());
                        let reason = outcome.reason.or(ending).unwrap_or_else(|| format!("{kind:?}"));
                        (!matches!(kind, OutcomeKind::Refused | OutcomeKind::Unsupported), reason)
                    }
                },
                Err(error) => (true, error.to_string()),
            };
            if !again || left == 0 {
                log::error!("flow: {label}: {reason}");
                flow.failed = Some(label);
                flow.reason = Some(reason);
                return false;
            }
            log::warn!("flow: {label}: {reason}; {left} tries left");
            let pause = 1u64.checked_shl(retries - left).unwrap_or(LONGEST).min(LONGEST);
            left -= 1;
            world.clock.pause(Duration::from_secs(pause));
        }
        log::info!("flow: {label}: done");
        flow.done += 1;
    }
    true
}
