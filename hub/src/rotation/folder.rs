//! The folder's own secret, `challenge.key`, and another one in its place: all that it has sealed is sealed anew.
//!
//! ```text
//!  challenge.key.next ──► the database sealed anew, in one transaction ──► challenge.key
//! ```
//! A crash in between leaves two keys, of which one opens what lies in the database: [`settled`] finds it at the next start.

use ring::hmac;
use serde_json::json;
use zeroize::Zeroizing;

use super::write_down_as;
use crate::actor::Actor;
use crate::authorities::{KeysError, about, about_voice};
use crate::dir::Dir;
use crate::fault::{Done, Fault};
use crate::hub::Hub;
use crate::random;
use crate::seal::Seal;
use crate::store::Conn;
use crate::store::authorities::{self, Voice};

const KEY: &str = "challenge.key";
const NEXT: &str = "challenge.key.next";

/// The key of the folder, as it is written.
pub fn key(secret: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.trim().as_bytes())
}

/// The secret that is in use. One that was being brought in when a hub crashed takes its place now, where it counts already.
pub async fn settled(dir: &Dir, conn: &mut Conn) -> Result<Zeroizing<String>, KeysError> {
    if dir.file(NEXT).exists() {
        let next = dir.read_secret(NEXT)?;
        let seal = Seal::of(&key(&next));
        let opens = sealed(conn)
            .await?
            .first()
            .is_some_and(|one| seal.open(&one.0, &one.1).is_some());
        if opens {
            dir.replace(KEY, 0o600, next.as_bytes())?;
            return Ok(next);
        }
    }
    Ok(dir.read_secret(KEY)?)
}

/// What lies sealed in the database: under which words, and the text.
async fn sealed(conn: &mut Conn) -> Result<Vec<(String, String)>, KeysError> {
    let of_ca = authorities::all(conn).await?.into_iter();
    let of_ca = of_ca.filter_map(|row| Some((about(row.number), row.secret?)));
    let voices = authorities::voices(conn).await?.into_iter();
    Ok(of_ca
        .chain(voices.filter_map(|row| Some((about_voice(&row.id), row.secret?))))
        .collect())
}

/// Another secret for the folder; gives how many keys were sealed anew. Hubs that run meanwhile would go on with the one of
/// before, and could open nothing after their next start.
pub async fn rotate(hub: &Hub, actor: &Actor) -> Done<usize> {
    let in_dir = |error: crate::dir::DirError| Fault::inside(error.to_string());
    let secret = random::hex(32);
    let next = Seal::of(&key(&secret));
    hub.dir.replace(NEXT, 0o600, secret.as_bytes()).map_err(in_dir)?;
    let now = hub.clock.now();
    let anew = |what: &str, sealed: &str| {
        let opened = hub.seal.open(what, sealed);
        let opened =
            opened.ok_or_else(|| Fault::inside(format!("{what} was sealed by another folder than this one")))?;
        Done::Ok(next.close(what, &opened))
    };
    let mut tx = hub.store.write().await?;
    let mut count = 0;
    for row in authorities::all(&mut tx).await? {
        if let Some(sealed) = &row.secret {
            authorities::set_secret(&mut tx, row.number, anew(&about(row.number), sealed)?).await?;
            count += 1;
        }
    }
    for row in authorities::voices(&mut tx).await? {
        if let Some(sealed) = &row.secret {
            let secret = Some(anew(&about_voice(&row.id), sealed)?);
            authorities::put_voice(&mut tx, &Voice { secret, ..row }).await?;
            count += 1;
        }
    }
    write_down_as(
        &mut tx,
        &actor.0,
        "key.rotate",
        "challenge",
        json!({ "sealed": count }),
        now,
    )
    .await?;
    tx.commit().await?;
    hub.dir.replace(KEY, 0o600, secret.as_bytes()).map_err(in_dir)?;
    std::fs::remove_file(hub.dir.file(NEXT)).map_err(|error| Fault::inside(format!("{NEXT}: {error}")))?;
    Ok(count)
}
