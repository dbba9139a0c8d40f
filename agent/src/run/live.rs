//! The status file of a running agent: what `jos agent status` shows, readable by everybody, true until the next boot.

use std::path::Path;

use jos_schemas::own;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::confine::Mechanism;
use crate::files;
use crate::identity::Identity;

/// Its name in the run folder.
pub(crate) const FILE: &str = "status.json";

/// What a running agent says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Live {
    /// Its process.
    pub(crate) pid: u32,
    /// Since when it runs (UTC).
    pub(crate) started: String,
    /// `recovering`, `upgrading`, `running the flow`, `waiting`, `judging`, `converging`, `stopped`.
    pub(crate) phase: String,
    /// Turns since its start.
    pub(crate) turns: u64,
    /// When the last turn ended.
    pub(crate) last_turn: Option<String>,
    /// When it looks again by itself.
    pub(crate) next_wake: Option<String>,
    /// What the plane says: version, last outcome, ledger head.
    pub(crate) plane: Value,
    /// How the artifact's flow ended.
    pub(crate) flow: Option<Value>,
    /// Process of the network half.
    pub(crate) fetcher: Option<u32>,
    /// How often it had to be started again.
    pub(crate) fetcher_restarts: u64,
    /// How it is confined.
    pub(crate) confinement: Vec<Mechanism>,
    /// The configured hub.
    pub(crate) hub: Option<String>,
    /// How it stands with the hub, of an agent that calls one.
    #[serde(default)]
    pub(crate) link: Option<Link>,
    /// How the node of the runtime stands, of an agent that runs one.
    #[serde(default)]
    pub(crate) node: Option<Value>,
    /// What went wrong last, where something did.
    pub(crate) trouble: Option<String>,
}

/// How an agent stands with its hub.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Link {
    /// Where the hub is, in the order in which it is tried.
    pub(crate) addresses: Vec<String>,
    /// Which of them is in use.
    pub(crate) address: usize,
    /// The id that it was enrolled under; none while it is not.
    pub(crate) device: Option<String>,
    /// The tenant that it belongs to.
    pub(crate) tenant: Option<String>,
    /// When the hub answered last.
    pub(crate) last_contact: Option<String>,
    /// What the hub said last of the time, where that was signed for us.
    pub(crate) freshness: Option<String>,
    /// When the certificate ends.
    pub(crate) certificate_ends: Option<String>,
    /// The version that the hub offers.
    pub(crate) offered: Option<u64>,
    /// Why the hub holds a newer one back.
    pub(crate) held: Option<Value>,
    /// Reports that the hub has not acknowledged.
    pub(crate) waiting: usize,
    /// The hub keeps what is newer from this device, or vouches for nothing any more.
    #[serde(default)]
    pub(crate) alarm: Option<String>,
    /// What is wrong between them, where something is.
    pub(crate) trouble: Option<String>,
    /// Process of the network half that calls it.
    pub(crate) fetcher: Option<u32>,
    /// How many of those there were.
    pub(crate) starts: u64,
    /// How that one is confined.
    pub(crate) confinement: Vec<Mechanism>,
}

impl Link {
    /// Takes over what is known by enrolment.
    pub(crate) fn of(&mut self, identity: Option<&Identity>) {
        self.device = identity.map(|i| i.device.clone());
        self.tenant = identity.map(|i| i.tenant.to_string());
        self.certificate_ends = identity.map(|i| i.not_after.to_string());
    }
}

impl Live {
    /// Reads the file of an agent; none when it never ran since the boot.
    pub(crate) fn read(run_dir: &Path) -> Option<Self> {
        let bytes = files::read(&run_dir.join(FILE), 1 << 20).ok()?;
        own::read(&bytes).ok()
    }

    /// How the network half is confined: the one that looks into a folder, else the one that speaks to the hub.
    pub(crate) fn shown_confinement(&self) -> &[Mechanism] {
        match &self.link {
            Some(link) if self.confinement.is_empty() => &link.confinement,
            _ => &self.confinement,
        }
    }

    /// Replaces the file. Whole or old, but not made to survive power loss: it is worth nothing after one.
    pub(crate) fn write(&self, run_dir: &Path) {
        let bytes = own::write(self).unwrap_or_default();
        if let Err(error) = files::replace(&run_dir.join(FILE), &bytes, 0o644, false) {
            log::warn!("status: {error}");
        }
    }
}
