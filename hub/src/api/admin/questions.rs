//! What people want to know of a device: they leave a question, and the device answers it when it calls, or says why not.

use std::collections::HashSet;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use jos_link::wire::{MAX_QUESTIONS, about};
use jos_schemas::text::AbsPath;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{absent, device};
use crate::api::{App, body};
use crate::fault::{Done, Fault};
use crate::gate;
use crate::random;
use crate::rights::Asker;
use crate::store::audit::{self, Act};
use crate::store::questions::{self, Asked};
use crate::store::{self, Conn, agents};

/// Seconds that a question waits for its device.
const GOOD_FOR: i64 = 3600;
/// Bytes of a path, at most.
const LONGEST_PATH: usize = 1024;

/// A question.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// About what.
    about: About,
    /// Which agent; may be left out where the device has only one.
    name: Option<String>,
    /// How many lines of the log (200 at most) or records (100 at most).
    most: Option<u32>,
    /// Which path, of `blame`.
    path: Option<String>,
}

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum About {
    /// The end of the agent's log.
    Logs,
    /// Its last records, in short.
    Ledger,
    /// Why a path is as it is.
    Blame,
}

impl About {
    fn word(self) -> &'static str {
        match self {
            Self::Logs => about::LOGS,
            Self::Ledger => about::LEDGER,
            Self::Blame => about::BLAME,
        }
    }
}

/// Leaves a question. One that is open already is not asked twice.
pub async fn ask(State(app): State<App>, asker: Asker, Path(id): Path<String>, body: Body) -> Done<Json<Asked>> {
    let ask: Ask = body::json(body).await?;
    sound(&ask)?;
    let now = app.hub.clock.now();
    let mut tx = app.hub.store.write().await?;
    let device = device(&mut tx, &asker, &id).await?;
    // Who is served nothing does not call.
    gate::served(&device).map_err(|fault| Fault::conflict(fault.code(), fault.problem().message.clone()))?;
    let asked = Asked {
        id: random::id("q"),
        name: agent(&mut tx, &id, ask.name).await?,
        device: id,
        about: ask.about.word().to_owned(),
        most: ask.most,
        path: ask.path,
        asked: now,
        asked_by: asker.actor.0.clone(),
        expires: now + GOOD_FOR,
        answered: None,
        answer: None,
    };
    let mut open = questions::list(&mut tx, &asked.device).await?;
    open.retain(|one| one.is_open(now));
    if let Some(same) = open.iter().find(|one| one.is_like(&asked)) {
        return Ok(Json(same.clone()));
    }
    if open.len() >= MAX_QUESTIONS {
        return Err(Fault::conflict(
            "too-many-questions",
            format!("{} has {MAX_QUESTIONS} open questions already", asked.device),
        )
        .help("it answers when it calls; what it does not answer within an hour is given up"));
    }
    questions::add(&mut tx, &asked).await?;
    let act = Act {
        actor: &asker.actor.0,
        tenant: Some(&device.tenant),
        action: "device.ask",
        subject: &asked.device,
        detail: json!({ "question": asked.id, "name": asked.name, "about": asked.about, "path": asked.path }),
    };
    audit::append(&mut tx, &act, now).await?;
    let device = HashSet::from([asked.device.clone()]);
    let generation = store::bump_for(&mut tx, &device).await?;
    tx.commit().await?;
    app.hub.wake_only(generation, device);
    Ok(Json(asked))
}

/// What a device was asked, and what it answered.
pub async fn list(State(app): State<App>, asker: Asker, Path(id): Path<String>) -> Done<Json<Vec<Asked>>> {
    let mut conn = app.hub.store.read().await?;
    device(&mut conn, &asker, &id).await?;
    Ok(Json(questions::list(&mut conn, &id).await?))
}

fn sound(ask: &Ask) -> Done<()> {
    match (ask.about, &ask.path) {
        (About::Blame, None) => return Err(Fault::malformed("path: none was named, expected the one to ask about")),
        (About::Blame, Some(path)) => {
            AbsPath::new(path.as_str()).map_err(|broken| Fault::malformed(format!("path: {broken}")))?;
            if path.len() > LONGEST_PATH {
                return Err(Fault::malformed(format!("path: expected {LONGEST_PATH} bytes at most")));
            }
        }
        (_, Some(_)) => return Err(Fault::malformed("path: only `blame` is about one")),
        (_, None) => {}
    }
    let most = match ask.about {
        About::Logs => 200,
        About::Ledger => 100,
        About::Blame => 0,
    };
    match ask.most {
        Some(asked) if !(1..=most).contains(&asked) => Err(Fault::malformed(if most == 0 {
            "most: found a number, and `blame` has none".to_owned()
        } else {
            format!("most: found {asked}, expected 1 to {most}")
        })),
        _ => Ok(()),
    }
}

/// The agent that is meant: the one that was named, else the only one.
async fn agent(conn: &mut Conn, device: &str, name: Option<String>) -> Done<String> {
    let mut names: Vec<String> = agents::list(conn, device).await?.into_iter().map(|a| a.name).collect();
    match (name, names.len()) {
        (Some(name), _) if names.contains(&name) => Ok(name),
        (Some(name), _) => Err(absent("agent", &name)),
        (None, 1) => Ok(names.remove(0)),
        (None, 0) => Err(Fault::conflict(
            "no-agent",
            format!("no agent of {device} has called yet"),
        )),
        (None, _) => Err(
            Fault::malformed(format!("name: {device} has several agents: {}", names.join(", ")))
                .help("name the one that is meant"),
        ),
    }
}
