//! What people do to a rollout: approve, pause, resume, abort.

use serde_json::json;

use super::pace::Status;
use super::steward;
use crate::actor::{Actor, person};
use crate::fault::{Done, Fault};
use crate::hub::Hub;
use crate::store::audit::{self, Act};
use crate::store::rollouts::{self, RolloutRow};
use crate::store::{self, Tx, states};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// A second person says yes.
    Approve,
    /// No more devices for now.
    Pause,
    /// On with it; failures so far are passed over.
    Resume,
    /// No more devices, for good.
    Abort,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abort => "abort",
        }
    }
}

/// Does it; gives the rollout as it is then.
pub async fn act(hub: &Hub, actor: &Actor, id: &str, verb: Verb, reason: &str) -> Done<RolloutRow> {
    if reason.chars().count() > 200 || reason.chars().any(char::is_control) {
        return Err(Fault::malformed("reason: expected one line of at most 200 characters"));
    }
    let now = hub.clock.now();
    let mut tx = hub.store.write().await?;
    let row = rollouts::get(&mut tx, id).await?;
    let mut row = row.ok_or_else(|| Fault::not_found(format!("there is no rollout {id:?}")))?;
    let before = row.pace.status;
    row.pace.status = match (verb, before) {
        (Verb::Approve, Status::Waiting) => {
            if person(&row.created_by) == person(&actor.0) {
                return Err(Fault::forbidden(
                    "own-rollout",
                    format!("{} made this rollout; somebody else approves it", person(&actor.0)),
                ));
            }
            row.approved_by = Some(actor.0.clone());
            row.pace.since = now;
            Status::Running
        }
        (Verb::Pause, Status::Running) => Status::Paused,
        (Verb::Resume, Status::Paused) => Status::Running,
        (Verb::Resume, Status::Halted) => {
            passed_over(&mut tx, &mut row).await?;
            Status::Running
        }
        (Verb::Abort, Status::Waiting | Status::Running | Status::Paused | Status::Halted) => Status::Aborted,
        (_, status) => {
            return Err(Fault::conflict(
                "rollout-standing",
                format!(
                    "the rollout {id} is {}; it cannot be told to {}",
                    status.word(),
                    verb.word()
                ),
            ));
        }
    };
    row.why = (!reason.is_empty()).then(|| reason.to_owned());
    if row.pace.status == Status::Aborted {
        row.ended = Some(now);
        unreached(&mut tx, &row, now).await?;
    }
    rollouts::put(&mut tx, &mut row).await?;
    let act = Act {
        actor: &actor.0,
        tenant: Some(&row.tenant),
        action: &format!("rollout.{}", verb.word()),
        subject: id,
        detail: json!({ "reason": reason, "was": before }),
    };
    audit::append(&mut tx, &act, now).await?;
    store::bump(&mut tx).await?;
    tx.commit().await?;
    hub.changed().await?;
    steward::turn(hub).await?;
    Ok(row)
}

/// Whoever resumes a halted rollout has looked at its failures: only new ones halt it again.
async fn passed_over(tx: &mut Tx, row: &mut RolloutRow) -> Done<()> {
    if let Some(revert) = row.plan.revert_with {
        return Err(Fault::conflict(
            "reverted",
            format!(
                "devices were given version {revert} instead, and never go back to {}",
                row.version
            ),
        )
        .help("sign the content again under a higher number"));
    }
    let failures = rollouts::failures(tx, &row.id, row.plan.phases.len()).await?;
    row.pace.excused = failures.iter().map(|of| of.failed + of.silent).collect();
    Ok(())
}

/// What no device was offered is retired; what some have stays theirs until something newer comes.
async fn unreached(tx: &mut Tx, row: &RolloutRow, now: i64) -> Done<()> {
    let tallies = rollouts::tallies(tx, &row.id).await?;
    if tallies.iter().any(|tally| tally.offered > 0) {
        return Ok(());
    }
    let why = format!("its rollout {} was aborted before any device had it", row.id);
    for version in std::iter::once(row.version).chain(row.plan.revert_with) {
        states::retire(tx, &row.tenant, &row.name, version, &why, now).await?;
    }
    Ok(())
}
