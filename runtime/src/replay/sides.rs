//! The states that take part in what a decision does, held as long as something comes of them.

use std::collections::BTreeMap;
use std::rc::Rc;

use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::documents::policy::Source;
use jos_trust::Stream;

use super::check::Effect;
use super::machine::{Holding, InForce, Machine, Managed, Open, Why};
use super::shelf::State;
use super::wants::{Holds, Want};
use crate::compare::Part;
use crate::ledger::Line;

/// A document that takes part, owned.
#[derive(Clone)]
pub(super) enum Document {
    State(Rc<State>),
    Flow(Rc<DesiredState>),
}

/// A part of a plan, with what outlives it.
#[derive(Clone)]
pub(super) struct Side {
    pub(super) source: Source,
    pub(super) document: Document,
    pub(super) follows: Option<Rc<State>>,
    pub(super) run_once: bool,
}

impl Side {
    pub(super) fn state(&self) -> &DesiredState {
        match &self.document {
            Document::State(state) => &state.document,
            Document::Flow(state) => state,
        }
    }

    pub(super) fn part(&self) -> Part<'_> {
        Part {
            source: self.source,
            state: self.state(),
            follows: self.follows.as_ref().map(|s| &s.document),
            run_once: self.run_once,
        }
    }

    pub(super) fn signers(&self) -> Vec<String> {
        match &self.document {
            Document::State(state) => state.signers.clone(),
            Document::Flow(_) => Vec::new(),
        }
    }
}

impl Machine {
    /// Which states take part in what a decision does, the baseline first.
    pub(super) fn sides(&self, open: &Open) -> Vec<Side> {
        if let Some(step) = &open.step {
            return vec![Side {
                source: open.source,
                document: Document::Flow(Rc::clone(step)),
                follows: None,
                run_once: true,
            }];
        }
        let live = open.recorded.facts.live;
        let mut sides: BTreeMap<Stream, Side> = BTreeMap::new();
        for (stream, kept) in &self.streams {
            let Some(state) = &kept.state else { continue };
            let side = Side {
                source: kept.source,
                document: Document::State(Rc::clone(state)),
                follows: None,
                run_once: live && kept.pending && open.why != Why::Converge,
            };
            sides.insert(*stream, side);
        }
        if let Some((stream, state)) = &open.state {
            let old = self.streams.get(stream);
            let side = Side {
                source: open.source,
                document: Document::State(Rc::clone(state)),
                follows: old.filter(|_| open.adopts).and_then(|k| k.state.clone()),
                run_once: open.adopts || live && old.is_some_and(|k| k.pending),
            };
            sides.insert(*stream, side);
        }
        sides.into_values().collect()
    }

    pub(super) fn sides_in_force(&self) -> Vec<Side> {
        let side = |kept: &InForce| {
            Some(Side {
                source: kept.source,
                document: Document::State(Rc::clone(kept.state.as_ref()?)),
                follows: None,
                run_once: false,
            })
        };
        self.streams.values().filter_map(side).collect()
    }
}

/// A path that no step lists by itself: what steps made of a file that they share, or what the record alone says.
pub(super) fn as_recorded(line: &Line<'_>, open: &Open, effect: &Effect<'_>, time: &Rc<str>) -> Managed {
    let is_file = effect.after.as_ref().is_some_and(|s| s.kind == "file");
    Managed {
        shape: effect.after.clone(),
        holds: match &effect.text {
            Some(text) => Holding::Bytes(Rc::clone(text)),
            None if is_file => Holding::Hash,
            None => Holding::Nothing,
        },
        decision: open.index,
        source: line.source,
        version: open.version,
        signers: Rc::default(),
        time: Rc::clone(time),
        held: false,
        recorded: effect.recorded,
    }
}

/// Where the content of a listed path comes from.
pub(super) fn holding(side: &Side, step: usize) -> Holding {
    let want = super::wants::want(&side.state().spec.apply[step]);
    match want {
        Some((
            _,
            Want::File {
                holds: Holds::Secret(name),
                ..
            },
        )) => Holding::Secret(name.clone()),
        Some((
            _,
            Want::File {
                holds: Holds::Blob(digest, _),
                ..
            },
        )) => Holding::Blob(digest),
        Some((
            _,
            Want::File {
                holds: Holds::Text(text),
                ..
            },
        )) => match &side.document {
            Document::State(state) => Holding::Step(Rc::clone(state), step),
            Document::Flow(_) => Holding::Bytes(text.as_bytes().into()),
        },
        _ => Holding::Nothing,
    }
}
