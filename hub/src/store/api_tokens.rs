//! API tokens, by which people's programs ask. Only the hash of a secret is kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::users::{self, EVERY_TENANT, Role};
use super::{Conn, Stored};

/// One API token, without its secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ApiTokenRow {
    /// Its id.
    pub id: String,
    /// Whose it is: it may do no more than they may. The one that `init` made is nobody's.
    pub user: Option<String>,
    /// What it may do at most.
    pub role: Role,
    /// Where; `*` stands for every tenant.
    pub tenant: String,
    /// For people.
    pub comment: String,
    /// When it ends, in seconds since 1970; never, where this is absent.
    pub expires: Option<i64>,
    /// When it was made.
    pub created: i64,
    /// Who made it.
    pub created_by: String,
    /// When it was revoked.
    pub revoked: Option<i64>,
}

impl ApiTokenRow {
    /// The one that a hub is made with.
    pub fn first(now: i64, by: String) -> Self {
        Self {
            id: "admin".to_owned(),
            user: None,
            role: Role::Admin,
            tenant: EVERY_TENANT.to_owned(),
            comment: "made by init".to_owned(),
            expires: None,
            created: now,
            created_by: by,
            revoked: None,
        }
    }
}

/// Adds a token whose secret has the hash `secret`.
pub async fn add(conn: &mut Conn, token: &ApiTokenRow, secret: &str) -> Stored<()> {
    sqlx::query(
        "INSERT INTO api_tokens (id, secret, comment, created, owner, role, tenant, expires, created_by) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(token.id.clone())
    .bind(secret.to_owned())
    .bind(token.comment.clone())
    .bind(token.created)
    .bind(token.user.clone())
    .bind(token.role.word())
    .bind(token.tenant.clone())
    .bind(token.expires)
    .bind(token.created_by.clone())
    .execute(conn)
    .await?;
    Ok(())
}

/// The token with this hash, whatever its standing.
pub async fn by_secret(conn: &mut Conn, secret: &str) -> Stored<Option<ApiTokenRow>> {
    let row = sqlx::query("SELECT * FROM api_tokens WHERE secret = $1")
        .bind(secret.to_owned())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(read).transpose()
}

/// All, the newest first.
pub async fn list(conn: &mut Conn) -> Stored<Vec<ApiTokenRow>> {
    let rows = sqlx::query("SELECT * FROM api_tokens ORDER BY created DESC, id")
        .fetch_all(conn)
        .await?;
    rows.iter().map(read).collect()
}

/// Revokes a token; `false` where there is none of this id.
pub async fn revoke(conn: &mut Conn, id: &str, now: i64) -> Stored<bool> {
    let done = sqlx::query("UPDATE api_tokens SET revoked = COALESCE(revoked, $2) WHERE id = $1")
        .bind(id.to_owned())
        .bind(now)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Revokes all of a user: whoever gets the name after them gets none of these.
pub async fn revoke_of(conn: &mut Conn, user: &str, now: i64) -> Stored<()> {
    sqlx::query("UPDATE api_tokens SET revoked = COALESCE(revoked, $2) WHERE owner = $1")
        .bind(user.to_owned())
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

fn read(row: &AnyRow) -> Stored<ApiTokenRow> {
    let role: String = row.try_get("role")?;
    Ok(ApiTokenRow {
        id: row.try_get("id")?,
        user: row.try_get("owner")?,
        role: users::of(&role, "api_tokens.role")?,
        tenant: row.try_get("tenant")?,
        comment: row.try_get("comment")?,
        expires: row.try_get("expires")?,
        created: row.try_get("created")?,
        created_by: row.try_get("created_by")?,
        revoked: row.try_get("revoked")?,
    })
}
