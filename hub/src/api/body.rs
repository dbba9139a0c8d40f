//! Bodies of requests: limited in bytes and in time before anything is parsed.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use http_body_util::BodyExt;
use jos_link::wire::code;
use jos_schemas::read::{self, Format, Parsed};
use serde::de::DeserializeOwned;

use crate::fault::{Done, Fault};

/// A small body comes within so long, however slowly.
const PATIENCE: Duration = Duration::from_secs(20);

/// Read past a limit and dropped, at most: whoever sends a little too much still hears why it is refused.
const DROPPED: usize = 1 << 20;

/// The whole body, where it is at most `limit` bytes.
pub async fn bytes(mut body: Body, limit: usize) -> Done<Bytes> {
    let read = async {
        let (mut held, mut seen) = (Vec::new(), 0usize);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Fault::malformed(format!("the body broke off: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            seen = seen.saturating_add(data.len());
            if seen <= limit {
                held.extend_from_slice(&data);
            } else if seen > limit + DROPPED {
                break;
            }
        }
        if seen > limit {
            Err(too_long(limit))
        } else {
            Ok(Bytes::from(held))
        }
    };
    tokio::time::timeout(PATIENCE, read).await.map_err(|_| {
        Fault::new(
            StatusCode::REQUEST_TIMEOUT,
            "too-slow",
            format!("the body did not arrive within {} s", PATIENCE.as_secs()),
        )
    })?
}

/// A body longer than a path takes.
pub fn too_long(limit: usize) -> Fault {
    Fault::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        code::TOO_LONG,
        format!("the body is longer than the {limit} bytes that this path takes"),
    )
}

/// A document, read as strictly as a device reads its own.
pub fn document<T: DeserializeOwned>(bytes: &[u8]) -> Done<Parsed<T>> {
    Ok(read::document("body", bytes, Format::Json)?)
}

/// A request of the API's own, read as strictly.
pub async fn json<T: DeserializeOwned>(body: Body) -> Done<T> {
    Ok(document(&bytes(body, 64 << 10).await?)?.value)
}
