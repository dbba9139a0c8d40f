//! Heartbeats, reports and answers, written in batches: what arrives while one transaction is on its way to the disk shares the
//! next. A caller is answered after the commit, so what was acknowledged outlives a crash.

mod single;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jos_schemas::documents::answer::Answer;
use jos_schemas::documents::hub::{Heartbeat, StateReport};
use sqlx::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::ca::Peer;
use crate::fault::{Done, Fault};
use crate::gate;
use crate::history::Slot;
use crate::hub::Hub;
use crate::metrics::count;
use crate::rollout::pace::Outcome;
use crate::rollout::steward;
use crate::store::agents::{self, Agent, Reported};
use crate::store::alarms::About;
use crate::store::devices::{self, Device, Seen};
use crate::store::{Conn, authorities, history, questions, rollouts};
use crate::strokes::Strokes;
use crate::watchman;

/// Callers that may wait for the disk; one more is told to come again.
const WAITING: usize = 16_384;
/// Heartbeats in one transaction, at most.
const BATCH: usize = 1024;
/// Other calls in one transaction, at most: when a whole fleet reports at once, a heartbeat waits for so many of them.
const SHARE: usize = 256;
/// Between the beginnings of two transactions: a busy hub writes for several devices at once, and none waits for long.
const APART: Duration = Duration::from_millis(20);
/// Agents of one device, at most: a device that invents names fills no disk.
const MOST_AGENTS: usize = 16;
/// Batches of figures that are known by an agent's row: a device sends one after the other, each until it is acknowledged.
const BATCHES: usize = 8;
/// The code of a fetch that comes too late.
pub(crate) const NOT_NOW: &str = "not-now";

/// What a device said.
#[derive(Debug)]
pub enum Said {
    /// That it is there, and how.
    Heartbeat(Box<Heartbeat>),
    /// How an apply ended.
    Report(Box<StateReport>),
    /// What was asked of it: the id of the question, and the answer.
    Answer(String, Box<Answer>),
    /// That it fetches the version of this rollout; refused where it may not any more.
    Fetches(String),
}

/// A call, and who waits for it.
#[derive(Debug)]
struct Call {
    peer: Peer,
    device: String,
    address: String,
    said: Said,
    done: oneshot::Sender<Done<()>>,
}

impl Call {
    fn seen(&self) -> Seen<'_> {
        Seen {
            id: &self.device,
            serial: &self.peer.serial,
            address: &self.address,
        }
    }
}

/// Where calls are handed in.
#[derive(Clone, Debug)]
pub struct Intake {
    heartbeats: mpsc::Sender<Call>,
    others: mpsc::Sender<Call>,
}

/// Where they come out: heartbeats first, and a share of the others with them.
struct Waiting {
    heartbeats: mpsc::Receiver<Call>,
    others: mpsc::Receiver<Call>,
    strokes: Strokes,
}

impl Waiting {
    /// What is written next; nothing once nobody hands in any more.
    async fn batch(&mut self) -> Vec<Call> {
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            Some(call) = self.heartbeats.recv() => batch.push(call),
            Some(call) = self.others.recv() => batch.push(call),
            else => return batch,
        }
        self.strokes.next().await;
        let mut take = |from: &mut mpsc::Receiver<Call>, most: usize| {
            let more = std::iter::from_fn(|| from.try_recv().ok());
            batch.extend(more.take(most));
        };
        take(&mut self.heartbeats, BATCH - 1);
        take(&mut self.others, SHARE - 1);
        batch
    }
}

impl Intake {
    /// Starts the one writer of a hub. It ends, with all calls answered, once every [`Intake`] is dropped.
    pub fn start(hub: Arc<Hub>) -> (Self, JoinHandle<()>) {
        let ((heartbeats, first), (others, then)) = (mpsc::channel(WAITING), mpsc::channel(WAITING));
        let mut waiting = Waiting {
            heartbeats: first,
            others: then,
            strokes: Strokes::new(APART),
        };
        let writer = tokio::spawn(async move {
            loop {
                let mut batch = waiting.batch().await;
                if batch.is_empty() {
                    break;
                }
                let verdicts = match write(&hub, &batch).await {
                    Ok(verdicts) => verdicts,
                    Err(fault) => {
                        note(&hub, &fault);
                        tracing::error!(
                            cause = fault.to_string(),
                            calls = batch.len(),
                            "a batch was not written"
                        );
                        batch.iter().map(|_| Err(fault.clone())).collect()
                    }
                };
                for (call, verdict) in batch.drain(..).zip(verdicts) {
                    // Who hung up asks again.
                    let _ = call.done.send(verdict);
                }
            }
        });
        (Self { heartbeats, others }, writer)
    }

    /// Hands in what a device said; comes back when it is on disk, or refused.
    pub async fn hand_in(&self, peer: &Peer, device: &Device, address: String, said: Said) -> Done<()> {
        let (done, verdict) = oneshot::channel();
        let lane = match said {
            Said::Heartbeat(_) => &self.heartbeats,
            Said::Report(_) | Said::Answer(..) | Said::Fetches(_) => &self.others,
        };
        let call = Call {
            peer: peer.clone(),
            device: device.id.clone(),
            address,
            said,
            done,
        };
        lane.try_send(call).map_err(|_| Fault::busy())?;
        verdict.await.map_err(|_| Fault::busy())?
    }
}

async fn write(hub: &Hub, batch: &[Call]) -> Done<Vec<Done<()>>> {
    let now = hub.clock.now();
    let verdicts = match together(hub, batch, now).await? {
        Some(verdicts) => verdicts,
        None => each_by_itself(hub, batch, now).await?,
    };
    count(&hub.metrics.batches);
    let mut news = false;
    for (call, verdict) in batch.iter().zip(&verdicts) {
        match (&call.said, verdict) {
            (Said::Heartbeat(_), Ok(())) => count(&hub.metrics.heartbeats),
            (Said::Report(_), Ok(())) => count(&hub.metrics.reports),
            (_, Err(fault)) => note(hub, fault),
            _ => {}
        }
        // A device in quarantine, or a rollout that halted.
        news |= verdict.is_err() || matches!(&call.said, Said::Report(report) if is_failure(report));
    }
    if news {
        hub.changed().await?;
    }
    Ok(verdicts)
}

/// For `/readyz`.
fn note(hub: &Hub, fault: &Fault) {
    if fault.is_no_room() {
        hub.no_room.store(hub.clock.now(), Ordering::Relaxed);
    }
}

/// All calls in one transaction. Nothing, and nothing written, where one of them breaks half-way.
async fn together(hub: &Hub, batch: &[Call], now: i64) -> Done<Option<Vec<Done<()>>>> {
    let mut tx = hub.store.write().await?;
    let mut verdicts: Vec<Option<Done<()>>> = vec![None; batch.len()];
    let written = async {
        single::take(hub, &mut tx, batch, &mut verdicts, now).await?;
        for (call, verdict) in batch.iter().zip(&mut verdicts).filter(|(_, verdict)| verdict.is_none()) {
            *verdict = Some(take(hub, &mut tx, call, now).await?);
        }
        Done::Ok(())
    };
    if written.await.is_err() {
        tx.rollback().await?;
        return Ok(None);
    }
    tx.commit().await?;
    Ok(verdicts.into_iter().collect())
}

/// The same where a call that breaks half-way leaves nothing of itself, and all of the others: two more words with the
/// database for each.
async fn each_by_itself(hub: &Hub, batch: &[Call], now: i64) -> Done<Vec<Done<()>>> {
    let mut tx = hub.store.write().await?;
    let mut verdicts = Vec::with_capacity(batch.len());
    for call in batch {
        let mut own = tx.begin().await?;
        match take(hub, &mut own, call, now).await {
            Ok(verdict) => {
                own.commit().await?;
                verdicts.push(verdict);
            }
            Err(fault) => {
                own.rollback().await?;
                verdicts.push(Err(fault));
            }
        }
    }
    tx.commit().await?;
    Ok(verdicts)
}

/// The outer error undoes the call; the inner one is a verdict that stays written.
async fn take(hub: &Hub, conn: &mut Conn, call: &Call, now: i64) -> Done<Done<()>> {
    let device = match devices::saw(conn, &[call.seen()], now).await?.pop() {
        Some(device) => device,
        None => gate::still_served(conn, &call.device).await?,
    };
    match &call.said {
        Said::Heartbeat(heartbeat) => {
            let mut agent = agent_of(conn, &device, heartbeat.name.as_str()).await?;
            let verdict = heartbeat_of(hub, conn, &device, &mut agent, heartbeat, now).await?;
            if verdict.is_ok() {
                agents::put(conn, &device.id, &agent).await?;
            }
            Ok(verdict)
        }
        Said::Report(report) => {
            let mut agent = agent_of(conn, &device, report.name.as_str()).await?;
            let known = agents::anchor(conn, &device.id, report.name.as_str(), report.ledger.index).await?;
            report_of(conn, &device, &mut agent, report, known.as_deref(), now).await?;
            agents::put(conn, &device.id, &agent).await?;
            agents::add_reports(conn, &[(&device.id, &reported(report, now))]).await?;
            of_rollouts(hub, conn, &device, report, now).await?;
            Ok(Ok(()))
        }
        Said::Answer(question, answer) => {
            if questions::answer(conn, question, &device.id, answer, now).await? {
                return Ok(Ok(()));
            }
            // Of another device, answered, over, or never asked: nobody is told which.
            Ok(Err(Fault::not_found("no such question is open for this agent")))
        }
        Said::Fetches(rollout) => {
            if rollouts::hand_out(conn, rollout, &device.id, now).await? {
                return Ok(Ok(()));
            }
            Ok(Err(Fault::conflict(NOT_NOW, "the rollout has stopped meanwhile")))
        }
    }
}

fn is_failure(report: &StateReport) -> bool {
    Outcome::of_report(report.outcome) == Some(Outcome::Failed)
}

/// What a report means for the rollout of its version. One that halts does so in the very transaction that the report is
/// written in: once it is acknowledged, no further device gets the version.
async fn of_rollouts(hub: &Hub, conn: &mut Conn, device: &Device, report: &StateReport, now: i64) -> Done<()> {
    let name = report.name.as_str();
    for id in rollouts::of_version(conn, &device.tenant, name, report.version, &device.id).await? {
        let Some(outcome) = Outcome::of_report(report.outcome) else {
            rollouts::heard(conn, &id, &device.id, now).await?;
            continue;
        };
        rollouts::settle(conn, &id, &device.id, outcome, report.reason.as_deref(), now).await?;
        if outcome == Outcome::Failed
            && let Some(mut row) = rollouts::get(conn, &id).await?
        {
            steward::halts(conn, hub, &mut row, now).await?;
        }
    }
    Ok(())
}

/// Takes a heartbeat into what is known of its agent, which the caller writes.
async fn heartbeat_of(
    hub: &Hub,
    conn: &mut Conn,
    device: &Device,
    agent: &mut Agent,
    said: &Heartbeat,
    now: i64,
) -> Done<Done<()>> {
    let name = said.name.as_str();
    let about = About {
        tenant: &device.tenant,
        device: &device.id,
        name,
    };
    if let Some(found) = watchman::session(agent, &said.session, now) {
        return Ok(Err(watchman::cloned(hub, conn, device, name, &found, now).await?));
    }
    if let Some(head) = &said.ledger {
        watchman::head(conn, about, agent, head, now).await?;
    }
    agent.program.clone_from(&said.agent);
    agent.features.clone_from(&said.features);
    agent.version = said.version;
    agent.outcome = said.outcome.or(agent.outcome);
    agent.floor = agent.floor.max(said.version.unwrap_or(0));
    watchman::said(conn, about, &agent.telemetry, &said.telemetry, now).await?;
    agent.telemetry.clone_from(&said.telemetry);
    let over = match &said.figures {
        None => Vec::from_iter(agent.slot.take_in(&said.telemetry, now)),
        // Its answer was lost on the way: it has been taken.
        Some(figures) if agent.batches.contains(&figures.batch) => Vec::new(),
        Some(figures) => {
            agent.batches.push(figures.batch.clone());
            let known = agent.batches.len().saturating_sub(BATCHES);
            agent.batches.drain(..known);
            agent.figures_lost = figures.lost;
            agent.slot.take_in_late(&figures.samples, now)
        }
    };
    for over in &over {
        history::add(conn, &device.id, name, over).await?;
    }
    agent.seen = now;
    // Only what was offered can be known: no device says that it is ahead.
    let word = hub.authorities().word(&device.tenant);
    if let Some(known) = said
        .hub_ca
        .filter(|known| word.is_some_and(|word| *known <= word) && *known > device.hub_ca)
    {
        authorities::knows(conn, &device.id, known).await?;
    }
    Ok(Ok(()))
}

/// Takes a report into what is known of its agent, which the caller writes. `anchored` is the hash with which the hub has
/// seen the record that it names.
async fn report_of(
    conn: &mut Conn,
    device: &Device,
    agent: &mut Agent,
    report: &StateReport,
    anchored: Option<&str>,
    now: i64,
) -> Done<()> {
    let about = About {
        tenant: &device.tenant,
        device: &device.id,
        name: report.name.as_str(),
    };
    watchman::record(conn, about, &report.ledger, anchored, now).await?;
    agent.floor = agent.floor.max(report.version);
    agent.outcome = Some(report.outcome);
    Ok(())
}

fn reported(report: &StateReport, now: i64) -> Reported {
    Reported {
        name: report.name.to_string(),
        version: report.version,
        outcome: report.outcome,
        time: report.time.clone(),
        reason: report.reason.clone(),
        changed: report.changed,
        ledger: report.ledger.clone(),
        received: now,
    }
}

/// What is known of an agent; a new one where there is room.
async fn agent_of(conn: &mut Conn, device: &Device, name: &str) -> Done<Agent> {
    if let Some(agent) = agents::get(conn, &device.id, name).await? {
        return Ok(agent);
    }
    if agents::list(conn, &device.id).await?.len() >= MOST_AGENTS {
        return Err(Fault::conflict(
            "too-many-agents",
            format!("this device has {MOST_AGENTS} agents already"),
        ));
    }
    Ok(Agent {
        name: name.to_owned(),
        session: String::new(),
        sessions: Vec::new(),
        program: String::new(),
        features: Vec::new(),
        version: None,
        outcome: None,
        head: None,
        floor: 0,
        telemetry: std::collections::BTreeMap::new(),
        slot: Slot::default(),
        batches: Vec::new(),
        figures_lost: 0,
        seen: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(said: Said) -> Call {
        let digest = jos_trust::sha256(b"");
        Call {
            peer: Peer {
                key: digest,
                serial: String::new(),
                issuer: digest,
            },
            device: String::new(),
            address: String::new(),
            said,
            done: oneshot::channel().0,
        }
    }

    #[tokio::test]
    async fn a_fleet_that_reports_at_once_keeps_no_heartbeat_waiting() {
        let ((heartbeats, first), (others, then)) = (mpsc::channel(WAITING), mpsc::channel(WAITING));
        let mut waiting = Waiting {
            strokes: Strokes::new(APART),
            heartbeats: first,
            others: then,
        };
        for n in 0..3 * SHARE {
            others
                .send(call(Said::Fetches(n.to_string())))
                .await
                .expect("there is room");
        }
        let heartbeat = serde_json::json!({
            "kind": "jos.heartbeat", "name": "portal", "agent": "0.1.0", "session": "s", "nonce": "n",
        });
        let heartbeat: Heartbeat = serde_json::from_value(heartbeat).expect("a heartbeat");
        heartbeats
            .send(call(Said::Heartbeat(Box::new(heartbeat))))
            .await
            .expect("there is room");
        let batch = waiting.batch().await;
        assert!(matches!(batch[0].said, Said::Heartbeat(_)), "{:?}", batch[0].said);
        assert_eq!(batch.len(), SHARE, "one heartbeat, and the others have a share");
        drop((heartbeats, others));
        let mut left = Vec::new();
        loop {
            let batch = waiting.batch().await;
            if batch.is_empty() {
                break;
            }
            assert!(batch.len() <= SHARE);
            left.extend(batch);
        }
        assert_eq!(left.len(), 2 * SHARE + 1, "nothing is lost when the hub ends");
    }
}
