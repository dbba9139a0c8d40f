//! A step of a flow: one step by itself, under what the artifact was granted.

use std::borrow::Cow;
use std::rc::Rc;

use jos_schemas::documents::desired_state::Step;
use jos_schemas::documents::policy::Source;
use jos_schemas::read::{self as documents, Format};
use jos_trust::Digest;
use serde_json::value::RawValue;

use super::Divergence;
use super::decide::{captured, gate_says_yes, owned};
use super::line::{Flow, Ids};
use super::machine::{Machine, Open, Why};
use super::quick::QuickFlow;
use super::shelf::{self, Blobs};
use crate::ledger::Line;
use crate::ledger::source_word;
use crate::plane::{flow_id, is_flow_id, one_step_state};

/// How many ids of flow steps a checkpoint keeps.
const FLOWS_KEPT: usize = 64;

/// `flow.step`, whichever way it was read.
pub(super) struct FlowStep<'a> {
    artifact: Cow<'a, str>,
    step: Cow<'a, str>,
    act: Act<'a>,
    gate: Digest,
    ids: Ids<'a>,
    found: Option<&'a RawValue>,
    inputs: Option<&'a RawValue>,
}

/// What it does.
enum Act<'a> {
    Raw(&'a RawValue),
    Read(Step),
}

impl<'a> From<Flow<'a>> for FlowStep<'a> {
    fn from(flow: Flow<'a>) -> Self {
        Self {
            artifact: flow.artifact,
            step: flow.step,
            act: Act::Raw(flow.act),
            gate: flow.gate,
            ids: flow.ids,
            found: flow.found,
            inputs: flow.inputs,
        }
    }
}

impl<'a> From<QuickFlow<'a>> for FlowStep<'a> {
    fn from(flow: QuickFlow<'a>) -> Self {
        Self {
            artifact: Cow::Borrowed(flow.artifact),
            step: Cow::Borrowed(flow.step),
            act: Act::Read(flow.act),
            gate: flow.gate,
            ids: flow.ids,
            found: None,
            inputs: None,
        }
    }
}

impl Machine {
    pub(super) fn decide_flow(
        &mut self,
        line: &Line<'_>,
        id: &str,
        flow: FlowStep<'_>,
        blobs: &mut Blobs<'_>,
    ) -> Result<Open, Divergence> {
        let index = line.index;
        let bad =
            |what: &str, expected: String, found: String| Err(Divergence::new(index, expected, found).about(what));
        if line.source != Source::Artifact {
            return bad("source", "artifact".into(), source_word(line.source).into());
        }
        if !is_flow_id(id, &flow.artifact, &flow.step) {
            return bad("id", flow_id(&flow.artifact, &flow.step), id.into());
        }
        if let Some(version) = line.version {
            return bad(
                "version",
                "none: a step of a flow belongs to no version".into(),
                version.to_string(),
            );
        }
        let step = match flow.act {
            Act::Read(step) => step,
            Act::Raw(raw) => {
                let bytes = shelf::value(index, raw, blobs, "the step")?;
                let step = documents::document::<Step>("step", &bytes, Format::Json);
                step.map_err(|e| Divergence::new(index, "a step", e.to_string().trim_end()))?
                    .value
            }
        };
        let recorded = self.shelf.gate(index, flow.gate, blobs)?;
        let name = match &self.name {
            Some(name) if name.as_str() == line.name => name.clone(),
            _ => line.name.parse().map_err(|e| Divergence::new(index, "a name", e))?,
        };
        let state = one_step_state(&name, step);
        if !recorded.let_before(line.source, &state) {
            gate_says_yes(index, &recorded, line.source, &state)?;
            recorded.lets(line.source, &state);
        }
        let (found, inputs) = captured(index, flow.found, flow.inputs, blobs)?;
        self.gate = Some(flow.gate);
        if self.flows.back().is_none_or(|last| last != id) {
            self.flows.retain(|known| known != id);
            self.flows.push_back(id.to_owned());
            if self.flows.len() > FLOWS_KEPT {
                self.flows.pop_front();
            }
        }
        Ok(Open {
            index,
            why: Why::Flow,
            source: line.source,
            version: None,
            recorded,
            state: None,
            step: Some(Rc::new(state)),
            unread: None,
            adopts: false,
            completes: false,
            ids: owned(&flow.ids),
            found,
            inputs,
            set: None,
            agent: None,
            outcome: None,
        })
    }
}
