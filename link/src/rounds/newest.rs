//! What the hub says is newer than what the device has: trust documents, and the word of admins on the hub's CA; what it
//! says of a floor that the device has lost; and what people there want to know.

use super::{Action, At, Document, LATER, Loop, Of, Taken};
use crate::ask::{Door, Request};
use crate::wire::{self, MAX_QUESTIONS, Question, path};

impl Loop {
    /// The next version of the trust document, where the hub has one that is not known to be of no use.
    pub(super) fn wanted_trust(&self, now: u64) -> Option<u64> {
        if self.newest_trust <= self.known.trust || now < self.trust_again {
            return None;
        }
        Some(match self.known.trust {
            0 => self.first_trust.clamp(1, self.newest_trust),
            version => version + 1,
        })
    }

    pub(super) fn trust_taken(&mut self, now: u64, asked: u64, taken: Taken) {
        match taken {
            Taken::Trust(version) if version > self.known.trust => {
                self.known.trust = version;
                self.hub_ca_again = 0;
                // Whose word counts may be known only now.
                self.doubt_floor();
                // The time before any state: a device whose clock is wrong would take one that has expired.
                if self.untimed && version >= self.newest_trust {
                    (self.untimed, self.heartbeat) = (false, now);
                }
                // What was refused under the old keys may be good under these.
                self.state_again = self.state_again.min(now);
                if self.etag.is_some() && self.state_again == u64::MAX {
                    self.state_again = now;
                }
            }
            // Without a document to start from, an older version may be the one that the token names.
            _ if self.known.trust == 0 && asked > 1 => self.first_trust = asked - 1,
            _ => {
                self.first_trust = self.newest_trust;
                self.trust_again = now + self.jitter.around(LATER);
            }
        }
    }

    pub(super) fn sees_trust(&mut self, newest: Option<u64>) {
        let newest = newest.unwrap_or(0);
        if newest != self.newest_trust {
            (self.newest_trust, self.first_trust, self.trust_again) = (newest, newest, 0);
        }
    }

    pub(super) fn sees_hub_ca(&mut self, newest: Option<u64>) {
        let newest = newest.unwrap_or(0);
        if newest != self.newest_hub_ca {
            (self.newest_hub_ca, self.hub_ca_again) = (newest, 0);
        }
    }

    /// Those of before are open still, or of no interest any more.
    pub(super) fn sees_questions(&mut self, questions: &[Question]) {
        let sound = questions.iter().filter(|question| question.is_sound());
        self.questions = sound.take(MAX_QUESTIONS).cloned().collect();
    }

    pub(super) fn wants_hub_ca(&self, now: u64) -> bool {
        self.newest_hub_ca > self.known.hub_ca && now >= self.hub_ca_again
    }

    pub(super) fn hub_ca_taken(&mut self, now: u64, taken: Taken) {
        match taken {
            Taken::HubCa(version) if version > self.known.hub_ca => {
                self.known.hub_ca = version;
                // The hub waits for this word of its devices.
                self.heartbeat = now;
            }
            _ => self.hub_ca_again = now + self.jitter.around(LATER),
        }
    }

    /// The device may have lost how far it had come: it is asked before the next state is.
    pub fn doubt_floor(&mut self) {
        (self.knows_floor, self.floor_again) = (false, 0);
    }

    /// The floor is asked for now, or when that is due again; no state is before.
    pub(super) fn want_floor(&mut self, now: u64) {
        if now >= self.floor_again {
            return self.hand(Action::Write(Document::Floor), Of::Floor);
        }
        self.at = At::Resting {
            until: self.floor_again.min(self.heartbeat),
        };
    }

    pub(super) fn ask_floor(&mut self, now: u64, nonce: Option<Vec<u8>>) {
        let Some(nonce) = nonce else {
            self.knows_floor = true;
            return self.go_on(now);
        };
        let (name, nonce) = (&self.known.name, String::from_utf8_lossy(&nonce));
        let path = format!("{}/{name}?nonce={nonce}", path::FLOOR);
        self.ask(Request::get(Door::Device, path, wire::MAX_SMALL), Of::FloorSaid);
    }

    pub(super) fn floor_taken(&mut self, now: u64, taken: Taken) {
        if taken == Taken::Refused {
            return self.floor_refused(now, "what the hub said of this device's floor was not taken".into());
        }
        self.well();
        self.knows_floor = true;
        // What could not be told from what is old may be looked at now.
        (self.etag, self.state_again) = (None, u64::MAX);
    }

    /// Another address later on; heartbeats and reports go on meanwhile.
    pub(super) fn floor_refused(&mut self, now: u64, why: String) {
        self.address = (self.address + 1) % self.known.addresses.max(1);
        self.floor_again = now + self.jitter.around(self.pace.longest_pause);
        self.trouble = Some(why);
    }
}
