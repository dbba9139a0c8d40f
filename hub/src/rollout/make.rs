//! A state that is handed over with a plan: kept like any other, and offered by the rollout alone.

use jos_schemas::documents::rollout::Rollout;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::pace::Pace;
use crate::actor::Actor;
use crate::fault::{Done, Fault};
use crate::hub::Hub;
use crate::push::{self, Prepared};
use crate::random;
use crate::store::audit::{self, Act};
use crate::store::rollouts::{self, RolloutRow};
use crate::store::states::{self, StateRow};
use crate::store::{self, Conn, Tx};

/// A rollout to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct New {
    /// The plan.
    pub rollout: Rollout,
    /// The signed state, its very bytes as a text.
    pub state: String,
    /// The signed state that takes it back, where the plan names one.
    #[serde(default)]
    pub revert: Option<String>,
}

/// A rollout that was made.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Made {
    /// It.
    pub rollout: RolloutRow,
    /// Devices that it is meant for.
    pub devices: usize,
    /// What a person should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Takes a state and the plan by which it reaches its audience.
pub async fn make(hub: &Hub, actor: &Actor, tenant: &str, asked: &New) -> Done<Made> {
    let now = hub.clock.now();
    let plan = &asked.rollout;
    sound(plan)?;
    let mut tx = hub.store.write().await?;
    let Prepared { mut row, mut notes, .. } =
        push::prepare(&mut tx, hub, actor, tenant, asked.state.as_bytes()).await?;
    is_of(plan, plan.version, &row)?;
    let id = random::id("r");
    row.rollout = Some(id.clone());
    let revert = revert(&mut tx, hub, actor, asked, &row).await?;
    let live = states::live(&mut tx, tenant, &row.name).await?;
    let (same, others): (Vec<_>, Vec<_>) = live.into_iter().partition(|other| other.audience == row.audience);
    none_open(&mut tx, &same).await?;
    if same.iter().any(|other| other.version == row.version) {
        return Err(Fault::conflict(
            "offered-already",
            format!("version {} of {} is offered already", row.version, row.name),
        )
        .help("raise `meta.version` and sign again"));
    }
    let devices = push::one_state_a_device(&mut tx, &row, &others).await?;
    states::add(&mut tx, &row, asked.state.as_bytes()).await?;
    let mut newest = &row;
    if let Some((revert, text)) = &revert {
        states::add(&mut tx, revert, text.as_bytes()).await?;
        newest = revert;
    }
    states::set_counter(&mut tx, tenant, &row.name, newest.version, Some(&newest.content)).await?;
    let rollout = RolloutRow {
        id,
        tenant: tenant.to_owned(),
        name: row.name.clone(),
        version: row.version,
        plan: plan.clone(),
        pace: Pace::new(plan, now),
        why: None,
        revision: 1,
        created: now,
        created_by: actor.0.clone(),
        approved_by: None,
        ended: None,
    };
    rollouts::add(&mut tx, &rollout).await?;
    let act = Act {
        actor: &actor.0,
        tenant: Some(tenant),
        action: "rollout.new",
        subject: &rollout.id,
        detail: json!({
            "state": format!("{}@{}", row.name, row.version), "content": row.content, "signers": row.signers,
            "audience": row.audience, "plan": plan,
        }),
    };
    audit::append(&mut tx, &act, now).await?;
    store::bump(&mut tx).await?;
    tx.commit().await?;
    if plan.approval {
        notes.push(format!(
            "it begins once somebody else has approved it: jos-hub rollout approve {}",
            rollout.id
        ));
    }
    Ok(Made {
        rollout,
        devices,
        notes,
    })
}

/// The state that takes it back: of the same audience, under the number that the plan says.
async fn revert<'a>(
    tx: &mut Tx,
    hub: &Hub,
    actor: &Actor,
    asked: &'a New,
    row: &StateRow,
) -> Done<Option<(StateRow, &'a str)>> {
    let (number, text) = match (asked.rollout.revert_with, &asked.revert) {
        (None, None) => return Ok(None),
        (Some(number), Some(text)) => (number, text),
        (Some(number), None) => {
            return Err(Fault::malformed(format!(
                "the plan reverts with version {number}, which was not handed over"
            ))
            .help("jos-hub push --rollout PLAN --revert-with SIGNED state.json"));
        }
        (None, Some(_)) => {
            return Err(
                Fault::malformed("a state to revert with was handed over, and the plan has no `revert_with`")
                    .help("say its version in the plan"),
            );
        }
    };
    let Prepared { row: mut revert, .. } = push::prepare(tx, hub, actor, &row.tenant, text.as_bytes()).await?;
    is_of(&asked.rollout, number, &revert)?;
    if revert.audience != row.audience {
        return Err(Fault::refused(
            "other-audience",
            format!("version {number} has another audience than version {}", row.version),
        ));
    }
    revert.rollout.clone_from(&row.rollout);
    Ok(Some((revert, text)))
}

/// What the type of a plan does not say.
fn sound(plan: &Rollout) -> Done<()> {
    if let Some(last) = plan
        .phases
        .last()
        .filter(|last| last.percent != 100 || !last.labels.is_empty())
    {
        let labels = if last.labels.is_empty() { "" } else { " of some labels" };
        let message = format!(
            "/phases/{}: found {} percent{labels} in the last phase, expected 100 percent of all",
            plan.phases.len() - 1,
            last.percent
        );
        return Err(Fault::malformed(message).help("who is not meant at all is left out by the state's audience"));
    }
    if let Some(revert) = plan.revert_with.filter(|revert| *revert <= plan.version) {
        let message = format!(
            "/revert_with: found {revert}, expected a version above {}",
            plan.version
        );
        return Err(Fault::malformed(message)
            .help("devices never go back: the old content is signed again under a higher number"));
    }
    Ok(())
}

fn is_of(plan: &Rollout, version: u64, row: &StateRow) -> Done<()> {
    if (plan.name.as_str(), version) == (row.name.as_str(), row.version) {
        return Ok(());
    }
    Err(Fault::refused(
        "other-version",
        format!(
            "the plan is about {} version {version}, the state is {} version {}",
            plan.name, row.name, row.version
        ),
    ))
}

/// Nothing takes the place of a version that a rollout is bringing to the same audience.
pub(crate) async fn none_open(conn: &mut Conn, same_audience: &[StateRow]) -> Done<()> {
    for id in same_audience.iter().filter_map(|state| state.rollout.as_deref()) {
        let row = rollouts::get(conn, id).await?;
        if let Some(row) = row.filter(|row| row.pace.status.is_open()) {
            let status = row.pace.status.word();
            return Err(Fault::conflict(
                "rollout-under-way",
                format!(
                    "the rollout {id} of version {} to the same audience is {status}",
                    row.version
                ),
            )
            .help(format!("end it first: jos-hub rollout abort {id}")));
        }
    }
    Ok(())
}
