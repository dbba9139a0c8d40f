//! The next certificate: for the TLS peer while its certificate holds, for the `ledger` key after that.

use jos_link::wire::{self, RenewRequest, code};
use jos_schemas::documents::hub::Renewal;
use jos_schemas::read::Parsed;
use jos_trust::{PublicKey, statement};
use serde_json::json;

use crate::ca::{self, Peer};
use crate::enrol::certificate;
use crate::fault::{Done, Fault};
use crate::gate;
use crate::hub::Hub;
use crate::metrics::count;
use crate::store::audit::{self, Act};
use crate::store::devices::{self, Device};
use crate::watchman;

/// Renews by the TLS peer. The device is the peer's, whatever the request's subject says, and its key stays.
///
/// Certificates of a device are a chain: whoever shows one that a used one has followed is a second holder of the key.
/// The one before is taken while its follower was never seen: that reply was lost.
pub async fn by_peer(hub: &Hub, peer: &Peer, device: Device, request: &RenewRequest) -> Done<wire::Certificate> {
    let (csr, key) = ca::read_request(&request.tls)?;
    if key != peer.key {
        return Err(Fault::forbidden(
            code::BAD_RENEWAL,
            "the request is for another key than the connection's",
        )
        .help("a new TLS key is bound by the ledger key, under /v1/recover"));
    }
    let now = hub.clock.now();
    let mut tx = hub.store.write().await?;
    let device = gate::still_served(&mut tx, &device.id).await?;
    let lost = device.serial_before.as_deref() == Some(peer.serial.as_str()) && !device.serial_used;
    if device.serial != peer.serial && !lost {
        let detail = format!(
            "certificate {} was shown after {} was in use",
            peer.serial, device.serial
        );
        let fault = watchman::cloned(hub, &mut tx, &device, "", &detail, now).await?;
        tx.commit().await?;
        hub.changed().await?;
        return Err(fault);
    }
    let issued = hub.authorities().ca().device(csr, &device.id, now)?;
    devices::set_certificate(&mut tx, &device.id, &device.tls, &issued).await?;
    tx.commit().await?;
    count(&hub.metrics.renewed);
    Ok(certificate(hub, issued))
}

/// Renews by the `ledger` key, over a connection without a certificate. The TLS key may be a new one: this binds it.
pub async fn by_ledger_key(hub: &Hub, request: &Parsed<Renewal>) -> Done<wire::Certificate> {
    let Renewal {
        device: id,
        tls,
        challenge,
        ..
    } = &request.value;
    let bad = || {
        Fault::forbidden(
            code::BAD_RENEWAL,
            "the renewal is not taken: the device, its signature or the challenge is not right",
        )
        .help("ask for a new challenge; a device that the hub does not know enrols again, with a token")
    };
    if !hub.is_own_challenge(id, challenge) {
        return Err(bad());
    }
    let device = devices::by_id(&mut *hub.store.read().await?, id)
        .await?
        .ok_or_else(bad)?;
    let ledger = PublicKey::from_base64(&device.ledger).map_err(|error| Fault::inside(error.to_string()))?;
    if !statement::renewal_is_by(&request.node, &ledger) {
        return Err(bad());
    }
    let (csr, key) = ca::read_request(tls)?;
    let now = hub.clock.now();
    let mut tx = hub.store.write().await?;
    // Said only now that the device has spoken: whether it is served is nobody else's business.
    let device = gate::still_served(&mut tx, id).await?;
    let key = key.to_string();
    if key != device.tls && devices::by_tls(&mut tx, &key).await?.is_some() {
        return Err(Fault::conflict(code::KNOWN_KEY, "another device has this TLS key").help("make a new one"));
    }
    let issued = hub.authorities().ca().device(csr, &device.id, now)?;
    devices::set_certificate(&mut tx, &device.id, &key, &issued).await?;
    let act = Act {
        actor: &format!("device:{}", device.id),
        tenant: Some(&device.tenant),
        action: "device.recover",
        subject: &device.id,
        detail: json!({ "tls": key, "new_key": key != device.tls }),
    };
    audit::append(&mut tx, &act, now).await?;
    tx.commit().await?;
    count(&hub.metrics.renewed);
    tracing::info!(device = device.id, "a device came back by its ledger key");
    Ok(certificate(hub, issued))
}
