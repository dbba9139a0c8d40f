//! The fleet: who is there, and who is served.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use jos_link::wire::Held;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{check_labels, history};
use crate::api::{App, body};
use crate::fault::{Done, Fault};
use crate::history::Stat;
use crate::offer::{self, Offer};
use crate::rights::Asker;
use crate::store::agents::{self, Agent, Reported};
use crate::store::alarms::{self, Alarm};
use crate::store::audit::{self, Act};
use crate::store::devices::{self, Device, Status};
use crate::store::{self, Conn, states};

const MOST: u32 = 1000;

/// Which devices.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    tenant: Option<String>,
    #[serde(default)]
    after: String,
    limit: Option<u32>,
}

/// A device with all that is known of it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Shown {
    /// The registry's entry.
    pub device: Device,
    /// What its agents last said, and what each is offered.
    pub agents: Vec<ShownAgent>,
    /// Its latest reports, the newest first.
    pub reports: Vec<Reported>,
    /// Alarms that are open.
    pub alarms: Vec<Alarm>,
}

/// One agent with what the hub offers it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ShownAgent {
    /// What it last said; absent where it never called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub said: Option<Agent>,
    /// Its name.
    pub name: String,
    /// The version offered; 0 where none is.
    pub offered: u64,
    /// Why a state that is meant for it is held back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// The rollout that brings what is offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<String>,
    /// What it measured in the last day.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, Stat>,
}

/// Labels to be set and removed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// Set, or replaced.
    #[serde(default)]
    set: BTreeMap<String, String>,
    /// Removed.
    #[serde(default)]
    remove: Vec<String>,
}

/// Why.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Because {
    /// One line, for the audit log and for whoever asks.
    #[serde(default)]
    pub reason: String,
}

/// Lists devices, by id.
pub async fn list(State(app): State<App>, asker: Asker, Query(which): Query<Which>) -> Done<Json<Vec<Device>>> {
    let most = which.limit.unwrap_or(MOST).clamp(1, MOST);
    let tenant = asker.some(which.tenant.as_deref())?;
    let mut conn = app.hub.store.read().await?;
    Ok(Json(
        devices::list(&mut conn, tenant.as_deref(), &which.after, most).await?,
    ))
}

/// Shows one.
pub async fn show(State(app): State<App>, asker: Asker, Path(id): Path<String>) -> Done<Json<Shown>> {
    let mut conn = app.hub.store.read().await?;
    let device = super::device(&mut conn, &asker, &id).await?;
    let said = agents::list(&mut conn, &id).await?;
    let mut names: Vec<String> = said.iter().map(|agent| agent.name.clone()).collect();
    names.extend(states::live_names(&mut conn, &device.tenant).await?);
    names.sort();
    names.dedup();
    let mut shown = Vec::new();
    for name in names {
        let now = app.hub.clock.now();
        let live = states::live(&mut conn, &device.tenant, &name).await?;
        let offer = offer::find(&live, &mut app.hub.store.lazily(), &device, &name, now).await?;
        let said = said.iter().find(|agent| agent.name == name).cloned();
        if said.is_none() && offer == Offer::Nothing {
            continue;
        }
        let metrics = match &said {
            Some(agent) => history::summary(&mut conn, &id, agent, now).await?,
            None => BTreeMap::new(),
        };
        shown.push(ShownAgent {
            said,
            name,
            metrics,
            offered: offer.version(),
            rollout: match &offer {
                Offer::State(state) => state.rollout.clone(),
                Offer::Nothing | Offer::Held(_) => None,
            },
            held: match offer {
                Offer::Held(held) => Some(held),
                Offer::Nothing | Offer::State(_) => None,
            },
        });
    }
    Ok(Json(Shown {
        reports: agents::reports(&mut conn, &id, 20).await?,
        alarms: alarms::list(&mut conn, None, Some(&id), false).await?,
        agents: shown,
        device,
    }))
}

/// Changes a device's labels, unless two states would match it then.
pub async fn label(State(app): State<App>, asker: Asker, Path(id): Path<String>, body: Body) -> Done<Json<Device>> {
    let asked: Labels = body::json(body).await?;
    check_labels(&asked.set)?;
    let now = app.hub.clock.now();
    let mut tx = app.hub.store.write().await?;
    let mut device = super::device(&mut tx, &asker, &id).await?;
    device.labels.retain(|key, _| !asked.remove.contains(key));
    device.labels.extend(asked.set);
    one_state(&mut tx, &device).await?;
    devices::set_labels(&mut tx, &id, &device.labels).await?;
    let act = Act {
        actor: &asker.actor.0,
        tenant: Some(&device.tenant),
        action: "device.label",
        subject: &id,
        detail: json!({ "labels": device.labels }),
    };
    audit::append(&mut tx, &act, now).await?;
    store::bump(&mut tx).await?;
    tx.commit().await?;
    app.hub.changed().await?;
    Ok(Json(device))
}

async fn one_state(conn: &mut Conn, device: &Device) -> Done<()> {
    for name in states::live_names(conn, &device.tenant).await? {
        let live = states::live(conn, &device.tenant, &name).await?;
        let matching = offer::matching(&live, &device.tenant, &device.id, &device.labels);
        // Several of one audience: a rollout brings the newer one.
        if matching.windows(2).any(|pair| pair[0].audience != pair[1].audience) {
            let versions: Vec<u64> = matching.iter().map(|state| state.version).collect();
            return Err(Fault::conflict(
                "ambiguous",
                format!(
                    "with these labels the versions {versions:?} of {name} would all match {}",
                    device.id
                ),
            )
            .help("retire one of them: `jos-hub state retire NAME VERSION`"));
        }
    }
    Ok(())
}

/// Serves a device nothing until it is released.
pub async fn quarantine(app: State<App>, asker: Asker, id: Path<String>, body: Body) -> Done<Json<Device>> {
    stand(app, asker, id, body, Status::Quarantined).await
}

/// Takes a device out of quarantine and clears its alarms.
pub async fn release(app: State<App>, asker: Asker, id: Path<String>, body: Body) -> Done<Json<Device>> {
    stand(app, asker, id, body, Status::Active).await
}

/// Puts a device out for good: its keys are never taken again.
pub async fn revoke(app: State<App>, asker: Asker, id: Path<String>, body: Body) -> Done<Json<Device>> {
    stand(app, asker, id, body, Status::Revoked).await
}

/// Keeps a device at the version that it has: no push and no rollout gives it another one.
pub async fn hold(app: State<App>, asker: Asker, id: Path<String>, body: Body) -> Done<Json<Device>> {
    held(app, asker, id, body, true).await
}

/// Lets it go on.
pub async fn unhold(app: State<App>, asker: Asker, id: Path<String>, body: Body) -> Done<Json<Device>> {
    held(app, asker, id, body, false).await
}

async fn held(
    State(app): State<App>,
    asker: Asker,
    Path(id): Path<String>,
    body: Body,
    hold: bool,
) -> Done<Json<Device>> {
    let Because { reason } = body::json(body).await?;
    one_line(&reason)?;
    let now = app.hub.clock.now();
    let mut tx = app.hub.store.write().await?;
    let device = super::device(&mut tx, &asker, &id).await?;
    let held = hold.then(|| {
        if reason.is_empty() {
            "held by an admin".to_owned()
        } else {
            reason.clone()
        }
    });
    devices::set_held(&mut tx, &id, held.as_deref()).await?;
    let act = Act {
        actor: &asker.actor.0,
        tenant: Some(&device.tenant),
        action: if hold { "device.hold" } else { "device.unhold" },
        subject: &id,
        detail: json!({ "reason": reason }),
    };
    audit::append(&mut tx, &act, now).await?;
    store::bump(&mut tx).await?;
    tx.commit().await?;
    app.hub.changed().await?;
    Ok(Json(Device { held, ..device }))
}

fn one_line(reason: &str) -> Done<()> {
    if reason.chars().count() > 200 || reason.chars().any(char::is_control) {
        return Err(Fault::malformed("reason: expected one line of at most 200 characters"));
    }
    Ok(())
}

async fn stand(
    State(app): State<App>,
    asker: Asker,
    Path(id): Path<String>,
    body: Body,
    status: Status,
) -> Done<Json<Device>> {
    let Because { reason } = body::json(body).await?;
    one_line(&reason)?;
    let now = app.hub.clock.now();
    let mut tx = app.hub.store.write().await?;
    let device = super::device(&mut tx, &asker, &id).await?;
    if device.status == Status::Revoked && status != Status::Revoked {
        return Err(
            Fault::conflict("revoked", format!("{id} was revoked, which is for good"))
                .help("enrol it again with new keys: `jos-hub token new`"),
        );
    }
    let action = match status {
        Status::Active => "device.release",
        Status::Quarantined => "device.quarantine",
        Status::Revoked => "device.revoke",
    };
    let kept = (status != Status::Active && !reason.is_empty()).then_some(reason.as_str());
    devices::set_status(&mut tx, &id, status, kept).await?;
    if status == Status::Active {
        alarms::clear(&mut tx, &id, now).await?;
    }
    let detail = if reason.is_empty() {
        Value::Null
    } else {
        json!({ "reason": reason })
    };
    let act = Act {
        actor: &asker.actor.0,
        tenant: Some(&device.tenant),
        action,
        subject: &id,
        detail,
    };
    audit::append(&mut tx, &act, now).await?;
    store::bump(&mut tx).await?;
    tx.commit().await?;
    app.hub.changed().await?;
    let reason = kept.map(str::to_owned);
    Ok(Json(Device {
        status,
        reason,
        ..device
    }))
}
