//! What an agent of the runtime proposed: steps of no state, under what that agent was granted.

use std::rc::Rc;

use jos_schemas::documents::desired_state::Step;
use jos_schemas::documents::policy::Source;
use jos_schemas::read::{self as documents, Format};

use super::Divergence;
use super::decide::{captured, gate_says_yes, owned};
use super::line::Change;
use super::machine::{Machine, Open, Why};
use super::shelf::{self, Blobs};
use crate::gate::step_path;
use crate::ledger::Line;
use crate::ledger::source_word;
use crate::plane::{change_id, state_of};

impl Machine {
    pub(super) fn decide_change(
        &mut self,
        line: &Line<'_>,
        id: &str,
        change: &Change<'_>,
        blobs: &mut Blobs<'_>,
    ) -> Result<Open, Divergence> {
        let index = line.index;
        let bad =
            |what: &str, expected: String, found: String| Err(Divergence::new(index, expected, found).about(what));
        if line.source != Source::Agent {
            return bad("source", "agent".into(), source_word(line.source).into());
        }
        if let Some(version) = line.version {
            let expected = "none: what an agent proposes belongs to no version";
            return bad("version", expected.into(), version.to_string());
        }
        let bytes = shelf::value(index, change.act, blobs, "the steps")?;
        let own = change_id(&change.node, &change.agent, &change.job, &change.decision, &bytes);
        if id != own {
            return bad("id", own, id.into());
        }
        let steps = documents::document::<Vec<Step>>("steps", &bytes, Format::Json)
            .map_err(|e| Divergence::new(index, "steps", e.to_string().trim_end()))?
            .value;
        let recorded = self.shelf.gate(index, change.gate, blobs)?;
        if recorded.facts.agent.as_ref() != Some(&change.agent) {
            let found = recorded.facts.agent.as_ref().map_or("nobody", |a| a.as_str());
            return bad("gate", format!("what {} was granted", change.agent), found.into());
        }
        let listed = |path: &&str| self.paths.get(*path).is_some_and(|managed| managed.held);
        if let Some(path) = steps.iter().filter_map(step_path).find(listed) {
            let expected = "no change of what a state in force lists";
            return Err(Divergence::new(index, expected, "one by an agent").about(path));
        }
        let name = line.name.parse().map_err(|e| Divergence::new(index, "a name", e))?;
        let state = state_of(&name, steps);
        gate_says_yes(index, &recorded, line.source, &state)?;
        let (found, inputs) = captured(index, change.found, change.inputs, blobs)?;
        self.gate = Some(change.gate);
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
            ids: owned(&change.ids),
            found,
            inputs,
            set: None,
            agent: Some(change.agent.clone()),
            outcome: None,
        })
    }
}
