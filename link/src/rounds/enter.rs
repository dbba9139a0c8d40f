//! How a device comes to have a certificate: enrolment with a token, and the way back by its `ledger` key.

use jos_schemas::own;

use super::{Action, Document, Loop, Of};
use crate::ask::{Door, Request};
use crate::wire::{self, Challenge, path};

impl Loop {
    /// The CA first, over a connection that is not believed; then the token, over one that is.
    pub(super) fn enter(&mut self) {
        let Some(token) = &self.token else {
            self.trouble = Some("not enrolled, and there is no token".into());
            self.at = super::At::Resting { until: u64::MAX };
            return;
        };
        if self.has_ca {
            let token = token.secret_text();
            self.hand(Action::Write(Document::Enrolment { token }), Of::Enrolment);
        } else {
            self.ask(Request::get(Door::Anybody, path::CA, wire::MAX_SMALL), Of::Ca);
        }
    }

    /// The hub wants to see that the `ledger` key is here now.
    pub(super) fn challenge(&mut self) {
        let device = self.known.device.as_deref().unwrap_or_default();
        let path = format!("{}?device={device}", path::CHALLENGE);
        self.ask(Request::get(Door::Stranger, path, wire::MAX_SMALL), Of::Challenge);
    }

    pub(super) fn challenged(&mut self, now: u64, body: &[u8]) {
        match own::read::<Challenge>(body) {
            Ok(Challenge { challenge }) => {
                self.hand(Action::Write(Document::Renewal { challenge }), Of::Renewal);
            }
            Err(why) => self.fail(now, format!("the hub's challenge does not read: {why}")),
        }
    }
}
