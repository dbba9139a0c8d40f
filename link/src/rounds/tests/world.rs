//! A device's loop between a hub of the tests' own and a clock that nobody waits for.

use super::*;

/// How the hub behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mood {
    Well,
    /// No address answers.
    Away,
    /// Answers everything at once, whatever was asked, with what was asked for.
    Hasty,
    /// `503` with this `Retry-After`.
    Busy(u32),
}

/// A hub and the host of one device, in virtual time.
pub(super) struct World {
    pub(super) turn: Loop,
    pub(super) now: u64,
    pub(super) mood: Mood,
    pub(super) enrolled: bool,
    pub(super) certificate_ends: u64,
    pub(super) version: u64,
    pub(super) trust: u64,
    pub(super) hub_ca: u64,
    pub(super) host_trust: u64,
    /// Versions that the host was given.
    pub(super) states: Vec<u64>,
    pub(super) trusts: Vec<u64>,
    pub(super) waiting: u64,
    pub(super) reported: u64,
    pub(super) questions: Vec<Question>,
    /// Whether the device has lost how far it had come, and what it makes of the hub's word.
    pub(super) lost: Option<Taken>,
    pub(super) asked: Vec<(u64, Request)>,
    pub(super) news: Vec<News>,
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
    pub(super) fn new(device: Option<&str>, seed: u64) -> Self {
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
    pub(super) fn run(&mut self, end: u64) {
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

    pub(super) fn written(&self, document: &Document) -> Option<Vec<u8>> {
        match document {
            Document::Report if self.waiting == 0 => None,
            Document::Floor => self.lost.map(|_| b"n-1".to_vec()),
            _ => Some(b"{}".to_vec()),
        }
    }

    pub(super) fn takes(&mut self, news: &News) -> Taken {
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

    pub(super) fn reply(&mut self, request: &Request, end: u64) -> Reply {
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
                    figures: false,
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

    pub(super) fn count(&self, path: &str) -> usize {
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
