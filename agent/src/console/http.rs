//! Requests and replies: as much of HTTP/1.1 as a browser on this machine needs, each connection for one of them.
//!
//! Heads are read by httparse, within limits; a body has a length or is not there. Nothing else is understood, and what is
//! not understood is refused.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Bytes of a head.
const HEAD: usize = 16 << 10;
/// Bytes of a body: an agent's file, and what is around it.
const BODY: usize = 5 << 20;
/// A request is there within this time, and a reply is taken within this between two writes.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a browser may do with a page. Everything comes from here, nothing is written into the page itself, nobody frames it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// A request, whole.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) is_post: bool,
    /// Decoded, and split at its slashes.
    pub(super) path: Vec<String>,
    pub(super) query: BTreeMap<String, String>,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// A header that is there once; one that is there twice is as good as none.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut all = self
            .headers
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, value)| value.as_str());
        all.next().filter(|_| all.next().is_none())
    }

    /// A cookie.
    pub(super) fn cookie(&self, name: &str) -> Option<&str> {
        let pairs = self.header("cookie")?.split(';').map(str::trim);
        pairs
            .filter_map(|pair| pair.split_once('='))
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value)
    }

    /// One of the query; empty where it is not there.
    pub(super) fn asked(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }
}

/// Why there is no request.
#[derive(Debug)]
pub(super) enum Unread {
    /// Nobody is there any more.
    Gone,
    /// Answered by this status.
    Refused(u16),
}

impl From<io::Error> for Unread {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// Reads the request of a connection.
pub(super) fn read(stream: &mut TcpStream) -> Result<Request, Unread> {
    let deadline = Instant::now() + PATIENCE;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut bytes = Vec::with_capacity(2048);
    let (mut request, head, length) = loop {
        more(stream, &mut bytes, deadline)?;
        if let Some(found) = head(&bytes)? {
            break found;
        }
        if bytes.len() > HEAD {
            return Err(Unread::Refused(431));
        }
    };
    while bytes.len() < head + length {
        more(stream, &mut bytes, deadline)?;
    }
    request.body = bytes.drain(head..head + length).collect();
    Ok(request)
}

fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>, deadline: Instant) -> Result<(), Unread> {
    let left = deadline.saturating_duration_since(Instant::now());
    // A browser opens connections before it needs them: who has said nothing is told nothing.
    let late = if bytes.is_empty() {
        Unread::Gone
    } else {
        Unread::Refused(408)
    };
    if left.is_zero() {
        return Err(late);
    }
    stream.set_read_timeout(Some(left))?;
    let mut buffer = [0; 16 << 10];
    match stream.read(&mut buffer) {
        Ok(0) => Err(Unread::Gone),
        Ok(count) => {
            bytes.extend_from_slice(&buffer[..count]);
            Ok(())
        }
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(()),
        Err(_) => Err(late),
    }
}

/// The request of a head that is whole, where it ends, and the length of the body that follows.
fn head(bytes: &[u8]) -> Result<Option<(Request, usize, usize)>, Unread> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut fields);
    let end = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(end)) => end,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Unread::Refused(400)),
    };
    let is_post = match parsed.method {
        Some("GET") => false,
        Some("POST") => true,
        _ => return Err(Unread::Refused(405)),
    };
    let target = parsed.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = path.strip_prefix('/').ok_or(Unread::Refused(400))?;
    let mut headers = Vec::new();
    for field in parsed.headers.iter() {
        let value = std::str::from_utf8(field.value).map_err(|_| Unread::Refused(400))?;
        headers.push((field.name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let request = Request {
        is_post,
        path: path.split('/').filter(|part| !part.is_empty()).map(decoded).collect(),
        query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers,
        body: Vec::new(),
    };
    let lengths = request
        .headers
        .iter()
        .filter(|(name, _)| name == "content-length")
        .count();
    let length = match request.header("content-length") {
        _ if request.headers.iter().any(|(name, _)| name == "transfer-encoding") => return Err(Unread::Refused(411)),
        None if lengths > 1 || is_post => return Err(Unread::Refused(411)),
        None => 0,
        Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().map_err(|_| Unread::Refused(413))?,
        Some(_) => return Err(Unread::Refused(400)),
    };
    if length > BODY {
        return Err(Unread::Refused(413));
    }
    Ok(Some((request, end, length)))
}

/// One part of a path. A plus is a plus there.
fn decoded(part: &str) -> String {
    let bytes = part.replace('+', "%2B");
    let pair = form_urlencoded::parse(bytes.as_bytes()).next();
    pair.map(|(name, _)| name.into_owned()).unwrap_or_default()
}

/// A reply.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn html(status: u16, text: String) -> Self {
        Self {
            status,
            headers: vec![
                ("content-type", "text/html; charset=utf-8".into()),
                ("cache-control", "no-store".into()),
            ],
            body: text.into_bytes(),
        }
    }

    /// Another page is to be asked for.
    pub(super) fn see(path: &str) -> Self {
        Self {
            status: 303,
            headers: vec![("location", path.to_owned()), ("cache-control", "no-store".into())],
            body: Vec::new(),
        }
    }

    pub(super) fn plain(status: u16) -> Self {
        let mut reply = Self::html(status, reason(status).to_owned());
        reply.headers[0].1 = "text/plain; charset=utf-8".into();
        reply
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn send(&self, stream: &mut TcpStream) -> io::Result<()> {
        let length = format!("content-length: {}\r\n", self.body.len());
        let mut bytes = start(self.status, &self.headers, &length).into_bytes();
        bytes.extend_from_slice(&self.body);
        stream.write_all(&bytes)
    }
}

/// The head of a reply whose body goes on until the connection ends.
pub(super) fn stream_head() -> String {
    let headers = [
        ("content-type", "text/event-stream".to_owned()),
        ("cache-control", "no-store".to_owned()),
    ];
    start(200, &headers, "")
}

fn start(status: u16, headers: &[(&'static str, String)], more: &str) -> String {
    let mut head = format!("HTTP/1.1 {status} {}\r\nconnection: close\r\n{more}", reason(status));
    for (name, value) in headers {
        // A line's end in a value would begin another header.
        let value: String = value.chars().filter(|c| !c.is_control()).collect();
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    // The referrer goes to this origin alone, which keeps `Origin` on forms: `no-referrer` would make it `null`.
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        (
            "permissions-policy",
            "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        ),
    ] {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head + "\r\n"
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        303 => "See Other",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> u16 {
        match head(text.as_bytes()) {
            Err(Unread::Refused(status)) => status,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_is_read_and_its_parts_are_decoded() {
        let text =
            "POST /jobs/a%3Cb+c?x=1+2&x=3 HTTP/1.1\r\nHost: h:1\r\nCookie: a=b; c=d\r\nContent-Length: 3\r\n\r\nabc";
        let (request, end, length) = head(text.as_bytes()).unwrap().unwrap();
        assert!(request.is_post);
        assert_eq!(request.path, ["jobs", "a<b+c"]);
        assert_eq!((request.asked("x"), request.cookie("c"), length), ("3", Some("d"), 3));
        assert_eq!(&text[end..], "abc");
        assert!(head(b"GET / HTTP/1.1\r\nHost: h").unwrap().is_none());
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        assert_eq!(refused("PUT / HTTP/1.1\r\n\r\n"), 405);
        assert_eq!(refused("GET http://other/ HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(refused("POST / HTTP/1.1\r\n\r\n"), 411);
        assert_eq!(
            refused("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            411
        );
        assert_eq!(
            refused("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            411
        );
        assert_eq!(refused("POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n"), 400);
        assert_eq!(refused("POST / HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n"), 413);
        let (request, ..) = head(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").unwrap().unwrap();
        assert_eq!(request.header("host"), None);
    }

    #[test]
    fn no_value_begins_another_header() {
        let head = start(303, &[("location", "/a\r\nset-cookie: x=y".into())], "");
        assert!(!head.contains("\nset-cookie"), "{head}");
    }
}
