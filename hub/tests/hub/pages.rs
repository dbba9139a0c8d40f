//! What the dashboard shows, and that nothing a device says about itself becomes more than text.

use std::io::{BufRead, BufReader};

use jos_hub::store::users::{EVERY_TENANT, Role};
use jos_schemas::documents::desired_state;
use jos_trust::SecretKey;
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::common::{Device, Running, admin_key, enrolment, signed, state, state_for, stranger, unique};

/// Breaks out of an attribute, an element, a text, a script and an event stream.
const EVIL: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>&lt;</title>{{7*7}}";

/// Every element and attribute on a page is ours: what was handed in stands there escaped.
fn is_text_only(path: &str, page: &str) {
    for words in ["<script>", "<img", "\"'><", "onerror=alert(2)>", "</title>{{"] {
        assert!(!page.contains(words), "{path}: {words}\n{page}");
    }
}

/// A device whose every word is hostile.
fn evil_device(running: &Running) -> Device {
    let line = running.token(&json!({ "labels": { "site": EVIL }, "comment": EVIL, "uses": 2 }));
    let (key, ledger) = (KeyPair::generate().expect("a key"), SecretKey::from_bytes(&[77; 32]));
    let mut request = enrolment(&key, &ledger, &line);
    request["facts"] = json!({ "hostname": EVIL, EVIL: EVIL });
    let (status, reply) = stranger(running, "POST", "/v1/enrol", &request);
    assert_eq!(status, 200, "{reply}");
    Device::with(running, key, ledger, &reply["device"], reply["certificate"].clone())
}

#[test]
fn xss_by_device_sent_names_is_shown_as_text_and_runs_nothing() {
    let running = Running::trusted();
    assert_eq!(running.push(&state(1)).0, 200);
    let device = evil_device(&running);
    let head = |index: u64, byte: char| json!({ "index": index, "hash": byte.to_string().repeat(64) });
    let said = json!({ "agent": EVIL, "features": [], "version": 1, "telemetry": { "cpu": EVIL, "load": [EVIL] }, "ledger": head(5, 'a') });
    let (status, reply) = device.heartbeat(&said);
    // What the wire does not take never gets here; everything else does.
    let said = if status == 200 {
        said
    } else {
        json!({ "version": 1, "telemetry": { "cpu": EVIL }, "ledger": head(5, 'a') })
    };
    assert_eq!(device.heartbeat(&said).0, 200, "{reply}");
    assert_eq!(
        device
            .heartbeat(&json!({ "version": 1, "telemetry": { "cpu": EVIL }, "ledger": head(5, 'b') }))
            .0,
        200
    );
    let report = json!({
        "kind": "jos.report", "name": "portal", "version": 1, "outcome": "rolled_back", "time": "2027-01-01T00:00:00Z",
        "reason": EVIL, "changed": 1, "ledger": head(6, 'c'),
    });
    let (status, answer) = device.ask("POST", "/v1/report", Some(&report));
    assert_eq!(status, 204, "{answer}");
    let reason = format!("/api/v1/devices/{}/quarantine", device.id);
    assert_eq!(running.admin("POST", &reason, &json!({ "reason": EVIL })).0, 200);

    let browser = Browser::admin(&running);
    let escaped = "&lt;script&gt;alert(1)&lt;/script&gt;";
    for (path, shows) in [
        ("/t/default".to_owned(), false),
        ("/t/default/devices".to_owned(), true),
        (
            format!(
                "/t/default/devices?q={}",
                "%3Cscript%3Ealert(1)%3C/script%3E%3Cimg%20src=x%20onerror=alert(2)%3E"
            ),
            true,
        ),
        (format!("/t/default/devices?standing={}", "%22%3E%3Cscript%3E"), true),
        (format!("/t/default/devices/{}", device.id), true),
        ("/t/default/tokens".to_owned(), true),
        ("/t/default/audit".to_owned(), true),
        ("/t/default/states".to_owned(), false),
        ("/t/default/states/portal/1".to_owned(), false),
        ("/login?next=%22%3E%3Cscript%3Ealert(1)%3C/script%3E".to_owned(), false),
        ("/t/%3Cscript%3Ealert(1)%3C/script%3E".to_owned(), false),
        ("/t/default/devices/%22%3E%3Cscript%3Ealert(1)".to_owned(), false),
    ] {
        let page = browser.get(&path);
        is_text_only(&path, &page.text);
        assert!(
            !shows || page.text.contains(escaped),
            "{path} does not show it: {}",
            page.text
        );
    }
    // What a form sends back is text as well.
    let sent = browser.send("/t/default/enrol", "/t/default/enrol", &[("labels", EVIL)]);
    assert_eq!(sent.status, 400, "{}", sent.text);
    is_text_only("/t/default/enrol", &sent.text);
    let sent = Browser::new(&running).sign_in(EVIL, EVIL);
    is_text_only("/login", &sent.text);
}

#[test]
fn an_open_page_is_sent_what_changed_as_one_line_that_nothing_ends_early() {
    let running = Running::trusted();
    let browser = Browser::admin(&running);
    let line = |reader: &mut BufReader<ureq::BodyReader<'static>>| {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        line
    };
    let reply = browser.stream("GET", "/t/default", &[("accept", "text/event-stream")], None);
    assert_eq!(
        reply.headers().get("content-type").and_then(|kind| kind.to_str().ok()),
        Some("text/event-stream")
    );
    let mut reader = BufReader::new(reply.into_body().into_reader());
    let event = |reader: &mut BufReader<ureq::BodyReader<'static>>| -> (String, Value) {
        let name = line(reader);
        let data = line(reader);
        let data = data.strip_prefix("data: ").unwrap_or_else(|| panic!("{name}{data}"));
        assert_eq!(line(reader), "\n");
        (name, serde_json::from_str(data).expect("JSON"))
    };
    let (name, page) = event(&mut reader);
    let page = page.as_str().expect("a page");
    assert!(
        name == "event: page\n" && page.contains("Enrol the first device") && !page.contains("<html"),
        "{page}"
    );
    let device = evil_device(&running);
    let (name, page) = event(&mut reader);
    let page = page.as_str().expect("a page");
    assert!(name == "event: page\n" && page.contains("not called yet"), "{page}");
    is_text_only("/t/default", page);
    drop(device);
    // Whoever is signed out sees no more.
    assert_eq!(browser.send("/account", "/logout", &[]).status, 303);
    assert_eq!(event(&mut reader).0, "event: gone\n");
    let nobody = Browser::new(&running).ask("GET", "/t/default", &[("accept", "text/event-stream")], None);
    assert!(nobody.text.starts_with("event: gone\n"), "{}", nobody.text);
}

#[test]
fn an_open_page_does_not_keep_its_session_alive_nor_the_hub_from_ending() {
    let running = Running::trusted();
    let browser = Browser::admin(&running);
    let reply = browser.stream("GET", "/t/default", &[("accept", "text/event-stream")], None);
    let mut reader = BufReader::new(reply.into_body().into_reader());
    let mut first = String::new();
    reader.read_line(&mut first).expect("a line");
    assert_eq!(first, "event: page\n");
    running.stop();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut reader, &mut rest).expect("the stream ends in order");
}

#[test]
fn a_token_made_by_one_click_lets_a_device_in_and_the_page_shows_it() {
    let running = Running::trusted();
    let browser = Browser::of(&running, "bo", Role::Operator, "default");
    assert!(browser.page("/t/default").contains("Enrol the first device"));
    let made = browser.send("/t/default", "/t/default/enrol", &[]);
    assert_eq!(made.status, 200, "{}", made.text);
    let line = made.between("jos agent enrol ", "</code>").to_owned();
    let follow = made.between("data-follow=\"", "\"").to_owned();
    assert!(browser.page(&follow).contains("No device has used it yet"));
    let device = Device::enrol(&running, &line).expect("it is enrolled");
    assert!(browser.page(&follow).contains(&device.id));
    assert!(browser.page("/t/default/tokens").contains("used up"));
    let log = running.get("/api/v1/audit?limit=2");
    assert_eq!(log["entries"][1]["actor"], "user:bo", "{log}");
    // Shown once: neither the secret nor the line is on any other page.
    for path in ["/t/default/tokens", "/t/default/audit", &follow] {
        assert!(!browser.page(path).contains(&line[..40]), "{path}");
    }
}

#[test]
fn a_device_is_found_by_what_is_known_of_it_and_shown_as_it_stands() {
    let running = Running::trusted();
    let browser = Browser::admin(&running);
    let devices: Vec<Device> = ["mx-3", "mx-3", "pe-1"]
        .iter()
        .map(|site| running.device(&json!({ "site": site })))
        .collect();
    let mut lacking = state_for(2, &json!({ "site": "pe-1" }));
    lacking["meta"]["requires"] = json!(["wasm"]);
    assert_eq!(running.push(&state_for(1, &json!({ "site": "mx-3" }))).0, 200);
    assert_eq!(running.push(&lacking).0, 200);
    assert_eq!(
        devices[0].heartbeat(&json!({ "version": 1, "outcome": "applied" })).0,
        200
    );
    assert_eq!(devices[1].heartbeat(&json!({})).0, 200);
    assert_eq!(devices[2].heartbeat(&json!({})).0, 200);
    let found = |query: &str| -> Vec<usize> {
        let page = browser.page(&format!("/t/default/devices?{query}"));
        (0..3).filter(|at| page.contains(&devices[*at].id)).collect()
    };
    let until = |query: &str, expected: &[usize]| {
        // The fleet is read again at most every second and a half; a change of what is offered is seen at once.
        assert_eq!(
            running
                .admin(
                    "PUT",
                    &format!("/api/v1/devices/{}/labels", devices[0].id),
                    &json!({ "set": { "round": unique("n") } })
                )
                .0,
            200
        );
        assert_eq!(found(query), expected, "{query}");
    };
    until("standing=in-step", &[0]);
    until("standing=on-its-way", &[1]);
    until("standing=held", &[2]);
    until("standing=failed", &[]);
    until("q=site%3Dmx-3", &[0, 1]);
    until("q=SITE%3Dmx-3%20portal@1", &[0]);
    until("q=nothing", &[]);
    let page = browser.page(&format!("/t/default/devices/{}", devices[2].id));
    assert!(page.contains("Version 2 is held back: the agent lacks wasm."), "{page}");

    // The forms: labels, quarantine, release, revoke.
    let own = format!("/t/default/devices/{}", devices[1].id);
    let labelled = browser.send(&own, &format!("{own}/label"), &[("labels", "site=pe-1 floor=2")]);
    assert_eq!(labelled.header("location"), own);
    assert_eq!(
        running.get(&format!("/api/v1/devices/{}", devices[1].id))["device"]["labels"],
        json!({ "site": "pe-1", "floor": "2" })
    );
    let wrong = browser.send(&own, &format!("{own}/label"), &[("labels", "floor")]);
    assert!(
        wrong.status == 400 && wrong.text.contains("expected KEY=VALUE"),
        "{}",
        wrong.text
    );
    assert_eq!(
        browser
            .send(&own, &format!("{own}/quarantine"), &[("reason", "stolen van")])
            .status,
        303
    );
    assert!(browser.page(&own).contains("stolen van") && devices[1].heartbeat(&json!({})).0 == 403);
    assert_eq!(browser.send(&own, &format!("{own}/release"), &[]).status, 303);
    assert_eq!(devices[1].heartbeat(&json!({})).0, 200);
    assert_eq!(browser.send(&own, &format!("{own}/revoke"), &[]).status, 303);
    let late = browser.send(&own, &format!("{own}/release"), &[]);
    assert!(
        late.status == 409 && late.text.contains("which is for good"),
        "{}",
        late.text
    );
}

#[test]
fn a_state_shows_who_signed_it_what_changed_and_how_far_it_has_come() {
    let running = Running::trusted();
    let browser = Browser::admin(&running);
    let device = running.device(&json!({}));
    assert_eq!(running.push(&state(1)).0, 200);
    assert_eq!(running.push(&state(2)).0, 200);
    let report = json!({
        "kind": "jos.report", "name": "portal", "version": 2, "outcome": "applied", "time": "2027-01-01T00:00:00Z", "changed": 1,
        "ledger": { "index": 3, "hash": "a".repeat(64) },
    });
    let (status, answer) = device.ask("POST", "/v1/report", Some(&report));
    assert_eq!(status, 204, "{answer}");
    assert_eq!(device.heartbeat(&json!({ "version": 2, "outcome": "applied" })).0, 200);
    let list = browser.page("/t/default/states");
    for words in [
        "portal\u{a0}1",
        "portal\u{a0}2",
        "admin-1",
        "version 2 took its place",
        "token:admin",
    ] {
        assert!(list.contains(words), "{words}: {list}");
    }
    let page = browser.page("/t/default/states/portal/2");
    let changed = page.split("What changed since version 1").nth(1).expect("a comparison");
    assert!(
        changed.contains("<tr class=\"less\">") && changed.contains("version 1\\n"),
        "{page}"
    );
    assert!(
        changed.contains("<tr class=\"more\">") && changed.contains("version 2\\n"),
        "{page}"
    );
    assert!(page.contains("1 device") && page.contains("class=\"curve\""), "{page}");
    assert_eq!(browser.get("/t/default/states/portal/9").status, 404);
    let retired = browser.send(
        "/t/default/states/portal/2",
        "/t/default/states/portal/2/retire",
        &[("reason", "wrong banner")],
    );
    assert_eq!(retired.status, 303, "{}", retired.text);
    assert!(browser.page("/t/default/states/portal/2").contains("wrong banner"));
}

#[test]
fn an_admin_of_every_tenant_manages_users_and_nobody_takes_their_own_rights_away() {
    let running = Running::new();
    let browser = Browser::admin(&running);
    let added = browser.send(
        "/users",
        "/users",
        &[("name", "bo"), ("role", "operator"), ("tenant", "default")],
    );
    let password = added.between("<code id=\"password\">", "</code>").to_owned();
    let own = Browser::new(&running);
    assert_eq!(own.sign_in("bo", &password).status, 303);
    assert_eq!(own.get("/t/default/tokens").status, 200);
    assert_eq!(
        browser
            .send("/users", "/users/bo/role", &[("role", "none"), ("tenant", "default")])
            .status,
        303
    );
    assert_eq!(own.get("/t/default").status, 404);
    assert!(own.page("/").contains("have no role in any tenant"));
    for (act, fields) in [
        ("role", &[("role", "viewer"), ("tenant", EVERY_TENANT)][..]),
        ("remove", &[]),
    ] {
        let refused = browser.send("/users", &format!("/users/ana/{act}"), fields);
        assert!(
            refused.status == 409 && refused.text.contains("nobody takes their own rights away"),
            "{}",
            refused.text
        );
    }
    for (fields, words) in [
        ([("name", "bo"), ("role", "viewer")], "there is a user"),
        ([("name", "B o"), ("role", "viewer")], "expected 1 to 64 of a-z"),
        ([("name", "cy"), ("role", "king")], "expected viewer, operator"),
    ] {
        let refused = browser.send("/users", "/users", &fields);
        assert!(
            (400..500).contains(&refused.status) && refused.text.contains(words),
            "{words}: {}",
            refused.text
        );
    }
    assert_eq!(browser.send("/users", "/users/bo/remove", &[]).status, 303);
    assert_eq!(own.get("/").status, 303);
    let log = browser.page("/audit?check=true");
    for words in ["user.remove", "user.add", "user:ana", "The log is whole"] {
        assert!(log.contains(words), "{words}: {log}");
    }
}

#[test]
fn no_password_and_no_session_is_found_in_the_data_directory() {
    let running = Running::new();
    let browser = Browser::admin(&running);
    assert_eq!(browser.get("/account").status, 200);
    let cookie = browser.cookie();
    let secret = cookie.split_once('=').expect("a cookie").1.to_owned();
    for entry in std::fs::read_dir(running.hub.dir.path()).expect("a folder") {
        let path = entry.expect("an entry").path();
        let bytes = std::fs::read(&path).expect("a file");
        for needle in [secret.as_bytes(), crate::browser::PASSWORD.as_bytes()] {
            assert!(
                !bytes.windows(needle.len()).any(|window| window == needle),
                "{}",
                path.display()
            );
        }
    }
}

#[test]
fn what_a_device_measured_is_drawn_as_curves() {
    let running = Running::trusted();
    let browser = Browser::admin(&running);
    let device = running.device(&json!({}));
    let path = format!("/t/default/devices/{}", device.id);
    for load in [1.5, 2.5, 0.5] {
        let said = json!({ "telemetry": { "load": load, "os": EVIL } });
        assert_eq!(device.heartbeat(&said).0, 200);
        running.clock.advance(300);
    }
    let page = browser.page(&path);
    is_text_only(&path, &page);
    let drawn = page.split("Measured").nth(1).expect("curves");
    assert!(
        drawn.contains("<span>load</span>") && drawn.contains("aria-label=\"load: 0.50 at the end\""),
        "{drawn}"
    );
}

#[test]
fn a_rollout_is_paused_and_goes_on_by_a_form_and_the_page_says_who_approved_it() {
    let running = Running::trusted();
    let browser = Browser::admin(&running);
    assert_eq!(running.push(&state(1)).0, 200);
    let device = running.device(&json!({}));
    let plan = json!({
        "kind": "jos.rollout", "name": "portal", "version": 2, "approval": true, "phases": [{ "percent": 100 }],
    });
    let second = signed(&state(2), desired_state::KIND, &[&admin_key()]).to_string();
    let (status, made) = running.admin("POST", "/api/v1/rollouts", &json!({ "rollout": plan, "state": second }));
    assert_eq!(status, 200, "{made}");
    let path = format!("/t/default/rollouts/{}", made["rollout"]["id"].as_str().expect("an id"));
    assert!(browser.page("/t/default/rollouts").contains("waits for approval"));
    for (act, shows) in [
        ("approve", "under way"),
        ("pause", "paused"),
        ("resume", "under way"),
        ("abort", "aborted"),
    ] {
        let done = browser.send(&path, &format!("{path}/{act}"), &[("reason", "a test")]);
        assert_eq!(done.status, 303, "{act}: {}", done.text);
        assert!(browser.page(&path).contains(shows), "{act}");
    }
    let late = browser.send(&path, &format!("{path}/resume"), &[]);
    assert_eq!(late.status, 409, "{}", late.text);
    assert!(browser.page(&path).contains("user:ana"), "who approved it");
    drop(device);
}

#[test]
fn the_fleet_page_shows_the_rollouts_under_way_and_follows_them() {
    let running = Running::trusted();
    let browser = Browser::admin(&running);
    assert_eq!(running.push(&state(1)).0, 200);
    let device = running.device(&json!({}));
    let card = || {
        let page = browser.page("/t/default");
        let (_, card) = page.split_once("data-live=\"rollouts\"").expect("the card");
        card.split("</section>").next().expect("its end").to_owned()
    };
    assert!(card().contains("No rollout is under way"));
    let plan = json!({
        "kind": "jos.rollout", "name": "portal", "version": 2, "approval": true, "phases": [{ "percent": 100, "soak": 86_400 }],
    });
    let second = signed(&state(2), desired_state::KIND, &[&admin_key()]).to_string();
    let (status, made) = running.admin("POST", "/api/v1/rollouts", &json!({ "rollout": plan, "state": second }));
    assert_eq!(status, 200, "{made}");
    let path = format!("/t/default/rollouts/{}", made["rollout"]["id"].as_str().expect("an id"));
    let waiting = card();
    assert!(
        waiting.contains(&path) && waiting.contains("waits for approval"),
        "{waiting}"
    );
    // Another tenant's are not shown.
    assert_eq!(
        running.admin("POST", "/api/v1/tenants", &json!({ "name": "acme" })).0,
        200
    );
    running.token(&json!({ "tenant": "acme" }));
    assert!(!browser.page("/t/acme").contains(&path));

    // An open page is sent it as it goes on.
    let stream = browser.stream("GET", "/t/default", &[("accept", "text/event-stream")], None);
    let mut lines = BufReader::new(stream.into_body().into_reader())
        .lines()
        .map_while(Result::ok);
    let mut told = |words: &str| {
        lines
            .by_ref()
            .find(|line| line.starts_with("data:") && line.contains(words))
    };
    assert!(told("waits for approval").is_some());
    assert_eq!(browser.send(&path, &format!("{path}/approve"), &[]).status, 303);
    assert!(told("under way").is_some());
    assert!(device.state(None, 0).2.windows(11).any(|w| w == b"\"version\":2"));
    let failed = json!({
        "kind": "jos.report", "name": "portal", "version": 2, "outcome": "rolled_back", "time": "2027-01-01T00:00:00Z",
        "changed": 1, "reason": "nothing listens", "ledger": { "index": 9, "hash": "9".repeat(64) },
    });
    assert_eq!(device.ask("POST", "/v1/report", Some(&failed)).0, 204);
    assert!(told("halted by itself").is_some());
    let halted = card();
    assert!(halted.contains("<td data-name=\"Failed\"><div>1</div>"), "{halted}");
    assert_eq!(browser.send(&path, &format!("{path}/abort"), &[]).status, 303);
    assert!(card().contains("No rollout is under way"));
}
