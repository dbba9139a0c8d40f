//! HTTP/1.1 (RFC 9112) over one TLS connection, as far as a hub is asked: a request with a body or none, an answer whose
//! body has a length, comes in chunks, or ends with the connection.
//!
//! Believes nothing of what comes: heads and bodies have their limits before they are taken, and every answer has a time by
//! which it must be whole.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jos_link::{Door, Reply, Request};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::answer::{Head, Incoming, status};
use super::setup::{Place, Setup};
use super::tls::{self, Ways};

/// Longest head of an answer.
pub(super) const HEAD: usize = 16 * 1024;
/// To connect and to agree on keys.
const CONNECT: Duration = Duration::from_secs(15);
/// Until an answer begins, besides what the request grants.
const ANSWER: Duration = Duration::from_secs(30);
/// Then so many bytes must come each second, on the whole.
const RATE: u64 = 4096;
/// How long a hub may take to say that it does not take our certificate.
const SECOND_THOUGHTS: Duration = Duration::from_secs(2);

pub(super) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A connection that the next question may use.
struct Open {
    tls: Tls,
    address: u8,
    door: Door,
}

/// Where the hub is, and the connection to it.
pub(super) struct Lines {
    ways: Ways,
    places: Vec<Place>,
    proxy: Option<Place>,
    open: Option<Open>,
}

/// Why there is no answer.
pub(super) struct Trouble {
    certificate: bool,
    pub(super) text: String,
    /// Nothing of an answer came: where the connection had been used before, it may just have been too old.
    nothing: bool,
}

impl Trouble {
    pub(super) fn of(text: impl Into<String>) -> Self {
        Self {
            certificate: false,
            text: text.into(),
            nothing: false,
        }
    }

    pub(super) fn io(error: &std::io::Error) -> Self {
        let text = match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer in time".to_owned(),
            ErrorKind::UnexpectedEof => "the connection was closed".to_owned(),
            _ => error.to_string(),
        };
        Self {
            certificate: tls::refuses_certificate(error),
            text,
            nothing: false,
        }
    }
}

impl Lines {
    pub(super) fn new(setup: &Setup) -> Result<Self, String> {
        Ok(Self {
            ways: Ways::new(setup)?,
            places: setup.places()?,
            proxy: setup.proxy()?,
            open: None,
        })
    }

    /// Puts a question, over the connection that there is where it serves.
    pub(super) fn ask(&mut self, request: &Request) -> Reply {
        let kept = self.open.take();
        let fits = |open: &Open| open.address == request.address && open.door == request.door && !request.fresh;
        if let Some(open) = kept.filter(fits) {
            match self.over(open, request) {
                Err(Trouble {
                    nothing: true,
                    certificate: false,
                    ..
                }) => {}
                other => return reply(other),
            }
        }
        let opened = self.connect(request.address, request.door);
        reply(opened.and_then(|open| self.over(open, request)))
    }

    fn over(&mut self, mut open: Open, request: &Request) -> Result<Reply, Trouble> {
        let place = self
            .places
            .get(usize::from(request.address))
            .ok_or_else(|| Trouble::of("the hub has no such address"))?;
        let first = |e: &std::io::Error| Trouble {
            nothing: !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            ..Trouble::io(e)
        };
        let begin = Instant::now() + ANSWER + Duration::from_secs(request.wait.into());
        limit(&open.tls.sock, begin).map_err(|e| Trouble::io(&e))?;
        open.tls.write_all(&head_of(request, place)).map_err(|e| first(&e))?;
        open.tls.write_all(&request.body).map_err(|e| first(&e))?;
        open.tls.flush().map_err(|e| first(&e))?;
        let mut stream = Incoming::new(&mut open.tls, begin);
        if !stream.more().map_err(|e| first(&e))? {
            return Err(first(&ErrorKind::UnexpectedEof.into()));
        }
        let head = loop {
            let head = Head::read(&mut stream)?;
            // An interim answer (RFC 9110 §15.2): the real one follows.
            if !(100..200).contains(&head.status) {
                break head;
            }
        };
        let span = Duration::from_secs(u64::from(request.limit) / RATE);
        stream.until = Instant::now() + ANSWER + span;
        let (body, again) = stream.body(&head, request.limit as usize)?;
        if again && stream.held.is_empty() {
            self.open = Some(open);
        }
        Ok(Reply::Answer {
            status: head.status,
            retry_after: head.retry_after,
            etag: head.etag,
            body,
        })
    }

    fn connect(&self, address: u8, door: Door) -> Result<Open, Trouble> {
        let config = match door {
            Door::Anybody => Some(&self.ways.anybody),
            Door::Stranger => self.ways.stranger.as_ref(),
            Door::Device => self.ways.device.as_ref(),
        };
        let config = config.ok_or_else(|| Trouble {
            certificate: door == Door::Device && self.ways.stranger.is_some(),
            ..Trouble::of("the hub's CA, or a certificate of ours, is not there")
        })?;
        let place = self
            .places
            .get(usize::from(address))
            .ok_or_else(|| Trouble::of("the hub has no such address"))?;
        let until = Instant::now() + CONNECT;
        let mut tcp = dial(self.proxy.as_ref().unwrap_or(place), until).map_err(Trouble::of)?;
        if let Some(proxy) = &self.proxy {
            tunnel(&mut tcp, proxy, place, until).map_err(|why| Trouble::of(format!("proxy: {why}")))?;
        }
        let named = |e: Trouble| Trouble {
            text: format!("{}: {}", place.authority(), e.text),
            ..e
        };
        let tls = agree(config, place, tcp, door, until).map_err(named)?;
        Ok(Open { tls, address, door })
    }
}

fn reply(result: Result<Reply, Trouble>) -> Reply {
    result.unwrap_or_else(|trouble| Reply::Failed {
        certificate: trouble.certificate,
        text: trouble.text,
    })
}

/// Leaves what a socket does no longer than `until`.
pub(super) fn limit(tcp: &TcpStream, until: Instant) -> std::io::Result<()> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    tcp.set_read_timeout(Some(left))?;
    tcp.set_write_timeout(Some(left))
}

fn dial(place: &Place, until: Instant) -> Result<TcpStream, String> {
    let Place { host, port, .. } = place;
    // No thread for it: this process may start none. A resolver has time limits of its own.
    let addresses = (host.as_str(), *port)
        .to_socket_addrs()
        .map_err(|e| format!("{host}: {e}"))?;
    let mut last = format!("{host}: no address");
    for address in addresses {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(tcp) => {
                let _ = tcp.set_nodelay(true);
                return Ok(tcp);
            }
            Err(e) => last = format!("{address}: {e}"),
        }
    }
    Err(last)
}

/// `CONNECT` (RFC 9110 §9.3.6): what follows the proxy's 200 is the hub.
fn tunnel(tcp: &mut TcpStream, proxy: &Place, hub: &Place, until: Instant) -> Result<(), String> {
    let hub = hub.authority();
    let login = match &proxy.login {
        Some(login) => format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(login)),
        None => String::new(),
    };
    let said = |e: std::io::Error| Trouble::io(&e).text;
    limit(tcp, until).map_err(said)?;
    tcp.write_all(format!("CONNECT {hub} HTTP/1.1\r\nHost: {hub}\r\n{login}\r\n").as_bytes())
        .map_err(said)?;
    let mut head = Vec::new();
    // A byte at a time: what comes after the head is not ours to take.
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        limit(tcp, until).map_err(said)?;
        tcp.read_exact(&mut byte).map_err(said)?;
        head.push(byte[0]);
        if head.len() > HEAD {
            return Err("its answer has no end".into());
        }
    }
    match status(&String::from_utf8_lossy(&head)) {
        Some(200..=299) => Ok(()),
        Some(code) => Err(format!("it answered {code} to CONNECT")),
        None => Err("what answers there is no HTTP proxy".into()),
    }
}

/// The handshake; with a certificate of ours also the time that the hub needs to refuse it. It does so after we are done,
/// and what we would have sent by then would drown its words.
fn agree(
    config: &Arc<ClientConfig>,
    place: &Place,
    tcp: TcpStream,
    door: Door,
    until: Instant,
) -> Result<Tls, Trouble> {
    let name =
        ServerName::try_from(place.host.clone()).map_err(|_| Trouble::of("not a name that a certificate can have"))?;
    let client = ClientConnection::new(config.clone(), name).map_err(|e| Trouble::of(e.to_string()))?;
    let mut tls = StreamOwned::new(client, tcp);
    let begun = Instant::now();
    while tls.conn.is_handshaking() {
        limit(&tls.sock, until).map_err(|e| Trouble::io(&e))?;
        tls.conn.complete_io(&mut tls.sock).map_err(|e| Trouble::io(&e))?;
    }
    if door == Door::Device {
        let patience = (begun.elapsed() * 2).clamp(Duration::from_millis(20), SECOND_THOUGHTS);
        limit(&tls.sock, Instant::now() + patience).map_err(|e| Trouble::io(&e))?;
        let mut nothing = [0; 1];
        match tls.read(&mut nothing) {
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(e) => return Err(Trouble::io(&e)),
            Ok(0) => return Err(Trouble::of("the hub closed the connection")),
            Ok(_) => return Err(Trouble::of("the hub spoke before it was asked")),
        }
    }
    Ok(tls)
}

fn head_of(request: &Request, place: &Place) -> Vec<u8> {
    let method = if request.post { "POST" } else { "GET" };
    let mut head = format!(
        "{method} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: jos/{}\r\nAccept-Encoding: identity\r\n",
        request.path,
        place.authority(),
        env!("CARGO_PKG_VERSION")
    );
    if request.post {
        head += &format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            request.body.len()
        );
    }
    if let Some(tag) = &request.etag {
        head += &format!("If-None-Match: {tag}\r\n");
    }
    if let Some((first, last)) = request.range {
        head += &format!("Range: bytes={first}-{last}\r\n");
    }
    head += "\r\n";
    head.into_bytes()
}
