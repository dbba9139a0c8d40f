//! One kept connection: TLS 1.3 with the device's certificate, HTTP/1.1 over it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderMap};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::word::Word;
use crate::tls;

/// For a connection to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// How devices reach the hub.
#[derive(Debug)]
pub(super) struct Connector {
    /// Where it is.
    pub(super) hub: SocketAddr,
    /// As whom its certificate has to name it.
    pub(super) name: ServerName<'static>,
    /// As requests name it.
    pub(super) host: String,
    /// Its CA.
    pub(super) roots: Arc<RootCertStore>,
    /// Addresses to call from; empty leaves it to the system.
    pub(super) from: Vec<IpAddr>,
}

/// Why something did not come about, in a word that can be counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Trouble(pub(super) String);

impl Trouble {
    fn of(what: &str, error: &dyn std::fmt::Display) -> Self {
        Self(format!("{what}: {error}"))
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A connection that is up.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
    host: String,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What a device shows.
pub(super) type Own = (CertificateDer<'static>, PrivateKeyDer<'static>);

impl Connector {
    /// TLS for a device with this certificate, or for a stranger. `word` is the CA that it has by its admins' word, which
    /// it believes beside the one of its token, and alone once that has signed its own certificate.
    pub(super) fn tls(&self, own: Option<Own>, word: Option<&Word>) -> Result<Arc<ClientConfig>, Trouble> {
        let failed = |error: rustls::Error| Trouble::of("tls", &error);
        let builder = ClientConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(failed)?
            .with_root_certificates(match word {
                None => self.roots.clone(),
                Some(word) => {
                    let alone = own.as_ref().is_some_and(|(certificate, _)| word.signed(certificate));
                    let mut roots = if alone {
                        RootCertStore::empty()
                    } else {
                        RootCertStore::clone(&self.roots)
                    };
                    roots.add(word.ca.clone()).map_err(failed)?;
                    Arc::new(roots)
                }
            });
        let mut config = match own {
            Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).map_err(failed)?,
            None => builder.with_no_client_auth(),
        };
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config))
    }

    /// Connects the device of this number.
    pub(super) async fn connect(&self, number: usize, tls: Arc<ClientConfig>) -> Result<Connection, Trouble> {
        let connected = async {
            let socket = if self.hub.is_ipv4() {
                TcpSocket::new_v4()
            } else {
                TcpSocket::new_v6()
            }?;
            if let Some(from) = self.from.get(number % self.from.len().max(1)) {
                socket.bind(SocketAddr::new(*from, 0))?;
            }
            let stream = socket.connect(self.hub).await?;
            stream.set_nodelay(true)?;
            TlsConnector::from(tls).connect(self.name.clone(), stream).await
        };
        let failed = |error: io::Error| Trouble::of("connect", &error.kind());
        let stream = timeout(PATIENCE, connected)
            .await
            .map_err(|_| Trouble("connect: timed out".to_owned()))?
            .map_err(failed)?;
        let mut http = http1::Builder::new();
        http.max_buf_size(16 << 10);
        let (sender, connection) = http
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Trouble::of("http", &error))?;
        let driver = tokio::spawn(async move {
            // What went wrong, the request says that it went wrong for.
            let _ = connection.await;
        });
        Ok(Connection {
            sender,
            driver,
            host: self.host.clone(),
        })
    }
}

impl Connection {
    /// Asks, and waits for the whole reply.
    pub(super) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        tag: Option<&str>,
        body: Option<Vec<u8>>,
        patience: Duration,
    ) -> Result<Reply, Trouble> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.host);
        if let Some(tag) = tag {
            request = request.header(hyper::header::IF_NONE_MATCH, tag);
        }
        let request = request.body(Full::new(Bytes::from(body.unwrap_or_default())));
        let request = request.map_err(|error| Trouble::of("request", &error))?;
        let asked = async {
            self.sender.ready().await?;
            let reply = self.sender.send_request(request).await?;
            let (head, body) = reply.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok::<_, hyper::Error>(Reply {
                status: head.status,
                headers: head.headers,
                body,
            })
        };
        timeout(patience, asked)
            .await
            .map_err(|_| Trouble("request: timed out".to_owned()))?
            .map_err(|error| Trouble::of("request", &error))
    }
}
