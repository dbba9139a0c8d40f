//! One's own page: what one may do, and a new password.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jos_ui::form::{self as forms, Field};
use jos_ui::shell::{self, Page};
use jos_ui::{Tone, html, parts};

use super::form;
use super::reply::{self, At, PRODUCT, Shown, html_of};
use super::session::Visitor;
use crate::api::App;
use crate::fault::{Done, Fault};
use crate::store::users::EVERY_TENANT;
use crate::users;

const AT: At<'_> = At { tenant: None, here: "" };

/// The page.
pub(super) async fn show(State(app): State<App>, visitor: Visitor) -> Shown {
    reply::show(&app.hub, &visitor, AT, &page(&visitor, None)).await
}

/// Sets one's own password.
pub(super) async fn change(State(app): State<App>, visitor: Visitor, headers: HeaderMap, body: Body) -> Shown {
    let fields = form::read(&headers, body, visitor.guard().0).await?;
    match set(&app, &visitor, fields.exact("now"), fields.exact("new")).await {
        Ok(()) => {
            let said = "Your password is changed. Every other session of yours has ended.".to_owned();
            reply::show(&app.hub, &visitor, AT, &page(&visitor, Some((Tone::Good, said)))).await
        }
        Err(fault) => {
            reply::refused(
                &app.hub,
                &visitor,
                AT,
                &page(&visitor, Some(reply::line(&fault))),
                &fault,
            )
            .await
        }
    }
}

async fn set(app: &App, visitor: &Visitor, old: &str, new: &str) -> Done<()> {
    proved(app, visitor, old).await?;
    users::set_password(&app.hub, &visitor.actor(), &visitor.user.name, new, &visitor.session).await
}

/// That whoever sits there knows the password: what outlives the session takes more than an open browser.
pub(super) async fn proved(app: &App, visitor: &Visitor, password: &str) -> Done<()> {
    let name = &visitor.user.name;
    let hub = &app.hub;
    // Whoever finds an open browser guesses no faster than at the door.
    let from = std::net::IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED);
    hub.dashboard
        .throttle
        .take(name, from, hub.clock.now())
        .map_err(|seconds| {
            let fault = Fault::new(StatusCode::TOO_MANY_REQUESTS, "too-often", "too many wrong passwords");
            fault.retry_after(seconds)
        })?;
    if !users::is_password(hub, name, password).await? {
        return Err(Fault::forbidden("password", "your current password is another one"));
    }
    hub.dashboard.throttle.succeeded(name, from, hub.clock.now());
    Ok(())
}

fn page(visitor: &Visitor, said: Option<(Tone, String)>) -> Page {
    let roles: Vec<_> = visitor
        .user
        .roles
        .iter()
        .map(|(tenant, role)| {
            let tenant = if tenant == EVERY_TENANT {
                "every tenant"
            } else {
                tenant.as_str()
            };
            vec![html! { (tenant) }, html! { (role.word()) }]
        })
        .collect();
    let new = format!(
        "At least {} characters. Every other session of yours ends.",
        users::SHORTEST
    );
    let body = html! {
        div class="columns even" {
            (parts::card("New password", None, &forms::form("/account", visitor.guard(), &html! {
                input type="hidden" name="name" autocomplete="username" value=(visitor.user.name);
                (forms::field(&Field {
                    name: "now", label: "Current password", kind: "password", autocomplete: "current-password", ..Field::default()
                }))
                (forms::field(&Field {
                    name: "new", label: "New password", kind: "password", autocomplete: "new-password", hint: &new, ..Field::default()
                }))
                button { "Change it" }
            })))
            (parts::tight("What you may do", None, &parts::table(&["Tenant", "Role"], &roles, "Nothing yet.")))
        }
    };
    Page::new(visitor.user.name.as_str(), body).saying(said)
}

/// For somebody who has no role anywhere.
pub(super) fn nothing(visitor: &Visitor) -> Response {
    let command = format!("jos-hub user role {} viewer", visitor.user.name);
    let body = html! {
        p { "You are signed in as " strong { (visitor.user.name) } ", and have no role in any tenant. An admin gives you one:" }
        (parts::copied("command", &command))
        p { (forms::form("/logout", visitor.guard(), &html! { button class="second" { "Sign out" } })) }
    };
    html_of(
        StatusCode::OK,
        shell::alone(PRODUCT, &Page::new("Nothing here yet", body)),
    )
}
