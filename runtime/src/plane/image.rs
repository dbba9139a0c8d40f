//! Moving to another system: the one change that is half done by the machine starting anew.
//!
//! ```text
//! old system   decision ► floors ► move.json `installing` ► RAUC writes the other slot ► `restarting` ► the machine starts
//!                                                                                                          │
//! new system   `trying`: the same state by a transaction of its own, in this system ◄── runs ──────────────┤
//!              good: this system is called good, the state is in force, outcome `applied`                  │ does not
//!              not:  `leaving`: the machine starts the old system ───────────────────────────┐             │
//! old system   the new one is not started again, outcome `rolled_back` or `unconfirmed` ◄─────┴─────────────┘
//! ```
//! `move.json` lies beside the journal, which the state's own transaction in the new system needs for itself. It is on the
//! data that both systems share, as is the ledger. As long as it is there, nobody else calls a system good, and whatever
//! is asked of the plane first asks what became of the move ([`Plane::settle_move`]): from what `move.json` says, which
//! system runs, and whether the machine was started since. Every act may be done twice, so a crash anywhere is answered by
//! looking again.

use std::time::Duration;

use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::documents::ledger::Decision;
use jos_schemas::documents::policy::Source;
use jos_schemas::own;
use jos_trust::floors::{Counter, Edition, InForce};
use jos_trust::{Channel, Verified};
use serde::{Deserialize, Serialize};

use super::{Plane, PlaneError};
use crate::act::{Cause, Failed};
use crate::content::Needed;
use crate::journal::{JournalError, Trial, Undo};
use crate::outcome::Outcome;
use crate::plan::{Change, Plan};
use crate::store;
use crate::world::{Image, Slots};

const FORMAT: u32 = 1;
const LIMIT: u64 = 1024 * 1024;
/// By then an agent in a new system has said what becomes of it, besides what it waits for its hub. One that is up and never says
/// anything has no better excuse than one that does not come up.
const DECIDES: Duration = Duration::from_secs(3600);

/// How far a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The other slot is being written.
    Installing,
    /// It is written, and the machine goes down for it.
    Restarting,
    /// The new system runs, and the state is tried in it.
    Trying,
    /// It was not to be: the machine goes back.
    Leaving,
}

/// A move, as there is to say of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moving {
    /// The system that was left.
    pub from: Image,
    /// The one that is moved to.
    pub to: Image,
    /// How far it is.
    pub stage: Stage,
    /// The state that names it.
    pub version: u64,
}

/// A move as it is kept over a start of the machine. It is begun by one version of this program and ended by another: members
/// are added here, with defaults, and none is renamed or dropped.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Move {
    format: u32,
    /// Index of the decision in the ledger.
    pub(super) decision: u64,
    pub(super) source: Source,
    pub(super) channel: Channel,
    pub(super) counter: Counter,
    /// What comes into force with it.
    pub(super) tried: InForce,
    pub(super) from: Image,
    pub(super) to: Image,
    /// As the plan says it.
    pub(super) change: Change,
    pub(super) stage: Stage,
    /// In which start of the machine, and when, it came so far.
    pub(super) boot: Option<String>,
    pub(super) since: i64,
    /// How often that was tried.
    pub(super) tries: u32,
    /// Why it is left, and whose fault that is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) reasons: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cause: Option<Cause>,
}

impl Move {
    pub(super) fn shown(&self) -> Moving {
        Moving {
            from: self.from.clone(),
            to: self.to.clone(),
            stage: self.stage,
            version: self.tried.version,
        }
    }

    pub(super) fn edition(&self) -> Edition {
        Edition {
            version: self.tried.version,
            content: self.tried.content,
        }
    }
}

impl Plane<'_> {
    /// The two systems, where this plane's root is the one that runs.
    pub(super) fn slots(&self) -> Option<&dyn Slots> {
        self.world.slots.filter(|_| self.live())
    }

    /// What runs, on a device with two systems.
    pub(super) fn running_image(&self) -> Option<Image> {
        let running = self.slots()?.running();
        running.inspect_err(|e| log::warn!("{e}")).ok()
    }

    /// The move that is under way, if one is.
    pub(super) fn moving(&self) -> Result<Option<Move>, PlaneError> {
        let path = self.at("move.json");
        let bytes = match self.data.read(&path, LIMIT) {
            Ok((bytes, _)) => bytes,
            Err(e) if e.is_missing() => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let file = self.data.show(&path);
        let read = own::read(&bytes).map_err(|what| JournalError::Damaged { file, what });
        Ok(Some(read?))
    }

    /// Whether a machine is between two systems, so that [`Plane::resume`] has something to do.
    pub fn moves(&self) -> Result<bool, PlaneError> {
        Ok(self.moving()?.is_some())
    }

    /// Whether the move that is under way is this decision's.
    pub(super) fn moves_by(&self, decision: u64) -> Result<bool, PlaneError> {
        Ok(self.moving()?.is_some_and(|m| m.decision == decision))
    }

    /// Goes on with a move to another system, once the machine was started: what the agent does as soon as it can ask its
    /// hub. `None` where there is none.
    pub fn resume(&self) -> Result<Option<Outcome>, PlaneError> {
        let _lock = self.lock()?;
        let recovered = self.recovery()?;
        self.settle_after(recovered.as_ref())
    }

    /// A trial that began in the other system: its files are that system's, and this one has its own. What lies where
    /// something is mounted is on the data that both share.
    pub(super) fn in_this_system(&self, trial: Trial) -> Trial {
        let here = self.running_image();
        if trial.image.is_none() || here.is_none() || trial.image == here {
            return trial;
        }
        let mounts = self.disk.mounts();
        let shared = |path: &str| {
            let below = |mount: &String| {
                path.strip_prefix(mount.as_str())
                    .is_some_and(|rest| rest.starts_with('/'))
            };
            mounts.iter().any(below)
        };
        let undo = trial.undo.into_iter();
        Trial {
            undo: undo
                .filter(|undo| matches!(undo, Undo::Path { path, .. } if shared(path)))
                .collect(),
            services: Vec::new(),
            ..trial
        }
    }

    /// Begins: decision, floors, move, the other slot, the start of the machine. It comes back with an outcome where none of
    /// that goes well, else with [`PlaneError::Restarting`].
    pub(super) fn move_to(
        &self,
        state: &Verified<DesiredState>,
        plan: &Plan,
        mut decision: Decision,
    ) -> Result<Outcome, PlaneError> {
        let (Some((change, needed, to)), Some(from)) = (plan.image(), &plan.running) else {
            return Err(unfinished("the plan names no system to move to".into()));
        };
        let source = decision.source;
        decision.kind = "state.move".into();
        decision.id.push_str("-move");
        let mut ledger = self.open_ledger()?;
        self.data
            .write_private(&self.state_path(&state.content()), &state.to_bytes())?;
        let value = serde_json::to_value(decision).expect("a decision is plain data");
        let decision = ledger.append(vec![self.entry(
            source,
            Some(state.version()),
            None,
            "decision",
            value,
        )?])?;
        store::change_floors(&self.data, &mut |floors| floors.begin(state))?;
        let mut begun = Move {
            format: FORMAT,
            decision,
            source,
            channel: state.channel(),
            counter: state.counter().clone(),
            tried: InForce {
                version: state.version(),
                content: state.content(),
                signers: state.signers().to_vec(),
                dev: state.signed_by_dev_key(),
            },
            from: from.clone(),
            to: to.clone(),
            change: change.clone(),
            stage: Stage::Installing,
            boot: None,
            since: 0,
            tries: 0,
            reasons: Vec::new(),
            cause: None,
        };
        begun.change.diff.clear();
        self.reached(&mut begun, Stage::Installing)?;
        let slots = self.two_slots()?;
        let confirm = state.value().spec.confirm.as_ref();
        let hub = confirm.and_then(|c| c.hub_within).unwrap_or_default();
        let within = DECIDES + Duration::from_secs(hub.into());
        if let Err(failed) = self.install(slots, needed, to, within) {
            return self.go_back(begun, failed);
        }
        self.reached(&mut begun, Stage::Restarting)?;
        self.drop_content();
        log::warn!("{}: the machine starts anew, to run {}", self.setup.name, to.version);
        match slots.reboot() {
            Ok(()) => Err(self.restarting(to)),
            Err(why) => self.go_back(begun, Failed::device(why)),
        }
    }

    fn install(&self, slots: &dyn Slots, needed: &Needed, to: &Image, within: Duration) -> Result<(), Failed> {
        let missing = || Failed::device("the bundle is no longer at hand".into());
        let bundle = self.content().path(needed).ok_or_else(missing)?;
        let is = slots.inspect(&bundle).map_err(Failed::state)?;
        if is != *to {
            return Err(Failed::state(format!(
                "the bundle is {} {}, the state names {} {}",
                is.compatible, is.version, to.compatible, to.version
            )));
        }
        let ran = slots.install(&bundle, within).map_err(Failed::device)?;
        if ran.ok() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&ran.output);
        let said = said.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("nothing").trim();
        // Killed by somebody it says nothing of the bundle.
        let why = format!("the bundle was not installed: {}; RAUC said: {said}", ran.ending());
        Err(if ran.code.is_some() {
            Failed::state(why)
        } else {
            Failed::device(why)
        })
    }

    /// Notes how far it is, in which start of the machine.
    pub(super) fn reached(&self, under_way: &mut Move, stage: Stage) -> Result<(), PlaneError> {
        under_way.stage = stage;
        under_way.boot = self.world.clock.boot();
        under_way.since = self.now()?.unix();
        under_way.tries = 0;
        self.write_move(under_way)
    }

    pub(super) fn write_move(&self, under_way: &Move) -> Result<(), PlaneError> {
        let bytes = own::write(under_way).expect("plain data");
        Ok(self.data.write_private(&self.at("move.json"), &bytes)?)
    }

    pub(super) fn two_slots(&self) -> Result<&dyn Slots, PlaneError> {
        self.slots()
            .ok_or_else(|| unfinished("a move to another system, and this one knows of no two".into()))
    }

    pub(super) fn restarting(&self, image: &Image) -> PlaneError {
        PlaneError::Restarting {
            name: self.setup.name.clone(),
            image: image.version.clone(),
        }
    }
}

pub(super) fn unfinished(why: String) -> PlaneError {
    PlaneError::Unfinished { left: vec![why] }
}
