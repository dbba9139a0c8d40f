//! Texts with holes: `{{input.text}}`.
//!
//! A hole is a dotted path into what is known; a `?` at its end makes it empty where nothing is there, else that is an error.
//! What is put in is never read for holes again. In a value, a text that is one hole alone becomes what is there, with its
//! type.

use serde_json::{Map, Value};

/// Bytes of a text that was filled in.
const LIMIT: usize = 1 << 20;

/// What holes are filled from.
#[derive(Debug, Default)]
pub(crate) struct Known(Map<String, Value>);

impl Known {
    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    fn find(&self, path: &str) -> Option<&Value> {
        let mut parts = path.split('.');
        let mut at = self.0.get(parts.next()?)?;
        for part in parts {
            at = match at {
                Value::Array(list) => list.get(part.parse::<usize>().ok()?)?,
                other => other.get(part)?,
            };
        }
        Some(at)
    }

    fn hole(&self, hole: &str) -> Result<Value, String> {
        let (path, optional) = hole.strip_suffix('?').map_or((hole, false), |path| (path, true));
        match self.find(path) {
            Some(value) => Ok(value.clone()),
            None if optional => Ok(Value::String(String::new())),
            None => Err(format!(
                "{{{{{path}}}}} is not there; \"{{{{{path}?}}}}\" would be empty instead"
            )),
        }
    }

    /// A text with its holes filled.
    pub(crate) fn text(&self, template: &str) -> Result<String, String> {
        let mut filled = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((hole, behind)) = after.split_once("}}") else {
                break;
            };
            filled.push_str(before);
            match self.hole(hole.trim())? {
                Value::String(text) => filled.push_str(&text),
                other => filled.push_str(&other.to_string()),
            }
            if filled.len() > LIMIT {
                return Err(format!("a template filled in is longer than {LIMIT} bytes"));
            }
            rest = behind;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// A value with the holes of its texts filled.
    pub(crate) fn value(&self, template: &Value) -> Result<Value, String> {
        Ok(match template {
            Value::String(text) => match alone(text) {
                Some(hole) => self.hole(hole)?,
                None => Value::String(self.text(text)?),
            },
            Value::Array(list) => Value::Array(list.iter().map(|v| self.value(v)).collect::<Result<_, _>>()?),
            Value::Object(fields) => {
                let filled = fields.iter().map(|(name, v)| Ok((name.clone(), self.value(v)?)));
                Value::Object(filled.collect::<Result<_, String>>()?)
            }
            other => other.clone(),
        })
    }
}

fn alone(text: &str) -> Option<&str> {
    let hole = text.strip_prefix("{{")?.strip_suffix("}}")?;
    (!hole.contains('{') && !hole.contains('}')).then(|| hole.trim())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn known() -> Known {
        let mut known = Known::default();
        known.set("input", json!({ "n": 3, "text": "{{job.id}}", "list": ["a"] }));
        known
    }

    #[test]
    fn holes_are_filled_once_and_what_is_put_in_is_not_read_again() {
        assert_eq!(
            known().text("n={{ input.n }} {{input.text}}!").as_deref(),
            Ok("n=3 {{job.id}}!")
        );
        assert_eq!(known().text("{{input.list.0}}{{input.list.9?}}").as_deref(), Ok("a"));
        assert_eq!(known().text("no {{end").as_deref(), Ok("no {{end"));
        assert!(
            known()
                .text("{{input.gone}}")
                .expect_err("missing")
                .contains("input.gone")
        );
    }

    #[test]
    fn a_hole_alone_keeps_the_type() {
        let filled = known().value(&json!({ "a": "{{input.n}}", "b": ["x{{input.n}}"] }));
        assert_eq!(filled, Ok(json!({ "a": 3, "b": ["x3"] })));
    }
}
