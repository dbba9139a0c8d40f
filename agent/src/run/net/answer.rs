//! What comes back: a head, and a body that has a length, comes in chunks, or ends with the connection.

use std::io::{ErrorKind, Read};
use std::time::Instant;

use super::http::{HEAD, Tls, Trouble, limit};

pub(super) fn status(head: &str) -> Option<u16> {
    head.starts_with("HTTP/1.").then(|| head.get(9..12)?.parse().ok())?
}

/// What a head says that matters here.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Head {
    pub(super) status: u16,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    pub(super) retry_after: Option<u32>,
    pub(super) etag: Option<String>,
}

impl Head {
    pub(super) fn read(stream: &mut Incoming<'_>) -> Result<Self, Trouble> {
        let bytes = stream.until_mark(b"\r\n\r\n", HEAD)?;
        let text = String::from_utf8(bytes).map_err(|_| Trouble::of("the head of the answer is not text"))?;
        Self::parse(&text).map_err(Trouble::of)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut head = Self {
            status: status(text).ok_or("the answer is not HTTP")?,
            close: text.starts_with("HTTP/1.0"),
            ..Self::default()
        };
        for line in text.split("\r\n").skip(1) {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
            if is("content-length") {
                let length = value.parse().map_err(|_| format!("found the length {value:?}"))?;
                if head.length.is_some_and(|known| known != length) {
                    return Err("the answer has two lengths".into());
                }
                head.length = Some(length);
            } else if is("transfer-encoding") {
                if !value.eq_ignore_ascii_case("chunked") {
                    return Err(format!("it answers in the coding {value:?}, which nobody asked for"));
                }
                head.chunked = true;
            } else if is("connection") {
                head.close |= value.eq_ignore_ascii_case("close");
            } else if is("retry-after") {
                // A date (RFC 9110 §10.2.3) is not what our hub sends: it counts as none.
                head.retry_after = value.parse().ok();
            } else if is("etag") && value.len() <= 128 {
                head.etag = Some(value.to_owned());
            }
        }
        if head.chunked && head.length.is_some() {
            return Err("the answer has a length and comes in chunks".into());
        }
        Ok(head)
    }
}

/// What comes, until a moment.
pub(super) struct Incoming<'t> {
    tls: &'t mut Tls,
    pub(super) held: Vec<u8>,
    pub(super) until: Instant,
}

impl<'t> Incoming<'t> {
    pub(super) fn new(tls: &'t mut Tls, until: Instant) -> Self {
        let held = Vec::new();
        Self { tls, held, until }
    }

    /// Takes what is there, once; false at the end.
    pub(super) fn more(&mut self) -> std::io::Result<bool> {
        let mut piece = [0; 8192];
        loop {
            limit(&self.tls.sock, self.until)?;
            match self.tls.read(&mut piece) {
                Ok(count) => {
                    self.held.extend_from_slice(&piece[..count]);
                    return Ok(count > 0);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn need(&mut self) -> Result<(), Trouble> {
        match self.more() {
            Ok(true) => Ok(()),
            Ok(false) => Err(Trouble::of("the connection was closed in the middle of an answer")),
            Err(e) => Err(Trouble::io(&e)),
        }
    }

    /// Everything up to and without `mark`, which is taken too.
    fn until_mark(&mut self, mark: &[u8], most: usize) -> Result<Vec<u8>, Trouble> {
        loop {
            if let Some(at) = self.held.windows(mark.len()).position(|w| w == mark) {
                let rest = self.held.split_off(at + mark.len());
                let mut found = std::mem::replace(&mut self.held, rest);
                found.truncate(at);
                return Ok(found);
            }
            if self.held.len() > most {
                return Err(Trouble::of(format!("no end of a line or head within {most} bytes")));
            }
            self.need()?;
        }
    }

    fn exactly(&mut self, length: usize, into: &mut Vec<u8>) -> Result<(), Trouble> {
        while self.held.len() < length {
            self.need()?;
        }
        let rest = self.held.split_off(length);
        into.append(&mut std::mem::replace(&mut self.held, rest));
        Ok(())
    }

    /// The body, and whether the connection may be used again.
    pub(super) fn body(&mut self, head: &Head, most: usize) -> Result<(Vec<u8>, bool), Trouble> {
        let long = || Trouble::of(format!("the answer is longer than {most} bytes"));
        let mut body = Vec::new();
        if matches!(head.status, 204 | 304) {
            return Ok((body, !head.close));
        }
        if head.chunked {
            loop {
                let line = self.until_mark(b"\r\n", 1024)?;
                let size = line.split(|b| *b == b';').next().unwrap_or_default();
                let size = std::str::from_utf8(size)
                    .ok()
                    .and_then(|s| usize::from_str_radix(s.trim(), 16).ok());
                let size = size.ok_or_else(|| Trouble::of("a chunk without a size"))?;
                if size > most - body.len() {
                    return Err(long());
                }
                if size == 0 {
                    // Trailers, which nobody reads.
                    while !self.until_mark(b"\r\n", HEAD)?.is_empty() {}
                    return Ok((body, !head.close));
                }
                self.exactly(size, &mut body)?;
                if !self.until_mark(b"\r\n", 2)?.is_empty() {
                    return Err(Trouble::of("a chunk that is longer than it said"));
                }
            }
        }
        if let Some(length) = head.length {
            let length = usize::try_from(length).ok().filter(|l| *l <= most).ok_or_else(long)?;
            self.exactly(length, &mut body)?;
            return Ok((body, !head.close));
        }
        // Until the end. A TLS connection that just stops has not said that this was all.
        loop {
            if self.held.len() > most {
                return Err(long());
            }
            match self.more() {
                Ok(true) => {}
                Ok(false) => return Ok((std::mem::take(&mut self.held), false)),
                Err(e) => return Err(Trouble::io(&e)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Head;

    #[test]
    fn a_head_says_what_matters_or_is_refused() {
        let text = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 30\r\nContent-Length: 5\r\nETag: \"x\"\r\nConnection: Close";
        assert_eq!(
            Head::parse(text),
            Ok(Head {
                status: 503,
                length: Some(5),
                chunked: false,
                close: true,
                retry_after: Some(30),
                etag: Some("\"x\"".into()),
            })
        );
        for bad in [
            "SSH-2.0",
            "HTTP/1.1 abc",
            "HTTP/1.1 200 OK\r\nContent-Length: -1",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked",
        ] {
            assert!(Head::parse(bad).is_err(), "{bad}");
        }
        let dated = Head::parse("HTTP/1.1 503 x\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT").unwrap();
        assert_eq!(dated.retry_after, None);
    }
}
