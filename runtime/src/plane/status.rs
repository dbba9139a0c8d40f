//! What there is to say of an agent, without changing or locking anything.

use std::collections::BTreeSet;

use jos_schemas::documents::desired_state::Step;
use jos_schemas::documents::policy::Source;
use jos_schemas::text::{Name, Utc};
use jos_trust::{Digest, Stream};
use serde::Serialize;

use super::{Moving, Plane, PlaneError};
use crate::book::Last;
use crate::disk::Disk;
use crate::journal::Phase;
use crate::ledger::LedgerHead;
use crate::world::Image;

/// One state in force.
#[derive(Clone, Debug, Serialize)]
pub struct InForce {
    /// `baseline`, or `state` for what the hub or this machine gave.
    pub stream: Stream,
    /// Its version.
    pub version: u64,
    /// SHA-256 of its canonical bytes without signatures.
    pub content: Digest,
    /// The ids of the keys that had signed it.
    pub signers: Vec<String>,
    /// Signed by a throwaway key.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dev_key: bool,
    /// How it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// When it came into force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Utc>,
    /// Services, commands and health wait for the first boot.
    pub pending_first_boot: bool,
    /// The highest version tried.
    pub floor: u64,
    /// Versions that failed.
    pub failed: Vec<u64>,
}

/// What the states in force ask to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Seconds between two reports of the machine's figures.
    pub interval: Option<u32>,
    /// The services that they name.
    pub services: BTreeSet<String>,
}

/// An agent as it stands.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Its name.
    pub name: Name,
    /// What is in force; the later overlays the earlier.
    pub in_force: Vec<InForce>,
    /// The last outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Last>,
    /// Number of records and hash of the last; without a hub it is anchored nowhere else.
    pub ledger: LedgerHead,
    /// Ledgers that were damaged and set aside, by folder.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set_aside: Vec<String>,
    /// How the floors of this agent were lost, where nobody whose word counts has said them anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floors_lost: Option<String>,
    /// A trial is under way, or one was interrupted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<Phase>,
    /// The system that runs, on a device with two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// Another system is being moved to, or back from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moving: Option<Moving>,
    /// How often the last drift came back after it was put right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift_repeats: Option<u64>,
}

impl Plane<'_> {
    /// See [`Status`].
    pub fn status(&self) -> Result<Status, PlaneError> {
        let ledger = self.look_at_ledger()?;
        let (floors, book) = (self.floors()?, self.book(&ledger)?);
        let journal = self.journal()?;
        let trial = if journal.trial()?.is_some() {
            Some(journal.phase()?.phase)
        } else {
            None
        };
        let mut in_force = Vec::new();
        for (counter, floor) in floors.counters().filter(|(c, _)| c.name == self.setup.name) {
            let Some(kept) = &floor.in_force else { continue };
            let noted = book.streams.get(&counter.stream).filter(|k| k.content == kept.content);
            in_force.push(InForce {
                stream: counter.stream,
                version: kept.version,
                content: kept.content,
                signers: kept.signers.iter().map(ToString::to_string).collect(),
                dev_key: kept.dev,
                source: noted.map(|k| k.source),
                since: noted.map(|k| k.since.clone()),
                pending_first_boot: noted.is_some_and(|k| k.pending),
                floor: floor.version,
                failed: floor.failed.iter().map(|e| e.version).collect(),
            });
        }
        in_force.sort_by_key(|s| s.stream);
        let drift_repeats = book.drift.as_ref().map(|d| d.repeats);
        Ok(Status {
            name: self.setup.name.clone(),
            in_force,
            last: book.last,
            ledger: ledger.head(),
            set_aside: crate::ledger::asides(&self.data, self.setup.name.as_str())?,
            floors_lost: self.lost_floors()?,
            trial,
            image: self.running_image(),
            moving: self.moving()?.map(|m| m.shown()),
            drift_repeats,
        })
    }

    /// What this agent can do, for `meta.requires`.
    pub fn features(&self) -> Vec<Name> {
        let gate = self.gate();
        gate.features().filter_map(|f| Name::new(f).ok()).collect()
    }

    /// How often the state in force wants telemetry, and how many of its services run: what the hub is told besides.
    pub fn wishes(&self) -> Result<Wishes, PlaneError> {
        let ledger = self.look_at_ledger()?;
        let (floors, book) = (self.floors()?, self.book(&ledger)?);
        let mut wishes = Wishes::default();
        for held in self.held(&floors, &book)? {
            let spec = &held.state.value().spec;
            wishes.interval = spec.telemetry.as_ref().map(|t| t.interval).or(wishes.interval);
            for step in &spec.apply {
                if let Step::Service(service) = step {
                    wishes.services.insert(service.name.to_string());
                }
            }
        }
        Ok(wishes)
    }

    /// Damage to the ledger, found by reading all of it.
    pub fn verify_ledger(&self) -> Result<LedgerHead, PlaneError> {
        Ok(crate::ledger::read_all(&self.data, &self.at("ledger"), &mut |_, _| {})?)
    }

    /// The data directory, for what the agent itself keeps beside the plane's files.
    pub fn data(&self) -> &Disk {
        &self.data
    }
}
