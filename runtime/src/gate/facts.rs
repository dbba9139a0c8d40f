//! What the gate knew when it judged: recorded beside each decision by its hash, so that replay judges by the same.

use std::rc::Rc;

use jos_schemas::documents::policy::Policy;
use jos_schemas::node::Node;
use jos_schemas::read;
use jos_trust::canonical;
use serde::{Deserialize, Serialize};

use super::Gate;
use super::paths::Paths;

/// Everything but the state that decides whether a state may run. Kept as a blob: canonical JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GateFacts {
    /// What was granted.
    pub(crate) policy: Policy,
    /// The agent's own paths besides the built-in ones.
    pub(crate) protected: Vec<String>,
    /// The agent's own services.
    pub(crate) own_services: Vec<String>,
    /// URL schemes that the agent could probe.
    pub(crate) schemes: Vec<String>,
    /// Whether the root was the running machine.
    pub(crate) live: bool,
    /// What `meta.requires` may have named.
    pub(crate) features: Vec<String>,
}

impl GateFacts {
    /// The bytes that are kept.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let value = serde_json::to_value(self).expect("the facts of the gate are plain data");
        canonical::to_bytes(&Node::from_json(&value)).expect("a policy holds no floating-point number")
    }
}

/// The facts with what is computed from them once.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) facts: GateFacts,
    schemes: &'static [&'static str],
    paths: Rc<Paths>,
}

impl Recorded {
    /// Reads what [`GateFacts::to_bytes`] wrote.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let parsed = read::document::<GateFacts>("gate", bytes, read::Format::Json).map_err(|e| e.to_string())?;
        let facts = parsed.value;
        let has = |scheme: &str| facts.schemes.iter().any(|s| s == scheme);
        let schemes: &'static [&'static str] = match (has("http"), has("https")) {
            (false, false) => &[],
            (true, false) => &["http"],
            (false, true) => &["https"],
            (true, true) => &["http", "https"],
        };
        if schemes.len() != facts.schemes.len() {
            return Err(format!(
                "found the URL schemes {:?}, expected http and https",
                facts.schemes
            ));
        }
        let paths = Rc::new(Paths::new(&facts.policy, &facts.protected));
        Ok(Self { facts, schemes, paths })
    }

    /// The gate as it was.
    pub(crate) fn gate(&self) -> Gate<'_> {
        Gate {
            policy: &self.facts.policy,
            paths: Rc::clone(&self.paths),
            own_services: &self.facts.own_services,
            schemes: self.schemes,
            hub: self.facts.features.iter().any(|f| f == super::HUB_WITHIN),
        }
    }
}
