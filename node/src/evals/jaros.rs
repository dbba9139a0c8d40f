//! Cases as jaros has them: `name` in any words, `kind` or `agent`, and checks of the first decision.
//!
//! All of them are checked on a real node. A field that is none of these is refused by name: a check that nobody makes would
//! pass whatever came.

use jos_schemas::text::Name;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::read::{Case, Wanted};
use super::{Outcome, shown};

/// Letters of a name.
const NAME: usize = 200;

/// A case in its file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    name: String,
    /// 0.2.0 has `kind`, later versions have `agent`.
    #[serde(alias = "kind")]
    agent: String,
    #[serde(default)]
    input: Value,
    #[serde(default)]
    expect: Option<Expect>,
}

/// What must come out, each if it is there.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Expect {
    /// So many decisions are proposed.
    decision_count: Option<usize>,
    /// The first is of this kind.
    #[serde(alias = "decision_type")]
    decision_kind: Option<String>,
    /// It is of this agent.
    source: Option<String>,
    /// Its payload has these members.
    payload_contains: Option<Map<String, Value>>,
    /// Whether it passes the gate.
    gate: Option<Gate>,
    /// It acts, and its result has these members.
    result_contains: Option<Map<String, Value>>,
    /// It acts, and gives the same when all of it is done again.
    deterministic: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Gate {
    Accept,
    Reject,
}

/// Whether a document is one of theirs: ours say what they are.
pub(super) fn is_one(value: &Value) -> bool {
    value.is_object() && value.get("kind").is_none_or(|kind| kind != "jos.eval")
}

/// Reads one.
pub(super) fn case(value: &Value) -> Result<Case, String> {
    let document = Document::deserialize(value)
        .map_err(|e| format!("{e}; a case of jos has \"kind\": \"jos.eval\", this is read as one of jaros"))?;
    let name = document.name;
    let is_name = !name.is_empty()
        && !name.starts_with('-')
        && name.chars().count() <= NAME
        && !name.chars().any(char::is_control);
    if !is_name {
        return Err(format!(
            "found the name {name:?}, expected 1 to {NAME} characters on one line that do not begin with '-'"
        ));
    }
    let agent = Name::new(&document.agent).map_err(|e| format!("agent: {e}"))?;
    let expect = document.expect.unwrap_or_default();
    let none = Expect {
        deterministic: expect.deterministic.filter(|wanted| !wanted),
        ..Expect::default()
    };
    if expect == none {
        return Err("expect: found no check, expected at least one".into());
    }
    Ok(Case {
        name,
        agent,
        input: document.input,
        wanted: Wanted::Theirs(expect),
    })
}

impl Expect {
    /// Whether the case is to be run twice.
    pub(super) fn is_twice(&self) -> bool {
        self.deterministic == Some(true)
    }

    /// Every check that does not hold; `again` is what came of the second run, where there was one.
    pub(super) fn differences(&self, agent: &Name, outcome: &Outcome, again: Option<&Outcome>) -> Vec<String> {
        let mut differs = Vec::new();
        let count = outcome.proposed.len();
        if let Some(wanted) = self.decision_count
            && wanted != count
        {
            differs.push(format!("decision_count: found {count}, expected {wanted}"));
        }
        let Some(first) = outcome.proposed.first() else {
            let only_counted = Self {
                decision_count: self.decision_count,
                ..Self::default()
            };
            if *self != only_counted {
                differs.push("found no decision, expected one to be checked".into());
            }
            return differs;
        };
        if let Some(wanted) = &self.decision_kind
            && *wanted != first.kind
        {
            differs.push(format!("decision_kind: found {:?}, expected {wanted:?}", first.kind));
        }
        if let Some(wanted) = &self.source
            && wanted != agent.as_str()
        {
            differs.push(format!("source: found {agent}, expected {wanted}"));
        }
        if let Some(wanted) = &self.payload_contains {
            differs.extend(missing("payload_contains", wanted, &first.payload));
        }
        let is_refused = outcome.refused.as_ref().is_some_and(|id| *id == first.id);
        match self.gate {
            Some(Gate::Accept) if is_refused => differs.push("gate: found reject, expected accept".into()),
            Some(Gate::Reject) if !is_refused => differs.push("gate: found accept, expected reject".into()),
            _ => {}
        }
        if let Some(wanted) = &self.result_contains {
            match &outcome.first {
                Some(Ok(result)) => differs.extend(missing("result_contains", wanted, result)),
                _ => differs.push("result_contains: found no result, expected one".into()),
            }
        }
        if let Some(again) = again {
            match (&outcome.first, &again.first) {
                (Some(Ok(one)), Some(Ok(other))) if one == other => {}
                (Some(Ok(one)), Some(Ok(other))) => {
                    differs.push(format!("deterministic: found {}, then {}", shown(one), shown(other)));
                }
                _ => differs.push("deterministic: found no result, expected the same twice".into()),
            }
        }
        differs
    }
}

/// What of `wanted` the members of `found` do not have.
fn missing<'w>(check: &'w str, wanted: &'w Map<String, Value>, found: &'w Value) -> impl Iterator<Item = String> + 'w {
    let differs = wanted.iter().filter(|(name, wanted)| match found.get(name) {
        Some(found) => !is_same(found, wanted),
        None => !wanted.is_null() || !found.is_object(),
    });
    differs.map(move |(name, wanted)| {
        let found = found.get(name).map_or_else(|| "nothing".to_owned(), Value::to_string);
        format!("{check}.{name}: found {found}, expected {wanted}")
    })
}

/// As there, 1 is 1.0.
fn is_same(one: &Value, other: &Value) -> bool {
    one == other || (one.is_number() && one.as_f64() == other.as_f64())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Outcome, Seen};
    use super::*;

    fn expect(expect: Value) -> Expect {
        let value = json!({ "name": "a case", "agent": "a", "expect": expect });
        let Wanted::Theirs(expect) = case(&value).expect("a case").wanted else {
            panic!("one of theirs");
        };
        expect
    }

    fn outcome() -> Outcome {
        Outcome {
            proposed: vec![Seen {
                id: "eval-1".into(),
                kind: "fs.stat".into(),
                payload: json!({ "path": ".", "depth": 1 }),
            }],
            first: Some(Ok(json!({ "tool": "fs.stat", "size": 2.0 }))),
            ..Outcome::default()
        }
    }

    #[test]
    fn each_check_of_theirs_can_hold_and_can_fail() {
        let agent = Name::new("a").expect("a name");
        for (good, bad) in [
            (json!({ "decision_count": 1 }), json!({ "decision_count": 2 })),
            (json!({ "decision_kind": "fs.stat" }), json!({ "decision_kind": "fs" })),
            (json!({ "decision_type": "fs.stat" }), json!({ "decision_type": "x" })),
            (json!({ "source": "a" }), json!({ "source": "operator" })),
            (
                json!({ "payload_contains": { "path": "." } }),
                json!({ "payload_contains": { "path": "/" } }),
            ),
            (
                json!({ "payload_contains": { "absent": null } }),
                json!({ "payload_contains": { "absent": 0 } }),
            ),
            (json!({ "gate": "accept" }), json!({ "gate": "reject" })),
            (
                json!({ "result_contains": { "size": 2 } }),
                json!({ "result_contains": { "size": 3 } }),
            ),
        ] {
            assert_eq!(
                expect(good.clone()).differences(&agent, &outcome(), None),
                [""; 0],
                "{good}"
            );
            assert_eq!(
                expect(bad.clone()).differences(&agent, &outcome(), None).len(),
                1,
                "{bad}"
            );
        }
        let twice = expect(json!({ "deterministic": true }));
        assert_eq!(twice.differences(&agent, &outcome(), Some(&outcome())), [""; 0]);
        let other = Outcome {
            first: Some(Ok(json!({ "size": 3 }))),
            ..outcome()
        };
        assert!(twice.differences(&agent, &outcome(), Some(&other))[0].starts_with("deterministic"));
        let refused = Outcome {
            refused: Some("eval-1".into()),
            first: None,
            ..outcome()
        };
        assert_eq!(
            expect(json!({ "gate": "reject" })).differences(&agent, &refused, None),
            [""; 0]
        );
        assert_eq!(
            expect(json!({ "gate": "accept" }))
                .differences(&agent, &refused, None)
                .len(),
            1
        );
        assert_eq!(
            expect(json!({ "result_contains": {} }))
                .differences(&agent, &refused, None)
                .len(),
            1
        );
    }

    #[test]
    fn a_case_that_checks_nothing_or_something_that_nobody_knows_is_refused() {
        for (value, expected) in [
            (json!({ "name": "n", "kind": "a" }), "no check"),
            (
                json!({ "name": "n", "kind": "a", "expect": { "deterministic": false } }),
                "no check",
            ),
            (
                json!({ "name": "n", "kind": "a", "expect": { "results": 1 } }),
                "unknown field `results`",
            ),
            (
                json!({ "name": "n", "kind": "a", "agent": "a", "expect": { "source": "a" } }),
                "duplicate field",
            ),
            (
                json!({ "name": "--model", "kind": "a", "expect": { "source": "a" } }),
                "'-'",
            ),
            (
                json!({ "name": "n", "kind": "A b", "expect": { "source": "a" } }),
                "agent",
            ),
            (
                json!({ "name": "n", "kind": "a", "expect": { "gate": "maybe" } }),
                "unknown variant `maybe`",
            ),
        ] {
            let why = case(&value).expect_err(expected);
            assert!(why.contains(expected), "{value}: {why}");
        }
    }
}
