//! Looks after rollouts: reads the fleet, asks [`super::pace`], writes what happens.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::watch;

use super::pace::{self, Member, Outcome, Status, Turn};
use super::window;
use crate::fault::Done;
use crate::hub::Hub;
use crate::metrics::count;
use crate::store::audit::{self, Act};
use crate::store::rollouts::{self, RolloutRow};
use crate::store::states::{self, StateRow};
use crate::store::{self, Conn, Tx};

/// Between two looks, at least.
const LOOK: Duration = Duration::from_secs(1);
/// Looks take about a fifth of the time, at most: a fleet of a hundred thousand is looked at less often.
const SHARE: u32 = 4;
/// Between two looks, at most: one that only waited for the disk is no reason to stay away.
const LONGEST: Duration = Duration::from_secs(10);

/// Looks again and again until told to end.
pub async fn watch_over(hub: Arc<Hub>, mut ended: watch::Receiver<bool>) {
    loop {
        let began = Instant::now();
        if let Err(fault) = turn(&hub).await {
            tracing::error!(cause = fault.to_string(), "the rollouts were not looked at");
        }
        let pause = (began.elapsed() * SHARE).clamp(LOOK, LONGEST);
        tokio::select! {
            _ = ended.wait_for(|ended| *ended) => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// One look at every rollout that is under way.
pub async fn turn(hub: &Hub) -> Done<()> {
    let under_way = rollouts::under_way(&mut *hub.store.read().await?).await?;
    for row in under_way {
        one(hub, row).await?;
    }
    Ok(())
}

async fn one(hub: &Hub, row: RolloutRow) -> Done<()> {
    let now = hub.clock.now();
    let mut conn = hub.store.read().await?;
    let Some(state) = candidate(&mut conn, &row).await? else {
        drop(conn);
        return lost(hub, &row).await;
    };
    if row.pace.status == Status::Waiting {
        return Ok(());
    }
    let mut fleet = members(&mut conn, &row, &state, now).await?;
    drop(conn);
    let turn = pace::turn(&row.plan, &row.id, &row.pace, &mut fleet, now);
    if turn.next == row.pace && turn.let_in.is_empty() && turn.silent.is_empty() {
        return Ok(());
    }
    write(hub, &row, &state, &fleet, turn, now).await
}

/// The version that it brings, while it is offered.
async fn candidate(conn: &mut Conn, row: &RolloutRow) -> Done<Option<StateRow>> {
    let live = states::live(conn, &row.tenant, &row.name).await?;
    Ok(live
        .into_iter()
        .find(|state| state.version == row.version && state.rollout.as_deref() == Some(&row.id)))
}

/// The devices of the state's audience.
async fn members(conn: &mut Conn, row: &RolloutRow, state: &StateRow, now: i64) -> Done<Vec<Member>> {
    let one = std::slice::from_ref(state);
    let known = rollouts::fleet(conn, &row.id, &row.tenant).await?;
    let meant = known
        .into_iter()
        .filter(|known| !crate::offer::matching(one, &row.tenant, &known.id, &known.labels).is_empty());
    let windows = &row.plan.windows;
    Ok(meant
        .map(|known| {
            let zone = || window::zone_of(&known.labels, &known.facts, row.plan.zone.as_deref());
            let open = windows.is_empty() || window::open(windows, &zone(), now);
            Member {
                id: known.id,
                labels: known.labels,
                free: known.free,
                open,
                let_in: known.let_in,
            }
        })
        .collect())
}

/// Somebody retired the version, or a trust document did: there is nothing left to bring.
async fn lost(hub: &Hub, row: &RolloutRow) -> Done<()> {
    let now = hub.clock.now();
    let mut tx = hub.store.write().await?;
    let Some(mut row) = rollouts::get(&mut tx, &row.id)
        .await?
        .filter(|now| now.revision == row.revision)
    else {
        return Ok(());
    };
    if candidate(&mut tx, &row).await?.is_some() {
        return Ok(());
    }
    let all = states::list(&mut tx, Some(&row.tenant)).await?;
    let retired = all
        .into_iter()
        .find(|state| (state.name.as_str(), state.version) == (row.name.as_str(), row.version));
    let why = retired.and_then(|state| state.retired_why).unwrap_or_default();
    row.pace.status = Status::Aborted;
    row.why = Some(format!("its version is offered no longer: {why}"));
    row.ended = Some(now);
    noted(&mut tx, &mut row, "rollout.abort", now).await?;
    tx.commit().await?;
    hub.changed().await
}

async fn write(hub: &Hub, read: &RolloutRow, state: &StateRow, fleet: &[Member], turn: Turn, now: i64) -> Done<()> {
    let mut tx = hub.store.write().await?;
    // What was read is still so, or the next look decides anew.
    let current = rollouts::get(&mut tx, &read.id).await?;
    let Some(mut row) = current.filter(|row| row.revision == read.revision) else {
        return Ok(());
    };
    if candidate(&mut tx, &row).await?.is_none() {
        return Ok(());
    }
    for at in &turn.silent {
        rollouts::settle(&mut tx, &row.id, &fleet[*at].id, Outcome::Silent, None, now).await?;
    }
    if halts(&mut tx, hub, &mut row, now).await? {
        tx.commit().await?;
        return hub.changed().await;
    }
    for (at, phase) in &turn.let_in {
        rollouts::let_in(&mut tx, &row.id, &fleet[*at].id, *phase, now).await?;
    }
    let before = row.pace.clone();
    row.pace = turn.next;
    match row.pace.status {
        Status::Done => {
            row.ended = Some(now);
            finish(&mut tx, &row, state, now).await?;
            noted(&mut tx, &mut row, "rollout.done", now).await?;
        }
        // Decided above, by what is written.
        Status::Halted => return Ok(()),
        _ if row.pace.phase != before.phase => noted(&mut tx, &mut row, "rollout.phase", now).await?,
        _ => rollouts::put(&mut tx, &mut row).await?,
    }
    let over = row.pace.status == Status::Done;
    if !over && turn.let_in.is_empty() {
        return Ok(tx.commit().await?);
    }
    if over {
        tx.commit().await?;
        return hub.changed().await;
    }
    let woken: HashSet<String> = turn.let_in.iter().map(|(at, _)| fleet[*at].id.clone()).collect();
    let generation = store::bump_for(&mut tx, &woken).await?;
    tx.commit().await?;
    hub.wake_only(generation, woken);
    Ok(())
}

/// The version is everybody's, and takes the place of what its audience had.
async fn finish(tx: &mut Tx, row: &RolloutRow, state: &StateRow, now: i64) -> Done<()> {
    let why = format!("version {} took its place", row.version);
    for other in states::live(tx, &row.tenant, &row.name).await? {
        if other.audience == state.audience && other.version != row.version {
            states::retire(tx, &row.tenant, &row.name, other.version, &why, now).await?;
        }
    }
    Ok(states::release(tx, &row.tenant, &row.name, row.version).await?)
}

/// Halts a rollout where what is written says so; gives whether it did.
pub(crate) async fn halts(conn: &mut Conn, hub: &Hub, row: &mut RolloutRow, now: i64) -> Done<bool> {
    if !matches!(row.pace.status, Status::Running | Status::Paused) {
        return Ok(false);
    }
    let failures = rollouts::failures(conn, &row.id, row.plan.phases.len()).await?;
    let Some(why) = pace::verdict(&row.plan, &row.pace, &failures) else {
        return Ok(false);
    };
    tracing::warn!(rollout = row.id, why, "a rollout halted");
    row.pace.status = Status::Halted;
    row.why = Some(why);
    noted(conn, row, "rollout.halt", now).await?;
    count(&hub.metrics.rollouts_halted);
    Ok(true)
}

/// Writes a change of standing, who is told of it, and that it was the hub's own doing.
async fn noted(conn: &mut Conn, row: &mut RolloutRow, action: &str, now: i64) -> Done<()> {
    rollouts::put(conn, row).await?;
    let act = Act {
        actor: "hub",
        tenant: Some(&row.tenant),
        action,
        subject: &row.id,
        detail: json!({ "why": row.why, "phase": row.pace.phase + 1 }),
    };
    audit::append(conn, &act, now).await?;
    store::bump(conn).await?;
    Ok(())
}
