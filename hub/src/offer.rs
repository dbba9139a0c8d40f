//! What a device is offered: of the live states of its tenant and name whose audience names it the newest one that it may
//! have by now, unless that is held back.

use std::collections::BTreeMap;

use jos_link::wire::Held;
use jos_schemas::text::{Name, Utc};
use jos_trust::state::addressed;

use crate::rollout::{pace, window};
use crate::store::devices::Device;
use crate::store::states::StateRow;
use crate::store::{Lazily, Stored, agents, rollouts};

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

/// What there is for one agent of a device among the `live` states of that name.
pub async fn find(live: &[StateRow], conn: &mut Lazily<'_>, device: &Device, name: &str, now: i64) -> Stored<Offer> {
    let matching = matching(live, &device.tenant, &device.id, &device.labels);
    if matching.windows(2).any(|pair| pair[0].audience != pair[1].audience) {
        let versions = matching.iter().map(|other| other.version).collect();
        return Ok(Offer::Held(Held::Ambiguous { versions }));
    }
    // Of one audience there is a version for all, and there may be newer ones that a rollout brings to some.
    let mut found = None;
    for state in matching.into_iter().rev() {
        if is_its_turn(conn, device, state, now).await? {
            found = Some(state);
            break;
        }
    }
    let Some(state) = found else {
        return Ok(Offer::Nothing);
    };
    if device.held.is_some() {
        // Held devices keep what they have; what they have may be fetched again.
        let agent = agents::get(conn.get().await?, &device.id, name).await?;
        if agent.and_then(|agent| agent.version) != Some(state.version) {
            return Ok(Offer::Nothing);
        }
    }
    if state.expires <= now {
        return Ok(Offer::Held(Held::Expired {
            version: state.version,
            expires: Utc::from_unix(state.expires),
        }));
    }
    if !state.requires.is_empty() {
        // Before its first heartbeat an agent has said nothing of what it can do.
        let agent = agents::get(conn.get().await?, &device.id, name).await?;
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

/// Whether a state that a rollout brings may go to a device; one without a rollout may.
async fn is_its_turn(conn: &mut Lazily<'_>, device: &Device, state: &StateRow, now: i64) -> Stored<bool> {
    let Some(rollout) = &state.rollout else {
        return Ok(true);
    };
    let Some((status, plan, let_in)) = rollouts::right(conn.get().await?, rollout, &device.id).await? else {
        return Ok(false);
    };
    let Some(let_in) = let_in else { return Ok(false) };
    let plan = rollouts::plan(&plan)?;
    let revert = state.version != plan.version;
    let open = || {
        let zone = window::zone_of(&device.labels, &device.facts, plan.zone.as_deref());
        window::open(&plan.windows, &zone, now)
    };
    let open = let_in.offered.is_some() || open();
    Ok(pace::may_have(status, Some(let_in), open, revert))
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

/// Why a state is held back, as a sentence for people.
pub fn sentence(held: &Held) -> String {
    match held {
        Held::Features { version, missing } => {
            let missing: Vec<&str> = missing.iter().map(|feature| feature.as_str()).collect();
            // A node is a matter of the device's settings; everything else came with a version of the agent.
            let remedy = if missing == ["runtime"] {
                "Give it a node: [runtime] in its agent.toml."
            } else {
                "Update the agent."
            };
            format!(
                "Version {version} is held back: the agent lacks {}. {remedy}",
                missing.join(", ")
            )
        }
        Held::Ambiguous { versions } => {
            format!("Held back: the versions {versions:?} both match this device. Change its labels, or retire one.")
        }
        Held::Expired { version, expires } => {
            format!(
                "Version {version} is held back: its time was over at {}. Sign it again.",
                expires.as_str()
            )
        }
    }
}
