//! The loop between a device and its hub, without I/O: time and replies go in, questions and news come out.
//!
//! Whoever drives it calls [`Loop::next`] and does what it says: puts a question, writes a document, takes up news, or
//! rests; then says what came of it by [`Loop::took`]. A device drives it over the pipe to its network half; a simulated
//! fleet drives a hundred thousand of them; a test drives years of one in a second.
//!
//! ```text
//!        no identity yet                                         ┌───────── nothing new ─────────┐
//!  CA ──► enrol ──────────────┐                                  ▼                               │
//!                             ├──► heartbeat ──► trust N→N+1 ──► renew ──► reports ──► long poll ┤
//!  challenge ──► recover ─────┘        ▲                                      ▲                  │ a state
//!        ▲                             └── interval ± a tenth                 └── Take(State) ◄──┘
//!        └── the certificate has ended         any failure ──► the next address, after a pause that grows
//! ```
//! Reports are asked of the host one by one, oldest first, and given up by it only once the hub has acknowledged them. A
//! device that has lost how far it had come asks for that (its floor) before it asks for any state. A hub that says when to
//! come again (`Retry-After`) is not called before. Questions of people at the hub, which come with the reply to a heartbeat,
//! are answered behind the reports, once for each heartbeat.

mod enter;
mod look;
mod newest;
mod of;
mod refusal;
mod say;

use std::collections::VecDeque;

use jos_schemas::own;
use serde::de::DeserializeOwned;

use crate::ask::{Door, Reply, Request};
use crate::backoff::{Backoff, Jitter};
use crate::frame::MAX_DOCUMENT;
use crate::token::Token;
use crate::wire::{self, Question, path};
use of::Of;

pub use say::{Action, Document, Known, News, Pace, Taken, Took};

/// A refused state or trust document may be right later: time and keys move.
const LATER: u64 = 3_600_000;
/// What a hub may ask for by `Retry-After`, at most.
const LONGEST_RETRY: u64 = 86_400_000;
/// Barred devices ask seldom.
const BARRED: u64 = 3_600_000;
/// Between two states, where they come one on the heels of the other for longer.
const SPACING: u64 = 5000;
/// Reports sent in a row before the loop looks around again.
const REPORTS: u32 = 32;

#[derive(Clone, Debug)]
enum At {
    /// Nothing is under way until then.
    Resting { until: u64 },
    /// The host was told, or will be, and has not answered.
    Waiting { action: Action, of: Of },
}

/// The loop. Time is any monotonic count of milliseconds.
#[derive(Clone, Debug)]
pub struct Loop {
    pace: Pace,
    known: Known,
    token: Option<Token>,
    has_ca: bool,
    jitter: Jitter,
    backoff: Backoff,
    at: At,
    address: u8,
    /// The certificate is of no use: the `ledger` key has to speak.
    recover: bool,
    heartbeat: u64,
    newest_trust: u64,
    /// The version to try while there is no trust document at all, downwards.
    first_trust: u64,
    trust_again: u64,
    /// When the hub told the time there was no trust document: nobody's word on it could be verified.
    untimed: bool,
    newest_hub_ca: u64,
    hub_ca_again: u64,
    /// The device knows how far it had come, or has been told.
    knows_floor: bool,
    floor_again: u64,
    renew: bool,
    reports: u32,
    /// Of the last heartbeat's reply, each to be answered once.
    questions: VecDeque<Question>,
    /// The id of the one that is being answered.
    answering: String,
    etag: Option<String>,
    state_again: u64,
    last_state: Option<u64>,
    poll_after: u64,
    /// The hub said when to come again; nobody's impatience counts before that.
    not_before: u64,
    last_contact: Option<u64>,
    trouble: Option<String>,
}

impl Loop {
    /// A device that is known, or one that enrols with `token`.
    pub fn new(pace: Pace, known: Known, token: Option<Token>, seed: u64, now: u64) -> Self {
        Self {
            untimed: known.trust == 0,
            backoff: Backoff::new(pace.first_pause, pace.longest_pause),
            pace,
            known,
            token,
            has_ca: false,
            jitter: Jitter::new(seed),
            at: At::Resting { until: now },
            address: 0,
            recover: false,
            heartbeat: now,
            newest_trust: 0,
            first_trust: 0,
            trust_again: 0,
            newest_hub_ca: 0,
            hub_ca_again: 0,
            knows_floor: false,
            floor_again: 0,
            renew: false,
            reports: 0,
            questions: VecDeque::new(),
            answering: String::new(),
            etag: None,
            state_again: u64::MAX,
            last_state: None,
            poll_after: 0,
            not_before: 0,
            last_contact: None,
            trouble: None,
        }
    }

    /// What to do now.
    pub fn next(&mut self, now: u64) -> Action {
        if let At::Resting { until } = self.at {
            if now < until {
                return Action::Rest { until };
            }
            self.go_on(now);
        }
        match &self.at {
            At::Waiting { action, .. } => action.clone(),
            At::Resting { until } => Action::Rest { until: *until },
        }
    }

    /// What came of it. A kind that does not answer the action counts as a failure.
    pub fn took(&mut self, now: u64, took: Took) {
        let At::Waiting { of, .. } = self.at else { return };
        self.at = At::Resting { until: now };
        match (of, took) {
            (Of::Enrolment, Took::Written(Some(body))) => {
                self.ask(Request::post(Door::Stranger, path::ENROL, body), Of::Enrolled);
            }
            (Of::Renewal, Took::Written(Some(body))) => {
                self.ask(Request::post(Door::Stranger, path::RECOVER, body), Of::Recovered);
            }
            (Of::Renew, Took::Written(Some(body))) => {
                self.ask(Request::post(Door::Device, path::RENEW, body), Of::Renewed);
            }
            (Of::Heartbeat, Took::Written(Some(body))) => {
                self.ask(Request::post(Door::Device, path::HEARTBEAT, body), Of::Heard);
            }
            (Of::Report, Took::Written(Some(body))) => {
                self.ask(Request::post(Door::Device, path::REPORT, body), Of::Reported);
            }
            (Of::Floor, Took::Written(nonce)) => self.ask_floor(now, nonce),
            (Of::Report, Took::Written(None)) => {
                self.reports = 0;
                self.go_on(now);
            }
            (Of::Answer, Took::Written(Some(body))) => {
                let path = format!("{}/{}", path::ANSWER, self.answering);
                self.ask(Request::post(Door::Device, &path, body), Of::Answered);
            }
            (Of::Answer, Took::Written(None)) => self.go_on(now),
            // Somebody else of this device has renewed meanwhile.
            (Of::Renew | Of::Renewal, Took::Written(None)) => {
                self.recover = false;
                self.heartbeat = now;
                self.go_on(now);
            }
            (
                of,
                Took::Reply(Reply::Answer {
                    status,
                    retry_after,
                    etag,
                    body,
                }),
            ) => {
                self.last_contact = Some(now);
                match status {
                    200..=399 => self.answered(now, of, status, etag, body),
                    _ => self.refused(now, of, status, retry_after, &body),
                }
            }
            (_, Took::Reply(Reply::Failed { certificate, text })) => {
                self.recover |= certificate && self.known.device.is_some();
                self.fail(now, text);
            }
            (of, Took::Taken(taken)) => self.taken(now, of, taken),
            (_, Took::Written(_)) => self.fail(now, "the device could not write what it had to say".into()),
        }
    }

    /// Something changed: the network came up, somebody asked for a look. Pauses end; a question that is on its way stays.
    pub fn poke(&mut self, now: u64) {
        (self.heartbeat, self.floor_again) = (now, now);
        self.backoff.reset();
        if let At::Resting { until } = &mut self.at {
            *until = (*until).min(now.max(self.not_before));
        }
    }

    /// There is something to report: it is sent as soon as nothing else is on its way.
    pub fn has_reports(&mut self) {
        self.reports = REPORTS;
    }

    /// Seconds between heartbeats, from now on.
    pub fn set_interval(&mut self, seconds: u32) {
        self.pace.interval = Pace::every(seconds).interval;
    }

    /// How many addresses the hub has, from now on.
    pub fn set_addresses(&mut self, addresses: u8) {
        self.known.addresses = addresses;
        self.address %= addresses.max(1);
    }

    /// The host gave up a question that only waits for news: it needed the line.
    pub fn given_up(&mut self, now: u64) {
        if self.is_polling() {
            self.at = At::Resting { until: now };
        }
    }

    /// Chooses what comes next of a device with nothing under way.
    fn go_on(&mut self, now: u64) {
        if self.known.device.is_none() {
            return self.enter();
        }
        if self.recover {
            return self.challenge();
        }
        if now >= self.heartbeat {
            return self.hand(Action::Write(Document::Heartbeat), Of::Heartbeat);
        }
        if let Some(version) = self.wanted_trust(now) {
            let request = Request::get(Door::Device, format!("{}/{version}", path::TRUST), MAX_DOCUMENT);
            return self.ask(request, Of::Trust(version));
        }
        // After the trust document: newer keys may have signed it. Before the renewal: its CA may sign the next certificate.
        if self.wants_hub_ca(now) {
            return self.ask(Request::get(Door::Device, path::HUB_CA, wire::MAX_SMALL), Of::HubCa);
        }
        if std::mem::take(&mut self.renew) {
            return self.hand(Action::Write(Document::Renew), Of::Renew);
        }
        if self.reports > 0 {
            self.reports -= 1;
            return self.hand(Action::Write(Document::Report), Of::Report);
        }
        if let Some(question) = self.questions.pop_front() {
            self.answering.clone_from(&question.id);
            return self.hand(Action::Write(Document::Answer(question)), Of::Answer);
        }
        if !self.knows_floor {
            return self.want_floor(now);
        }
        if now < self.poll_after {
            let until = self.poll_after.min(self.heartbeat);
            self.at = At::Resting { until };
            return;
        }
        if now >= self.state_again {
            (self.etag, self.state_again) = (None, u64::MAX);
        }
        let wait = (self.heartbeat.min(self.state_again) - now).min(u64::from(wire::LONGEST_WAIT) * 1000);
        let seconds = u16::try_from(wait.div_ceil(1000)).unwrap_or(u16::MAX);
        let mut request = Request::get(
            Door::Device,
            format!("{}/{}?wait={seconds}", path::STATE, self.known.name),
            MAX_DOCUMENT,
        );
        request.wait = seconds;
        request.etag.clone_from(&self.etag);
        self.ask(request, Of::Poll { began: now, wait });
    }

    fn answered(&mut self, now: u64, of: Of, status: u16, etag: Option<String>, body: Vec<u8>) {
        match of {
            Of::Ca => self.hand(Action::Take(News::Ca(body)), Of::CaTaken),
            Of::Enrolled => {
                let news = |value| News::Enrolled(Box::new(value));
                self.parsed(now, &body, news, Of::EnrolledTaken);
            }
            Of::Challenge => self.challenged(now, &body),
            Of::Recovered | Of::Renewed => {
                let news = |value| News::Certificate(Box::new(value));
                self.parsed(now, &body, news, Of::CertificateTaken);
            }
            Of::Heard => {
                let news = |value| News::Heard(Box::new(value));
                self.parsed(now, &body, news, Of::HeardTaken);
            }
            Of::Trust(version) => {
                let news = News::Trust { version, bytes: body };
                self.hand(Action::Take(news), Of::TrustTaken(version));
            }
            Of::HubCa => self.hand(Action::Take(News::HubCa(body)), Of::HubCaTaken),
            Of::FloorSaid => self.hand(Action::Take(News::Floor(body)), Of::FloorTaken),
            Of::Reported => {
                let news = News::Reported { refused: None };
                self.hand(Action::Take(news), Of::ReportedTaken);
            }
            Of::Answered => {
                self.well();
                self.go_on(now);
            }
            Of::Poll { began, wait } => self.polled(now, began + wait, status, etag, body),
            _ => self.fail(now, "an answer to nothing that was asked".into()),
        }
    }

    fn polled(&mut self, now: u64, over: u64, status: u16, etag: Option<String>, body: Vec<u8>) {
        self.well();
        match status {
            200 => {
                self.etag = etag;
                self.state_again = u64::MAX;
                return self.hand(Action::Take(News::State(body)), Of::StateTaken);
            }
            // What was offered and is no longer.
            204 if self.etag.take().is_some() => {}
            // A hub that ends lets go of who waits: not asked again at once.
            _ if now < over => {
                let until = over.min(now + self.jitter.up_to(self.pace.first_pause.max(1) * 10));
                self.at = At::Resting { until };
                return;
            }
            _ => {}
        }
        self.go_on(now);
    }

    fn taken(&mut self, now: u64, of: Of, taken: Taken) {
        match of {
            Of::CaTaken if taken == Taken::Done => {
                self.has_ca = true;
                self.enter();
            }
            Of::CaTaken => self.fail(now, "what answers there is not the hub of this token".into()),
            Of::EnrolledTaken | Of::CertificateTaken | Of::HeardTaken if taken == Taken::Refused => {
                if of == Of::EnrolledTaken {
                    self.known.device = None;
                }
                self.fail(now, "the hub's answer was not taken".into());
            }
            Of::EnrolledTaken => {
                self.token = None;
                self.well();
                self.heartbeat = now;
                self.go_on(now);
            }
            Of::CertificateTaken => {
                self.recover = false;
                self.well();
                self.go_on(now);
            }
            Of::HeardTaken => {
                self.well();
                self.heartbeat = now + self.jitter.around(self.pace.interval);
                self.reports = REPORTS;
                self.go_on(now);
            }
            Of::FloorTaken => {
                self.floor_taken(now, taken);
                self.go_on(now);
            }
            Of::TrustTaken(asked) => {
                self.trust_taken(now, asked, taken);
                self.go_on(now);
            }
            Of::ReportedTaken => {
                self.well();
                self.go_on(now);
            }
            Of::HubCaTaken => {
                self.hub_ca_taken(now, taken);
                self.go_on(now);
            }
            Of::StateTaken => {
                self.state_again = match taken {
                    Taken::Again(pause) => now.saturating_add(self.jitter.around(pause.max(1000))),
                    Taken::Refused => now + self.jitter.around(LATER),
                    Taken::Done | Taken::Trust(_) | Taken::HubCa(_) => u64::MAX,
                };
                // The hub hears at once what became of it; one that sends state after state is slowed down.
                self.heartbeat = now;
                self.reports = REPORTS;
                let soon = self
                    .last_state
                    .is_some_and(|last| now < last.saturating_add(2 * SPACING));
                self.last_state = Some(now);
                self.poll_after = if soon { now + SPACING } else { 0 };
                self.go_on(now);
            }
            Of::BarredTaken { pause } => self.at = At::Resting { until: now + pause },
            _ => self.fail(now, "news that nobody had".into()),
        }
    }

    fn parsed<T: DeserializeOwned>(&mut self, now: u64, body: &[u8], news: impl FnOnce(T) -> News, of: Of) {
        match own::read::<T>(body) {
            Ok(value) => {
                let news = news(value);
                match &news {
                    News::Enrolled(enrolled) => {
                        self.known.device = Some(enrolled.device.clone());
                        self.sees_trust(enrolled.trust);
                    }
                    News::Heard(reply) => {
                        self.sees_trust(reply.trust);
                        self.renew = reply.renew;
                        self.sees_hub_ca(reply.hub_ca);
                        self.sees_questions(&reply.questions);
                    }
                    _ => {}
                }
                self.hand(Action::Take(news), of);
            }
            Err(why) => self.fail(now, format!("the hub's answer does not read: {why}")),
        }
    }

    fn hand(&mut self, action: Action, of: Of) {
        self.at = At::Waiting { action, of };
    }

    fn ask(&mut self, mut request: Request, of: Of) {
        request.address = self.address;
        self.hand(Action::Ask(request), of);
    }

    /// It works: pauses begin small again.
    fn well(&mut self) {
        self.backoff.reset();
        self.trouble = None;
    }

    /// Another address after a pause; the pause grows with each round of all addresses, and a herd is spread over it.
    fn fail(&mut self, now: u64, why: String) {
        self.address = (self.address + 1) % self.known.addresses.max(1);
        let span = self.backoff.next(&mut self.jitter);
        self.trouble = Some(why);
        self.heartbeat = now;
        self.at = At::Resting {
            until: now + span + self.jitter.up_to(span),
        };
    }
}

#[cfg(test)]
mod tests;
