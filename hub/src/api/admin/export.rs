//! Everything that the hub knows, for another program: one JSON object, written row by row while it is read, so that the size
//! of a fleet is no matter of memory. Nothing stops meanwhile; each row is as it was when it was read.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::api::App;
use crate::blob::Blob;
use crate::fault::{Done, Fault};
use crate::history::Stat;
use crate::hub::Hub;
use crate::rights::Asker;
use crate::store::agents::{self, Agent, Anchor, Reported};
use crate::store::alarms::{self, Alarm};
use crate::store::api_tokens::{self, ApiTokenRow};
use crate::store::audit::{self, Entry};
use crate::store::devices::{self, Device};
use crate::store::questions::{self, Asked};
use crate::store::rollouts::{self, Reached, RolloutRow};
use crate::store::states::{self, StateRow};
use crate::store::tenants::{self, Tenant};
use crate::store::tokens::{self, TokenRow};
use crate::store::users::{self, User};
use crate::store::{authorities, blobs, history, trusts};

/// Rows that are read at once.
const PAGE: u32 = 1000;
/// Bytes that are sent at once, about.
const PIECE: usize = 64 << 10;

/// Everything but secrets and the content of blobs.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Export {
    /// Tenants.
    tenants: Vec<Tenant>,
    /// Users of the dashboard and their roles, without passwords.
    users: Vec<User>,
    /// API tokens, without secrets.
    api_tokens: Vec<ApiTokenRow>,
    /// Enrolment tokens, without secrets.
    tokens: Vec<TokenRow>,
    /// Every version of every tenant's trust document.
    trust: Vec<SignedDocument>,
    /// What the admins of tenants said of the hub's CAs.
    hub_cas: Vec<SignedDocument>,
    /// Every version of every state.
    states: Vec<ExportedState>,
    /// Blobs, by what they are called.
    blobs: Vec<ExportedBlob>,
    /// Rollouts, with the devices whose turn had come.
    rollouts: Vec<ExportedRollout>,
    /// Devices, with all that they said.
    devices: Vec<ExportedDevice>,
    /// Alarms, the cleared ones too.
    alarms: Vec<Alarm>,
    /// What people asked of devices, and what those answered.
    questions: Vec<Asked>,
    /// The audit log, the newest first.
    audit: Vec<Entry>,
}

/// A document of a tenant, as it was signed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SignedDocument {
    tenant: String,
    /// Its number.
    version: u64,
    /// SHA-256 of its canonical bytes without signatures.
    content: String,
    /// When it was handed over, in seconds since 1970.
    added: i64,
    /// Its very bytes.
    document: String,
}

/// A version of a state.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ExportedState {
    #[serde(flatten)]
    row: StateRow,
    /// Its very bytes.
    document: String,
}

/// A blob of a tenant.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ExportedBlob {
    tenant: String,
    #[serde(flatten)]
    blob: Blob,
}

/// A rollout.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ExportedRollout {
    #[serde(flatten)]
    row: RolloutRow,
    /// Those whose turn had come.
    devices: Vec<Reached>,
}

/// A device.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ExportedDevice {
    #[serde(flatten)]
    device: Device,
    /// What its agents last said.
    agents: Vec<Agent>,
    /// Where their ledgers were seen to stand.
    heads: Vec<Anchor>,
    /// Its reports, the newest first.
    reports: Vec<Reported>,
    /// What it measured, the oldest step first.
    history: Vec<ExportedStep>,
}

/// One step of a history.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ExportedStep {
    /// The agent.
    name: String,
    /// Seconds that it covers.
    step: i64,
    /// When it begins, in seconds since 1970.
    start: i64,
    /// By name.
    metrics: BTreeMap<String, Stat>,
}

/// Everything, in pieces.
pub async fn export(State(app): State<App>, _: Asker) -> Response {
    let (out, pieces) = mpsc::channel(2);
    let hub = app.hub.clone();
    tokio::spawn(async move {
        let mut writer = Writer {
            out,
            held: Vec::new(),
            rows: 0,
            sections: 0,
        };
        let done = everything(&hub, &mut writer).await;
        let last = match done {
            Ok(()) => Ok(Bytes::from(writer.held)),
            // What broke off is no JSON, and is taken for none.
            Err(fault) => {
                tracing::error!(cause = fault.to_string(), "an export broke off");
                Err(io::Error::other(fault.to_string()))
            }
        };
        let _ = writer.out.send(last).await;
    });
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(Pieces(pieces))).into_response()
}

async fn everything(hub: &Arc<Hub>, to: &mut Writer) -> Done<()> {
    let tenants = tenants::list(&mut *hub.store.read().await?).await?;
    to.all("tenants", &tenants).await?;
    let users = users::list(&mut *hub.store.read().await?).await?;
    to.all("users", &users).await?;
    let api_tokens = api_tokens::list(&mut *hub.store.read().await?).await?;
    to.all("api_tokens", &api_tokens).await?;
    let tokens = tokens::list(&mut *hub.store.read().await?, None).await?;
    to.all("tokens", &tokens).await?;
    signed(hub, &tenants, to).await?;
    of_states(hub, &tenants, to).await?;
    to.begin("rollouts").await?;
    let all = rollouts::list(&mut *hub.store.read().await?, None).await?;
    for row in all {
        let mut devices: Vec<Reached> = Vec::new();
        loop {
            let after = devices.last().map(|one| one.device.clone()).unwrap_or_default();
            let mut conn = hub.store.read().await?;
            let more = rollouts::reached(&mut conn, &row.id, "", &after, PAGE).await?;
            if more.is_empty() {
                break;
            }
            devices.extend(more);
        }
        to.row(&ExportedRollout { row, devices }).await?;
    }
    of_devices(hub, to).await?;
    let alarms = alarms::list(&mut *hub.store.read().await?, None, None, true).await?;
    to.all("alarms", &alarms).await?;
    let questions = questions::all(&mut *hub.store.read().await?).await?;
    to.all("questions", &questions).await?;
    to.begin("audit").await?;
    let mut before = u64::MAX;
    loop {
        let entries = audit::list(&mut *hub.store.read().await?, None, before, PAGE).await?;
        let Some(last) = entries.last() else { break };
        before = last.number;
        for entry in &entries {
            to.row(entry).await?;
        }
    }
    to.end().await
}

async fn signed(hub: &Arc<Hub>, tenants: &[Tenant], to: &mut Writer) -> Done<()> {
    to.begin("trust").await?;
    for Tenant { name: tenant, .. } in tenants {
        let versions = trusts::list(&mut *hub.store.read().await?, tenant).await?;
        for (version, content, added) in versions {
            let bytes = trusts::get(&mut *hub.store.read().await?, tenant, version).await?;
            let tenant = tenant.clone();
            let document = text(bytes);
            to.row(&SignedDocument {
                tenant,
                version,
                content,
                added,
                document,
            })
            .await?;
        }
    }
    to.begin("hub_cas").await?;
    let words = authorities::words(&mut *hub.store.read().await?).await?;
    for word in words {
        let bytes = authorities::word(&mut *hub.store.read().await?, &word.tenant, word.number).await?;
        to.row(&SignedDocument {
            tenant: word.tenant,
            version: word.number,
            content: word.content,
            added: word.added,
            document: text(bytes),
        })
        .await?;
    }
    Ok(())
}

async fn of_states(hub: &Arc<Hub>, tenants: &[Tenant], to: &mut Writer) -> Done<()> {
    to.begin("states").await?;
    let all = states::list(&mut *hub.store.read().await?, None).await?;
    for row in all {
        let document = text(states::bytes_of(&mut *hub.store.read().await?, &row).await?);
        to.row(&ExportedState { row, document }).await?;
    }
    to.begin("blobs").await?;
    for Tenant { name: tenant, .. } in tenants {
        let all = blobs::list(&mut *hub.store.read().await?, tenant).await?;
        for (sha256, size) in all {
            let (tenant, blob) = (tenant.clone(), Blob { sha256, size });
            to.row(&ExportedBlob { tenant, blob }).await?;
        }
    }
    Ok(())
}

async fn of_devices(hub: &Arc<Hub>, to: &mut Writer) -> Done<()> {
    to.begin("devices").await?;
    let mut after = String::new();
    loop {
        let page = devices::list(&mut *hub.store.read().await?, None, &after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.id.clone();
        for device in page {
            let mut conn = hub.store.read().await?;
            let agents = agents::list(&mut conn, &device.id).await?;
            let mut steps = Vec::new();
            for agent in &agents {
                let kept = history::list(&mut conn, &device.id, &agent.name, 0, i64::MAX).await?;
                let filled = (crate::history::FINE, agent.slot.clone());
                let filled = Some(filled).filter(|(_, slot)| !slot.metrics.is_empty());
                steps.extend(kept.into_iter().chain(filled).map(|(step, slot)| ExportedStep {
                    name: agent.name.clone(),
                    step,
                    start: slot.start,
                    metrics: slot.metrics,
                }));
            }
            let row = ExportedDevice {
                heads: agents::heads(&mut conn, &device.id).await?,
                reports: agents::reports(&mut conn, &device.id, u32::MAX).await?,
                history: steps,
                agents,
                device,
            };
            // Not while somebody waits who reads slowly.
            drop(conn);
            to.row(&row).await?;
        }
    }
}

fn text(bytes: Option<Vec<u8>>) -> String {
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

/// Writes one object of lists, a row to a line.
struct Writer {
    out: mpsc::Sender<io::Result<Bytes>>,
    held: Vec<u8>,
    /// In the list that is being written.
    rows: usize,
    sections: usize,
}

impl Writer {
    async fn begin(&mut self, name: &str) -> Done<()> {
        let before = if self.sections == 0 { "{" } else { "\n],\n" };
        self.held.extend_from_slice(format!("{before}\"{name}\": [").as_bytes());
        self.sections += 1;
        self.rows = 0;
        self.sent().await
    }

    async fn row(&mut self, row: &impl Serialize) -> Done<()> {
        self.held.extend_from_slice(if self.rows == 0 { b"\n" } else { b",\n" });
        serde_json::to_writer(&mut self.held, row).map_err(|error| Fault::inside(error.to_string()))?;
        self.rows += 1;
        self.sent().await
    }

    async fn all(&mut self, name: &str, rows: &[impl Serialize]) -> Done<()> {
        self.begin(name).await?;
        for row in rows {
            self.row(row).await?;
        }
        Ok(())
    }

    async fn end(&mut self) -> Done<()> {
        self.held.extend_from_slice(b"\n]}\n");
        self.sent().await
    }

    async fn sent(&mut self) -> Done<()> {
        if self.held.len() < PIECE {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::take(&mut self.held));
        let sent = self.out.send(Ok(piece)).await;
        sent.map_err(|_| Fault::inside("whoever asked for it went away"))
    }
}

struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

impl futures_core::Stream for Pieces {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}
