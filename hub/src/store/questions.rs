//! What people ask of devices, and what those answer. An answer is a device's word: it is kept to be read, and nothing
//! follows from it.

use std::collections::HashSet;

use jos_link::wire::{MAX_QUESTIONS, Question, about};
use jos_schemas::documents::answer::Answer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Conn, StoreError, Stored, fixed, to_json};

/// Questions of one device that are kept with their answers, beside those that are open.
const MOST: i64 = 16;
/// Seconds that they are kept.
pub const KEPT: i64 = 90 * 86_400;

/// A question, and its answer once that is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Asked {
    /// Its id.
    pub id: String,
    /// Of which device.
    pub device: String,
    /// Of which of its agents.
    pub name: String,
    /// About what: `logs`, `ledger` or `blame`.
    pub about: String,
    /// How many lines or records, where somebody said so.
    pub most: Option<u32>,
    /// Which path, where it is about one.
    pub path: Option<String>,
    /// When, in seconds since 1970.
    pub asked: i64,
    /// Who asked, as in the audit log.
    pub asked_by: String,
    /// Until when the device may answer.
    pub expires: i64,
    /// When the answer came.
    pub answered: Option<i64>,
    /// What the device says; nothing of it is checked.
    pub answer: Option<Answer>,
}

impl Asked {
    /// Whether an answer may come yet.
    pub fn is_open(&self, now: i64) -> bool {
        self.answered.is_none() && self.expires > now
    }

    /// Whether this asks the same of the same agent.
    pub fn is_like(&self, other: &Self) -> bool {
        let what = |asked: &Self| (asked.name.clone(), asked.about.clone(), asked.most, asked.path.clone());
        self.device == other.device && what(self) == what(other)
    }

    /// Whether an answer is one to this question: by the agent that was asked, and either what was asked for or why not.
    pub fn fits(&self, answer: &Answer) -> bool {
        let told = [
            (about::LOGS, answer.logs.is_some()),
            (about::LEDGER, answer.ledger.is_some()),
            (about::BLAME, answer.blame.is_some()),
        ];
        let refused = answer.refused.is_some();
        let path = answer.blame.as_ref().map(|blame| blame.path.as_str());
        answer.name.as_str() == self.name
            && told.iter().all(|(about, is)| *is == (!refused && *about == self.about))
            && (path.is_none() || path == self.path.as_deref())
    }
}

/// Adds a question, and forgets the oldest of the device's that are not open.
pub async fn add(conn: &mut Conn, asked: &Asked) -> Stored<()> {
    sqlx::query(
        "INSERT INTO questions (id, device, name, about, most, path, asked, asked_by, expires) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(asked.id.clone())
    .bind(asked.device.clone())
    .bind(asked.name.clone())
    .bind(asked.about.clone())
    .bind(asked.most.map(i64::from))
    .bind(asked.path.clone())
    .bind(asked.asked)
    .bind(asked.asked_by.clone())
    .bind(asked.expires)
    .execute(&mut *conn)
    .await?;
    // Of two that are equally old, one goes: they are for people.
    sqlx::query(
        "DELETE FROM questions WHERE device = $1 AND (answered IS NOT NULL OR expires <= $2) AND id NOT IN \
         (SELECT id FROM questions WHERE device = $1 AND (answered IS NOT NULL OR expires <= $2) \
         ORDER BY asked DESC, id DESC LIMIT $3)",
    )
    .bind(asked.device.clone())
    .bind(asked.asked)
    .bind(MOST)
    .execute(conn)
    .await?;
    Ok(())
}

const COLUMNS: &str = "id, device, name, about, most, path, asked, asked_by, expires, answered, answer";

/// All that is known of a device's, the newest first.
pub async fn list(conn: &mut Conn, device: &str) -> Stored<Vec<Asked>> {
    let sql = fixed(format!(
        "SELECT {COLUMNS} FROM questions WHERE device = $1 ORDER BY asked DESC, id DESC"
    ));
    let rows = sqlx::query(sql).bind(device.to_owned()).fetch_all(conn).await?;
    rows.iter().map(read).collect()
}

/// All that is known of all, by device, the newest first.
pub async fn all(conn: &mut Conn) -> Stored<Vec<Asked>> {
    let sql = fixed(format!(
        "SELECT {COLUMNS} FROM questions ORDER BY device, asked DESC, id DESC"
    ));
    let rows = sqlx::query(sql).fetch_all(conn).await?;
    rows.iter().map(read).collect()
}

/// The devices that are asked something now.
pub async fn devices(conn: &mut Conn, now: i64) -> Stored<HashSet<String>> {
    let rows = sqlx::query("SELECT DISTINCT device FROM questions WHERE answered IS NULL AND expires > $1")
        .bind(now)
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok(row.try_get("device")?)).collect()
}

/// What an agent is asked now, the oldest first.
pub async fn open(conn: &mut Conn, device: &str, name: &str, now: i64) -> Stored<Vec<Question>> {
    let sql = fixed(format!(
        "SELECT {COLUMNS} FROM questions WHERE device = $1 AND name = $2 AND answered IS NULL AND expires > $3 \
         ORDER BY asked, id LIMIT {MAX_QUESTIONS}"
    ));
    let rows = sqlx::query(sql)
        .bind(device.to_owned())
        .bind(name.to_owned())
        .bind(now)
        .fetch_all(conn)
        .await?;
    let question = |asked: Asked| Question {
        id: asked.id,
        about: asked.about,
        most: asked.most,
        path: asked.path,
    };
    rows.iter().map(|row| Ok(question(read(row)?))).collect()
}

/// Keeps the answer to an open question of this device; `false` where there is none such that it fits.
pub async fn answer(conn: &mut Conn, id: &str, device: &str, answer: &Answer, now: i64) -> Stored<bool> {
    let sql = fixed(format!("SELECT {COLUMNS} FROM questions WHERE id = $1 AND device = $2"));
    let row = sqlx::query(sql)
        .bind(id.to_owned())
        .bind(device.to_owned())
        .fetch_optional(&mut *conn)
        .await?;
    let Some(asked) = row.as_ref().map(read).transpose()? else {
        return Ok(false);
    };
    if !asked.is_open(now) || !asked.fits(answer) {
        return Ok(false);
    }
    sqlx::query("UPDATE questions SET answered = $2, answer = $3 WHERE id = $1")
        .bind(id.to_owned())
        .bind(now)
        .bind(to_json(answer))
        .execute(conn)
        .await?;
    Ok(true)
}

/// Forgets what was asked before `until`.
pub async fn forget(conn: &mut Conn, until: i64) -> Stored<()> {
    sqlx::query("DELETE FROM questions WHERE asked < $1")
        .bind(until)
        .execute(conn)
        .await?;
    Ok(())
}

fn read(row: &AnyRow) -> Stored<Asked> {
    let answer: Option<String> = row.try_get("answer")?;
    let answer = answer.map(|text| {
        serde_json::from_str(&text).map_err(|_| StoreError::Damaged {
            place: "questions.answer",
            found: text.chars().take(80).collect(),
        })
    });
    let most: Option<i64> = row.try_get("most")?;
    Ok(Asked {
        id: row.try_get("id")?,
        device: row.try_get("device")?,
        name: row.try_get("name")?,
        about: row.try_get("about")?,
        most: most.and_then(|most| u32::try_from(most).ok()),
        path: row.try_get("path")?,
        asked: row.try_get("asked")?,
        asked_by: row.try_get("asked_by")?,
        expires: row.try_get("expires")?,
        answered: row.try_get("answered")?,
        answer: answer.transpose()?,
    })
}
