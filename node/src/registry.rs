//! Who is there: the agents of `agents/` and the tools of `tools/`, read again whenever something there has changed.
//!
//! One broken file hurts nobody else: it is named with its place and its reason, the others load. A name belongs to the first
//! file, in the order of file names, that takes it.

mod joined;
mod read;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jos_schemas::text::Name;
use serde::{Deserialize, Serialize};

use crate::agents::program::Programs;
use crate::contract::{Agent, Device, Model, Tool};
use crate::hands::{Granted, Grip};
use crate::queue::Messages;
use crate::roles::Grants;
use scan::Seen;

/// Names and kinds that a node brings itself: no file takes them.
pub const BUILT_IN_AGENTS: [&str; 1] = ["advance"];
/// Kinds of decisions that a node executes itself.
pub const BUILT_IN_KINDS: [&str; 4] = crate::gate::BUILT_IN;

/// What agents and tools are run with.
#[derive(Clone)]
pub struct Means {
    /// Who answers the agents' questions.
    pub model: Arc<dyn Model>,
    /// Who starts programs; without one, agents that are programs are broken by name.
    pub programs: Option<Arc<dyn Programs>>,
    /// The device whose daemon runs this node; without one nothing is proposed to a plane.
    pub device: Option<Arc<dyn Device>>,
    /// Where messages between agents are; without it, in the data directory.
    pub messages: Option<Arc<dyn Messages>>,
}

/// A file that is not used, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// Below the data directory.
    pub file: String,
    /// With its place in the file.
    pub reason: String,
}

/// An agent or a tool, for lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// Its name.
    pub name: Name,
    /// `prompts`, `declared`, `wasm` or `program`.
    pub form: String,
    /// The file below the data directory.
    pub file: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it is granted, as `fs.write artifacts`.
    pub grants: Vec<String>,
    /// A tool's kinds of decisions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
}

/// An agent with its grants.
#[derive(Clone)]
struct Known {
    agent: Arc<dyn Agent>,
    grants: Arc<Grants>,
}

/// All that was there at one time.
#[derive(Default)]
struct Snapshot {
    agents: BTreeMap<Name, Known>,
    tools: BTreeMap<String, Arc<dyn Tool>>,
    agents_listed: Vec<Listed>,
    tools_listed: Vec<Listed>,
    broken: Vec<Broken>,
}

/// Times of files go in steps, of 10 ms at most where it was looked at: so soon after a reading, an edit may show in nothing but
/// the content.
const SETTLED: Duration = Duration::from_millis(50);

/// What stood there when it was read last.
struct Last {
    seen: Vec<Seen>,
    /// The hash of each file.
    contents: Vec<Option<jos_trust::Digest>>,
    at: Instant,
}

/// The agents and tools of a data directory.
pub struct Registry {
    root: PathBuf,
    means: Means,
    last: Mutex<Option<Last>>,
    now: RwLock<Arc<Snapshot>>,
    clashes: Vec<Broken>,
}

impl Registry {
    /// Over a data directory; empty until the first [`Registry::refresh`].
    pub fn new(root: &Path, means: Means) -> Self {
        Self {
            root: root.to_owned(),
            means,
            last: Mutex::new(None),
            now: RwLock::default(),
            clashes: Vec::new(),
        }
    }

    /// The same, which also names what was declared and is not used.
    pub fn with_clashes(self, clashes: Vec<Broken>) -> Self {
        Self { clashes, ..self }
    }

    /// Looks whether anything has changed and reads what there is now; says whether it had to. An error is one of the
    /// folders: what was known stays known.
    pub fn refresh(&self) -> Result<bool, String> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let at = Instant::now();
        let found = scan::scan(&self.root)?;
        if let Some(last) = &*last
            && last.seen == found
            && (last.at.elapsed() > SETTLED || last.contents == scan::contents(&self.root, &found))
        {
            return Ok(false);
        }
        let contents = scan::contents(&self.root, &found);
        let snapshot = self.read(&found);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
        *last = Some(Last {
            seen: found,
            contents,
            at,
        });
        Ok(true)
    }

    fn read(&self, found: &[Seen]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for seen in found.iter().filter(|seen| seen.is_document()) {
            let added = if seen.is_agent() {
                read::agent(&self.root, seen, &self.means).and_then(|agent| snapshot.add_agent(agent))
            } else {
                read::tool(&self.root, seen, &self.means).and_then(|tool| snapshot.add_tool(tool))
            };
            if let Err(reason) = added {
                snapshot.broken.push(Broken {
                    file: seen.file(),
                    reason,
                });
            }
        }
        snapshot
    }

    fn now(&self) -> Arc<Snapshot> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The agent of that name.
    pub fn agent(&self, name: &Name) -> Option<Arc<dyn Agent>> {
        self.now().agents.get(name).map(|known| Arc::clone(&known.agent))
    }

    /// The tool that executes decisions of that kind.
    pub fn tool(&self, kind: &str) -> Option<Arc<dyn Tool>> {
        self.now().tools.get(kind).map(Arc::clone)
    }

    /// What that agent was granted: nothing, where it is not there.
    pub fn grants(&self, name: &Name) -> Arc<Grants> {
        self.now()
            .agents
            .get(name)
            .map(|known| Arc::clone(&known.grants))
            .unwrap_or_default()
    }

    /// The hands of that agent for that job.
    pub fn hands(&self, name: &Name, job: &str) -> Granted {
        Granted::new(Grip {
            root: self.root.clone(),
            agent: name.clone(),
            job: job.to_owned(),
            grants: self.grants(name),
            model: Arc::clone(&self.means.model),
            device: self.means.device.clone(),
            messages: self.means.messages.clone(),
        })
    }

    /// The files that are not used, in their order, and what was declared and is not used.
    pub fn broken(&self) -> Vec<Broken> {
        [self.now().broken.as_slice(), &self.clashes].concat()
    }

    /// The agents in the order of their names.
    pub fn agents(&self) -> Vec<Listed> {
        self.now().agents_listed.clone()
    }

    /// The tools in the order of their files.
    pub fn tools(&self) -> Vec<Listed> {
        self.now().tools_listed.clone()
    }
}

impl Snapshot {
    fn add_agent(&mut self, read: read::ReadAgent) -> Result<(), String> {
        let name = read.listed.name.clone();
        if BUILT_IN_AGENTS.contains(&name.as_str()) {
            return Err(format!("the name {name} is built in; give the agent another"));
        }
        if let Some(other) = self.agents_listed.iter().find(|other| other.name == name) {
            return Err(format!("the name {name} is taken by {}; names are unique", other.file));
        }
        let known = Known {
            agent: read.agent,
            grants: Arc::new(read.grants),
        };
        self.agents.insert(name, known);
        self.agents_listed.push(read.listed);
        Ok(())
    }

    fn add_tool(&mut self, read: read::ReadTool) -> Result<(), String> {
        for kind in read.tool.kinds() {
            if BUILT_IN_KINDS.contains(&kind.as_str()) {
                return Err(format!("decisions of the kind {kind} are built in"));
            }
            let taken = self.tools_listed.iter().find(|other| other.kinds.contains(kind));
            if let Some(other) = taken {
                return Err(format!("decisions of the kind {kind} belong to {}", other.file));
            }
        }
        if let Some(other) = self.tools_listed.iter().find(|other| other.name == read.listed.name) {
            let name = &other.name;
            return Err(format!("the name {name} is taken by {}; names are unique", other.file));
        }
        for kind in read.tool.kinds() {
            self.tools.insert(kind.clone(), Arc::clone(&read.tool));
        }
        self.tools_listed.push(read.listed);
        Ok(())
    }
}
