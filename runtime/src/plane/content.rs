//! Contents that a plan needs: brought before anything is decided, dropped when the trial is over.

use std::collections::BTreeSet;

use super::Plane;
use crate::content::Store;
use crate::gate::Refusal;
use crate::plan::Plan;

impl Plane<'_> {
    /// What is at hand.
    pub(super) fn content(&self) -> Store<'_> {
        let kept = self.setup.policy.ledger.content;
        Store::new(&self.data, self.at("blobs"), self.at("incoming"), kept)
    }

    /// Makes sure that all the plan needs is at hand. What cannot be had stands in the way of the plan, which is then
    /// refused, not failed: nothing was touched, and the same state may be tried again.
    pub(super) fn bring_content(&self, plan: &mut Plan) {
        let needed = plan.needed();
        if needed.is_empty() || !plan.is_possible() {
            return;
        }
        if let Err(why) = self.content().bring(&needed, self.world.fetch) {
            plan.problems.push(Refusal {
                step: "file.source".into(),
                why,
                needed: None,
            });
        }
    }

    /// Asks the repositories what they offer, where the plan wants what they were not known to have. Whether the plan is
    /// to be made again.
    pub(super) fn ask_repositories(&self, plan: &Plan) -> bool {
        if !plan.unknown_package {
            return false;
        }
        let asked = self.world.packages.refresh();
        if let Err(e) = &asked {
            log::warn!("{e}");
        }
        asked.is_ok()
    }

    /// What waited for its place stands there, or is not wanted any more.
    pub(super) fn drop_content(&self) {
        if let Err(e) = self.content().keep_only(&BTreeSet::new()) {
            log::warn!("{e}");
        }
    }
}
