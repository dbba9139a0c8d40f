//! What the host may look at between two turns; nothing here changes the loop.

use super::{At, Loop, Of};

impl Loop {
    /// Whether the question that the host puts now only waits for news: it may be given up at any time.
    pub fn is_polling(&self) -> bool {
        matches!(
            self.at,
            At::Waiting {
                of: Of::Poll { .. },
                ..
            }
        )
    }

    /// When the hub answers such a question at the latest: the host is woken then whatever happens.
    pub fn poll_ends(&self) -> Option<u64> {
        match self.at {
            At::Waiting {
                of: Of::Poll { began, wait },
                ..
            } => Some(began + wait),
            _ => None,
        }
    }

    /// When the hub answered last, on the host's clock.
    pub fn last_contact(&self) -> Option<u64> {
        self.last_contact
    }

    /// What is wrong between this device and the hub, where something is.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// The number of the CA that a heartbeat confirms. A hub that has not spoken of any may be of before, and would not
    /// know the word.
    pub fn hub_ca(&self) -> Option<u64> {
        (self.known.hub_ca > 0 && self.newest_hub_ca > 0).then_some(self.known.hub_ca)
    }

    /// Which of the addresses is in use.
    pub fn address(&self) -> u8 {
        self.address
    }
}
