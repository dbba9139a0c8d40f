//! Pages that follow what changes. An open page holds one stream of server-sent events, on which it is asked for again as
//! it is now, and sent when it is another than before.
//!
//! Each turn goes the whole way that a page goes, so that a session that ended or a role that was taken away ends the
//! stream too. A page that takes long to make is made less often: all this costs a tenth of one thread for each viewer.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use tokio::sync::{Semaphore, mpsc};

use crate::api::{App, Waited};
use crate::fault::Fault;

/// Pages that are followed at once, at most.
const MOST: usize = 256;
static PLACES: Semaphore = Semaphore::const_new(MOST);
/// Between two looks, at least.
const PACE: Duration = Duration::from_secs(2);
/// Times what a look cost, at least.
const SHARE: u32 = 10;
/// Something is sent so often: who went away is noticed.
const SILENCE: Duration = Duration::from_secs(20);

/// An open page asks what has changed: it gets the inside of itself, and keeps no session alive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment;

struct Events(mpsc::Receiver<Bytes>);

impl futures_core::Stream for Events {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|event| event.map(Ok))
    }
}

/// Answers a page that follows itself by a stream; everything else goes on to the page.
pub(super) async fn follow(State(app): State<App>, request: Request, next: Next) -> Response {
    let accept = request.headers().get(header::ACCEPT);
    if request.method() != Method::GET || accept.is_none_or(|kind| kind != "text/event-stream") {
        return next.run(request).await;
    }
    let Ok(place) = PLACES.try_acquire() else {
        return Fault::busy().into_response();
    };
    let (mut parts, _) = request.into_parts();
    parts.extensions.insert(Fragment);
    let (events, seen) = mpsc::channel(1);
    let mut ending = app.ending.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = turns(&parts, &next, &events) => {}
            () = events.closed() => {}
            () = async { drop(ending.wait_for(|ending| *ending).await) } => {}
        }
        drop(place);
    });
    let kind = HeaderValue::from_static("text/event-stream");
    let mut response = ([(header::CONTENT_TYPE, kind)], Body::from_stream(Events(seen))).into_response();
    response.extensions_mut().insert(Waited);
    response
}

async fn turns(parts: &Parts, next: &Next, events: &mpsc::Sender<Bytes>) {
    let (mut before, mut sent) = (None, Instant::now());
    loop {
        let began = Instant::now();
        let event = match look(parts, next).await {
            Look::Page(page) if before.as_ref() != Some(&page) => {
                let event = event("page", &page);
                before = Some(page);
                event
            }
            Look::Gone => {
                let _ = events.send(event("gone", "")).await;
                return;
            }
            Look::Page(_) | Look::NotNow if sent.elapsed() >= SILENCE => Bytes::from_static(b":\n\n"),
            Look::Page(_) | Look::NotNow => Bytes::new(),
        };
        if !event.is_empty() {
            sent = Instant::now();
            if events.send(event).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(PACE.max(began.elapsed() * SHARE)).await;
    }
}

enum Look {
    Page(String),
    Gone,
    NotNow,
}

async fn look(parts: &Parts, next: &Next) -> Look {
    let response = next
        .clone()
        .run(Request::from_parts(parts.clone(), Body::empty()))
        .await;
    if response.status().is_server_error() {
        return Look::NotNow;
    }
    if !response.status().is_success() {
        return Look::Gone;
    }
    match response.into_body().collect().await {
        Ok(bytes) => Look::Page(String::from_utf8_lossy(&bytes.to_bytes()).into_owned()),
        Err(_) => Look::NotNow,
    }
}

/// One event. Its data is JSON, which is one line whatever is in it: nothing that a device said ends an event.
fn event(name: &str, text: &str) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {}\n\n", serde_json::Value::from(text)))
}
