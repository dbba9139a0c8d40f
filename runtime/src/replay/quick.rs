//! The payloads that a long ledger is full of, read as fast as their bytes can be looked at.
//!
//! Owns a second reading of a step of a flow that writes a text, and of an outcome with one change. It knows what the chain
//! has proved before: the bytes are canonical, so members stand in one order and one spelling. What it does not know by
//! heart it leaves to the first reading (`None`), which also words every refusal: so it is quick, or it is not there.

use std::borrow::Cow;

use jos_schemas::documents::desired_state::{Content, FileStep, Step};
use jos_schemas::documents::ledger::OutcomeKind;
use jos_schemas::documents::policy::Source;
use jos_schemas::text::{AbsPath, Mode, Owner};
use jos_trust::Digest;

use super::line::{ChangeLine, Ids, ReportLine, ShapeLine};
use crate::ledger::Cursor;
use crate::plan::Action;

/// A step of a flow, and what is in its payload beside it.
pub(super) struct QuickFlow<'a> {
    pub(super) id: &'a str,
    pub(super) artifact: &'a str,
    pub(super) step: &'a str,
    pub(super) gate: Digest,
    pub(super) ids: Ids<'a>,
    pub(super) act: Step,
}

/// A `decision` of kind `flow.step` by an artifact that writes a text file.
pub(super) fn flow(payload: &[u8]) -> Option<QuickFlow<'_>> {
    let mut at = Cursor::new(payload)?;
    let id = at.after("{\"id\":")?.text()?;
    at.after(",\"kind\":\"flow.step\",\"payload\":{\"act\":{\"content\":")?;
    let content = Some(Content::Text(at.text()?.to_owned()));
    let mode = at.maybe(",\"mode\":", Cursor::text)?;
    let owner = at.maybe(",\"owner\":", Cursor::text)?;
    let path = AbsPath::new(at.after(",\"path\":")?.text()?).ok()?;
    let act = Step::File(FileStep {
        path,
        content,
        source: None,
        mode: mode.map(Mode::new).transpose().ok()?,
        owner: owner.map(Owner::new).transpose().ok()?,
        notify: Vec::new(),
    });
    let artifact = at.after(",\"type\":\"file\"},\"artifact\":")?.text()?;
    let gate = at.after(",\"gate\":")?.text()?.parse().ok()?;
    let ids = at.maybe(",\"ids\":", ids)?.unwrap_or_default();
    let step = at.after(",\"step\":")?.text()?;
    at.after("},\"source\":\"artifact\"}")?.end()?;
    Some(QuickFlow {
        id,
        artifact,
        step,
        gate,
        ids,
        act,
    })
}

/// An outcome with one change and nothing besides.
pub(super) fn report(payload: &[u8]) -> Option<ReportLine<'_>> {
    let mut at = Cursor::new(payload)?;
    at.after("{\"changes\":[{\"action\":")?;
    let action = match at.text()? {
        "create" => Action::Create,
        "update" => Action::Update,
        _ => return None,
    };
    let after = at.maybe(",\"after\":", shape)?;
    let before = at.maybe(",\"before\":", shape)?;
    at.after(",\"source\":\"artifact\",\"step\":")?;
    let step = Cow::Borrowed(at.text()?);
    let what = Cow::Borrowed(at.after(",\"what\":")?.text()?);
    at.after("}],\"outcome\":\"applied\"}")?.end()?;
    let change = ChangeLine {
        step,
        source: Source::Artifact,
        action,
        what,
        details: Vec::new(),
        before,
        after,
    };
    Some(ReportLine::of(OutcomeKind::Applied, vec![change]))
}

fn ids<'a>(at: &mut Cursor<'a>) -> Option<Ids<'a>> {
    let mut ids = Ids::new();
    at.after("{")?;
    while at.after("}").is_none() {
        if !ids.is_empty() {
            at.after(",")?;
        }
        let name = at.text()?;
        ids.insert(name, at.after(":")?.text()?);
    }
    Some(ids)
}

/// A file as everybody may read it.
fn shape<'a>(at: &mut Cursor<'a>) -> Option<ShapeLine<'a>> {
    at.after("{\"kind\":\"file\",\"mode\":")?;
    let mode = Some(at.text()?);
    let owner = at.after(",\"owner\":")?.text()?;
    let sha256 = Some(at.after(",\"sha256\":")?.text()?);
    let size = Some(at.after(",\"size\":")?.number()?);
    at.after("}")?;
    Some(ShapeLine {
        kind: Cow::Borrowed("file"),
        mode,
        owner,
        size,
        sha256,
        mac: None,
        secret: None,
        target: None,
    })
}

#[cfg(test)]
mod tests {
    use jos_schemas::read::{self, Format};
    use serde_json::{Value, json};

    use super::*;
    use crate::replay::line::{Decided, Flow};

    /// Whether a payload is read quickly: then the first reading takes it too, and reads the same.
    fn quick(payload: &[u8]) -> bool {
        if let Some(quick) = flow(payload) {
            let decided: Decided<'_> = serde_json::from_slice(payload).unwrap();
            let slow: Flow<'_> = serde_json::from_str(decided.payload.get()).unwrap();
            let act = read::document::<Step>("step", slow.act.get().as_bytes(), Format::Json).unwrap();
            assert_eq!((decided.kind, decided.source), ("flow.step", Source::Artifact));
            assert_eq!(
                (quick.id, quick.artifact, quick.step),
                (decided.id, &*slow.artifact, &*slow.step)
            );
            assert_eq!((quick.gate, quick.ids, quick.act), (slow.gate, slow.ids, act.value));
            assert!(slow.found.is_none() && slow.inputs.is_none());
            return true;
        }
        match report(payload) {
            Some(quick) => {
                assert_eq!(quick, serde_json::from_slice(payload).unwrap());
                true
            }
            None => false,
        }
    }

    fn bytes(payload: &Value) -> Vec<u8> {
        let node = jos_schemas::node::Node::from_json(payload);
        jos_trust::canonical::to_bytes(&node).unwrap()
    }

    fn samples() -> [Vec<u8>; 3] {
        let hash = "a1".repeat(32);
        let decision = json!({ "id": "kiosk-page", "source": "artifact", "kind": "flow.step", "payload": {
            "artifact": "kiosk", "step": "page", "gate": hash, "ids": { "": "0:0", "lp": "7:7" },
            "act": { "type": "file", "path": "/srv/é", "content": "text é", "mode": "0600", "owner": "lp:lp" } } });
        let mut plain = decision.clone();
        plain["payload"]["act"] = json!({ "type": "file", "path": "/srv/a", "content": "" });
        let shape = json!({ "kind": "file", "mode": "0644", "owner": "0:0", "size": 12, "sha256": hash });
        let outcome = json!({ "outcome": "applied", "changes": [{ "step": "step 1 (file /srv/a)", "source": "artifact",
            "action": "update", "what": "/srv/a", "before": shape, "after": shape }] });
        [bytes(&decision), bytes(&plain), bytes(&outcome)]
    }

    #[test]
    fn what_is_read_quickly_is_read_alike_whatever_byte_is_another() {
        for sample in samples() {
            assert!(quick(&sample));
            for at in 0..sample.len() {
                for byte in [
                    b'"', b'\\', b'{', b'}', b',', b':', b'0', b'9', b'a', b'/', b' ', 0x1f, 0x7f, 0xc3,
                ] {
                    let mut near = sample.clone();
                    near[at] = byte;
                    quick(&near);
                }
                quick(&sample[..at]);
                quick(&[&sample[..at], &sample[at + 1..]].concat());
                quick(&[&sample[..at], b"0", &sample[at..]].concat());
            }
        }
    }

    #[test]
    fn what_is_not_known_by_heart_is_left_to_the_first_reading() {
        let text = String::from_utf8(samples()[1].clone()).unwrap();
        for (from, to) in [
            ("\"content\":\"\"", "\"content\":\"\\n\""),
            ("\"content\":\"\"", "\"content\":{\"secret\":\"wifi\"}"),
            ("\"/srv/a\"", "\"srv/a\""),
            ("\"/srv/a\"", "\"/srv/a\",\"notify\":[\"cups\"]"),
            ("\"gate\":\"a1", "\"gate\":\"A1"),
            ("\"source\":\"artifact\"", "\"source\":\"hub\""),
        ] {
            let changed = text.replace(from, to);
            assert!(changed != text && !quick(changed.as_bytes()), "{changed}");
        }
        let long = text.replace(
            "\"content\":\"\"",
            &format!("\"content\":\"{}\"", "x".repeat(Cursor::MOST)),
        );
        assert!(!quick(long.as_bytes()));
    }
}
