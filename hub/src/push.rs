//! What an admin hands to the hub: signed states and trust documents. The hub verifies, keeps and serves; it signs
//! neither, and holds no key that could.

use jos_schemas::documents::desired_state::{BlobSource, DesiredState, Step};
use jos_schemas::text::Name;
use jos_trust::root::Received;
use jos_trust::state::{Authentic, Channel, authenticate};
use jos_trust::{Refused, TrustRefused, TrustRoot, sha256};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::actor::Actor;
use crate::authorities::speaks;
use crate::fault::{Done, Fault};
use crate::hub::Hub;
use crate::metrics::count;
use crate::offer;
use crate::rollout::make;
use crate::rotation;
use crate::store::audit::{self, Act};
use crate::store::states::{self, StateRow};
use crate::store::{self, Conn, Tx, agents, blobs, devices, tenants, trusts};

/// Devices that a refusal names.
const NAMED: usize = 8;

/// What became of a push.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pushed {
    /// `new`, or `unchanged` where it was there.
    pub standing: String,
    /// The state's name; `trust` for a trust document.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// SHA-256 of its canonical bytes without signatures.
    pub content: String,
    /// Devices that it is meant for; absent for a trust document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<usize>,
    /// What a person should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Takes a signed state into the tenant's store, and offers it.
pub async fn state(hub: &Hub, actor: &Actor, tenant: &str, bytes: &[u8]) -> Done<Pushed> {
    let done = state_inner(hub, actor, tenant, bytes).await;
    counted(hub, done).await
}

/// Takes the tenant's first trust document, or the next one.
pub async fn trust(hub: &Hub, actor: &Actor, tenant: &str, bytes: &[u8]) -> Done<Pushed> {
    let done = trust_inner(hub, actor, tenant, bytes).await;
    counted(hub, done).await
}

async fn counted(hub: &Hub, done: Done<Pushed>) -> Done<Pushed> {
    match &done {
        Ok(_) => {
            count(&hub.metrics.pushes);
            hub.changed().await?;
        }
        Err(_) => count(&hub.metrics.pushes_refused),
    }
    done
}

/// A state that may be kept: it verifies, is meant for the tenant, does not go back, and its blobs are there.
pub(crate) struct Prepared {
    /// As it will be kept.
    pub(crate) row: StateRow,
    /// The very state was accepted before.
    pub(crate) unchanged: bool,
    /// What a person should know.
    pub(crate) notes: Vec<String>,
}

/// Looks at a signed state; keeps nothing.
pub(crate) async fn prepare(tx: &mut Tx, hub: &Hub, actor: &Actor, tenant: &str, bytes: &[u8]) -> Done<Prepared> {
    let root = root_of(tx, tenant).await?;
    let authentic = authenticate(Received::json("state", bytes), &root).map_err(of_state)?;
    let expires = scoped(&authentic, tenant)?;
    authentic.in_time(Channel::Hub, &hub.clock.utc()).map_err(of_state)?;
    let row = row_of(&authentic, actor, tenant, bytes, expires, hub.clock.now());
    let mut notes = Vec::new();
    if authentic.signed_by_dev_key() {
        notes.push("signed by a throwaway key: never for devices that leave the desk".to_owned());
    }
    let unchanged = standing(tx, &row).await?;
    blobs_are_there(tx, tenant, authentic.value()).await?;
    Ok(Prepared { row, unchanged, notes })
}

async fn state_inner(hub: &Hub, actor: &Actor, tenant: &str, bytes: &[u8]) -> Done<Pushed> {
    let now = hub.clock.now();
    let mut tx = hub.store.write().await?;
    let Prepared { row, unchanged, notes } = prepare(&mut tx, hub, actor, tenant, bytes).await?;
    let live = states::live(&mut tx, tenant, &row.name).await?;
    // The same audience: the new version takes the place of the old one.
    let (replaced, others): (Vec<_>, Vec<_>) = live.into_iter().partition(|other| other.audience == row.audience);
    make::none_open(&mut tx, &replaced).await?;
    let known = replaced
        .iter()
        .any(|other| (other.version, &other.content) == (row.version, &row.content) && other.rollout.is_none());
    let devices = one_state_a_device(&mut tx, &row, &others).await?;
    if unchanged && known {
        return Ok(pushed(&row, "unchanged", devices, notes));
    }
    let why = format!("version {} took its place", row.version);
    for other in replaced {
        states::retire(&mut tx, tenant, &row.name, other.version, &why, now).await?;
    }
    states::add(&mut tx, &row, bytes).await?;
    states::set_counter(&mut tx, tenant, &row.name, row.version, Some(&row.content)).await?;
    let act = Act {
        actor: &actor.0,
        tenant: Some(tenant),
        action: "state.push",
        subject: &format!("{}@{}", row.name, row.version),
        detail: json!({ "content": row.content, "signers": row.signers, "audience": row.audience }),
    };
    audit::append(&mut tx, &act, now).await?;
    store::bump(&mut tx).await?;
    tx.commit().await?;
    Ok(pushed(&row, "new", devices, notes))
}

fn pushed(row: &StateRow, standing: &str, devices: usize, notes: Vec<String>) -> Pushed {
    Pushed {
        standing: standing.to_owned(),
        name: row.name.clone(),
        version: row.version,
        content: row.content.clone(),
        devices: Some(devices),
        notes,
    }
}

/// The newest trust root of a tenant, as it was verified when it was taken.
async fn root_of(conn: &mut Conn, tenant: &str) -> Done<TrustRoot> {
    if !tenants::exists(conn, tenant).await? {
        return Err(Fault::not_found(format!("there is no tenant {tenant:?}")).help("`jos-hub tenant list` shows them"));
    }
    let newest = trusts::newest(conn, tenant).await?;
    let (_, _, bytes) = newest.ok_or_else(|| {
        Fault::refused(
            "no-trust",
            format!("the tenant {tenant:?} has no trust document yet, so nothing verifies"),
        )
        .help("`jos-hub trust push trust.json` hands it over")
    })?;
    open(&bytes)
}

fn open(bytes: &[u8]) -> Done<TrustRoot> {
    TrustRoot::open(Received::json("trust", bytes)).map_err(|refused| Fault::inside(refused.to_string()))
}

/// A device takes a hub's state only with a tenant or devices, and with an end: no other is kept.
fn scoped(authentic: &Authentic<'_>, tenant: &str) -> Done<i64> {
    let meta = &authentic.value().meta;
    let audience = meta.audience.clone().unwrap_or_default();
    if audience.tenant.is_none() && audience.devices.is_empty() {
        let missing = "`meta.audience` with a tenant or devices";
        return Err(of_state(Refused::Unscoped { missing }));
    }
    if let Some(found) = audience.tenant.filter(|found| found.as_str() != tenant) {
        let own = Name::new(tenant).ok();
        return Err(of_state(Refused::OtherTenant { found, own }));
    }
    let expires = meta.expires.as_ref().ok_or_else(|| {
        of_state(Refused::Unscoped {
            missing: "`meta.expires`",
        })
    })?;
    Ok(expires.unix())
}

fn row_of(authentic: &Authentic<'_>, actor: &Actor, tenant: &str, bytes: &[u8], expires: i64, now: i64) -> StateRow {
    let meta = &authentic.value().meta;
    StateRow {
        tenant: tenant.to_owned(),
        name: meta.name.to_string(),
        version: meta.version,
        content: authentic.content().to_string(),
        sha256: sha256(bytes).to_string(),
        signers: authentic.signers().iter().map(ToString::to_string).collect(),
        audience: meta.audience.clone().unwrap_or_default(),
        requires: meta.requires.clone(),
        expires,
        pushed: now,
        pushed_by: actor.0.clone(),
        retired: None,
        retired_why: None,
        rollout: None,
    }
}

/// The rule of devices, on the hub: older is refused, the same number with other content is refused. Gives whether the
/// very state was accepted before.
async fn standing(conn: &mut Conn, row: &StateRow) -> Done<bool> {
    let Some((floor, content)) = states::counter(conn, &row.tenant, &row.name).await? else {
        return Ok(false);
    };
    if row.version < floor {
        return Err(of_state(Refused::Rollback {
            offered: row.version,
            floor,
        }));
    }
    match content {
        Some(known) if row.version == floor && known != row.content => Err(Fault::refused(
            "same-version-other-content",
            format!("version {floor} of {} is there with other content ({known})", row.name),
        )
        .help("raise `meta.version` and sign again")),
        Some(_) => Ok(row.version == floor),
        None => Ok(false),
    }
}

async fn blobs_are_there(conn: &mut Conn, tenant: &str, state: &DesiredState) -> Done<()> {
    let sources = state.spec.apply.iter().filter_map(|step| match step {
        Step::File(file) => file.source.as_ref(),
        _ => None,
    });
    let mut missing = Vec::new();
    for source in sources.filter(|source| source.urls.is_empty()) {
        match blobs::size(conn, tenant, source.sha256.as_str()).await? {
            Some(size) if size == source.size => {}
            Some(size) => return Err(wrong_size(source, size)),
            None => missing.push(source.sha256.to_string()),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let listed = missing.join(", ");
    Err(Fault::refused(
        "blob-missing",
        format!("the state names blobs that the hub does not have: {listed}"),
    )
    .help("`jos-hub push --blob FILE state.json` hands them over with it")
    .details(json!({ "missing": missing })))
}

fn wrong_size(source: &BlobSource, size: u64) -> Fault {
    let message = format!(
        "blob {}: the state says {} bytes, it has {size}",
        source.sha256, source.size
    );
    Fault::refused("blob-size", message)
}

/// With `row` beside `others`, no device may match two states; gives how many match `row`.
pub(crate) async fn one_state_a_device(conn: &mut Conn, row: &StateRow, others: &[StateRow]) -> Done<usize> {
    let (mut own, mut torn) = (0, Vec::new());
    for (device, labels) in devices::labels(conn, &row.tenant).await? {
        if offer::matching(std::slice::from_ref(row), &row.tenant, &device, &labels).is_empty() {
            continue;
        }
        own += 1;
        let also = offer::matching(others, &row.tenant, &device, &labels);
        if let Some(other) = also.first() {
            torn.push((device, other.version));
        }
    }
    if torn.is_empty() {
        return Ok(own);
    }
    let named: Vec<String> = torn
        .iter()
        .take(NAMED)
        .map(|(id, version)| format!("{id} (version {version})"))
        .collect();
    let more = torn.len().saturating_sub(NAMED);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let message = format!(
        "{} devices would match two states of {}: {}{more}",
        torn.len(),
        row.name,
        named.join(", ")
    );
    Err(Fault::conflict("ambiguous", message)
        .help(
            "give the states audiences that do not meet, or retire the other one: `jos-hub state retire NAME VERSION`",
        )
        .details(json!({ "devices": torn.iter().take(100).collect::<Vec<_>>() })))
}

async fn trust_inner(hub: &Hub, actor: &Actor, tenant: &str, bytes: &[u8]) -> Done<Pushed> {
    let now = hub.clock.now();
    let root = TrustRoot::open(Received::json("trust", bytes)).map_err(of_trust)?;
    let mut tx = hub.store.write().await?;
    if !tenants::exists(&mut tx, tenant).await? {
        return Err(Fault::not_found(format!("there is no tenant {tenant:?}")).help("`jos-hub tenant list` shows them"));
    }
    if root.tenant().map(Name::as_str) != Some(tenant) {
        let found = root
            .tenant()
            .map_or("none".to_owned(), |found| format!("{:?}", found.as_str()));
        return Err(Fault::refused(
            "other-tenant",
            format!("the trust document's tenant is {found}, expected {tenant:?}"),
        )
        .help("`jos-hub trust push --tenant NAME` names another one"));
    }
    let mut notes = Vec::new();
    let keys = hub.authorities();
    if !keys.voices().iter().any(|key| speaks(&root, key)) {
        notes.push(format!(
            "it does not give the role freshness to this hub's key {}: devices will take no time from it",
            keys.voices()[0].id()
        ));
    }
    let content = root.edition().content.to_string();
    let done = |standing: &str, notes| Pushed {
        standing: standing.to_owned(),
        name: "trust".to_owned(),
        version: root.version(),
        content: content.clone(),
        devices: None,
        notes,
    };
    if let Some((version, known, before)) = trusts::newest(&mut tx, tenant).await? {
        if (version, &known) == (root.version(), &content) {
            return Ok(done("unchanged", notes));
        }
        root.succeeds(&open(&before)?).map_err(of_trust)?;
    }
    root.not_expired(&hub.clock.utc()).map_err(of_trust)?;
    trusts::add(&mut tx, tenant, root.version(), &content, bytes, now).await?;
    set_floors(&mut tx, tenant, &root, now).await?;
    drop_unsigned(&mut tx, tenant, &root, now, &mut notes).await?;
    let act = Act {
        actor: &actor.0,
        tenant: Some(tenant),
        action: "trust.push",
        subject: &format!("trust@{}", root.version()),
        detail: json!({ "content": content, "floors": root.value().floors }),
    };
    audit::append(&mut tx, &act, now).await?;
    // The word on the hub's CA, and the freshness key that speaks, go by it.
    rotation::of_trust(hub, &mut tx, tenant, &root, &mut notes).await?;
    store::authorities::changed(&mut tx).await?;
    tx.commit().await?;
    Ok(done("new", notes))
}

/// A trust document sets the floors that it names exactly, even downwards: what lies above was never meant.
async fn set_floors(tx: &mut Tx, tenant: &str, root: &TrustRoot, now: i64) -> Done<()> {
    for (name, floor) in &root.value().floors {
        let why = format!("trust version {} set the floor to {floor}", root.version());
        states::retire_above(tx, tenant, name.as_str(), *floor, &why, now).await?;
        let live = states::live(tx, tenant, name.as_str()).await?;
        let content = live
            .iter()
            .find(|state| state.version == *floor)
            .map(|state| state.content.as_str());
        states::set_counter(tx, tenant, name.as_str(), *floor, content).await?;
        agents::lower_floors(tx, tenant, name.as_str(), *floor).await?;
    }
    Ok(())
}

/// What the new root's admins have not signed is offered no longer: no device could take it.
async fn drop_unsigned(tx: &mut Tx, tenant: &str, root: &TrustRoot, now: i64, notes: &mut Vec<String>) -> Done<()> {
    for name in states::live_names(tx, tenant).await? {
        for state in states::live(tx, tenant, &name).await? {
            let bytes = states::bytes_of(tx, &state).await?.unwrap_or_default();
            if authenticate(Received::json("state", &bytes), root).is_err() {
                let why = format!("it does not verify under trust version {}", root.version());
                states::retire(tx, tenant, &name, state.version, &why, now).await?;
                notes.push(format!(
                    "{name}@{} is offered no longer: {why}; sign it again",
                    state.version
                ));
            }
        }
    }
    Ok(())
}

fn of_state(refused: Refused) -> Fault {
    let fault = Fault::refused(refused.code(), refused.to_string());
    match refused.help() {
        Some(help) => fault.help(help),
        None => fault,
    }
}

fn of_trust(refused: TrustRefused) -> Fault {
    let fault = Fault::refused(refused.code(), refused.to_string());
    match refused.help() {
        Some(help) => fault.help(help),
        None => fault,
    }
}
