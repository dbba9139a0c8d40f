//! The way of a device into the fleet: a token by one click, the command to type, and the page that sees it come.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use jos_ui::form::{self as forms, Field};
use jos_ui::shell::Page;
use jos_ui::{Markup, Tone, html, parts, words};
use serde::Deserialize;
use serde_json::json;

use super::form::{self, Fields};
use super::overview::{device_path, escaped};
use super::reply::{self, At, Shown, tenant_path};
use super::session::Visitor;
use crate::api::App;
use crate::api::admin::tokens as api;
use crate::fault::{Done, Fault};
use crate::rights::Deed;
use crate::store::{glances, states, trusts};

const DAY: u32 = 86_400;

/// Which token is waited for.
#[derive(Debug, Deserialize)]
pub(super) struct Waiting {
    token: Option<String>,
}

/// The form; or, to an open page, what has become of a token.
pub(super) async fn show(
    State(app): State<App>,
    visitor: Visitor,
    Path(tenant): Path<String>,
    Query(waiting): Query<Waiting>,
) -> Shown {
    visitor.needs(&tenant, Deed::Enrol)?;
    let page = match waiting.token {
        Some(token) => Page::new("Enrol a device", come(&app, &tenant, &token).await?),
        None => asking(&visitor, &tenant, None),
    };
    reply::show(&app.hub, &visitor, at(&tenant), &page).await
}

/// Makes a token, and shows what to do with it.
pub(super) async fn make(
    State(app): State<App>,
    visitor: Visitor,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Shown {
    let fields = form::read(&headers, body, visitor.guard().0).await?;
    visitor.needs(&tenant, Deed::Enrol)?;
    let made = async {
        let asked = asked(&fields, &tenant)?;
        let asker = visitor.asks(Deed::Enrol)?;
        Ok::<_, Fault>(
            api::new(State(app.clone()), asker, Body::from(asked.to_string()))
                .await?
                .0,
        )
    };
    match made.await {
        Ok(made) => {
            let page = told(&app, &tenant, &made).await?;
            reply::show(&app.hub, &visitor, at(&tenant), &page).await
        }
        Err(fault) => {
            let page = asking(&visitor, &tenant, Some(reply::line(&fault)));
            reply::refused(&app.hub, &visitor, at(&tenant), &page, &fault).await
        }
    }
}

fn at(tenant: &str) -> At<'_> {
    At {
        tenant: Some(tenant),
        here: "Enrolment",
    }
}

fn asked(fields: &Fields, tenant: &str) -> Done<serde_json::Value> {
    let mut labels = BTreeMap::new();
    for word in fields.get("labels").split_whitespace() {
        let (key, value) = word.split_once('=').ok_or_else(|| {
            Fault::malformed(format!(
                "found the label {word:?}, expected KEY=VALUE, with spaces between labels"
            ))
        })?;
        labels.insert(key.to_owned(), value.to_owned());
    }
    let days = fields.number("days", 1)?;
    let seconds = days
        .checked_mul(DAY)
        .ok_or_else(|| Fault::malformed("days: expected 3650 at most"))?;
    Ok(json!({
        "tenant": tenant, "labels": labels, "uses": fields.number("uses", 1)?, "valid_for": seconds,
        "comment": fields.get("comment"),
    }))
}

fn asking(visitor: &Visitor, tenant: &str, said: Option<(Tone, String)>) -> Page {
    let form = forms::form(
        &tenant_path(tenant, "/enrol"),
        visitor.guard(),
        &html! {
            div class="line" {
                (forms::field(&Field { name: "uses", label: "For how many devices", kind: "number", value: "1", ..Field::default() }))
                (forms::field(&Field { name: "days", label: "Good for days", kind: "number", value: "1", ..Field::default() }))
            }
            p {}
            (forms::field(&Field { name: "labels", label: "Labels", optional: true, hint: "KEY=VALUE, with spaces between them. Labels choose the states that a device gets.", ..Field::default() }))
            (forms::field(&Field { name: "comment", label: "Comment", optional: true, hint: "For people: which batch, which van.", ..Field::default() }))
            button { "Make a token" }
        },
    );
    let body = html! {
        div class="columns even" {
            (parts::card("A token", None, &html! {
                p { "A token is one line that holds where this hub is, how a device knows it, and a secret that lets it in." }
                (form)
            }))
        }
    };
    Page::new("Enrol a device", body)
        .below("Enrolment", tenant_path(tenant, "/tokens"))
        .saying(said)
}

/// The command to type, and what has come of it.
async fn told(app: &App, tenant: &str, made: &api::Made) -> Done<Page> {
    let now = app.hub.clock.now();
    let command = format!("jos agent enrol {}", made.line);
    let waiting = come(app, tenant, &made.token.id).await?;
    let body = html! {
        (parts::card("On the device, as root", None, &html! {
            (parts::copied("command", &command))
            p { small {
                "The line is shown once. Whoever has it may enrol " (words::counted(made.token.uses, "device")) ", until it ends "
                (words::moment(made.token.expires, now)) ". Keep it like a password; "
                a href=(tenant_path(tenant, "/tokens")) { "revoke it" } " where it went astray."
            } }
        }))
        (waiting)
    };
    let follow = tenant_path(tenant, &format!("/enrol?token={}", escaped(&made.token.id)));
    Ok(Page::new("Enrol a device", body)
        .below("Enrolment", tenant_path(tenant, "/tokens"))
        .following(follow))
}

async fn come(app: &App, tenant: &str, token: &str) -> Done<Markup> {
    let now = app.hub.clock.now();
    let come = glances::devices_of_token(&mut *app.hub.store.read().await?, tenant, token).await?;
    Ok(html! {
        div data-live="come" {
            @if come.is_empty() {
                (parts::card("Waiting", None, &html! { p class="waiting" role="status" { (Tone::Busy) "No device has used it yet. This page shows it when it comes." } }))
            } @else {
                (parts::card("Here", None, &html! {
                    @for (id, at) in &come {
                        p class="waiting" role="status" { (Tone::Good) a class="id" href=(device_path(tenant, id)) { (id) } span class="soft" { "enrolled " (words::moment(*at, now)) } }
                    }
                }))
            }
        }
    })
}

/// What a tenant without devices is shown: what is done, and what is next.
pub(super) async fn first(app: &App, visitor: &Visitor, tenant: &str) -> Done<Page> {
    let hub = &app.hub;
    let mut conn = hub.store.read().await?;
    let trusted = trusts::newest_version(&mut conn, tenant).await?;
    let states = states::live_names(&mut conn, tenant).await?;
    drop(conn);
    let operator = visitor.role(tenant)? >= Deed::Enrol.role();
    let data = hub.dir.path().display().to_string();
    let trust = format!(
        "jos trust init --key root.key --tenant {tenant} --expires 2030-01-31\n\
         jos trust add trust.json --role freshness=freshness.key.pub --key root.key\n\
         jos-hub trust push trust.json trust.v2.json --tenant {tenant} --data {data}"
    );
    let push = format!(
        "jos sign --key root.key --trust trust.v2.json state.toml\njos-hub push state.json --tenant {tenant} --data {data}"
    );
    let done = |done: bool| if done { "done" } else { "" };
    let body = html! {
        section class="card" data-live="steps" {
            ol class="steps" {
                li class=(done(trusted.is_some())) {
                    h3 { "Say which keys the devices believe" }
                    @if let Some(version) = trusted {
                        p class="soft" { "Done: the trust document is at version " (version) "." }
                    } @else {
                        p { "Where your keys are. The hub never sees them; its own public key is " code { "freshness.key.pub" } " in its folder." }
                        (parts::copied("trust", &trust))
                    }
                }
                li {
                    h3 { "Enrol the first device" }
                    p { "One click makes the line that it enrols with." }
                    @if operator {
                        (forms::form(&tenant_path(tenant, "/enrol"), visitor.guard(), &html! { div class="beside" { button { "Make a token" } a href=(tenant_path(tenant, "/enrol")) { "For several devices, or with labels" } } }))
                    } @else {
                        p class="soft" { "This takes the role operator." }
                    }
                }
                li class=(done(!states.is_empty())) {
                    h3 { "Give it a state" }
                    @if states.is_empty() {
                        p { "Signed where your keys are, pushed to the hub, and taken by every device that it is meant for." }
                        (parts::copied("push", &push))
                    } @else {
                        p class="soft" { "Done: " (states.join(", ")) " is waiting for devices." }
                    }
                }
            }
        }
    };
    Ok(Page::new("Welcome", body).live())
}
