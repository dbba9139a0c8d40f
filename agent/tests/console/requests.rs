//! What is answered, and to whom.

use crate::Running;

fn status(reply: &str) -> &str {
    reply.split(' ').nth(1).unwrap_or(reply)
}

/// The guard of the forms of a page.
fn guard(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"guard\" value=\"").expect("a form");
    rest.split('"').next().unwrap_or_default().to_owned()
}

fn post(running: &Running, path: &str, headers: &str, body: &str) -> String {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\n{headers}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        running.address,
        body.len()
    );
    running.raw(format!("{head}{body}").as_bytes())
}

#[test]
fn nobody_gets_in_without_the_token_and_by_another_name_not_even_with_it() {
    let running = Running::start(false);
    for path in ["/", "/jobs", "/?token=", "/?token=wrong", "/nothing"] {
        let reply = running.get(path, "");
        assert_eq!(status(&reply), "401", "{path}");
        assert!(!reply.contains("guard") && !reply.contains("set-cookie"), "{reply}");
    }
    let token = running.url.split("token=").nth(1).expect("a token");
    let by = |host: &str| running.raw(format!("GET /?token={token} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    let port = running.address.split(':').nth(1).expect("a port");
    for host in [
        "evil.example",
        &format!("evil.example:{port}"),
        "127.0.0.1",
        &format!("127.0.0.1.evil.example:{port}"),
    ] {
        assert_eq!(status(&by(host)), "421", "{host}");
    }
    let reply = by(&running.address);
    assert_eq!(status(&reply), "303");
    assert!(
        reply.contains("; HttpOnly; SameSite=Strict\r\n") && reply.contains("location: /\r\n"),
        "{reply}"
    );
    let reply = running.get("/", &running.cookie());
    assert_eq!(status(&reply), "200");
    assert!(
        reply.contains("content-security-policy: default-src 'none';") && !reply.contains("unsafe-inline"),
        "{reply}"
    );
    assert!(!reply.contains(token), "the token is on no page");
}

#[test]
fn a_form_of_another_site_changes_nothing() {
    let running = Running::start(false);
    let cookie = running.cookie();
    let guard = guard(&running.get("/jobs", &cookie));
    let body = format!("guard={guard}&agent=advance&input=%7B%7D&id=mine");
    let here = format!("Origin: http://{}\r\n", running.address);
    for (headers, body) in [
        (cookie.clone(), body.clone()),
        (format!("{cookie}Origin: http://evil.example\r\n"), body.clone()),
        (format!("{cookie}Origin: null\r\n"), body.clone()),
        (format!("{cookie}{here}Sec-Fetch-Site: cross-site\r\n"), body.clone()),
        (format!("{cookie}{here}"), body.replace(&guard, "guessed")),
    ] {
        assert_eq!(status(&post(&running, "/jobs", &headers, &body)), "403", "{headers}");
    }
    assert_eq!(
        status(&post(&running, "/jobs", &here, &body)),
        "401",
        "without the cookie"
    );
    assert_eq!(running.names("inbox"), [""; 0]);
    let reply = post(&running, "/jobs", &format!("{cookie}{here}"), &body);
    assert_eq!(status(&reply), "303", "{reply}");
    assert_eq!(running.names("inbox"), ["mine.json"]);
    // A second one of the same id, and ids that are paths.
    for id in ["mine", "..%2Fschedules%2Fx", "%3Cimg%3E"] {
        let body = format!("guard={guard}&agent=advance&input=%7B%7D&id={id}");
        assert_eq!(
            status(&post(&running, "/jobs", &format!("{cookie}{here}"), &body)),
            "400",
            "{id}"
        );
    }
    assert_eq!(running.names("inbox"), ["mine.json"]);
}

#[test]
fn what_files_call_themselves_is_text_on_every_page() {
    let running = Running::start(true);
    let evil = "<img src=x onerror=alert(1)>";
    let put = |below: &str, text: &str| std::fs::write(running.dir.path().join(below), text).expect("written");
    put(&format!("inbox/{evil}.json"), "{}");
    put(&format!("agents/{evil}.json"), "{");
    put(
        "outbox/j.json",
        &serde_json::json!({ "id": "j", "state": evil, "result": evil }).to_string(),
    );
    put(
        "processed/j.json",
        &serde_json::json!({ "id": "j", "agent": evil, "input": evil }).to_string(),
    );
    put("failed/k.json", "{}");
    put("failed/k.json.reason", evil);
    put(
        "evals/evil.json",
        &serde_json::json!({ "kind": "jos.eval", "name": evil }).to_string(),
    );
    put("schedules/evil.json", &serde_json::json!({ "agent": evil }).to_string());
    let cookie = running.cookie();
    for page in [
        "/",
        "/jobs",
        "/jobs/j",
        "/jobs/k",
        "/agents",
        "/replay",
        "/log",
        "/schedules",
        "/evals",
        "/machine",
        "/harness",
        "/help",
    ] {
        let reply = running.get(page, &cookie);
        assert_eq!(status(&reply), "200", "{page}: {reply}");
        assert!(!reply.contains("<img"), "{page}");
        let told = ["/jobs", "/jobs/j", "/jobs/k", "/agents"].contains(&page);
        assert!(!told || reply.contains("&lt;img"), "{page}");
    }
    assert_eq!(status(&running.get(&format!("/jobs/{}", "%3Cimg%3E"), &cookie)), "404");
}
