//! Floors: what keeps a device from going back.
//!
//! Owns: the counters of desired states, the versions that failed, the version of the trust root, the time floor, and
//! the rules by which each moves. Pure: a change is made on a copy in memory, and [`Floors::to_bytes`] is what the
//! runtime makes durable (two alternating checksummed files) *before the first act*. Never touches a disk or a clock.
//!
//! The rules, with their names in the TUF specification: an older version is refused (rollback, §5.4.3), the same
//! number with other content is refused, the identical state is no change. Adopting a trust document sets the floors
//! that it names exactly, even downwards (fast-forward recovery, §5.3.11).

mod regained;

use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::documents::hub::Freshness;
use jos_schemas::documents::trust::Role;
use jos_schemas::own;
use jos_schemas::sorted::Map;
use jos_schemas::text::{Name, Utc};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::keys::KeyId;
use crate::refused::{Refused, TrustRefused};
use crate::root::TrustRoot;
use crate::verified::Verified;

/// The layout that [`Floors::to_bytes`] writes.
const FORMAT: u32 = 1;
/// How many failed versions a counter remembers; the oldest go first, which is safe because the floor is above them.
const FAILED_KEPT: usize = 16;

/// Which sequence of versions a state belongs to. The baseline (from the package) counts for itself, so that a package
/// upgrade and the hub never block each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// The baseline that the package brought.
    Baseline,
    /// What an admin issued, by the hub or as a local file.
    State,
}

/// The key of a counter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counter {
    /// The device's tenant (pinned at enrolment, or the trust root's), never the one a state claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Name>,
    /// The agent's name.
    pub name: Name,
    /// Which sequence.
    pub stream: Stream,
}

/// One version with its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edition {
    /// The number.
    pub version: u64,
    /// SHA-256 of the canonical bytes without signatures.
    pub content: Digest,
}

/// The state that the device keeps: confirmed, and in force for ever until another is confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InForce {
    /// The number.
    pub version: u64,
    /// SHA-256 of the canonical bytes without signatures.
    pub content: Digest,
    /// Who had signed it when it was adopted.
    pub signers: Vec<KeyId>,
    /// Whether one of them was a throwaway key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dev: bool,
}

/// One counter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// The highest version that was tried, or what a trust document set.
    pub version: u64,
    /// The content of that version; unknown where a trust document set the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Digest>,
    /// What the device keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force: Option<InForce>,
    /// Versions that were tried and taken back; not tried again until the signer issues another number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Edition>,
}

/// How an acceptable state stands to what the device had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A version this device has not tried.
    New,
    /// Tried before, but neither confirmed nor failed (unconfirmed, unsupported, power cut): may be tried again.
    Again,
    /// The very state in force: nothing to adopt, only drift to look for.
    InForce,
}

/// Everything the device must not forget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Floors {
    trust: Option<Edition>,
    time: Option<Utc>,
    counters: Map<Counter, Floor>,
}

/// What adopting a trust root changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// The root was already adopted; nothing changed.
    pub unchanged: bool,
    /// Each counter set by the root: its key, the version before, the version now.
    pub floors: Vec<(Counter, u64, u64)>,
    /// The time floor was dropped because the root changed the freshness keys.
    pub time_lowered: bool,
}

impl Floors {
    /// The one reading of now of a turn: the latest of the system clock, the program's build time and the time floor.
    /// A clock at 1970 thus still lets a device update; a clock far ahead moves nothing here.
    pub fn now(&self, system: &Utc, built: &Utc) -> Utc {
        let floor = self.time.as_ref().unwrap_or(built);
        system.max(built).max(floor).clone()
    }

    /// The hub told the time, for this device and this question: the time floor rises to it, and never falls by it.
    pub fn heard(&mut self, statement: &Verified<Freshness>) {
        let time = &statement.value().time;
        if self.time.as_ref().is_none_or(|known| known < time) {
            self.time = Some(time.clone());
        }
    }

    /// The adopted trust root, if any.
    pub fn trust(&self) -> Option<Edition> {
        self.trust
    }

    /// A counter, if it ever moved.
    pub fn floor(&self, counter: &Counter) -> Option<&Floor> {
        self.counters.get(counter)
    }

    /// What is in force under `counter`.
    pub fn in_force(&self, counter: &Counter) -> Option<&InForce> {
        self.counters.get(counter)?.in_force.as_ref()
    }

    /// All counters, sorted.
    pub fn counters(&self) -> impl Iterator<Item = (&Counter, &Floor)> {
        self.counters.iter()
    }

    /// Whether `offered` may be tried under `counter`, and how it stands to what was before.
    pub fn standing(&self, counter: &Counter, offered: Edition) -> Result<Standing, Refused> {
        let Some(floor) = self.counters.get(counter) else {
            return Ok(Standing::New);
        };
        let Edition { version, content } = offered;
        if let Some(kept) = &floor.in_force {
            // Going back to the state in force is exempt from the floor: a rollback leaves a higher number behind.
            if kept.version == version && kept.content == content {
                return Ok(Standing::InForce);
            }
            if kept.version == version {
                return Err(Refused::SameVersionOtherContent {
                    version,
                    known: kept.content,
                    offered: content,
                });
            }
        }
        if version < floor.version {
            return Err(Refused::Rollback {
                offered: version,
                floor: floor.version,
            });
        }
        if floor.failed.contains(&offered) {
            return Err(Refused::AlreadyFailed { version });
        }
        match floor.content {
            Some(known) if version == floor.version && known != content => Err(Refused::SameVersionOtherContent {
                version,
                known,
                offered: content,
            }),
            Some(_) if version == floor.version => Ok(Standing::Again),
            _ => Ok(Standing::New),
        }
    }

    /// A trial of `state` begins: its version becomes the floor. Make it durable before the first act.
    pub fn begin(&mut self, state: &Verified<DesiredState>) {
        let floor = self.counters.or_default(state.counter().clone());
        // Never lowered here: a verdict may be older than these floors.
        if state.standing() != Standing::InForce && state.version() >= floor.version {
            floor.version = state.version();
            floor.content = Some(state.content());
        }
    }

    /// `state` is confirmed: it is in force from now on.
    pub fn confirm(&mut self, state: &Verified<DesiredState>) {
        self.begin(state);
        let floor = self.counters.or_default(state.counter().clone());
        floor.in_force = Some(InForce {
            version: state.version(),
            content: state.content(),
            signers: state.signers().to_vec(),
            dev: state.signed_by_dev_key(),
        });
    }

    /// The same for a trial that is known by its numbers only: one that another process, or another version of this
    /// program, began. False where the floors know of no such trial; then nothing changes.
    pub fn confirm_edition(&mut self, counter: &Counter, kept: InForce) -> bool {
        let begun = |f: &&mut Floor| (f.version, f.content) == (kept.version, Some(kept.content));
        match self.counters.get_mut(counter).filter(begun) {
            Some(floor) => {
                floor.in_force = Some(kept);
                true
            }
            None => false,
        }
    }

    /// The trial of `state` failed and was taken back: this version is not tried again. A state in force stays so.
    pub fn fail(&mut self, state: &Verified<DesiredState>) {
        self.begin(state);
        let edition = Edition {
            version: state.version(),
            content: state.content(),
        };
        let floor = self.counters.or_default(state.counter().clone());
        if state.standing() != Standing::InForce && !floor.failed.contains(&edition) {
            floor.failed.push(edition);
            let excess = floor.failed.len().saturating_sub(FAILED_KEPT);
            floor.failed.drain(..excess);
        }
    }

    /// The same for a trial that is known by its numbers only: one that a crash interrupted, taken back afterwards.
    pub fn fail_edition(&mut self, counter: &Counter, edition: Edition) {
        let Some(floor) = self.counters.get_mut(counter) else {
            return;
        };
        let in_force = floor.in_force.as_ref();
        let kept = in_force.is_some_and(|f| (f.version, f.content) == (edition.version, edition.content));
        if !kept && !floor.failed.contains(&edition) {
            floor.failed.push(edition);
            let excess = floor.failed.len().saturating_sub(FAILED_KEPT);
            floor.failed.drain(..excess);
        }
    }

    /// An agent was purged by whoever rules this device: nothing of its name is remembered. What an earlier version
    /// of its state was refused for may then be taken again; that is what a purge says.
    pub fn forget(&mut self, name: &Name) {
        self.counters.retain(|counter, _| counter.name != *name);
    }

    /// The device was enrolled: counters kept without a tenant move under `tenant`, so that enrolment is no way back.
    /// Where both exist the higher one stays.
    pub fn pin_tenant(&mut self, tenant: &Name) {
        let loose: Vec<Counter> = self.counters.keys().filter(|c| c.tenant.is_none()).cloned().collect();
        for counter in loose {
            let Some(floor) = self.counters.remove(&counter) else {
                continue;
            };
            let pinned = Counter {
                tenant: Some(tenant.clone()),
                ..counter
            };
            match self.counters.get(&pinned) {
                Some(kept) if kept.version >= floor.version => {}
                _ => drop(self.counters.insert(pinned, floor)),
            }
        }
    }

    /// Adopts verified trust roots, in order: the last one's version becomes the trust floor, and the floors that each
    /// names are set **exactly**, even downwards. `chain` is what [`TrustRoot::walk`] gave, or the first root alone;
    /// `before` is the root in use until now, if any: when the freshness keys differ from its own, the time that they
    /// vouched for is dropped too (TUF §5.3.11). `tenant` is the one pinned at enrolment. Adopting the same root again
    /// changes nothing; an older one, or another one of the same version, is refused, and then nothing is changed.
    pub fn adopt_trust(
        &mut self,
        chain: &[TrustRoot],
        before: Option<&TrustRoot>,
        tenant: Option<&Name>,
    ) -> Result<Adopted, TrustRefused> {
        let mut floors = self.clone();
        let mut adopted = Adopted {
            unchanged: true,
            ..Adopted::default()
        };
        let mut before = before;
        for root in chain {
            floors.adopt_root(root, before, tenant, &mut adopted)?;
            before = Some(root);
        }
        *self = floors;
        Ok(adopted)
    }

    fn adopt_root(
        &mut self,
        root: &TrustRoot,
        before: Option<&TrustRoot>,
        tenant: Option<&Name>,
        adopted: &mut Adopted,
    ) -> Result<(), TrustRefused> {
        let edition = root.edition();
        if let Some(known) = self.trust {
            root.not_older_than(known)?;
            if edition == known {
                return Ok(());
            }
        }
        adopted.unchanged = false;
        for (name, version) in &root.value().floors {
            let tenant = tenant.or(root.tenant()).cloned();
            let counter = Counter {
                tenant,
                name: name.clone(),
                stream: Stream::State,
            };
            let floor = self.counters.or_default(counter.clone());
            adopted.floors.push((counter, floor.version, *version));
            // A number that came down was inflated: what failed under it says nothing about its successors.
            if *version < floor.version {
                floor.failed.clear();
            }
            if *version != floor.version {
                floor.content = floor
                    .in_force
                    .as_ref()
                    .filter(|f| f.version == *version)
                    .map(|f| f.content);
                floor.version = *version;
            }
        }
        if self.time.is_some() && before.is_some_and(|b| !b.same_role(root, Role::Freshness)) {
            self.time = None;
            adopted.time_lowered = true;
        }
        self.trust = Some(edition);
        Ok(())
    }

    /// The bytes to store: canonical JSON, at most a few kilobytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let stored = Stored {
            format: FORMAT,
            trust: self.trust,
            time: self.time.clone(),
            counters: self
                .counters
                .iter()
                .map(|(c, f)| Entry {
                    counter: c.clone(),
                    floor: f.clone(),
                })
                .collect(),
        };
        own::write(&stored).expect("floors are plain data: numbers, texts and lists")
    }

    /// Reads what [`Floors::to_bytes`] wrote. Damage is an error, never taken for absence.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FloorsDamaged> {
        let malformed = |reason| FloorsDamaged::Malformed { reason };
        // Before the rest: another format may have members that this one does not know.
        let Generation { format } = own::read(bytes).map_err(malformed)?;
        if format != FORMAT {
            return Err(FloorsDamaged::Format {
                found: format,
                expected: FORMAT,
            });
        }
        let stored: Stored = own::read(bytes).map_err(malformed)?;
        let mut counters = Map::new();
        for Entry { counter, floor } in stored.counters {
            if let Some(_twice) = counters.insert(counter.clone(), floor) {
                return Err(FloorsDamaged::Twice { name: counter.name });
            }
        }
        Ok(Self {
            trust: stored.trust,
            time: stored.time,
            counters,
        })
    }
}

/// Why stored floors cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FloorsDamaged {
    /// Not what [`Floors::to_bytes`] writes.
    #[error("the floors are damaged: {reason}")]
    Malformed {
        /// What the reader said.
        reason: String,
    },
    /// Written by another generation of jos.
    #[error("the floors have format {found}, this program knows {expected}")]
    Format {
        /// The number found.
        found: u32,
        /// The number known.
        expected: u32,
    },
    /// One counter stands there twice.
    #[error("the floors are damaged: the counter of {name} stands there twice")]
    Twice {
        /// The state name.
        name: Name,
    },
}

#[derive(Deserialize)]
struct Generation {
    format: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trust: Option<Edition>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<Utc>,
    counters: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    counter: Counter,
    floor: Floor,
}

#[cfg(test)]
mod tests;
