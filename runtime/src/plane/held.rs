//! The states in force, reopened, and what they want together with a state that is to come.

use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::documents::policy::Source;
use jos_trust::root::Received;
use jos_trust::{Channel, Digest, Floors, Stream, Verified};

use super::{Plane, PlaneError, source_of};
use crate::book::Book;
use crate::compare::{Part, Wanted};
use crate::store::StoreError;

/// A state in force, reopened.
pub(super) struct Held {
    pub(super) state: Verified<DesiredState>,
    pub(super) source: Source,
    pub(super) pending: bool,
}

impl Plane<'_> {
    /// The states in force, baseline first.
    pub(super) fn held(&self, floors: &Floors, book: &Book) -> Result<Vec<Held>, PlaneError> {
        let mut held = Vec::new();
        for stream in [Stream::Baseline, Stream::State] {
            let ours = |c: &&jos_trust::floors::Counter| c.name == self.setup.name && c.stream == stream;
            // With a tenant pinned, a counter without one is from before; the pinned one counts.
            let counters = floors
                .counters()
                .map(|(c, _)| c)
                .filter(ours)
                .filter(|c| floors.in_force(c).is_some());
            let Some(counter) = counters.max_by_key(|c| c.tenant.is_some()) else {
                continue;
            };
            let Some(kept) = floors.in_force(counter) else { continue };
            let noted = book.streams.get(&stream).filter(|k| k.content == kept.content);
            let channel = match (stream, noted.map(|k| k.source)) {
                (Stream::Baseline, _) => Channel::Baseline,
                (Stream::State, Some(Source::Hub)) => Channel::Hub,
                (Stream::State, _) => Channel::Local,
            };
            let path = self.state_path(&kept.content);
            let (bytes, _) = self.data.read(&path, 2 * 1024 * 1024)?;
            let shown = self.data.show(&path);
            let reopened = jos_trust::state::reopen(Received::json(&shown, &bytes), counter, channel, floors);
            let state = reopened.map_err(|e| StoreError::Owners {
                file: shown.clone(),
                what: e.to_string(),
            })?;
            held.push(Held {
                state,
                source: source_of(channel),
                pending: noted.is_some_and(|k| k.pending),
            });
        }
        Ok(held)
    }

    pub(super) fn state_path(&self, content: &Digest) -> String {
        self.at(&format!("states/{content}.json"))
    }

    /// `state` together with the other stream's state in force: the baseline first, the overlay over it.
    pub(super) fn wanted<'s>(&'s self, state: &'s Verified<DesiredState>, held: &'s [Held]) -> Wanted<'s> {
        let stream = state.counter().stream;
        let adopts = !held
            .iter()
            .any(|h| h.state.content() == state.content() && h.state.counter().stream == stream);
        let mut parts: Vec<(Stream, Part<'s>)> = Vec::new();
        for other in held.iter().filter(|h| h.state.counter().stream != stream) {
            parts.push((other.state.counter().stream, self.part(other)));
        }
        let old = held.iter().find(|h| h.state.counter().stream == stream);
        let follows = old.filter(|_| adopts).map(|h| h.state.value());
        let run_once = adopts || self.live() && old.is_some_and(|h| h.pending);
        let source = source_of(state.channel());
        parts.push((
            stream,
            Part {
                source,
                state: state.value(),
                follows,
                run_once,
            },
        ));
        parts.sort_by_key(|(stream, _)| *stream);
        Wanted {
            name: &self.setup.name,
            version: state.version(),
            source,
            in_force: !adopts,
            parts: parts.into_iter().map(|(_, part)| part).collect(),
        }
    }

    pub(super) fn part<'s>(&self, held: &'s Held) -> Part<'s> {
        let run_once = self.live() && held.pending;
        Part {
            source: held.source,
            state: held.state.value(),
            follows: None,
            run_once,
        }
    }
}
