//! What the loop and its host say to each other.

use crate::ask::{Reply, Request};
#[cfg(doc)]
use crate::rounds::Loop;
#[cfg(doc)]
use crate::wire;
use crate::wire::{Certificate, Enrolled, HeartbeatReply, Question};

/// How often, how long; in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From one heartbeat to the next.
    pub interval: u64,
    /// First pause after a failure.
    pub first_pause: u64,
    /// Longest such pause.
    pub longest_pause: u64,
}

impl Pace {
    /// The usual pauses, and a heartbeat every `seconds`.
    pub fn every(seconds: u32) -> Self {
        Self {
            interval: u64::from(seconds.max(1)) * 1000,
            first_pause: 1000,
            longest_pause: 300_000,
        }
    }
}

/// What the host has to do. Each but `Rest` is answered by [`Loop::took`].
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Put this question. Answered by [`Took::Reply`].
    Ask(Request),
    /// Write this document. Answered by [`Took::Written`].
    Write(Document),
    /// Take this up. Answered by [`Took::Taken`].
    Take(News),
    /// Nothing to do: call again then, or after [`Loop::poke`].
    Rest {
        /// On the host's clock.
        until: u64,
    },
}

/// What only the host can write, as the JSON that is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// `jos.enrolment`, with this secret of the token.
    Enrolment {
        /// As the enrolment names it.
        token: String,
    },
    /// `jos.renewal`, signed by the `ledger` key.
    Renewal {
        /// To repeat.
        challenge: String,
    },
    /// [`wire::RenewRequest`], for the key that there is.
    Renew,
    /// `jos.heartbeat`, with a nonce that was never used.
    Heartbeat,
    /// No document: a nonce that was never used, where the hub has to say how far this device had come; none where the
    /// device knows that itself.
    Floor,
    /// The oldest `jos.report` that is not acknowledged; none where there is none.
    Report,
    /// `jos.answer` to this question; none where it is not answered now.
    Answer(Question),
}

/// What the host takes up.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// The hub's CA as PEM, from whoever answered: refuse it unless its fingerprint is the token's; keep it and believe
    /// no other.
    Ca(Vec<u8>),
    /// We are known: keep it before anything else is asked.
    Enrolled(Box<Enrolled>),
    /// The next certificate; in use from the next question on.
    Certificate(Box<Certificate>),
    /// The hub heard us. Its freshness statement is not verified yet.
    Heard(Box<HeartbeatReply>),
    /// A version of the trust document, not verified.
    Trust {
        /// The version that was asked for.
        version: u64,
        /// The document.
        bytes: Vec<u8>,
    },
    /// What the tenant's admins are said to say of the hub's CA, not verified.
    HubCa(Vec<u8>),
    /// What the hub is said to say of how far this device had come, not verified.
    Floor(Vec<u8>),
    /// A desired state, with no verdict.
    State(Vec<u8>),
    /// The hub acknowledged the oldest report, or will never take it: give it up.
    Reported {
        /// Why the hub does not take it.
        refused: Option<String>,
    },
    /// The hub will not have us for now: for people.
    Barred {
        /// One of [`wire::code`].
        code: String,
        /// What the hub says.
        message: String,
    },
}

/// What came of an [`Action`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Took {
    /// Of a question.
    Reply(Reply),
    /// The document; none where there is none to write: no report, a certificate that is new already.
    Written(Option<Vec<u8>>),
    /// Of news.
    Taken(Taken),
}

/// How news was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Taken up, or of no further interest.
    Done,
    /// Refused. A state is fetched again after an hour or a new trust document; of the rest, nothing is kept.
    Refused,
    /// A state that may be tried again after so many milliseconds.
    Again(u64),
    /// A trust document was adopted: the version that counts now.
    Trust(u64),
    /// The number of the hub's CA that counts now by its admins' word.
    HubCa(u64),
}

/// Where the host stands when the loop begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The agent's name, by which states are asked for.
    pub name: String,
    /// The device's id, once it is enrolled.
    pub device: Option<String>,
    /// The version of the trust document in use; 0 for none.
    pub trust: u64,
    /// The number of the hub's CA that was taken by its admins' word; 0 for none.
    pub hub_ca: u64,
    /// How many addresses the hub has.
    pub addresses: u8,
}
