//! What a decision and an outcome look like in the ledger.
//!
//! Owns the writing side; `replay/line.rs` is the reading side. A decision says all that replay needs to come to the same
//! end: what is decided, what the gate knew, and what only this device could know when it decided.
//!
//! ```text
//! payload of         state.apply, state.move   state.converge, .first_boot   flow.step           agent.change
//! what is decided    stream content signers    changes count set             artifact step act   agent node job decision act
//!                    state root trust
//! what the gate knew gate: SHA-256 of a blob
//!                    image: {compatible version} of the system that ran, where a step names one
//! what was captured  ids:    {"root:lp": "0:7", "": "0:0"}      what names of owners stood for
//!                    found:  {PATH: SHAPE | null}               what did not stand as the ledger says
//!                    inputs: {PATH: {sha256 size content} | {mac} | null}   what shared files said before
//! ```

use std::collections::{BTreeMap, BTreeSet};

use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::documents::ledger::Decision;
use jos_schemas::documents::policy::Source;
use jos_schemas::node::Node;
use jos_schemas::text::Name;
use jos_trust::root::Received;
use jos_trust::{Verified, canonical};
use serde_json::{Map, Value, json};

use super::held::Held;
use super::{Plane, PlaneError};
use crate::compare::Wanted;
use crate::gate::{Gate, GateFacts};
use crate::ledger::{Blobs, Entry};
use crate::outcome::Report;
use crate::plan::{Action, Input, Plan, Shape};
use crate::replay::overlaid;

impl Plane<'_> {
    /// The decision as the ledger keeps it: the whole signed state, so that the ledger alone rebuilds the files.
    pub(super) fn state_decision(
        &self,
        source: Source,
        gate: &Gate<'_>,
        state: &Verified<DesiredState>,
        held: &[Held],
        wanted: &Wanted<'_>,
        plan: &Plan,
    ) -> Result<Decision, PlaneError> {
        let blobs = self.blobs()?;
        let value = blobs.inline_or_put(&state.node().to_json(), &state.to_bytes())?;
        let stream = state.counter().stream;
        let signers: Vec<String> = state.signers().iter().map(ToString::to_string).collect();
        let mut payload = json!({
            "stream": stream, "content": state.content(), "signers": signers, "state": value,
            "root": !self.live(),
        });
        if let Some(root) = self.vouching_root(state)? {
            payload["trust"] = json!({ "blob": blobs.put(&root)?.to_string(), "size": root.len() });
        }
        if let Some(image) = &plan.running {
            payload["image"] = json!(image);
        }
        self.add_captured(&mut payload, &self.gate_facts(gate, None), held, wanted, plan)?;
        Ok(Decision {
            id: format!("{}-{}", self.setup.name, state.version()),
            source,
            kind: "state.apply".into(),
            payload,
        })
    }

    /// Adds to a decision what the gate knew and what only this device could know.
    pub(super) fn add_captured(
        &self,
        payload: &mut Value,
        facts: &GateFacts,
        held: &[Held],
        wanted: &Wanted<'_>,
        plan: &Plan,
    ) -> Result<(), PlaneError> {
        let blobs = self.blobs()?;
        payload["gate"] = blobs.put(&facts.to_bytes())?.to_string().into();
        payload["ids"] = json!(plan.ids);
        let found = found(held, wanted, plan);
        if !found.is_empty() {
            payload["found"] = self.maybe_blob(&blobs, json!(found))?;
        }
        if !plan.inputs.is_empty() {
            let mut inputs = Map::new();
            for (path, input) in &plan.inputs {
                inputs.insert(
                    path.clone(),
                    input.as_ref().map_or(Ok(Value::Null), |i| self.input(&blobs, i))?,
                );
            }
            payload["inputs"] = self.maybe_blob(&blobs, Value::Object(inputs))?;
        }
        Ok(())
    }

    fn input(&self, blobs: &Blobs<'_>, input: &Input) -> Result<Value, PlaneError> {
        let Some(bytes) = &input.bytes else {
            return Ok(json!({ "mac": input.shape.mac }));
        };
        let mut value = json!({ "sha256": input.shape.sha256, "size": bytes.len() });
        match std::str::from_utf8(bytes) {
            Ok(text) if bytes.len() <= crate::ledger::BLOB_LIMIT => value["content"] = text.into(),
            _ => {
                let kept = blobs.keep(bytes)?;
                if kept.get("blob").is_some() {
                    value["content"] = kept;
                }
            }
        }
        Ok(value)
    }

    fn maybe_blob(&self, blobs: &Blobs<'_>, value: Value) -> Result<Value, PlaneError> {
        let bytes = canonical::to_bytes(&Node::from_json(&value))
            .map_err(|e| crate::ledger::LedgerError::Unwritable(e.to_string()))?;
        Ok(blobs.inline_or_put(&value, &bytes)?)
    }

    fn blobs(&self) -> Result<Blobs<'_>, PlaneError> {
        self.kept_blobs()
    }

    /// Everything but the state that decides whether a state may run, as `gate` took it; `agent` is the one that proposes,
    /// where one does.
    pub(super) fn gate_facts(&self, gate: &Gate<'_>, agent: Option<&Name>) -> GateFacts {
        let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect();
        GateFacts {
            policy: self.setup.policy.clone(),
            protected: self.protected(),
            own_services: self.setup.own_services.clone(),
            schemes: words(self.world.probe.schemes()),
            live: self.live(),
            features: gate.features().map(str::to_owned).collect(),
            agent: agent.cloned(),
            node: self.setup.node.clone(),
            second_names: gate.second_names().clone(),
        }
    }

    /// The trust root in use, where the state's signatures count under it. A state in force may have outlived its
    /// signer's key; then who had signed it is what the floors remember.
    fn vouching_root(&self, state: &Verified<DesiredState>) -> Result<Option<Vec<u8>>, PlaneError> {
        let Some(bytes) = self.stored_root_bytes()? else {
            return Ok(None);
        };
        let Ok(root) = jos_trust::TrustRoot::open(Received::json("trust root", &bytes)) else {
            return Ok(None);
        };
        let document = state.to_bytes();
        let vouches = jos_trust::state::authenticate(Received::json("state", &document), &root);
        Ok(vouches.is_ok_and(|a| a.signers() == state.signers()).then_some(bytes))
    }

    /// A record of this agent, now.
    pub(super) fn entry(
        &self,
        source: Source,
        version: Option<u64>,
        cause: Option<u64>,
        kind: &'static str,
        payload: Value,
    ) -> Result<Entry, PlaneError> {
        let (time, name, cause) = (self.now()?, self.setup.name.clone(), cause.map(|c| format!("#{c}")));
        Ok(Entry {
            time,
            source,
            name,
            version,
            cause,
            kind,
            payload,
        })
    }

    /// A payload too large for a record goes to a blob whole.
    pub(super) fn shrink(&self, value: Value) -> Result<Value, PlaneError> {
        const RECORD_LIMIT: usize = 64 * 1024;
        let bytes = canonical::to_bytes(&Node::from_json(&value))
            .map_err(|e| crate::ledger::LedgerError::Unwritable(e.to_string()))?;
        if bytes.len() <= RECORD_LIMIT {
            return Ok(value);
        }
        // What readers need without the blob stays beside it.
        let short = ["outcome", "kind", "id", "source", "reasons", "pending"];
        let mut kept: serde_json::Map<String, Value> = serde_json::Map::new();
        for key in short {
            if let Some(v) = value.get(key) {
                kept.insert(key.into(), v.clone());
            }
        }
        kept.insert("more".into(), self.blobs()?.inline_or_put(&value, &bytes)?);
        Ok(Value::Object(kept))
    }
}

/// What stands at managed paths other than the states in force left it: what drifted, and what was put right by somebody
/// else before we came.
fn found<'p>(held: &'p [Held], wanted: &'p Wanted<'_>, plan: &'p Plan) -> BTreeMap<&'p str, Option<Shape>> {
    let before = overlaid(held.iter().map(|h| h.state.value()));
    let after = overlaid(wanted.parts.iter().map(|p| p.state));
    let ids = plan.ids.iter().map(|(name, id)| (name.as_str(), id.as_str())).collect();
    let mut found = BTreeMap::new();
    let mut changed: BTreeSet<&str> = BTreeSet::new();
    for change in &plan.changes {
        let path = change.what.as_str();
        let of_path = matches!(change.action, Action::Create | Action::Update | Action::Remove);
        if !of_path || !changed.insert(path) {
            continue;
        }
        if let Some((_, want)) = before.get(path)
            && !want.is_met_by(change.before.as_ref(), &ids)
        {
            found.insert(path, change.before.clone());
        }
    }
    for (path, (_, want)) in &after {
        // No change is needed, although another version wanted it otherwise: it stands as this one wants it.
        if !changed.contains(path) && before.get(path).is_some_and(|(_, old)| old != want) {
            found.insert(path, want.shape(&ids, None));
        }
    }
    let prunes = wanted.parts.iter().any(|p| p.follows.is_some() && p.state.meta.prune);
    let removed = plan.changes.iter().filter(|c| c.action == Action::Remove);
    let removed: Vec<&str> = removed.map(|c| c.what.as_str()).collect();
    for path in before.keys().filter(|p| prunes && !after.contains_key(*p)) {
        // What goes with a directory above it was there; below one that is merely made or changed it was not.
        let below = |dir: &&str| path.strip_prefix(*dir).is_some_and(|rest| rest.starts_with('/'));
        if !changed.contains(path) && !removed.iter().any(below) && !plan.released.iter().any(|r| r == path) {
            found.insert(path, None);
        }
    }
    found
}

/// A step of a flow belongs to no version.
pub(super) fn version(number: u64) -> Option<u64> {
    (number > 0).then_some(number)
}

/// A report as a record's payload.
pub(super) fn payload(report: &Report) -> Value {
    let mut value = serde_json::to_value(report).expect("a report is plain data");
    // A diff is for the person at the shell: the ledger knows content by hash.
    if let Some(changes) = value.get_mut("changes").and_then(Value::as_array_mut) {
        for change in changes {
            if let Some(members) = change.as_object_mut() {
                let all = std::mem::take(members);
                members.extend(all.into_iter().filter(|(name, _)| name != "diff"));
            }
        }
    }
    value
}
