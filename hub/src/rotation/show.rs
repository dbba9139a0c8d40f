//! How a rotation stands, for people: what it waits for, who is behind, and what brings each back.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::{fingerprint, tally};
use crate::ca;
use crate::fault::Done;
use crate::hub::Hub;
use crate::store::authorities::{self, Standing, Tally};

/// Devices that are named.
const NAMED: u32 = 100;

/// One CA, for people.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct OneCa {
    /// The first one is 1.
    pub number: u64,
    /// How it stands.
    pub standing: Standing,
    /// SHA-256 of its certificate.
    pub fingerprint: Option<String>,
    /// When it was made, in seconds since 1970.
    pub made: i64,
    /// When it ends, in seconds since 1970.
    pub ends: Option<i64>,
}

/// A tenant with devices, in a rotation.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct OneTenant {
    /// Its name.
    pub tenant: String,
    /// Its devices in service.
    pub devices: u64,
    /// Whether its admins have vouched for the CA.
    pub vouched: bool,
    /// What they sign, as a `jos.hub_ca`.
    pub document: Value,
}

/// A device that does not know the CA.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct OneBehind {
    /// Its id.
    pub device: String,
    /// Its tenant.
    pub tenant: String,
    /// When it called last, in seconds since 1970.
    pub last_seen: Option<i64>,
    /// What is missing.
    pub why: String,
    /// What brings it back if the hub goes on without it.
    pub comes_back: String,
}

/// How the hub's CAs stand.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Shown {
    /// `none`, `learning` (devices get to know the next CA), `renewing` (devices get certificates of it).
    pub phase: &'static str,
    /// What is waited for, in a sentence.
    pub waits_for: String,
    /// All CAs, by number.
    pub authorities: Vec<OneCa>,
    /// Of the CA that comes, or has come.
    pub devices: Tally,
    /// Tenants with devices, and with a trust document of their own to sign by.
    pub tenants: Vec<OneTenant>,
    /// Devices that do not know it, those that called last first; a hundred at most.
    pub behind: Vec<OneBehind>,
}

/// How a rotation under way stands: how many devices know only the CA before, of how many.
pub async fn under_way(hub: &Hub) -> Done<Option<(u64, Tally)>> {
    let keys = hub.authorities();
    if !keys.is_rotating() {
        return Ok(None);
    }
    let number = keys.of(Standing::Next).map_or(keys.ca().number(), |row| row.number);
    let tally = tally(hub, &mut *hub.store.read().await?, number).await?;
    Ok(Some((number, tally)))
}

/// All of it.
pub async fn show(hub: &Hub) -> Done<Shown> {
    let keys = hub.authorities();
    let next = keys.of(Standing::Next);
    let to = next.or(keys.of(Standing::Current));
    let number = to.map_or(1, |row| row.number);
    let mut conn = hub.store.read().await?;
    let tally = tally(hub, &mut conn, number).await?;
    let mut tenants: BTreeMap<String, u64> = authorities::tenants(&mut conn).await?.into_iter().collect();
    for tenant in crate::store::tenants::list(&mut conn).await? {
        if crate::store::trusts::newest_version(&mut conn, &tenant.name)
            .await?
            .is_some()
        {
            tenants.entry(tenant.name).or_insert(0);
        }
    }
    let words = authorities::words(&mut conn).await?;
    let vouched = |tenant: &str| words.iter().find(|word| word.tenant == tenant && word.number == number);
    let behind = if number > 1 {
        authorities::behind(&mut conn, number, NAMED).await?
    } else {
        Vec::new()
    };
    let behind: Vec<OneBehind> = behind
        .into_iter()
        .map(|one| OneBehind {
            why: match vouched(&one.tenant) {
                None => "its tenant's admins have not vouched for the CA".to_owned(),
                Some(word) if one.last_seen.is_none_or(|seen| seen <= word.added) => {
                    "it has not called since its tenant's admins vouched for the CA".to_owned()
                }
                Some(_) => {
                    "it calls and has not taken the CA: its agent is older, or does not have the newest trust document"
                        .to_owned()
                }
            },
            // True of each: the chain leads back to every CA before, and recovery needs no certificate.
            comes_back:
                "by itself: the hub's certificate leads back to the CA that it knows, its ledger key gets it the next \
                         certificate, and it learns the CA once its tenant's admins have vouched"
                    .to_owned(),
            device: one.device,
            tenant: one.tenant,
            last_seen: one.last_seen,
        })
        .collect();
    let tenants: Vec<OneTenant> = match to.filter(|_| number > 1) {
        None => Vec::new(),
        Some(row) => tenants
            .into_iter()
            .map(|(tenant, devices)| OneTenant {
                vouched: vouched(&tenant).is_some(),
                document: json!({ "kind": "jos.hub_ca", "tenant": tenant, "version": number, "ca": row.certificate }),
                tenant,
                devices,
            })
            .collect(),
    };
    let unsigned: Vec<&str> = tenants
        .iter()
        .filter(|one| !one.vouched && one.devices > 0)
        .map(|one| one.tenant.as_str())
        .collect();
    let (phase, waits_for) = match (next, keys.of(Standing::Former)) {
        (Some(_), _) if !unsigned.is_empty() => (
            "learning",
            format!(
                "the admins of {} to vouch for CA {number}: sign its document and `jos-hub ca push` it",
                unsigned.join(", ")
            ),
        ),
        (Some(_), _) => (
            "learning",
            format!("{} devices that have called to learn CA {number}", tally.waited_for),
        ),
        (None, Some(before)) => (
            "renewing",
            format!(
                "{} devices to renew their certificates of CA {}",
                tally.other_certificate, before.number
            ),
        ),
        (None, None) => ("none", "nothing".to_owned()),
    };
    let authorities = keys.rows().iter().map(|row| OneCa {
        number: row.number,
        standing: row.standing,
        fingerprint: fingerprint(row),
        made: row.made,
        ends: ca::not_after(&row.certificate),
    });
    Ok(Shown {
        phase,
        waits_for,
        authorities: authorities.collect(),
        devices: tally,
        tenants,
        behind,
    })
}
