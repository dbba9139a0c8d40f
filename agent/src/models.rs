//! The model that a node's agents ask: chosen by the environment, then by `config/llm.toml`, else `echo`.
//!
//! Owns the settings and the choice. The two that are reached over HTTP are in [`remote`]; `echo` and `uppercase` need
//! nothing and come with the node.

mod followed;
mod remote;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jos_node::contract::Model;
use jos_node::models::{BUILT_IN, built_in};
use jos_schemas::documents::runtime::ModelConfig;
use jos_schemas::read::{self, Format};
use serde_json::{Map, Value};

pub(crate) use followed::follow;
use remote::{Dialect, Remote};

/// Bytes of the settings.
const LIMIT: usize = 64 << 10;

/// Everything that a remote model needs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    model: String,
    base_url: String,
    key: Option<String>,
    timeout: Duration,
    retries: u32,
    stream: bool,
    ca: Option<PathBuf>,
    options: Map<String, Value>,
}

/// The model for a data directory. The error says what was found, where, and what was expected.
fn choose(data: &Path, environment: &BTreeMap<String, String>) -> Result<Arc<dyn Model>, String> {
    let file = file(&data.join("config/llm.toml"))?;
    let var = |name: &str| environment.get(name).filter(|text| !text.is_empty()).cloned();
    let (provider, place) = match (var("JOS_LLM"), file.provider) {
        (Some(provider), _) => (provider, "JOS_LLM"),
        (None, Some(provider)) => (provider.word().to_owned(), "config/llm.toml: provider"),
        (None, None) => ("echo".to_owned(), "the default"),
    };
    if let Some(model) = built_in(&provider) {
        return Ok(model);
    }
    let (dialect, base_url) = match provider.as_str() {
        "ollama" => (Dialect::Ollama, "http://127.0.0.1:11434"),
        "openai" => (Dialect::OpenAi, "https://api.openai.com/v1"),
        _ => {
            let all = [&BUILT_IN[..], &["ollama", "openai"]].concat().join(", ");
            return Err(format!("{place}: found {provider:?}, expected one of {all}"));
        }
    };
    let model = var("JOS_LLM_MODEL").or(file.model).ok_or_else(|| {
        format!("{place}: {provider} needs a model: set JOS_LLM_MODEL, or model in config/llm.toml, as \"gemma2:2b\"")
    })?;
    let base_url = var("JOS_LLM_BASE_URL")
        .or(file.base_url)
        .unwrap_or_else(|| base_url.to_owned());
    if !base_url.starts_with("http://") && !base_url.starts_with("https://") {
        return Err(format!(
            "base_url: found {base_url:?}, expected \"http://…\" or \"https://…\""
        ));
    }
    let timeout = match var("JOS_LLM_TIMEOUT") {
        None => file.timeout.unwrap_or(120),
        Some(text) => text
            .parse()
            .map_err(|_| format!("JOS_LLM_TIMEOUT: found {text:?}, expected seconds"))?,
    };
    let named = file.api_key_env.as_deref().and_then(var);
    if let (Some(name), None) = (&file.api_key_env, &named) {
        return Err(format!("config/llm.toml: api_key_env: the variable {name} is not set"));
    }
    let settings = Settings {
        model,
        base_url: base_url.trim_end_matches('/').to_owned(),
        key: var("JOS_LLM_API_KEY").or(named),
        timeout: Duration::from_secs(timeout.clamp(1, 3600).into()),
        retries: file.retries.unwrap_or(2).min(10),
        stream: file.stream.unwrap_or(true),
        ca: file.ca.map(PathBuf::from),
        options: file.options,
    };
    Ok(Arc::new(Remote::new(dialect, settings)?))
}

fn file(path: &Path) -> Result<ModelConfig, String> {
    let bytes = match crate::files::read(path, LIMIT) {
        Ok(bytes) => bytes,
        Err(_) if !path.exists() => return Ok(ModelConfig::default()),
        Err(e) => return Err(e.to_string()),
    };
    let parsed = read::document(&path.display().to_string(), &bytes, Format::Toml);
    parsed.map(|parsed| parsed.value).map_err(|report| report.to_string())
}
