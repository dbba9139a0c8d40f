//! The records that a long ledger is full of, replayed as fast as their bytes can be looked at.
//!
//! A job that ends well, a decision of a tool or an `advance` without a word, its outcome, its end. The chain has proved before
//! that the bytes are canonical, so a record that is made again has one spelling: here it is held against the one that is
//! there member by member, as it is read. Nothing is counted or kept before all of that holds; what does not, and what is not
//! known by heart, is left to the other reading (`None`), which also finds the words for what is wrong.

use std::collections::{HashSet, VecDeque};

use jos_runtime::ledger::{Cursor, Line};
use jos_schemas::documents::ledger::Decision;
use jos_schemas::documents::policy::Source;
use jos_schemas::documents::runtime::MachineState;
use jos_schemas::text::Name;
use serde_json::Value;

use super::{Open, Pass, count};
use crate::execute::last_state;
use crate::{gate, machine};

impl Pass<'_> {
    pub(super) fn quick(&mut self, line: &Line<'_>) -> Option<()> {
        match (line.kind, line.source) {
            ("job", Source::Operator) => self.quick_job(Cursor::new(line.payload)?),
            ("decision", Source::Agent) => self.quick_decision(Cursor::new(line.payload)?),
            ("outcome", Source::Agent) => self.quick_outcome(Cursor::new(line.payload)?),
            ("ended", Source::Agent) => self.quick_end(Cursor::new(line.payload)?),
            _ => None,
        }
    }

    /// A first attempt, of which nothing was asked while it thought.
    fn quick_job(&mut self, mut at: Cursor<'_>) -> Option<()> {
        at.after("{\"act\":{\"agent\":")?.text()?;
        at.after(",\"id\":")?.text()?;
        at.after(",\"input\":")?.value()?;
        let agent = at.after(",\"trail\":{}},\"agent\":")?.text()?;
        at.after(",\"attempt\":1,\"decides\":")?.number()?;
        let job = at.after(",\"job\":")?.text()?;
        at.after(",\"node\":")?.text()?;
        at.after("}")?.end()?;
        if self.open.contains_key(job) {
            return None;
        }
        self.open.insert(job.to_owned(), Open::of(Name::new(agent).ok()?));
        Some(())
    }

    fn quick_decision(&mut self, mut at: Cursor<'_>) -> Option<()> {
        let id = at.after("{\"act\":{\"id\":")?.text()?;
        let kind = at.after(",\"kind\":")?.text()?;
        let payload = at.after(",\"payload\":")?.value()?;
        let agent = at.after(",\"source\":\"agent\"},\"agent\":")?.text()?;
        let job = at.after(",\"job\":")?.text()?;
        at.after("}")?.end()?;
        let open = self.open.get_mut(job).filter(|open| open.agent.as_str() == agent)?;
        if !gate::surely_passes(id, kind, payload, &open.ids) {
            return None;
        }
        self.report.decisions += 1;
        count(&mut self.report.agents, agent);
        open.ids.insert(id.to_owned());
        open.decided += 1;
        open.waiting.push_back(Decision {
            id: id.to_owned(),
            source: Source::Agent,
            kind: kind.to_owned(),
            // Of an `advance` without a word as of a result that is captured nobody asks for it.
            payload: Value::Null,
        });
        Some(())
    }

    /// One that is good, and for which nothing was asked.
    fn quick_outcome(&mut self, mut at: Cursor<'_>) -> Option<()> {
        let result = at.after("{\"act\":{\"reason\":null,\"result\":")?.value()?;
        let agent = at.after(",\"trail\":{}},\"agent\":")?.text()?;
        let id = at.after(",\"decision\":")?.text()?;
        let job = at.after(",\"job\":")?.text()?;
        let kind = at.after(",\"kind\":")?.text()?;
        at.after(",\"ok\":true}")?.end()?;
        let open = self.open.get_mut(job).filter(|open| open.agent.as_str() == agent)?;
        let decision = open.waiting.front().filter(|of| of.id == id && of.kind == kind)?;
        if open.reason.is_some() {
            return None;
        }
        if kind == "advance" {
            open.state = advanced(result, decision, open.state)?;
            open.verdict = None;
        } else if gate::BUILT_IN.contains(&kind) {
            return None;
        } else {
            count(&mut self.report.captured_results, kind);
            if !self.kinds.contains(kind) && !self.report.missing.contains(kind) {
                self.report.missing.insert(kind.to_owned());
            }
        }
        open.waiting.pop_front();
        Some(())
    }

    /// One that is good.
    fn quick_end(&mut self, mut at: Cursor<'_>) -> Option<()> {
        let agent = at.after("{\"agent\":")?.text()?;
        let job = at.after(",\"job\":")?.text()?;
        let word = at.after(",\"ok\":true,\"reason\":null,\"state\":")?.text()?;
        at.after("}")?.end()?;
        let open = self.open.get(job).filter(|open| open.agent.as_str() == agent)?;
        let state = last_state(open.state, true);
        let well = open.decided > 0 && open.reason.is_none() && open.verdict.is_none() && open.waiting.is_empty();
        if !well || word != machine::word(state) {
            return None;
        }
        self.open.remove(job);
        *self.report.jobs.entry(machine::word(state)).or_default() += 1;
        self.report.final_state = Some(state);
        Some(())
    }
}

impl Open {
    pub(super) fn of(agent: Name) -> Self {
        Self {
            agent,
            waiting: VecDeque::new(),
            ids: HashSet::new(),
            state: MachineState::Pending,
            reason: None,
            decided: 0,
            verdict: None,
        }
    }
}

/// The state to which an `advance` without a word leads, where `result` is what comes of it and nobody failed.
fn advanced(result: &str, decision: &Decision, from: MachineState) -> Option<MachineState> {
    if !decision.payload.as_object().is_none_or(serde_json::Map::is_empty) {
        return None;
    }
    let mut at = Cursor::new(result.as_bytes())?;
    let id = at.after("{\"decision\":")?.text()?;
    at.after(",\"events\":[")?;
    let mut state = from;
    for (number, event) in machine::USUAL.into_iter().enumerate() {
        if number > 0 {
            at.after(",")?;
        }
        at.text().filter(|said| *said == event)?;
        state = machine::step(state, event).ok()?;
    }
    let last = at.after("],\"finalState\":")?.text()?;
    let first = at.after(",\"from\":")?.text()?;
    at.after("}")?.end()?;
    let follows = id == decision.id && last == machine::word(state) && first == machine::word(from);
    (follows && state != MachineState::Failed).then_some(state)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jos_runtime::disk::Disk;
    use jos_runtime::ledger::{Archive, canonical};
    use jos_trust::Digest;
    use serde_json::json;

    use super::*;
    use crate::execute::{advance, after};
    use crate::jobs;
    use crate::join::Trail;
    use crate::records::{Came, Draft};
    use crate::replay::{Chain, Report};

    /// A record: its kind, its source, its payload.
    type Record = (&'static str, Source, Vec<u8>);

    fn record(draft: Draft) -> Record {
        let mut payload = draft.head;
        if let Some(act) = draft.act {
            payload["act"] = act;
        }
        (draft.kind, draft.source, canonical(&payload).unwrap())
    }

    fn came(result: Value) -> Came {
        let (reason, trail) = (None, Trail::default());
        Came { result, reason, trail }
    }

    fn decision(id: &str, kind: &str, payload: &Value) -> Decision {
        let (id, source, kind, payload) = (id.into(), Source::Agent, kind.into(), payload.clone());
        Decision {
            id,
            source,
            kind,
            payload,
        }
    }

    /// A job that ends well: its decisions, then what came of each, a tool's result among them.
    fn ran(id: &str, decisions: &[Decision]) -> Vec<Record> {
        let name = Name::new("burst").unwrap();
        let job = jobs::job(id.into(), name.clone(), json!({ "n": 1 }));
        let mut drafts = vec![Draft::job(&job, "n", 1, decisions.len(), &Trail::default())];
        drafts.extend(decisions.iter().map(|one| Draft::decision(&job, one)));
        let mut state = MachineState::Pending;
        for one in decisions {
            let result = match one.kind.as_str() {
                "advance" => advance(one, state).unwrap(),
                _ => json!({ "done": one.id }),
            };
            let came = came(result);
            state = after(state, one, &came);
            drafts.push(Draft::outcome(id, &name, one, &came));
        }
        drafts.push(Draft::ended(id, &name, last_state(state, true), None));
        drafts.into_iter().map(record).collect()
    }

    /// Two jobs: two decisions of a tool, and an `advance` with its payload.
    fn history(advances: &Value) -> Vec<Record> {
        let tools = [json!({ "n": [1, "text \u{e9}"] }), json!(null)];
        let tools = [("a", &tools[0]), ("b", &tools[1])].map(|(id, payload)| decision(id, "bench.idle", payload));
        [ran("j1", &tools), ran("j2", &[decision("c", "advance", advances)])].concat()
    }

    /// What a replay comes to, and how many records were read quickly.
    fn replayed(history: &[Record], may_be_quick: bool) -> (Report, usize) {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), "0").unwrap();
        let archive = Archive::folder(&disk, "ledger", "blobs");
        let kinds = BTreeSet::from(["bench.idle".to_owned()]);
        let mut pass = Pass::new(&archive, &kinds, None);
        let mut quick = 0;
        for (index, (kind, source, payload)) in (0..).zip(history) {
            let line = Line {
                index,
                hash: Digest::ZERO,
                time: "2026-11-23T00:00:00Z",
                source: *source,
                name: "runtime",
                version: None,
                cause: None,
                kind,
                prev: "",
                payload,
                json: payload,
            };
            pass.report.records += 1;
            if may_be_quick && pass.quick(&line).is_some() {
                quick += 1;
            } else {
                pass.whole(&line);
            }
        }
        (pass.report(Chain::Intact, None), quick)
    }

    /// Both come to the same; how many records were read quickly.
    fn alike(history: &[Record]) -> (Report, usize) {
        let (quickly, count) = replayed(history, true);
        assert_eq!(quickly, replayed(history, false).0, "{history:?}");
        (quickly, count)
    }

    /// What stands where another byte stood, by turns.
    const BYTES: [u8; 13] = *b"\"\\{},:09a- \x1f\xc3";

    #[test]
    fn what_is_replayed_quickly_comes_to_the_same_whatever_byte_is_another() {
        let history = history(&json!({}));
        let (report, count) = alike(&history);
        assert_eq!((report.diverged, report.decisions, count), (0, 3, history.len()));
        for which in 0..history.len() {
            for at in 0..history[which].2.len() {
                let mut near = history.clone();
                near[which].2[at] = BYTES[at % BYTES.len()];
                alike(&near);
                near[which].2.remove(at);
                alike(&near);
            }
        }
    }

    #[test]
    fn records_that_are_missing_double_or_elsewhere_are_judged_alike() {
        let history = history(&Value::Null);
        for which in 0..history.len() {
            let (mut less, mut more) = (history.clone(), history.clone());
            let taken = less.remove(which);
            assert!(alike(&less).0.diverged > 0 || taken.0 == "ended", "{taken:?}");
            more.insert(which, taken);
            assert!(alike(&more).0.diverged > 0);
            for with in 0..which {
                let mut swapped = history.clone();
                swapped.swap(which, with);
                alike(&swapped);
            }
            let mut other = history.clone();
            other[which].1 = Source::Hub;
            assert!(alike(&other).0.diverged > 0);
        }
    }

    #[test]
    fn what_is_not_known_by_heart_is_left_to_the_other_reading() {
        for (said, quick) in [
            (json!({ "note": "x" }), 8),
            (json!({ "events": ["start", "complete"] }), 8),
            (json!({ "events": ["fail"] }), 7),
        ] {
            let (report, count) = alike(&history(&said));
            assert_eq!((report.diverged, count), (0, quick), "{said}");
        }
    }

    #[test]
    fn a_machine_that_was_driven_to_failed_is_put_down_to_that_decision_whatever_came_after_it() {
        let fail = decision("stop", "advance", &json!({ "events": ["fail"], "note": "no" }));
        let (report, _) = alike(&ran("j", &[fail, decision("b", "bench.idle", &json!({}))]));
        let [failure] = &report.attribution[..] else {
            panic!("{report:?}")
        };
        assert_eq!(
            (failure.kind, failure.decision.as_deref(), &*failure.reason),
            ("verdict", Some("stop"), "no")
        );
    }
}
