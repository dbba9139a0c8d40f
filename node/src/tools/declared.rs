//! Tools without code: a `.jos` artifact whose main flow has `file` and `send` steps, filled from the decision's payload.
//!
//! `capabilities` names the kinds of decisions that it executes. A definition of the type `payload` says which fields a
//! payload has (`"fields": {"title": "string", "note": "string?"}`); the flow needs not name it. A `file` step has `path` and
//! `content`, a `send` step `queue` and `message`; their holes are `{{payload.title}}`, `{{decision.id}}`.

use jos_schemas::documents::artifact::Artifact;
use jos_schemas::documents::ledger::Decision;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::agents::template::Known;
use crate::contract::{AgentError, Hands};

const TYPES: [&str; 6] = ["any", "boolean", "list", "number", "object", "string"];

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Step {
    File { path: String, content: String },
    Send { queue: String, message: Value },
}

/// A tool that an artifact describes.
#[derive(Debug)]
pub(crate) struct Declared {
    fields: Option<Map<String, Value>>,
    steps: Vec<Step>,
}

/// The kinds of decisions that an artifact's tool executes.
pub(crate) fn kinds(artifact: &Artifact) -> Result<Vec<String>, String> {
    let kinds: Vec<String> = artifact
        .capabilities
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    if kinds.is_empty() || kinds.len() != artifact.capabilities.len() {
        return Err(
            "/capabilities: expected the kinds of decisions that the tool executes, as [\"note.write\"]".into(),
        );
    }
    Ok(kinds)
}

impl Declared {
    pub(crate) fn new(artifact: &Artifact, json: &Value) -> Result<Self, String> {
        let orchestration = artifact.orchestration.as_ref();
        let main = orchestration.and_then(|o| o.flows.get("main"));
        let main = main.ok_or("/orchestration/flows: no flow \"main\"")?;
        let empty = json!({});
        let definitions = json.pointer("/orchestration/definitions").unwrap_or(&empty);
        let mut steps = Vec::new();
        for (index, step) in main.steps.iter().enumerate() {
            let name = step.strip_prefix("definitions.").unwrap_or(step);
            let found = definitions.get(name);
            let found =
                found.ok_or_else(|| format!("/orchestration/flows/main/steps/{index}: no definition {name:?}"))?;
            let read = serde_json::from_value(found.clone());
            steps.push(read.map_err(|e| {
                format!("/orchestration/definitions/{name}: {e}; a tool has \"file\" and \"send\" steps")
            })?);
        }
        if steps.is_empty() {
            return Err("/orchestration/flows/main/steps: no step, expected at least one".into());
        }
        let described = definitions.as_object().into_iter().flatten();
        let payload = described
            .into_iter()
            .find(|(_, d)| d.get("type") == Some(&json!("payload")));
        let fields = match payload {
            None => None,
            Some((name, found)) => Some(fields(name, found)?),
        };
        Ok(Self { fields, steps })
    }

    pub(crate) fn validate(&self, decision: &Decision) -> Result<(), String> {
        let Some(wanted) = &self.fields else { return Ok(()) };
        let payload = decision.payload.as_object().ok_or("payload: expected an object")?;
        for (name, kind) in wanted {
            let kind = kind.as_str().unwrap_or_default();
            let (kind, optional) = kind.strip_suffix('?').map_or((kind, false), |kind| (kind, true));
            match payload.get(name) {
                None if optional => {}
                Some(found) if kind == "any" || kind == kind_of(found) => {}
                found => {
                    let found = found.map_or("nothing", kind_of);
                    return Err(format!("payload.{name}: found {found}, expected {kind}"));
                }
            }
        }
        match payload.keys().find(|name| !wanted.contains_key(*name)) {
            Some(unknown) => Err(format!("payload.{unknown}: the tool has no such field")),
            None => Ok(()),
        }
    }

    pub(crate) fn execute(&self, decision: &Decision, hands: &mut dyn Hands) -> Result<Value, AgentError> {
        let mut known = Known::default();
        known.set("payload", decision.payload.clone());
        known.set("decision", json!({ "id": decision.id, "kind": decision.kind }));
        let mut done = Vec::new();
        for step in &self.steps {
            done.push(match step {
                Step::File { path, content } => {
                    let path = known.text(path).map_err(AgentError::Failed)?;
                    let content = known.text(content).map_err(AgentError::Failed)?;
                    hands.write(&path, content.as_bytes())?;
                    json!({ "wrote": path, "bytes": content.len() })
                }
                Step::Send { queue, message } => {
                    hands.send(queue, &known.value(message).map_err(AgentError::Failed)?)?;
                    json!({ "sent": queue })
                }
            });
        }
        Ok(json!({ "done": done }))
    }
}

fn fields(name: &str, definition: &Value) -> Result<Map<String, Value>, String> {
    let wrong = || {
        let types = TYPES.join(", ");
        format!(
            "/orchestration/definitions/{name}/fields: expected fields of the types {types}, each optional with '?'"
        )
    };
    let fields = definition.get("fields").and_then(Value::as_object).ok_or_else(wrong)?;
    let known = |kind: &Value| kind.as_str().is_some_and(|k| TYPES.contains(&k.trim_end_matches('?')));
    if fields.values().all(known) {
        Ok(fields.clone())
    } else {
        Err(wrong())
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}
