//! A server of language models, as real as HTTP and TLS are: it speaks Ollama's own way and that of OpenAI, whole and streamed,
//! and behaves badly when it is told to.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

/// A question, as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The request's line and header fields.
    pub head: String,
    /// Its body.
    pub body: Value,
}

impl Asked {
    /// What the last message says.
    pub fn prompt(&self) -> &str {
        let messages = self.body["messages"].as_array();
        messages
            .and_then(|all| all.last()?["content"].as_str())
            .unwrap_or_default()
    }

    /// A header field of it, in lower case.
    pub fn field(&self, name: &str) -> Option<String> {
        let name = format!("{name}:");
        let line = self.head.lines().find(|line| line.to_lowercase().starts_with(&name))?;
        Some(line[name.len()..].trim().to_lowercase())
    }
}

/// What it does with one.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Says this, in the way it is asked to: as a whole, or in pieces.
    Says(String),
    /// Another status, with header fields and a body.
    Status(&'static str, String, String),
    /// Begins to say this, and closes the connection in the middle.
    Breaks(String),
    /// Begins to say this, and then nothing more until the other side has gone.
    Stalls(String),
}

/// A certificate and its key as files, and the one that signed it.
pub struct Pair {
    dir: tempfile::TempDir,
    config: Arc<ServerConfig>,
    /// The certificate, for another server.
    pub certificate_pem: String,
    /// Its key.
    pub key_pem: String,
}

impl Pair {
    /// For these names, by an authority of its own.
    pub fn of(names: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mut params = CertificateParams::default();
        // One authority is not taken for another because both have no name.
        let own_name = dir.path().display().to_string();
        params.distinguished_name.push(DnType::CommonName, own_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = params.self_signed(&key).expect("an authority");
        std::fs::write(dir.path().join("ca.pem"), authority.pem()).expect("written");
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let own = CertificateParams::new(names)
            .expect("names")
            .signed_by(&key, &issuer)
            .expect("a certificate");
        let (certificate_pem, key_pem) = (own.pem(), key.serialize_pem());
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![own.der().clone()], private)
            .expect("they fit");
        Self {
            dir,
            config: Arc::new(config),
            certificate_pem,
            key_pem,
        }
    }

    /// The authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }
}

/// The server. It is gone with this.
pub struct Server {
    address: SocketAddr,
    scheme: &'static str,
    asked: Arc<Mutex<Vec<Asked>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What it does with the so many-th question.
pub trait Behaves: Fn(usize, &Asked) -> Answer + Send + Sync + 'static {}
impl<F: Fn(usize, &Asked) -> Answer + Send + Sync + 'static> Behaves for F {}

impl Server {
    /// Over HTTP.
    pub fn http(behaves: impl Behaves) -> Self {
        Self::start(None, behaves)
    }

    /// Over TLS.
    pub fn https(pair: &Pair, behaves: impl Behaves) -> Self {
        Self::start(Some(Arc::clone(&pair.config)), behaves)
    }

    fn start(tls: Option<Arc<ServerConfig>>, behaves: impl Behaves) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (asked, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let behaves = Arc::new(behaves);
        let (all, stop) = (Arc::clone(&asked), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (tls, all, behaves) = (tls.clone(), Arc::clone(&all), Arc::clone(&behaves));
                // Each by itself: a stalled one holds up no other.
                std::thread::spawn(move || {
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
                    match tls {
                        None => serve(stream, &all, &*behaves),
                        Some(config) => {
                            let connection = ServerConnection::new(config).expect("a connection");
                            serve(StreamOwned::new(connection, stream), &all, &*behaves);
                        }
                    }
                });
            }
        });
        Self {
            address,
            scheme,
            asked,
            over,
            thread: Some(thread),
        }
    }

    /// `http://127.0.0.1:…`.
    pub fn url(&self) -> String {
        self.url_of("127.0.0.1")
    }

    /// The same by another name of this machine.
    pub fn url_of(&self, host: &str) -> String {
        format!("{}://{host}:{}", self.scheme, self.address.port())
    }

    /// All that it was asked.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(stream: impl Read + Write, all: &Mutex<Vec<Asked>>, behaves: &dyn Fn(usize, &Asked) -> Answer) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        // Also where the other side does not believe the certificate.
        if !reader.read_line(&mut head).is_ok_and(|n| n > 0) {
            return;
        }
    }
    let mut asked = Asked {
        head,
        body: Value::Null,
    };
    let length = asked.field("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    asked.body = serde_json::from_slice(&body).unwrap_or_default();
    let count = {
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(asked.clone());
        all.len()
    };
    let answer = behaves(count, &asked);
    // The other side may go at any time.
    let _ = say(&mut reader, &asked, &answer);
}

fn say<S: Read + Write>(reader: &mut BufReader<S>, asked: &Asked, answer: &Answer) -> std::io::Result<()> {
    let is_ollama = asked.head.starts_with("POST /api/chat ");
    let is_openai = asked.head.starts_with("POST /v1/chat/completions ");
    let (text, is_whole) = match answer {
        Answer::Status(status, fields, body) => {
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {length}\r\nConnection: close\r\n\r\n");
            return send(reader, &[head, body.clone()]);
        }
        Answer::Says(text) => (text, true),
        Answer::Breaks(text) | Answer::Stalls(text) => (text, false),
    };
    if !is_ollama && !is_openai {
        return send(reader, &["HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into()]);
    }
    if asked.body["stream"] == false {
        let body = if is_ollama {
            json!({ "message": { "role": "assistant", "content": text }, "done": true })
        } else {
            json!({ "choices": [{ "index": 0, "message": { "role": "assistant", "content": text } }] })
        };
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let said = if is_whole {
            body.as_str()
        } else {
            &body[..body.len() / 2]
        };
        send(reader, &[head, said.to_owned()])?;
    } else {
        send(
            reader,
            &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".into()],
        )?;
        let middle = text
            .char_indices()
            .nth(text.chars().count() / 2)
            .map_or(0, |(at, _)| at);
        let (one, other) = text.split_at(middle);
        let piece = |text: &str| {
            if is_ollama {
                format!("{}\n", json!({ "message": { "content": text }, "done": false }))
            } else {
                format!("data: {}\n\n", json!({ "choices": [{ "delta": { "content": text } }] }))
            }
        };
        send(reader, &[chunk(&piece(one))])?;
        if is_whole {
            let last = if is_ollama {
                "{\"message\":{\"content\":\"\"},\"done\":true}\n"
            } else {
                "data: [DONE]\n\n"
            };
            send(reader, &[chunk(&piece(other)), chunk(last), "0\r\n\r\n".into()])?;
        }
    }
    if matches!(answer, Answer::Stalls(_)) {
        let _ = reader.read(&mut [0]);
    }
    Ok(())
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn send<S: Read + Write>(reader: &mut BufReader<S>, parts: &[String]) -> std::io::Result<()> {
    for part in parts {
        reader.get_mut().write_all(part.as_bytes())?;
        reader.get_mut().flush()?;
    }
    Ok(())
}
