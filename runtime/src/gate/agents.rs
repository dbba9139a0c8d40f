//! Agents of the runtime before the gate: each has what policy says under its own name, and some things none of them may.

use jos_schemas::documents::desired_state::Step;
use jos_schemas::documents::policy::{Grant, Source};
use jos_schemas::text::Name;
use serde_json::Value;

use super::{Gate, Judgement};

impl<'a> Gate<'a> {
    /// The same for what this agent proposes: its own table of the policy counts, where it has one.
    #[must_use]
    pub fn of_agent(mut self, agent: Option<&Name>) -> Self {
        self.agent = agent.cloned();
        self
    }

    /// What the policy says of this very agent.
    pub(super) fn own_grant(&self, source: Source) -> Option<&'a Grant> {
        let agent = self.agent.as_ref().filter(|_| source == Source::Agent)?;
        self.policy.agents.get(agent)
    }

    /// What an agent lacks is to be granted to it alone.
    pub(super) fn name_agent(&self, found: &mut Judgement) {
        let Some(agent) = &self.agent else { return };
        for line in found.refused.iter_mut().filter_map(|r| r.needed.as_mut()) {
            if line.table == "grants.agent" {
                line.table = format!("agents.{agent}");
            }
        }
    }
}

/// What no agent may, whatever was granted: it could put a secret where it can read it.
pub(super) fn limits(source: Source, label: &str, step: &Step, found: &mut Judgement) {
    if source == Source::Agent && serde_json::to_value(step).is_ok_and(|step| holds_secret(&step)) {
        found.refuse(
            label,
            "an agent puts no secret anywhere; a signed state does".into(),
            None,
        );
    }
}

/// Whether a `{"secret": NAME}` stands anywhere in it.
fn holds_secret(value: &Value) -> bool {
    match value {
        Value::Object(members) => {
            members.len() == 1 && members.contains_key("secret") || members.values().any(holds_secret)
        }
        Value::Array(items) => items.iter().any(holds_secret),
        _ => false,
    }
}
