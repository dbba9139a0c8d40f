//! Health probes: a TCP connection, or one GET over plain HTTP/1.1.
//!
//! Reads a status line and nothing more. `https` needs a TLS library, which this build does not carry for a probe; the
//! gate refuses such a check by name.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use jos_runtime::world::Probe;

/// The real network.
pub(crate) struct Tcp;

impl Probe for Tcp {
    fn tcp(&self, host: &str, port: u16, timeout: Duration) -> Result<(), String> {
        connect(host, port, timeout).map(drop)
    }

    fn http(&self, url: &str, timeout: Duration) -> Result<u16, String> {
        let deadline = Instant::now() + timeout;
        let (host, port, path) = parts(url).ok_or("not a URL of the form http://HOST[:PORT][/PATH]")?;
        let mut stream = connect(host.trim_matches(['[', ']']), port, timeout)?;
        let authority = if port == 80 {
            host.to_owned()
        } else {
            format!("{host}:{port}")
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: jos\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        let left = || {
            deadline
                .checked_duration_since(Instant::now())
                .filter(|d| !d.is_zero())
                .ok_or("no answer in time")
        };
        let said = |e: std::io::Error| match e.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer in time".to_owned(),
            _ => e.to_string(),
        };
        stream.set_write_timeout(Some(left()?)).map_err(said)?;
        stream.write_all(request.as_bytes()).map_err(said)?;
        // `HTTP/1.1 200`: RFC 9112 §4. What follows is not read, however much it is.
        let mut line = Vec::new();
        while line.len() < 12 {
            stream.set_read_timeout(Some(left()?)).map_err(said)?;
            let mut buffer = [0; 12];
            match stream.read(&mut buffer[..12 - line.len()]).map_err(said)? {
                0 => return Err("the connection was closed before an answer".into()),
                n => line.extend_from_slice(&buffer[..n]),
            }
        }
        let text = std::str::from_utf8(&line).ok().filter(|t| t.starts_with("HTTP/1."));
        text.and_then(|t| t.get(9..12)?.parse().ok())
            .ok_or_else(|| "the answer is not HTTP".into())
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["http"]
    }
}

pub(super) fn connect(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, String> {
    let addresses = (host, port).to_socket_addrs().map_err(|e| format!("{host}: {e}"))?;
    let mut last = format!("{host}: no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(e) => last = format!("{address}: {e}"),
        }
    }
    Err(last)
}

/// Host, port and path of an `http` URL (RFC 3986); user information is refused.
pub(super) fn parts(url: &str) -> Option<(&str, u16, String)> {
    let rest = url.strip_prefix("http://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = path.split('#').next().unwrap_or_default();
    if authority.contains('@') || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return None;
    }
    let (host, port) = match authority.rfind(':').filter(|at| !authority[*at..].contains(']')) {
        Some(at) => (&authority[..at], authority[at + 1..].parse().ok()?),
        None => (authority, 80),
    };
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    (!host.is_empty()).then_some((host, port, path))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    const SHORT: Duration = Duration::from_secs(5);

    fn answer(with: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/health?x=1", listener.local_addr().unwrap());
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let n = stream.read(&mut request).unwrap();
            assert!(request[..n].starts_with(b"GET /health?x=1 HTTP/1.1\r\nHost: 127.0.0.1:"));
            let _ = stream.write_all(with);
        });
        url
    }

    #[test]
    fn the_status_of_an_answer_is_read() {
        assert_eq!(Tcp.http(&answer(b"HTTP/1.1 204 No Content\r\n\r\n"), SHORT), Ok(204));
        assert_eq!(Tcp.http(&answer(b"HTTP/1.0 503 x\r\n\r\n"), SHORT), Ok(503));
        assert!(
            Tcp.http(&answer(b"SSH-2.0-OpenSSH_9\r\n"), SHORT)
                .unwrap_err()
                .contains("not HTTP")
        );
        assert!(Tcp.http(&answer(b"HTTP"), SHORT).unwrap_err().contains("closed"));
    }

    #[test]
    fn a_server_that_says_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        assert!(
            Tcp.http(&url, Duration::from_millis(100))
                .unwrap_err()
                .contains("in time")
        );
    }

    #[test]
    fn a_url_is_taken_apart_or_refused() {
        assert_eq!(parts("http://h"), Some(("h", 80, "/".into())));
        assert_eq!(parts("http://[::1]:8080?q"), Some(("[::1]", 8080, "/?q".into())));
        assert_eq!(parts("http://u@h/"), None);
        assert_eq!(parts("http://h/a b"), None);
        assert_eq!(parts("ftp://h/"), None);
    }
}
