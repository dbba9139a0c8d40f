//! Signing in and out.

use axum::body::Body;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use jos_trust::sha256;
use jos_ui::form::{self as forms, Field, Guard};
use jos_ui::shell::{self, Page};
use jos_ui::{Markup, Tone, html, parts};
use serde::Deserialize;
use serde_json::Value;

use super::form;
use super::reply::{PRODUCT, Shown, html_of};
use super::session::{self, Visitor};
use crate::api::{App, Caller};
use crate::hub::Hub;
use crate::store::audit::{self, Act};
use crate::store::users as stored;
use crate::users;

/// Where to go afterwards.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
}

/// What went wrong, where something did.
type Said = Option<(Tone, String)>;

/// The page, or the way on for who is signed in.
pub(super) async fn show(
    State(app): State<App>,
    visitor: Result<Visitor, Response>,
    Query(next): Query<Next>,
    headers: HeaderMap,
) -> Shown {
    if visitor.is_ok() {
        return Ok(Redirect::to(own(&next.next)).into_response());
    }
    page(&app.hub, &headers, &next.next, "", StatusCode::OK, None).await
}

/// Takes a name and a password.
pub(super) async fn sign_in(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Shown {
    let hub = &app.hub;
    let secret = session::secret(&headers).unwrap_or_default();
    let fields = match form::read(&headers, body, &hub.guard(secret)).await {
        Ok(fields) => fields,
        Err(fault) if fault.status() == StatusCode::FORBIDDEN => {
            let said = "This page was open for too long, or the browser keeps no cookies. Please try again.".to_owned();
            return page(hub, &headers, "", "", StatusCode::FORBIDDEN, Some((Tone::Warn, said))).await;
        }
        Err(fault) => return Err(fault.into()),
    };
    let (name, next) = (fields.get("name"), fields.get("next"));
    let (from, now) = (caller.address.ip(), hub.clock.now());
    let throttle = &hub.dashboard.throttle;
    if let Err(seconds) = throttle.take(name, from, now) {
        tracing::warn!(from = from.to_string(), seconds, "signing in was tried too often");
        let said = format!("Too many tries. The next one is free in {}.", wait(seconds));
        let said = Some((Tone::Bad, said));
        let mut response = page(hub, &headers, next, name, StatusCode::TOO_MANY_REQUESTS, said).await?;
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        return Ok(response);
    }
    if !users::is_password(hub, name, fields.exact("password")).await? {
        // A name that nobody has may be a password in the wrong field.
        let known = stored::get(&mut *hub.store.read().await?, name)
            .await?
            .map(|user| user.name);
        tracing::warn!(
            user = known,
            from = from.to_string(),
            "a name and a password do not fit"
        );
        let said = Some((Tone::Bad, "The name and the password do not fit.".to_owned()));
        return page(hub, &headers, next, name, StatusCode::FORBIDDEN, said).await;
    }
    throttle.succeeded(name, from, now);
    let mut tx = hub.store.write().await?;
    let cookie = session::begin(hub, &mut tx, name, Some(secret)).await?;
    let act = Act {
        actor: &format!("user:{name}"),
        tenant: None,
        action: "user.sign-in",
        subject: name,
        detail: Value::Null,
    };
    audit::append(&mut tx, &act, now).await?;
    tx.commit().await?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(own(next))).into_response())
}

/// Ends the session.
pub(super) async fn sign_out(State(app): State<App>, visitor: Visitor, headers: HeaderMap, body: Body) -> Shown {
    form::read(&headers, body, visitor.guard().0).await?;
    let mut tx = app.hub.store.write().await?;
    stored::end(&mut tx, &visitor.session).await?;
    tx.commit().await?;
    Ok(([(header::SET_COOKIE, session::forgotten())], Redirect::to("/login")).into_response())
}

async fn page(hub: &Hub, headers: &HeaderMap, next: &str, name: &str, status: StatusCode, said: Said) -> Shown {
    let anybody = stored::any(&mut *hub.store.read().await?).await?;
    // A session that is over is no secret to go on with.
    let known = match session::secret(headers) {
        Some(secret) => {
            let hash = sha256(secret.as_bytes()).to_string();
            let over = stored::session(&mut *hub.store.read().await?, &hash).await?.is_some();
            (!over).then(|| secret.to_owned())
        }
        None => None,
    };
    let (secret, cookie) = match known {
        Some(secret) => (secret, None),
        None => {
            let (secret, cookie) = session::fresh();
            (secret, Some(cookie))
        }
    };
    let guard = hub.guard(&secret);
    let body = if anybody {
        fields(Guard(&guard), next, name)
    } else {
        nobody(hub)
    };
    let page = Page::new(if anybody { "Sign in" } else { "Welcome" }, body).saying(said);
    let mut response = html_of(status, shell::alone(PRODUCT, &page));
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

fn fields(guard: Guard<'_>, next: &str, name: &str) -> Markup {
    forms::form(
        "/login",
        guard,
        &html! {
            input type="hidden" name="next" value=(next);
            (forms::field(&Field { name: "name", label: "Name", value: name, autocomplete: "username", first: name.is_empty(), ..Field::default() }))
            (forms::field(&Field {
                name: "password", label: "Password", kind: "password", autocomplete: "current-password", first: !name.is_empty(),
                ..Field::default()
            }))
            button class="wide" { "Sign in" }
        },
    )
}

fn nobody(hub: &Hub) -> Markup {
    let command = format!("jos-hub user add NAME --role admin --data {}", hub.dir.path().display());
    html! {
        p { "This hub has no users yet. Add the first one on the hub's own machine; the command prints a password:" }
        (parts::copied("command", &command))
        p class="soft" { "Then load this page again." }
    }
}

/// A path of ours, or the first page: nobody is led elsewhere by a link to the login page.
fn own(path: &str) -> &str {
    let plain = path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if plain && path.starts_with('/') && !path.starts_with("//") && !path.starts_with("/login") {
        path
    } else {
        "/"
    }
}

fn wait(seconds: u32) -> String {
    if seconds < 120 {
        format!("{seconds} seconds")
    } else {
        format!("{} minutes", seconds.div_ceil(60))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_way_on_from_the_login_page_stays_on_this_hub() {
        for own in ["/t/default", "/t/default/devices?q=a%20b&page=2", "/"] {
            assert_eq!(super::own(own), own);
        }
        for other in [
            "",
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "javascript:alert(1)",
            "/a\nb",
            "/login",
        ] {
            assert_eq!(super::own(other), "/", "{other:?}");
        }
    }
}
