//! The state machine that every job drives: five states, six events, one table.

use jos_schemas::documents::runtime::MachineState;
use serde_json::Value;

use MachineState::{Blocked, Done, Failed, Pending, Running};

/// The states, in the order of the table.
pub const STATES: [MachineState; 5] = [Pending, Running, Blocked, Done, Failed];
/// The events.
pub const EVENTS: [&str; 6] = ["start", "block", "unblock", "complete", "fail", "reset"];
/// What is allowed. The only place that says so.
pub const TRANSITIONS: [(MachineState, &str, MachineState); 8] = [
    (Pending, "start", Running),
    (Pending, "fail", Failed),
    (Running, "block", Blocked),
    (Running, "complete", Done),
    (Running, "fail", Failed),
    (Blocked, "unblock", Running),
    (Blocked, "fail", Failed),
    (Failed, "reset", Pending),
];
/// What `advance` does where no events are named.
pub(crate) const USUAL: [&str; 2] = ["start", "complete"];
/// Most events in one decision.
const MOST: usize = 64;

/// As documents write it.
pub const fn word(state: MachineState) -> &'static str {
    match state {
        Pending => "PENDING",
        Running => "RUNNING",
        Blocked => "BLOCKED",
        Done => "DONE",
        Failed => "FAILED",
    }
}

/// The state after an event, or what would have been possible.
pub fn step(state: MachineState, event: &str) -> Result<MachineState, String> {
    let allowed = || TRANSITIONS.iter().filter(|(from, ..)| *from == state);
    if let Some((.., to)) = allowed().find(|(_, name, _)| *name == event) {
        return Ok(*to);
    }
    let words: Vec<&str> = allowed().map(|(_, name, _)| *name).collect();
    let expected = if words.is_empty() {
        "no event".to_owned()
    } else {
        words.join(" or ")
    };
    Err(format!(
        "the machine is {}: found the event {event:?}, expected {expected}",
        word(state)
    ))
}

/// The events that an `advance` payload names.
pub fn events(payload: &Value) -> Result<Vec<&str>, String> {
    let members = match payload {
        Value::Null => return Ok(USUAL.to_vec()),
        Value::Object(members) => members,
        _ => {
            return Err(
                "advance: found a payload that is no object, expected {\"events\": [\u{2026}], \"note\": \u{2026}}"
                    .into(),
            );
        }
    };
    let listed = match members.get("events") {
        None | Some(Value::Null) => return Ok(USUAL.to_vec()),
        Some(Value::Array(listed)) if (1..=MOST).contains(&listed.len()) => listed,
        Some(_) => {
            return Err(format!(
                "advance: expected \"events\" to be a list of 1 to {MOST} events"
            ));
        }
    };
    let known = |event: &Value| EVENTS.into_iter().find(|name| event.as_str() == Some(name));
    listed
        .iter()
        .map(|event| {
            known(event).ok_or_else(|| {
                format!(
                    "advance: found the event {event}, expected one of {}",
                    EVENTS.join(", ")
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_that_is_done_takes_no_event_and_one_that_failed_may_be_reset() {
        for event in EVENTS {
            assert!(step(Done, event).is_err(), "{event}");
        }
        assert_eq!(step(Failed, "reset"), Ok(Pending));
        assert_eq!(
            step(Pending, "complete").unwrap_err(),
            "the machine is PENDING: found the event \"complete\", expected start or fail"
        );
    }

    #[test]
    fn every_transition_leads_from_a_state_by_an_event_to_another_state() {
        for (from, event, to) in TRANSITIONS {
            assert!(STATES.contains(&from) && EVENTS.contains(&event) && from != to);
            assert_eq!(step(from, event), Ok(to));
        }
    }

    #[test]
    fn events_are_listed_and_known() {
        assert_eq!(events(&json!({})), Ok(vec!["start", "complete"]));
        assert_eq!(
            events(&json!({"events": ["start", "fail"], "note": 1})),
            Ok(vec!["start", "fail"])
        );
        assert!(events(&json!({"events": []})).is_err());
        assert!(events(&json!({"events": ["begin"]})).unwrap_err().contains("\"begin\""));
        assert!(events(&json!("start")).is_err());
    }
}
