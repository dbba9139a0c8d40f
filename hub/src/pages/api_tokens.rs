//! API tokens, by which people's programs ask: who has which, and the way to one of one's own.
//!
//! One is made here by whoever is signed in, for themselves, and never by a token: a token that leaked makes no other.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect};
use jos_ui::form::{self as forms, Field};
use jos_ui::shell::Page;
use jos_ui::{Markup, Tone, html, parts, words};

use super::form::{self, Fields};
use super::reply::{self, At, Shown, tenant_path};
use super::session::Visitor;
use super::{account, users};
use crate::api::App;
use crate::api::admin::api_tokens::{self as api, DAY, Made, New};
use crate::fault::{Done, Fault};
use crate::rights::Deed;
use crate::store::api_tokens::{self, ApiTokenRow};
use crate::store::users::{self as stored, EVERY_TENANT};

/// The page.
pub(super) async fn show(State(app): State<App>, visitor: Visitor, Path(tenant): Path<String>) -> Shown {
    visitor.needs(&tenant, Deed::OwnTokens)?;
    let page = page(&app, &visitor, &tenant, None, None).await?;
    reply::show(&app.hub, &visitor, at(&tenant), &page).await
}

/// Makes one for whoever asks, and shows its line this once.
pub(super) async fn make(
    State(app): State<App>,
    visitor: Visitor,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Shown {
    let fields = form::read(&headers, body, visitor.guard().0).await?;
    visitor.needs(&tenant, Deed::OwnTokens)?;
    let made = async {
        let asker = visitor.asks(Deed::OwnTokens)?;
        let asked = asked(&fields, &visitor, &tenant)?;
        account::proved(&app, &visitor, fields.exact("password")).await?;
        api::make(&app.hub, &asker, asked).await
    };
    match made.await {
        Ok(made) => {
            let told = told(&made, &tenant, &address(&headers));
            let page = page(&app, &visitor, &tenant, Some(told), None).await?;
            reply::show(&app.hub, &visitor, at(&tenant), &page).await
        }
        Err(fault) => {
            let page = page(&app, &visitor, &tenant, None, Some(reply::line(&fault))).await?;
            reply::refused(&app.hub, &visitor, at(&tenant), &page, &fault).await
        }
    }
}

/// Revokes one.
pub(super) async fn revoke(
    State(app): State<App>,
    visitor: Visitor,
    Path((tenant, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Shown {
    form::read(&headers, body, visitor.guard().0).await?;
    visitor.needs(&tenant, Deed::OwnTokens)?;
    let known = known(&app, &visitor, &tenant).await?;
    let token = known.into_iter().find(|token| token.id == id);
    let token = token.ok_or_else(|| Fault::not_found("there is no such API token"))?;
    let deed = ended_by(&visitor, &tenant, &token);
    visitor.needs(&tenant, deed)?;
    let of = (token.tenant != EVERY_TENANT).then_some(token.tenant.as_str());
    api::end(&app.hub, &visitor.asks(deed)?, &id, of).await?;
    Ok(Redirect::to(&tenant_path(&tenant, "/api-tokens")).into_response())
}

fn at(tenant: &str) -> At<'_> {
    At {
        tenant: Some(tenant),
        here: "API tokens",
    }
}

/// Those that count in this tenant, as far as they are shown to the visitor: their own, and to whoever looks after the tenant
/// those of its people.
async fn known(app: &App, visitor: &Visitor, tenant: &str) -> Done<Vec<ApiTokenRow>> {
    let mut conn = app.hub.store.read().await?;
    let all = api_tokens::list(&mut conn).await?;
    let looks_after = visitor.needs(tenant, Deed::OthersTokens).is_ok();
    let people = if looks_after {
        stored::list(&mut conn).await?
    } else {
        Vec::new()
    };
    drop(conn);
    let is_of_here = |name: &str| {
        let mut here = people.iter().filter(|user| user.roles.contains_key(tenant));
        here.any(|user| user.name == name)
    };
    let runs = visitor.needs_everything().is_ok();
    let counts = all.into_iter().filter(|token| {
        let owner = token.user.as_deref();
        match token.tenant.as_str() {
            EVERY_TENANT => owner.is_some_and(|name| is_own(visitor, name) || is_of_here(name)) || runs,
            of => of == tenant && (looks_after || owner.is_some_and(|name| is_own(visitor, name))),
        }
    });
    Ok(counts.collect())
}

fn is_own(visitor: &Visitor, name: &str) -> bool {
    visitor.user.name == name
}

/// What it takes to revoke this one. One of another that counts in other tenants too is for who runs the hub.
fn ended_by(visitor: &Visitor, tenant: &str, token: &ApiTokenRow) -> Deed {
    if token.user.as_deref().is_some_and(|name| is_own(visitor, name)) {
        Deed::OwnTokens
    } else if token.tenant == tenant {
        Deed::OthersTokens
    } else {
        Deed::Run
    }
}

/// A token of whoever asks: nothing in the form names another.
fn asked(fields: &Fields, visitor: &Visitor, tenant: &str) -> Done<New> {
    let role = users::role(fields.get("role"))?;
    let days = fields.number("days", 90)?;
    Ok(New {
        user: visitor.user.name.clone(),
        role: role.ok_or_else(|| Fault::malformed("role: expected viewer, operator or admin"))?,
        tenant: (fields.get("where") != EVERY_TENANT).then(|| tenant.to_owned()),
        valid_for: Some(
            days.checked_mul(DAY)
                .ok_or_else(|| Fault::malformed("days: expected 3650 at most"))?,
        ),
        comment: fields.get("comment").to_owned(),
    })
}

/// Where this hub is, as whoever asks has found it. It stands in a command that somebody copies: nothing but an address.
fn address(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let address = host.map(|host| format!("https://{host}"));
    let address = address.filter(|address| jos_link::token::is_address(address));
    address.unwrap_or_else(|| "https://HOST:PORT".to_owned())
}

fn told(made: &Made, tenant: &str, address: &str) -> Markup {
    let file = format!("{}.token", made.token.id);
    let keep = format!("(umask 077; cat > {file})");
    let ask = format!("jos-hub device list --tenant {tenant} --url {address} --token-file {file}");
    html! {
        (parts::card("The new token", None, &html! {
            p { "It is not shown again. Whoever has this line may do what it may, under your name." }
            (parts::copied("line", &made.line))
            p { "Then, where your programs run:" }
            ol class="steps" {
                li {
                    h3 { "Keep it in a file that only you can read" }
                    p { "The command waits: paste the line, press Enter, then Ctrl-D." }
                    (parts::copied("keep", &keep))
                }
                li {
                    h3 { "Name the file to jos-hub" }
                    p { "This one lists the devices." }
                    (parts::copied("ask", &ask))
                    p { small { "The address is the one that you came by. A proxy in between has another certificate: there, name the hub's own." } }
                }
            }
        }))
    }
}

async fn page(
    app: &App,
    visitor: &Visitor,
    tenant: &str,
    made: Option<Markup>,
    said: Option<(Tone, String)>,
) -> Done<Page> {
    let now = app.hub.clock.now();
    let known = known(app, visitor, tenant).await?;
    let rows: Vec<Vec<Markup>> = known.iter().map(|token| row(token, visitor, tenant, now)).collect();
    let none =
        "None yet. A token lets a script of yours ask this hub without your password: for nightly pushes, for reports.";
    let head = ["Token", "Whose", "May", "Standing", "Ends", "Made", "Revoke"];
    let body = html! {
        @if let Some(made) = made { (made) }
        (parts::tight("Tokens", Some("tokens"), &parts::table(&head, &rows, none)))
        div class="columns even" {
            (parts::card("A token of your own", None, &html! {
                p { "For " code { "jos-hub" } " on another machine, or a script. It may do what its role says and never more than you may; what is done with it stands in the audit log under your name." }
                (asking(visitor, tenant)?)
            }))
        }
    };
    Ok(Page::new("API tokens", body).saying(said).live())
}

fn asking(visitor: &Visitor, tenant: &str) -> Done<Markup> {
    let most = visitor.role(tenant)?;
    let may = users::ROLES.into_iter();
    let may: Vec<_> = may
        .filter(|(word, _)| users::role(word).is_ok_and(|role| role <= Some(most)))
        .collect();
    let here = format!("In {tenant}");
    let places = [(tenant, here.as_str()), (EVERY_TENANT, "In every tenant of yours")];
    Ok(forms::form(
        &tenant_path(tenant, "/api-tokens"),
        visitor.guard(),
        &html! {
            div class="line" {
                (forms::select("role", "Role", &may, "viewer"))
                (forms::field(&Field { name: "days", label: "Good for days", kind: "number", value: "90", ..Field::default() }))
            }
            p {}
            @if visitor.tenants.len() > 1 { (forms::select("where", "Where", &places, tenant)) }
            (forms::field(&Field { name: "comment", label: "Name", hint: "For people: where it lies, what it is for.", optional: true, ..Field::default() }))
            input type="hidden" autocomplete="username" value=(visitor.user.name);
            (forms::field(&Field {
                name: "password", label: "Your password", kind: "password", autocomplete: "current-password",
                hint: "A token outlives this session; an open browser alone makes none.", ..Field::default()
            }))
            button { "Make a token" }
        },
    ))
}

fn row(token: &ApiTokenRow, visitor: &Visitor, tenant: &str, now: i64) -> Vec<Markup> {
    let (tone, standing) = match token.expires {
        _ if token.revoked.is_some() => (Tone::Quiet, "revoked"),
        Some(end) if end <= now => (Tone::Quiet, "over"),
        _ => (Tone::Good, "good"),
    };
    let own = token.user.as_deref().is_some_and(|name| is_own(visitor, name));
    let path = tenant_path(tenant, &format!("/api-tokens/{}/revoke", token.id));
    let may = visitor.needs(tenant, ended_by(visitor, tenant, token)).is_ok();
    vec![
        html! { @if token.comment.is_empty() { span class="id" { (token.id) } } @else { (token.comment) span class="sub id" { (token.id) } } },
        html! {
            @match &token.user { Some(user) => { (user) }, None => { span class="soft" { "the hub's own" } } }
            @if own { span class="sub" { "you" } }
        },
        html! { (token.role.word()) span class="sub" { @if token.tenant == EVERY_TENANT { "in every tenant" } @else { "in " (token.tenant) } } },
        html! { (parts::badge(tone, standing)) },
        html! { @match token.expires { Some(end) => { (words::moment(end, now)) }, None => { span class="soft" { "never" } } } },
        html! { (words::moment(token.created, now)) span class="sub" { "by " (token.created_by) } },
        html! {
            @if standing == "good" {
                @if may { (forms::form(&path, visitor.guard(), &html! { button class="danger small" { "Revoke" } })) }
                @else { span class="soft" { "an admin of every tenant" } }
            }
        },
    ]
}
