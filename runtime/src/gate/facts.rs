//! What the gate knew when it judged: recorded beside each decision by its hash, so that replay judges by the same.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use jos_schemas::documents::desired_state::{Content, DesiredState, Step};
use jos_schemas::documents::policy::{Policy, Source};
use jos_schemas::node::Node;
use jos_schemas::read;
use jos_schemas::text::Name;
use jos_trust::canonical;
use serde::{Deserialize, Serialize};

use super::Gate;
use super::paths::{Paths, SecondNames};
use crate::disk::Mounts;

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
    /// The agent of the runtime that proposed, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<Name>,
    /// The data directory of the node that the daemon ran, where it ran one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
    /// Under which further names what is protected or becomes code was reached.
    #[serde(default, skip_serializing_if = "SecondNames::is_empty")]
    pub(crate) second_names: SecondNames,
}

impl GateFacts {
    /// The bytes that are kept.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let value = serde_json::to_value(self).expect("the facts of the gate are plain data");
        canonical::to_bytes(&Node::from_json(&value)).expect("a policy holds no floating-point number")
    }
}

impl Gate<'_> {
    /// The same on a machine where `mounts` is mounted, and `real` says where a path really lies that leads through links.
    #[must_use]
    pub(crate) fn on(mut self, mounts: &Mounts, real: &dyn Fn(&str) -> Option<String>) -> Self {
        if let Some(paths) = Rc::get_mut(&mut self.paths) {
            let names = paths.second_names(mounts, real);
            paths.know(&names);
        }
        self
    }

    /// The further names that it judges by.
    pub(crate) fn second_names(&self) -> &SecondNames {
        self.paths.second()
    }
}

/// The path of a state that is one step and writes a text file of the usual mode, tells nobody and asks for nothing: of such
/// a state the gate looks at the path alone.
fn plain_path(state: &DesiredState) -> Option<&str> {
    let [Step::File(file)] = state.spec.apply.as_slice() else {
        return None;
    };
    let plain = matches!(file.content, Some(Content::Text(_))) && file.mode.is_none() && file.notify.is_empty();
    let (meta, spec) = (&state.meta, &state.spec);
    let alone = meta.requires.is_empty() && meta.version == 1 && spec.health_check.is_none() && spec.confirm.is_none();
    (plain && alone).then_some(file.path.as_str())
}

/// The facts with what is computed from them once.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) facts: GateFacts,
    schemes: &'static [&'static str],
    paths: Rc<Paths>,
    /// Who may write a plain text file where: judged once, for whatever the text.
    plain: RefCell<BTreeMap<Source, BTreeSet<String>>>,
}

/// Most paths that are remembered for one source.
const PLAIN_KEPT: usize = 4096;

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
        let mut paths = Paths::new(&facts.policy, &facts.protected);
        if let Some(node) = &facts.node {
            paths.run_node(node);
        }
        paths.know(&facts.second_names);
        Ok(Self {
            facts,
            schemes,
            paths: Rc::new(paths),
            plain: RefCell::default(),
        })
    }

    /// Whether the gate let the same step of `source` through before, but for the text that it writes.
    pub(crate) fn let_before(&self, source: Source, state: &DesiredState) -> bool {
        let plain = self.plain.borrow();
        let path = plain_path(state);
        plain
            .get(&source)
            .zip(path)
            .is_some_and(|(known, path)| known.contains(path))
    }

    /// The gate let this through.
    pub(crate) fn lets(&self, source: Source, state: &DesiredState) {
        if let Some(path) = plain_path(state) {
            let mut plain = self.plain.borrow_mut();
            let known = plain.entry(source).or_default();
            if known.len() < PLAIN_KEPT {
                known.insert(path.to_owned());
            }
        }
    }

    /// The gate as it was.
    pub(crate) fn gate(&self) -> Gate<'_> {
        Gate {
            policy: &self.facts.policy,
            paths: Rc::clone(&self.paths),
            own_services: &self.facts.own_services,
            schemes: self.schemes,
            hub: self.facts.features.iter().any(|f| f == super::HUB_WITHIN),
            runtime: self.facts.features.iter().any(|f| f == super::RUNTIME),
            slots: self.facts.features.iter().any(|f| f == super::IMAGE),
            agent: self.facts.agent.clone(),
        }
    }
}
