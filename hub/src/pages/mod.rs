//! The dashboard: what people see of the hub in a browser, on the listener of admins.
//!
//! Every page is made on the server from what the store holds; what it changes goes through the handlers of the API, so
//! that there is one way to every operation and one audit log. Who asks is a session (`session`), what they may do is a
//! role in the page's tenant, and each form carries its session's guard (`form`). A tenant that somebody has no role in
//! is, to them, not there.

mod account;
mod answers;
mod api_tokens;
mod audit;
mod device;
mod devices;
mod enrol;
mod fleet;
mod form;
mod history;
mod live;
mod login;
mod overview;
mod reply;
mod rollouts;
mod session;
mod standing;
mod states;
mod throttle;
mod tokens;
mod users;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};

use crate::api::App;
use crate::fault::Fault;
use reply::{Shown, tenant_path};
use session::Visitor;

/// What the pages keep in memory.
#[derive(Debug, Default)]
pub struct Dashboard {
    /// Who tried to sign in, and how often.
    throttle: throttle::Throttle,
    /// The fleets, as they were seen a moment ago.
    fleets: fleet::Fleets,
}

/// What a browser may do with a page. Everything comes from this hub, nothing is written into the page itself, and no other
/// site frames it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// All pages.
pub fn router(app: &App) -> Router<App> {
    Router::new()
        .route("/", get(home))
        .route("/account", get(account::show).post(account::change))
        .route("/users", get(users::show).post(users::add))
        .route("/users/{name}/{act}", post(users::change))
        .route("/audit", get(audit::whole))
        .route("/t/{tenant}", get(overview::show))
        .route("/t/{tenant}/devices", get(devices::show))
        .route("/t/{tenant}/devices/{id}", get(device::show))
        .route("/t/{tenant}/devices/{id}/{act}", post(device::change))
        .route("/t/{tenant}/states", get(states::list))
        .route("/t/{tenant}/states/{name}/{version}", get(states::show))
        .route("/t/{tenant}/states/{name}/{version}/retire", post(states::retire))
        .route("/t/{tenant}/rollouts", get(rollouts::list))
        .route("/t/{tenant}/rollouts/{id}", get(rollouts::show))
        .route("/t/{tenant}/rollouts/{id}/{act}", post(rollouts::change))
        .route("/t/{tenant}/tokens", get(tokens::show))
        .route("/t/{tenant}/tokens/{id}/revoke", post(tokens::revoke))
        .route("/t/{tenant}/api-tokens", get(api_tokens::show).post(api_tokens::make))
        .route("/t/{tenant}/api-tokens/{id}/revoke", post(api_tokens::revoke))
        .route("/t/{tenant}/enrol", get(enrol::show).post(enrol::make))
        .route("/t/{tenant}/audit", get(audit::of_tenant))
        .layer(middleware::from_fn_with_state(app.clone(), live::follow))
        .route("/login", get(login::show).post(login::sign_in))
        .route("/logout", post(login::sign_out))
        .route("/assets/{name}", get(asset))
        .layer(middleware::from_fn(guarded))
}

/// To the first tenant that is theirs.
async fn home(visitor: Visitor) -> Shown {
    match visitor.tenants.first() {
        Some(tenant) => Ok(Redirect::to(&tenant_path(tenant, "")).into_response()),
        None => Ok(account::nothing(&visitor)),
    }
}

async fn asset(State(_): State<App>, Path(name): Path<String>) -> Response {
    let Some(asset) = jos_ui::assets::find(&name) else {
        return Fault::not_found("there is no such file").into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.kind)),
        // Its name changes with its content.
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=31536000, immutable"),
        ),
    ];
    (headers, asset.content).into_response()
}

/// Sets what a browser may do with a reply.
async fn guarded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in [
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        (
            "permissions-policy",
            "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
