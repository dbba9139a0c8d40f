//! What a device's `agent.toml` declares for its node, as files of the data directory.
//!
//! Owns which of the files there are declared ones (`state/declared.json`: their paths and hashes), so that a file that people
//! or a desired state put there is never written over and never taken away. A file that stands where a declared one should is
//! a clash: it stays, and is named.
//! Never: judges what is declared; that was done where `agent.toml` was read, by the types of these very files.

use std::collections::{BTreeMap, BTreeSet};

use jos_schemas::documents::declared::{self, MODEL_FILE};
use jos_schemas::documents::runtime::ModelConfig;
use jos_schemas::own;
use jos_schemas::text::{Name, Sha256Hex};
use jos_schemas::write;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::NodeError;
use crate::place::{DataDir, Door, Durable};
use crate::queue::Queue;
use crate::registry::Broken;
use crate::schedules;

/// Which files are declared ones.
const KNOWN: &str = "state/declared.json";

/// What is declared: whole documents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// Agents by name.
    pub agents: BTreeMap<Name, Map<String, Value>>,
    /// Schedules.
    pub schedules: Vec<Map<String, Value>>,
    /// The model that they ask.
    pub model: Option<ModelConfig>,
}

/// Which file has which content, by hash; two while one is being written over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    files: BTreeMap<String, Vec<Sha256Hex>>,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fitted {
    /// Files that were written.
    pub written: Vec<String>,
    /// Files that were taken away.
    pub removed: Vec<String>,
    /// What is declared and is not used, and why.
    pub clashes: Vec<Broken>,
}

impl Fitted {
    /// A line for each file.
    pub fn told(&self) -> impl Iterator<Item = String> + '_ {
        let written = self.written.iter().map(|file| format!("{file}: written as declared"));
        let removed = self
            .removed
            .iter()
            .map(|file| format!("{file}: taken away, it is declared no longer"));
        written.chain(removed)
    }
}

impl Declared {
    /// The files of it.
    fn files(&self) -> Result<BTreeMap<String, Vec<u8>>, NodeError> {
        let mut files = BTreeMap::new();
        let text = |table: &Map<String, Value>, file: &str| {
            let text = own::write_pretty(table).map_err(|e| NodeError::invalid(file, e))?;
            Ok::<_, NodeError>((text + "\n").into_bytes())
        };
        for (name, table) in &self.agents {
            let file = declared::agent_file(name, table);
            files.insert(file.clone(), text(table, &file)?);
        }
        for table in &self.schedules {
            let file = declared::schedule_file(table)
                .ok_or_else(|| NodeError::invalid("a declared schedule", "found no name, expected one"))?;
            files.insert(file.clone(), text(table, &file)?);
        }
        if let Some(model) = &self.model {
            let text = write::toml(model).map_err(|e| NodeError::invalid(MODEL_FILE, e))?;
            files.insert(MODEL_FILE.to_owned(), text.into_bytes());
        }
        Ok(files)
    }
}

/// Writes what is declared and takes away what is declared no longer; a schedule that goes is forgotten by the queue too.
///
/// # Errors
/// [`NodeError`] of the data directory.
pub fn fit(data: &DataDir, queue: &Queue, declared: &Declared) -> Result<Fitted, NodeError> {
    let wanted = declared.files()?;
    let door = Door::of(data)?;
    let _inside = door.enter()?;
    let known = known(data)?;
    let mut next = Known::default();
    let mut fitted = Fitted::default();
    let mut write = Vec::new();
    for (file, bytes) in &wanted {
        let hash = jos_trust::sha256(bytes).to_hex();
        let there = there(data, file)?;
        match (known.files.get(file), there) {
            (None, There::Nothing) => write.push(file),
            (None, _) => {
                let reason = format!(
                    "agent.toml declares it, and a file that it did not write stands there; the file counts. Remove the file, or \
                     the table of {file} from [runtime], then restart the agent"
                );
                fitted.clashes.push(Broken {
                    file: file.clone(),
                    reason,
                });
                continue;
            }
            (Some(_), There::Other) => {
                let reason = "agent.toml declares it, and what stands there is no file".to_owned();
                fitted.clashes.push(Broken {
                    file: file.clone(),
                    reason,
                });
                continue;
            }
            (Some(_), There::File(found)) if found == hash => {}
            (Some(hashes), There::File(found)) => {
                if !hashes.contains(&found) {
                    log::warn!("{file}: was changed by hand; written again as agent.toml declares it");
                }
                write.push(file);
            }
            (Some(_), There::Nothing) => write.push(file),
        }
        next.files.insert(file.clone(), vec![hash]);
    }
    let gone: BTreeSet<&String> = known.files.keys().filter(|file| !wanted.contains_key(*file)).collect();
    // What may stand there while files are written: a crash in the middle takes none of them for somebody else's.
    let mut between = next.clone();
    for (file, hashes) in &known.files {
        let may = between.files.entry(file.clone()).or_default();
        may.extend(
            hashes
                .iter()
                .filter(|hash| !may.contains(hash))
                .cloned()
                .collect::<Vec<_>>(),
        );
    }
    if between != known {
        put(data, &between)?;
    }
    for file in write {
        data.put(file, &wanted[file], Durable::Yes)?;
        fitted.written.push(file.clone());
    }
    for file in gone {
        match there(data, file)? {
            There::File(found) if known.files[file].contains(&found) => {
                if file.starts_with("schedules/") {
                    schedules::remove_file(data, queue, file)?;
                } else {
                    data.remove(file)?;
                }
                fitted.removed.push(file.clone());
            }
            There::Nothing => {}
            _ => log::warn!("{file}: is declared no longer, but was changed by hand: it stays"),
        }
    }
    if between != next {
        put(data, &next)?;
    }
    Ok(fitted)
}

enum There {
    Nothing,
    File(Sha256Hex),
    Other,
}

fn there(data: &DataDir, file: &str) -> Result<There, NodeError> {
    let path = data.path(file);
    match std::fs::symlink_metadata(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(There::Nothing),
        Err(e) => Err(NodeError::io(&path, "look at it")(e)),
        Ok(meta) if !meta.is_file() => Ok(There::Other),
        Ok(_) => {
            let bytes = std::fs::read(&path).map_err(NodeError::io(&path, "read it"))?;
            Ok(There::File(jos_trust::sha256(&bytes).to_hex()))
        }
    }
}

fn known(data: &DataDir) -> Result<Known, NodeError> {
    let path = data.path(KNOWN);
    match std::fs::read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Known::default()),
        Err(e) => Err(NodeError::io(&path, "read it")(e)),
        Ok(bytes) => own::read(&bytes).map_err(|e| NodeError::invalid(KNOWN, e)),
    }
}

fn put(data: &DataDir, known: &Known) -> Result<(), NodeError> {
    let text = own::write(known).map_err(|e| NodeError::invalid(KNOWN, e))?;
    data.put(KNOWN, &text, Durable::Yes)
}

#[cfg(test)]
#[path = "declared/tests.rs"]
mod tests;
