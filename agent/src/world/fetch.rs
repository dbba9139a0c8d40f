//! Content by address: one GET over plain HTTP, or a folder of this machine.
//!
//! Believes nothing that the other side says and keeps nothing: pieces go to the plane, which counts and hashes them.
//! What this adds is time: an answer must begin soon, and then come at a minimum rate (an attacker who holds a device
//! in an endless download keeps it from every newer state). `https` waits for a TLS library; the plane refuses it by name.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jos_runtime::world::{Fetch, Offered};

use super::probe::{connect, parts};
use crate::run::blob::Blob;
use crate::run::line::Line;

/// Longest head of an answer (RFC 9112 sets no limit).
const HEAD: usize = 16 * 1024;

/// How long the other side may take.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    /// To take the connection, and then to begin its answer.
    pub(crate) begin: Duration,
    /// In each of these spans …
    pub(crate) span: Duration,
    /// … so many bytes must come, unless it was the last.
    pub(crate) least: u64,
}

impl Default for Patience {
    /// 1 KiB a second: slower than any network that a device of ours would be reached by.
    fn default() -> Self {
        Self {
            begin: Duration::from_secs(30),
            span: Duration::from_secs(30),
            least: 30 * 1024,
        }
    }
}

/// The network, and a folder that somebody at this machine offers.
#[derive(Default)]
pub(crate) struct Web {
    /// Files named by their SHA-256, or by anything: only their name is looked at here.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) patience: Patience,
    /// The hub, where there is one.
    pub(crate) line: Line,
}

impl Fetch for Web {
    fn offered(&self, sha256: &str, from: u64) -> Option<Offered> {
        self.in_folder(sha256, from).or_else(|| {
            let blob = Blob::open(&self.line, sha256, from)?;
            Some(Offered {
                place: "the hub".to_owned(),
                from,
                content: Box::new(blob),
            })
        })
    }

    fn fetch(&self, url: &str, size: u64, into: &mut dyn FnMut(&[u8]) -> Result<(), String>) -> Result<(), String> {
        if !url.starts_with("http://") {
            let scheme = url.split("://").next().unwrap_or_default();
            return Err(format!("this build cannot fetch {scheme}:// addresses"));
        }
        let (host, port, path) = parts(url).ok_or("not a URL of the form http://HOST[:PORT][/PATH]")?;
        let mut stream = connect(host.trim_matches(['[', ']']), port, self.patience.begin)?;
        let authority = if port == 80 {
            host.to_owned()
        } else {
            format!("{host}:{port}")
        };
        // HTTP/1.0: no chunks and no further answer, so that what follows the head is the content and nothing else.
        let request = format!(
            "GET {path} HTTP/1.0\r\nHost: {authority}\r\nUser-Agent: jos\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
        );
        let begun = Instant::now();
        stream.set_write_timeout(Some(self.patience.begin)).map_err(said)?;
        stream.write_all(request.as_bytes()).map_err(said)?;
        let (head, first) = head(&mut stream, begun + self.patience.begin)?;
        judge(&head, size)?;
        self.body(&mut stream, &first, into)
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["http"]
    }
}

impl Web {
    fn in_folder(&self, sha256: &str, from: u64) -> Option<Offered> {
        let path = self.folder.as_ref()?.join(sha256);
        // Not a FIFO that never ends, nor a link to one.
        let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
        let mut file = File::options().read(true).custom_flags(flags).open(&path).ok()?;
        let regular = file.metadata().is_ok_and(|m| m.is_file());
        if !regular || file.seek(SeekFrom::Start(from)).is_err() {
            return None;
        }
        Some(Offered {
            place: path.display().to_string(),
            from,
            content: Box::new(file),
        })
    }

    /// Hands the body over, as long as every span brings enough.
    fn body(
        &self,
        stream: &mut TcpStream,
        first: &[u8],
        into: &mut dyn FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        into(first)?;
        let slow = || {
            format!(
                "too slow: fewer than {} bytes in {} s",
                self.patience.least,
                self.patience.span.as_secs_f32()
            )
        };
        let mut piece = vec![0; 64 * 1024];
        let (mut end, mut came) = (Instant::now() + self.patience.span, 0_u64);
        loop {
            let now = Instant::now();
            if now >= end {
                if came < self.patience.least {
                    return Err(slow());
                }
                (end, came) = (now + self.patience.span, 0);
            }
            stream.set_read_timeout(Some(end - now)).map_err(said)?;
            match stream.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(n) => {
                    came += n as u64;
                    into(&piece[..n])?;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => crate::signals::leave_if_stopping(),
                // The span is over: the loop's head judges it.
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => return Err(said(e)),
            }
        }
    }
}

/// Reads to the empty line; what came after it is the beginning of the body.
fn head(stream: &mut TcpStream, until: Instant) -> Result<(String, Vec<u8>), String> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            let head = String::from_utf8(bytes).map_err(|_| "the head of the answer is not text")?;
            return Ok((head, rest));
        }
        if bytes.len() > HEAD {
            return Err(format!("the head of the answer is longer than {HEAD} bytes"));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("no answer in time".into());
        }
        stream.set_read_timeout(Some(left)).map_err(said)?;
        let mut piece = [0; 2048];
        match stream.read(&mut piece) {
            Ok(0) => return Err("the connection was closed before an answer".into()),
            Ok(n) => bytes.extend_from_slice(&piece[..n]),
            Err(e) if e.kind() == ErrorKind::Interrupted => crate::signals::leave_if_stopping(),
            Err(e) => return Err(said(e)),
        }
    }
}

/// Size first: what is announced as something else is not even read.
fn judge(head: &str, size: u64) -> Result<(), String> {
    let mut lines = head.split("\r\n");
    let status = lines.next().filter(|l| l.starts_with("HTTP/1."));
    let code: u16 = status
        .and_then(|l| l.get(9..12)?.parse().ok())
        .ok_or("the answer is not HTTP")?;
    if code != 200 {
        return Err(format!("it answered {code}, expected 200 (no redirect is followed)"));
    }
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") && value.parse() != Ok(size) {
            return Err(format!("it announces {value} bytes, the state names {size}"));
        }
        let coded = name.eq_ignore_ascii_case("transfer-encoding") || name.eq_ignore_ascii_case("content-encoding");
        if coded && !value.eq_ignore_ascii_case("identity") {
            return Err(format!("it answers in the coding {value}, which nobody asked for"));
        }
    }
    Ok(())
}

fn said(e: std::io::Error) -> String {
    match e.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => e.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// A server that answers one request with what `serve` writes, and its address.
    fn server(serve: impl FnOnce(&mut TcpStream) + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/blob", listener.local_addr().unwrap());
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let n = stream.read(&mut request).unwrap();
            assert!(request[..n].starts_with(b"GET /blob HTTP/1.0\r\n"));
            serve(&mut stream);
        });
        url
    }

    fn get(url: &str, size: u64, patience: Patience) -> Result<Vec<u8>, String> {
        let web = Web {
            patience,
            ..Web::default()
        };
        let mut all = Vec::new();
        web.fetch(url, size, &mut |piece| {
            all.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(all)
    }

    fn answer(with: &'static [u8], size: u64) -> Result<Vec<u8>, String> {
        let url = server(move |stream| drop(stream.write_all(with)));
        get(&url, size, Patience::default())
    }

    #[test]
    fn the_body_of_an_answer_comes_whole() {
        assert_eq!(
            answer(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 5),
            Ok(b"hello".to_vec())
        );
        assert_eq!(answer(b"HTTP/1.0 200 OK\r\n\r\nhello", 5), Ok(b"hello".to_vec()));
    }

    #[test]
    fn what_is_announced_as_another_size_is_not_read() {
        let error = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", 5).unwrap_err();
        assert_eq!(error, "it announces 99999999999 bytes, the state names 5");
        let error = answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello", 5).unwrap_err();
        assert!(error.contains("chunked"), "{error}");
    }

    #[test]
    fn an_error_page_or_a_redirect_is_no_content() {
        let error = answer(b"HTTP/1.1 404 Not Found\r\n\r\nhello", 5).unwrap_err();
        assert!(error.contains("answered 404"), "{error}");
        let error = answer(b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n", 5).unwrap_err();
        assert!(error.contains("no redirect"), "{error}");
        let error = answer(b"SSH-2.0-OpenSSH_9\r\n\r\n", 5).unwrap_err();
        assert!(error.contains("not HTTP"), "{error}");
    }

    #[test]
    fn slow_retrieval_is_given_up() {
        let (done, wait) = mpsc::channel::<()>();
        let url = server(move |stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nx");
            // Holds the connection open and says no more.
            let _ = wait.recv();
        });
        let patience = Patience {
            begin: Duration::from_secs(20),
            span: Duration::from_millis(200),
            least: 100,
        };
        let error = get(&url, 1000, patience).unwrap_err();
        assert!(error.contains("too slow: fewer than 100 bytes in 0.2 s"), "{error}");
        drop(done);
        // And one that never begins to answer.
        let (done, wait) = mpsc::channel::<()>();
        let url = server(move |_| {
            let _ = wait.recv();
        });
        let patience = Patience {
            begin: Duration::from_millis(200),
            ..patience
        };
        assert_eq!(get(&url, 1, patience).unwrap_err(), "no answer in time");
        drop(done);
    }

    #[test]
    fn an_endless_head_is_given_up() {
        let url = server(|stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
        });
        let error = get(&url, 5, Patience::default()).unwrap_err();
        assert!(error.contains("longer than"), "{error}");
    }

    #[test]
    fn a_folder_offers_regular_files_only() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("aa"), "content").unwrap();
        std::os::unix::fs::symlink("aa", dir.path().join("bb")).unwrap();
        nix::unistd::mkfifo(&dir.path().join("cc"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        let web = Web {
            folder: Some(dir.path().to_owned()),
            ..Web::default()
        };
        let mut text = String::new();
        web.offered("aa", 0).unwrap().content.read_to_string(&mut text).unwrap();
        let mut rest = web.offered("aa", 3).unwrap();
        rest.content.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), rest.from), ("contenttent", 3));
        for name in ["bb", "cc", "dd"] {
            assert!(web.offered(name, 0).is_none(), "{name}");
        }
    }
}
