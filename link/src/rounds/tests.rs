use jos_schemas::documents::hub::{Freshness, FreshnessKind};
use jos_schemas::text::{Name, Utc};
use jos_trust::Digest;
use proptest::prelude::*;
use serde_json::json;

use super::*;

mod floor;
mod hub_ca;
mod questions;
mod world;
use crate::token::SECRET;
use crate::wire::{HeartbeatReply, Held, Question};
use world::{Mood, World};

const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

#[test]
fn a_new_device_enrols_and_then_calls() {
    let mut world = World::new(None, 1);
    world.run(10 * 60 * SECOND);
    assert!(world.enrolled);
    let first: Vec<&str> = world.asked.iter().take(3).map(|(_, r)| r.path.as_str()).collect();
    assert_eq!(first, [path::CA, path::ENROL, path::HEARTBEAT]);
    let doors: Vec<Door> = world.asked.iter().take(3).map(|(_, r)| r.door).collect();
    assert_eq!(doors, [Door::Anybody, Door::Stranger, Door::Device]);
    assert_eq!((world.count(path::CA), world.count(path::ENROL)), (1, 1));
    assert!(
        (9..=13).contains(&world.count(path::HEARTBEAT)),
        "{}",
        world.count(path::HEARTBEAT)
    );
}

#[test]
fn a_state_is_taken_once_and_its_report_goes_before_the_next_wait() {
    let mut world = World::new(Some("d1"), 2);
    world.version = 1;
    world.run(HOUR);
    world.version = 2;
    world.run(2 * HOUR);
    assert_eq!(world.states, [1, 2]);
    assert_eq!((world.reported, world.waiting), (2, 0));
    let at = world.asked.iter().position(|(_, r)| r.path == path::REPORT).unwrap();
    let before: Vec<&str> = world.asked[..at].iter().map(|(_, r)| &r.path[..12]).collect();
    assert_eq!(before, ["/v1/heartbea", "/v1/state/ki", "/v1/heartbea"]);
}

#[test]
fn years_go_by_with_renewals_and_no_certificate_ever_ends() {
    let mut world = World::new(Some("d1"), 3);
    world.turn.set_interval(3600);
    world.run(3 * YEAR);
    assert_eq!(world.count(path::RECOVER), 0);
    // Every two thirds of a fortnight.
    assert!(
        (112..=122).contains(&world.count(path::RENEW)),
        "{}",
        world.count(path::RENEW)
    );
}

#[test]
fn months_without_a_hub_end_by_the_ledger_key_and_cost_little_meanwhile() {
    let mut world = World::new(Some("d1"), 4);
    world.version = 1;
    world.run(DAY);
    world.mood = Mood::Away;
    let before = world.asked.len();
    world.run(90 * DAY);
    let asked = world.asked.len() - before;
    // At least every ten minutes, at most every three.
    assert!((90 * 144..=90 * 480).contains(&asked), "{asked}");
    (world.mood, world.version) = (Mood::Well, 2);
    world.run(90 * DAY + HOUR);
    assert_eq!((world.count(path::CHALLENGE), world.count(path::RECOVER)), (1, 1));
    assert_eq!(world.states, [1, 2]);
    assert_eq!(world.turn.trouble(), None);
}

#[test]
fn every_address_is_tried_and_the_one_that_answers_stays() {
    let mut world = World::new(Some("d1"), 5);
    world.mood = Mood::Away;
    world.run(HOUR);
    let seen: Vec<u8> = world.asked.iter().take(4).map(|(_, r)| r.address).collect();
    assert_eq!(seen, [0, 1, 0, 1]);
    world.mood = Mood::Well;
    let stays = world.turn.address();
    let before = world.asked.len();
    world.run(2 * HOUR);
    assert!(world.asked[before..].iter().all(|(_, r)| r.address == stays));
}

#[test]
fn a_hub_that_says_when_to_come_again_is_not_called_before_not_even_by_impatience() {
    let mut world = World::new(Some("d1"), 6);
    world.mood = Mood::Busy(600);
    world.run(SECOND);
    assert_eq!(world.asked.len(), 1);
    world.turn.poke(world.now);
    world.run(599 * SECOND);
    assert_eq!(world.asked.len(), 1);
    world.mood = Mood::Well;
    world.run(700 * SECOND);
    assert!(world.asked.len() > 1);
    // A hub cannot send a device away for good.
    world.mood = Mood::Busy(u32::MAX - 1);
    world.run(world.now + HOUR);
    let before = world.asked.len();
    world.run(world.now + 3 * DAY);
    assert!(world.asked.len() > before);
}

#[test]
fn a_herd_that_is_told_to_come_again_is_spread_over_a_tenth_of_that_and_a_second() {
    let comes = |seed| {
        let mut world = World::new(Some("d1"), seed);
        world.mood = Mood::Busy(600);
        world.run(SECOND);
        world.mood = Mood::Well;
        world.run(700 * SECOND);
        world.asked.get(1).expect("it comes again").0
    };
    let mut herd: Vec<u64> = (0..200).map(comes).collect();
    herd.sort_unstable();
    let (first, last) = (herd[0], herd[herd.len() - 1]);
    assert!(first >= 600 * SECOND, "{first}");
    assert!(last <= 662 * SECOND, "{last}");
    // Nobody waits in step with many others: in no second of the minute come more than a tenth of them.
    assert!(last - first > 50 * SECOND, "{first} to {last}");
    for second in (first..=last).step_by(1000) {
        let at_once = herd.iter().filter(|at| (second..second + SECOND).contains(at)).count();
        assert!(at_once <= 20, "{at_once} of 200 in the second from {second}");
    }
}

#[test]
fn trust_documents_are_walked_one_version_at_a_time() {
    let mut world = World::new(Some("d1"), 7);
    world.version = 1;
    world.run(HOUR);
    world.trust = 5;
    world.run(2 * HOUR);
    assert_eq!(world.trusts, [2, 3, 4, 5]);
    // What was refused under the old keys may be good under the new ones: it is looked at again.
    assert_eq!(world.states.last(), Some(&1));
    assert!(world.states.len() >= 2);
    let asked = world.count(path::TRUST);
    world.run(DAY);
    assert_eq!(world.count(path::TRUST), asked);
}

#[test]
fn without_a_trust_document_versions_are_tried_downwards() {
    let mut world = World::new(Some("d1"), 8);
    let known = Known {
        name: "kiosk".into(),
        device: Some("d1".into()),
        trust: 0,
        hub_ca: 0,
        addresses: 1,
    };
    world.turn = Loop::new(Pace::every(60), known, None, 8, 0);
    // The token named version 2; the hub is at 4 by now.
    (world.trust, world.host_trust) = (4, 1);
    world.run(HOUR);
    assert_eq!(world.trusts, [2, 3, 4]);
    let asked: Vec<&str> = world
        .asked
        .iter()
        .map(|(_, r)| r.path.as_str())
        .filter(|p| p.starts_with(path::TRUST))
        .collect();
    assert_eq!(
        asked,
        [
            "/v1/trust/4",
            "/v1/trust/3",
            "/v1/trust/2",
            "/v1/trust/3",
            "/v1/trust/4"
        ]
    );
}

#[test]
fn a_device_that_has_just_learnt_whose_word_counts_is_told_the_time_before_it_asks_for_a_state() {
    let mut world = World::new(Some("d1"), 8);
    let known = Known {
        name: "kiosk".into(),
        device: Some("d1".into()),
        trust: 0,
        hub_ca: 0,
        addresses: 1,
    };
    world.turn = Loop::new(Pace::every(60), known, None, 8, 0);
    (world.trust, world.host_trust, world.version) = (3, 0, 1);
    world.run(30 * SECOND);
    let asked: Vec<&str> = world.asked.iter().map(|(_, r)| r.path.as_str()).collect();
    let trusts = asked.iter().skip(1).take_while(|path| path.starts_with(path::TRUST));
    let next = 1 + trusts.count();
    assert_eq!(
        (world.trusts.as_slice(), asked[next]),
        ([1, 2, 3].as_slice(), path::HEARTBEAT),
        "{asked:?}"
    );
    assert!(asked[next + 1].starts_with(path::STATE), "{asked:?}");
}

#[test]
fn a_hub_that_answers_everything_at_once_keeps_nobody_busy() {
    let mut world = World::new(Some("d1"), 9);
    (world.mood, world.version) = (Mood::Hasty, 1);
    world.run(HOUR);
    assert!(world.asked.len() < 720 * 5, "{}", world.asked.len());
}

#[test]
fn a_herd_is_spread_when_the_hub_goes_away() {
    let mut at: Vec<u64> = (0..200)
        .map(|seed| {
            let mut world = World::new(Some("d1"), seed);
            world.mood = Mood::Away;
            world.run(11 * SECOND);
            match world.turn.next(world.now) {
                Action::Rest { until } => until,
                _ => world.asked.last().unwrap().0,
            }
        })
        .collect();
    at.sort_unstable();
    assert!(at[190] - at[10] > 700, "{} to {}", at[10], at[190]);
}

#[test]
fn a_token_that_the_hub_does_not_take_is_not_tried_again_and_again() {
    let mut world = World::new(None, 10);
    let mut bad = 0;
    while world.now < DAY {
        let took = match world.turn.next(world.now) {
            Action::Rest { until } => {
                world.now = until;
                continue;
            }
            Action::Ask(request) if request.path == path::ENROL => {
                bad += 1;
                Took::Reply(Reply::Answer {
                    status: 403,
                    retry_after: None,
                    etag: None,
                    body: br#"{"code":"bad-token","message":"used up"}"#.to_vec(),
                })
            }
            Action::Ask(request) => Took::Reply(world.reply(&request, DAY)),
            Action::Write(document) => Took::Written(world.written(&document)),
            Action::Take(_) => Took::Taken(Taken::Done),
        };
        world.turn.took(world.now, took);
    }
    assert!((20..=28).contains(&bad), "{bad}");
    assert!(world.turn.trouble().unwrap().contains("used up"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_the_hub_answers_the_loop_goes_on_and_rests(
        seed: u64,
        answers in prop::collection::vec((0..4u8, 100..600u16, prop::option::of(0..100u32), prop::collection::vec(any::<u8>(), 0..40)), 1..60),
    ) {
        let mut world = World::new(if seed % 2 == 0 { Some("d1") } else { None }, seed);
        let (mut now, mut asked) = (0, 0);
        let mut at = answers.iter().cycle();
        for _ in 0..2000 {
            let took = match world.turn.next(now) {
                Action::Rest { until: u64::MAX } => break,
                Action::Rest { until } => { now = until; continue; }
                Action::Ask(_) => {
                    asked += 1;
                    let (kind, status, retry_after, body) = at.next().unwrap().clone();
                    Took::Reply(match kind {
                        0 => Reply::Failed { certificate: status % 2 == 0, text: "x".into() },
                        _ => Reply::Answer { status, retry_after, etag: None, body },
                    })
                }
                Action::Write(_) => Took::Written(if seed % 3 == 0 { None } else { Some(Vec::new()) }),
                Action::Take(_) => Took::Taken(if seed % 5 == 0 { Taken::Refused } else { Taken::Done }),
            };
            world.turn.took(now, took);
        }
        // Some pause lies between any few questions.
        prop_assert!(asked <= 40 + now / 200, "{asked} questions in {now} ms");
    }
}
