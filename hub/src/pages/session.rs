//! Who a browser is: a session, known by a secret in a cookie that scripts cannot read and other sites cannot send.
//!
//! Before anybody has signed in, the cookie holds a secret that is no session: it only binds the form of the login page to
//! this browser. Signing in always makes a new secret, so that one which somebody else planted is worth nothing.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use jos_trust::sha256;
use jos_ui::form::Guard;

use super::live::Fragment;
use super::reply::Oops;
use crate::actor::Actor;
use crate::api::App;
use crate::fault::{Done, Fault};
use crate::hub::Hub;
use crate::random;
use crate::rights::{Asker, Deed, Known, Rights, lacking};
use crate::store::users::{self, Role, User};
use crate::store::{Stored, tenants};

/// `__Host-`: a browser takes it only over TLS, from this very host, for all of its paths.
const COOKIE: &str = "__Host-jos";
/// A session that nobody uses ends after so many seconds.
const IDLE: i64 = 8 * 3600;
/// And any session after so many.
const LONGEST: i64 = 7 * 86_400;
/// Its use is written down so often.
const NOTED: i64 = 60;

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    /// Who.
    pub(super) user: User,
    /// The tenants that they see, by name.
    pub(super) tenants: Vec<String>,
    /// The hash of their session's secret.
    pub(super) session: String,
    /// What their forms carry.
    guard: String,
    /// Whether an open page asks what has changed.
    pub(super) fragment: bool,
}

impl Visitor {
    /// What their forms carry.
    pub(super) fn guard(&self) -> Guard<'_> {
        Guard(&self.guard)
    }

    /// As the audit log names them.
    pub(super) fn actor(&self) -> Actor {
        Actor(format!("user:{}", self.user.name))
    }

    /// What they may do in a tenant; that they may do nothing there looks as if it were not there.
    pub(super) fn role(&self, tenant: &str) -> Done<Role> {
        let here = self.tenants.iter().any(|own| own == tenant);
        let role = here.then(|| self.user.role(tenant)).flatten();
        role.ok_or_else(|| Fault::not_found("there is no such page"))
    }

    /// Whether they may do this in a tenant; what is of the whole hub takes the role in every one.
    pub(super) fn needs(&self, tenant: &str, deed: Deed) -> Done<()> {
        let role = self.role(tenant)?;
        if deed.is_of_the_hub() {
            return self.asks(deed).map(drop);
        }
        if role >= deed.role() {
            return Ok(());
        }
        Err(lacking(deed.role(), tenant))
    }

    /// Whether they run the hub.
    pub(super) fn needs_everything(&self) -> Done<()> {
        self.asks(Deed::Run).map(drop)
    }

    /// Them, on their way to an operation of the API.
    pub(super) fn asks(&self, deed: Deed) -> Done<Asker> {
        let known = Known {
            actor: self.actor(),
            rights: Rights::of(&self.user.roles),
        };
        Asker::new(known, deed)
    }
}

impl FromRequestParts<App> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let fragment = parts.extensions.get::<Fragment>().is_some();
        match visitor(&app.hub, &parts.headers, fragment).await {
            Ok(Some(visitor)) => Ok(visitor),
            Ok(None) if fragment => Err(StatusCode::UNAUTHORIZED.into_response()),
            Ok(None) => Err(to_login(parts).into_response()),
            Err(fault) => Err(Oops(fault).into_response()),
        }
    }
}

fn to_login(parts: &Parts) -> Redirect {
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    if parts.method != "GET" || path == "/" {
        return Redirect::to("/login");
    }
    let next: String = form_urlencoded::byte_serialize(path.as_bytes()).collect();
    Redirect::to(&format!("/login?next={next}"))
}

async fn visitor(hub: &Hub, headers: &HeaderMap, fragment: bool) -> Done<Option<Visitor>> {
    let Some(secret) = secret(headers) else { return Ok(None) };
    let hash = sha256(secret.as_bytes()).to_string();
    let now = hub.clock.now();
    let mut conn = hub.store.read().await?;
    let Some(session) = users::session(&mut conn, &hash).await? else {
        return Ok(None);
    };
    if now - session.seen > IDLE || now - session.began > LONGEST {
        return Ok(None);
    }
    let Some(user) = users::get(&mut conn, &session.name).await? else {
        return Ok(None);
    };
    let all = tenants::list(&mut conn).await?.into_iter().map(|tenant| tenant.name);
    let tenants = all.filter(|tenant| user.role(tenant).is_some()).collect();
    drop(conn);
    // A page that is only open does not keep its session alive.
    if !fragment && now - session.seen >= NOTED {
        let mut tx = hub.store.write().await?;
        users::saw(&mut tx, &hash, now).await?;
        tx.commit().await?;
    }
    Ok(Some(Visitor {
        guard: hub.guard(secret),
        user,
        tenants,
        session: hash,
        fragment,
    }))
}

/// The secret in the cookie, whatever it is worth.
pub(super) fn secret(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers
        .get_all(header::COOKIE)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    let mut pairs = cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let (_, secret) = pairs.find(|(name, _)| *name == COOKIE)?;
    (secret.len() == 64 && secret.bytes().all(|b| b.is_ascii_hexdigit())).then_some(secret)
}

/// A new secret, and the header that hands it to the browser.
pub(super) fn fresh() -> (String, HeaderValue) {
    let secret = random::hex(32).to_string();
    let cookie = cookie(&secret, "");
    (secret, cookie)
}

/// The header that takes the secret away.
pub(super) fn forgotten() -> HeaderValue {
    cookie("", "; Max-Age=0")
}

fn cookie(secret: &str, more: &str) -> HeaderValue {
    let text = format!("{COOKIE}={secret}; Path=/; Secure; HttpOnly; SameSite=Strict{more}");
    HeaderValue::from_str(&text).expect("hex in plain words")
}

/// Begins a session, in the place of whatever the browser had.
pub(super) async fn begin(
    hub: &Hub,
    conn: &mut crate::store::Conn,
    name: &str,
    before: Option<&str>,
) -> Stored<HeaderValue> {
    let (secret, cookie) = fresh();
    let now = hub.clock.now();
    if let Some(before) = before {
        users::end(conn, &sha256(before.as_bytes()).to_string()).await?;
    }
    users::begin(conn, &sha256(secret.as_bytes()).to_string(), name, now, now - IDLE).await?;
    Ok(cookie)
}
