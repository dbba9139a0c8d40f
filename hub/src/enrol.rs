//! Enrolment: a token and two keys come in, a device is known from then on.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use jos_link::wire::{self, Enrolled, code};
use jos_schemas::documents::hub::Enrolment;
use jos_schemas::text::{Name, Utc};
use jos_trust::{PublicKey, sha256};
use serde_json::json;

use crate::ca::{self, Issued};
use crate::fault::{Done, Fault};
use crate::hub::Hub;
use crate::metrics::count;
use crate::random;
use crate::store::audit::{self, Act};
use crate::store::devices::{self, Device, Status};
use crate::store::tokens::{self, TokenRow};
use crate::store::{Tx, trusts};

/// Facts that a device may say about itself.
const MOST_FACTS: usize = 32;
const LONGEST_FACT: usize = 256;

/// Takes an enrolment. The same keys with the same token get their certificate once more as long as it was never seen in
/// use: the reply may have been lost on the way.
pub async fn enrol(hub: &Hub, request: &Enrolment) -> Done<Enrolled> {
    let secret = sha256(request.token.as_bytes()).to_string();
    let now = hub.clock.now();
    // Before anything that costs: a stranger without a token takes no writer's turn and no cryptography.
    let token = tokens::by_secret(&mut *hub.store.read().await?, &secret).await?;
    if !token.as_ref().is_some_and(|token| is_good(token, now)) {
        return Err(bad_token(hub, token.as_ref()));
    }
    let (csr, tls) = ca::read_request(&request.keys.tls)?;
    let (tls, ledger) = (tls.to_string(), ledger_key(&request.keys.ledger)?);
    check_facts(&request.facts)?;
    let mut tx = hub.store.write().await?;

    let known = match devices::by_tls(&mut tx, &tls).await? {
        Some(device) => Some(device),
        None => devices::by_ledger(&mut tx, &ledger).await?,
    };
    if let Some(device) = known {
        let same = device.tls == tls && device.ledger == ledger && token.is_some_and(|token| token.id == device.token);
        if !same || device.serial_used || device.status != Status::Active {
            return Err(
                Fault::conflict(code::KNOWN_KEY, "a device with one of these keys is enrolled already")
                    .help("make new keys on the device: two devices never share one"),
            );
        }
        let issued = hub.authorities().ca().device(csr, &device.id, now)?;
        devices::set_certificate(&mut tx, &device.id, &tls, &issued).await?;
        return welcome(hub, tx, &device, issued).await;
    }

    // Here, and only here, it is used up.
    let Some(token) = tokens::take(&mut tx, &secret, now).await? else {
        return Err(bad_token(hub, token.as_ref()));
    };
    let id = random::id("d");
    let issued = hub.authorities().ca().device(csr, &id, now)?;
    let device = Device {
        id,
        tenant: token.tenant,
        token: token.id,
        tls,
        ledger,
        encryption: request.keys.encryption.clone(),
        labels: token.labels,
        facts: request.facts.clone(),
        status: Status::Active,
        reason: None,
        enrolled: now,
        serial: issued.serial.clone(),
        serial_used: false,
        serial_before: None,
        not_after: issued.not_after,
        last_seen: None,
        address: None,
        held: None,
        hub_ca: issued.issuer,
        issuer: issued.issuer,
    };
    devices::add(&mut tx, &device).await?;
    let act = Act {
        actor: &format!("device:{}", device.id),
        tenant: Some(&device.tenant),
        action: "device.enrol",
        subject: &device.id,
        detail: json!({ "token": device.token, "labels": device.labels, "tls": device.tls }),
    };
    audit::append(&mut tx, &act, now).await?;
    count(&hub.metrics.enrolled);
    tracing::info!(
        device = device.id,
        tenant = device.tenant,
        token = device.token,
        "a device was enrolled"
    );
    welcome(hub, tx, &device, issued).await
}

async fn welcome(hub: &Hub, mut tx: Tx, device: &Device, issued: Issued) -> Done<Enrolled> {
    let trust = trusts::newest_version(&mut tx, &device.tenant).await?;
    tx.commit().await?;
    Ok(Enrolled {
        device: device.id.clone(),
        tenant: tenant_name(&device.tenant)?,
        labels: device.labels.clone(),
        certificate: certificate(hub, issued),
        trust,
    })
}

/// A certificate as it is sent.
pub fn certificate(hub: &Hub, issued: Issued) -> wire::Certificate {
    wire::Certificate {
        certificate: issued.certificate,
        ca: hub.authorities().ca().certificate().to_owned(),
        not_after: Utc::from_unix(issued.not_after),
        renew_after: Utc::from_unix(issued.renew_after),
    }
}

/// A tenant's name as the documents type it.
pub fn tenant_name(tenant: &str) -> Done<Name> {
    Name::new(tenant).map_err(|broken| Fault::inside(broken.to_string()))
}

/// The `ledger` key in its one canonical writing.
fn ledger_key(text: &str) -> Done<String> {
    let key = PublicKey::from_base64(text).map_err(|error| Fault::malformed(format!("keys.ledger: {error}")))?;
    Ok(key.to_base64())
}

fn check_facts(facts: &BTreeMap<String, String>) -> Done<()> {
    let plain =
        |text: &str| !text.is_empty() && text.chars().count() <= LONGEST_FACT && !text.chars().any(char::is_control);
    if facts.len() > MOST_FACTS || !facts.iter().all(|(key, value)| plain(key) && plain(value)) {
        return Err(Fault::malformed(format!(
            "facts: expected {MOST_FACTS} at most, each one line of at most {LONGEST_FACT} characters"
        )));
    }
    Ok(())
}

fn is_good(token: &TokenRow, now: i64) -> bool {
    token.revoked.is_none() && token.expires > now
}

fn why(token: Option<&TokenRow>, now: i64) -> &'static str {
    match token {
        None => "unknown",
        Some(token) if token.revoked.is_some() => "revoked",
        Some(token) if token.expires <= now => "expired",
        Some(_) => "used up",
    }
}

/// One refusal for all reasons: whoever holds a wrong token learns nothing about the right ones.
fn bad_token(hub: &Hub, token: Option<&TokenRow>) -> Fault {
    count(&hub.metrics.tokens_refused);
    let id = token.map(|token| token.id.as_str());
    tracing::warn!(
        token = id,
        why = why(token, hub.clock.now()),
        "an enrolment token was refused"
    );
    Fault::new(
        StatusCode::FORBIDDEN,
        code::BAD_TOKEN,
        "the hub does not take this token: it is unknown, used up, expired or revoked",
    )
    .help("ask the hub's admin for a new one: `jos-hub token new`")
}
