//! Blobs: taken in piece by piece while they are hashed, given out whole or in part (RFC 9110 §14).

use std::io::Read;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use jos_schemas::text::Sha256Hex;
use jos_trust::digest::Hasher;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc;

use crate::actor::Actor;
use crate::fault::{Done, Fault};
use crate::hub::Hub;
use crate::metrics::count_all;
use crate::store::audit::{self, Act};
use crate::store::blobs::{self, CHUNK};
use crate::store::{self, tenants};

/// Bytes of a blob, at most.
pub const MOST: u64 = 8 << 30;

/// A blob that the hub has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Blob {
    /// SHA-256 of its content.
    pub sha256: String,
    /// Its bytes.
    pub size: u64,
}

/// Takes a blob of a tenant.
pub async fn take(hub: &Hub, actor: &Actor, tenant: &str, body: Body) -> Done<Blob> {
    let mut conn = hub.store.read().await?;
    if !tenants::exists(&mut conn, tenant).await? {
        return Err(Fault::not_found(format!("there is no tenant {tenant:?}")));
    }
    drop(conn);
    // Under a name that nobody can ask for, until its hash is known.
    let key = blobs::upload(hub.clock.now());
    let taken = pieces(hub, &key, body).await;
    let now = hub.clock.now();
    let mut tx = hub.store.write().await?;
    let blob = match taken {
        Ok(blob) => blob,
        Err(fault) => {
            blobs::discard(&mut tx, &key).await?;
            tx.commit().await?;
            return Err(fault);
        }
    };
    blobs::finish(&mut tx, tenant, &key, &blob.sha256, blob.size, now).await?;
    let act = Act {
        actor: &actor.0,
        tenant: Some(tenant),
        action: "blob.add",
        subject: &blob.sha256,
        detail: json!({ "size": blob.size }),
    };
    audit::append(&mut tx, &act, now).await?;
    store::bump(&mut tx).await?;
    tx.commit().await?;
    hub.changed().await?;
    Ok(blob)
}

async fn pieces(hub: &Hub, key: &str, mut body: Body) -> Done<Blob> {
    let (mut hasher, mut size, mut number) = (Hasher::default(), 0u64, 0u64);
    let mut held: Vec<u8> = Vec::with_capacity(CHUNK);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Fault::malformed(format!("the body broke off: {error}")))?;
        let Ok(mut data) = frame.into_data() else { continue };
        size += data.len() as u64;
        if size > MOST {
            return Err(super::api::body::too_long(usize::try_from(MOST).unwrap_or(usize::MAX)));
        }
        hasher.update(&data);
        while !data.is_empty() {
            let part = data.split_to(data.len().min(CHUNK - held.len()));
            held.extend_from_slice(&part);
            if held.len() == CHUNK {
                put(hub, key, number, &held).await?;
                held.clear();
                number += 1;
            }
        }
    }
    if !held.is_empty() {
        put(hub, key, number, &held).await?;
    }
    Ok(Blob {
        sha256: hasher.finish().to_string(),
        size,
    })
}

async fn put(hub: &Hub, key: &str, number: u64, bytes: &[u8]) -> Done<()> {
    let mut tx = hub.store.write().await?;
    blobs::add_chunk(&mut tx, key, number, bytes).await?;
    Ok(tx.commit().await?)
}

/// Gives out a blob of a tenant. One of another tenant is not there.
pub async fn serve(hub: &Arc<Hub>, tenant: &str, sha256: &Sha256Hex, range: Option<&str>) -> Done<Response> {
    let mut conn = hub.store.read().await?;
    let size = blobs::size(&mut conn, tenant, sha256.as_str()).await?;
    drop(conn);
    let size = size.ok_or_else(|| Fault::not_found("this tenant has no such blob"))?;
    let (status, from, to) = match range.map(|text| part(text, size)) {
        None | Some(Asked::Whole) => (StatusCode::OK, 0, size),
        Some(Asked::Part(from, to)) => (StatusCode::PARTIAL_CONTENT, from, to),
        Some(Asked::Beyond) => {
            let fault = Fault::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "range",
                format!("the blob has {size} bytes"),
            );
            let mut response = fault.into_response();
            insert(&mut response, header::CONTENT_RANGE, &format!("bytes */{size}"));
            return Ok(response);
        }
    };
    let mut response = (status, stream(hub, sha256.clone(), from, to)).into_response();
    insert(&mut response, header::CONTENT_LENGTH, &(to - from).to_string());
    insert(&mut response, header::ACCEPT_RANGES, "bytes");
    insert(&mut response, header::CONTENT_TYPE, "application/octet-stream");
    insert(&mut response, header::ETAG, &format!("\"{sha256}\""));
    if status == StatusCode::PARTIAL_CONTENT {
        insert(
            &mut response,
            header::CONTENT_RANGE,
            &format!("bytes {from}-{}/{size}", to - 1),
        );
    }
    Ok(response)
}

fn insert(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// The bytes `from..to`, read as the other end takes them: at most two chunks are held.
fn stream(hub: &Arc<Hub>, sha256: Sha256Hex, from: u64, to: u64) -> Body {
    let (pieces, waiting) = mpsc::channel::<Result<Frame<Bytes>, std::io::Error>>(1);
    let hub = hub.clone();
    tokio::spawn(async move {
        let chunk = CHUNK as u64;
        let mut at = from;
        while at < to {
            let piece = async {
                let mut conn = hub.store.read().await?;
                blobs::chunk(&mut conn, sha256.as_str(), at / chunk).await
            };
            let piece = match piece.await {
                Ok(Some(bytes)) => {
                    let skip = (at % chunk) as usize;
                    let end = bytes.len().min(skip + usize::try_from(to - at).unwrap_or(usize::MAX));
                    Ok(Bytes::from(bytes).slice(skip.min(end)..end))
                }
                Ok(None) => Err(std::io::Error::other("a chunk of the blob is gone")),
                Err(error) => Err(std::io::Error::other(error.to_string())),
            };
            let (length, over) = (piece.as_ref().map_or(0, Bytes::len) as u64, piece.is_err());
            // Who hung up comes again with a range.
            if pieces.send(piece.map(Frame::data)).await.is_err() || over || length == 0 {
                return;
            }
            count_all(&hub.metrics.blob_bytes, length);
            at += length;
        }
    });
    Body::new(StreamBody::new(Pieces(waiting)))
}

/// A file as a body, read piece by piece.
pub fn of_file(mut file: std::fs::File) -> Body {
    let (pieces, waiting) = mpsc::channel::<Result<Frame<Bytes>, std::io::Error>>(1);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut bytes = Vec::with_capacity(CHUNK);
            let read = file.by_ref().take(CHUNK as u64).read_to_end(&mut bytes);
            let over = !matches!(read, Ok(length) if length > 0);
            let piece = match read {
                Ok(0) => return,
                Ok(_) => Ok(Frame::data(Bytes::from(bytes))),
                Err(error) => Err(error),
            };
            if pieces.blocking_send(piece).is_err() || over {
                return;
            }
        }
    });
    Body::new(StreamBody::new(Pieces(waiting)))
}

/// A channel as a stream.
struct Pieces(mpsc::Receiver<Result<Frame<Bytes>, std::io::Error>>);

impl futures_core::Stream for Pieces {
    type Item = Result<Frame<Bytes>, std::io::Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Part(u64, u64),
    Beyond,
}

/// One range of bytes; several, or another unit, are answered by the whole (RFC 9110 §14.2).
fn part(text: &str, size: u64) -> Asked {
    let Some((from, to)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Asked::Whole;
    };
    let number = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse::<u64>().ok())
            .flatten()
    };
    match (from.is_empty(), number(from), to.is_empty(), number(to)) {
        (false, Some(from), true, _) if from < size => Asked::Part(from, size),
        (false, Some(from), false, Some(to)) if from <= to && from < size => {
            Asked::Part(from, to.saturating_add(1).min(size))
        }
        (false, Some(from), true, _) if from >= size => Asked::Beyond,
        (false, Some(from), false, Some(to)) if from <= to => Asked::Beyond,
        (true, _, false, Some(last)) if last > 0 && size > 0 => Asked::Part(size.saturating_sub(last), size),
        (true, _, false, Some(_)) => Asked::Beyond,
        _ => Asked::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_rfc_9110() {
        for (text, expected) in [
            ("bytes=0-9", Asked::Part(0, 10)),
            ("bytes=90-", Asked::Part(90, 100)),
            ("bytes=90-1000", Asked::Part(90, 100)),
            ("bytes=-10", Asked::Part(90, 100)),
            ("bytes=-1000", Asked::Part(0, 100)),
            ("bytes=100-", Asked::Beyond),
            ("bytes=100-101", Asked::Beyond),
            ("bytes=-0", Asked::Beyond),
            ("bytes=9-0", Asked::Whole),
            ("bytes=0-1,5-6", Asked::Whole),
            ("lines=0-9", Asked::Whole),
            ("bytes=+1-2", Asked::Whole),
        ] {
            assert_eq!(part(text, 100), expected, "{text}");
        }
    }
}
