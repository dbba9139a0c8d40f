//! The page of API tokens: people make them for themselves, and see and revoke what they may.

use std::io::Write;
use std::process::{Command, Stdio};

use jos_hub::store::users::{EVERY_TENANT, Role};
use serde_json::{Value, json};

use crate::browser::{Browser, PASSWORD, Page};
use crate::common::Running;

const PAGE: &str = "/t/default/api-tokens";

fn make(browser: &Browser, role: &str, more: &[(&str, &str)]) -> Page {
    let fields = [("role", role), ("days", "30"), ("password", PASSWORD)];
    let fields = fields
        .into_iter()
        .filter(|(name, _)| !more.iter().any(|(other, _)| other == name));
    let fields: Vec<_> = fields.chain(more.iter().copied()).collect();
    browser.send(PAGE, PAGE, &fields)
}

/// The line on the page that shows it, and the id of its token.
fn made(page: &Page) -> (String, String) {
    assert_eq!(page.status, 200, "{}", page.text);
    let line = page.between("<code id=\"line\">", "</code>").to_owned();
    let id = page.between("--token-file ", ".token<").to_owned();
    (line, id)
}

fn asks(running: &Running, line: &str, method: &str, path: &str) -> (u16, Value) {
    running.ask_by(&format!("Bearer {line}"), method, path, b"{}".to_vec())
}

fn revoke(browser: &Browser, id: &str) -> u16 {
    browser.send(PAGE, &format!("{PAGE}/{id}/revoke"), &[]).status
}

#[test]
fn a_token_is_shown_once_with_commands_that_work_as_they_stand() {
    let running = Running::new();
    let browser = Browser::of(&running, "op", Role::Operator, "default");
    assert!(
        browser.page(PAGE).contains("without your password"),
        "an empty page says what it is for"
    );
    let page = make(&browser, "viewer", &[("comment", "nightly report")]);
    let (line, id) = made(&page);
    assert!(line.starts_with("josapi1-"), "{line}");
    let again = browser.page(PAGE);
    assert!(!again.contains(&line) && again.contains("nightly report") && again.contains(&id));
    let log = running.get("/api/v1/audit").to_string();
    assert!(
        !log.contains(&line) && log.contains("api-token.new") && log.contains("user:op"),
        "{log}"
    );

    // What is copied from the page into a shell, with the line pasted where it waits.
    let folder = tempfile::TempDir::new().expect("a folder");
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_jos-hub"))
        .parent()
        .expect("a folder");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let typed = |command: &str, input: &str| {
        let mut shell = Command::new("/bin/sh");
        shell
            .env_clear()
            .env("PATH", &path)
            .current_dir(folder.path())
            .args(["-c", command]);
        let mut ran = shell
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell");
        writeln!(ran.stdin.take().expect("a pipe"), "{input}").expect("it listens");
        crate::process::done(&ran.wait_with_output().expect("it ends"))
    };
    let command = |name: &str| {
        let text = page.between(&format!("<code id=\"{name}\">"), "</code>");
        text.replace("&gt;", ">").replace("&amp;", "&")
    };
    let device = running.device(&json!({}));
    typed(&command("keep"), &line);
    let mode = std::fs::metadata(folder.path().join(format!("{id}.token"))).expect("a file");
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777,
        0o600
    );
    let listed = typed(&command("ask"), "");
    assert!(listed.contains(&device.id), "{listed}");
}

#[test]
fn a_token_of_the_page_may_no_more_than_whoever_made_it_and_makes_no_other() {
    let running = Running::new();
    let [viewer, operator] =
        [("vi", Role::Viewer), ("op", Role::Operator)].map(|(name, role)| Browser::of(&running, name, role, "default"));
    let form = viewer.page(PAGE);
    assert!(
        form.contains("value=\"viewer\"") && !form.contains("value=\"operator\""),
        "only their own role is offered"
    );
    // Nor by whoever writes the form by hand.
    for (browser, role) in [(&viewer, "operator"), (&operator, "admin")] {
        let refused = make(browser, role, &[]);
        assert!(
            refused.status == 409 && !refused.text.contains("josapi1-"),
            "{}",
            refused.text
        );
    }
    for (field, value) in [
        ("role", "none"),
        ("role", "root"),
        ("days", "0"),
        ("days", "4000"),
        ("days", "99999999"),
    ] {
        let refused = make(&operator, "viewer", &[(field, value)]);
        assert!(
            refused.status == 400 && !refused.text.contains("josapi1-"),
            "{field} {value}: {}",
            refused.status
        );
    }
    // A name in the form is not asked for.
    let (line, _) = made(&make(&operator, "operator", &[("user", "ana"), ("tenant", "*")]));
    assert_eq!(asks(&running, &line, "POST", "/api/v1/tokens").0, 200);
    assert_eq!(asks(&running, &line, "GET", "/api/v1/users").0, 403);
    let tokens = running.get("/api/v1/api-tokens");
    assert_eq!(
        (&tokens[0]["user"], &tokens[0]["tenant"], &tokens[0]["role"]),
        (&json!("op"), &json!("default"), &json!("operator"))
    );
    assert_eq!(
        tokens[0]["expires"]
            .as_i64()
            .zip(tokens[0]["created"].as_i64())
            .map(|(end, made)| end - made),
        Some(30 * 86_400)
    );
    // It opens the API alone: no page, and so no other token.
    assert_eq!(
        asks(&running, &line, "POST", "/api/v1/api-tokens"),
        asks(&running, &line, "GET", "/api/v1/api-tokens")
    );
    let (status, _) = asks(&running, &line, "POST", PAGE);
    assert!(status == 303 || status == 401, "{status}");
    assert_eq!(
        running.get("/api/v1/api-tokens").as_array().map(Vec::len),
        Some(2),
        "theirs, and that of init"
    );
}

#[test]
fn an_open_browser_alone_makes_no_token() {
    let running = Running::new();
    let browser = Browser::of(&running, "op", Role::Operator, "default");
    for wrong in ["", "wrong horse battery"] {
        let refused = make(&browser, "viewer", &[("password", wrong)]);
        assert!(
            refused.status == 403 && !refused.text.contains("josapi1-"),
            "{}",
            refused.text
        );
    }
    for _ in 0..4 {
        make(&browser, "viewer", &[("password", "wrong horse battery")]);
    }
    assert_eq!(
        make(&browser, "viewer", &[]).status,
        429,
        "guessing is as slow as at the door"
    );
    running.clock.advance(61);
    assert_eq!(make(&browser, "viewer", &[]).status, 200);
}

#[test]
fn each_person_sees_and_revokes_their_own_tokens_and_admins_those_of_their_tenant() {
    let running = Running::new();
    assert_eq!(
        running.admin("POST", "/api/v1/tenants", &json!({ "name": "acme" })).0,
        200
    );
    let of = |name: &str, role, tenant: &str| Browser::of(&running, name, role, tenant);
    let (viewer, operator) = (of("vi", Role::Viewer, "default"), of("op", Role::Operator, "default"));
    let (admin, root) = (of("ad", Role::Admin, "default"), of("ana", Role::Admin, EVERY_TENANT));
    let stranger = of("bo", Role::Admin, "acme");
    let (line, id) = made(&make(&viewer, "viewer", &[("comment", "of vi")]));
    let (other, other_id) = made(&make(&operator, "operator", &[("comment", "of op")]));
    let (wide, wide_id) = made(&make(&root, "admin", &[("comment", "of ana"), ("where", "*")]));
    let sees = |browser: &Browser| {
        let page = browser.page(PAGE);
        ["of vi", "of op", "of ana", "the hub's own"].map(|words| page.contains(words))
    };
    assert_eq!(sees(&viewer), [true, false, false, false]);
    assert_eq!(sees(&operator), [false, true, false, false]);
    assert_eq!(sees(&admin), [true, true, false, false]);
    assert_eq!(sees(&root), [true; 4]);

    // What is not theirs is not there; of another tenant neither.
    assert_eq!(
        [
            revoke(&viewer, &other_id),
            revoke(&operator, &id),
            revoke(&admin, &wide_id),
            revoke(&admin, "admin")
        ],
        [404; 4]
    );
    let theirs = "/t/acme/api-tokens";
    assert_eq!(stranger.send(theirs, &format!("{theirs}/{id}/revoke"), &[]).status, 404);
    for line in [&line, &other, &wide] {
        assert_eq!(asks(&running, line, "GET", "/api/v1/devices").0, 200);
    }
    assert_eq!(
        [revoke(&viewer, &id), revoke(&admin, &other_id), revoke(&root, &wide_id)],
        [303; 3]
    );
    for line in [&line, &other, &wide] {
        assert_eq!(asks(&running, line, "GET", "/api/v1/devices").0, 401);
    }
    let log = running.get("/api/v1/audit").to_string();
    assert_eq!(log.matches("api-token.revoke").count(), 3, "{log}");
    assert_eq!(
        running.admin("GET", "/api/v1/devices", &Value::Null).0,
        200,
        "that of init goes on"
    );
}

#[test]
fn a_token_that_counts_in_other_tenants_too_is_revoked_by_its_owner_or_by_who_runs_the_hub() {
    let running = Running::new();
    assert_eq!(
        running.admin("POST", "/api/v1/tenants", &json!({ "name": "acme" })).0,
        200
    );
    let both = Browser::of(&running, "cy", Role::Operator, "default");
    let role = json!({ "tenant": "acme", "role": "operator" });
    assert_eq!(running.admin("PUT", "/api/v1/users/cy/role", &role).0, 200);
    let admin = Browser::of(&running, "ad", Role::Admin, "default");
    let (line, id) = made(&make(&both, "operator", &[("where", "*"), ("comment", "wide")]));
    let page = admin.page(PAGE);
    assert!(
        page.contains("wide") && page.contains("an admin of every tenant"),
        "they see what acts in their tenant"
    );
    assert_eq!(revoke(&admin, &id), 403);
    assert_eq!(asks(&running, &line, "GET", "/api/v1/devices?tenant=acme").0, 200);
    assert_eq!(revoke(&both, &id), 303);
    assert_eq!(asks(&running, &line, "GET", "/api/v1/devices?tenant=acme").0, 401);
}
