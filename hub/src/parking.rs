//! A device that waits, and what a connection keeps of itself meanwhile.
//!
//! Nearly all of a fleet waits nearly all of the time, and a connection in the midst of a request has buffers of 16 KiB and all
//! that is put together to answer it. So whoever waits leaves word here of what it waits for. The connection takes its HTTP
//! apart, keeps TLS and that word, and when the wait is over begins anew with the same question (decision 068).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::http::{HeaderMap, Method, Request, Version, header};
use hyper::body::{Body, Bytes};
use jos_link::wire::path;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, timeout_at};

use crate::hub::Hub;

/// Whoever waits for a change: for which device, until when, and what it has seen.
#[derive(Clone, Debug)]
pub struct Wait {
    /// The device.
    pub device: String,
    /// It is answered then, whether there is news or not.
    pub until: Instant,
    /// Where changes are heard.
    pub changes: watch::Receiver<u64>,
    /// The generation that was looked at.
    pub seen: u64,
}

impl Wait {
    /// Comes back when something changed that may concern the device; `true` where the time is over, or nothing will change
    /// any more.
    pub async fn over(&mut self, hub: &Hub) -> bool {
        let until = self.until;
        timeout_at(until, self.in_vain(hub)).await.unwrap_or(true)
    }

    async fn in_vain(&mut self, hub: &Hub) -> bool {
        while self.changes.changed().await.is_ok() {
            let now = *self.changes.borrow_and_update();
            let before = std::mem::replace(&mut self.seen, now);
            if !hub.is_spared(&self.device, before, now) {
                return false;
            }
        }
        true
    }
}

/// What is left of a request that waits.
#[derive(Debug)]
pub struct Parked {
    /// For what.
    pub wait: Wait,
    /// The request, as it is read again.
    head: String,
}

impl Parked {
    /// A `GET` of the state `name` by whoever has the version that `has` names.
    pub fn state(wait: Wait, name: &str, seconds: u32, has: Option<&str>) -> Self {
        let condition = has.map(|tag| format!("if-none-match: {tag}\r\n")).unwrap_or_default();
        let path = path::STATE;
        Self {
            head: format!("GET {path}/{name}?wait={seconds} HTTP/1.1\r\n{condition}\r\n"),
            wait,
        }
    }
}

/// Where one connection hears of a request of its own that waits.
#[derive(Clone, Debug, Default)]
pub struct Parking(Arc<Place>);

#[derive(Debug, Default)]
struct Place {
    word: Mutex<Option<Parked>>,
    /// The other side takes nothing now: what was written may still be on its way out, and would be lost.
    blocked: AtomicBool,
}

impl Parking {
    /// Whether a request may wait here: nothing of it is to be known later but its path and `If-None-Match`.
    pub fn takes<B: Body>(request: &Request<B>) -> bool {
        let headers = request.headers();
        request.method() == Method::GET
            && request.version() == Version::HTTP_11
            && request.body().is_end_stream()
            && !headers.contains_key(header::EXPECT)
            && !headers.contains_key(header::UPGRADE)
            && is_kept(headers)
    }

    /// Leaves word, for as long as the caller keeps what it gets. Whoever left it goes on waiting: the connection need not
    /// take it.
    pub fn leave(&self, parked: Parked) -> Left {
        *self.word() = Some(parked);
        Left(self.clone())
    }

    /// The word that was left, where the connection can be taken apart now.
    pub fn take(&self) -> Option<Parked> {
        if self.0.blocked.load(Ordering::Relaxed) {
            return None;
        }
        self.word().take()
    }

    fn word(&self) -> MutexGuard<'_, Option<Parked>> {
        self.0.word.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A word that holds while this is kept.
#[derive(Debug)]
pub struct Left(Parking);

impl Drop for Left {
    fn drop(&mut self) {
        *self.0.word() = None;
    }
}

/// Whether the caller keeps its connection.
fn is_kept(headers: &HeaderMap) -> bool {
    let said = headers.get_all(header::CONNECTION).iter();
    said.into_iter()
        .all(|said| said.as_bytes().eq_ignore_ascii_case(b"keep-alive"))
}

/// A request that has waited already goes on where it was.
#[derive(Clone, Debug)]
pub struct Resumed {
    /// It is answered then.
    pub until: Instant,
    /// Where something changed: its turn among all that were woken by that. Kept while it is looked at.
    _turn: Option<Arc<OwnedSemaphorePermit>>,
}

/// A connection's bytes, some of which were read before.
#[derive(Debug)]
pub struct Line<S> {
    stream: S,
    ahead: Bytes,
    parking: Parking,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    /// With nothing read so far.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            ahead: Bytes::new(),
            parking: Parking::default(),
        }
    }

    /// Where a request that waits leaves word.
    pub fn parking(&self) -> Parking {
        self.parking.clone()
    }

    /// Waits as the request did that left this word, with `read` of what follows it. `None` where nobody is there any more;
    /// otherwise the same request is what is read next.
    pub async fn park(
        &mut self,
        parked: Parked,
        read: Bytes,
        hub: &Hub,
        ended: &mut watch::Receiver<bool>,
    ) -> Option<Resumed> {
        let Parked { mut wait, head } = parked;
        // A copy: the bytes that were read are a piece of HTTP's whole buffer, even where they are none.
        self.ahead = Bytes::copy_from_slice(&read);
        drop(read);
        let (mut came, mut turn) = (Bytes::new(), None);
        tokio::select! {
            in_vain = wait.over(hub) => if !in_vain {
                turn = hub.told.clone().acquire_owned().await.ok().map(Arc::new);
            },
            () = async { drop(ended.wait_for(|ended| *ended).await) } => {}
            heard = self.hear() => came = heard?,
        }
        let next = [head.as_bytes(), &self.ahead, &came].concat();
        self.ahead = next.into();
        let until = wait.until;
        Some(Resumed { until, _turn: turn })
    }

    /// What comes while nothing is expected; `None` where that is the end.
    async fn hear(&mut self) -> Option<Bytes> {
        if !self.ahead.is_empty() {
            // The next request is there already. No more of it is read before its turn.
            std::future::pending::<()>().await;
        }
        let mut some = [0; 64];
        match self.stream.read(&mut some).await {
            Ok(0) | Err(_) => None,
            Ok(length) => Some(Bytes::copy_from_slice(&some[..length])),
        }
    }

    fn went<T>(&self, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.parking.0.blocked.store(done.is_pending(), Ordering::Relaxed);
        done
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, into);
        }
        let length = self.ahead.len().min(into.remaining());
        into.put_slice(&self.ahead.split_to(length));
        if self.ahead.is_empty() {
            self.ahead = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.went(done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.went(done)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_flush(cx);
        self.went(done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
