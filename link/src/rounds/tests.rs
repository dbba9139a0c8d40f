use jos_schemas::documents::hub::{Freshness, FreshnessKind};
use jos_schemas::text::{Name, Utc};
use jos_trust::Digest;
use proptest::prelude::*;
use serde_json::json;

use super::*;

mod floor;
mod hub_ca;
mod questions;
use crate::token::SECRET;
use crate::wire::{HeartbeatReply, Held, Question};

const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

/// How the hub behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Well,
    /// No address answers.
    Away,
    /// Answers everything at once, whatever was asked, with what was asked for.
    Hasty,
    /// `503` with this `Retry-After`.
    Busy(u32),
}

/// A hub and the host of one device, in virtual time.
struct World {
    turn: Loop,
    now: u64,
    mood: Mood,
    enrolled: bool,
    certificate_ends: u64,
    version: u64,
    trust: u64,
    hub_ca: u64,
    host_trust: u64,
    /// Versions that the host was given.
    states: Vec<u64>,
    trusts: Vec<u64>,
    waiting: u64,
    reported: u64,
    questions: Vec<Question>,
    /// Whether the device has lost how far it had come, and what it makes of the hub's word.
    lost: Option<Taken>,
    asked: Vec<(u64, Request)>,
    news: Vec<News>,
}

fn token() -> Token {
    Token {
        addresses: vec!["https://a".into(), "https://b".into()],
        ca: Digest::ZERO,
        trust: None,
        secret: [7; SECRET],
    }
}

impl World {
    fn new(device: Option<&str>, seed: u64) -> Self {
        let known = Known {
            name: "kiosk".into(),
            device: device.map(str::to_owned),
            trust: 1,
            hub_ca: 0,
            addresses: 2,
        };
        Self {
            turn: Loop::new(Pace::every(60), known, device.is_none().then(token), seed, 0),
            now: 0,
            mood: Mood::Well,
            enrolled: device.is_some(),
            certificate_ends: 14 * DAY,
            version: 0,
            trust: 1,
            hub_ca: 0,
            host_trust: 1,
            states: Vec::new(),
            trusts: Vec::new(),
            waiting: 0,
            reported: 0,
            questions: Vec::new(),
            lost: None,
            asked: Vec::new(),
            news: Vec::new(),
        }
    }

    /// Until `end`, or for as long as a step takes that has begun before it.
    fn run(&mut self, end: u64) {
        let mut steps = 0;
        while self.now < end {
            steps += 1;
            assert!(steps < 5_000_000, "the loop turns without resting");
            let took = match self.turn.next(self.now) {
                Action::Rest { until } => {
                    assert!(until > self.now, "a rest that is over");
                    self.now = until.min(end);
                    continue;
                }
                Action::Ask(request) => {
                    self.asked.push((self.now, request.clone()));
                    Took::Reply(self.reply(&request, end))
                }
                Action::Write(document) => Took::Written(self.written(&document)),
                Action::Take(news) => {
                    let taken = self.takes(&news);
                    self.news.push(news);
                    Took::Taken(taken)
                }
            };
            self.turn.took(self.now, took);
        }
    }

    fn written(&self, document: &Document) -> Option<Vec<u8>> {
        match document {
            Document::Report if self.waiting == 0 => None,
            Document::Floor => self.lost.map(|_| b"n-1".to_vec()),
            _ => Some(b"{}".to_vec()),
        }
    }

    fn takes(&mut self, news: &News) -> Taken {
        match news {
            News::State(bytes) => {
                self.states.push(String::from_utf8_lossy(bytes).parse().unwrap());
                self.waiting += 1;
                Taken::Done
            }
            News::Trust { version, .. } if *version == self.host_trust + 1 => {
                self.host_trust = *version;
                self.trusts.push(*version);
                Taken::Trust(*version)
            }
            News::Trust { .. } => Taken::Refused,
            News::Floor(_) if self.lost == Some(Taken::Refused) => Taken::Refused,
            // Signed by keys of the second trust document.
            News::HubCa(_) if self.host_trust < 2 => Taken::Refused,
            News::HubCa(bytes) => Taken::HubCa(String::from_utf8_lossy(bytes).parse().unwrap()),
            News::Reported { .. } => {
                self.waiting -= 1;
                self.reported += 1;
                Taken::Done
            }
            News::Enrolled(_) => {
                self.enrolled = true;
                self.certificate_ends = self.now + 14 * DAY;
                Taken::Done
            }
            News::Certificate(_) => {
                self.certificate_ends = self.now + 14 * DAY;
                Taken::Done
            }
            _ => Taken::Done,
        }
    }

    fn reply(&mut self, request: &Request, end: u64) -> Reply {
        let answer = |status, body: String| Reply::Answer {
            status,
            retry_after: None,
            etag: None,
            body: body.into_bytes(),
        };
        match self.mood {
            Mood::Away => {
                self.now += 10 * SECOND;
                return Reply::failed("no route");
            }
            Mood::Busy(seconds) => {
                return Reply::Answer {
                    status: 503,
                    retry_after: Some(seconds),
                    etag: None,
                    body: br#"{"code":"busy","message":"later"}"#.to_vec(),
                };
            }
            Mood::Well | Mood::Hasty => {}
        }
        if request.door == Door::Device && self.now >= self.certificate_ends {
            return Reply::Failed {
                certificate: true,
                text: "certificate expired".into(),
            };
        }
        let certificate = json!({"certificate": "", "ca": "", "not_after": "2027-01-01T00:00:00Z", "renew_after": "2027-01-01T00:00:00Z"});
        let (path, _) = request.path.split_once('?').unwrap_or((&request.path, ""));
        match path {
            path::CA => answer(200, "pem".into()),
            path::ENROL => {
                let reply = json!({"device": "d1", "tenant": "acme", "certificate": certificate, "trust": self.trust});
                answer(200, reply.to_string())
            }
            path::CHALLENGE => answer(200, json!({"challenge": "c"}).to_string()),
            path::RECOVER | path::RENEW => answer(200, certificate.to_string()),
            path::HEARTBEAT => {
                let left = self.certificate_ends - self.now;
                let reply = HeartbeatReply {
                    freshness: freshness(self.version),
                    trust: Some(self.trust),
                    hub_ca: (self.hub_ca > 0).then_some(self.hub_ca),
                    held: None::<Held>,
                    questions: self.questions.clone(),
                    renew: left < 14 * DAY / 3,
                };
                answer(200, serde_json::to_string(&reply).unwrap())
            }
            path::REPORT => answer(204, String::new()),
            path::HUB_CA if self.hub_ca == 0 => {
                answer(404, json!({"code": "not-found", "message": "none"}).to_string())
            }
            path::HUB_CA => answer(200, self.hub_ca.min(2).to_string()),
            _ if path.starts_with(path::FLOOR) => {
                assert_eq!(request.path, "/v1/floor/kiosk?nonce=n-1");
                answer(200, "floor".into())
            }
            _ if path.starts_with(path::TRUST) => answer(200, "trust".into()),
            _ if path.starts_with(path::ANSWER) => self.answered(path),
            _ => {
                assert!(path.starts_with(path::STATE), "{path}");
                let tag = format!("\"{}\"", self.version);
                let has = request.etag.as_deref() == Some(tag.as_str());
                if self.mood == Mood::Hasty {
                    return Reply::Answer {
                        status: 200,
                        retry_after: None,
                        etag: None,
                        body: self.version.to_string().into_bytes(),
                    };
                }
                if self.version == 0 || has {
                    self.now = (self.now + u64::from(request.wait) * SECOND).min(end);
                    return answer(if has { 304 } else { 204 }, String::new());
                }
                Reply::Answer {
                    status: 200,
                    retry_after: None,
                    etag: Some(tag),
                    body: self.version.to_string().into_bytes(),
                }
            }
        }
    }

    fn count(&self, path: &str) -> usize {
        self.asked.iter().filter(|(_, r)| r.path.starts_with(path)).count()
    }
}

fn freshness(offered: u64) -> Freshness {
    Freshness {
        schema: None,
        kind: FreshnessKind::default(),
        tenant: Name::new("acme").unwrap(),
        device: "d1".into(),
        name: Name::new("kiosk").unwrap(),
        offered,
        time: Utc::from_unix(1_800_000_000),
        nonce: "n".into(),
        signature: None,
    }
}

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
