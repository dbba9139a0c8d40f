//! What looks wrong with a device: copies of its keys, a ledger that went back or forked, and what it says itself.

use std::collections::BTreeMap;

use jos_schemas::documents::hub::LedgerHead;
use jos_schemas::text::Name;
use serde_json::{Value, json};

use crate::fault::{Done, Fault};
use crate::gate;
use crate::hub::Hub;
use crate::store::agents::{self, Agent};
use crate::store::alarms::{self, About, Kind};
use crate::store::audit::{self, Act};
use crate::store::devices::{self, Device, Status};
use crate::store::{self, Conn, Stored};

/// Sessions of an agent that are remembered.
const SESSIONS_KEPT: usize = 16;
/// A request of the session before may still be under way for so many seconds when the next session begins.
const UNDER_WAY: i64 = 10;

/// In its telemetry: that somebody should look at it, and why.
pub const SAID: &str = "alarm";
/// Characters that are kept of what a device says.
const LONGEST: usize = 500;

/// Puts a device whose keys are used in two places into quarantine; gives what it is told.
pub async fn cloned(hub: &Hub, conn: &mut Conn, device: &Device, name: &str, detail: &str, now: i64) -> Done<Fault> {
    let reason = "its keys are used in two places";
    devices::set_status(conn, &device.id, Status::Quarantined, Some(reason)).await?;
    let about = About {
        tenant: &device.tenant,
        device: &device.id,
        name,
    };
    alarms::raise(conn, about, Kind::Clone, detail, now).await?;
    let act = Act {
        actor: "hub",
        tenant: Some(&device.tenant),
        action: "device.quarantine",
        subject: &device.id,
        detail: json!({ "reason": reason, "found": detail }),
    };
    audit::append(conn, &act, now).await?;
    store::bump(conn).await?;
    tracing::warn!(
        device = device.id,
        found = detail,
        hub = hub.authorities().ca().fingerprint().to_string(),
        "a device was put into quarantine"
    );
    let quarantined = Device {
        status: Status::Quarantined,
        reason: Some(reason.to_owned()),
        ..device.clone()
    };
    Ok(gate::served(&quarantined).err().unwrap_or_else(Fault::busy))
}

/// Notes the session of a heartbeat. A session that comes back after another one began is a copy of the device: gives
/// what was found.
pub fn session(agent: &mut Agent, session: &str, now: i64) -> Option<String> {
    if agent.session == session {
        return None;
    }
    if let Some((_, ended)) = agent.sessions.iter().find(|(known, _)| known == session) {
        return (now - ended > UNDER_WAY).then(|| {
            format!(
                "session {session} calls on, {} s after session {} began",
                now - ended,
                agent.session
            )
        });
    }
    let before = std::mem::replace(&mut agent.session, session.to_owned());
    agent.sessions.push((before, now));
    let excess = agent.sessions.len().saturating_sub(SESSIONS_KEPT);
    agent.sessions.drain(..excess);
    None
}

/// Holds a ledger's head against what was anchored, and anchors it.
pub async fn head(conn: &mut Conn, about: About<'_>, agent: &mut Agent, head: &LedgerHead, now: i64) -> Stored<()> {
    if agent.head.as_ref() == Some(head) {
        // Anchored when it was first said.
        return Ok(());
    }
    let known = agents::anchor(conn, about.device, about.name, head.index).await?;
    if known.as_deref().is_some_and(|hash| hash != head.hash.as_str()) {
        let detail = format!(
            "record {} was anchored with another hash: the history was rewritten",
            head.index
        );
        alarms::raise(conn, about, Kind::LedgerFork, &detail, now).await?;
    } else if let Some(last) = agent.head.as_ref().filter(|last| last.index > head.index) {
        let detail = format!("the ledger ended at record {}, now at {}", last.index, head.index);
        alarms::raise(conn, about, Kind::LedgerRollback, &detail, now).await?;
    }
    if known.is_none() {
        agents::add_anchor(conn, about.device, about.name, head, now).await?;
    }
    agent.head = Some(head.clone());
    Ok(())
}

/// Holds the record that a report names against the hash that it was anchored with, where it was. Reports may come late, so
/// that a lower index is none of a rollback.
pub async fn record(
    conn: &mut Conn,
    about: About<'_>,
    head: &LedgerHead,
    anchored: Option<&str>,
    now: i64,
) -> Stored<()> {
    if anchored.is_some_and(|hash| hash != head.hash.as_str()) {
        let detail = format!("the report's record {} was anchored with another hash", head.index);
        alarms::raise(conn, about, Kind::LedgerFork, &detail, now).await?;
    }
    Ok(())
}

/// Raises an alarm when a device begins to say that somebody should look at it, and clears it when it says so no longer. What
/// was cleared by a person while it goes on was seen: it comes back when the device says something else.
pub async fn said(
    conn: &mut Conn,
    about: About<'_>,
    before: &BTreeMap<Name, Value>,
    telemetry: &BTreeMap<Name, Value>,
    now: i64,
) -> Stored<()> {
    let (before, found) = (alarm_of(before), alarm_of(telemetry));
    let Some(found) = found else {
        if before.is_some() {
            alarms::over(conn, about, Kind::ByDevice, now).await?;
        }
        return Ok(());
    };
    let new = match alarms::raised(conn, about, Kind::ByDevice).await? {
        // Seldom asked: only while a device says so.
        Some((known, open)) => known != found || (!open && before.as_ref() != Some(&found)),
        None => true,
    };
    if new {
        alarms::raise(conn, about, Kind::ByDevice, &found, now).await?;
    }
    Ok(())
}

/// What it says, as one line that is not too long; whatever else it may be is told as JSON.
fn alarm_of(telemetry: &BTreeMap<Name, Value>) -> Option<String> {
    let text = match telemetry.get(SAID)? {
        Value::Null | Value::Bool(false) => return None,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let plain = text.chars().map(|sign| if sign.is_control() { ' ' } else { sign });
    let line: String = plain.take(LONGEST).collect();
    (!line.trim().is_empty()).then(|| line.trim().to_owned())
}
