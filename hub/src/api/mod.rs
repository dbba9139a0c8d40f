//! What the hub answers over HTTP: one table of operations, from which the router and the OpenAPI document are made.

pub mod admin;
pub mod body;
pub mod device;
mod openapi;
pub mod operations;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

use crate::actor::Actor;
use crate::ca::Peer;
use crate::fault::Fault;
use crate::hub::Hub;
use crate::intake::Intake;
use crate::lookups::Lookups;
use crate::metrics::count;
use crate::pages;
use operations::{For, Operation};

/// What handlers reach.
#[derive(Clone, Debug)]
pub struct App {
    /// The hub.
    pub hub: Arc<Hub>,
    /// Where heartbeats and reports go; a command on the data directory takes none.
    pub intake: Option<Intake>,
    /// Where callers are looked up; likewise.
    pub lookups: Option<Lookups>,
    /// Becomes true when the hub is told to end: who waits is answered.
    pub ending: tokio::sync::watch::Receiver<bool>,
}

/// Who is at the other end, set by whoever accepted the connection.
#[derive(Clone, Debug)]
pub struct Caller {
    /// By the client certificate that TLS verified.
    pub peer: Option<Peer>,
    /// From where.
    pub address: SocketAddr,
}

/// A handler ran that waits on purpose; its time says nothing of the hub.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waited;

/// What devices reach.
pub fn device_router(app: App) -> Router {
    let operations = operations::all()
        .into_iter()
        .filter(|operation| operation.whose == For::Devices);
    dressed(routes(operations), app)
}

/// What admins and monitoring reach over the network: an API token, or one of the few open paths.
pub fn admin_router(app: App) -> Router {
    let (open, guarded): (Vec<_>, Vec<_>) = operations::all()
        .into_iter()
        .filter(|operation| operation.whose != For::Devices)
        .partition(|operation| operation.whose == For::All);
    let guarded = routes(guarded).layer(middleware::from_fn_with_state(app.clone(), authenticate));
    dressed(routes(open).merge(guarded).merge(pages::router(&app)), app)
}

/// The admin's operations for whoever may read the data directory; never behind a listener.
pub fn local_router(app: App) -> Router {
    let operations = operations::all()
        .into_iter()
        .filter(|operation| operation.whose == For::Admins);
    dressed(routes(operations), app)
}

fn routes(operations: impl IntoIterator<Item = Operation>) -> Router<App> {
    operations.into_iter().fold(Router::new(), |router, operation| {
        router.route(operation.path, operation.handler)
    })
}

fn dressed(router: Router<App>, app: App) -> Router {
    router
        .fallback(async || Fault::not_found("there is no such path; /api/v1/openapi.json lists them"))
        .method_not_allowed_fallback(async || {
            Fault::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method",
                "this path does not take this method",
            )
        })
        .layer(middleware::from_fn_with_state(app.clone(), observe))
        .with_state(app)
}

/// An API token makes an actor; nothing else in a request does.
async fn authenticate(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .and_then(|line| line.parse::<crate::api_token::ApiToken>().ok());
    let actor = async {
        let mut conn = app.hub.store.read().await?;
        match token {
            Some(token) => crate::store::tenants::api_token(&mut conn, &token.hash()).await,
            None => Ok(None),
        }
    };
    match actor.await {
        Ok(Some(id)) => {
            request.extensions_mut().insert(Actor(format!("token:{id}")));
            next.run(request).await
        }
        Ok(None) => {
            let fault = Fault::new(
                StatusCode::UNAUTHORIZED,
                "no-api-token",
                "the API token is missing or not known",
            )
            .help("send `Authorization: Bearer TOKEN`, with the line that `jos-hub init` wrote to admin.token");
            let mut response = fault.into_response();
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
            response
        }
        Err(error) => Fault::from(error).into_response(),
    }
}

/// Counts and logs each request, and sets the headers that every reply has.
async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let from = request
        .extensions()
        .get::<Caller>()
        .map(|caller| caller.address.to_string());
    let mut response = in_one_shape(next.run(request).await).await;
    let metrics = &app.hub.metrics;
    count(&metrics.requests);
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        metrics.refused.fetch_add(1, Ordering::Relaxed);
    }
    if response.extensions().get::<Waited>().is_none() {
        metrics.took(began.elapsed());
    }
    let headers = response.headers_mut();
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    tracing::debug!(
        %method,
        path,
        from,
        status = status.as_u16(),
        millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        "request"
    );
    response
}

/// What the router itself refuses (a number that is none, an unknown parameter) comes as text; it leaves as a problem.
async fn in_one_shape(response: Response) -> Response {
    const LONGEST: usize = 4096;
    let kind = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let status = response.status();
    if !status.is_client_error() || !kind.is_some_and(|kind| kind.starts_with("text/plain")) {
        return response;
    }
    let text = axum::body::to_bytes(response.into_body(), LONGEST)
        .await
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    Fault::new(status, jos_link::wire::code::MALFORMED, text.trim()).into_response()
}
