//! How pages are sent: inside the shell, alone where nobody is signed in or something is wrong, or bare to an open page.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jos_ui::shell::{self, Choice, Page, Place, Shell, Who};
use jos_ui::{Markup, Tone, html, parts};

use super::session::Visitor;
use crate::fault::{Done, Fault};
use crate::hub::Hub;
use crate::rights::Deed;
use crate::store::StoreError;
use crate::store::alarms;
use crate::store::users::Role;

/// What the pages call themselves.
pub(super) const PRODUCT: &str = "jos hub";

/// What a page comes to.
pub(super) type Shown = Result<Response, Oops>;

/// A fault, as a person sees it.
#[derive(Debug)]
pub(super) struct Oops(pub(super) Fault);

impl From<Fault> for Oops {
    fn from(fault: Fault) -> Self {
        Self(fault)
    }
}

impl From<StoreError> for Oops {
    fn from(error: StoreError) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Oops {
    fn into_response(self) -> Response {
        if let Some(cause) = self.0.cause() {
            tracing::error!(code = self.0.code(), cause, "a page failed");
        }
        let status = self.0.status();
        let title = match status {
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::FORBIDDEN => "Not allowed",
            status if status.is_server_error() => "Not now",
            _ => "Not done",
        };
        let body = html! {
            (parts::notice(if status.is_server_error() { Tone::Bad } else { Tone::Warn }, &words(&self.0)))
            p { a class="button second" href="/" { "To the fleet" } }
        };
        let mut response = html_of(status, shell::alone(PRODUCT, &Page::new(title, body)));
        if let Some(seconds) = self.0.retry_in() {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// What a fault says.
pub(super) fn words(fault: &Fault) -> Markup {
    let problem = fault.problem();
    html! { p { (sentence(&problem.message)) } @if let Some(help) = &problem.help { p { (sentence(help)) } } }
}

/// The same as one line for the top of a page.
pub(super) fn line(fault: &Fault) -> (Tone, String) {
    let problem = fault.problem();
    let help = problem
        .help
        .as_deref()
        .map(|help| format!(" ({help})"))
        .unwrap_or_default();
    (Tone::Bad, format!("{}{help}", problem.message))
}

/// A message as a sentence of its own.
fn sentence(message: &str) -> String {
    let mut signs = message.chars();
    let first = signs.next().map(char::to_uppercase).into_iter().flatten();
    first.chain(signs).chain(['.']).collect()
}

/// Markup as a reply.
pub(super) fn html_of(status: StatusCode, markup: Markup) -> Response {
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    (status, [(header::CONTENT_TYPE, kind)], markup.into_string()).into_response()
}

/// Where a page of a tenant is. Names of tenants need no escape.
pub(super) fn tenant_path(tenant: &str, below: &str) -> String {
    format!("/t/{tenant}{below}")
}

/// Where a page is: `here` is the name of its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'a> {
    /// The tenant; none for what is of the whole hub.
    pub(super) tenant: Option<&'a str>,
    /// The place.
    pub(super) here: &'static str,
}

/// A page, to somebody who is signed in.
pub(super) async fn show(hub: &Hub, visitor: &Visitor, at: At<'_>, page: &Page) -> Shown {
    sent(hub, visitor, at, page, StatusCode::OK).await
}

/// The same where something was asked that was not done; the page says why.
pub(super) async fn refused(hub: &Hub, visitor: &Visitor, at: At<'_>, page: &Page, fault: &Fault) -> Shown {
    if let Some(cause) = fault.cause() {
        tracing::error!(code = fault.code(), cause, "a page failed");
    }
    sent(hub, visitor, at, page, fault.status()).await
}

async fn sent(hub: &Hub, visitor: &Visitor, at: At<'_>, page: &Page, status: StatusCode) -> Shown {
    let tenant = at.tenant.or_else(|| visitor.tenants.first().map(String::as_str));
    let places = match tenant {
        Some(tenant) => places(hub, visitor, tenant, at.here).await?,
        None => Vec::new(),
    };
    let choice = |name: &String| Choice {
        name: name.clone(),
        path: tenant_path(name, ""),
        here: at.tenant == Some(name),
    };
    let choices: Vec<Choice> = visitor.tenants.iter().map(choice).collect();
    let role = at
        .tenant
        .map_or(visitor.user.everywhere(), |tenant| visitor.user.role(tenant));
    let shell = Shell {
        product: PRODUCT,
        home: "/",
        choices: &choices,
        places: &places,
        who: Some(Who {
            name: &visitor.user.name,
            role: role.map_or("", Role::word),
            account: "/account",
            sign_out: "/logout",
            guard: visitor.guard(),
        }),
    };
    let markup = if visitor.fragment {
        shell::fragment(&shell, page)
    } else {
        shell::document(&shell, page)
    };
    Ok(html_of(status, markup))
}

async fn places(hub: &Hub, visitor: &Visitor, tenant: &str, here: &str) -> Done<Vec<Place>> {
    let role = visitor.role(tenant)?;
    let open = alarms::open(&mut *hub.store.read().await?, tenant).await?;
    let mut places = Vec::new();
    let mut add = |name: &'static str, path: String, alert: u64| {
        places.push(Place {
            name,
            path,
            alert,
            here: name == here,
        });
    };
    add("Fleet", tenant_path(tenant, ""), open);
    add("Devices", tenant_path(tenant, "/devices"), 0);
    add("States", tenant_path(tenant, "/states"), 0);
    add("Rollouts", tenant_path(tenant, "/rollouts"), 0);
    if role >= Deed::Enrol.role() {
        add("Enrolment", tenant_path(tenant, "/tokens"), 0);
        add("Audit log", tenant_path(tenant, "/audit"), 0);
    }
    if role >= Deed::OwnTokens.role() {
        add("API tokens", tenant_path(tenant, "/api-tokens"), 0);
    }
    if visitor.user.everywhere() == Some(Role::Admin) {
        add("Users", "/users".to_owned(), 0);
    }
    Ok(places)
}
