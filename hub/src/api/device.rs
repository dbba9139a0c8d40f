//! What devices ask. Who asks is the TLS peer; nothing in a request says so.
//!
//! A body is taken in before anything is refused: the connection then serves the next request too.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jos_link::wire::{self, Challenge, Enrolled, HeartbeatReply, Held, RenewRequest};
use jos_schemas::documents::answer::Answer;
use jos_schemas::documents::hub::{
    DeviceFloor, Enrolment, FloorKind, Freshness, FreshnessKind, Heartbeat, Renewal, StateReport,
};
use jos_schemas::text::{Name, Sha256Hex};
use jos_trust::statement;
use serde::Deserialize;
use tokio::time::Instant;

use super::{App, Caller, Waited, body};
use crate::ca::Peer;
use crate::enrol::tenant_name;
use crate::fault::{Done, Fault};
use crate::hub::Hub;
use crate::intake::{NOT_NOW, Said};
use crate::metrics::count;
use crate::offer::{self, Offer};
use crate::parking::{self, Parked, Parking, Resumed};
use crate::store::alarms::{self, About, Kind};
use crate::store::devices::Device;
use crate::store::{agents, authorities, trusts};
use crate::{blob, enrol, gate, renew};

/// A certificate with less of its time left than this share is worth renewing.
const RENEW_AT_THIRDS_LEFT: i64 = 1;

/// The CAs, for whoever holds a token with the fingerprint of one.
pub async fn ca(State(app): State<App>) -> Response {
    let kind = HeaderValue::from_static("application/x-pem-file");
    ([(header::CONTENT_TYPE, kind)], app.hub.authorities().bundle()).into_response()
}

/// Enrolment.
pub async fn enrol(State(app): State<App>, body: Body) -> Done<Json<Enrolled>> {
    let request = body::document::<Enrolment>(&body::bytes(body, wire::MAX_SMALL).await?)?;
    Ok(Json(enrol::enrol(&app.hub, &request.value).await?))
}

/// For whom a challenge is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForDevice {
    device: String,
}

/// A challenge for a renewal by the `ledger` key.
pub async fn challenge(State(app): State<App>, Query(query): Query<ForDevice>) -> Json<Challenge> {
    Json(Challenge {
        challenge: app.hub.challenge(&query.device),
    })
}

/// Renewal by the `ledger` key.
pub async fn recover(State(app): State<App>, body: Body) -> Done<Json<wire::Certificate>> {
    let request = body::document::<Renewal>(&body::bytes(body, wire::MAX_SMALL).await?)?;
    Ok(Json(renew::by_ledger_key(&app.hub, &request).await?))
}

/// Renewal by the TLS peer.
pub async fn renew(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Done<Json<wire::Certificate>> {
    let bytes = body::bytes(body, wire::MAX_SMALL).await?;
    let Known { peer, device, .. } = known(&app, &caller).await?;
    limited(&app.hub, &device)?;
    let request = body::document::<RenewRequest>(&bytes)?;
    Ok(Json(renew::by_peer(&app.hub, &peer, device, &request.value).await?))
}

/// A heartbeat, answered by a freshness statement.
pub async fn heartbeat(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Done<Json<HeartbeatReply>> {
    let bytes = body::bytes(body, wire::MAX_HEARTBEAT).await?;
    let Known {
        peer,
        device,
        generation,
    } = known(&app, &caller).await?;
    limited(&app.hub, &device)?;
    let heartbeat = body::document::<Heartbeat>(&bytes)?.value;
    let samples = heartbeat.figures.as_ref().map_or(0, |figures| figures.samples.len());
    if samples > wire::MAX_SAMPLES {
        let most = wire::MAX_SAMPLES;
        return Err(Fault::malformed(format!(
            "figures: found {samples} samples, expected {most} at most"
        )));
    }
    let (name, nonce) = (heartbeat.name.clone(), heartbeat.nonce.clone());
    let intake = app.intake.as_ref().ok_or_else(Fault::busy)?;
    let said = Said::Heartbeat(Box::new(heartbeat));
    intake
        .hand_in(&peer, &device, caller.address.ip().to_string(), said)
        .await?;

    let hub = &app.hub;
    let now = hub.clock.now();
    let mut conn = hub.store.lazily();
    let live = hub
        .live
        .states(&mut conn, generation, &device.tenant, name.as_str())
        .await?;
    let offer = offer::find(&live, &mut conn, &device, name.as_str(), now).await?;
    let trust = hub.live.trust(&mut conn, generation, &device.tenant).await?;
    let questions = hub
        .live
        .questions(&mut conn, generation, &device.id, name.as_str(), now)
        .await?;
    drop(conn);
    let freshness = Freshness {
        schema: None,
        kind: FreshnessKind::default(),
        tenant: tenant_name(&device.tenant)?,
        device: device.id.clone(),
        name: name.clone(),
        offered: offer.version(),
        time: hub.clock.utc(),
        nonce,
        signature: None,
    };
    let keys = hub.authorities();
    let freshness =
        statement::sign(&freshness, keys.voice(&device.tenant)).map_err(|error| Fault::inside(error.to_string()))?;
    let held = match offer {
        Offer::Held(held) => Some(held),
        Offer::Nothing | Offer::State(_) => None,
    };
    if let Some(Held::Ambiguous { versions }) = &held {
        ambiguous(hub, &device, name.as_str(), versions, now).await?;
    }
    let third = crate::ca::DEVICE_DAYS * 86_400 * RENEW_AT_THIRDS_LEFT / 3;
    Ok(Json(HeartbeatReply {
        freshness,
        trust,
        held,
        hub_ca: keys.word(&device.tenant),
        figures: true,
        questions,
        renew: device.not_after - now < third || (keys.is_of_before(peer.issuer) && hub.may_renew_early()),
    }))
}

async fn ambiguous(hub: &Hub, device: &Device, name: &str, versions: &[u64], now: i64) -> Done<()> {
    let about = About {
        tenant: &device.tenant,
        device: &device.id,
        name,
    };
    let mut tx = hub.store.write().await?;
    let detail = format!("the versions {versions:?} of {name} match this device");
    alarms::raise(&mut tx, about, Kind::Ambiguous, &detail, now).await?;
    Ok(tx.commit().await?)
}

/// A report, acknowledged once it is on disk.
pub async fn report(State(app): State<App>, Extension(caller): Extension<Caller>, body: Body) -> Done<StatusCode> {
    let bytes = body::bytes(body, wire::MAX_SMALL).await?;
    let Known { peer, device, .. } = known(&app, &caller).await?;
    limited(&app.hub, &device)?;
    let report = body::document::<StateReport>(&bytes)?.value;
    let intake = app.intake.as_ref().ok_or_else(Fault::busy)?;
    let said = Said::Report(Box::new(report));
    intake
        .hand_in(&peer, &device, caller.address.ip().to_string(), said)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An answer to an open question of the device's, acknowledged once it is on disk.
pub async fn answer(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(question): Path<String>,
    body: Body,
) -> Done<StatusCode> {
    let bytes = body::bytes(body, wire::MAX_SMALL).await?;
    let Known { peer, device, .. } = known(&app, &caller).await?;
    limited(&app.hub, &device)?;
    let answer = body::document::<Answer>(&bytes)?.value;
    let intake = app.intake.as_ref().ok_or_else(Fault::busy)?;
    let said = Said::Answer(question, Box::new(answer));
    intake
        .hand_in(&peer, &device, caller.address.ip().to_string(), said)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How long to wait for a change.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    #[serde(default)]
    wait: u32,
}

/// The desired state: at once where it is not the one named by `If-None-Match`, else when that changes or the wait is over.
pub async fn state(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    parking: Option<Extension<Parking>>,
    resumed: Option<Extension<Resumed>>,
    Path(name): Path<String>,
    Query(query): Query<Wait>,
    headers: HeaderMap,
) -> Done<Response> {
    let hub = &app.hub;
    let name = Name::new(name).map_err(|broken| Fault::malformed(format!("the name: {broken}")))?;
    let has = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let has = has.map(str::to_owned);
    // Each header keeps the whole buffer that the request was read into.
    drop(headers);
    let wait = query.wait.min(wire::LONGEST_WAIT);
    let mut resumed = resumed.map(|Extension(resumed)| resumed);
    let until = resumed.as_ref().map_or_else(
        || Instant::now() + Duration::from_secs(u64::from(wait)),
        |resumed| resumed.until,
    );
    let (mut changes, mut ending) = (hub.listen(), app.ending.clone());
    loop {
        // Before the look: a change that comes while looking is not missed.
        let seen = *changes.borrow_and_update();
        // Apart, and gone before the wait: a look takes many times the memory.
        let (device, offered) = match Box::pin(look(&app, &caller, &name, has.as_deref())).await? {
            Look::Serve(response) => return Ok(response),
            Look::Again => continue,
            Look::Wait { device, offered } => (device, offered),
        };
        // The next one's turn.
        drop(resumed.take());
        // What was offered and is no longer: that is news too.
        let news = has.is_some() && offered.is_none();
        if news || wait == 0 {
            return Ok(nothing_new(offered));
        }
        let mut waiting = parking::Wait {
            device,
            until,
            changes: changes.clone(),
            seen,
        };
        let _left = parking.as_ref().map(|Extension(parking)| {
            parking.leave(Parked::state(waiting.clone(), name.as_str(), wait, has.as_deref()))
        });
        let over = tokio::select! {
            over = waiting.over(hub) => over,
            () = async { drop(ending.wait_for(|ending| *ending).await) } => true,
        };
        if over {
            return Ok(nothing_new(offered));
        }
    }
}

/// What a look came to.
enum Look {
    Serve(Response),
    /// What was offered is so no longer.
    Again,
    /// There is nothing that the device has not got.
    Wait {
        device: String,
        /// The tag of the state that is offered, where one is.
        offered: Option<HeaderValue>,
    },
}

async fn look(app: &App, caller: &Caller, name: &Name, has: Option<&str>) -> Done<Look> {
    let hub = &app.hub;
    let Known {
        peer,
        device,
        generation,
    } = known(app, caller).await?;
    let mut conn = hub.store.in_turn(&hub.looks);
    let live = hub
        .live
        .states(&mut conn, generation, &device.tenant, name.as_str())
        .await?;
    let offer = offer::find(&live, &mut conn, &device, name.as_str(), hub.clock.now()).await?;
    let Offer::State(state) = &offer else {
        return Ok(Look::Wait {
            device: device.id,
            offered: None,
        });
    };
    let hash = Sha256Hex::new(&*state.sha256).map_err(|broken| Fault::inside(broken.to_string()))?;
    let tag = wire::etag(&hash);
    if has == Some(tag.as_str()) {
        let tag = HeaderValue::from_str(&tag).map_err(|error| Fault::inside(error.to_string()))?;
        return Ok(Look::Wait {
            device: device.id,
            offered: Some(tag),
        });
    }
    if let Some(rollout) = &state.rollout {
        // The writer needs a connection to the database too: none is kept while it is waited for.
        conn.put_back();
        let said = Said::Fetches(rollout.clone());
        let intake = app.intake.as_ref().ok_or_else(Fault::busy)?;
        match intake
            .hand_in(&peer, &device, caller.address.ip().to_string(), said)
            .await
        {
            // It stopped since this look: what is offered now, the next one says.
            Err(fault) if fault.code() == NOT_NOW => return Ok(Look::Again),
            done => done?,
        }
    }
    let bytes = hub.live.bytes(&mut conn, state).await?;
    let bytes = bytes.ok_or_else(|| Fault::inside("a state without its bytes"))?;
    count(&hub.metrics.states_served);
    Ok(Look::Serve(document(bytes, &tag, state.version)))
}

fn nothing_new(offered: Option<HeaderValue>) -> Response {
    let mut response = match offered {
        Some(tag) => (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    };
    response.extensions_mut().insert(Waited);
    response
}

fn document(bytes: Bytes, tag: &str, version: u64) -> Response {
    let mut response = (StatusCode::OK, bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(wire::VERSION_HEADER, HeaderValue::from(version));
    response.extensions_mut().insert(Waited);
    response
}

/// One version of the tenant's trust document.
pub async fn trust(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(version): Path<u64>,
) -> Done<Response> {
    let Known { device, .. } = known(&app, &caller).await?;
    let mut conn = app.hub.store.read().await?;
    let bytes = trusts::get(&mut conn, &device.tenant, version).await?;
    let bytes =
        bytes.ok_or_else(|| Fault::not_found(format!("there is no version {version} of the trust document")))?;
    let kind = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}

/// What the tenant's admins say of the hub's CA, as they signed it.
pub async fn hub_ca(State(app): State<App>, Extension(caller): Extension<Caller>) -> Done<Response> {
    let Known { device, .. } = known(&app, &caller).await?;
    let number = app.hub.authorities().word(&device.tenant);
    let bytes = match number {
        Some(number) => authorities::word(&mut *app.hub.store.read().await?, &device.tenant, number).await?,
        None => None,
    };
    let bytes = bytes.ok_or_else(|| Fault::not_found("the tenant's admins have said nothing of the hub's CA"))?;
    let kind = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}

/// What the device chose for its question.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nonce {
    nonce: String,
}

/// The highest version that the device said it had tried, signed for it.
pub async fn floor(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Query(query): Query<Nonce>,
) -> Done<Json<DeviceFloor>> {
    let Known { device, .. } = known(&app, &caller).await?;
    let name = Name::new(name).map_err(|broken| Fault::malformed(format!("the name: {broken}")))?;
    let mut conn = app.hub.store.read().await?;
    let agent = agents::get(&mut conn, &device.id, name.as_str()).await?;
    let floor = DeviceFloor {
        schema: None,
        kind: FloorKind::default(),
        tenant: tenant_name(&device.tenant)?,
        device: device.id,
        name,
        floor: agent.map_or(0, |agent| agent.floor),
        time: app.hub.clock.utc(),
        nonce: query.nonce,
        signature: None,
    };
    // What the type does not take is not signed.
    let checked =
        jos_schemas::read::from_json(&serde_json::to_value(&floor).map_err(|e| Fault::inside(e.to_string()))?)?;
    let signed = statement::sign::<DeviceFloor>(&checked, app.hub.authorities().voice(&device.tenant));
    Ok(Json(signed.map_err(|error| Fault::inside(error.to_string()))?))
}

/// A blob of the device's tenant, whole or in part.
pub async fn blob(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(sha256): Path<String>,
    headers: HeaderMap,
) -> Done<Response> {
    let Known { device, .. } = known(&app, &caller).await?;
    let sha256 = Sha256Hex::new(sha256).map_err(|broken| Fault::malformed(format!("the hash: {broken}")))?;
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    blob::serve(&app.hub, &device.tenant, &sha256, range).await
}

/// Who calls, and the database's generation as it was looked up.
struct Known {
    peer: Peer,
    device: Device,
    generation: u64,
}

async fn known(app: &App, caller: &Caller) -> Done<Known> {
    let lookups = app.lookups.as_ref().ok_or_else(Fault::busy)?;
    let (device, generation) = gate::device(lookups, caller.peer.as_ref()).await?;
    let peer = caller
        .peer
        .clone()
        .ok_or_else(|| Fault::inside("a device without a peer"))?;
    Ok(Known {
        peer,
        device,
        generation,
    })
}

fn limited(hub: &Hub, device: &Device) -> Done<()> {
    hub.rates.take(&device.id, hub.clock.now()).map_err(|seconds| {
        Fault::new(
            StatusCode::TOO_MANY_REQUESTS,
            wire::code::TOO_OFTEN,
            "this device calls more often than the hub takes",
        )
        .retry_after(seconds)
    })
}
