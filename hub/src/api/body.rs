//! Bodies of requests: limited in bytes and in time before anything is parsed.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use jos_link::wire::code;
use jos_schemas::read::{self, Format, Parsed};
use serde::de::DeserializeOwned;

use axum::http::StatusCode;

use crate::fault::{Done, Fault};

/// A small body comes within so long, however slowly.
const PATIENCE: Duration = Duration::from_secs(20);

/// The whole body, where it is at most `limit` bytes.
pub async fn bytes(body: Body, limit: usize) -> Done<Bytes> {
    let read = tokio::time::timeout(PATIENCE, Limited::new(body, limit).collect()).await;
    let read = read.map_err(|_| {
        Fault::new(
            StatusCode::REQUEST_TIMEOUT,
            "too-slow",
            format!("the body did not arrive within {} s", PATIENCE.as_secs()),
        )
    })?;
    match read {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_long(limit)),
        Err(error) => Err(Fault::malformed(format!("the body broke off: {error}"))),
    }
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
pub async fn document<T: DeserializeOwned>(body: Body, limit: usize) -> Done<Parsed<T>> {
    Ok(read::document("body", &bytes(body, limit).await?, Format::Json)?)
}

/// A request of the API's own, read as strictly.
pub async fn json<T: DeserializeOwned>(body: Body) -> Done<T> {
    Ok(document(body, 64 << 10).await?.value)
}
