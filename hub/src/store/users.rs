//! The people who sign in to the dashboard: their passwords as argon2 left them, what they may do in which tenant, and
//! where they are signed in. Of a session only the hash of its secret is kept.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::Row;

use super::{Conn, StoreError, Stored};

/// In place of a tenant: every one, those to come included.
pub const EVERY_TENANT: &str = "*";

/// What somebody may do. Each may do what the one before may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look at the fleet and its states.
    Viewer,
    /// Make and revoke enrolment tokens, label, quarantine and release devices, read the audit log.
    Operator,
    /// Put devices out for good, retire states; in every tenant: manage users.
    Admin,
}

impl Role {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// One user, without the password.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// The name that they sign in with.
    pub name: String,
    /// What they may do, by tenant; `*` stands for every tenant.
    pub roles: BTreeMap<String, Role>,
    /// When they were added, in seconds since 1970.
    pub created: i64,
    /// Who added them.
    pub created_by: String,
    /// When they last signed in.
    pub signed_in: Option<i64>,
}

impl User {
    /// What they may do in a tenant, if anything.
    pub fn role(&self, tenant: &str) -> Option<Role> {
        let here = self.roles.get(tenant).copied();
        here.max(self.roles.get(EVERY_TENANT).copied())
    }

    /// What they may do in every tenant, if anything.
    pub fn everywhere(&self) -> Option<Role> {
        self.roles.get(EVERY_TENANT).copied()
    }
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Whose.
    pub name: String,
    /// When it began, in seconds since 1970.
    pub began: i64,
    /// When it was last used, to the minute.
    pub seen: i64,
}

/// Adds a user; `false` where there is one of this name.
pub async fn add(conn: &mut Conn, name: &str, password: &str, by: &str, now: i64) -> Stored<bool> {
    let done = sqlx::query(
        "INSERT INTO users (name, password, created, created_by) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING",
    )
    .bind(name.to_owned())
    .bind(password.to_owned())
    .bind(now)
    .bind(by.to_owned())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What argon2 left of a user's password.
pub async fn password(conn: &mut Conn, name: &str) -> Stored<Option<String>> {
    let row = sqlx::query("SELECT password FROM users WHERE name = $1").bind(name.to_owned());
    Ok(row
        .fetch_optional(conn)
        .await?
        .map(|row| row.try_get("password"))
        .transpose()?)
}

/// Replaces a password; `false` where there is no such user.
pub async fn set_password(conn: &mut Conn, name: &str, password: &str) -> Stored<bool> {
    let done = sqlx::query("UPDATE users SET password = $2 WHERE name = $1")
        .bind(name.to_owned())
        .bind(password.to_owned())
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Sets what a user may do in one tenant, or that it is nothing.
pub async fn set_role(conn: &mut Conn, name: &str, tenant: &str, role: Option<Role>) -> Stored<()> {
    sqlx::query("DELETE FROM roles WHERE name = $1 AND tenant = $2")
        .bind(name.to_owned())
        .bind(tenant.to_owned())
        .execute(&mut *conn)
        .await?;
    if let Some(role) = role {
        sqlx::query("INSERT INTO roles (name, tenant, role) VALUES ($1, $2, $3)")
            .bind(name.to_owned())
            .bind(tenant.to_owned())
            .bind(role.word())
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// Removes a user with roles and sessions; `false` where there is none of this name.
pub async fn remove(conn: &mut Conn, name: &str) -> Stored<bool> {
    for sql in [
        "DELETE FROM sessions WHERE name = $1",
        "DELETE FROM roles WHERE name = $1",
    ] {
        sqlx::query(sql).bind(name.to_owned()).execute(&mut *conn).await?;
    }
    let done = sqlx::query("DELETE FROM users WHERE name = $1")
        .bind(name.to_owned())
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// All users, by name.
pub async fn list(conn: &mut Conn) -> Stored<Vec<User>> {
    some(conn, "").await
}

/// One user.
pub async fn get(conn: &mut Conn, name: &str) -> Stored<Option<User>> {
    // An empty name stands for all, and nobody has it.
    if name.is_empty() {
        return Ok(None);
    }
    Ok(some(conn, name).await?.pop())
}

async fn some(conn: &mut Conn, name: &str) -> Stored<Vec<User>> {
    let rows = sqlx::query(
        "SELECT u.name AS name, u.created AS created, u.created_by AS created_by, u.signed_in AS signed_in, \
         r.tenant AS tenant, r.role AS role FROM users u LEFT JOIN roles r ON r.name = u.name \
         WHERE u.name = $1 OR $1 = '' ORDER BY u.name, r.tenant",
    )
    .bind(name.to_owned())
    .fetch_all(conn)
    .await?;
    let mut users: Vec<User> = Vec::new();
    for row in &rows {
        let name: String = row.try_get("name")?;
        if users.last().is_none_or(|user| user.name != name) {
            users.push(User {
                name,
                roles: BTreeMap::new(),
                created: row.try_get("created")?,
                created_by: row.try_get("created_by")?,
                signed_in: row.try_get("signed_in")?,
            });
        }
        let (tenant, role): (Option<String>, Option<String>) = (row.try_get("tenant")?, row.try_get("role")?);
        if let (Some(user), Some(tenant), Some(role)) = (users.last_mut(), tenant, role) {
            user.roles.insert(tenant, of(&role, "roles.role")?);
        }
    }
    Ok(users)
}

/// The role of this name, as it is kept.
pub(super) fn of(word: &str, place: &'static str) -> Stored<Role> {
    let all = [Role::Viewer, Role::Operator, Role::Admin];
    all.into_iter()
        .find(|role| role.word() == word)
        .ok_or_else(|| StoreError::Damaged {
            place,
            found: word.to_owned(),
        })
}

/// Whether there is anybody.
pub async fn any(conn: &mut Conn) -> Stored<bool> {
    Ok(sqlx::query("SELECT 1 FROM users LIMIT 1")
        .fetch_optional(conn)
        .await?
        .is_some())
}

/// Begins a session known by the hash of its secret, and drops those that are over.
pub async fn begin(conn: &mut Conn, secret: &str, name: &str, now: i64, over: i64) -> Stored<()> {
    sqlx::query("DELETE FROM sessions WHERE seen < $1")
        .bind(over)
        .execute(&mut *conn)
        .await?;
    sqlx::query("UPDATE users SET signed_in = $2 WHERE name = $1")
        .bind(name.to_owned())
        .bind(now)
        .execute(&mut *conn)
        .await?;
    sqlx::query("INSERT INTO sessions (secret, name, began, seen) VALUES ($1, $2, $3, $3)")
        .bind(secret.to_owned())
        .bind(name.to_owned())
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// The session with this hash.
pub async fn session(conn: &mut Conn, secret: &str) -> Stored<Option<Session>> {
    let row = sqlx::query("SELECT name, began, seen FROM sessions WHERE secret = $1")
        .bind(secret.to_owned())
        .fetch_optional(conn)
        .await?;
    row.map(|row| {
        Ok(Session {
            name: row.try_get("name")?,
            began: row.try_get("began")?,
            seen: row.try_get("seen")?,
        })
    })
    .transpose()
}

/// A session was used.
pub async fn saw(conn: &mut Conn, secret: &str, now: i64) -> Stored<()> {
    sqlx::query("UPDATE sessions SET seen = $2 WHERE secret = $1")
        .bind(secret.to_owned())
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends a session.
pub async fn end(conn: &mut Conn, secret: &str) -> Stored<()> {
    sqlx::query("DELETE FROM sessions WHERE secret = $1")
        .bind(secret.to_owned())
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends all sessions of a user but the one with this hash.
pub async fn end_others(conn: &mut Conn, name: &str, but: &str) -> Stored<()> {
    sqlx::query("DELETE FROM sessions WHERE name = $1 AND secret <> $2")
        .bind(name.to_owned())
        .bind(but.to_owned())
        .execute(conn)
        .await?;
    Ok(())
}
