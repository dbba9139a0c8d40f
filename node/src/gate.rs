//! The gate: what of a job's proposals may become decisions. Decides on data alone; the first refusal wins.
//!
//! It runs twice in a decision's life: before the ledger, with the validators of the tools, and in every replay, with those
//! that are built in. So a ledger that holds what the gate would refuse does not replay.

use std::collections::HashSet;
use std::io;

use jos_schemas::documents::ledger::{Decision, Proposal};
use jos_schemas::documents::policy::Source;
use jos_schemas::documents::runtime::Change;
use jos_schemas::read;
use serde_json::Value;

use crate::{jobs, machine};

/// The kinds that are built in.
pub const BUILT_IN: [&str; 4] = ["advance", DEVICE, "fs.write", "queue.send"];
/// The kind that proposes a change of the device to its plane.
pub const DEVICE: &str = "device.propose";
/// Most proposals of one job.
const MOST: usize = 256;
/// Most steps of one change of the device.
const MOST_STEPS: usize = 64;
/// The deepest payload: every reader of JSON that is used takes it.
const DEEPEST: usize = 64;
/// Integers beyond are not the same number for every reader.
const MAX_INT: u64 = 9_007_199_254_740_991;
/// An integer of so few digits is not beyond.
const SAFE_DIGITS: usize = 15;
/// The largest payload.
const PAYLOAD_LIMIT: usize = 1024 * 1024;

/// Why a proposal is not taken up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which of the proposals, from 0.
    pub at: usize,
    /// Why.
    pub reason: String,
}

/// Whether a kind outside of the built-in ones is right: what the tool of that kind says.
pub type Validate<'v> = dyn FnMut(&Decision) -> Result<(), String> + 'v;

/// Passes all of a job's proposals or none. `tools` judges kinds that are not built in.
pub fn pass(proposals: Vec<Proposal>, tools: &mut Validate<'_>) -> Result<Vec<Decision>, (Vec<Proposal>, Refusal)> {
    let mut ids = HashSet::new();
    let refused = if proposals.len() > MOST {
        Some(Refusal {
            at: 0,
            reason: format!(
                "found {} proposals of one job, expected {MOST} at most",
                proposals.len()
            ),
        })
    } else {
        proposals.iter().enumerate().find_map(|(at, proposal)| {
            let judged = judge(proposal, &mut ids).and_then(|()| match BUILT_IN.contains(&proposal.kind.as_str()) {
                true => Ok(()),
                false => tools(&decided(proposal)),
            });
            judged.err().map(|reason| Refusal { at, reason })
        })
    };
    match refused {
        Some(refusal) => Err((proposals, refusal)),
        None => Ok(proposals.iter().map(decided).collect()),
    }
}

/// What the gate says without asking a tool. `ids` are those of the same job.
pub fn judge(proposal: &Proposal, ids: &mut HashSet<String>) -> Result<(), String> {
    let Proposal { id, kind, payload } = proposal;
    if !jobs::is_id(id) {
        return Err(format!(
            "found the decision id {id:?}, expected letters, digits, '_' and '-'"
        ));
    }
    if !ids.insert(id.clone()) {
        return Err(format!("found the decision id {id:?} twice in one job"));
    }
    // The kind's rule is the schema's; what was read from a document has passed it, what was made by code has not.
    if !Proposal::is_kind(kind) {
        return Err(format!(
            "found the kind {kind:?}, expected a dotted word as \"fs.write\""
        ));
    }
    plain(payload, 0)?;
    let size = size(payload);
    if size > PAYLOAD_LIMIT {
        return Err(format!(
            "found a payload of {size} bytes, expected {PAYLOAD_LIMIT} at most"
        ));
    }
    match kind.as_str() {
        "advance" => machine::events(payload).map(drop),
        "fs.write" => fs_write(payload).map(drop),
        "queue.send" => queue_send(payload).map(drop),
        DEVICE => device_change(payload).map(drop),
        _ => Ok(()),
    }
}

/// Whether [`judge`] surely lets a decision through of which only the canonical bytes of its payload are known: no tree is made
/// of them. `false` says nothing. Of kinds that are built in only an `advance` without a word is judged so.
pub(crate) fn surely_passes(id: &str, kind: &str, payload: &str, ids: &HashSet<String>) -> bool {
    let payload_passes = match kind {
        "advance" => payload == "{}" || payload == "null",
        _ => !BUILT_IN.contains(&kind) && surely_plain(payload),
    };
    payload_passes && jobs::is_id(id) && !ids.contains(id) && Proposal::is_kind(kind)
}

/// Whether canonical bytes are surely those of a plain payload that is not too large: few lists and tables, wherever they
/// stand, and no number of many digits.
fn surely_plain(payload: &str) -> bool {
    let (mut opened, mut digits) = (0, 0);
    // Serde spells some numbers in more bytes than RFC 8785.
    payload.len() <= PAYLOAD_LIMIT / 2
        && payload.bytes().all(|byte| {
            opened += usize::from(byte == b'{' || byte == b'[');
            digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
            opened <= DEEPEST && digits <= SAFE_DIGITS
        })
}

/// The source is the node's word: an agent has no field for it.
fn decided(proposal: &Proposal) -> Decision {
    Decision {
        id: proposal.id.clone(),
        source: Source::Agent,
        kind: proposal.kind.clone(),
        payload: proposal.payload.clone(),
    }
}

/// Path and content of an `fs.write`. The original's `data` is read as well as `content`.
pub fn fs_write(payload: &Value) -> Result<(&str, &str), String> {
    let text = |name: &str| payload.get(name).and_then(Value::as_str);
    let path = text("path").filter(|path| !path.is_empty());
    let path = path.ok_or("fs.write: expected \"path\", a path below the data directory")?;
    let content = text("data").or_else(|| text("content"));
    let content = content.ok_or("fs.write: expected \"data\", the file's content as a text")?;
    Ok((path, content))
}

/// Queue and message of a `queue.send`.
pub fn queue_send(payload: &Value) -> Result<(&str, &Value), String> {
    let queue = payload
        .get("queue")
        .and_then(Value::as_str)
        .filter(|queue| !queue.is_empty());
    let queue = queue.ok_or("queue.send: expected \"queue\", the queue's name")?;
    let message = payload.get("message").ok_or("queue.send: expected \"message\"")?;
    Ok((queue, message))
}

/// The plane that a `device.propose` is for, and its steps. Whether it may is the plane's to say; here it is only a change that
/// a plane could read.
pub fn device_change(payload: &Value) -> Result<Change, String> {
    let change: Change =
        read::from_json(payload).map_err(|report| format!("{DEVICE}: {}", report.to_string().trim_end()))?;
    match change.steps.len() {
        1..=MOST_STEPS => Ok(change),
        found => Err(format!("{DEVICE}: found {found} steps, expected 1 to {MOST_STEPS}")),
    }
}

/// Bytes of a payload as text.
fn size(payload: &Value) -> usize {
    struct Counted(usize);
    impl io::Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counted = Counted(0);
    serde_json::to_writer(&mut counted, payload).map_or(0, |()| counted.0)
}

/// Only what every reader of JSON reads as the same value.
fn plain(value: &Value, depth: usize) -> Result<(), String> {
    if depth > DEEPEST {
        return Err(format!(
            "found a payload of more than {DEEPEST} lists and tables within each other"
        ));
    }
    match value {
        Value::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(i), _) if i.unsigned_abs() <= MAX_INT => Ok(()),
            (None, None) if n.as_f64().is_some_and(f64::is_finite) => Ok(()),
            _ => Err(format!(
                "found the number {n} in a payload, expected an integer within ±(2^53−1)"
            )),
        },
        Value::Array(items) => items.iter().try_for_each(|item| plain(item, depth + 1)),
        Value::Object(members) => members.values().try_for_each(|item| plain(item, depth + 1)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn proposal(id: &str, kind: &str, payload: Value) -> Proposal {
        Proposal {
            id: id.into(),
            kind: kind.into(),
            payload,
        }
    }

    #[test]
    fn the_first_refusal_wins_and_nothing_of_the_job_is_taken_up() {
        let proposals = vec![
            proposal("a", "advance", json!({})),
            proposal("b", "advance", json!({"events": ["explode"]})),
            proposal("c", "nonsense", json!({})),
        ];
        let (back, refusal) = pass(proposals.clone(), &mut |_| Err("asked".into())).unwrap_err();
        assert_eq!((back, refusal.at), (proposals, 1));
        assert!(refusal.reason.contains("explode"));
    }

    #[test]
    fn the_source_is_set_by_the_gate_and_ids_are_unique_in_a_job() {
        let passed = pass(vec![proposal("a", "x.y", json!({"source": "operator"}))], &mut |_| {
            Ok(())
        })
        .unwrap();
        assert_eq!(passed[0].source, Source::Agent);
        let twice = vec![
            proposal("a", "advance", Value::Null),
            proposal("a", "advance", Value::Null),
        ];
        assert!(pass(twice, &mut |_| Ok(())).unwrap_err().1.reason.contains("twice"));
    }

    #[test]
    fn what_surely_passes_is_let_through() {
        let deep = |n: usize| (0..n).fold(json!(1), |inner, _| json!([inner]));
        let payloads = [
            json!({}),
            json!(null),
            json!({"n": 12, "note": "a text"}),
            json!({"events": ["start"]}),
            json!(999_999_999_999_999_u64),
            json!(9_007_199_254_740_991_u64),
            json!(9_007_199_254_740_992_u64),
            json!(1e300),
            json!(-0.000_001),
            deep(DEEPEST),
            deep(DEEPEST + 1),
            json!("x".repeat(PAYLOAD_LIMIT / 2)),
            json!("x".repeat(PAYLOAD_LIMIT)),
        ];
        let mut surely = Vec::new();
        for (at, payload) in payloads.into_iter().enumerate() {
            let mut text = Vec::new();
            // What has no canonical bytes is in no ledger; it is judged all the same.
            serde_json::to_writer(&mut text, &payload).unwrap();
            let text = String::from_utf8(text).unwrap();
            for (id, kind) in [
                ("a", "x.y"),
                ("a", "advance"),
                ("a", "fs.write"),
                ("-", "x.y"),
                ("a", "X"),
                ("b", "x.y"),
            ] {
                let mut ids = HashSet::from(["b".to_owned()]);
                if surely_passes(id, kind, &text, &ids) {
                    surely.push((at, kind));
                    assert_eq!(judge(&proposal(id, kind, payload.clone()), &mut ids), Ok(()), "{text}");
                }
            }
        }
        let tool = [0, 1, 2, 3, 4, 7, 8, 9].map(|at| (at, "x.y"));
        let mut expected = [&tool[..], &[(0, "advance"), (1, "advance")]].concat();
        expected.sort_unstable();
        surely.sort_unstable();
        assert_eq!(surely, expected);
    }

    #[test]
    fn ids_kinds_and_payloads_that_are_none_are_refused() {
        for wrong in [
            proposal("../x", "advance", json!({})),
            proposal("a", "Not A Kind", json!({})),
            proposal("a", "advance", json!({"events": 1})),
            proposal("a", "fs.write", json!({"path": "x"})),
            proposal("a", "queue.send", json!({"queue": "x"})),
            proposal("a", DEVICE, json!({"name": "box", "steps": []})),
            proposal(
                "a",
                DEVICE,
                json!({"name": "box", "steps": [{"type": "file", "path": "etc/x", "content": ""}]}),
            ),
            proposal(
                "a",
                DEVICE,
                json!({"name": "box", "source": "hub", "steps": [{"type": "absent", "path": "/srv/x"}]}),
            ),
            proposal(
                "a",
                DEVICE,
                json!({"name": "box", "agent": "other", "steps": [{"type": "absent", "path": "/srv/x"}]}),
            ),
            proposal("a", "x", json!(u64::MAX)),
        ] {
            assert!(judge(&wrong, &mut HashSet::new()).is_err(), "{wrong:?}");
        }
    }
}
