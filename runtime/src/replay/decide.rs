//! Decisions: parsed again, judged again by the gate as it was.

use std::collections::BTreeMap;
use std::rc::Rc;

use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::documents::policy::Source;
use jos_trust::{Digest, Stream, TrustRoot};
use serde_json::value::RawValue;

use super::Divergence;
use super::line::{Apply, Converge, Decided, Flow, HashOnly, Ids, InBlob, InputLine, ShapeLine};
use super::machine::{DriftSet, InForce, Input, Machine, Open, Why, read};
use super::quick;
use super::shelf::{self, Blobs, State};
use crate::gate::Recorded;
use crate::ledger::Line;
use crate::ledger::source_word;
use crate::plan::Shape;

impl Machine {
    pub(super) fn decision(&mut self, line: &Line<'_>, blobs: &mut Blobs<'_>) -> Result<(), Divergence> {
        let quick = quick::flow(line.payload).filter(|_| line.source == Source::Artifact && line.cause.is_none());
        let open = match quick {
            Some(flow) => self.decide_flow(line, flow.id, flow.into(), blobs)?,
            None => self.decide(line, blobs)?,
        };
        if let Some((stream, state)) = &open.state
            && (open.adopts || open.why == Why::Move)
        {
            let tried = self.tried.entry(*stream).or_default();
            if state.document.meta.version >= tried.version {
                (tried.version, tried.content) = (state.document.meta.version, Some(state.content));
            }
        }
        self.live = Some(open.live());
        self.counts.entry(line.source).or_default().decisions += 1;
        let open = Rc::new(open);
        if open.why == Why::Move {
            self.moved = Some(Rc::clone(&open));
        }
        self.open = Some(open);
        Ok(())
    }

    fn decide(&mut self, line: &Line<'_>, blobs: &mut Blobs<'_>) -> Result<Open, Divergence> {
        let index = line.index;
        let decided: Decided<'_> = read(index, line.payload, "a decision")?;
        if decided.source != line.source {
            let (expected, found) = (source_word(line.source), source_word(decided.source));
            return Err(Divergence::new(index, format!("the source {expected}"), found));
        }
        if line.cause.is_some() {
            return Err(Divergence::new(index, "no cause: a decision begins something", "one"));
        }
        let payload = decided.payload.get().as_bytes();
        match decided.kind {
            "state.apply" => self.decide_apply(
                line,
                &decided,
                Why::Apply,
                &read(index, payload, "a state.apply")?,
                blobs,
            ),
            "state.move" => self.decide_apply(line, &decided, Why::Move, &read(index, payload, "a state.move")?, blobs),
            "state.converge" => self.decide_converge(
                line,
                &decided,
                Why::Converge,
                &read(index, payload, "a state.converge")?,
                blobs,
            ),
            "state.first_boot" => self.decide_converge(
                line,
                &decided,
                Why::FirstBoot,
                &read(index, payload, "a state.first_boot")?,
                blobs,
            ),
            "flow.step" => {
                let flow: Flow<'_> = read(index, payload, "a flow.step")?;
                self.decide_flow(line, decided.id, flow.into(), blobs)
            }
            "agent.change" => self.decide_change(line, decided.id, &read(index, payload, "an agent.change")?, blobs),
            other => {
                let known = "state.apply, state.move, state.converge, state.first_boot, flow.step or agent.change";
                Err(Divergence::new(index, known, format!("a decision of kind {other:?}")))
            }
        }
    }

    fn decide_apply(
        &mut self,
        line: &Line<'_>,
        decided: &Decided<'_>,
        why: Why,
        apply: &Apply<'_>,
        blobs: &mut Blobs<'_>,
    ) -> Result<Open, Divergence> {
        let index = line.index;
        let recorded = self.shelf.gate(index, apply.gate, blobs)?;
        let trust = apply.trust.as_ref().map(|t| t.blob);
        let root = trust.map(|digest| self.shelf.root(index, digest, blobs)).transpose()?;
        if serde_json::from_slice::<HashOnly>(apply.state.get().as_bytes()).is_ok() {
            return self.decide_unread(line, why, apply, recorded, blobs);
        }
        let state = Rc::new(shelf::state(index, apply, root.as_deref(), blobs)?);
        let meta = &state.document.meta;
        let expect = |what: &str, expected: String, found: String| {
            if expected == found {
                Ok(())
            } else {
                Err(Divergence::new(index, expected, found).about(what))
            }
        };
        expect("meta.name", line.name.to_owned(), meta.name.to_string())?;
        expect(
            "version",
            meta.version.to_string(),
            line.version.map_or("none".into(), |v| v.to_string()),
        )?;
        let kind = if why == Why::Move { "-move" } else { "" };
        expect(
            "id",
            format!("{}-{}{kind}", line.name, meta.version),
            decided.id.to_owned(),
        )?;
        super::moved::runs(index, why, &state.document, apply.image.as_ref())?;
        let streams = match apply.stream {
            Stream::Baseline => matches!(line.source, Source::Baseline),
            Stream::State => matches!(line.source, Source::Hub | Source::Local),
        };
        if !streams {
            let expected = "a source that may bring a state of this stream";
            return Err(Divergence::new(index, expected, source_word(line.source)).about("source"));
        }
        if apply.root == recorded.facts.live {
            return Err(Divergence::new(
                index,
                "the same root for the gate and for the decision",
                "another",
            ));
        }
        if let (Some(digest), Some(root)) = (trust, &root) {
            self.adopt_trust(index, digest, root)?;
        }
        self.check_version(index, apply.stream, &state)?;
        let adopts = self
            .streams
            .get(&apply.stream)
            .is_none_or(|kept| kept.content != state.content);
        let requires = meta
            .requires
            .iter()
            .find(|r| !recorded.facts.features.iter().any(|f| f == r.as_str()));
        if let Some(lacking) = requires {
            return Err(Divergence::new(index, "a feature that the agent had", lacking).about("meta.requires"));
        }
        let mut judged = vec![(line.source, Rc::clone(&state))];
        let others = self.streams.iter().filter(|(stream, _)| **stream != apply.stream);
        judged.extend(others.filter_map(|(_, kept)| Some((kept.source, Rc::clone(kept.state.as_ref()?)))));
        for (source, state) in &judged {
            gate_says_yes(index, &recorded, *source, &state.document)?;
        }
        let completes = why == Why::Apply && recorded.facts.live && self.streams.values().any(|kept| kept.pending);
        let (found, inputs) = captured(index, apply.found, apply.inputs, blobs)?;
        self.gate = Some(apply.gate);
        Ok(Open {
            index,
            why,
            source: line.source,
            version: line.version,
            recorded,
            state: Some((apply.stream, state)),
            step: None,
            unread: None,
            adopts: adopts && why == Why::Apply,
            completes,
            ids: owned(&apply.ids),
            found,
            inputs,
            set: None,
            agent: None,
            outcome: None,
        })
    }

    /// A state of which the device could keep no more than the hash: what came of it is taken from the record.
    fn decide_unread(
        &mut self,
        line: &Line<'_>,
        why: Why,
        apply: &Apply<'_>,
        recorded: Rc<Recorded>,
        blobs: &mut Blobs<'_>,
    ) -> Result<Open, Divergence> {
        let index = line.index;
        let Some(version) = line.version else {
            return Err(Divergence::new(index, "the version of the state", "none").about("version"));
        };
        let tried = self.tried.get(&apply.stream).map_or(0, |t| t.version);
        if version < tried {
            return Err(Divergence::new(index, format!("{tried} at least"), version).about("version"));
        }
        let (found, inputs) = captured(index, apply.found, apply.inputs, blobs)?;
        let kept = InForce {
            state: None,
            blob: None,
            content: apply.content,
            version,
            source: line.source,
            signers: apply.signers.iter().map(|s| (*s).to_owned()).collect(),
            decision: Some(index),
            since: String::new(),
            pending: false,
        };
        let adopts = self
            .streams
            .get(&apply.stream)
            .is_none_or(|k| k.content != apply.content);
        self.gate = Some(apply.gate);
        Ok(Open {
            index,
            why,
            source: line.source,
            version: line.version,
            recorded,
            state: None,
            step: None,
            unread: Some((apply.stream, kept)),
            adopts: adopts && why == Why::Apply,
            completes: false,
            ids: owned(&apply.ids),
            found,
            inputs,
            set: None,
            agent: None,
            outcome: None,
        })
    }

    /// A version must not go back behind what was tried; only a newer trust root may lower that floor.
    fn check_version(&self, index: u64, stream: Stream, state: &State) -> Result<(), Divergence> {
        let version = state.document.meta.version;
        let bad = |expected: String, found: String| Err(Divergence::new(index, expected, found).about("version"));
        if let Some(kept) = self.streams.get(&stream) {
            if kept.version == version && kept.content != state.content {
                let expected = format!("version {version} with the content in force, {}", kept.content);
                return bad(expected, format!("the same version with the content {}", state.content));
            }
            if kept.content == state.content {
                return Ok(());
            }
        }
        match self.tried.get(&stream) {
            Some(tried) if version < tried.version => bad(format!("{} at least", tried.version), version.to_string()),
            Some(tried) if version == tried.version && tried.content.is_some_and(|c| c != state.content) => {
                let expected = format!("the content that version {version} had before");
                bad(
                    expected,
                    format!("version {version} with the content {}", state.content),
                )
            }
            _ => Ok(()),
        }
    }

    /// A trust root that is new here sets the floor that it names, even downwards.
    fn adopt_trust(&mut self, index: u64, digest: Digest, root: &TrustRoot) -> Result<(), Divergence> {
        let version = root.version();
        match self.trust {
            Some((known, _)) if version < known => {
                return Err(Divergence::new(index, format!("trust version {known} at least"), version).about("trust"));
            }
            Some((known, Some(before))) if version == known && before != digest => {
                let expected = format!("the trust root that version {version} was before");
                return Err(Divergence::new(index, expected, "another of the same version").about("trust"));
            }
            Some((known, _)) if version == known => return Ok(()),
            _ => {}
        }
        let name = self.name.as_ref();
        let floor = root.value().floors.iter().find(|(n, _)| Some(*n) == name);
        if let Some((_, floor)) = floor {
            let kept = self.streams.get(&Stream::State);
            let tried = self.tried.entry(Stream::State).or_default();
            if tried.version != *floor {
                tried.content = kept.filter(|k| k.version == *floor).map(|k| k.content);
                tried.version = *floor;
            }
        }
        self.trust = Some((version, Some(digest)));
        Ok(())
    }

    fn decide_converge(
        &mut self,
        line: &Line<'_>,
        decided: &Decided<'_>,
        why: Why,
        converge: &Converge<'_>,
        blobs: &mut Blobs<'_>,
    ) -> Result<Open, Divergence> {
        let index = line.index;
        let bad =
            |what: &str, expected: String, found: String| Err(Divergence::new(index, expected, found).about(what));
        if line.source != Source::Drift {
            return bad("source", "drift".into(), source_word(line.source).into());
        }
        let id = format!("{}-drift-{}", line.name, &converge.set.to_string()[..16]);
        if decided.id != id {
            return bad("id", id, decided.id.into());
        }
        let top = self.streams.values().next_back().map(|kept| kept.version);
        if line.version != top && !self.is_blind() {
            let word = |v: Option<u64>| v.map_or("none".to_owned(), |v| v.to_string());
            return bad(
                "version",
                format!("{}, which is in force", word(top)),
                word(line.version),
            );
        }
        let recorded = self.shelf.gate(index, converge.gate, blobs)?;
        if why == Why::FirstBoot && !(recorded.facts.live && self.streams.values().any(|k| k.pending)) {
            return bad(
                "kind",
                "a state that waits for its first boot".into(),
                "state.first_boot".into(),
            );
        }
        let held: Vec<_> = self
            .streams
            .values()
            .filter_map(|k| Some((k.source, Rc::clone(k.state.as_ref()?))))
            .collect();
        for (source, state) in &held {
            gate_says_yes(index, &recorded, *source, &state.document)?;
        }
        if converge.count < converge.changes.len() as u64 {
            return bad(
                "count",
                format!("{} at least", converge.changes.len()),
                converge.count.to_string(),
            );
        }
        let (found, inputs) = captured(index, converge.found, converge.inputs, blobs)?;
        for path in found.keys() {
            let listed =
                |state: &DesiredState| state.spec.apply.iter().any(|s| crate::gate::step_path(s) == Some(path));
            if !self.is_blind() && !held.iter().any(|(_, s)| listed(&s.document)) {
                return Err(
                    Divergence::new(index, "a path that a state in force lists", "drift of another").about(path),
                );
            }
        }
        self.gate = Some(converge.gate);
        Ok(Open {
            index,
            why,
            source: line.source,
            version: line.version,
            recorded,
            state: None,
            step: None,
            unread: None,
            adopts: false,
            completes: why == Why::FirstBoot,
            ids: owned(&converge.ids),
            found,
            inputs,
            set: Some(DriftSet {
                hash: converge.set,
                count: converge.count,
                changes: converge.changes.iter().map(|(a, w)| (*a, w.to_string())).collect(),
            }),
            agent: None,
            outcome: None,
        })
    }
}

/// The gate again: a decision was recorded, so it had let the state through.
pub(super) fn gate_says_yes(
    index: u64,
    recorded: &Recorded,
    source: Source,
    state: &DesiredState,
) -> Result<(), Divergence> {
    let judgement = recorded.gate().judge(source, state);
    match judgement.refused.iter().chain(&judgement.unsupported).next() {
        None => Ok(()),
        Some(refusal) => {
            let expected = format!("no decision: the gate refuses ({}: {})", refusal.step, refusal.why);
            let found = format!("one of the source {}", source_word(source));
            Err(Divergence::new(index, expected, found).about(&refusal.step))
        }
    }
}

pub(super) type Captured = (BTreeMap<String, Option<Shape>>, BTreeMap<String, Input>);

/// What only the world could know, as the decision recorded it.
pub(super) fn captured(
    index: u64,
    found: Option<&RawValue>,
    inputs: Option<&RawValue>,
    blobs: &mut Blobs<'_>,
) -> Result<Captured, Divergence> {
    let mut whole = |raw: Option<&RawValue>| raw.map(|r| shelf::value(index, r, blobs, "what was found")).transpose();
    let (found, inputs) = (whole(found)?, whole(inputs)?);
    let found: BTreeMap<&str, Option<ShapeLine<'_>>> = match &found {
        Some(bytes) => read(index, bytes, "what was found")?,
        None => BTreeMap::new(),
    };
    let found = found
        .iter()
        .map(|(path, shape)| ((*path).to_owned(), shape.as_ref().map(ShapeLine::to_shape)));
    let mut taken = BTreeMap::new();
    if let Some(bytes) = &inputs {
        let lines: BTreeMap<&str, Option<InputLine<'_>>> = read(index, bytes, "inputs")?;
        for (path, line) in lines {
            taken.insert(path.to_owned(), input(index, path, line.as_ref(), blobs)?);
        }
    }
    Ok((found.collect(), taken))
}

fn input(index: u64, path: &str, line: Option<&InputLine<'_>>, blobs: &mut Blobs<'_>) -> Result<Input, Divergence> {
    let Some(line) = line else { return Ok(Input::Missing) };
    let about = |d: Divergence| d.about(format!("input {path}"));
    match (line.sha256, line.content, line.mac) {
        (None, None, Some(_)) => Ok(Input::Mac),
        (Some(_), None, None) => Ok(Input::Hash),
        (Some(digest), Some(content), None) => {
            let text: Vec<u8> = match serde_json::from_slice::<InBlob>(content.get().as_bytes()) {
                Ok(in_blob) => shelf::blob(index, &in_blob.blob, blobs, "the input")?,
                Err(_) => read::<String>(index, content.get().as_bytes(), "an input")?.into_bytes(),
            };
            let found = jos_trust::sha256(&text);
            if found != digest || line.size.is_some_and(|size| size != text.len() as u64) {
                let expected = format!("a text of sha256 {digest}");
                return Err(about(Divergence::new(index, expected, format!("one of {found}"))));
            }
            Ok(Input::Text(text.into()))
        }
        _ => Err(about(Divergence::new(
            index,
            "a hash with its text, or a MAC",
            "something else",
        ))),
    }
}

pub(super) fn owned(ids: &Ids<'_>) -> BTreeMap<String, String> {
    ids.iter()
        .map(|(name, id)| ((*name).to_owned(), (*id).to_owned()))
        .collect()
}
