//! A new CA in the place of the old one, while devices go on: made, learned, gone over to, done.
//!
//! What makes a device believe another CA is the word of its tenant's admins (`jos.hub_ca`), signed where their keys are;
//! a hub that is taken over cannot say it. What keeps a device in reach that has not heard it is the new CA's certificate
//! by the old one, which the hub shows with its own. [`crate::authorities`] draws the steps; decision 058 says why.

pub mod folder;
pub mod keys;
mod show;

use jos_schemas::documents::hub::HubCa;
use jos_schemas::read::{self, Format};
use jos_trust::TrustRoot;
use jos_trust::root::Received;
use jos_trust::statement::verify_hub_ca;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::actor::Actor;
use crate::authorities::{about, first};
use crate::ca::{self, DEVICE_DAYS};
use crate::enrol::tenant_name;
use crate::fault::{Done, Fault};
use crate::hub::Hub;
use crate::push::Pushed;
use crate::rights::Asker;
use crate::store::audit::{self, Act};
use crate::store::authorities::{self, Authority, Standing, Tally, Word};
use crate::store::{Conn, Tx, trusts};

pub use show::{Shown, show, under_way};

/// How a rotation ends at once.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Finish {
    /// Also where devices that call do not know the new CA yet.
    #[serde(default)]
    pub leave_behind: bool,
}

/// Makes the next CA. It signs nothing until devices know it.
pub async fn rotate(hub: &Hub, actor: &Actor) -> Done<Shown> {
    let now = hub.clock.now();
    let mut tx = hub.store.write().await?;
    let rows = rows(hub, &mut tx).await?;
    if let Some(row) = rows
        .iter()
        .find(|row| matches!(row.standing, Standing::Next | Standing::Former))
    {
        let message = format!("a rotation is under way: CA {} is {}", row.number, row.standing.word());
        return Err(Fault::conflict("rotation-under-way", message)
            .help("`jos-hub ca show` says what it waits for; `ca finish` and `ca abort` end it"));
    }
    let keys = hub.authorities();
    if current(&rows)?.number != keys.ca().number() {
        return Err(Fault::busy());
    }
    let number = rows.last().map_or(1, |row| row.number) + 1;
    let (pair, vouched) = ca::make_after(keys.ca(), now)?;
    let row = Authority {
        number,
        certificate: pair.certificate,
        secret: Some(hub.seal.close(&about(number), &pair.key)),
        vouched: Some(vouched),
        standing: Standing::Next,
        made: now,
    };
    authorities::add(&mut tx, &row).await?;
    let fingerprint = fingerprint(&row);
    write_down(
        &mut tx,
        &actor.0,
        "ca.rotate",
        number,
        json!({ "fingerprint": fingerprint }),
        now,
    )
    .await?;
    tx.commit().await?;
    hub.changed().await?;
    show(hub).await
}

/// Takes what a tenant's admins say of the next CA: from now on its devices may learn it.
pub async fn push(hub: &Hub, asker: &Asker, bytes: &[u8]) -> Done<Pushed> {
    let now = hub.clock.now();
    let said: HubCa = {
        let node = read::parse("hub-ca", bytes, Format::Json)?;
        read::from_node("hub-ca", std::str::from_utf8(bytes).unwrap_or_default(), &node)?
    };
    let tenant = said.tenant.as_str();
    asker.may(tenant)?;
    let mut tx = hub.store.write().await?;
    let root = root_of(&mut tx, tenant).await?;
    let verified = verify_hub_ca(Received::json("hub-ca", bytes), &root, &said.tenant).map_err(|refused| {
        Fault::refused("not-vouched", refused.to_string())
            .help("sign it with keys of the role admin: jos sign --key admin.key --trust trust.json hub-ca.json")
    })?;
    let rows = rows(hub, &mut tx).await?;
    let of = rows
        .iter()
        .find(|row| row.number == said.version && row.standing != Standing::Aborted);
    if of.is_none_or(|row| fingerprint(row) != ca::fingerprint(&said.ca).map(|found| found.to_string())) {
        return Err(Fault::refused(
            "other-ca",
            format!("this hub has no CA {} with that certificate", said.version),
        )
        .help("sign the document that `jos-hub ca rotate`, or `ca show --out DIR`, wrote"));
    }
    let word = Word {
        tenant: tenant.to_owned(),
        number: said.version,
        content: verified.content().to_string(),
        added: now,
    };
    let known = authorities::words(&mut tx).await?;
    let newer = known
        .iter()
        .find(|known| known.tenant == tenant && known.number > word.number);
    if let Some(newer) = newer {
        let message = format!("the tenant's admins have vouched for CA {} already", newer.number);
        return Err(Fault::conflict("rollback", message).help("a device never goes back to an earlier CA"));
    }
    let unchanged = known
        .iter()
        .any(|known| (&known.tenant, &known.content) == (&word.tenant, &word.content));
    let pushed = Pushed {
        standing: if unchanged { "unchanged" } else { "new" }.to_owned(),
        name: "hub-ca".to_owned(),
        version: word.number,
        content: word.content.clone(),
        devices: None,
        notes: Vec::new(),
    };
    if unchanged {
        return Ok(pushed);
    }
    authorities::add_word(&mut tx, &word, bytes).await?;
    let act = Act {
        actor: &asker.actor.0,
        tenant: Some(tenant),
        action: "ca.word",
        subject: &format!("ca-{}", word.number),
        detail: json!({ "content": word.content, "signers": verified.signers().iter().map(ToString::to_string).collect::<Vec<_>>() }),
    };
    audit::append(&mut tx, &act, now).await?;
    authorities::changed(&mut tx).await?;
    tx.commit().await?;
    hub.changed().await?;
    Ok(pushed)
}

/// A look at a rotation: it goes on by itself when nobody is waited for any more. Any hub may do it.
pub async fn advance(hub: &Hub) -> Done<()> {
    let keys = hub.authorities();
    let step = match (keys.of(Standing::Next), keys.of(Standing::Former)) {
        (Some(next), _) => next.number,
        (None, Some(_)) => keys.ca().number(),
        (None, None) => return Ok(()),
    };
    let now = hub.clock.now();
    let tally = tally(hub, &mut *hub.store.read().await?, step).await?;
    let is_over = |tally: &Tally, next: bool| {
        if next {
            tally.waited_for == 0
        } else {
            tally.other_certificate == 0
        }
    };
    let next = keys.of(Standing::Next).is_some();
    if !is_over(&tally, next) {
        return Ok(());
    }
    let mut tx = hub.store.write().await?;
    // What was seen may be of a moment ago, and another hub may have been first.
    let rows = authorities::all(&mut tx).await?;
    if authorities::revision(&mut tx).await? != keys.revision || !is_over(&self::tally(hub, &mut tx, step).await?, next)
    {
        return Ok(());
    }
    if next {
        go_over(&mut tx, &rows, "hub", now).await?;
    } else {
        retire(&mut tx, &rows, "hub", now).await?;
    }
    tx.commit().await?;
    hub.changed().await
}

/// Ends a rotation at once: the next CA signs, and nothing of the one before is taken any more. Refused, with their names,
/// while devices that call do not know the new CA, unless they may be left behind.
pub async fn finish(hub: &Hub, actor: &Actor, asked: &Finish) -> Done<Shown> {
    let now = hub.clock.now();
    let shown = show(hub).await?;
    let mut tx = hub.store.write().await?;
    let mut rows = rows(hub, &mut tx).await?;
    let Some(to) = rows
        .iter()
        .rev()
        .find(|row| row.standing == Standing::Next)
        .or_else(|| {
            let is_former = rows.iter().any(|row| row.standing == Standing::Former);
            rows.iter().find(|row| row.standing == Standing::Current && is_former)
        })
    else {
        return Err(Fault::conflict("no-rotation", "no rotation is under way").help("`jos-hub ca rotate` begins one"));
    };
    let number = to.number;
    let tally = tally(hub, &mut tx, number).await?;
    if tally.waited_for > 0 && !asked.leave_behind {
        let named: Vec<&str> = shown.behind.iter().take(8).map(|one| one.device.as_str()).collect();
        let message = format!(
            "{} of {} devices do not know CA {number} yet, among them {}",
            tally.waited_for,
            tally.devices,
            named.join(", ")
        );
        return Err(Fault::conflict("devices-behind", message)
            .help("`jos-hub ca show` says of each what is missing and what brings it back; --leave-behind goes on without them")
            .details(json!({ "behind": shown.behind })));
    }
    if to.standing == Standing::Next {
        go_over(&mut tx, &rows, &actor.0, now).await?;
        rows = authorities::all(&mut tx).await?;
    }
    retire(&mut tx, &rows, &actor.0, now).await?;
    let detail = json!({ "left_behind": tally.waited_for + tally.away });
    write_down(&mut tx, &actor.0, "ca.finish", number, detail, now).await?;
    tx.commit().await?;
    hub.changed().await?;
    show(hub).await
}

/// Gives the next CA up. Devices that know it by then still know the one that signs.
pub async fn abort(hub: &Hub, actor: &Actor) -> Done<Shown> {
    let now = hub.clock.now();
    let mut tx = hub.store.write().await?;
    let rows = rows(hub, &mut tx).await?;
    let Some(next) = rows.iter().find(|row| row.standing == Standing::Next) else {
        let over = rows.iter().any(|row| row.standing == Standing::Former);
        let message = if over {
            "the hub has gone over to the new CA already, and devices believe it alone"
        } else {
            "no rotation is under way"
        };
        return Err(
            Fault::conflict("no-rotation", message).help("another rotation leads on from here: `jos-hub ca rotate`")
        );
    };
    authorities::set_standing(&mut tx, next.number, Standing::Aborted).await?;
    write_down(&mut tx, &actor.0, "ca.abort", next.number, Value::Null, now).await?;
    tx.commit().await?;
    hub.changed().await?;
    show(hub).await
}

/// What a new trust document does not cover is said no longer; freshness keys that no tenant knows are done with.
pub(crate) async fn of_trust(
    hub: &Hub,
    tx: &mut Tx,
    tenant: &str,
    root: &TrustRoot,
    notes: &mut Vec<String>,
) -> Done<()> {
    let name = tenant_name(tenant)?;
    for word in authorities::words(tx)
        .await?
        .into_iter()
        .filter(|word| word.tenant == tenant)
    {
        let bytes = authorities::word(tx, tenant, word.number).await?.unwrap_or_default();
        if verify_hub_ca(Received::json("hub-ca", &bytes), root, &name).is_err() {
            authorities::drop_word(tx, tenant, word.number).await?;
            notes.push(format!(
                "what was signed of the hub's CA {} does not verify under it: sign it again (`jos-hub ca show --out DIR`)",
                word.number
            ));
        }
    }
    keys::drop_unheard(hub, tx, notes, hub.clock.now()).await
}

async fn go_over(tx: &mut Tx, rows: &[Authority], actor: &str, now: i64) -> Done<()> {
    let next = rows.iter().find(|row| row.standing == Standing::Next);
    let next = next.ok_or_else(|| Fault::inside("no next CA to go over to"))?;
    authorities::set_standing(tx, current(rows)?.number, Standing::Former).await?;
    authorities::set_standing(tx, next.number, Standing::Current).await?;
    tracing::info!(ca = next.number, "the hub goes over to its next CA");
    write_down(tx, actor, "ca.over", next.number, Value::Null, now).await
}

async fn retire(tx: &mut Tx, rows: &[Authority], actor: &str, now: i64) -> Done<()> {
    for row in rows.iter().filter(|row| row.standing == Standing::Former) {
        authorities::set_standing(tx, row.number, Standing::Retired).await?;
        tracing::info!(ca = row.number, "the CA before is retired");
        write_down(tx, actor, "ca.retire", row.number, Value::Null, now).await?;
    }
    Ok(())
}

async fn write_down(tx: &mut Tx, actor: &str, action: &str, number: u64, detail: Value, now: i64) -> Done<()> {
    write_down_as(tx, actor, action, &format!("ca-{number}"), detail, now).await
}

/// What was done, in the audit log; and every hub reads its keys anew.
async fn write_down_as(tx: &mut Tx, actor: &str, action: &str, subject: &str, detail: Value, now: i64) -> Done<()> {
    let act = Act {
        actor,
        tenant: None,
        action,
        subject,
        detail,
    };
    audit::append(tx, &act, now).await?;
    Ok(authorities::changed(tx).await?)
}

/// All CAs; the folder's gets its row with the first rotation.
async fn rows(hub: &Hub, tx: &mut Tx) -> Done<Vec<Authority>> {
    let mut rows = authorities::all(tx).await?;
    if rows.is_empty() {
        let row = first(&hub.folder().certificate);
        authorities::add(tx, &row).await?;
        rows.push(row);
    }
    Ok(rows)
}

fn current(rows: &[Authority]) -> Done<&Authority> {
    let found = rows.iter().find(|row| row.standing == Standing::Current);
    found.ok_or_else(|| Fault::inside("no current CA"))
}

fn fingerprint(row: &Authority) -> Option<String> {
    ca::fingerprint(&row.certificate).map(|found| found.to_string())
}

async fn tally(hub: &Hub, conn: &mut Conn, number: u64) -> Done<Tally> {
    let now = hub.clock.now();
    // Whoever has been away for longer comes back by its other key in any case.
    Ok(authorities::tally(conn, number, now - DEVICE_DAYS * 86_400, now).await?)
}

async fn root_of(conn: &mut Conn, tenant: &str) -> Done<TrustRoot> {
    let Some((_, _, bytes)) = trusts::newest(conn, tenant).await? else {
        return Err(
            Fault::refused("no-trust", format!("the tenant {tenant:?} has no trust document"))
                .help("`jos-hub trust push` hands it over; its admins sign for the CA"),
        );
    };
    TrustRoot::open(Received::json("trust", &bytes)).map_err(|refused| Fault::inside(refused.to_string()))
}
