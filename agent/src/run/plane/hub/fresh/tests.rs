//! Freeze: the hub's words are the real ones, signed; what keeps the newer state from the device is whoever has its network
//! half, or the way to the hub.

use serde_json::{Value, json};

use super::super::Agent;
use super::super::floor::tests::{Bench, freshness, key};
use super::{SHORTEST, Watch};

fn alarm(agent: &Agent<'_>) -> Option<String> {
    agent.live.link.as_ref()?.alarm.clone()
}

/// How often the ledger says it.
fn recorded(bench: &Bench) -> usize {
    let ledger = std::fs::read(bench.path("state/kiosk/ledger/00000000.jsl")).expect("a ledger");
    String::from_utf8_lossy(&ledger).matches("freeze: ").count()
}

/// What a taken-over half says in place of the hub's statement on what is offered.
type Lie = Box<dyn Fn(&Value, u64) -> Value + Send>;

/// So many heartbeats later nobody is alarmed.
fn stays_calm(bench: &Bench, heartbeats: usize, what: &str) {
    let before = bench.hub().heartbeats.len();
    let alarm = bench.run(
        |_| bench.hub().heartbeats.len() >= before + heartbeats,
        |agent| alarm(agent),
    );
    assert_eq!(alarm, None, "{what}");
}

#[test]
fn freeze_a_taken_over_half_that_hides_a_newer_state_raises_an_alarm_until_it_is_given() {
    let bench = Bench::new();
    bench.takes(5);
    // The hub has 6, and vouches for it to this device and its nonce; the half gives what it gave before.
    (bench.hub().offers, bench.hub().gives) = (6, Some(5));
    let told = |bench: &Bench| {
        let hub = bench.hub();
        hub.heartbeats
            .last()
            .is_some_and(|said| said["telemetry"]["alarm"].is_string())
    };
    let why = bench.run(
        |agent| alarm(agent).is_some() && told(&bench),
        |agent| {
            assert_eq!(agent.live.link.as_ref().expect("a link").offered, Some(6));
            alarm(agent).expect("an alarm")
        },
    );
    assert_eq!(
        why,
        "freeze: the hub vouches for version 6, and for 10 minutes nothing newer than 5 has come"
    );
    assert_eq!((recorded(&bench), bench.content().as_str()), (1, "5\n"));
    // It is no outcome of a state's: the hub is not told that one was refused.
    assert_eq!(bench.hub().heartbeats.last().expect("one")["outcome"], Value::Null);

    bench.hub().gives = None;
    bench.run(|agent| bench.content() == "6\n" && alarm(agent).is_none(), |_| ());
    stays_calm(&bench, 30, "the newest state is here");
    assert_eq!(recorded(&bench), 1);
}

#[test]
fn freeze_a_hub_that_vouches_for_nothing_any_more_raises_an_alarm_and_once_in_the_ledger() {
    let bench = Bench::new();
    bench.takes(5);
    let replayed = bench.hub().heartbeats[0].clone();
    let lies: [(&str, Lie); 5] = [
        (
            "an old statement",
            Box::new(move |_, offered| freshness(&json!({}), &replayed, offered, &key(4, "hub-1"))),
        ),
        (
            "another key",
            Box::new(|said, offered| freshness(&json!({}), said, offered, &key(9, "hub-1"))),
        ),
        (
            "an admin's key",
            Box::new(|said, offered| freshness(&json!({}), said, offered, &key(2, "admin-1"))),
        ),
        (
            "another device's",
            Box::new(|said, offered| freshness(&json!({"device": "d2"}), said, offered, &key(4, "hub-1"))),
        ),
        (
            "no signature",
            Box::new(|said, offered| {
                let mut bare = freshness(&json!({}), said, offered, &key(4, "hub-1"));
                bare.as_object_mut().expect("an object").remove("signature");
                bare
            }),
        ),
    ];
    for (at, (what, vouches)) in lies.into_iter().enumerate() {
        bench.hub().vouches = vouches;
        bench.hub().offers = 5;
        let why = bench.run(|agent| alarm(agent).is_some(), |agent| alarm(agent).expect("an alarm"));
        assert!(
            why.starts_with("freeze: the hub answers, and for 10 minutes it has vouched for nothing: "),
            "{what}: {why}"
        );
        // The same words in a row are one record.
        assert!((1..=at + 1).contains(&recorded(&bench)), "{what}");
    }
    bench.hub().vouches = Box::new(|said, offered| freshness(&json!({}), said, offered, &key(4, "hub-1")));
    stays_calm(&bench, 30, "the hub's own word again");
}

#[test]
fn what_nobody_vouched_for_is_not_shown_as_what_the_hub_offers() {
    let bench = Bench::new();
    bench.takes(5);
    bench.hub().vouches = Box::new(|said, _| freshness(&json!({"offered": 99}), said, 99, &key(9, "hub-1")));
    let before = bench.hub().heartbeats.len();
    let offered = bench.run(
        |_| bench.hub().heartbeats.len() >= before + 3,
        |agent| agent.live.link.as_ref().expect("a link").offered,
    );
    assert_eq!(offered, None);
}

/// A watch that may expect something, and minutes for its clock.
fn watch() -> Watch {
    let mut watch = Watch::default();
    watch.may(true);
    watch
}

const MINUTE: u64 = 60_000;

#[test]
fn an_outage_of_any_length_is_no_freeze_and_neither_is_what_comes_in_time() {
    let mut watch = watch();
    watch.answered(0);
    watch.vouched(0, 6, 5);
    // Offline for a month between the word and the state.
    let month = 30 * 24 * 60 * MINUTE;
    assert_eq!(watch.alarm(month, MINUTE), None);
    watch.answered(month);
    watch.vouched(month, 6, 5);
    assert_eq!(watch.alarm(month, MINUTE), None, "two words are not enough");
    watch.vouched(month + MINUTE, 6, 6);
    assert_eq!(watch.alarm(2 * month, MINUTE), None);
    // A version that is older than what is here: a rollout that was aborted.
    watch.vouched(2 * month, 3, 6);
    assert_eq!(watch.alarm(3 * month, MINUTE), None);
}

#[test]
fn a_long_interval_lengthens_the_bound_and_one_newer_version_after_the_other_does_not() {
    let mut watch = watch();
    let hour = 60 * MINUTE;
    for (at, version) in [(0, 6), (hour, 7), (2 * hour, 8)] {
        watch.vouched(at, version, 5);
        assert_eq!(watch.alarm(at, hour), None, "{version}");
    }
    watch.vouched(3 * hour, 9, 5);
    assert!(watch.alarm(3 * hour, hour).is_some_and(|why| why.contains("version 9")));
    assert!(watch.alarm(SHORTEST, MINUTE).is_some());
}

#[test]
fn where_the_trust_document_lets_nobody_vouch_nothing_is_expected() {
    let mut watch = watch();
    watch.answered(0);
    watch.may(false);
    for minute in 0..60 {
        watch.answered(minute * MINUTE);
    }
    assert_eq!(watch.alarm(60 * MINUTE, MINUTE), None);
}
