//! Checkpoints: the machine as a document, and the machine that begins with one.

use std::collections::BTreeMap;
use std::rc::Rc;

use jos_schemas::documents::checkpoint::{Checkpoint, FloorAt, HeldState, ManagedPath, PathKind, StreamName, Streams};
use jos_schemas::read::{self as documents, Format};
use jos_schemas::text::{AbsPath, KeyIdText, Mode, Owner, Sha256Hex, Utc};
use jos_trust::{Digest, Stream, sha256};

use super::Divergence;
use super::machine::{Holding, InForce, Machine, Managed, Tried};
use super::shelf::{self, Blobs, State};
use super::wants::{Holds, Want, overlaid};
use crate::ledger::Line;
use crate::plan::Shape;

/// What the machine gives for a checkpoint; time, head, floors and owners are the ledger's and the device's to add.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckpointParts {
    /// The states in force.
    pub streams: Streams,
    /// The blob of what the gate judged by last.
    pub gate: Option<Sha256Hex>,
    /// Version of the trust root that the last state was verified under.
    pub trust: Option<u64>,
    /// Every managed path.
    pub paths: BTreeMap<AbsPath, ManagedPath>,
    /// Ids of the latest steps of flows.
    pub recent_flows: Vec<String>,
    /// Contents that the checkpoint names by hash: each must be kept as a blob before it is written.
    pub blobs: BTreeMap<Digest, Vec<u8>>,
}

impl Machine {
    /// The machine that `checkpoint` stands for. The states that it names are read with the next record.
    pub fn from_checkpoint(checkpoint: &Checkpoint) -> Self {
        let mut machine = Self {
            name: Some(checkpoint.name.clone()),
            next: Some(checkpoint.head.index + 1),
            gate: checkpoint.gate.as_ref().map(Into::into),
            trust: checkpoint.trust.map(|version| (version, None)),
            flows: checkpoint.recent_flows.iter().cloned().collect(),
            ..Self::default()
        };
        machine.begin_with(&checkpoint.streams, &checkpoint.floors);
        for (path, managed) in &checkpoint.paths {
            machine.paths.insert(path.to_string(), from_document(managed));
        }
        machine
    }

    /// What was in force, and how high the counters stood, before the first record.
    pub(super) fn begin_with(&mut self, streams: &Streams, floors: &[FloorAt]) {
        let all = [(Stream::Baseline, &streams.baseline), (Stream::State, &streams.state)];
        for (stream, held) in all {
            if let Some(held) = held {
                self.streams.insert(stream, in_force(held));
                let content = Some((&held.content).into());
                let version = held.version;
                self.tried.insert(stream, Tried { version, content });
            }
        }
        for floor in floors {
            let stream = match floor.stream {
                StreamName::Baseline => Stream::Baseline,
                StreamName::State => Stream::State,
            };
            let tried = self.tried.entry(stream).or_default();
            if floor.version > tried.version {
                (tried.version, tried.content) = (floor.version, None);
            }
        }
    }

    /// Reads the states that a checkpoint named, and finds out which paths they list.
    pub(super) fn load_states(&mut self, index: u64, blobs: &mut Blobs<'_>) -> Result<(), Divergence> {
        let wanted = |kept: &InForce| kept.state.is_none() && kept.blob.is_some();
        if !self.streams.values().any(wanted) {
            return Ok(());
        }
        for kept in self.streams.values_mut() {
            let Some(blob) = kept.blob.filter(|_| kept.state.is_none()) else {
                continue;
            };
            let (document, content, bytes) = shelf::kept_state(index, &blob, blobs)?;
            if content != kept.content || document.meta.version != kept.version {
                let expected = format!("version {} with content {}", kept.version, kept.content);
                let found = format!("version {} with content {content}", document.meta.version);
                return Err(Divergence::new(index, expected, found).about(format!("blob {blob}")));
            }
            kept.state = Some(Rc::new(State {
                document,
                content,
                signers: kept.signers.clone(),
                bytes,
            }));
        }
        let states: Vec<_> = self.streams.values().filter_map(|k| k.state.clone()).collect();
        for (path, (at, want)) in overlaid(states.iter().map(|s| &s.document)) {
            let Some(managed) = self.paths.get_mut(path) else {
                continue;
            };
            managed.held = true;
            let Want::File { holds, .. } = want else { continue };
            match holds {
                Holds::Secret(name) => {
                    managed.holds = Holding::Secret(name.clone());
                    if let Some(shape) = &mut managed.shape {
                        shape.secret = Some(name.clone());
                    }
                }
                Holds::Text(_) if matches!(managed.holds, Holding::Hash) => {
                    managed.holds = Holding::Step(Rc::clone(&states[at.part]), at.step);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What a checkpoint of this machine says.
    pub fn to_checkpoint_parts(&self) -> CheckpointParts {
        let mut parts = CheckpointParts {
            gate: self.gate.map(|g| g.to_hex()),
            trust: self.trust.map(|(version, _)| version),
            recent_flows: self.flows.iter().cloned().collect(),
            ..CheckpointParts::default()
        };
        for (stream, kept) in &self.streams {
            let blob = match &kept.state {
                Some(state) => {
                    let digest = sha256(&state.bytes);
                    parts.blobs.insert(digest, state.bytes.clone());
                    Some(digest)
                }
                None => kept.blob,
            };
            let held = HeldState {
                version: kept.version,
                content: kept.content.to_hex(),
                source: kept.source,
                since: utc(&kept.since).unwrap_or_else(|| Utc::from_unix(0)),
                decision: kept.decision,
                signers: keys(&kept.signers),
                pending: kept.pending,
                blob: blob.map(|b| b.to_hex()),
            };
            match stream {
                Stream::Baseline => parts.streams.baseline = Some(held),
                Stream::State => parts.streams.state = Some(held),
            }
        }
        for (path, managed) in &self.paths {
            // Every path here came from a document that had read it so.
            let Ok(path) = AbsPath::new(path.as_str()) else {
                continue;
            };
            let document = self.to_document(managed, &mut parts.blobs);
            parts.paths.insert(path, document);
        }
        parts
    }

    fn to_document(&self, managed: &Managed, blobs: &mut BTreeMap<Digest, Vec<u8>>) -> ManagedPath {
        let in_force = |state: &State| self.streams.values().any(|k| k.content == state.content);
        let mut keep = |bytes: &[u8]| {
            let digest = sha256(bytes);
            blobs.insert(digest, bytes.to_vec());
            Some(digest)
        };
        let blob = match &managed.holds {
            Holding::Bytes(bytes) => keep(bytes),
            Holding::Blob(digest) => Some(*digest),
            Holding::Step(state, step) if !in_force(state) => {
                let text = super::wants::want(&state.document.spec.apply[*step]);
                match text {
                    Some((
                        _,
                        Want::File {
                            holds: Holds::Text(text),
                            ..
                        },
                    )) => keep(text.as_bytes()),
                    _ => None,
                }
            }
            _ => None,
        };
        let shape = managed.shape.as_ref();
        let hex = |text: Option<&String>| text.and_then(|t| Sha256Hex::new(t.as_str()).ok());
        ManagedPath {
            kind: match shape.map(|s| s.kind.as_str()) {
                None => PathKind::Absent,
                Some("directory") => PathKind::Directory,
                Some("link") => PathKind::Link,
                Some(_) => PathKind::File,
            },
            mode: shape.and_then(|s| Mode::new(s.mode.as_deref()?).ok()),
            owner: shape.and_then(|s| Owner::new(s.owner.as_str()).ok()),
            xattrs: BTreeMap::new(),
            sha256: hex(shape.and_then(|s| s.sha256.as_ref())),
            size: shape.and_then(|s| s.size),
            blob: blob.map(|b| b.to_hex()),
            mac: hex(shape.and_then(|s| s.mac.as_ref())),
            target: shape.and_then(|s| s.target.clone()),
            decision: managed.decision,
            source: managed.source,
            time: utc(&managed.time),
            signers: keys(&managed.signers),
            version: managed.version,
        }
    }

    /// A checkpoint begins a machine that has seen nothing, and must equal one that has.
    pub(super) fn checkpoint(&mut self, line: &Line<'_>, blobs: &mut Blobs<'_>) -> Result<(), Divergence> {
        let index = line.index;
        let parsed = documents::document::<Checkpoint>("checkpoint", line.payload, Format::Json);
        let checkpoint = parsed
            .map_err(|e| Divergence::new(index, "a checkpoint", e.to_string().trim_end()))?
            .value;
        let bad =
            |what: &str, expected: String, found: String| Err(Divergence::new(index, expected, found).about(what));
        if checkpoint.name.as_str() != line.name {
            return bad("name", line.name.into(), checkpoint.name.to_string());
        }
        if checkpoint.head.index + 1 != index || checkpoint.head.hash.as_str() != line.prev {
            let expected = format!("the record before, {}", line.prev);
            return bad(
                "head",
                expected,
                format!("#{} {}", checkpoint.head.index, checkpoint.head.hash),
            );
        }
        if self.next.is_none() {
            let watch = std::mem::take(&mut self.watch);
            *self = Self::from_checkpoint(&checkpoint);
            self.watch = watch;
            return self.load_states(index, blobs);
        }
        let own = self.to_checkpoint_parts();
        if own.streams != checkpoint.streams {
            let show = |s: &Streams| serde_json::to_string(s).unwrap_or_default();
            return bad("streams", show(&own.streams), show(&checkpoint.streams));
        }
        if own.gate != checkpoint.gate {
            let show = |g: &Option<Sha256Hex>| g.as_ref().map_or("none".to_owned(), ToString::to_string);
            return bad("gate", show(&own.gate), show(&checkpoint.gate));
        }
        let all = own.paths.keys().chain(checkpoint.paths.keys());
        for path in all {
            let (expected, found) = (own.paths.get(path), checkpoint.paths.get(path));
            if expected != found {
                let show = |m: Option<&ManagedPath>| match m {
                    Some(m) => serde_json::to_string(m).unwrap_or_default(),
                    None => "nothing".into(),
                };
                return bad(path.as_str(), show(expected), show(found));
            }
        }
        if own.recent_flows != checkpoint.recent_flows {
            return bad(
                "recent_flows",
                own.recent_flows.join(", "),
                checkpoint.recent_flows.join(", "),
            );
        }
        Ok(())
    }
}

fn in_force(held: &HeldState) -> InForce {
    InForce {
        state: None,
        blob: held.blob.as_ref().map(Into::into),
        content: (&held.content).into(),
        version: held.version,
        source: held.source,
        signers: held.signers.iter().map(ToString::to_string).collect(),
        decision: held.decision,
        since: held.since.to_string(),
        pending: held.pending,
    }
}

fn from_document(managed: &ManagedPath) -> Managed {
    let kind = match managed.kind {
        PathKind::File => Some("file"),
        PathKind::Directory => Some("directory"),
        PathKind::Link => Some("link"),
        PathKind::Absent => None,
    };
    let text = |hex: &Option<Sha256Hex>| hex.as_ref().map(ToString::to_string);
    let shape = kind.map(|kind| Shape {
        kind: kind.into(),
        mode: managed.mode.as_ref().map(ToString::to_string),
        owner: managed.owner.as_ref().map(ToString::to_string).unwrap_or_default(),
        size: managed.size,
        sha256: text(&managed.sha256),
        mac: text(&managed.mac),
        secret: None,
        target: managed.target.clone(),
    });
    Managed {
        shape,
        holds: match (&managed.blob, managed.kind) {
            (Some(blob), _) => Holding::Blob(blob.into()),
            (None, PathKind::File) => Holding::Hash,
            (None, _) => Holding::Nothing,
        },
        decision: managed.decision,
        source: managed.source,
        version: managed.version,
        signers: Rc::new(managed.signers.iter().map(ToString::to_string).collect()),
        time: managed.time.as_ref().map_or("", |t| t.as_str()).into(),
        held: false,
        recorded: false,
    }
}

fn keys(names: &[String]) -> Vec<KeyIdText> {
    names.iter().filter_map(|n| KeyIdText::new(n.as_str()).ok()).collect()
}

fn utc(text: &str) -> Option<Utc> {
    Utc::new(text).ok()
}
