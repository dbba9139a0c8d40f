//! Heartbeats and reports of devices that say nothing else in their batch: read and written for all of them at once, so that
//! a thousand cost hardly more words with the database than one.

use std::collections::{HashMap, HashSet};

use super::{Call, Said, agent_of, heartbeat_of, of_rollouts, report_of, reported};
use crate::fault::Done;
use crate::hub::Hub;
use crate::store::agents::{self, Agent, Reported};
use crate::store::devices::{self, Device, Seen};
use crate::store::{Conn, rollouts};

/// Takes them, and fills in their verdicts. One of a device that is no longer served is left, to be told so as ever.
pub(super) async fn take(
    hub: &Hub,
    conn: &mut Conn,
    batch: &[Call],
    verdicts: &mut [Option<Done<()>>],
    now: i64,
) -> Done<()> {
    let single = single(batch);
    let seen: Vec<Seen<'_>> = single.iter().map(|(_, call, _)| call.seen()).collect();
    let served = devices::saw(conn, &seen, now).await?;
    let served: HashMap<&str, &Device> = served.iter().map(|device| (device.id.as_str(), device)).collect();
    let names: Vec<(&str, &str)> = single.iter().map(|(_, call, name)| (&*call.device, *name)).collect();
    let mut known: HashMap<String, Agent> = agents::of(conn, &names).await?.into_iter().collect();
    let anchors = anchors(conn, &single).await?;

    let mut said: Vec<(&str, Agent)> = Vec::with_capacity(single.len());
    let mut reports: Vec<(&Device, &Call, Reported)> = Vec::new();
    for (at, call, name) in single {
        let Some(device) = served.get(call.device.as_str()).copied() else {
            continue;
        };
        let mut agent = match known.remove(&call.device) {
            Some(agent) => agent,
            None => agent_of(conn, device, name).await?,
        };
        let verdict = match &call.said {
            Said::Heartbeat(heartbeat) => heartbeat_of(hub, conn, device, &mut agent, heartbeat, now).await?,
            Said::Report(report) => {
                let anchored = anchors.get(call.device.as_str()).map(String::as_str);
                report_of(conn, device, &mut agent, report, anchored, now).await?;
                reports.push((device, call, reported(report, now)));
                Ok(())
            }
            Said::Answer(..) | Said::Fetches(_) => continue,
        };
        if verdict.is_ok() {
            said.push((device.id.as_str(), agent));
        }
        verdicts[at] = Some(verdict);
    }
    let said: Vec<(&str, &Agent)> = said.iter().map(|(device, agent)| (*device, agent)).collect();
    agents::put_all(conn, &said).await?;
    let rows: Vec<(&str, &Reported)> = reports.iter().map(|(device, _, row)| (&*device.id, row)).collect();
    agents::add_reports(conn, &rows).await?;

    let versions: HashSet<(&str, &str, u64)> = reports
        .iter()
        .map(|(device, _, row)| (&*device.tenant, &*row.name, row.version))
        .collect();
    let mut by_rollout = HashSet::new();
    for (tenant, name, version) in versions {
        if rollouts::brought(conn, tenant, name, version).await? {
            by_rollout.insert((tenant, name, version));
        }
    }
    for (device, call, row) in &reports {
        if let Said::Report(report) = &call.said
            && by_rollout.contains(&(&*device.tenant, &*row.name, row.version))
        {
            of_rollouts(hub, conn, device, report, now).await?;
        }
    }
    Ok(())
}

/// Those calls, each with its place in the batch and its agent's name.
fn single(batch: &[Call]) -> Vec<(usize, &Call, &str)> {
    let mut calls: HashMap<&str, usize> = HashMap::new();
    for call in batch {
        *calls.entry(call.device.as_str()).or_default() += 1;
    }
    let alone = batch
        .iter()
        .enumerate()
        .filter(|(_, call)| calls[call.device.as_str()] == 1);
    let named = alone.filter_map(|(at, call)| match &call.said {
        Said::Heartbeat(heartbeat) => Some((at, call, heartbeat.name.as_str())),
        Said::Report(report) => Some((at, call, report.name.as_str())),
        Said::Answer(..) | Said::Fetches(_) => None,
    });
    named.collect()
}

/// By device, the hash with which the record that its report names was seen, where it was.
async fn anchors<'a>(conn: &mut Conn, single: &[(usize, &'a Call, &'a str)]) -> Done<HashMap<String, String>> {
    let of_reports = single.iter().filter_map(|(_, call, name)| match &call.said {
        Said::Report(report) => Some((&*call.device, *name, report.ledger.index)),
        _ => None,
    });
    let asked: Vec<(&str, &str, u64)> = of_reports.collect();
    Ok(agents::anchors(conn, &asked).await?.into_iter().collect())
}
