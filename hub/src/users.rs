//! Users: what a name and a password may be, how a password is kept and checked, and what is done with users. The pages,
//! the API and the command line all come through here.

use std::sync::LazyLock;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use serde_json::json;
use zeroize::Zeroizing;

use crate::actor::Actor;
use crate::fault::{Done, Fault};
use crate::hub::Hub;
use crate::random;
use crate::store::audit::{self, Act};
use crate::store::users::{self, EVERY_TENANT, Role, User};
use crate::store::{api_tokens, tenants};

/// Characters of a password, at least: what is long needs no rule about its signs.
pub const SHORTEST: usize = 12;
const LONGEST: usize = 256;

/// Adds a user with a role in one tenant, or in every one.
pub async fn add(hub: &Hub, actor: &Actor, name: &str, password: &str, tenant: &str, role: Role) -> Done<User> {
    check_name(name)?;
    let hash = hash(password.to_owned()).await?;
    let now = hub.clock.now();
    let mut tx = hub.store.write().await?;
    known_tenant(&mut tx, tenant).await?;
    if !users::add(&mut tx, name, &hash, &actor.0, now).await? {
        return Err(
            Fault::conflict("user-exists", format!("there is a user {name:?} already"))
                .help("`jos-hub user role` changes what they may do, `jos-hub user passwd` their password"),
        );
    }
    users::set_role(&mut tx, name, tenant, Some(role)).await?;
    let detail = json!({ "tenant": tenant, "role": role });
    audit::append(&mut tx, &act(actor, tenant, "user.add", name, detail), now).await?;
    let user = users::get(&mut tx, name).await?;
    tx.commit().await?;
    user.ok_or_else(|| Fault::inside("a user that was just added is not there"))
}

/// Sets a password, and ends every session of the user but the one with the hash `but`.
pub async fn set_password(hub: &Hub, actor: &Actor, name: &str, password: &str, but: &str) -> Done<()> {
    let hash = hash(password.to_owned()).await?;
    let now = hub.clock.now();
    let mut tx = hub.store.write().await?;
    if !users::set_password(&mut tx, name, &hash).await? {
        return Err(absent(name));
    }
    users::end_others(&mut tx, name, but).await?;
    audit::append(&mut tx, &act(actor, EVERY_TENANT, "user.passwd", name, json!({})), now).await?;
    Ok(tx.commit().await?)
}

/// Sets what a user may do in one tenant, or in every one; `None` for nothing.
pub async fn set_role(hub: &Hub, actor: &Actor, name: &str, tenant: &str, role: Option<Role>) -> Done<User> {
    let now = hub.clock.now();
    let mut tx = hub.store.write().await?;
    known_tenant(&mut tx, tenant).await?;
    if users::get(&mut tx, name).await?.is_none() {
        return Err(absent(name));
    }
    users::set_role(&mut tx, name, tenant, role).await?;
    let detail = json!({ "tenant": tenant, "role": role });
    audit::append(&mut tx, &act(actor, tenant, "user.role", name, detail), now).await?;
    let user = users::get(&mut tx, name).await?;
    tx.commit().await?;
    user.ok_or_else(|| absent(name))
}

/// Removes a user, ends every session of theirs and revokes their API tokens.
pub async fn remove(hub: &Hub, actor: &Actor, name: &str) -> Done<()> {
    let now = hub.clock.now();
    let mut tx = hub.store.write().await?;
    if !users::remove(&mut tx, name).await? {
        return Err(absent(name));
    }
    api_tokens::revoke_of(&mut tx, name, now).await?;
    audit::append(&mut tx, &act(actor, EVERY_TENANT, "user.remove", name, json!({})), now).await?;
    Ok(tx.commit().await?)
}

/// Whether this is the user's password. It takes as long where there is no such user.
pub async fn is_password(hub: &Hub, name: &str, password: &str) -> Done<bool> {
    let kept = users::password(&mut *hub.store.read().await?, name).await?;
    let (known, kept) = match kept {
        Some(kept) => (true, kept),
        None => (false, NOBODYS.clone()),
    };
    if password.chars().count() > LONGEST {
        return Ok(false);
    }
    let password = Zeroizing::new(password.to_owned());
    let right = in_turn(move || {
        use argon2::password_hash::Error::PasswordInvalid;
        match Argon2::default().verify_password(password.as_bytes(), kept.as_str()) {
            Ok(()) => Ok(true),
            Err(PasswordInvalid) => Ok(false),
            Err(error) => Err(Fault::inside(format!("users.password: {error}"))),
        }
    });
    Ok(right.await? && known)
}

/// A password that nobody has to think of: 125 bits, in groups that can be read out.
pub fn new_password() -> Zeroizing<String> {
    const SIGNS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = Zeroizing::new([0; 25]);
    random::fill(&mut *bytes);
    let groups: Vec<String> = bytes
        .chunks(5)
        .map(|group| {
            group
                .iter()
                .map(|byte| char::from(SIGNS[usize::from(byte % 32)]))
                .collect()
        })
        .collect();
    Zeroizing::new(groups.join("-"))
}

/// What a password that nobody has looks like when it is kept.
static NOBODYS: LazyLock<String> = LazyLock::new(|| hashed(&random::hex(32)).unwrap_or_default());

/// What is kept of a password.
async fn hash(password: String) -> Done<String> {
    let password = Zeroizing::new(password);
    let long = password.chars().count();
    if !(SHORTEST..=LONGEST).contains(&long) {
        return Err(Fault::malformed(format!(
            "the password has {long} characters, expected {SHORTEST} to {LONGEST}"
        )));
    }
    in_turn(move || hashed(&password)).await
}

/// argon2id with the parameters that the crate recommends (19 MiB, two passes), and a salt of 16 bytes.
fn hashed(password: &str) -> Done<String> {
    let mut salt = [0; 16];
    random::fill(&mut salt);
    let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
    Ok(hash
        .map_err(|error| Fault::inside(format!("argon2: {error}")))?
        .to_string())
}

/// Argon2 costs time and memory on purpose: two at once, and not on the threads that serve devices.
async fn in_turn<T: Send + 'static>(work: impl FnOnce() -> Done<T> + Send + 'static) -> Done<T> {
    static TURNS: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(2);
    let turn = TURNS.acquire().await.map_err(|_| Fault::busy())?;
    let done = tokio::task::spawn_blocking(work).await;
    drop(turn);
    done.map_err(|error| Fault::inside(error.to_string()))?
}

fn check_name(name: &str) -> Done<()> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._@-".contains(&b);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
        return Err(Fault::malformed(format!(
            "found the name {name:?}, expected 1 to 64 of a-z, 0-9 and ._@-"
        )));
    }
    Ok(())
}

/// Whether there is such a tenant, or every one is meant.
pub(crate) async fn known_tenant(conn: &mut crate::store::Conn, tenant: &str) -> Done<()> {
    if tenant == EVERY_TENANT || tenants::exists(conn, tenant).await? {
        return Ok(());
    }
    Err(Fault::not_found(format!("there is no tenant {tenant:?}")).help("`jos-hub tenant list` shows them"))
}

pub(crate) fn absent(name: &str) -> Fault {
    Fault::not_found(format!("there is no user {name:?}")).help("`jos-hub user list` shows them")
}

fn act<'a>(actor: &'a Actor, tenant: &'a str, action: &'a str, name: &'a str, detail: serde_json::Value) -> Act<'a> {
    Act {
        actor: &actor.0,
        tenant: (tenant != EVERY_TENANT).then_some(tenant),
        action,
        subject: name,
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_kept_as_argon2id_with_a_salt_of_its_own() {
        let [one, other] = [(), ()].map(|()| hashed("correct horse battery").expect("it is hashed"));
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, other);
    }

    #[test]
    fn a_password_that_is_made_has_five_groups_and_never_repeats() {
        let [one, other] = [(), ()].map(|()| new_password());
        assert!(one.split('-').count() == 5 && one.len() == 29, "{}", *one);
        assert_ne!(*one, *other);
    }

    #[test]
    fn a_role_in_every_tenant_counts_in_each_and_the_higher_one_wins() {
        let roles = [
            (EVERY_TENANT.to_owned(), Role::Viewer),
            ("acme".to_owned(), Role::Admin),
        ];
        let user = User {
            name: "ana".to_owned(),
            roles: roles.into_iter().collect(),
            created: 0,
            created_by: String::new(),
            signed_in: None,
        };
        assert_eq!(
            [user.role("acme"), user.role("other")],
            [Some(Role::Admin), Some(Role::Viewer)]
        );
        assert_eq!(user.everywhere(), Some(Role::Viewer));
    }
}
