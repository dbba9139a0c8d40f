//! From an answer's body to its text: whole, or in the pieces of either stream.

use serde_json::Value;

use super::remote::Dialect;

/// The text of an answer.
pub(super) fn text(dialect: Dialect, stream: bool, body: &str) -> Result<String, String> {
    match (dialect, stream) {
        (Dialect::Ollama, false) => said(&parse(body)?, "/message/content"),
        (Dialect::OpenAi, false) => said(&parse(body)?, "/choices/0/message/content"),
        (Dialect::Ollama, true) => ollama(body),
        (Dialect::OpenAi, true) => openai(body),
    }
}

/// One object a line; the last says `done`.
fn ollama(body: &str) -> Result<String, String> {
    let mut text = String::new();
    for line in body.lines().filter(|line| !line.trim().is_empty()) {
        let piece = parse(line)?;
        text += piece
            .pointer("/message/content")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if piece.get("done") == Some(&Value::Bool(true)) {
            return Ok(text);
        }
    }
    Err("its stream ended before it was done".into())
}

/// Server-sent events; the last says `[DONE]`.
fn openai(body: &str) -> Result<String, String> {
    let mut text = String::new();
    for line in body.lines() {
        // Comments and other fields of an event are passed over, as its standard says.
        let Some(data) = line.strip_prefix("data:") else {
            if line.starts_with('{') {
                // A server that does not stream answers as a whole.
                return said(&parse(body)?, "/choices/0/message/content");
            }
            continue;
        };
        if data.trim() == "[DONE]" {
            return Ok(text);
        }
        let piece = parse(data)?;
        text += piece
            .pointer("/choices/0/delta/content")
            .and_then(Value::as_str)
            .unwrap_or_default();
    }
    Err("its stream ended before it was done".into())
}

fn said(answer: &Value, pointer: &str) -> Result<String, String> {
    let found = answer.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    found.ok_or_else(|| format!("its answer has no {pointer}: {}", shortened(&answer.to_string())))
}

fn parse(text: &str) -> Result<Value, String> {
    let value: Value =
        serde_json::from_str(text).map_err(|e| format!("its answer is no JSON ({e}): {}", shortened(text)))?;
    match value.get("error") {
        Some(error) => Err(format!("it answered an error: {}", shortened(&error.to_string()))),
        None => Ok(value),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}
