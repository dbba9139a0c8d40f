//! Who may look at the dashboard: signing in, sessions, guards of forms, headers, roles and tenants.

use jos_hub::store::users::{EVERY_TENANT, Role};
use jos_schemas::documents::desired_state;
use serde_json::json;

use crate::browser::{Browser, PASSWORD, Page, add_user};
use crate::common::{Device, Running, admin_key, signed, state};

/// Every page, as somebody signed in sees it; `{d}` stands for a device, `{r}` for a rollout.
const PAGES: [&str; 15] = [
    "/",
    "/account",
    "/users",
    "/audit",
    "/t/default",
    "/t/default/devices",
    "/t/default/devices/{d}",
    "/t/default/states",
    "/t/default/states/portal/1",
    "/t/default/rollouts",
    "/t/default/rollouts/{r}",
    "/t/default/tokens",
    "/t/default/enrol",
    "/t/default/audit",
    "/t/default/api-tokens",
];
/// Every form.
const FORMS: [&str; 18] = [
    "/logout",
    "/account",
    "/users",
    "/users/bo/role",
    "/users/bo/password",
    "/users/bo/remove",
    "/t/default/enrol",
    "/t/default/tokens/t-0/revoke",
    "/t/default/api-tokens",
    "/t/default/api-tokens/a-0/revoke",
    "/t/default/devices/{d}/label",
    "/t/default/devices/{d}/quarantine",
    "/t/default/devices/{d}/revoke",
    "/t/default/devices/{d}/hold",
    "/t/default/devices/{d}/ask",
    "/t/default/rollouts/{r}/pause",
    "/t/default/rollouts/{r}/abort",
    "/t/default/states/portal/1/retire",
];

/// A hub with a device, a state and a rollout.
struct Fleet {
    running: Running,
    device: Device,
    rollout: String,
}

impl Fleet {
    fn new() -> Self {
        let running = Running::trusted();
        let device = running.device(&json!({ "site": "mx-3" }));
        assert_eq!(device.heartbeat(&json!({})).0, 200);
        assert_eq!(running.push(&state(1)).0, 200);
        let mut other = state(1);
        other["meta"]["name"] = "captive".into();
        let asked = json!({
            "rollout": { "kind": "jos.rollout", "name": "captive", "version": 1, "phases": [{ "percent": 100 }] },
            "state": signed(&other, desired_state::KIND, &[&admin_key()]).to_string(),
        });
        let (status, made) = running.admin("POST", "/api/v1/rollouts", &asked);
        assert_eq!(status, 200, "{made}");
        let rollout = made["rollout"]["id"].as_str().expect("an id").to_owned();
        Self {
            running,
            device,
            rollout,
        }
    }

    /// A path of [`PAGES`] or [`FORMS`] with what is there.
    fn path(&self, path: &str) -> String {
        path.replace("{d}", &self.device.id).replace("{r}", &self.rollout)
    }
}

#[test]
fn nobody_sees_a_page_without_signing_in_and_everybody_is_led_back_to_the_page_they_wanted() {
    let fleet = Fleet::new();
    let running = &fleet.running;
    let browser = Browser::new(running);
    for path in PAGES {
        let path = fleet.path(path);
        let page = browser.get(&path);
        assert_eq!(page.status, 303, "{path}");
        assert!(
            page.header("location").starts_with("/login") && page.text.is_empty(),
            "{path}"
        );
    }
    for path in FORMS {
        let page = browser.post(&fleet.path(path), &[], &[]);
        assert_eq!((page.status, page.header("location")), (303, "/login"), "{path}");
    }
    add_user(running, "ana", Role::Admin, EVERY_TENANT);
    let wanted = browser.get("/t/default/devices?q=mx").header("location").to_owned();
    let next = browser.get(&wanted);
    let next = next.between("name=\"next\" value=\"", "\"");
    let fields = [("name", "ana"), ("password", PASSWORD), ("next", next)];
    assert_eq!(
        browser.send(&wanted, "/login", &fields).header("location"),
        "/t/default/devices?q=mx"
    );
}

#[test]
fn a_hub_without_users_says_how_to_add_the_first_one() {
    let running = Running::new();
    let page = Browser::new(&running).page("/login");
    assert!(page.contains("jos-hub user add NAME --role admin --data "), "{page}");
    assert!(!page.contains("type=\"password\""), "{page}");
}

#[test]
fn a_wrong_name_and_a_wrong_password_are_answered_alike() {
    let running = Running::new();
    add_user(&running, "ana", Role::Viewer, "default");
    let said = |name: &str, password: &str| {
        let page = Browser::new(&running).sign_in(name, password);
        (page.status, page.between("role=\"alert\"", "</div></div>").to_owned())
    };
    let [wrong, unknown, empty] =
        [("ana", "wrong horse battery"), ("bo", PASSWORD), ("", "")].map(|(name, password)| said(name, password));
    assert!(wrong.0 == 403 && wrong.1.contains("do not fit"), "{wrong:?}");
    assert_eq!((&unknown, &empty), (&wrong, &wrong));
}

#[test]
fn login_throttling_makes_guessing_slow_and_a_right_password_has_to_wait_as_well() {
    let running = Running::new();
    add_user(&running, "ana", Role::Viewer, "default");
    let browser = Browser::new(&running);
    for _ in 0..5 {
        assert_eq!(browser.sign_in("ana", "wrong horse battery").status, 403);
    }
    let slowed = browser.sign_in("ana", PASSWORD);
    let wait: u32 = slowed.header("retry-after").parse().expect("seconds");
    assert!(slowed.status == 429 && (50..=60).contains(&wait), "{wait}");
    running.clock.advance(61);
    assert_eq!(browser.sign_in("ana", PASSWORD).status, 303);
}

#[test]
fn session_fixation_is_worth_nothing_as_signing_in_makes_a_new_secret() {
    let running = Running::new();
    add_user(&running, "ana", Role::Viewer, "default");
    // What the attacker knows: a secret of their own, planted before the user signs in.
    let planted = format!("__Host-jos={}", "a".repeat(64));
    let browser = Browser::new(&running);
    browser.set_cookie(&planted);
    assert_eq!(browser.sign_in("ana", PASSWORD).status, 303);
    assert_ne!(browser.cookie(), planted);
    assert_eq!(browser.get("/t/default").status, 200);
    let attacker = Browser::new(&running);
    attacker.set_cookie(&planted);
    assert_eq!(attacker.get("/t/default").status, 303);
    // And whoever signs in once more leaves no session behind.
    let before = browser.cookie();
    let guard = browser.get("/account").guard();
    let again = browser.post(
        "/login",
        &[],
        &[("name", "ana"), ("password", PASSWORD), ("guard", &guard)],
    );
    assert_eq!(again.status, 303, "{}", again.text);
    attacker.set_cookie(&before);
    assert_eq!(attacker.get("/t/default").status, 303);
}

#[test]
fn a_session_ends_by_signing_out_by_idleness_by_age_and_with_its_user() {
    let running = Running::new();
    let browser = Browser::admin(&running);
    let stolen = Browser::new(&running);
    stolen.set_cookie(&browser.cookie());
    assert_eq!(stolen.get("/account").status, 200);
    assert_eq!(browser.send("/account", "/logout", &[]).header("location"), "/login");
    assert_eq!(browser.cookie(), "");
    assert_eq!(stolen.get("/account").status, 303);

    assert_eq!(browser.sign_in("ana", PASSWORD).status, 303);
    running.clock.advance(8 * 3600 - 10);
    assert_eq!(browser.get("/account").status, 200);
    running.clock.advance(8 * 3600 + 10);
    assert_eq!(browser.get("/account").status, 303);

    assert_eq!(browser.sign_in("ana", PASSWORD).status, 303);
    let days = (0..40).take_while(|_| {
        running.clock.advance(7 * 3600 - 100);
        browser.get("/account").status == 200
    });
    assert_eq!(days.count(), 24, "a week in steps of almost seven hours");

    assert_eq!(browser.sign_in("ana", PASSWORD).status, 303);
    assert_eq!(running.admin("DELETE", "/api/v1/users/ana", &json!(null)).0, 204);
    assert_eq!(browser.get("/account").status, 303);
}

#[test]
fn a_new_password_ends_every_other_session() {
    let running = Running::new();
    let (browser, other) = (Browser::admin(&running), Browser::new(&running));
    assert_eq!(other.sign_in("ana", PASSWORD).status, 303);
    let change = |now: &str, new: &str| browser.send("/account", "/account", &[("now", now), ("new", new)]);
    assert_eq!(change("wrong horse battery", "a new long password").status, 403);
    assert_eq!(change(PASSWORD, "short").status, 400);
    assert_eq!(other.get("/account").status, 200);
    assert_eq!(change(PASSWORD, "a new long password").status, 200);
    assert_eq!(
        (browser.get("/account").status, other.get("/account").status),
        (200, 303)
    );
    assert_eq!(other.sign_in("ana", PASSWORD).status, 403);
    assert_eq!(other.sign_in("ana", "a new long password").status, 303);
}

#[test]
fn csrf_no_form_is_taken_without_the_guard_of_its_own_session_nor_from_another_site() {
    let fleet = Fleet::new();
    let running = &fleet.running;
    let (browser, other) = (
        Browser::admin(running),
        Browser::of(running, "bo", Role::Admin, EVERY_TENANT),
    );
    let (guard, foreign) = (browser.get("/account").guard(), other.get("/account").guard());
    assert_ne!(guard, foreign);
    let log = running.get("/api/v1/audit")["whole"].clone();
    for path in FORMS {
        let path = fleet.path(path);
        let refused = |page: &Page| {
            assert!(
                page.status == 403 && page.text.contains("is not from a page of your session"),
                "{path}: {}",
                page.text
            )
        };
        refused(&browser.post(&path, &[], &[]));
        refused(&browser.post(&path, &[], &[("guard", "")]));
        refused(&browser.post(&path, &[], &[("guard", &foreign)]));
        refused(&browser.post(&path, &[("sec-fetch-site", "cross-site")], &[("guard", &guard)]));
        refused(&browser.post(&path, &[("sec-fetch-site", "same-site")], &[("guard", &guard)]));
        refused(&browser.post(&path, &[("origin", "https://evil.example")], &[("guard", &guard)]));
    }
    assert_eq!(running.get("/api/v1/audit")["whole"], log, "something was done");
    let path = format!("/t/default/devices/{}/quarantine", fleet.device.id);
    let origin = format!("https://{}", running.admins());
    let headers = [("origin", origin.as_str()), ("sec-fetch-site", "same-origin")];
    assert_eq!(
        browser
            .post(&path, &headers, &[("guard", &guard), ("reason", "test")])
            .status,
        303
    );
}

#[test]
fn clickjacking_headers_and_what_else_a_browser_may_not_do_are_on_every_reply() {
    let fleet = Fleet::new();
    let running = &fleet.running;
    let browser = Browser::admin(running);
    let paths = PAGES.iter().map(|path| fleet.path(path));
    let others = ["/login", "/t/nobody", "/t/default/devices/d-0", "/assets/none.css"].map(str::to_owned);
    for path in paths.chain(others) {
        let page = browser.get(&path);
        let policy = page.header("content-security-policy");
        for words in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        ] {
            assert!(policy.contains(words), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(page.header(name), value, "{path}: {name}");
        }
        // The policy holds only where nothing is written into the page.
        for words in ["<style", " style=", "javascript:", "onclick", "onload"] {
            assert!(!page.text.contains(words), "{path}: {words}");
        }
        let scripts = page.text.matches("<script").count();
        assert_eq!(
            scripts,
            page.text.matches("<script src=\"/assets/page-").count(),
            "{path}"
        );
    }
    let cookie = Browser::new(running).get("/login");
    let cookie = cookie.header("set-cookie");
    for words in ["__Host-jos=", "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Strict"] {
        assert!(cookie.contains(words), "{cookie}");
    }
    let login = browser.get("/t/nobody").text;
    let style = login
        .split("href=\"")
        .find_map(|rest| rest.strip_prefix("/assets/style-"))
        .expect("a style sheet");
    let style = browser.get(&format!(
        "/assets/style-{}",
        style.split('"').next().unwrap_or_default()
    ));
    assert_eq!(
        (style.status, style.header("content-type")),
        (200, "text/css; charset=utf-8")
    );
    assert!(style.header("cache-control").contains("immutable"));
}

#[test]
fn body_limits_hold_on_every_form() {
    let fleet = Fleet::new();
    let browser = Browser::admin(&fleet.running);
    let guard = browser.get("/account").guard();
    let long = "x".repeat(70 << 10);
    for path in FORMS.iter().chain(&["/login"]) {
        let refused = browser.post(&fleet.path(path), &[], &[("guard", &guard), ("reason", &long)]);
        assert_eq!(refused.status, 413, "{path}: {}", refused.text);
    }
}

#[test]
fn to_somebody_without_a_role_in_it_a_tenant_is_not_there() {
    let fleet = Fleet::new();
    let running = &fleet.running;
    assert_eq!(
        running.admin("POST", "/api/v1/tenants", &json!({ "name": "acme" })).0,
        200
    );
    let token = running.admin("POST", "/api/v1/tokens", &json!({})).1["token"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let browser = Browser::of(running, "bo", Role::Admin, "acme");
    assert_eq!(browser.get("/").header("location"), "/t/acme");
    assert_eq!(browser.get("/t/acme/devices").status, 200);
    let guard = browser.get("/account").guard();
    for path in PAGES.iter().filter(|path| path.starts_with("/t/")) {
        let path = fleet.path(path);
        let (there, nowhere) = (
            browser.get(&path),
            browser.get(&path.replace("/t/default", "/t/nobody")),
        );
        assert_eq!((there.status, nowhere.status), (404, 404), "{path}");
        assert_eq!(there.text, nowhere.text, "{path}");
        // Nor is anything of it under the tenant that is theirs.
        if path.contains("d-") || path.contains("portal") {
            assert_eq!(
                browser.get(&path.replace("/t/default", "/t/acme")).status,
                404,
                "{path}"
            );
        }
    }
    for path in FORMS.iter().filter(|path| path.starts_with("/t/")) {
        let path = fleet.path(path).replace("t-0", &token);
        for path in [path.clone(), path.replace("/t/default", "/t/acme")]
            .iter()
            .filter(|path| {
                !["acme/enrol", "acme/api-tokens"]
                    .iter()
                    .any(|form| path.ends_with(form))
            })
        {
            assert_eq!(browser.post(path, &[], &[("guard", &guard)]).status, 404, "{path}");
        }
    }
    assert_eq!([browser.get("/users").status, browser.get("/audit").status], [403, 403]);
    let shown = running.get(&format!("/api/v1/devices/{}", fleet.device.id));
    assert_eq!(
        (&shown["device"]["status"], &shown["device"]["labels"]),
        (&json!("active"), &json!({ "site": "mx-3" }))
    );
    assert_eq!(running.get("/api/v1/states")[0]["retired"], json!(null));
}

#[test]
fn each_role_may_do_what_it_may_and_no_more() {
    let fleet = Fleet::new();
    let running = &fleet.running;
    let [viewer, operator, admin] = [("vi", Role::Viewer), ("op", Role::Operator), ("ad", Role::Admin)]
        .map(|(name, role)| Browser::of(running, name, role, "default"));
    for (path, least) in [
        ("/t/default", 0),
        ("/t/default/devices", 0),
        ("/t/default/devices/{d}", 0),
        ("/t/default/states", 0),
        ("/t/default/states/portal/1", 0),
        ("/t/default/rollouts", 0),
        ("/t/default/rollouts/{r}", 0),
        ("/t/default/tokens", 1),
        ("/t/default/enrol", 1),
        ("/t/default/audit", 1),
        ("/t/default/api-tokens", 0),
        ("/users", 3),
        ("/audit", 3),
    ] {
        let path = fleet.path(path);
        for (at, browser) in [&viewer, &operator, &admin].into_iter().enumerate() {
            let expected = if at >= least { 200 } else { 403 };
            assert_eq!(browser.get(&path).status, expected, "{path} as {at}");
        }
    }
    for (path, least) in [
        ("/t/default/devices/{d}/quarantine", 1),
        ("/t/default/devices/{d}/release", 1),
        ("/t/default/devices/{d}/label", 1),
        ("/t/default/devices/{d}/hold", 1),
        ("/t/default/devices/{d}/ask", 1),
        ("/t/default/rollouts/{r}/pause", 1),
        ("/t/default/rollouts/{r}/abort", 2),
        ("/t/default/enrol", 1),
        ("/t/default/api-tokens/a-0/revoke", 0),
        ("/t/default/states/portal/1/retire", 2),
        ("/t/default/devices/{d}/revoke", 2),
        ("/users", 3),
        ("/users/vi/remove", 3),
    ] {
        let path = fleet.path(path);
        for (at, browser) in [&viewer, &operator, &admin].into_iter().enumerate() {
            let status = browser
                .post(&path, &[], &[("guard", &browser.get("/account").guard())])
                .status;
            assert_eq!(status == 403, at < least, "{path} as {at}: {status}");
            assert!(status < 500, "{path} as {at}: {status}");
        }
    }
    // A role that is taken away counts at once.
    assert_eq!(
        running
            .admin(
                "PUT",
                "/api/v1/users/op/role",
                &json!({ "tenant": "default", "role": "viewer" })
            )
            .0,
        200
    );
    assert_eq!(operator.get("/t/default/tokens").status, 403);
}
