//! Enrolment tokens: who may still come in by which.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect};
use jos_ui::form as forms;
use jos_ui::shell::Page;
use jos_ui::{Markup, Tone, html, parts, words};

use super::form;
use super::reply::{self, At, Shown, tenant_path};
use super::session::Visitor;
use crate::api::App;
use crate::api::admin::tokens as api;
use crate::fault::Fault;
use crate::rights::Deed;
use crate::store::glances;
use crate::store::tokens::{self, TokenRow};

/// The page.
pub(super) async fn show(State(app): State<App>, visitor: Visitor, Path(tenant): Path<String>) -> Shown {
    visitor.needs(&tenant, Deed::Enrol)?;
    let now = app.hub.clock.now();
    let all = tokens::list(&mut *app.hub.store.read().await?, Some(&tenant)).await?;
    let rows: Vec<Vec<Markup>> = all.iter().map(|token| row(token, &visitor, now)).collect();
    let none = "None yet. A token is one line that a device enrols with.";
    let body = html! {
        (parts::tight("Tokens", Some("tokens"), &parts::table(&["Token", "Standing", "Used", "Ends", "Labels", "Made", "Revoke"], &rows, none)))
    };
    let page = Page::new("Enrolment", body)
        .beside(html! { a class="button" href=(tenant_path(&tenant, "/enrol")) { "Enrol a device" } })
        .live();
    reply::show(
        &app.hub,
        &visitor,
        At {
            tenant: Some(&tenant),
            here: "Enrolment",
        },
        &page,
    )
    .await
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
    visitor.needs(&tenant, Deed::Enrol)?;
    let of = glances::tenant_of_token(&mut *app.hub.store.read().await?, &id).await?;
    if of.as_ref() != Some(&tenant) {
        return Err(Fault::not_found("there is no such token").into());
    }
    api::revoke(State(app), visitor.asks(Deed::Enrol)?, Path(id)).await?;
    Ok(Redirect::to(&tenant_path(&tenant, "/tokens")).into_response())
}

fn row(token: &TokenRow, visitor: &Visitor, now: i64) -> Vec<Markup> {
    let (tone, standing) = if token.revoked.is_some() {
        (Tone::Quiet, "revoked")
    } else if token.used >= token.uses {
        (Tone::Quiet, "used up")
    } else if token.expires <= now {
        (Tone::Quiet, "over")
    } else {
        (Tone::Good, "open")
    };
    let path = format!("/t/{}/tokens/{}/revoke", token.tenant, token.id);
    vec![
        html! { span class="id" { (token.id) } @if !token.comment.is_empty() { span class="sub" { (token.comment) } } },
        html! { (parts::badge(tone, standing)) },
        html! { (words::number(token.used)) " of " (words::number(token.uses)) },
        html! { (words::moment(token.expires, now)) },
        html! { @if token.labels.is_empty() { span class="soft" { "none" } } @else { (parts::labels(&token.labels)) } },
        html! { (words::moment(token.created, now)) span class="sub" { "by " (token.created_by) } },
        html! { @if standing == "open" { (forms::form(&path, visitor.guard(), &html! { button class="danger small" { "Revoke" } })) } },
    ]
}
