//! The hub's own other keys: the one that signs the time, and the ones that its listeners show.
//!
//! A freshness key is believed because a tenant's trust document names it. So the next one is made here, given the role
//! there, and speaks to a tenant's devices from the trust document on that names it; the one before goes when none does.

use jos_schemas::documents::trust::Role;
use jos_trust::TrustRoot;
use jos_trust::root::Received;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::write_down_as;
use crate::actor::Actor;
use crate::authorities::about_voice;
use crate::fault::{Done, Fault};
use crate::hub::{Hub, new_voice};
use crate::store::authorities::{self, Voice};
use crate::store::{Tx, tenants, trusts};

/// A freshness key, for people.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct OneVoice {
    /// Its id.
    pub id: String,
    /// Its public half, as a `jos.public_key`: what `jos trust add` takes.
    pub public: Value,
    /// Tenants whose devices hear the time by it.
    pub tenants: Vec<String>,
}

/// The hub's own keys.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Shown {
    /// Freshness keys, the newest first; two while one follows the other.
    pub freshness: Vec<OneVoice>,
    /// Server keys that were made before are made anew; seconds since 1970, 0 where nobody asked.
    pub servers_since: i64,
}

/// All of them.
pub async fn show(hub: &Hub) -> Done<Shown> {
    let keys = hub.authorities();
    let tenants = tenants::list(&mut *hub.store.read().await?).await?;
    let freshness = keys.voices().iter().map(|key| OneVoice {
        id: key.id().to_string(),
        public: jos_trust::keyfile::NamedKey::from(key).to_json(),
        tenants: tenants
            .iter()
            .filter(|tenant| keys.voice(&tenant.name).id() == key.id())
            .map(|tenant| tenant.name.clone())
            .collect(),
    });
    Ok(Shown {
        freshness: freshness.collect(),
        servers_since: keys.servers_since,
    })
}

/// Makes the next freshness key.
pub async fn rotate_freshness(hub: &Hub, actor: &Actor) -> Done<Shown> {
    let now = hub.clock.now();
    let (key, seed) = new_voice().map_err(Fault::inside)?;
    let id = key.id().to_string();
    let mut tx = hub.store.write().await?;
    let keys = hub.authorities();
    if keys.voices().len() > 1 || authorities::revision(&mut tx).await? != keys.revision {
        let newest = keys.voices()[0].id();
        return Err(Fault::conflict(
            "rotation-under-way",
            format!("the key {newest} has not taken the place of the one before yet"),
        )
        .help("give it the role freshness in every tenant's trust document, and take the one before out"));
    }
    let voice = Voice {
        secret: Some(hub.seal.close(&about_voice(&id), &seed)),
        id: id.clone(),
        made: now,
    };
    authorities::put_voice(&mut tx, &voice).await?;
    write_down_as(
        &mut tx,
        &actor.0,
        "key.rotate",
        &id,
        json!({ "role": "freshness" }),
        now,
    )
    .await?;
    tx.commit().await?;
    hub.changed().await?;
    show(hub).await
}

/// Every hub on this database makes itself another server key.
pub async fn rotate_server(hub: &Hub, actor: &Actor) -> Done<Shown> {
    let now = hub.clock.now();
    let mut tx = hub.store.write().await?;
    // The one made in this very second is one of before.
    authorities::set_servers_since(&mut tx, now + 1).await?;
    write_down_as(&mut tx, &actor.0, "key.rotate", "server", Value::Null, now).await?;
    tx.commit().await?;
    hub.changed().await?;
    show(hub).await
}

/// Freshness keys that no tenant's newest trust document names are done with, but for the newest.
pub(super) async fn drop_unheard(hub: &Hub, tx: &mut Tx, notes: &mut Vec<String>, now: i64) -> Done<()> {
    let keys = hub.authorities();
    if keys.voices().len() < 2 {
        return Ok(());
    }
    let mut named = Vec::new();
    for tenant in tenants::list(tx).await? {
        let Some((_, _, bytes)) = trusts::newest(tx, &tenant.name).await? else {
            continue;
        };
        let root = TrustRoot::open(Received::json("trust", &bytes));
        let root = root.map_err(|refused| Fault::inside(refused.to_string()))?;
        if let Some(held) = root.value().roles.get(&Role::Freshness) {
            named.extend(held.keys.iter().map(ToString::to_string));
        }
    }
    for key in keys.voices().iter().skip(1) {
        let id = key.id().to_string();
        if named.contains(&id) {
            notes.push(format!(
                "the hub keeps its freshness key {id} until no tenant's trust document names it"
            ));
            continue;
        }
        let gone = Voice {
            id: id.clone(),
            secret: None,
            made: 0,
        };
        authorities::put_voice(tx, &gone).await?;
        write_down_as(tx, "hub", "key.retire", &id, json!({ "role": "freshness" }), now).await?;
    }
    Ok(())
}
