//! The OpenAPI document (3.1), made from the table of operations.

use axum::Json;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::operations::{self, For, Operation};

/// Serves it.
pub(super) async fn serve() -> Json<Value> {
    Json(document())
}

/// The document.
pub(super) fn document() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<jos_link::wire::Problem>();
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations::all() {
        let described = described(&operation, &mut generator, problem.as_value());
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = described;
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "jos-hub", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {
                "device": { "type": "mutualTLS", "description": "A certificate that the hub issued to the device's key" },
                "api-token": { "type": "http", "scheme": "bearer" },
            },
        },
    })
}

fn described(operation: &Operation, generator: &mut SchemaGenerator, problem: &Value) -> Value {
    let mut described = json!({
        "summary": operation.summary,
        "responses": {
            "default": { "description": "A refusal", "content": { "application/json": { "schema": problem } } },
        },
    });
    let mut done = json!({ "description": "Done" });
    if let Some(gives) = operation.gives {
        done["content"] = json!({ "application/json": { "schema": gives(generator) } });
    }
    described["responses"]["2XX"] = done;
    if let Some(takes) = operation.takes {
        let content = json!({ "application/json": { "schema": takes(generator) } });
        described["requestBody"] = json!({ "required": true, "content": content });
    }
    let in_path = operation
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameters: Vec<Value> = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .chain(
            operation
                .query
                .iter()
                .map(|name| json!({ "name": name, "in": "query", "schema": { "type": "string" } })),
        )
        .collect();
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    match operation.whose {
        For::Devices if operation.summary.ends_with("no certificate needed") => {}
        For::Devices => described["security"] = json!([{ "device": [] }]),
        For::By(deed) => {
            let place = if deed.is_of_the_hub() {
                "every tenant"
            } else {
                "the tenant"
            };
            described["description"] = format!("Takes the role {} in {place}.", deed.role().word()).into();
            described["security"] = json!([{ "api-token": [] }]);
        }
        For::All => {}
    }
    described
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_described_and_every_reference_leads_somewhere() {
        let document = document();
        let paths = document["paths"].as_object().expect("paths");
        let described: usize = paths.values().filter_map(Value::as_object).map(Map::len).sum();
        assert_eq!(described, operations::all().len());
        let text = document.to_string();
        let schemas = document["components"]["schemas"].as_object().expect("schemas");
        for reference in text
            .split("\"$ref\":\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
        {
            let name = reference.strip_prefix("#/components/schemas/").unwrap_or(reference);
            assert!(schemas.contains_key(name), "{reference} leads nowhere");
        }
    }
}
