//! Agents without code: a `.jos` artifact whose main flow has `prompt` steps.
//!
//! Each step asks the model, in order. A step may say, besides upstream's `prompt` (or `template`): `system`, `options` for
//! the model, `read` (names of files to put in), `receive` (a queue whose oldest message is put in, unless the job brings
//! one), `propose` (decisions made of the reply) and `verdict` (the reply decides how the job ends). Where no step says
//! either, the last one's reply is the verdict. Accepted: DONE. Rejected: FAILED, and the steps after it are not asked.

use std::collections::BTreeMap;

use jos_schemas::documents::artifact::Artifact;
use jos_schemas::documents::ledger::Proposal;
use jos_schemas::documents::runtime::Job;
use jos_schemas::text::Name;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::template::Known;
use super::{Proposals, verdict};
use crate::contract::{Agent, AgentError, Hands, Prompt};

/// One step, as far as an agent of the runtime reads it.
#[derive(Debug, Deserialize)]
struct Step {
    #[serde(skip)]
    name: String,
    #[serde(alias = "template")]
    prompt: String,
    #[serde(default)]
    system: Option<String>,
    #[serde(default)]
    options: Map<String, Value>,
    #[serde(default)]
    read: BTreeMap<String, String>,
    #[serde(default)]
    receive: Option<String>,
    #[serde(default)]
    propose: Vec<Made>,
    #[serde(default)]
    verdict: bool,
}

/// A decision made of a reply.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Made {
    kind: String,
    payload: Value,
}

/// An agent of prompts.
#[derive(Debug)]
pub struct PromptAgent {
    steps: Vec<Step>,
}

impl PromptAgent {
    /// Out of an artifact and the JSON that it was read from. The error names the place in it.
    pub fn new(artifact: &Artifact, json: &Value) -> Result<Self, String> {
        let orchestration = artifact.orchestration.as_ref();
        let main = orchestration
            .and_then(|o| o.flows.get("main"))
            .ok_or("/orchestration/flows: no flow \"main\"; an agent of the runtime runs that one")?;
        let mut steps = Vec::with_capacity(main.steps.len());
        for (index, step) in main.steps.iter().enumerate() {
            let name = step.strip_prefix("definitions.").unwrap_or(step);
            let found = json.pointer("/orchestration/definitions").and_then(|all| all.get(name));
            let found = found
                .ok_or_else(|| format!("/orchestration/flows/main/steps/{index}: no definition {name:?} is there"))?;
            let at = format!("/orchestration/definitions/{name}");
            let kind = found.get("type").and_then(Value::as_str).unwrap_or_default();
            if kind != "prompt" {
                return Err(format!(
                    "{at}/type: found {kind:?}, expected \"prompt\": an agent of the runtime proposes, it does nothing itself"
                ));
            }
            let mut read: Step = serde_json::from_value(found.clone()).map_err(|e| format!("{at}: {e}"))?;
            name.clone_into(&mut read.name);
            steps.push(read);
        }
        match steps.last_mut() {
            None => return Err("/orchestration/flows/main/steps: no step, expected at least one".into()),
            Some(last) if last.propose.is_empty() => last.verdict = true,
            Some(_) => {}
        }
        Ok(Self { steps })
    }

    fn known(job: &Job) -> Known {
        let mut known = Known::default();
        known.set("input", job.input.clone());
        known.set("job", json!({ "id": job.id, "agent": job.agent }));
        known
    }
}

/// The message that a step works on: the job's own, else the queue's oldest.
fn message(queue: &str, job: &Job, hands: &mut dyn Hands) -> Result<Value, AgentError> {
    if let Some(brought) = job.input.get("message") {
        return Ok(brought.clone());
    }
    hands
        .receive(queue)?
        .ok_or_else(|| AgentError::Failed(format!("queue {queue} is empty: there is nothing to do")))
}

impl Agent for PromptAgent {
    fn decide(&self, job: &Job, hands: &mut dyn Hands) -> Result<Vec<Proposal>, AgentError> {
        let mut proposals = Proposals::of(job);
        let mut known = Self::known(job);
        let mut replies = Map::new();
        let mut note = String::from("done");
        for step in &self.steps {
            let failed = |why: String| AgentError::Failed(format!("step {}: {why}", step.name));
            if let Some(queue) = &step.receive {
                known.set("message", message(queue, job, hands)?);
            }
            let mut files = Map::new();
            for (name, path) in &step.read {
                let path = known.text(path).map_err(failed)?;
                let text = String::from_utf8(hands.read(&path)?).map_err(|_| failed(format!("{path} is not UTF-8")))?;
                files.insert(name.clone(), Value::String(text));
            }
            known.set("files", Value::Object(files));
            let system = step.system.as_ref().map(|text| known.text(text)).transpose();
            let reply = hands.ask(&Prompt {
                system: system.map_err(failed)?,
                prompt: known.text(&step.prompt).map_err(failed)?,
                options: step.options.clone(),
            })?;
            replies.insert(step.name.clone(), Value::String(reply.text.clone()));
            known.set("steps", Value::Object(replies.clone()));
            known.set("reply", Value::String(reply.text.clone()));
            for made in &step.propose {
                proposals.add(&made.kind, known.value(&made.payload).map_err(failed)?)?;
            }
            if step.verdict {
                let (accepted, said) = verdict::read(&reply.text);
                note = said;
                if !accepted {
                    // Nothing of what was thought up to here is done: the job is judged as a whole.
                    let mut judged = Proposals::of(job);
                    judged.advance(false, &note)?;
                    return Ok(judged.done());
                }
            }
        }
        proposals.advance(true, &note)?;
        Ok(proposals.done())
    }
}

/// The name by which jobs ask for an artifact's agent.
pub(crate) fn name_of(artifact: &Artifact) -> &Name {
    &artifact.id_jos
}
