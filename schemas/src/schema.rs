//! JSON Schemas 2020-12 from the types that read the documents.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::catalogue::Document;

/// The largest integer that a document may hold.
const MAX_INT: u64 = 9_007_199_254_740_991;

/// The schema of a document.
pub(crate) fn of<T: JsonSchema>(document: &Document) -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    // Upstream's artifacts may write `null` for a field left out; our own documents may not.
    tidy(&mut schema, document.name == "artifact");
    let Value::Object(body) = schema else { return schema };
    let mut out = Map::new();
    out.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    out.insert("$id".into(), json!(document.id()));
    out.insert("title".into(), json!(document.title));
    out.extend(
        body.into_iter()
            .filter(|(key, _)| !["$schema", "title"].contains(&key.as_str())),
    );
    Value::Object(out)
}

/// The schema of a profile as it is written: every list may also be written `"name+"`, which appends to what the profile
/// extends.
pub(crate) fn of_profile(document: &Document) -> Value {
    let mut schema = of::<crate::documents::profile::Profile>(document);
    let mut defs = schema.get("$defs").cloned().unwrap_or_default();
    let mut done = Vec::new();
    appendable(&mut schema, &mut defs, &mut done);
    schema["$defs"] = defs;
    schema
}

/// Adds `"name+"` beside every list of a table, and of the tables in it; not within lists, which never merge inside.
fn appendable(schema: &mut Value, defs: &mut Value, done: &mut Vec<String>) {
    let Value::Object(map) = schema else { return };
    if let Some(name) = map
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|r| r.strip_prefix("#/$defs/"))
    {
        let name = name.to_owned();
        if !done.contains(&name) {
            done.push(name.clone());
            let mut target = defs[&name].take();
            appendable(&mut target, defs, done);
            defs[&name] = target;
        }
    }
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        let lists: Vec<(String, Value)> = properties
            .iter()
            .filter(|(_, value)| value["type"] == "array")
            .map(|(key, value)| {
                let mut more =
                    json!({ "description": format!("Appended to the `{key}` of what this profile extends.") });
                if let (Value::Object(more), Value::Object(value)) = (&mut more, value) {
                    more.extend(
                        value
                            .iter()
                            .filter(|(key, _)| *key != "description")
                            .map(|(k, v)| (k.clone(), v.clone())),
                    );
                }
                (format!("{key}+"), more)
            })
            .collect();
        properties
            .values_mut()
            .for_each(|property| appendable(property, defs, done));
        properties.extend(lists);
    }
    if let Some(values) = map.get_mut("additionalProperties") {
        appendable(values, defs, done);
    }
}

/// Brings schemars' output to what the readers accept.
fn tidy(schema: &mut Value, null_is_absent: bool) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|item| tidy(item, null_is_absent)),
        Value::Object(map) => {
            if !null_is_absent {
                not_null(map);
            }
            let most = match map.get("format").and_then(Value::as_str) {
                Some("uint8") => Some(u64::from(u8::MAX)),
                Some("uint16") => Some(u64::from(u16::MAX)),
                Some("uint32") => Some(u64::from(u32::MAX)),
                Some("uint64" | "uint") => Some(MAX_INT),
                _ => None,
            };
            if let Some(most) = most {
                map.remove("format");
                map.entry("minimum").or_insert(json!(0));
                map.entry("maximum").or_insert(json!(most));
            }
            map.values_mut().for_each(|value| tidy(value, null_is_absent));
        }
        _ => {}
    }
}

/// Takes `null` out of what serde's `Option` would accept.
fn not_null(map: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = map.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            map.insert("type".into(), only);
        }
    }
    if map.get("default") == Some(&Value::Null) {
        map.remove("default");
    }
    let Some(Value::Array(choices)) = map.get_mut("anyOf") else {
        return;
    };
    choices.retain(|choice| choice["type"] != "null");
    if let [only] = choices.as_slice() {
        let only = only.clone();
        map.remove("anyOf");
        if let Value::Object(only) = only {
            for (key, value) in only {
                map.entry(key).or_insert(value);
            }
        }
    }
}
