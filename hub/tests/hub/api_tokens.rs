//! API tokens: whose they are, what they may do, and how they end.

use jos_hub::api::operations::{self, For};
use jos_hub::rights::Deed;
use jos_hub::store::users::{EVERY_TENANT, Role};
use jos_schemas::documents::desired_state;
use serde_json::{Value, json};

use crate::browser::{Browser, add_user};
use crate::common::{Device, Reply, Running, admin_key, signed, state};
use crate::process::{Served, command, done, refused};

/// The `Authorization` of a token that the hub made for this user, and its id.
fn token(running: &Running, asked: &Value) -> (String, String) {
    let (status, made) = running.admin("POST", "/api/v1/api-tokens", asked);
    assert_eq!(status, 200, "{made}");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (format!("Bearer {}", text(&made["line"])), text(&made["token"]["id"]))
}

/// Somebody with a role, and a token of theirs that may do all that they may.
fn somebody(running: &Running, name: &str, role: Role, tenant: &str) -> String {
    add_user(running, name, role, tenant);
    token(running, &json!({ "user": name, "role": role })).0
}

/// A tenant with one of everything.
struct Fleet {
    running: Running,
    device: Device,
    rollout: String,
    token: String,
}

impl Fleet {
    fn new() -> Self {
        let running = Running::trusted();
        let device = running.device(&json!({}));
        assert_eq!(device.heartbeat(&json!({})).0, 200);
        assert_eq!(running.push(&state(1)).0, 200);
        let rollout = rollout_by(&running, |path, body| running.admin("POST", path, body));
        let made = running
            .admin("POST", "/api/v1/tokens", &json!({ "comment": "of default" }))
            .1;
        let token = made["token"]["id"].as_str().expect("an id").to_owned();
        assert_eq!(
            running.admin("POST", "/api/v1/tenants", &json!({ "name": "acme" })).0,
            200
        );
        Self {
            running,
            device,
            rollout,
            token,
        }
    }

    /// A path of the table, with what is there in the place of its parameters.
    fn path(&self, path: &str) -> String {
        let id = match path.split('/').nth(3) {
            Some("devices") => &self.device.id,
            Some("rollouts") => &self.rollout,
            Some("tokens") => &self.token,
            _ => "nobody",
        };
        let path = path.replace("{id}", id).replace("{version}", "1");
        let name = if path.starts_with("/api/v1/states") {
            "portal"
        } else {
            "nobody"
        };
        let path = path.replace("{name}", name);
        if path.ends_with("/history") {
            format!("{path}?agent=portal")
        } else {
            path
        }
    }
}

/// Makes a rollout of version 2 that waits for a second person.
fn rollout_by(_: &Running, post: impl Fn(&str, &Value) -> Reply) -> String {
    let state = signed(&state(2), desired_state::KIND, &[&admin_key()]).to_string();
    let plan = json!({
        "kind": "jos.rollout", "name": "portal", "version": 2, "approval": true, "phases": [{ "percent": 100 }],
    });
    let (status, made) = post("/api/v1/rollouts", &json!({ "rollout": plan, "state": state }));
    assert_eq!(status, 200, "{made}");
    made["rollout"]["id"].as_str().expect("an id").to_owned()
}

fn table() -> impl Iterator<Item = (String, &'static str, Deed)> {
    operations::all()
        .into_iter()
        .filter_map(|operation| match operation.whose {
            For::By(deed) => Some((operation.method.to_uppercase(), operation.path, deed)),
            For::Devices | For::All => None,
        })
}

#[test]
fn each_role_may_do_by_a_token_what_it_may_over_the_whole_table_of_operations() {
    let fleet = Fleet::new();
    let running = &fleet.running;
    let roles = [Role::Viewer, Role::Operator, Role::Admin];
    let here = roles.map(|role| (role, false, somebody(running, role.word(), role, "default")));
    let everywhere = roles.map(|role| {
        let name = format!("{}-of-all", role.word());
        (role, true, somebody(running, &name, role, EVERY_TENANT))
    });
    let mut tried = 0;
    for (method, path, deed) in table() {
        let path = fleet.path(path);
        for (role, of_all, bearer) in here.iter().chain(&everywhere) {
            let may = *role >= deed.role() && (*of_all || !deed.is_of_the_hub());
            if may && deed == Deed::Run && method != "GET" {
                // It would be done.
                continue;
            }
            let (status, reply) = running.ask_by(bearer, &method, &path, b"{}".to_vec());
            let lacks = status == 403 && reply["code"] == "role";
            assert_eq!(
                lacks, !may,
                "{method} {path} as {role:?}, of all: {of_all}: {status} {reply}"
            );
            assert!(status != 401 && status < 500, "{method} {path}: {status} {reply}");
            tried += 1;
        }
    }
    assert!(tried > 250, "{tried}");
}

#[test]
fn another_tenants_devices_rollouts_tokens_and_states_are_not_there_to_a_token() {
    let fleet = Fleet::new();
    let running = &fleet.running;
    let acme = somebody(running, "bo", Role::Admin, "acme");
    for (method, path, deed) in table().filter(|(_, _, deed)| !deed.is_of_the_hub()) {
        let has_id = path.contains('{');
        let path = fleet.path(path);
        let (path, body) = match path.as_str() {
            "/api/v1/tenants" | "/api/v1/ca/words" => continue,
            "/api/v1/tokens" if method == "POST" => (path, json!({ "tenant": "default" })),
            _ if has_id && !path.starts_with("/api/v1/states") => (path, json!({})),
            _ => (format!("{path}?tenant=default"), json!({})),
        };
        let (status, reply) = running.ask_by(&acme, &method, &path, body.to_string().into_bytes());
        // Nor does a body that makes no sense say that it is there.
        let hidden = status == 404 || (method != "GET" && status == 400 && deed == Deed::Ask);
        assert!(hidden, "{method} {path}: {status} {reply}");
    }
    // Named or not, lists are of their own tenant alone.
    for list in ["devices", "states", "rollouts", "tokens", "alarms"] {
        let reply = running.ask_by(&acme, "GET", &format!("/api/v1/{list}"), Vec::new());
        assert_eq!(reply, (200, json!([])), "{list}");
    }
    let (_, tenants) = running.ask_by(&acme, "GET", "/api/v1/tenants", Vec::new());
    assert_eq!((&tenants[0]["name"], &tenants[1]), (&json!("acme"), &Value::Null));
    let (_, log) = running.ask_by(&acme, "GET", "/api/v1/audit", Vec::new());
    let entries = log["entries"].as_array().expect("a list");
    assert!(entries.iter().all(|entry| entry["tenant"] == "acme"), "{log}");
    // What they make is theirs.
    let (_, made) = running.ask_by(&acme, "POST", "/api/v1/tokens", b"{}".to_vec());
    assert_eq!(made["token"]["tenant"], "acme");
    let shown = running.get(&format!("/api/v1/devices/{}", fleet.device.id));
    assert_eq!(shown["device"]["status"], "active");
}

#[test]
fn a_token_ends_when_it_is_revoked_when_its_time_is_over_and_with_its_user() {
    let running = Running::new();
    for name in ["ana", "bo", "cy"] {
        add_user(&running, name, Role::Operator, "default");
    }
    let asks = |bearer: &str| {
        let (status, reply) = running.ask_by(bearer, "GET", "/api/v1/devices", Vec::new());
        (status, reply["code"].as_str().map(str::to_owned))
    };
    let fine = (200, None);
    let out = |code: &str| (401, Some(code.to_owned()));
    let (ana, id) = token(&running, &json!({ "user": "ana", "role": "operator" }));
    let (short, _) = token(&running, &json!({ "user": "ana", "role": "viewer", "valid_for": 60 }));
    let (bo, _) = token(&running, &json!({ "user": "bo", "role": "operator" }));
    assert_eq!(
        [asks(&ana), asks(&short), asks(&bo)],
        [fine.clone(), fine.clone(), fine.clone()]
    );

    let path = format!("/api/v1/api-tokens/{id}");
    assert_eq!(running.admin("DELETE", &path, &Value::Null).0, 204);
    assert_eq!(asks(&ana), out("api-token-revoked"));
    assert_eq!(running.admin("DELETE", "/api/v1/api-tokens/a-0", &Value::Null).0, 404);
    assert_eq!(asks(&short), fine, "the others of theirs go on");
    running.clock.advance(60);
    assert_eq!(asks(&short), out("api-token-over"));

    assert_eq!(running.admin("DELETE", "/api/v1/users/bo", &Value::Null).0, 204);
    assert_eq!(asks(&bo), out("api-token-revoked"));
    // Whoever gets the name after them does not get their token.
    add_user(&running, "bo", Role::Operator, "default");
    assert_eq!(asks(&bo), out("api-token-revoked"));

    // What is taken from the user is taken from the token.
    let (cy, _) = token(&running, &json!({ "user": "cy", "role": "operator" }));
    let none = json!({ "tenant": "default" });
    assert_eq!(running.admin("PUT", "/api/v1/users/cy/role", &none).0, 200);
    assert_eq!(asks(&cy), (403, Some("role".to_owned())));
    // More than its user has nobody can give it.
    let (status, reply) = running.admin("POST", "/api/v1/api-tokens", &json!({ "user": "ana", "role": "admin" }));
    assert_eq!((status, &reply["code"]), (409, &json!("role")));

    // The one that `init` made ends as well, and the data directory is the way back.
    assert_eq!(running.admin("DELETE", "/api/v1/api-tokens/admin", &Value::Null).0, 204);
    assert_eq!(running.admin("GET", "/api/v1/devices", &Value::Null).0, 401);
    let list = command(&["api-token", "list", "--data"])
        .arg(running.hub.dir.path())
        .output();
    let list = done(&list.expect("it runs"));
    assert!(
        list.lines()
            .any(|line| line.starts_with("admin ") && line.contains("revoked")),
        "{list}"
    );
}

#[test]
fn whoever_made_a_rollout_is_no_second_person_under_a_token_nor_in_the_browser() {
    let running = Running::trusted();
    assert_eq!(running.push(&state(1)).0, 200);
    for name in ["ana", "bo"] {
        add_user(&running, name, Role::Admin, EVERY_TENANT);
    }
    let of = |user: &str| token(&running, &json!({ "user": user, "role": "operator" }));
    let ((ana, ana_id), (other, _), (bo, bo_id)) = (of("ana"), of("ana"), of("bo"));
    let rollout = rollout_by(&running, |path, body| {
        running.ask_by(&ana, "POST", path, body.to_string().into_bytes())
    });
    let path = format!("/api/v1/rollouts/{rollout}/approve");
    for bearer in [&ana, &other] {
        let (status, reply) = running.ask_by(bearer, "POST", &path, b"{}".to_vec());
        assert_eq!((status, &reply["code"]), (403, &json!("own-rollout")));
    }
    let browser = Browser::new(&running);
    browser.sign_in("ana", crate::browser::PASSWORD);
    let guard = browser.get("/account").guard();
    let page = format!("/t/default/rollouts/{rollout}/approve");
    assert_eq!(browser.post(&page, &[], &[("guard", &guard)]).status, 403);
    let (status, approved) = running.ask_by(&bo, "POST", &path, b"{}".to_vec());
    assert_eq!(
        (status, &approved["approved_by"]),
        (200, &json!(format!("user:bo/{bo_id}")))
    );
    // The log names the person and the token.
    let log = running.get("/api/v1/audit");
    let who: Vec<&str> = log["entries"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|e| e["actor"].as_str())
        .collect();
    assert!(who.contains(&format!("user:bo/{bo_id}").as_str()), "{who:?}");
    assert!(who.contains(&format!("user:ana/{ana_id}").as_str()), "{who:?}");
}

#[test]
fn an_api_token_is_made_used_from_afar_and_revoked_by_the_command_line() {
    let served = Served::new();
    let local = |words: &[&str]| {
        let ran = command(words).arg("--data").arg(served.data()).output();
        done(&ran.expect("it runs"))
    };
    local(&["user", "add", "ben", "--role", "operator", "--tenant", "default"]);
    let line = local(&[
        "api-token",
        "new",
        "--user",
        "ben",
        "--role",
        "operator",
        "--comment",
        "laptop",
    ]);
    assert!(line.starts_with("josapi1-") && line.lines().count() == 1, "{line}");
    let file = served.data().join("ben.token");
    std::fs::write(&file, &line).expect("a file");
    let ben = |words: &[&str]| {
        let mut ran = command(words);
        ran.args(["--url", &served.url(), "--token-file"]).arg(&file);
        ran.output().expect("it runs")
    };
    assert!(done(&ben(&["token", "new"])).starts_with("jos1-"));
    refused(&ben(&["user", "list"]), 1, "takes the role admin in every tenant");
    let list = served
        .remote(&["api-token", "list", "--json"])
        .output()
        .expect("it runs");
    let list: Value = serde_json::from_str(&done(&list)).expect("JSON");
    let id = list
        .as_array()
        .expect("a list")
        .iter()
        .find(|token| token["user"] == "ben");
    let id = id.expect("it is listed")["id"].as_str().expect("an id").to_owned();
    assert!(!list.to_string().contains(line.trim()));
    let revoked = served.remote(&["api-token", "revoke", &id]).output().expect("it runs");
    assert!(done(&revoked).contains("is revoked"));
    refused(&ben(&["token", "list"]), 1, "this API token was revoked");
    assert!(local(&["audit"]).contains("api-token.revoke"));
}
