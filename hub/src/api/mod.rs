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

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};

use crate::actor::Actor;
use crate::api_token::ApiToken;
use crate::ca::Peer;
use crate::fault::{Done, Fault};
use crate::hub::Hub;
use crate::intake::Intake;
use crate::lookups::Lookups;
use crate::metrics::count;
use crate::pages;
use crate::rights::{Known, Rights};
use crate::store::{api_tokens, users};
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
        .filter(|operation| matches!(operation.whose, For::By(_)));
    dressed(routes(operations), app)
}

fn routes(operations: impl IntoIterator<Item = Operation>) -> Router<App> {
    operations.into_iter().fold(Router::new(), |router, operation| {
        let handler = match operation.whose {
            For::By(deed) => operation.handler.route_layer(Extension(deed)),
            For::Devices | For::All => operation.handler,
        };
        router.route(operation.path, handler)
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

/// An API token says who asks and what they may do; nothing else in a request does.
async fn authenticate(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .and_then(|line| line.parse::<ApiToken>().ok());
    let has_body = request.method() != Method::GET;
    let mut response = match known(&app, token).await {
        Ok(known) => {
            request.extensions_mut().insert(known);
            next.run(request).await
        }
        Err(fault) => fault.into_response(),
    };
    let status = response.status();
    if status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    }
    if status.is_client_error() && has_body {
        // Whoever is refused before their body was read is told that nothing more is read here.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// Whose token it is, and what they may do by it now: what was taken from its user was taken from the token.
async fn known(app: &App, token: Option<ApiToken>) -> Done<Known> {
    let refused = |code: &str, message: &str| Fault::new(StatusCode::UNAUTHORIZED, code, message);
    let unknown = || {
        refused("no-api-token", "the API token is missing or not known")
            .help("send `Authorization: Bearer TOKEN`, with the line that `jos-hub api-token new` gave")
    };
    let token = token.ok_or_else(unknown)?;
    let mut conn = app.hub.store.read().await?;
    let row = api_tokens::by_secret(&mut conn, &token.hash()).await?;
    let row = row.ok_or_else(unknown)?;
    if row.revoked.is_some() {
        return Err(refused("api-token-revoked", "this API token was revoked"));
    }
    if row.expires.is_some_and(|end| end <= app.hub.clock.now()) {
        return Err(refused("api-token-over", "the time of this API token is over")
            .help("`jos-hub api-token new` makes the next one"));
    }
    let rights = match &row.user {
        None => Rights::all(),
        Some(name) => users::get(&mut conn, name)
            .await?
            .map(|user| Rights::of(&user.roles))
            .unwrap_or_default(),
    };
    Ok(Known {
        actor: Actor::of_token(&row.id, row.user.as_deref()),
        rights: rights.at_most(row.role, &row.tenant),
    })
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
