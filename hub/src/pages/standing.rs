//! How a device stands, in one word: the worst of what is known about it.

use std::collections::{HashMap, HashSet};

use jos_schemas::documents::ledger::OutcomeKind;
use jos_ui::Tone;

use crate::offer;
use crate::store::devices::{Device, Status};
use crate::store::glances::Glance;
use crate::store::states::{self, StateRow};
use crate::store::{Conn, Stored, rollouts};

/// Devices that are read at once.
const PIECE: u32 = 1000;
/// A device that has not called for so many seconds is silent.
const SILENT: i64 = 15 * 60;

/// What is offered in a tenant: the live states by name, the lowest version first, and whom each rollout has let in.
#[derive(Debug, Default)]
pub(super) struct Live {
    states: HashMap<String, Vec<StateRow>>,
    let_in: HashMap<String, HashSet<String>>,
}

impl Live {
    /// Reads it; of one device alone, or of all.
    pub(super) async fn read(conn: &mut Conn, tenant: &str, device: Option<&str>) -> Stored<Self> {
        let mut live = Self::default();
        for name in states::live_names(conn, tenant).await? {
            let states = states::live(conn, tenant, &name).await?;
            for rollout in states.iter().filter_map(|state| state.rollout.as_ref()) {
                let devices = match device {
                    Some(device) => one(conn, rollout, device).await?,
                    None => all(conn, rollout).await?,
                };
                live.let_in.insert(rollout.clone(), devices);
            }
            live.states.insert(name, states);
        }
        Ok(live)
    }

    /// Whether a device's turn has come for a state. Windows and pauses are not looked at: a turn that has come comes.
    fn may_have(&self, state: &StateRow, device: &str) -> bool {
        let Some(rollout) = &state.rollout else { return true };
        self.let_in.get(rollout).is_some_and(|devices| devices.contains(device))
    }
}

async fn one(conn: &mut Conn, rollout: &str, device: &str) -> Stored<HashSet<String>> {
    let right = rollouts::right(conn, rollout, device).await?;
    let let_in = right.is_some_and(|(_, _, let_in)| let_in.is_some());
    Ok(let_in.then(|| device.to_owned()).into_iter().collect())
}

async fn all(conn: &mut Conn, rollout: &str) -> Stored<HashSet<String>> {
    let (mut found, mut after) = (HashSet::new(), String::new());
    loop {
        let some = rollouts::reached(conn, rollout, "", &after, PIECE).await?;
        let Some(last) = some.last() else { return Ok(found) };
        after.clone_from(&last.device);
        found.extend(some.into_iter().map(|reached| reached.device));
    }
}

/// How a device stands. Those that somebody should look at come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Standing {
    Quarantined,
    Failed,
    Held,
    Unsettled,
    Silent,
    OnItsWay,
    New,
    Idle,
    InStep,
    Revoked,
}

impl Standing {
    pub(super) const ALL: [Self; 10] = [
        Self::InStep,
        Self::OnItsWay,
        Self::Failed,
        Self::Quarantined,
        Self::Held,
        Self::Unsettled,
        Self::Silent,
        Self::New,
        Self::Idle,
        Self::Revoked,
    ];

    /// As pages write it.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Quarantined => "in quarantine",
            Self::Failed => "failed",
            Self::Held => "held back",
            Self::Unsettled => "unsettled",
            Self::Silent => "silent",
            Self::OnItsWay => "on its way",
            Self::New => "not called yet",
            Self::Idle => "no state",
            Self::InStep => "in step",
            Self::Revoked => "revoked",
        }
    }

    /// As addresses write it.
    pub(super) fn slug(self) -> &'static str {
        match self {
            Self::Quarantined => "quarantined",
            Self::Failed => "failed",
            Self::Held => "held",
            Self::Unsettled => "unsettled",
            Self::Silent => "silent",
            Self::OnItsWay => "on-its-way",
            Self::New => "new",
            Self::Idle => "idle",
            Self::InStep => "in-step",
            Self::Revoked => "revoked",
        }
    }

    pub(super) fn of_slug(slug: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|standing| standing.slug() == slug)
    }

    pub(super) fn tone(self) -> Tone {
        match self {
            Self::Quarantined | Self::Failed => Tone::Bad,
            Self::Held | Self::Unsettled => Tone::Warn,
            Self::OnItsWay => Tone::Busy,
            Self::InStep => Tone::Good,
            Self::Silent | Self::New | Self::Idle | Self::Revoked => Tone::Quiet,
        }
    }

    /// Of a device, by what its agents said and what is offered now.
    pub(super) fn of(device: &Device, agents: &[Glance], live: &Live, now: i64) -> Self {
        match device.status {
            Status::Revoked => return Self::Revoked,
            Status::Quarantined => return Self::Quarantined,
            Status::Active => {}
        }
        let Some(seen) = device.last_seen else {
            return Self::New;
        };
        let mut worst = if now - seen > SILENT { Self::Silent } else { Self::Idle };
        for agent in agents {
            worst = worst.min(Self::of_agent(device, agent, live, now));
        }
        if worst == Self::Idle && agents.iter().any(|agent| agent.version.is_some()) {
            return Self::InStep;
        }
        worst
    }

    fn of_agent(device: &Device, agent: &Glance, live: &Live, now: i64) -> Self {
        use OutcomeKind::{Applied, Broken, Drifted, Refused, RolledBack, Unchanged, Unconfirmed, Unsupported};
        match agent.outcome {
            Some(RolledBack | Refused | Unsupported | Broken) => return Self::Failed,
            Some(Drifted | Unconfirmed) => return Self::Unsettled,
            Some(Applied | Unchanged) | None => {}
        }
        let states = live.states.get(&agent.name).map_or(&[][..], Vec::as_slice);
        let matching = offer::matching(states, &device.tenant, &device.id, &device.labels);
        if matching.windows(2).any(|pair| pair[0].audience != pair[1].audience) {
            return Self::Held;
        }
        let Some(state) = matching
            .into_iter()
            .rev()
            .find(|state| live.may_have(state, &device.id))
        else {
            return Self::Idle;
        };
        let has = agent.version == Some(state.version);
        let lacks = state.requires.iter().any(|feature| !agent.features.contains(feature));
        if has || device.held.is_some() {
            Self::Idle
        } else if lacks || state.expires <= now {
            Self::Held
        } else {
            Self::OnItsWay
        }
    }
}

/// How an end of an apply is shown.
pub(super) fn ending(outcome: OutcomeKind) -> (Tone, &'static str) {
    match outcome {
        OutcomeKind::Applied => (Tone::Good, "applied"),
        OutcomeKind::Unchanged => (Tone::Good, "unchanged"),
        OutcomeKind::RolledBack => (Tone::Bad, "rolled back"),
        OutcomeKind::Refused => (Tone::Bad, "refused"),
        OutcomeKind::Unsupported => (Tone::Bad, "not supported"),
        OutcomeKind::Broken => (Tone::Bad, "broken"),
        OutcomeKind::Drifted => (Tone::Warn, "drifted"),
        OutcomeKind::Unconfirmed => (Tone::Warn, "unconfirmed"),
    }
}
