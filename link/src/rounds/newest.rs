//! What the hub says is newer than what the device has: trust documents, and the word of admins on the hub's CA; and what
//! people there want to know.

use super::{LATER, Loop, Taken};
use crate::wire::{MAX_QUESTIONS, Question};

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
}
