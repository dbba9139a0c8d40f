//! The hub as a server: two listeners, what each connection may cost, and an orderly end.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;

use crate::api::{self, App, Caller};
use crate::ca::Peer;
use crate::hub::Hub;
use crate::intake::Intake;
use crate::lookups::Lookups;
use crate::metrics::count;
use crate::parking::{Line, Parked, Parking, Resumed};
use crate::store::Listener;
use crate::tls::{Meeting, OwnCertificate, TlsError};
use crate::{ca, history, rollout, rotation, slack, store};

/// What one connection, and all together, may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; further ones wait in the kernel.
    pub connections: usize,
    /// For a TLS handshake.
    pub handshake: Duration,
    /// For the head of a request, by whoever has shown no certificate; idle time counts.
    pub stranger: Duration,
    /// The same for a device, which keeps its connection from heartbeat to heartbeat.
    pub device: Duration,
    /// For what is under way when the hub is told to end.
    pub ending: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 250_000,
            handshake: Duration::from_secs(10),
            stranger: Duration::from_secs(15),
            device: Duration::from_secs(150),
            ending: Duration::from_secs(10),
        }
    }
}

/// Bytes of a request's head, at most.
const HEAD: usize = 16 << 10;
/// Lines of a request's head, at most.
const HEADERS: usize = 48;
/// How often changes of other processes on the same database are looked for, where the database does not tell of them.
const LOOK: Duration = Duration::from_secs(1);
/// The same where it does: a connection that died without a word is found out by this.
const LOOK_ALL_THE_SAME: Duration = Duration::from_secs(10);
/// Between two tries to listen again.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
/// How often the hub's own certificate is looked at.
const CERTIFICATE: Duration = Duration::from_secs(6 * 3600);

/// The hub does not come up.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// TLS.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// The database.
    #[error("{0}")]
    Store(#[from] store::StoreError),
}

/// A hub that serves.
#[derive(Debug)]
pub struct Server {
    /// Where devices reach it.
    pub devices: SocketAddr,
    /// Where admins reach it.
    pub admins: SocketAddr,
    hub: Arc<Hub>,
    ending: watch::Sender<bool>,
    listeners: JoinSet<()>,
    watchers: JoinSet<()>,
    writer: JoinHandle<()>,
}

/// Comes up on two addresses; port 0 takes a free one.
pub async fn start(
    hub: Arc<Hub>,
    devices: SocketAddr,
    admins: SocketAddr,
    limits: Limits,
) -> Result<Server, ServeError> {
    let own = Arc::new(OwnCertificate::load(&hub)?);
    own.renew(&hub)?;
    let mut tx = hub.store.write().await?;
    store::blobs::sweep(&mut tx, hub.clock.now()).await?;
    let generation = store::generation(&mut tx).await?;
    tx.commit().await?;
    hub.wake(generation);
    let listener = Listener::begin(hub.store.database()).await?;

    let (of_devices, devices) = listen(devices).await?;
    let (of_admins, admins) = listen(admins).await?;
    let (ending, ended) = watch::channel(false);
    let (intake, writer) = Intake::start(hub.clone());
    let app = App {
        hub: hub.clone(),
        intake: Some(intake),
        lookups: Some(Lookups::start(&hub)),
        ending: ended.clone(),
    };
    let room = Arc::new(Semaphore::new(limits.connections));
    let mut listeners = JoinSet::new();
    for (listener, devices, router) in [
        (of_devices, true, api::device_router(app.clone())),
        (of_admins, false, api::admin_router(app.clone())),
    ] {
        let door = Door {
            hub: hub.clone(),
            router,
            tls: Arc::new(Meeting::new(&hub, own.clone(), devices)?),
            limits,
            ended: ended.clone(),
        };
        listeners.spawn(accept(listener, door, room.clone()));
    }
    let mut watchers = JoinSet::new();
    watchers.spawn(rollout::steward::watch_over(hub.clone(), ended.clone()));
    watchers.spawn(history::watch_over(hub.clone(), ended.clone()));
    watchers.spawn(listen_on(hub.clone(), listener, ended.clone()));
    watchers.spawn(slack::watch_over(ended.clone()));
    watchers.spawn(watch_over(hub.clone(), own, ended));
    Ok(Server {
        devices,
        admins,
        hub,
        ending,
        listeners,
        watchers,
        writer,
    })
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

impl Server {
    /// Takes no more connections, ends those that are idle, lets what is under way come to its end, writes what was said.
    pub async fn stop(mut self) {
        self.ending.send_replace(true);
        while self.listeners.join_next().await.is_some() {}
        while self.watchers.join_next().await.is_some() {}
        // The last router went with its listener, so the intake is closed and the writer comes to its end.
        let _ = self.writer.await;
        self.hub.store.close().await;
    }
}

/// Comes back when the hub is told to end.
async fn told(ended: &mut watch::Receiver<bool>) {
    let _ = ended.wait_for(|ended| *ended).await;
}

/// What a connection comes through.
#[derive(Clone)]
struct Door {
    hub: Arc<Hub>,
    router: Router,
    tls: Arc<Meeting>,
    limits: Limits,
    ended: watch::Receiver<bool>,
}

async fn accept(listener: TcpListener, door: Door, room: Arc<Semaphore>) {
    let mut ended = door.ended.clone();
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let permit = room.clone().acquire_owned().await.ok()?;
            Some((permit, listener.accept().await))
        };
        let (permit, taken) = tokio::select! {
            () = told(&mut ended) => break,
            Some(next) = next => next,
            else => break,
        };
        match taken {
            Ok((stream, address)) => {
                connections.spawn(connection(stream, address, permit, door.clone()));
            }
            Err(error) => {
                tracing::warn!(cause = error.to_string(), "a connection could not be taken");
                // Out of files: until one is closed every try fails at once.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let patience = door.limits.ending;
    drop(door);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(patience, all).await.is_err() {
        tracing::warn!("connections were cut that did not come to their end");
    }
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, address: SocketAddr, permit: OwnedSemaphorePermit, mut door: Door) {
    count(&door.hub.metrics.connections);
    // Each step of a connection is on the heap by itself and goes when it is done: most of the time one waits, which takes
    // little.
    let Some((mut line, peer)) = Box::pin(greet(stream, &door)).await else {
        count(&door.hub.metrics.handshakes_failed);
        return;
    };
    let caller = Caller { peer, address };
    let mut resumed = None;
    loop {
        let Some((left, parked, read)) = Box::pin(speak(line, resumed, &caller, &mut door)).await else {
            break;
        };
        line = left;
        count(&door.hub.metrics.parked);
        resumed = line.park(parked, read, &door.hub, &mut door.ended).await;
        if resumed.is_none() {
            break;
        }
    }
    drop(permit);
}

/// A connection with TLS.
type TlsLine = Box<Line<TlsStream<TcpStream>>>;

/// Brings TLS up; gives who is there by a certificate.
async fn greet(stream: TcpStream, door: &Door) -> Option<(TlsLine, Option<Peer>)> {
    let _ = stream.set_nodelay(true);
    let acceptor = TlsAcceptor::from(door.tls.config(&door.hub));
    let greeted = timeout(door.limits.handshake, acceptor.accept(stream)).await;
    let stream = greeted.ok()?.ok()?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let peer = certificate.and_then(ca::peer);
    Some((Box::new(Line::new(stream)), peer))
}

/// A connection's line, what waits on it, and what was read of what comes after that.
type Waiting = (TlsLine, Parked, Bytes);

/// Speaks HTTP until the connection ends, or nothing is left of it but to wait.
async fn speak(line: TlsLine, resumed: Option<Resumed>, caller: &Caller, door: &mut Door) -> Option<Waiting> {
    let Door {
        router, limits, ended, ..
    } = door;
    let router = &*router;
    let patience = if caller.peer.is_some() {
        limits.device
    } else {
        limits.stranger
    };
    let parking = line.parking();
    // Of the first request alone.
    let (place, resumed) = (parking.clone(), Cell::new(resumed));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let takes = Parking::takes(&request);
        let mut request = request.map(Body::new);
        let extensions = request.extensions_mut();
        extensions.insert(caller.clone());
        if takes {
            extensions.insert(place.clone());
        }
        if let Some(resumed) = resumed.take() {
            extensions.insert(resumed);
        }
        router.clone().oneshot(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(HEAD)
        .max_headers(HEADERS);
    let mut connection = http.serve_connection(TokioIo::new(line), service);
    let parked = {
        let turn = poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => parking.take().map_or(Poll::Pending, |parked| Poll::Ready(Some(parked))),
        });
        tokio::select! {
            // First: what was left waiting is answered before the end.
            biased;
            parked = turn => Some(parked?),
            () = told(ended) => None,
        }
    };
    let Some(parked) = parked else {
        Pin::new(&mut connection).graceful_shutdown();
        let _ = connection.await;
        return None;
    };
    let parts = connection.into_parts();
    Some((parts.io.into_inner(), parked, parts.read_buf))
}

/// Hears of changes that other hubs make on the same database, where it tells of them.
async fn listen_on(hub: Arc<Hub>, listener: Option<Listener>, mut ended: watch::Receiver<bool>) {
    let Some(mut listener) = listener else { return };
    loop {
        let heard = tokio::select! {
            () = told(&mut ended) => return,
            heard = listener.hear() => heard,
        };
        let done = match heard {
            Ok(()) => hub.changed().await.map_err(|fault| fault.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(cause) = done {
            tracing::warn!(cause, "changes of other hubs are not heard");
            tokio::select! {
                () = told(&mut ended) => return,
                () = tokio::time::sleep(LISTEN_AGAIN) => {}
            }
        }
    }
}

/// Looks for changes that other processes make on the same database, keeps the hub's certificate fresh, and takes a rotation
/// of the CA on.
async fn watch_over(hub: Arc<Hub>, own: Arc<OwnCertificate>, mut ended: watch::Receiver<bool>) {
    let is_told = hub.store.database().is_shared();
    let look = if is_told { LOOK_ALL_THE_SAME } else { LOOK };
    let (mut look, mut certificate) = (interval(look), interval(CERTIFICATE));
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut revision = 0;
    loop {
        tokio::select! {
            () = told(&mut ended) => return,
            _ = look.tick() => {
                let looked = async {
                    hub.changed().await?;
                    rotation::advance(&hub).await
                };
                if let Err(fault) = looked.await {
                    tracing::error!(cause = fault.to_string(), "the database was not read");
                }
            }
            () = hub.rotated.notified() => {}
            _ = certificate.tick() => revision = u64::MAX,
        }
        let now = hub.authorities().revision;
        if std::mem::replace(&mut revision, now) == now {
            continue;
        }
        match own.renew(&hub) {
            Ok(true) => tracing::info!("the hub has a new certificate of its own"),
            Ok(false) => {}
            Err(error) => {
                tracing::error!(cause = error.to_string(), "the hub's certificate was not renewed");
                // Looked at again with the next change, or look.
                revision = u64::MAX;
            }
        }
    }
}
