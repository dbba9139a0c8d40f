//! What admins ask over the network, and what monitoring sees.

use serde_json::{Value, json};

use crate::common::{Running, agent, read, state};

#[test]
fn nothing_of_the_api_is_given_without_its_token() {
    let running = Running::new();
    let client = agent(running.hub.authorities().ca().certificate(), None);
    for bearer in ["", "Bearer x", "Bearer josapi1-AAAA", "Basic YWRtaW46YWRtaW4="] {
        let request = ureq::http::Request::builder()
            .uri(format!("https://{}/api/v1/devices", running.admins()))
            .header("authorization", bearer)
            .body(())
            .expect("a request");
        let (status, refusal) = read(client.run(request).expect("an answer"));
        assert_eq!(
            (status, refusal["code"].as_str()),
            (401, Some("no-api-token")),
            "{bearer}"
        );
    }
    // Another hub's token is none of this one's.
    let other = Running::new();
    let line = std::fs::read_to_string(other.hub.dir.file("admin.token")).expect("a token");
    let request = ureq::http::Request::builder()
        .uri(format!("https://{}/api/v1/devices", running.admins()))
        .header("authorization", format!("Bearer {}", line.trim()))
        .body(())
        .expect("a request");
    assert_eq!(read(client.run(request).expect("an answer")).0, 401);
}

#[test]
fn health_metrics_and_the_description_of_the_api_are_open() {
    let running = Running::trusted();
    let device = running.device(&json!({}));
    assert_eq!(device.heartbeat(&json!({})).0, 200);
    let client = agent(running.hub.authorities().ca().certificate(), None);
    let get = |path: &str| {
        let reply = client
            .get(format!("https://{}{path}", running.admins_of_devices()))
            .call()
            .expect("an answer");
        let own = reply.headers().get("x-content-type-options").is_some();
        assert!(own, "{path}");
        read(reply)
    };
    assert_eq!(get("/healthz"), (200, json!("ok\n")));
    assert_eq!(get("/readyz"), (200, json!("ready\n")));
    let (_, metrics) = get("/metrics");
    let metrics = metrics.as_str().expect("text");
    for line in [
        "jos_hub_enrolled_total 1\n",
        "jos_hub_heartbeats_total 1\n",
        "jos_hub_devices{standing=\"active\"} 1\n",
        "jos_hub_devices{standing=\"seen\"} 1\n",
        "jos_hub_request_seconds_bucket{le=\"+Inf\"}",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    let (status, openapi) = get("/api/v1/openapi.json");
    assert_eq!((status, &openapi["openapi"]), (200, &json!("3.1.0")));
    assert!(openapi["paths"]["/v1/enrol"]["post"]["requestBody"].is_object());
}

#[test]
fn audit_log_is_append_only_and_says_who_did_what() {
    let running = Running::trusted();
    let device = running.device(&json!({}));
    assert_eq!(running.push(&state(1)).0, 200);
    let path = format!("/api/v1/devices/{}/quarantine", device.id);
    assert_eq!(running.admin("POST", &path, &json!({ "reason": "stolen van" })).0, 200);
    let log = running.get("/api/v1/audit");
    let acts: Vec<(&str, &str)> = log["entries"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|e| {
            (
                e["actor"].as_str().unwrap_or_default(),
                e["action"].as_str().unwrap_or_default(),
            )
        })
        .collect();
    let own = format!("device:{}", device.id);
    assert_eq!(
        acts[..5],
        [
            ("token:admin", "device.quarantine"),
            ("token:admin", "state.push"),
            (own.as_str(), "device.enrol"),
            ("token:admin", "token.new"),
            ("token:admin", "trust.push"),
        ]
    );
    assert_eq!((&log["whole"], &log["broken"]), (&json!(6), &Value::Null));
    // Append-only, also for whoever has the database open.
    running.runtime.block_on(async {
        for sql in ["DELETE FROM audit", "UPDATE audit SET actor = 'nobody'"] {
            let mut tx = running.hub.store.write().await.expect("a transaction");
            let error = sqlx::query(sql).execute(&mut *tx).await.expect_err("it is refused");
            assert!(error.to_string().contains("append-only"), "{error}");
        }
        // And whoever takes the lock off leaves a trace.
        let mut tx = running.hub.store.write().await.expect("a transaction");
        let on = if running.hub.store.database().is_shared() {
            " ON audit"
        } else {
            ""
        };
        let unlock = sqlx::AssertSqlSafe(format!("DROP TRIGGER audit_is_not_changed{on}"));
        sqlx::query(unlock).execute(&mut *tx).await.expect("it is done");
        let change = sqlx::query("UPDATE audit SET actor = 'nobody' WHERE number = 4");
        change.execute(&mut *tx).await.expect("it is done");
        tx.commit().await.expect("it is done");
    });
    assert_eq!(running.get("/api/v1/audit")["broken"], 4);
}

#[test]
fn no_secret_of_a_token_is_found_in_the_data_directory_nor_in_any_reply() {
    let running = Running::new();
    let line = running.token(&json!({ "uses": 2 }));
    let token: jos_link::Token = line.parse().expect("a token");
    crate::common::Device::enrol(&running, &line).expect("it is enrolled");
    let replies = ["tokens", "devices", "audit", "export", "alarms"]
        .map(|what| running.get(&format!("/api/v1/{what}")).to_string());
    let secret = token.secret_text();
    assert!(
        replies
            .iter()
            .all(|reply| !reply.contains(&secret) && !reply.contains(&line))
    );
    for entry in std::fs::read_dir(running.hub.dir.path()).expect("a folder") {
        let path = entry.expect("an entry").path();
        let bytes = std::fs::read(&path).expect("a file");
        let has = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(
            !has(secret.as_bytes()) && !has(line.as_bytes()) && !has(&token.secret),
            "{}",
            path.display()
        );
    }
}

#[test]
fn what_is_asked_wrongly_is_refused_with_what_was_expected() {
    let running = Running::new();
    for (method, path, body, expected) in [
        ("POST", "/api/v1/tokens", json!({ "usse": 1 }), "usse"),
        ("POST", "/api/v1/tokens", json!({ "uses": 0 }), "at least one use"),
        (
            "POST",
            "/api/v1/tokens",
            json!({ "addresses": ["http://hub"] }),
            "https://HOST:PORT",
        ),
        (
            "POST",
            "/api/v1/tokens",
            json!({ "tenant": "nobody" }),
            "there is no tenant",
        ),
        ("POST", "/api/v1/tenants", json!({ "name": "../x" }), "a name of a-z"),
        ("POST", "/api/v1/tenants", json!({ "name": "default" }), "already"),
        ("POST", "/api/v1/devices/d-0/revoke", json!({}), "there is no device"),
        ("DELETE", "/api/v1/tokens/t-0", json!({}), "there is no token"),
        ("POST", "/api/v1/states/portal/1/retire", json!({}), "not offered"),
    ] {
        let (status, refusal) = running.admin(method, path, &body);
        assert!((400..500).contains(&status), "{path}: {status}");
        let text = refusal["message"].as_str().unwrap_or_default();
        assert!(text.contains(expected), "{path} {body}: {refusal}");
    }
    assert_eq!(running.admin("DELETE", "/api/v1/devices", &Value::Null).0, 405);
    assert_eq!(running.admin("GET", "/api/v1/nothing", &Value::Null).0, 404);
}
