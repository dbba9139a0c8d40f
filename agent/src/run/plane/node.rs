//! The node of the runtime beside the plane: started, heard, and told what came of what its agents proposed.

use jos_runtime::{Proposed, outcome_word};
use jos_schemas::documents::ledger::OutcomeKind;
use serde_json::json;

use super::Agent;
use crate::run::node::Node;

impl Agent<'_> {
    /// Runs the node that the settings ask for and decides on what it proposes; gives when to look again.
    pub(super) fn turn_node(&mut self) -> u64 {
        self.fit_node();
        let mut proposed = false;
        while let Some(change) = self.heard_of_node() {
            self.phase("deciding on a proposal");
            let answer = match self.plane.propose(&change) {
                Ok(mut outcome) => {
                    if !matches!(outcome.kind, OutcomeKind::Applied | OutcomeKind::Unchanged) {
                        let (word, why) = (outcome_word(outcome.kind), outcome.reasons.join("; "));
                        log::warn!("agent {}, job {}: {word}: {why}", change.agent, change.job);
                    }
                    // What files said before is not the agent's to read.
                    outcome.report.changes.iter_mut().for_each(|c| c.diff.clear());
                    serde_json::to_value(&outcome).unwrap_or_default()
                }
                Err(error) => {
                    self.trouble(format!("agent {}, job {}: {error}", change.agent, change.job));
                    json!({ "outcome": "failed", "reasons": [error.to_string()] })
                }
            };
            let now = self.now();
            if let Some(node) = &mut self.node {
                node.answer(now, &answer);
            }
            proposed = true;
        }
        let now = self.now();
        let wake = self.node.as_mut().map_or(u64::MAX, |node| node.turn(now));
        let told = self
            .node
            .as_ref()
            .and_then(|node| serde_json::to_value(&node.told).ok());
        if proposed || told != self.live.node {
            self.live.node = told;
            self.tell();
        }
        wake
    }

    fn heard_of_node(&mut self) -> Option<Proposed> {
        let now = self.now();
        self.node.as_mut()?.hear(now)
    }

    /// One that other settings ask for is another node.
    fn fit_node(&mut self) {
        let Some(config) = &self.settings.config.runtime else {
            self.node = None;
            return;
        };
        if !self
            .node
            .as_ref()
            .is_some_and(|node| node.is_of(config, &self.settings.environment))
        {
            // The one before is gone before the next begins.
            self.node = None;
            let (name, environment) = (self.settings.name.clone(), self.settings.environment.clone());
            self.node = Some(Node::new(name, config.clone(), environment));
        }
    }
}
