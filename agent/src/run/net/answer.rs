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
    pub(super) fn read<S: Timed>(stream: &mut Incoming<'_, S>) -> Result<Self, Trouble> {
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

/// A stream that can be told when to give up.
pub(super) trait Timed: Read {
    fn limit(&self, until: Instant) -> std::io::Result<()>;
}

impl Timed for Tls {
    fn limit(&self, until: Instant) -> std::io::Result<()> {
        limit(&self.sock, until)
    }
}

/// What comes, until a moment.
pub(super) struct Incoming<'t, S: Timed> {
    stream: &'t mut S,
    pub(super) held: Vec<u8>,
    pub(super) until: Instant,
}

impl<'t, S: Timed> Incoming<'t, S> {
    pub(super) fn new(stream: &'t mut S, until: Instant) -> Self {
        let held = Vec::new();
        Self { stream, held, until }
    }

    /// Takes what is there, once; false at the end.
    pub(super) fn more(&mut self) -> std::io::Result<bool> {
        let mut piece = [0; 8192];
        loop {
            self.stream.limit(self.until)?;
            match self.stream.read(&mut piece) {
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
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    impl Timed for TcpStream {
        fn limit(&self, until: Instant) -> std::io::Result<()> {
            limit(self, until)
        }
    }

    /// What `hub` writes, taken as an answer of `most` bytes within `time`: the body or why not, what was held of it at most,
    /// and how long that took.
    fn take(
        hub: impl FnOnce(TcpStream) + Send + 'static,
        most: usize,
        time: Duration,
    ) -> (Result<Vec<u8>, String>, usize, Duration) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = std::thread::spawn(move || hub(listener.accept().expect("somebody").0));
        let mut stream = TcpStream::connect(address).expect("a connection");
        let begun = Instant::now();
        let mut incoming = Incoming::new(&mut stream, begun + time);
        let body = Head::read(&mut incoming).and_then(|head| incoming.body(&head, most));
        let (took, held) = (begun.elapsed(), incoming.held.capacity());
        // The hub's end breaks with it.
        drop(stream);
        server.join().expect("it ends");
        (body.map(|(body, _)| body).map_err(|trouble| trouble.text), held, took)
    }

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";
    const MOST: usize = 64 << 10;
    const LONG: Duration = Duration::from_secs(60);

    /// Writes `first`, and then `piece` again and again until nobody listens.
    fn for_ever(first: &'static [u8], piece: Vec<u8>) -> impl FnOnce(TcpStream) + Send {
        move |mut to| {
            let mut went = to.write_all(first);
            while went.is_ok() {
                went = to.write_all(&piece);
            }
        }
    }

    #[test]
    fn endless_data_from_a_hub_ends_at_the_limit_and_takes_no_more_memory() {
        let line = [b"x-more: ".as_slice(), &[b'y'; 1000], b"\r\n"].concat();
        let chunk = [b"400\r\n".as_slice(), &[b'z'; 1024], b"\r\n"].concat();
        let endless: [(&str, &'static [u8], Vec<u8>); 7] = [
            ("a head", OK, line.clone()),
            ("one line of a head", OK, vec![b'h'; 1024]),
            ("a body until the end", b"HTTP/1.1 200 OK\r\n\r\n", vec![b'b'; 8192]),
            (
                "a body of a length",
                b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n",
                vec![b'b'; 8192],
            ),
            (
                "chunks",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                chunk,
            ),
            (
                "a chunk's size",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                vec![b'0'; 1024],
            ),
            (
                "one chunk",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n",
                vec![b'z'; 8192],
            ),
        ];
        for (what, first, piece) in endless {
            let (body, held, took) = take(for_ever(first, piece), MOST, LONG);
            let why = body.expect_err(what);
            assert!(
                why.contains("longer than") || why.contains("no end of"),
                "{what}: {why}"
            );
            assert!(held <= 4 * MOST, "{what}: {held} bytes");
            assert!(took < LONG, "{what}: {took:?}");
        }
        // Trailers have no end of their own: time is.
        let time = Duration::from_millis(400);
        let ended = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
        let (body, held, took) = take(for_ever(ended, line), MOST, time);
        assert!(
            body.is_err() && held <= 4 * MOST && took < LONG,
            "{held} bytes, {took:?}"
        );
    }

    #[test]
    fn slow_retrieval_from_a_hub_is_given_up_when_its_time_is_over_however_steadily_it_comes() {
        // A byte whenever the last one was taken, and never the last of all.
        let slowly = |first: &'static [u8]| {
            move |mut to: TcpStream| {
                let _ = to.set_nodelay(true);
                let mut went = to.write_all(first);
                while went.is_ok() {
                    std::thread::park_timeout(Duration::from_millis(20));
                    went = to.write_all(b"1");
                }
            }
        };
        let time = Duration::from_millis(400);
        for (what, first) in [
            ("a head", OK),
            (
                "a body of a length",
                b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n".as_slice(),
            ),
            ("a body until the end", b"HTTP/1.1 200 OK\r\n\r\n"),
            (
                "a chunk",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n",
            ),
        ] {
            let (body, _, took) = take(slowly(first), MOST, time);
            assert_eq!(body, Err("no answer in time".to_owned()), "{what}");
            assert!(took >= time && took < LONG, "{what}: {took:?}");
        }
    }

    #[test]
    fn what_comes_within_limit_and_time_is_taken_whole() {
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\nx: y\r\n\r\n";
        for answer in [
            b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nonetwo".as_slice(),
            chunked,
        ] {
            let hub = move |mut to: TcpStream| to.write_all(answer).expect("it listens");
            assert_eq!(take(hub, MOST, LONG).0, Ok(b"onetwo".to_vec()));
        }
    }

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
