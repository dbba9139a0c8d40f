//! What people ask of devices, and what becomes of the answers: kept once, from the one who was asked, and shown as text.

use jos_hub::store::users::Role;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::common::{Device, Running};

const TIME: &str = "2027-01-01T00:00:00Z";
const HOUR: i64 = 3600;

/// A device that has called, so that its agent `portal` is known.
fn called(running: &Running) -> Device {
    let device = running.device(&json!({}));
    assert_eq!(device.heartbeat(&json!({})).0, 200);
    device
}

fn ask(running: &Running, device: &Device, question: &Value) -> (u16, Value) {
    running.admin("POST", &format!("/api/v1/devices/{}/questions", device.id), question)
}

/// The id of a question that was taken. No two are of one second, so that their order is known.
fn asked(running: &Running, device: &Device, question: &Value) -> String {
    running.clock.advance(1);
    let (status, asked) = ask(running, device, question);
    assert_eq!(status, 200, "{asked}");
    asked["id"].as_str().expect("an id").to_owned()
}

fn told(running: &Running, device: &Device) -> Value {
    running.get(&format!("/api/v1/devices/{}/questions", device.id))
}

fn answer(device: &Device, id: &str, more: &Value) -> (u16, Value) {
    let mut answer = json!({ "kind": "jos.answer", "name": "portal", "time": TIME });
    for (key, value) in more.as_object().into_iter().flatten() {
        answer[key] = value.clone();
    }
    device.ask("POST", &format!("/v1/answer/{id}"), Some(&answer))
}

fn open(device: &Device) -> Vec<Value> {
    let (status, reply) = device.heartbeat(&json!({}));
    assert_eq!(status, 200, "{reply}");
    reply["questions"].as_array().cloned().unwrap_or_default()
}

#[test]
fn a_question_comes_with_the_next_call_and_the_answer_is_kept() {
    let running = Running::new();
    let (device, other) = (called(&running), called(&running));
    assert!(open(&device).is_empty());
    let logs = asked(&running, &device, &json!({ "about": "logs", "most": 50 }));
    let blame = asked(
        &running,
        &device,
        &json!({ "about": "blame", "path": "/etc/motd", "name": "portal" }),
    );
    // The same once more is the same question.
    assert_eq!(asked(&running, &device, &json!({ "about": "logs", "most": 50 })), logs);
    assert_eq!(
        open(&device),
        [
            json!({ "id": logs, "about": "logs", "most": 50 }),
            json!({ "id": blame, "about": "blame", "path": "/etc/motd" })
        ]
    );
    assert!(open(&other).is_empty());
    assert_eq!(answer(&device, &logs, &json!({ "logs": ["one", "two"] })).0, 204);
    let deed = json!({ "decision": 3, "time": TIME, "source": "hub", "version": 2, "signers": ["admin-1"] });
    let why = json!({ "blame": { "path": "/etc/motd", "stands_by": deed } });
    assert_eq!(answer(&device, &blame, &why).0, 204);
    assert!(open(&device).is_empty());
    let all = told(&running, &device);
    let of = |id: &str| {
        all.as_array()
            .into_iter()
            .flatten()
            .find(|one| one["id"] == *id)
            .cloned()
            .expect("it is there")
    };
    assert_eq!(of(&logs)["answer"]["logs"], json!(["one", "two"]));
    assert_eq!(
        of(&blame)["answer"]["blame"]["stands_by"]["signers"],
        json!(["admin-1"])
    );
    assert!(
        of(&logs)["answered"].is_i64() && of(&logs)["asked_by"] == "token:admin",
        "{all}"
    );
    // An export has all of it.
    let exported = running.get("/api/v1/export")["questions"].clone();
    assert_eq!(exported.as_array().map(Vec::len), Some(2), "{exported}");
    assert!(
        exported.as_array().into_iter().flatten().any(|one| *one == of(&logs)),
        "{exported}"
    );
    // Who asked is written down; what was told is not.
    let log = running.get("/api/v1/audit?limit=2");
    let entry = &log["entries"][0];
    assert_eq!(
        (&entry["action"], &entry["detail"]["about"], &entry["detail"]["path"]),
        (&json!("device.ask"), &json!("blame"), &json!("/etc/motd"))
    );
}

#[test]
fn an_answer_is_taken_once_from_the_one_who_was_asked_and_in_time() {
    let running = Running::new();
    let (device, other) = (called(&running), called(&running));
    let id = asked(&running, &device, &json!({ "about": "logs" }));
    let good = json!({ "logs": ["fine"] });
    // Another device's, of another agent, to another question, two at once, none at all, and to none.
    assert_eq!(answer(&other, &id, &good).0, 404);
    for wrong in [
        json!({ "logs": ["x"], "name": "captive" }),
        json!({ "ledger": [] }),
        json!({ "logs": ["x"], "ledger": [] }),
        json!({ "logs": ["x"], "refused": "no" }),
        json!({}),
    ] {
        assert_eq!(answer(&device, &id, &wrong).0, 404, "{wrong}");
    }
    assert_eq!(answer(&device, "q-0", &good).0, 404);
    let path = asked(&running, &device, &json!({ "about": "blame", "path": "/etc/motd" }));
    assert_eq!(
        answer(&device, &path, &json!({ "blame": { "path": "/etc/shadow" } })).0,
        404
    );
    // What would move a cursor, what is no answer, what is too long.
    assert_eq!(answer(&device, &id, &json!({ "logs": ["\u{1b}[2J"] })).0, 400);
    assert_eq!(answer(&device, &id, &json!({ "logs": ["x"], "more": 1 })).0, 400);
    assert_eq!(
        answer(&device, &id, &json!({ "logs": vec!["x".repeat(1000); 70] })).0,
        413
    );
    assert_eq!(told(&running, &device)[1]["answer"], Value::Null);
    assert_eq!(answer(&device, &id, &good).0, 204);
    assert_eq!(answer(&device, &id, &json!({ "logs": ["another story"] })).0, 404);
    assert_eq!(told(&running, &device)[1]["answer"]["logs"], json!(["fine"]));
    // Over, it is asked no more, and no answer is taken.
    running.clock.advance(HOUR + 1);
    assert!(open(&device).is_empty());
    assert_eq!(answer(&device, &path, &json!({ "refused": "no" })).0, 404);
    assert_eq!(told(&running, &device)[0]["answer"], Value::Null);
}

#[test]
fn few_questions_are_open_and_few_answers_are_kept() {
    let running = Running::new();
    let device = called(&running);
    let paths = |n: usize| json!({ "about": "blame", "path": format!("/etc/{n}") });
    for n in 0..8 {
        asked(&running, &device, &paths(n));
    }
    let (status, refused) = ask(&running, &device, &paths(8));
    assert_eq!((status, &refused["code"]), (409, &json!("too-many-questions")));
    assert_eq!(open(&device).len(), 8);
    running.clock.advance(HOUR);
    for n in 8..40 {
        running.clock.advance(HOUR / 4);
        asked(&running, &device, &paths(n));
    }
    let all = told(&running, &device);
    assert!((16..=24).contains(&all.as_array().map_or(0, Vec::len)), "{all}");
    assert_eq!(all[0]["path"], "/etc/39");
}

#[test]
fn a_question_that_makes_no_sense_is_refused_in_words() {
    let running = Running::new();
    let silent = running.device(&json!({}));
    let (status, refused) = ask(&running, &silent, &json!({ "about": "logs" }));
    assert_eq!((status, &refused["code"]), (409, &json!("no-agent")));
    let device = called(&running);
    for (question, words) in [
        (json!({ "about": "blame" }), "path: none was named"),
        (json!({ "about": "blame", "path": "etc/motd" }), "absolute path"),
        (
            json!({ "about": "blame", "path": format!("/{}a", "a/".repeat(600)) }),
            "1024 bytes",
        ),
        (json!({ "about": "logs", "path": "/etc/motd" }), "only `blame`"),
        (json!({ "about": "logs", "most": 201 }), "expected 1 to 200"),
        (json!({ "about": "ledger", "most": 0 }), "expected 1 to 100"),
        (json!({ "about": "passwords" }), "passwords"),
    ] {
        let (status, refused) = ask(&running, &device, &question);
        let message = refused["message"].as_str().unwrap_or_default();
        assert!(
            status == 400 && (message.contains(words) || words == "passwords"),
            "{question}: {refused}"
        );
    }
    assert_eq!(
        ask(&running, &device, &json!({ "about": "logs", "name": "captive" })).0,
        404
    );
    let quarantine = format!("/api/v1/devices/{}/quarantine", device.id);
    assert_eq!(running.admin("POST", &quarantine, &json!({})).0, 200);
    assert_eq!(
        ask(&running, &device, &json!({ "about": "logs" })).1["code"],
        "quarantined"
    );
}

#[test]
fn the_devices_page_shows_what_it_told_as_text_and_lets_operators_ask() {
    const EVIL: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>";
    let running = Running::trusted();
    let device = called(&running);
    let own = format!("/t/default/devices/{}", device.id);
    let viewer = Browser::of(&running, "vi", Role::Viewer, "default");
    assert!(!viewer.page(&own).contains("Ask for its log"));
    let browser = Browser::of(&running, "bo", Role::Operator, "default");
    let sent = viewer.send(&own, &format!("{own}/ask"), &[("about", "logs")]);
    assert_eq!(sent.status, 403, "{}", sent.text);
    for fields in [
        &[("about", "logs")][..],
        &[("about", "ledger")],
        &[("about", "blame"), ("path", "/etc/motd")],
    ] {
        let sent = browser.send(&own, &format!("{own}/ask"), fields);
        assert_eq!(
            (sent.status, sent.header("location")),
            (303, own.as_str()),
            "{}",
            sent.text
        );
    }
    let page = browser.page(&own);
    assert_eq!(page.matches("comes with its next call").count(), 3, "{page}");
    let wrong = browser.send(&own, &format!("{own}/ask"), &[("about", "blame"), ("path", "motd")]);
    assert!(
        wrong.status == 400 && wrong.text.contains("absolute path"),
        "{}",
        wrong.text
    );
    for question in open(&device) {
        let id = question["id"].as_str().expect("an id");
        let told = match question["about"].as_str() {
            Some("logs") => json!({ "logs": [EVIL, "second line"] }),
            Some("ledger") => json!({ "ledger": [
                { "index": 4, "time": TIME, "kind": "decision", "source": "hub", "version": 7, "decision": "state.apply",
                  "signers": ["admin-1"] },
                { "index": 5, "time": TIME, "kind": "outcome", "source": "hub", "version": 7, "of": 4, "outcome": "rolled_back",
                  "changed": 2 },
            ] }),
            _ => json!({ "refused": EVIL }),
        };
        let (status, refused) = answer(&device, id, &told);
        assert_eq!(status, 204, "{refused}");
    }
    let page = browser.page(&own);
    for words in [
        "second line",
        "state.apply",
        "signed by admin-1",
        "rolled back",
        "of record 4, 2 changes",
        "It does not tell: ",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(!page.contains("comes with its next call"), "{page}");
    assert_eq!(
        page.matches("&lt;script&gt;alert(1)&lt;/script&gt;").count(),
        2,
        "{page}"
    );
    for words in ["<script>alert", "<img src=x", "\"'><"] {
        assert!(!page.contains(words), "{words}: {page}");
    }
    // Whoever only looks sees it too; nobody who has no role here does.
    assert!(viewer.page(&own).contains("second line"));
    // One that is not answered is called so once its hour is over.
    // Later than the one that was answered.
    running.clock.advance(1);
    assert_eq!(
        browser.send(&own, &format!("{own}/ask"), &[("about", "logs")]).status,
        303
    );
    running.clock.advance(HOUR + 1);
    let page = browser.page(&own);
    assert!(
        page.contains("did not answer within the hour") && page.contains("second line"),
        "{page}"
    );
}
