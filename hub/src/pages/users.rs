//! Users and their roles, for an admin of every tenant.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect};
use jos_ui::form::{self as forms, Field};
use jos_ui::shell::Page;
use jos_ui::{Markup, Tone, html, parts, words};

use super::form::{self, Fields};
use super::reply::{self, At, Shown};
use super::session::Visitor;
use crate::api::App;
use crate::fault::{Done, Fault};
use crate::store::users::{self as stored, EVERY_TENANT, Role, User};
use crate::users;

const AT: At<'_> = At {
    tenant: None,
    here: "Users",
};
/// The roles, as forms have them.
pub(super) const ROLES: [(&str, &str); 3] = [
    ("viewer", "Viewer: looks"),
    ("operator", "Operator: enrols, labels, quarantines"),
    ("admin", "Admin: also revokes and retires"),
];

/// All users.
pub(super) async fn show(State(app): State<App>, visitor: Visitor) -> Shown {
    visitor.needs_everything()?;
    let page = page(&app, &visitor, None, None).await?;
    reply::show(&app.hub, &visitor, AT, &page).await
}

/// Adds one.
pub(super) async fn add(State(app): State<App>, visitor: Visitor, headers: HeaderMap, body: Body) -> Shown {
    let fields = form::read(&headers, body, visitor.guard().0).await?;
    visitor.needs_everything()?;
    let password = users::new_password();
    let added = async {
        let role =
            role(fields.get("role"))?.ok_or_else(|| Fault::malformed("role: expected viewer, operator or admin"))?;
        users::add(
            &app.hub,
            &visitor.actor(),
            fields.get("name"),
            &password,
            tenant(&fields),
            role,
        )
        .await
    };
    told(
        &app,
        &visitor,
        added.await.map(|user| Some((user.name, password.to_string()))),
    )
    .await
}

/// Changes one: `role`, `password` or `remove`.
pub(super) async fn change(
    State(app): State<App>,
    visitor: Visitor,
    Path((name, act)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Shown {
    let fields = form::read(&headers, body, visitor.guard().0).await?;
    visitor.needs_everything()?;
    let (hub, actor) = (&app.hub, visitor.actor());
    let own =
        || Fault::conflict("own", "this is you: nobody takes their own rights away").help("another admin does it");
    let done = match act.as_str() {
        "role" | "remove" if name == visitor.user.name => Err(own()),
        "role" => match role(fields.get("role")) {
            Ok(role) => users::set_role(hub, &actor, &name, tenant(&fields), role)
                .await
                .map(|_| None),
            Err(fault) => Err(fault),
        },
        "password" => {
            let password = users::new_password();
            let but = if name == visitor.user.name {
                visitor.session.as_str()
            } else {
                ""
            };
            let set = users::set_password(hub, &actor, &name, &password, but).await;
            set.map(|()| Some((name, password.to_string())))
        }
        "remove" => users::remove(hub, &actor, &name).await.map(|()| None),
        _ => return Err(Fault::not_found("there is no such page").into()),
    };
    told(&app, &visitor, done).await
}

async fn told(app: &App, visitor: &Visitor, done: Done<Option<(String, String)>>) -> Shown {
    match done {
        Ok(None) => Ok(Redirect::to("/users").into_response()),
        Ok(Some((name, password))) => {
            let made = html! {
                (parts::card(&format!("The password of {name}"), None, &html! {
                    p { "It is not shown again. They change it under their own name, once they are signed in." }
                    (parts::copied("password", &password))
                }))
            };
            let page = page(app, visitor, Some(made), None).await?;
            reply::show(&app.hub, visitor, AT, &page).await
        }
        Err(fault) => {
            let page = page(app, visitor, None, Some(reply::line(&fault))).await?;
            reply::refused(&app.hub, visitor, AT, &page, &fault).await
        }
    }
}

/// The role of this name; none for `none`.
pub(super) fn role(word: &str) -> Done<Option<Role>> {
    let all = [Role::Viewer, Role::Operator, Role::Admin];
    match word {
        "none" => Ok(None),
        word => match all.into_iter().find(|role| role.word() == word) {
            Some(role) => Ok(Some(role)),
            None => Err(Fault::malformed(format!(
                "role: found {word:?}, expected viewer, operator, admin or none"
            ))),
        },
    }
}

fn tenant(fields: &Fields) -> &str {
    match fields.get("tenant") {
        "" => EVERY_TENANT,
        tenant => tenant,
    }
}

async fn page(app: &App, visitor: &Visitor, made: Option<Markup>, said: Option<(Tone, String)>) -> Done<Page> {
    let now = app.hub.clock.now();
    let users = stored::list(&mut *app.hub.store.read().await?).await?;
    let tenants: Vec<(&str, &str)> = std::iter::once((EVERY_TENANT, "Every tenant"))
        .chain(visitor.tenants.iter().map(|name| (name.as_str(), name.as_str())))
        .collect();
    let rows: Vec<Vec<Markup>> = users.iter().map(|user| row(user, visitor, &tenants, now)).collect();
    let adding = forms::form(
        "/users",
        visitor.guard(),
        &html! {
            (forms::field(&Field { name: "name", label: "Name", hint: "a-z, 0-9 and ._@-", ..Field::default() }))
            (forms::select("role", "Role", &ROLES, "viewer"))
            (forms::select("tenant", "Where", &tenants, EVERY_TENANT))
            button { "Add" }
        },
    );
    let body = html! {
        @if let Some(made) = made { (made) }
        (parts::tight("Who may sign in", None, &parts::table(&["Name", "Roles", "Signed in", "Added", "Change"], &rows, "Nobody.")))
        div class="columns even" { (parts::card("Add a user", None, &adding)) }
    };
    Ok(Page::new("Users", body).saying(said))
}

fn row(user: &User, visitor: &Visitor, tenants: &[(&str, &str)], now: i64) -> Vec<Markup> {
    let name = &user.name;
    let roles = user.roles.iter().map(|(tenant, role)| {
        let tenant = if tenant == EVERY_TENANT {
            "every tenant"
        } else {
            tenant.as_str()
        };
        format!("{} in {tenant}", role.word())
    });
    let roles = roles.collect::<Vec<_>>().join(", ");
    let options = [ROLES.as_slice(), &[("none", "Nothing")]].concat();
    vec![
        html! { strong { (name) } @if *name == visitor.user.name { span class="sub" { "you" } } },
        html! { @if roles.is_empty() { span class="soft" { "none" } } @else { (roles) } },
        html! { @match user.signed_in { Some(at) => { (words::moment(at, now)) }, None => { span class="soft" { "never" } } } },
        html! { (words::moment(user.created, now)) span class="sub" { "by " (user.created_by) } },
        html! {
            @if *name != visitor.user.name {
                details { summary { "Change" }
                    (forms::form(&format!("/users/{name}/role"), visitor.guard(), &html! {
                        (forms::select("role", "Role", &options, "viewer"))
                        (forms::select("tenant", "Where", tenants, EVERY_TENANT))
                        button class="second small" { "Set the role" }
                    }))
                    (forms::form(&format!("/users/{name}/password"), visitor.guard(), &html! { button class="second small" { "Make a new password" } }))
                    (forms::form(&format!("/users/{name}/remove"), visitor.guard(), &html! { button class="danger small" { "Remove" } }))
                }
            } @else {
                a href="/account" { "Your page" }
            }
        },
    ]
}
