//! What becomes of the ledger: how it is opened when it is damaged, and what is kept of it once a turn is over.
//!
//! ```text
//! open   ─► damaged? floors readable? ─► set aside ─► new ledger: broken (what, how far good, floors, states in force)
//! turn over ─► half of the limit used, or a quarter of the age ─► replay since the last checkpoint ─► checkpoint, signed
//!           ─► too much, or too old ─► oldest interval goes, never the last two ─► blobs that nothing names go
//! ```
//!
//! All of it runs under `apply.lock`, as does whoever writes a blob and then the record that names it: so no blob goes
//! between the two.

use jos_schemas::documents::checkpoint::{Checkpoint, CheckpointKind, FloorAt, HeldState, StreamName, Streams};
use jos_schemas::documents::hub::LedgerHead;
use jos_schemas::documents::policy::Source;
use jos_schemas::own;
use jos_schemas::text::AbsPath;
use jos_trust::{Floors, Stream};
use serde_json::{Value, json};

use super::{Plane, PlaneError};
use crate::book::{Book, Kept};
use crate::identity;
use crate::journal::Trial;
use crate::ledger::{Blobs, CHECKPOINT, Ledger, retain};
use crate::replay::Machine;
use crate::store;

/// Of the policy's bytes: half for the history that replay may begin in, an eighth between two checkpoints, an eighth
/// kept free for records, a quarter for what was damaged.
const DUE: u64 = 2;
const APART: u64 = 8;
const RESERVE: u64 = 8;
const DAMAGED: u64 = 4;
/// Of the policy's days between two checkpoints.
const AGES: i64 = 4;

impl Plane<'_> {
    /// The ledger of this agent, to be written under `apply.lock`. One that is damaged is set aside, and a new one
    /// begins: the device goes on from its floors and its states in force, which are elsewhere.
    pub(super) fn open_ledger(&self) -> Result<Ledger<'_>, PlaneError> {
        let path = self.at("ledger");
        let mut ledger = match Ledger::open(&self.data, &path) {
            Err(e) if e.is_damage() => {
                // Without floors, what is new could not be told from what is old: then nothing is touched at all.
                self.floors()?;
                log::error!("{}: {e}; it is set aside, and a new ledger begins", self.setup.name);
                crate::ledger::set_aside(&self.data, self.setup.name.as_str())?;
                Ledger::open(&self.data, &path)?
            }
            opened => opened?,
        };
        if ledger.head().count == 0 {
            self.begin_again(&mut ledger)?;
        }
        Ok(ledger)
    }

    /// The ledger as it is, for whoever only looks and holds no lock: damage is an error here.
    pub(super) fn look_at_ledger(&self) -> Result<Ledger<'_>, PlaneError> {
        Ok(Ledger::open(&self.data, &self.at("ledger"))?)
    }

    /// An empty ledger where there was one before begins with what is known of that.
    fn begin_again(&self, ledger: &mut Ledger<'_>) -> Result<(), PlaneError> {
        let floors = self.floors()?;
        let name = self.setup.name.as_str();
        let aside = crate::ledger::newest_aside(&self.data, name)?;
        let in_force = floors
            .counters()
            .any(|(c, f)| c.name == self.setup.name && f.in_force.is_some());
        if aside.is_none() && !in_force {
            return Ok(());
        }
        let mut book = Book::load(&self.data, &self.at("state.json"), ledger)?;
        let mut payload = match &aside {
            Some(aside) => serde_json::to_value(aside).expect("plain data"),
            None => json!({ "what": "the ledger is missing, although a state is in force" }),
        };
        payload["floors"] = serde_json::to_value(self.floors_at(&floors)).expect("plain data");
        payload["streams"] = serde_json::to_value(self.streams_in_force(&floors, &book)).expect("plain data");
        if let Some(trial) = self.journal()?.trial()? {
            payload["trial"] = json!({
                "decision": trial.decision, "source": trial.source, "version": trial.version, "tag": trial.tag,
            });
        }
        ledger.append(vec![self.entry(Source::Local, None, None, "broken", payload)?])?;
        // What drifted was decided in the ledger that is gone.
        book.drift = None;
        book.save(&self.data, &self.at("state.json"))?;
        crate::ledger::trim_asides(&self.data, name, self.setup.policy.ledger.bytes / DAMAGED)?;
        Ok(())
    }

    /// The record that the outcome of a trial follows: its decision; or, where that was in a ledger that has been set aside
    /// since, the first record of this one, which tells of it.
    pub(super) fn cause_of(&self, ledger: &Ledger<'_>, trial: &Trial) -> Result<u64, PlaneError> {
        let Some(payload) = ledger.begins_broken()? else {
            return Ok(trial.decision);
        };
        let told = &payload["trial"];
        let elsewhere = match told.get("tag") {
            Some(tag) => tag == trial.tag.as_str(),
            None => told["decision"] == trial.decision,
        };
        Ok(if elsewhere { 0 } else { trial.decision })
    }

    /// The blobs of this agent, within the limits of its policy.
    pub(super) fn kept_blobs(&self) -> Result<Blobs<'_>, PlaneError> {
        let (limits, path) = (self.setup.policy.ledger, self.at("blobs"));
        let blobs = Blobs::open(&self.data, &path)?;
        let used = retain::size(&self.data, &self.at("ledger"), &path)?;
        let room = (limits.bytes - limits.bytes / RESERVE).saturating_sub(used);
        Ok(blobs.limited(limits.content, room))
    }

    /// Called once at the end of every turn that was recorded, when its outcome is durable. What fails here fails
    /// nothing: it is done at the end of the next turn.
    #[expect(clippy::unnecessary_wraps, reason = "whoever ends a turn has one way to fail")]
    pub(super) fn after_turn<'s>(&'s self, ledger: &mut Ledger<'s>) -> Result<(), PlaneError> {
        if let Err(e) = self.tidy(ledger) {
            log::error!("{}: the ledger could not be tidied: {e}", self.setup.name);
        }
        Ok(())
    }

    fn tidy<'s>(&'s self, ledger: &mut Ledger<'s>) -> Result<(), PlaneError> {
        let (limits, path, blobs) = (self.setup.policy.ledger, self.at("ledger"), self.at("blobs"));
        let mut book = self.book(ledger)?;
        // Under a decision before the checkpoint nothing more is done: whoever begins at the checkpoint cannot know it.
        let last = book.checkpoint.unwrap_or_default();
        let old = |drift: &crate::book::Drift| drift.decision.is_some_and(|index| index < last);
        if book.drift.as_ref().is_some_and(old) {
            book.drift = None;
            book.save(&self.data, &self.at("state.json"))?;
        }
        let now = self.now()?.unix();
        let age = i64::from(limits.days) * 86_400;
        let used = retain::size(&self.data, &path, &blobs)?;
        let aged = book
            .checkpointed_at
            .is_none_or(|at| now.saturating_sub(at) > age / AGES);
        if used <= limits.bytes / DUE && !aged {
            return Ok(());
        }
        let mut intervals = retain::intervals(&self.data, &path)?;
        let Some(newest) = intervals.last() else { return Ok(()) };
        let store = Blobs::at(&self.data, &blobs);
        let since = newest.bytes + retain::own_blobs(&self.data, &path, newest, &store)?;
        let full = used > limits.bytes / DUE && since >= limits.bytes / APART;
        let due = full || now.saturating_sub(newest.began) > age / AGES;
        let checkpointed = due && self.checkpoint(ledger, newest.segments.start)?;
        if checkpointed {
            intervals = retain::intervals(&self.data, &path)?;
        } else if book.checkpointed_at.is_none() {
            book.checkpointed_at = Some(newest.began);
            book.save(&self.data, &self.at("state.json"))?;
        }
        let mut droppable = retain::droppable(&intervals);
        let mut dropped = 0;
        loop {
            let used = retain::size(&self.data, &path, &blobs)?;
            let ended = intervals.get(1).map_or(now, |next| next.began);
            let wanted = used > limits.bytes / DUE || now.saturating_sub(ended) > age;
            if droppable == 0 || !wanted {
                break;
            }
            let oldest = intervals.remove(0);
            retain::drop_oldest(&self.data, &path, &oldest)?;
            (droppable, dropped) = (droppable - 1, dropped + 1);
            self.collect(&store)?;
        }
        // What a crash left between a removal and its collection.
        if dropped == 0 && used > limits.bytes / DUE {
            self.collect(&store)?;
        }
        if retain::size(&self.data, &path, &blobs)? > limits.bytes && full && !checkpointed {
            // No checkpoint can be taken of it, so nothing of it may go: the device must not fill up all the same.
            log::error!(
                "{}: the ledger is over its limit and cannot be pruned; it is set aside",
                self.setup.name
            );
            crate::ledger::set_aside(&self.data, self.setup.name.as_str())?;
            *ledger = self.open_ledger()?;
            self.collect(&store)?;
        }
        Ok(())
    }

    /// Removes the blobs that neither a record, the journal nor a state in force names.
    fn collect(&self, store: &Blobs<'_>) -> Result<(), PlaneError> {
        let beside = ["journal", "states", "state.json", "incoming"].map(|what| self.at(what));
        let kept = retain::named(&self.data, &self.at("ledger"), store, &beside)?;
        let gone = store.collect(&kept)?;
        if gone > 0 {
            log::info!("{}: {gone} blobs that nothing names are gone", self.setup.name);
        }
        Ok(())
    }

    /// Writes a checkpoint: what the records since the last one (in segment `from`) come to. Gives whether it did.
    fn checkpoint(&self, ledger: &mut Ledger<'_>, from: u32) -> Result<bool, PlaneError> {
        // A change that could not be taken back is not over.
        // Nor is a move to another system, whose outcome comes under a decision before this.
        if self.moving()?.is_some() {
            return Ok(false);
        }
        let unfinished = |r: &jos_schemas::documents::ledger::Record| r.payload["outcome"] == "broken";
        let Some(last) = ledger.last()?.filter(|r| r.kind != "decision" && !unfinished(r)) else {
            return Ok(false);
        };
        if last.kind == CHECKPOINT {
            return Ok(false);
        }
        let blobs = Blobs::open(&self.data, &self.at("blobs"))?;
        let (mut machine, mut wrong) = (Machine::default(), None);
        ledger.read_from(from, &mut |line| {
            if wrong.is_none() {
                wrong = machine
                    .take_line(line, &mut |digest| blobs.get(digest).ok().flatten())
                    .err();
            }
        })?;
        if let Some(wrong) = wrong {
            log::error!(
                "{}: no checkpoint: replay of the ledger diverges: {wrong}",
                self.setup.name
            );
            return Ok(false);
        }
        let parts = machine.to_checkpoint_parts();
        for bytes in parts.blobs.values() {
            blobs.put(bytes)?;
        }
        let (floors, time, head) = (self.floors()?, self.now()?, ledger.head());
        let owners = store::owners(&self.data)?
            .into_iter()
            .filter(|(_, name)| *name != self.setup.name);
        let checkpoint = Checkpoint {
            schema: None,
            kind: CheckpointKind::Constant,
            name: self.setup.name.clone(),
            head: LedgerHead {
                index: head.count - 1,
                hash: head.hash,
            },
            time: time.clone(),
            streams: parts.streams,
            floors: self.floors_at(&floors),
            trust: parts.trust,
            gate: parts.gate,
            paths: parts.paths,
            owners: owners
                .filter_map(|(path, name)| Some((AbsPath::new(path).ok()?, name)))
                .collect(),
            recent_flows: parts.recent_flows,
            open_jobs: Vec::new(),
            recent_jobs: Vec::new(),
            schedules: std::collections::BTreeMap::new(),
            signature: None,
        };
        let signed = match identity::ledger_key(&self.data, self.world.random) {
            Ok(key) => jos_trust::checkpoint::sign(&checkpoint, &key)
                .map_err(|e| crate::ledger::LedgerError::Unwritable(e.to_string()))?,
            Err(e) => {
                log::error!("{}: the checkpoint is not signed: {e}", self.setup.name);
                checkpoint
            }
        };
        let payload = serde_json::to_value(&signed).expect("a checkpoint is plain data");
        let index = ledger.append_first(self.entry(Source::Local, None, None, CHECKPOINT, payload)?)?;
        let mut book = self.book(ledger)?;
        (book.checkpoint, book.checkpointed_at, book.drift) = (Some(index), Some(time.unix()), None);
        book.save(&self.data, &self.at("state.json"))?;
        Ok(true)
    }

    /// The counters of this agent, for a checkpoint or a new beginning.
    fn floors_at(&self, floors: &Floors) -> Vec<FloorAt> {
        let ours = floors.counters().filter(|(counter, _)| counter.name == self.setup.name);
        ours.map(|(counter, floor)| FloorAt {
            tenant: counter.tenant.clone(),
            stream: stream_name(counter.stream),
            version: floor.version,
            in_force: floor.in_force.as_ref().map(|kept| kept.version),
            failed: floor.failed.iter().map(|edition| edition.version).collect(),
        })
        .collect()
    }

    /// The states in force as the floors know them, with what the book adds.
    fn streams_in_force(&self, floors: &Floors, book: &Book) -> Streams {
        let held = |stream: Stream| {
            let ours = |c: &jos_trust::floors::Counter| c.name == self.setup.name && c.stream == stream;
            let kept = floors
                .counters()
                .filter(|(c, _)| ours(c))
                .find_map(|(_, f)| f.in_force.as_ref())?;
            let noted: Option<&Kept> = book.streams.get(&stream).filter(|noted| noted.content == kept.content);
            Some(HeldState {
                version: kept.version,
                content: kept.content.to_hex(),
                source: noted.map_or(
                    if stream == Stream::Baseline {
                        Source::Baseline
                    } else {
                        Source::Local
                    },
                    |n| n.source,
                ),
                since: noted.map_or_else(|| jos_schemas::text::Utc::from_unix(0), |n| n.since.clone()),
                decision: None,
                signers: kept.signers.clone(),
                pending: noted.is_some_and(|n| n.pending),
                blob: None,
            })
        };
        Streams {
            baseline: held(Stream::Baseline),
            state: held(Stream::State),
        }
    }
}

fn stream_name(stream: Stream) -> StreamName {
    match stream {
        Stream::Baseline => StreamName::Baseline,
        Stream::State => StreamName::State,
    }
}

/// What a record of kind `checkpoint` or `broken` says of the states in force.
pub(crate) fn streams_of(payload: &Value) -> Streams {
    payload
        .get("streams")
        .and_then(|streams| own::read_value(streams).ok())
        .unwrap_or_default()
}
