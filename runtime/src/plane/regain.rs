//! Floors that were lost: noticed, what this device knows itself taken up again, and the rest said anew.
//!
//! ```text
//! unreadable, or gone although the ledger knows a state in force
//!    │ mark (durable) ─► what the ledger says is in force ─► floors: the device keeps its state, drift is put right
//!    ▼
//! waits: no state of the hub's or of this machine's is tried
//!    │ the hub's signed floor, or an operator's word
//!    ▼
//! floors: the higher of that and what is known ─► ledger: `floor` ─► the mark goes
//! ```

use jos_schemas::documents::hub::DeviceFloor;
use jos_schemas::documents::policy::Source;
use jos_schemas::text::Name;
use jos_trust::floors::{Counter, InForce};
use jos_trust::root::Received;
use jos_trust::{Channel, Floors, Stream, Verified};
use serde_json::json;

use super::{Plane, PlaneError};
use crate::book::Kept;
use crate::ledger::Blobs;
use crate::replay::Machine;
use crate::store::{self, StoreError};

/// By whose word a floor comes back.
#[derive(Clone, Copy, Debug)]
pub enum Word<'a> {
    /// The hub's: signed, for this device and the question that it asked.
    Hub(&'a Verified<DeviceFloor>),
    /// Somebody's at this machine: states below `version` do not count.
    Operator {
        /// The tenant pinned at enrolment, or the trust root's.
        tenant: Option<&'a Name>,
        /// The version.
        version: u64,
    },
}

/// What a word about a floor came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regained {
    /// Where the floor stood.
    pub before: u64,
    /// Where it stands.
    pub floor: u64,
    /// How the floors had been lost, where they were.
    pub lost: Option<String>,
}

impl Plane<'_> {
    /// Looks whether the floors of this device were lost since the last look. Where they were, a mark is left, and what the
    /// ledger says is in force is in force again. Gives how they were lost, as long as nobody has said them anew.
    /// `tenant` is asked only then.
    pub fn notice_lost_floors(&self, tenant: &dyn Fn() -> Option<Name>) -> Result<Option<String>, PlaneError> {
        if let Some(why) = store::lost::set_aside(&self.data)? {
            log::error!("the floors of this device are set aside: {why}");
        }
        self.remember(tenant)?;
        self.lost_floors()
    }

    /// How the floors of this agent were lost, where nobody has said them anew.
    pub fn lost_floors(&self) -> Result<Option<String>, PlaneError> {
        Ok(store::lost::why(&self.data, &self.setup.name)?)
    }

    /// Refuses what cannot be told from what is old.
    pub(super) fn check_floors(&self, stream: Stream) -> Result<(), PlaneError> {
        // What the package brings counts for itself, and lies on this machine.
        match self.lost_floors()? {
            Some(why) if stream == Stream::State => Err(StoreError::Lost { why }.into()),
            _ => Ok(()),
        }
    }

    /// Takes a word about the floor of what this agent is given: it rises to that and never falls by it. On the record where
    /// it says anything new, or where the floors had been lost.
    pub fn regain_floor(&self, word: Word<'_>) -> Result<Regained, PlaneError> {
        let (counter, said, source) = match word {
            Word::Hub(said) => (Floors::vouched_counter(said), said.value().floor, Source::Hub),
            Word::Operator { tenant, version } => (self.counter(tenant, Stream::State), version, Source::Local),
        };
        if counter.name != self.setup.name {
            return Err(PlaneError::OtherName {
                found: counter.name,
                expected: self.setup.name.clone(),
            });
        }
        let _lock = self.lock()?;
        let lost = self.lost_floors()?;
        let at = |floors: &Floors| floors.floor(&counter).map_or(0, |floor| floor.version);
        let before = at(&self.floors()?);
        self.change_floors(&mut |floors| {
            // A trust root that was taken into use anew may have set less than what is kept.
            let kept = floors.in_force(&counter).map_or(0, |kept| kept.version);
            floors.raise(&counter, said.max(kept));
        })?;
        let floor = at(&self.floors()?);
        if lost.is_some() || floor > before {
            let mut payload = json!({ "floor": floor, "before": before, "said": said });
            if let Word::Hub(said) = word {
                payload["signers"] = json!(said.signers().iter().map(ToString::to_string).collect::<Vec<_>>());
                payload["time"] = json!(said.value().time);
            }
            if let Some(why) = &lost {
                payload["lost"] = json!(why);
            }
            let mut ledger = self.open_ledger()?;
            let version = Some(floor).filter(|version| *version > 0);
            ledger.append(vec![self.entry(source, version, None, "floor", payload)?])?;
        }
        // Last: a crash before this asks once more.
        store::lost::found(&self.data, &self.setup.name)?;
        Ok(Regained { before, floor, lost })
    }

    fn counter(&self, tenant: Option<&Name>, stream: Stream) -> Counter {
        Counter {
            tenant: tenant.cloned(),
            name: self.setup.name.clone(),
            stream,
        }
    }

    /// The ledger knows states in force, and the floors do not: they were lost. What the ledger knows is taken up again.
    fn remember(&self, tenant: &dyn Fn() -> Option<Name>) -> Result<(), PlaneError> {
        let ledger = match self.look_at_ledger() {
            // A damaged one says nothing that counts.
            Err(PlaneError::Ledger(e)) if e.is_damage() => return Ok(()),
            opened => opened?,
        };
        let (floors, book) = (self.floors()?, self.book(&ledger)?);
        let known = |stream: Stream| {
            let ours = |c: &Counter| c.name == self.setup.name && c.stream == stream;
            floors.counters().any(|(c, floor)| ours(c) && floor.in_force.is_some())
        };
        let missing: Vec<(Stream, &Kept)> = book
            .streams
            .iter()
            .filter(|(stream, _)| !known(**stream))
            .map(|(stream, kept)| (*stream, kept))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let (gone, tenant) = (store::lost::are_gone(&self.data)?, tenant());
        let machine = self.replayed();
        let mut found = Vec::new();
        for (stream, kept) in missing {
            let counter = self.counter(tenant.as_ref(), stream);
            let told = machine
                .in_force()
                .get(&stream)
                .filter(|told| told.content == kept.content);
            let in_force = InForce {
                version: kept.version,
                content: kept.content,
                signers: told.map_or_else(Vec::new, |told| signers(&told.signers)),
                dev: false,
            };
            let there = self.is_there(&floors, &counter, &in_force);
            // It is not there any more, and that is known from the first look.
            if there || gone {
                let tried = machine.tried(stream).max(kept.version);
                found.push((counter, Some(in_force).filter(|_| there), tried));
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        let versions: Vec<String> = found.iter().map(|(_, _, tried)| tried.to_string()).collect();
        let why = format!(
            "they are gone, although the ledger knows of version {}",
            versions.join(" and ")
        );
        log::error!("{}: the floors of this device were lost: {why}", self.setup.name);
        // An earlier mark says more: they were set aside.
        let why = self.lost_floors()?.unwrap_or(why);
        store::lost::lose(&self.data, &self.setup.name, &why)?;
        self.change_floors(&mut |floors| {
            for (counter, in_force, tried) in &found {
                if let Some(in_force) = in_force {
                    floors.remember(counter, in_force.clone());
                }
                floors.raise(counter, *tried);
            }
        })
    }

    /// Whether the document of a state in force lies there as it was adopted.
    fn is_there(&self, floors: &Floors, counter: &Counter, in_force: &InForce) -> bool {
        let mut floors = floors.clone();
        floors.remember(counter, in_force.clone());
        let path = self.state_path(&in_force.content);
        let channel = if counter.stream == Stream::Baseline {
            Channel::Baseline
        } else {
            Channel::Local
        };
        self.data.read(&path, 2 * 1024 * 1024).is_ok_and(|(bytes, _)| {
            jos_trust::state::reopen(Received::json(&path, &bytes), counter, channel, &floors).is_ok()
        })
    }

    /// What the ledger comes to, as far as it can be followed.
    fn replayed(&self) -> Machine {
        let blobs = Blobs::at(&self.data, &self.at("blobs"));
        let (mut machine, mut wrong) = (Machine::default(), None);
        let read = crate::ledger::read_lines(&self.data, &self.at("ledger"), &mut |line| {
            if wrong.is_none() {
                wrong = machine
                    .take_line(line, &mut |digest| blobs.get(digest).ok().flatten())
                    .err();
            }
        });
        if let Some(wrong) = wrong.map(|w| w.to_string()).or(read.err().map(|e| e.to_string())) {
            log::warn!("{}: replay of the ledger ends early: {wrong}", self.setup.name);
        }
        machine
    }
}

fn signers(ids: &[String]) -> Vec<jos_trust::KeyId> {
    ids.iter()
        .filter_map(|id| jos_trust::KeyId::new(id.as_str()).ok())
        .collect()
}
