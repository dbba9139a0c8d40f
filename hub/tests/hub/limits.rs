//! Body limits, over the whole table of operations.

use jos_hub::api::operations::{self, For};
use jos_schemas::Limits;
use serde_json::Value;

use crate::common::{Device, Running};

const SMALL: usize = 64 << 10;

/// What a body may be long, by path; none where a body is not read, or is a blob's content.
fn longest(path: &str) -> Option<usize> {
    match path {
        "/v1/heartbeat" => Some(128 << 10),
        "/api/v1/states" | "/api/v1/trust" => Some(Limits::DOCUMENT.bytes),
        "/api/v1/rollouts" => Some(5 << 20),
        "/api/v1/blobs"
        | "/api/v1/ca/rotation"
        | "/api/v1/ca/abort"
        | "/api/v1/keys/freshness"
        | "/api/v1/keys/server" => None,
        _ => Some(SMALL),
    }
}

fn send(running: &Running, device: &Device, method: &str, path: &str, length: usize) -> (u16, Value) {
    // JSON, as long as it has to be.
    let text = Value::from("x".repeat(length - 2));
    if path.starts_with("/v1/") {
        device.ask(method, path, Some(&text))
    } else {
        running.admin(method, path, &text)
    }
}

#[test]
fn body_limits_hold_on_every_route_that_takes_a_body() {
    let running = Running::trusted();
    let device = running.device(&serde_json::json!({}));
    assert_eq!(device.heartbeat(&serde_json::json!({})).0, 200);
    let plan = crate::rollouts::begin(&running, &crate::rollouts::plan(&serde_json::json!({}))).1;
    let rollout = plan["rollout"]["id"].as_str().expect("an id");
    let mut tried = 0;
    for operation in operations::all() {
        let takes = matches!(operation.method, "post" | "put") && operation.whose != For::All;
        let Some(limit) = longest(operation.path).filter(|_| takes) else {
            assert!(
                operation.takes.is_none() || operation.method == "get",
                "{}",
                operation.path
            );
            continue;
        };
        let id = if operation.path.starts_with("/api/v1/rollouts") {
            rollout
        } else {
            &device.id
        };
        let path = operation
            .path
            .replace("{id}", id)
            .replace("{name}", "portal")
            .replace("{version}", "2");
        let method = operation.method.to_uppercase();
        let (status, refusal) = send(&running, &device, &method, &path, limit + 1);
        assert_eq!(
            (status, &refusal["code"]),
            (413, &"too-long".into()),
            "{method} {path}: {refusal}"
        );
        let (status, refusal) = send(&running, &device, &method, &path, limit);
        assert!(
            (400..500).contains(&status) && status != 413,
            "{method} {path}: {status} {refusal}"
        );
        tried += 1;
    }
    assert!(tried > 25, "{tried}");
}
