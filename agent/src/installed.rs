//! The agents on this machine: those that `jos agent install` put into homes, and the one that a package baked in.
//!
//! Owns finding them and the small record that an install leaves. What a home's owner can write is believed only as far as
//! that owner's own rights reach.

use std::path::{Path, PathBuf};
use std::process::Command;

use jos_schemas::documents::agent_config::AgentConfig;
use jos_schemas::layout::Layout;
use jos_schemas::own;
use jos_schemas::read::{self, Format};
use jos_schemas::text::Name;
use serde::{Deserialize, Serialize};

use crate::files::Folder;
use crate::place::{Owner, Place, SYSTEM_STATE};
use crate::services::{Init, Scope, Service};

/// The configuration of the baked agent.
pub(crate) const BAKED_CONFIG: &str = Layout::HERE.config;

/// What an install remembers: `service.json` beside the configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Which init system runs it.
    pub(crate) init: Init,
    /// The machine's or one user's.
    pub(crate) scope: Scope,
    /// As the init system names it.
    pub(crate) service: String,
    /// Login name that it runs as.
    pub(crate) user: String,
    /// Who installed it, when (UTC).
    pub(crate) granted: String,
}

/// One agent.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    /// Its name.
    pub(crate) name: Name,
    /// Whose it is.
    pub(crate) owner: Owner,
    /// The folder of `agent.toml`.
    pub(crate) folder: PathBuf,
    /// What an install left; none for the baked one.
    pub(crate) record: Option<Record>,
    /// Its configuration, or why it cannot be read.
    pub(crate) config: Result<AgentConfig, String>,
}

impl Agent {
    /// Baked in by a package.
    pub(crate) fn baked(&self) -> bool {
        self.record.is_none()
    }

    /// Which init system runs it.
    pub(crate) fn init(&self, place: &Place) -> Init {
        self.record
            .as_ref()
            .map_or_else(|| Init::detect(place).unwrap_or(Init::Generic), |r| r.init)
    }

    /// As the init system names it.
    pub(crate) fn service(&self) -> String {
        match (&self.record, &self.config) {
            (Some(record), _) => record.service.clone(),
            (
                None,
                Ok(AgentConfig {
                    identifier: Some(label),
                    ..
                }),
            ) if cfg!(target_os = "macos") => label.to_string(),
            (None, Ok(config)) => config
                .service
                .as_ref()
                .map_or_else(|| "jos-agent".to_owned(), ToString::to_string),
            (None, Err(_)) => "jos-agent".to_owned(),
        }
    }

    /// Calls `with` with its service.
    pub(crate) fn with_service<T>(&self, place: &Place, with: impl FnOnce(&Service<'_>) -> T) -> T {
        let state_dir = self.state_dir();
        let service = self.service();
        with(&Service {
            place,
            name: &self.name,
            service: &service,
            scope: self.record.as_ref().map_or(Scope::System, |r| r.scope),
            owner: &self.owner,
            folder: &self.folder,
            state_dir: &state_dir,
        })
    }

    /// The command that prints its log where the init system keeps it; with `follow` it does not end.
    pub(crate) fn log_command(&self, place: &Place, follow: bool) -> Command {
        self.with_service(place, |service| self.init(place).logs(service, follow))
    }

    /// Where its data lies.
    pub(crate) fn state_dir(&self) -> PathBuf {
        let configured = self
            .config
            .as_ref()
            .ok()
            .and_then(|c| c.state_dir.as_ref())
            .map(|p| PathBuf::from(p.as_str()));
        configured.unwrap_or_else(|| {
            if self.baked() {
                SYSTEM_STATE.into()
            } else {
                self.owner.state_dir()
            }
        })
    }
}

/// All that the caller can see, by name.
pub(crate) fn all(place: &Place) -> Vec<Agent> {
    let mut found = Vec::new();
    for owner in place.homes() {
        let folder = place.at(owner.agents());
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let Some(name) = entry.file_name().to_str().and_then(|n| Name::new(n).ok()) else {
                continue;
            };
            if let Some(agent) = open(&owner, &folder, &name) {
                found.push(agent);
            }
        }
    }
    found.extend(baked(place));
    found.sort_by(|a, b| (&a.name, &a.folder).cmp(&(&b.name, &b.folder)));
    found
}

/// The one of this name; the caller's own goes before others'.
pub(crate) fn find(place: &Place, name: &Name) -> Option<Agent> {
    let own = place
        .homes()
        .into_iter()
        .find_map(|owner| open(&owner, &place.at(owner.agents()), name));
    own.or_else(|| baked(place).filter(|agent| agent.name == *name))
}

fn open(owner: &Owner, agents: &Path, name: &Name) -> Option<Agent> {
    let folder = Folder::open(agents).ok()?.enter(name.as_str()).ok()?;
    let record = folder.read("service.json", 64 << 10).ok()?;
    let record = own::read(&record).ok()?;
    let config = folder.read("agent.toml", 1 << 20).map_err(|e| e.to_string());
    let config = config.and_then(|bytes| parse(&folder.path().join("agent.toml"), &bytes));
    let folder = folder.path().to_owned();
    Some(Agent {
        name: name.clone(),
        owner: owner.clone(),
        folder,
        record: Some(record),
        config,
    })
}

fn baked(place: &Place) -> Option<Agent> {
    let path = place.at(BAKED_CONFIG);
    let bytes = crate::files::read(&path, 1 << 20).ok()?;
    let config = parse(&path, &bytes);
    let name = config
        .as_ref()
        .map_or_else(|_| Name::new("jos").ok(), |c| Some(c.name.clone()))?;
    let owner = Owner {
        name: "root".into(),
        uid: 0,
        gid: 0,
        home: "/root".into(),
    };
    Some(Agent {
        name,
        owner,
        folder: path.parent()?.to_owned(),
        record: None,
        config,
    })
}

/// Reads `agent.toml`.
pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<AgentConfig, String> {
    let parsed = read::document::<AgentConfig>(&path.display().to_string(), bytes, Format::Toml);
    parsed.map(|p| p.value).map_err(|report| report.to_string())
}
