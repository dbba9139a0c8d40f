//! What a decision and an outcome look like in the ledger.

use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::documents::ledger::Decision;
use jos_schemas::documents::policy::Source;
use jos_schemas::node::Node;
use jos_trust::{Verified, canonical};
use serde_json::{Value, json};

use super::{Plane, PlaneError};
use crate::ledger::{Blobs, Entry};
use crate::outcome::Report;

impl Plane<'_> {
    /// The decision as the ledger keeps it: the whole signed state, so that the ledger alone rebuilds the files.
    pub(super) fn state_decision(
        &self,
        source: Source,
        state: &Verified<DesiredState>,
    ) -> Result<Decision, PlaneError> {
        let blobs = Blobs::open(&self.data, &self.at("blobs"))?;
        let value = blobs.inline_or_put(&state.node().to_json(), &state.to_bytes())?;
        let stream = state.counter().stream;
        let signers: Vec<String> = state.signers().iter().map(ToString::to_string).collect();
        Ok(Decision {
            id: format!("{}-{}", self.setup.name, state.version()),
            source,
            kind: "state.apply".into(),
            payload: json!({
                "stream": stream, "content": state.content(), "signers": signers, "state": value,
                "root": !self.live(),
            }),
        })
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
        kept.insert(
            "more".into(),
            Blobs::open(&self.data, &self.at("blobs"))?.inline_or_put(&value, &bytes)?,
        );
        Ok(Value::Object(kept))
    }
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
            change.as_object_mut().map(|c| c.remove("diff"));
        }
    }
    value
}
