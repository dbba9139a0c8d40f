//! The state machine over records: what is in force, what is managed, who did it.
//!
//! Owns the transitions. A record either follows from those before it, and then the machine moves, or it is the first
//! [`Divergence`], and the machine has not moved.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::documents::ledger::{OutcomeKind, Record};
use jos_schemas::documents::policy::Source;
use jos_schemas::text::Name;
use jos_trust::{Digest, Stream};
use serde::Deserialize;

use super::Divergence;
use super::shelf::{Blobs, Shelf, State};
use super::tally::{Counts, Event, Failure, Watch};
use crate::gate::Recorded;
use crate::ledger::Line;
use crate::plan::{Action, Shape};

/// A path that the ledger put there, or took over.
#[derive(Clone, Debug, PartialEq)]
pub struct Managed {
    /// What stands there; nothing where a state wants it gone.
    pub shape: Option<Shape>,
    /// Where its content comes from.
    pub holds: Holding,
    /// Index of the decision that last changed it.
    pub decision: u64,
    /// Who proposed that.
    pub source: Source,
    /// The version of the state.
    pub version: Option<u64>,
    /// Who signed it.
    pub signers: Rc<Vec<String>>,
    /// When.
    pub time: Rc<str>,
    /// Whether a state in force lists it; else a flow wrote it, or it is shared with others.
    pub held: bool,
    /// Whether this is what the record says and replay could not compute.
    pub recorded: bool,
}

/// Where the content of a managed file is.
#[derive(Clone, Debug, PartialEq)]
pub enum Holding {
    /// It has none.
    Nothing,
    /// In the state, at this step.
    Step(Rc<State>, usize),
    /// Computed, or written by a flow.
    Bytes(Rc<[u8]>),
    /// In a blob.
    Blob(Digest),
    /// The value of a secret, which only the device knows.
    Secret(Name),
    /// Known by hash only.
    Hash,
}

/// A state in force.
#[derive(Clone, Debug, PartialEq)]
pub struct InForce {
    /// Its document; not yet read where a checkpoint names it.
    pub(super) state: Option<Rc<State>>,
    /// The blob that a checkpoint names.
    pub(super) blob: Option<Digest>,
    /// SHA-256 of its canonical bytes without signatures.
    pub content: Digest,
    /// Its version.
    pub version: u64,
    /// How it came.
    pub source: Source,
    /// Who signed it.
    pub signers: Vec<String>,
    /// Index of the decision that brought it.
    pub decision: Option<u64>,
    /// When.
    pub since: String,
    /// Services, commands and health wait for the first boot.
    pub pending: bool,
}

/// The highest version tried in a stream, and its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tried {
    pub(super) version: u64,
    pub(super) content: Option<Digest>,
}

/// Why something was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Apply,
    Converge,
    FirstBoot,
    /// Steps of no state: of an artifact's flow, or an agent's.
    Flow,
    /// A state that is to come into force in another system.
    Move,
    /// Nothing was decided: drift is reported only.
    Report,
}

/// A decision whose outcome is awaited, or may come again.
#[derive(Clone)]
pub(super) struct Open {
    pub(super) index: u64,
    pub(super) why: Why,
    pub(super) source: Source,
    pub(super) version: Option<u64>,
    pub(super) recorded: Rc<Recorded>,
    /// What it brings: the state of `state.apply`, the steps of `flow.step` and `agent.change`.
    pub(super) state: Option<(Stream, Rc<State>)>,
    pub(super) step: Option<Rc<DesiredState>>,
    /// The state of `state.apply`, where it was kept by hash alone.
    pub(super) unread: Option<(Stream, InForce)>,
    /// Whether that state comes into force with it.
    pub(super) adopts: bool,
    /// Whether it does what waited for the first boot.
    pub(super) completes: bool,
    pub(super) ids: BTreeMap<String, String>,
    pub(super) found: BTreeMap<String, Option<Shape>>,
    pub(super) inputs: BTreeMap<String, Input>,
    pub(super) set: Option<DriftSet>,
    /// The agent of the runtime that proposed it.
    pub(super) agent: Option<Name>,
    /// The outcome so far.
    pub(super) outcome: Option<OutcomeKind>,
}

/// What had drifted, by the decision that puts it right.
#[derive(Clone)]
pub(super) struct DriftSet {
    pub(super) hash: Digest,
    /// How many changes; a very long list is cut.
    pub(super) count: u64,
    pub(super) changes: Vec<(Action, String)>,
}

/// What a shared file held before an edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Its text.
    Text(Rc<[u8]>),
    /// Not everybody may read it.
    Mac,
    /// Known by hash: it was too large to keep.
    Hash,
    /// It was not there.
    Missing,
}

impl Open {
    pub(super) fn live(&self) -> bool {
        self.recorded.facts.live
    }
}

/// A decision of which only the damage of its ledger tells.
#[derive(Clone, Debug)]
pub(super) struct Elsewhere {
    /// The record that tells.
    pub(super) index: u64,
    pub(super) source: Source,
    pub(super) version: Option<u64>,
    pub(super) outcome: Option<OutcomeKind>,
}

/// The machine. Deterministic: the same records and blobs give an equal machine.
#[derive(Clone, Default)]
pub struct Machine {
    pub(super) name: Option<Name>,
    pub(super) next: Option<u64>,
    pub(super) streams: BTreeMap<Stream, InForce>,
    pub(super) tried: BTreeMap<Stream, Tried>,
    pub(super) trust: Option<(u64, Option<Digest>)>,
    pub(super) gate: Option<Digest>,
    pub(super) paths: BTreeMap<String, Managed>,
    pub(super) uncertain: BTreeSet<String>,
    pub(super) flows: VecDeque<String>,
    pub(super) first: Option<u64>,
    /// Whether the last decision was about the running machine.
    pub(super) live: Option<bool>,
    pub(super) open: Option<Rc<Open>>,
    /// The last drift that was put right: the same again within a day is put right under the same decision.
    pub(super) drift: Option<Rc<Open>>,
    /// The last move to another system: its outcome comes after those of that system.
    pub(super) moved: Option<Rc<Open>>,
    /// A change that a ledger before this one had decided on, and whose outcome follows here.
    pub(super) elsewhere: Option<Elsewhere>,
    pub(super) counts: BTreeMap<Source, Counts>,
    pub(super) failures: Vec<Failure>,
    pub(super) watch: Watch,
    pub(super) history: BTreeMap<String, Vec<Event>>,
    pub(super) shelf: Shelf,
}

impl PartialEq for Machine {
    fn eq(&self, other: &Self) -> bool {
        let open = |m: &Self| m.open.as_ref().map(|o| o.index);
        let moved = |m: &Self| m.moved.as_ref().map(|o| o.index);
        self.name == other.name
            && self.next == other.next
            && self.streams == other.streams
            && self.tried == other.tried
            && self.trust == other.trust
            && self.gate == other.gate
            && self.paths == other.paths
            && self.uncertain == other.uncertain
            && self.flows == other.flows
            && self.counts == other.counts
            && self.failures == other.failures
            && self.history == other.history
            && open(self) == open(other)
            && moved(self) == moved(other)
    }
}

impl Machine {
    /// A machine that also keeps the history of paths.
    pub fn watching(watch: Watch) -> Self {
        Self {
            watch,
            ..Self::default()
        }
    }

    /// What is managed, by path.
    pub fn paths(&self) -> &BTreeMap<String, Managed> {
        &self.paths
    }

    /// What is in force, by stream.
    pub fn in_force(&self) -> &BTreeMap<Stream, InForce> {
        &self.streams
    }

    /// The highest version that was tried in a stream.
    pub(crate) fn tried(&self, stream: Stream) -> u64 {
        self.tried.get(&stream).map_or(0, |tried| tried.version)
    }

    /// Decisions and outcomes by source.
    pub fn counts(&self) -> &BTreeMap<Source, Counts> {
        &self.counts
    }

    /// What failed, and who caused it.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// What happened to the paths that are watched.
    pub fn history(&self) -> &BTreeMap<String, Vec<Event>> {
        &self.history
    }

    /// Index of the first record that it began with.
    pub fn first(&self) -> Option<u64> {
        self.first
    }

    /// Whether it was the running machine that was decided on, as far as the records say.
    pub fn is_live(&self) -> bool {
        self.live.unwrap_or(true)
    }

    /// How many records the ledger has, as far as the machine has seen.
    pub fn count(&self) -> u64 {
        self.next.unwrap_or_default()
    }

    /// Whether there is a state in force of which the ledger has only the hash, or not even that.
    pub(super) fn is_blind(&self) -> bool {
        self.streams.values().any(|kept| kept.state.is_none())
    }

    /// Takes the next record, or says how it does not follow.
    pub fn take(&mut self, record: &Record, blobs: &mut Blobs<'_>) -> Result<(), Divergence> {
        let payload = serde_json::to_vec(&record.payload)
            .map_err(|e| Divergence::new(record.index, "a payload that can be written", e))?;
        let line = Line {
            index: record.index,
            hash: Digest::ZERO,
            time: record.time.as_str(),
            source: record.source,
            name: record.name.as_str(),
            version: record.version,
            cause: record.cause.as_deref(),
            kind: &record.kind,
            prev: record.prev.as_str(),
            payload: &payload,
            json: &[],
        };
        self.take_line(&line, blobs)
    }

    /// The same as it was read from the ledger.
    pub fn take_line(&mut self, line: &Line<'_>, blobs: &mut Blobs<'_>) -> Result<(), Divergence> {
        let index = line.index;
        self.place(line)?;
        self.load_states(index, blobs)?;
        match line.kind {
            "decision" => self.decision(line, blobs)?,
            "outcome" => self.outcome(line, blobs)?,
            "refused" => self.refused(line)?,
            "broken" => self.broken(line)?,
            "floor" => self.floor(line)?,
            "checkpoint" => self.checkpoint(line, blobs)?,
            other => {
                let known = "decision, outcome, refused, broken, floor or checkpoint";
                return Err(Divergence::new(index, known, format!("a record of kind {other:?}")));
            }
        }
        self.first.get_or_insert(index);
        if self.name.is_none() {
            self.name = line.name.parse().ok();
        }
        self.next = Some(index + 1);
        Ok(())
    }

    /// Whether the record stands where it says, in the ledger of this agent.
    fn place(&self, line: &Line<'_>) -> Result<(), Divergence> {
        let index = line.index;
        let bad = |expected: String, found: String| Err(Divergence::new(index, expected, found));
        if let Some(next) = self.next.filter(|next| *next != index) {
            return bad(format!("index {next}"), format!("index {index}"));
        }
        if self.next.is_none() && index > 0 && line.kind != "checkpoint" {
            return bad(
                "a checkpoint, for what came before is not here".into(),
                format!("a {}", line.kind),
            );
        }
        match &self.name {
            Some(name) if name.as_str() != line.name => {
                bad(format!("the agent {name}"), format!("the agent {}", line.name))
            }
            None if Name::new(line.name).is_err() => bad(Name::EXPECTED.into(), format!("{:?}", line.name)),
            _ => Ok(()),
        }
    }
}

/// Reads a part of a record.
pub(super) fn read<'a, T: Deserialize<'a>>(index: u64, text: &'a [u8], what: &str) -> Result<T, Divergence> {
    serde_json::from_slice(text)
        .map_err(|e| Divergence::new(index, format!("{what} of a shape that this program knows"), e))
}
