//! One way to every operation: the REST API. Over the network with an API token, or, with `--data`, the same handlers in
//! this process, for whoever may read the data directory.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::runtime::Runtime;
use tower::ServiceExt;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsConfigBuilder};
use zeroize::Zeroizing;

use super::ui::Failure;
use crate::actor::{self, Actor};
use crate::api::{self, App};
use crate::api_token::ApiToken;
use crate::clock::Clock;
use crate::hub::{Hub, OpenError, Place};
use crate::rights::{Known, Rights};
use crate::store::Database;
use crate::{blob, ca, tls};
use jos_link::wire::Problem;

/// Replies longer than this are no replies of a hub.
const LONGEST: u64 = 1 << 30;

/// Which hub.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Where {
    /// The hub's data directory, on the hub's own machine
    #[arg(long, value_name = "DIR", global = true, conflicts_with = "url")]
    data: Option<PathBuf>,
    /// The hub's address for admins, from anywhere: https://HOST:PORT
    #[arg(long, value_name = "URL", global = true, requires = "token_file")]
    url: Option<String>,
    /// Where the hub's database is, if it is not in DIR: postgres://USER@HOST/NAME. JOS_HUB_DATABASE_URL says the same, and
    /// shows no password to those who list processes
    #[arg(long, value_name = "URL", global = true, conflicts_with = "url")]
    database: Option<String>,
    /// File with an API token, as `jos-hub api-token new` printed it
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
}

/// What goes in.
#[derive(Debug)]
pub(super) enum Sent<'a> {
    Nothing,
    Json(Value),
    Bytes(Vec<u8>),
    File(&'a Path),
}

/// The way to a hub.
pub(super) enum Door {
    Local {
        runtime: Runtime,
        router: axum::Router,
    },
    Remote {
        agent: ureq::Agent,
        url: String,
        bearer: Zeroizing<String>,
    },
}

impl Where {
    /// The data directory and the database, for what is done on the hub's machine alone.
    pub(super) fn place(&self, what: &str) -> Result<Place, Failure> {
        let data = self.data(what)?.to_owned();
        let database = self.database()?;
        Ok(Place { data, database })
    }

    /// The database where it is not in the data directory.
    fn database(&self) -> Result<Option<Database>, Failure> {
        let of_environment = || std::env::var("JOS_HUB_DATABASE_URL").ok().filter(|url| !url.is_empty());
        let url = self.database.clone().or_else(of_environment);
        url.map(|url| Database::of_url(&url))
            .transpose()
            .map_err(Failure::invalid)
    }

    fn data(&self, what: &str) -> Result<&Path, Failure> {
        self.data.as_deref().ok_or_else(|| {
            Failure::invalid(format!(
                "{what} is done on the hub's own machine, on its data directory"
            ))
            .help("--data DIR")
        })
    }

    /// Opens the way.
    pub(super) fn open(&self) -> Result<Door, Failure> {
        match (&self.data, &self.url, &self.token_file) {
            (Some(data), _, _) => local(&Place {
                data: data.clone(),
                database: self.database()?,
            }),
            (None, Some(url), Some(token)) => remote(url, token),
            _ => Err(Failure::invalid("which hub?").help(
                "--data DIR on the hub's own machine, or --url https://HOST:PORT --token-file FILE from anywhere",
            )),
        }
    }
}

/// A runtime for one command.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| Failure::failed(format!("cannot start: {error}")))
}

pub(super) fn failed_to_open(error: &OpenError) -> Failure {
    Failure::failed(error).maybe_help(error.help())
}

fn local(place: &Place) -> Result<Door, Failure> {
    let runtime = runtime()?;
    let hub: Arc<Hub> = runtime
        .block_on(Hub::open(place, Clock::default()))
        .map_err(|error| failed_to_open(&error))?;
    // Nothing here waits, so nothing has to be told of an end.
    let (_, ending) = tokio::sync::watch::channel(false);
    let app = App {
        hub,
        intake: None,
        lookups: None,
        ending,
    };
    Ok(Door::Local {
        runtime,
        router: api::local_router(app),
    })
}

fn remote(url: &str, token_file: &Path) -> Result<Door, Failure> {
    let line = std::fs::read_to_string(token_file).map(Zeroizing::new);
    let line = line.map_err(|error| Failure::failed(format!("{}: {error}", token_file.display())))?;
    let token: ApiToken = line
        .parse()
        .map_err(|error| Failure::invalid(format!("{}: {error}", token_file.display())))?;
    let url = url.trim_end_matches('/').to_owned();
    if !jos_link::token::is_address(&url) {
        return Err(Failure::invalid(format!(
            "--url: found {url:?}, expected \"https://HOST:PORT\""
        )));
    }
    // Nothing is believed of this connection, and no secret goes over it: it fetches what the fingerprint then proves.
    let stranger = agent(TlsConfig::builder().disable_verification(true));
    let pem = stranger
        .get(format!("{url}/api/v1/ca"))
        .call()
        .and_then(|mut reply| reply.body_mut().read_to_string());
    let pem = pem.map_err(|error| unreachable(&url, &error))?;
    // Of a hub whose CA was rotated, an earlier one is in the token; the hub's certificate leads back to it.
    let pem = ca::of_fingerprint(&pem, token.ca()).ok_or_else(|| {
        Failure::failed(format!(
            "{url} is not the hub that this token is for: it has another CA"
        ))
        .help("check the address; if the hub was made anew, take its new admin.token")
    })?;
    let ca =
        Certificate::from_pem(pem.as_bytes()).map_err(|error| Failure::failed(format!("the hub's CA: {error}")))?;
    Ok(Door::Remote {
        agent: agent(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[ca]))),
        url,
        bearer: Zeroizing::new(format!("Bearer {}", line.trim())),
    })
}

fn agent(tls: TlsConfigBuilder) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .tls_config(tls.unversioned_rustls_crypto_provider(tls::provider()).build())
        .https_only(true)
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_connect(Some(Duration::from_secs(20)))
        .build();
    config.into()
}

fn unreachable(url: &str, error: &ureq::Error) -> Failure {
    Failure::failed(format!("{url}: {error}"))
        .help("is `jos-hub serve` running, and is this its --admin-listen address?")
}

impl Door {
    /// Asks for one operation, and gives the bytes of its reply.
    pub(super) fn bytes(&self, method: &str, path: &str, sent: Sent<'_>) -> Result<Vec<u8>, Failure> {
        let (status, bytes) = match self {
            Self::Local { runtime, router } => runtime.block_on(asked(router, method, path, sent))?,
            Self::Remote { agent, url, bearer } => sent_to(agent, url, bearer, (method, path), sent)?,
        };
        if (200..300).contains(&status) {
            return Ok(bytes);
        }
        Err(refusal(&bytes))
    }

    /// Gets something as long as it may be, piece by piece.
    pub(super) fn pour(&self, path: &str, to: &mut impl Write) -> Result<(), Failure> {
        let broke_off = |error: &dyn std::fmt::Display| Failure::failed(format!("the reply broke off: {error}"));
        match self {
            Self::Local { runtime, router } => runtime.block_on(async {
                let mut reply = local_reply(router, "GET", path, Body::empty()).await?;
                if !reply.status().is_success() {
                    let bytes = reply.into_body().collect().await.map_err(|error| broke_off(&error))?;
                    return Err(refusal(&bytes.to_bytes()));
                }
                while let Some(frame) = reply.body_mut().frame().await {
                    let data = frame.map_err(|error| broke_off(&error))?.into_data();
                    if let Err(error) = to.write_all(&data.unwrap_or_default()) {
                        return quietly(Err(error));
                    }
                }
                Ok(())
            }),
            Self::Remote { agent, url, bearer } => {
                let reply = agent
                    .get(format!("{url}{path}"))
                    .header("authorization", &**bearer)
                    .call();
                let mut reply = reply.map_err(|error| unreachable(url, &error))?;
                if !reply.status().is_success() {
                    let bytes = reply.body_mut().read_to_vec().map_err(|error| broke_off(&error))?;
                    return Err(refusal(&bytes));
                }
                let copied = std::io::copy(&mut reply.body_mut().as_reader(), to);
                quietly(copied.map(drop))
            }
        }
    }

    /// The same where the reply is JSON; `null` where there is none.
    pub(super) fn json(&self, method: &str, path: &str, sent: Sent<'_>) -> Result<Value, Failure> {
        let bytes = self.bytes(method, path, sent)?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|error| Failure::failed(format!("the hub's reply is no JSON: {error}")))
    }
}

fn request() -> axum::http::request::Builder {
    // The one place where somebody is known without a token: whoever runs this can read the hub's keys anyway.
    Request::builder().extension(Known {
        actor: Actor(actor::local()),
        rights: Rights::all(),
    })
}

/// As the hub reads it: what was not given is left out.
fn said(mut value: Value) -> String {
    if let Value::Object(members) = &mut value {
        members.retain(|_, member| !member.is_null());
    }
    value.to_string()
}

async fn asked(router: &axum::Router, method: &str, path: &str, sent: Sent<'_>) -> Result<(u16, Vec<u8>), Failure> {
    let body = match sent {
        Sent::Nothing => Body::empty(),
        Sent::Json(value) => Body::from(said(value)),
        Sent::Bytes(bytes) => Body::from(bytes),
        Sent::File(path) => blob::of_file(opened(path)?),
    };
    let reply = local_reply(router, method, path, body).await?;
    let status = reply.status().as_u16();
    let bytes = reply.into_body().collect().await;
    let bytes = bytes.map_err(|error| Failure::failed(format!("the reply broke off: {error}")))?;
    Ok((status, bytes.to_bytes().to_vec()))
}

async fn local_reply(router: &axum::Router, method: &str, path: &str, body: Body) -> Result<Response, Failure> {
    let request = request().method(method).uri(path).body(body);
    let request = request.map_err(|error| Failure::invalid(format!("{path}: {error}")))?;
    let reply = router.clone().oneshot(request).await;
    Ok(reply.unwrap_or_else(|never| match never {}))
}

/// Whoever reads no further has read enough.
fn quietly(written: std::io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("the reply broke off: {error}")))
        }
        _ => Ok(()),
    }
}

/// What the hub said instead.
fn refusal(bytes: &[u8]) -> Failure {
    match serde_json::from_slice::<Problem>(bytes) {
        Ok(problem) => problem.into(),
        Err(_) => Failure::failed("the hub refused it without saying why"),
    }
}

fn sent_to(
    agent: &ureq::Agent,
    url: &str,
    bearer: &str,
    (method, path): (&str, &str),
    sent: Sent<'_>,
) -> Result<(u16, Vec<u8>), Failure> {
    let builder = ureq::http::Request::builder()
        .method(method)
        .uri(format!("{url}{path}"))
        .header("authorization", bearer);
    let invalid = |error: ureq::http::Error| Failure::invalid(format!("{path}: {error}"));
    let reply = match sent {
        Sent::Nothing => agent.run(builder.body(()).map_err(invalid)?),
        Sent::Json(value) => agent.run(builder.body(said(value)).map_err(invalid)?),
        Sent::Bytes(bytes) => agent.run(builder.body(bytes).map_err(invalid)?),
        Sent::File(path) => agent.run(builder.body(opened(path)?).map_err(invalid)?),
    };
    let mut reply = reply.map_err(|error| unreachable(url, &error))?;
    let mut bytes = Vec::new();
    let read = reply.body_mut().as_reader().take(LONGEST).read_to_end(&mut bytes);
    read.map_err(|error| Failure::failed(format!("{url}: the reply broke off: {error}")))?;
    Ok((reply.status().as_u16(), bytes))
}

fn opened(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
}

/// A text as one part of a path or a query.
pub(super) fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes()
        .map(|b| {
            if plain(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}
