//! What a device is offered: the one live state of its tenant and name whose audience names it, unless it is held back.

use std::collections::BTreeMap;

use jos_link::wire::Held;
use jos_schemas::text::{Name, Utc};
use jos_trust::state::addressed;

use crate::store::devices::Device;
use crate::store::states::{self, StateRow};
use crate::store::{Conn, Stored, agents};

/// What there is for a device.
#[derive(Clone, Debug, PartialEq)]
pub enum Offer {
    /// Nothing is meant for it.
    Nothing,
    /// This state.
    State(Box<StateRow>),
    /// Something, and it is held back.
    Held(Held),
}

impl Offer {
    /// The version offered; 0 where none is.
    pub fn version(&self) -> u64 {
        match self {
            Self::State(state) => state.version,
            Self::Nothing | Self::Held(_) => 0,
        }
    }
}

/// What there is for one agent of a device.
pub async fn find(conn: &mut Conn, device: &Device, name: &str, now: i64) -> Stored<Offer> {
    let live = states::live(conn, &device.tenant, name).await?;
    let mut matching = matching(&live, &device.tenant, &device.id, &device.labels);
    let Some(state) = matching.pop() else {
        return Ok(Offer::Nothing);
    };
    if !matching.is_empty() {
        let mut versions: Vec<u64> = matching.iter().map(|other| other.version).collect();
        versions.push(state.version);
        return Ok(Offer::Held(Held::Ambiguous { versions }));
    }
    if state.expires <= now {
        return Ok(Offer::Held(Held::Expired {
            version: state.version,
            expires: Utc::from_unix(state.expires),
        }));
    }
    if !state.requires.is_empty() {
        // Before its first heartbeat an agent has said nothing of what it can do.
        let agent = agents::get(conn, &device.id, name).await?;
        let has = agent.map(|agent| agent.features).unwrap_or_default();
        let missing: Vec<Name> = state
            .requires
            .iter()
            .filter(|feature| !has.contains(feature))
            .cloned()
            .collect();
        if !missing.is_empty() {
            return Ok(Offer::Held(Held::Features {
                version: state.version,
                missing,
            }));
        }
    }
    Ok(Offer::State(Box::new(state.clone())))
}

/// Those of `live` whose audience names the device.
pub fn matching<'a>(
    live: &'a [StateRow],
    tenant: &str,
    device: &str,
    labels: &BTreeMap<String, String>,
) -> Vec<&'a StateRow> {
    let tenant = Name::new(tenant).ok();
    let fits = |state: &&StateRow| addressed(&state.audience, tenant.as_ref(), Some(device), labels).is_ok();
    live.iter().filter(fits).collect()
}
