//! The model as `config/llm.toml` says it now: an edit counts from the next question on, as one of an agent does.
//!
//! A file that cannot be used changes nothing: the model of before is asked, and the log says why.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use jos_node::contract::{AgentError, Model, Prompt, Reply};

use super::choose;

/// What tells one file from another: an edit in place, or another file in its place.
type Stamp = Option<(u64, u64, Option<SystemTime>)>;

/// A model that is chosen again whenever its file has changed.
struct Followed {
    data: PathBuf,
    environment: BTreeMap<String, String>,
    first: String,
    now: Mutex<(Stamp, Arc<dyn Model>)>,
}

/// The model for a data directory, as [`choose`] picks it, at every question.
pub(crate) fn follow(data: &Path, environment: BTreeMap<String, String>) -> Result<Arc<dyn Model>, String> {
    let stamp = stamp(data);
    let model = choose(data, &environment)?;
    Ok(Arc::new(Followed {
        data: data.to_owned(),
        environment,
        first: model.name().to_owned(),
        now: Mutex::new((stamp, model)),
    }))
}

fn stamp(data: &Path) -> Stamp {
    let meta = std::fs::metadata(data.join("config/llm.toml")).ok()?;
    Some((meta.ino(), meta.len(), meta.modified().ok()))
}

impl Followed {
    fn now(&self) -> Arc<dyn Model> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked at before it is read: what comes meanwhile is seen at the next question.
        let stamp = stamp(&self.data);
        if now.0 != stamp {
            match choose(&self.data, &self.environment) {
                Ok(model) => {
                    if model.name() != now.1.name() {
                        log::info!("{} is asked from now on, no longer {}", model.name(), now.1.name());
                    }
                    now.1 = model;
                }
                Err(why) => log::warn!("{why}; {} is asked as before", now.1.name()),
            }
            now.0 = stamp;
        }
        Arc::clone(&now.1)
    }
}

impl Model for Followed {
    /// That of the first: each reply says which it is of.
    fn name(&self) -> &str {
        &self.first
    }

    fn complete(&self, prompt: &Prompt) -> Result<Reply, AgentError> {
        self.now().complete(prompt)
    }
}
