//! What becomes of the ledger: how it is opened, and what is done about it once a turn is over.

use super::{Plane, PlaneError};
use crate::ledger::Ledger;

impl Plane<'_> {
    /// The ledger of this agent.
    pub(super) fn open_ledger(&self) -> Result<Ledger<'_>, PlaneError> {
        Ok(Ledger::open(&self.data, &self.at("ledger"))?)
    }

    /// Called once at the end of every transaction, when its outcome is durable.
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the hook is empty so far")]
    pub(super) fn after_turn(&self, _ledger: &mut Ledger<'_>) -> Result<(), PlaneError> {
        Ok(())
    }
}
