//! The agent of this machine, on Windows: the one of `agent.toml`, put there by `jos agent install` or by a package.

use std::path::PathBuf;

use jos_schemas::documents::agent_config::AgentConfig;
use jos_schemas::layout::Layout;
use jos_schemas::read::{self, Format};
use jos_schemas::text::Name;

use crate::cli::agent::SERVICE;
use crate::files;
use crate::place::{Place, SYSTEM_STATE};

/// One agent.
pub(crate) struct Agent {
    /// Its name.
    pub(crate) name: Name,
    /// Its configuration.
    pub(crate) config: AgentConfig,
    place: Place,
}

impl Agent {
    /// What its service is called.
    pub(crate) fn service(&self) -> &str {
        self.config.service.as_ref().map_or(SERVICE, Name::as_str)
    }

    /// Whether a package brought it, which is then what takes it away.
    pub(crate) fn baked(&self) -> bool {
        self.place.at(format!("{}/brand.json", Layout::HERE.share)).exists()
    }

    /// Where its data lies.
    pub(crate) fn state_dir(&self) -> PathBuf {
        let configured = self.config.state_dir.as_ref().map(|p| p.as_str());
        self.place.at(configured.unwrap_or(SYSTEM_STATE))
    }
}

/// The agent of this machine; none where there is no configuration, or why it cannot be read.
pub(crate) fn read(place: &Place) -> Result<Option<Agent>, String> {
    let path = place.at(Layout::HERE.config);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = files::read(&path, 1 << 20).map_err(|e| e.to_string())?;
    let parsed = read::document::<AgentConfig>(&path.display().to_string(), &bytes, Format::Toml);
    let config = parsed.map_err(|report| report.to_string())?.value;
    Ok(Some(Agent {
        name: config.name.clone(),
        config,
        place: place.clone(),
    }))
}

/// All that the caller can see.
pub(crate) fn all(place: &Place) -> Vec<Agent> {
    read(place).ok().flatten().into_iter().collect()
}

/// The one of this name.
pub(crate) fn find(place: &Place, name: &Name) -> Option<Agent> {
    all(place).into_iter().find(|agent| agent.name == *name)
}
