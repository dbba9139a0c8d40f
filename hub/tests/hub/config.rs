//! What is pushed, what is refused, and who is offered what.

use std::time::{Duration, Instant};

use jos_schemas::documents::hub::{DeviceFloor, Freshness};
use jos_schemas::documents::trust::Role;
use jos_schemas::documents::{desired_state, trust};
use jos_schemas::text::Name;
use jos_trust::root::Received;
use jos_trust::statement::{self, Asked};
use jos_trust::{SecretKey, TrustRoot, sha256, sign};
use serde_json::{Value, json};

use crate::common::{
    Device, Running, admin_key, named, read, root_key, signed, state, state_for, stranger_key, to_value,
};

fn refused(reply: (u16, Value), code: &str) {
    assert_eq!(reply.1["code"].as_str(), Some(code), "{}", reply.1);
    assert!((400..500).contains(&reply.0));
}

#[test]
fn nothing_is_accepted_that_does_not_verify_against_the_tenants_trust_document() {
    let running = Running::new();
    refused(running.push(&state(1)), "no-trust");
    assert_eq!(running.admin("POST", "/api/v1/trust", &running.trust("default")).0, 200);
    refused(running.admin("POST", "/api/v1/states", &state(1)), "unsigned");
    let by = |key: &SecretKey| signed(&state(1), desired_state::KIND, &[key]);
    refused(
        running.admin("POST", "/api/v1/states", &by(&stranger_key())),
        "bad-signature",
    );
    refused(running.admin("POST", "/api/v1/states", &by(&root_key())), "wrong-role");
    // Key confusion: what the hub signs with itself signs no state.
    refused(
        running.admin(
            "POST",
            "/api/v1/states",
            &by(running.hub.authorities().voice("default")),
        ),
        "wrong-role",
    );
    let mut edited = by(&admin_key());
    edited["meta"]["version"] = 2.into();
    refused(running.admin("POST", "/api/v1/states", &edited), "bad-signature");
    assert_eq!(running.get("/api/v1/states"), json!([]));
    let (status, pushed) = running.push(&state(1));
    assert_eq!((status, &pushed["standing"]), (200, &json!("new")), "{pushed}");
}

#[test]
fn a_state_without_tenant_or_end_or_for_another_tenant_or_past_its_end_is_refused() {
    let running = Running::trusted();
    let without = |member: &str| {
        let mut state = state(1);
        state["meta"].as_object_mut().expect("an object").remove(member);
        state
    };
    refused(running.push(&without("audience")), "unscoped");
    refused(running.push(&without("expires")), "unscoped");
    refused(running.push(&state_of("acme")), "other-tenant");
    let mut over = state(1);
    over["meta"]["expires"] = "2026-01-01T00:00:00Z".into();
    refused(running.push(&over), "expired");
}

fn state_of(tenant: &str) -> Value {
    let mut state = state(1);
    state["meta"]["audience"]["tenant"] = tenant.into();
    state
}

#[test]
fn older_is_refused_the_same_number_with_other_content_is_refused_and_the_identical_one_is_no_change() {
    let running = Running::trusted();
    assert_eq!(running.push(&state(5)).0, 200);
    assert_eq!(running.push(&state(5)).1["standing"], "unchanged");
    refused(running.push(&state(4)), "rollback");
    let mut other = state(5);
    other["spec"]["apply"][0]["content"] = "other\n".into();
    refused(running.push(&other), "same-version-other-content");
    assert_eq!(running.push(&state(6)).1["standing"], "new");
    // Every version is kept, byte for byte.
    let list = running.get("/api/v1/states");
    let versions: Vec<_> = list
        .as_array()
        .into_iter()
        .flatten()
        .map(|state| (&state["version"], state["retired"].is_null()))
        .collect();
    assert_eq!(versions, [(&json!(6), true), (&json!(5), false)]);
    let kept = running.get("/api/v1/states/portal/5");
    assert_eq!(kept, signed(&state(5), desired_state::KIND, &[&admin_key()]));
}

#[test]
fn a_device_gets_the_very_bytes_that_were_signed_and_304_where_it_has_them() {
    let running = Running::trusted();
    let device = running.device(&json!({}));
    assert_eq!(device.state(None, 0).0, 204);
    let bytes = signed(&state(1), desired_state::KIND, &[&admin_key()])
        .to_string()
        .into_bytes();
    assert_eq!(running.admin_bytes("POST", "/api/v1/states", bytes.clone()).0, 200);
    let (status, tag, served) = device.state(None, 0);
    assert_eq!((status, &served), (200, &bytes));
    assert_eq!(tag, format!("\"{}\"", sha256(&bytes)));
    let (status, _, served) = device.state(Some(&tag), 0);
    assert_eq!((status, served.len()), (304, 0));
}

#[test]
fn a_long_poll_is_answered_when_a_state_is_pushed_and_when_it_is_retired() {
    let running = Running::trusted();
    assert_eq!(running.push(&state(1)).0, 200);
    let device = running.device(&json!({}));
    let (_, tag, _) = device.state(None, 0);
    let began = Instant::now();
    let newer = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| device.state(Some(&tag), 60));
        assert_eq!(running.push(&state(2)).0, 200);
        let (status, newer, _) = waiting.join().expect("no panic");
        assert_eq!(status, 200);
        newer
    });
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| device.state(Some(&newer), 60));
        let retired = running.admin("POST", "/api/v1/states/portal/2/retire", &json!({}));
        assert_eq!(retired.0, 204);
        assert_eq!(waiting.join().expect("no panic").0, 204);
    });
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(device.state(Some("\"other\""), 1).0, 204);
}

#[test]
fn a_long_poll_hears_what_another_process_changes_in_the_same_database() {
    let running = Running::trusted();
    let device = running.device(&json!({}));
    let signed = signed(&state(1), desired_state::KIND, &[&admin_key()]).to_string();
    let file = running.dir.path().join("state.json");
    std::fs::write(&file, signed).expect("a file");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| device.state(None, 60));
        let done = crate::process::command(&["push", "--data"])
            .arg(running.hub.dir.path())
            .arg(&file)
            .output()
            .expect("it runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(waiting.join().expect("no panic").0, 200);
    });
}

#[test]
fn states_reach_the_devices_of_their_audience_and_no_other() {
    let running = Running::trusted();
    let (north, south) = (
        running.device(&json!({ "site": "north" })),
        running.device(&json!({ "site": "south" })),
    );
    assert_eq!(running.push(&state_for(1, &json!({ "site": "north" }))).1["devices"], 1);
    assert_eq!(running.push(&state_for(2, &json!({ "site": "south" }))).1["devices"], 1);
    let version = |device: &Device| {
        serde_json::from_slice::<Value>(&device.state(None, 0).2).expect("JSON")["meta"]["version"].clone()
    };
    assert_eq!((version(&north), version(&south)), (json!(1), json!(2)));
    // A label moves a device, and one that would stand between two states does not get it.
    let path = format!("/api/v1/devices/{}/labels", north.id);
    assert_eq!(
        running.admin("PUT", &path, &json!({ "set": { "site": "south" } })).0,
        200
    );
    assert_eq!(version(&north), json!(2));
    assert_eq!(running.push(&state_for(3, &json!({ "role": "kiosk" }))).0, 200);
    refused(
        running.admin("PUT", &path, &json!({ "set": { "role": "kiosk" } })),
        "ambiguous",
    );
}

#[test]
fn two_states_that_match_one_device_are_an_error_at_push() {
    let running = Running::trusted();
    let device = running.device(&json!({ "site": "north", "role": "kiosk" }));
    assert_eq!(running.push(&state_for(1, &json!({ "site": "north" }))).0, 200);
    let refusal = running.push(&state_for(2, &json!({ "role": "kiosk" })));
    assert!(
        refusal.1["message"]
            .as_str()
            .is_some_and(|text| text.contains(&device.id)),
        "{}",
        refusal.1
    );
    refused(refusal, "ambiguous");
    assert_eq!(
        running.admin("POST", "/api/v1/states/portal/1/retire", &json!({})).0,
        204
    );
    assert_eq!(running.push(&state_for(2, &json!({ "role": "kiosk" }))).0, 200);
}

#[test]
fn a_token_whose_labels_lie_between_two_states_leaves_the_device_with_none_and_an_alarm() {
    let running = Running::trusted();
    assert_eq!(running.push(&state_for(1, &json!({ "site": "north" }))).0, 200);
    assert_eq!(running.push(&state_for(2, &json!({ "role": "kiosk" }))).0, 200);
    let torn = running.device(&json!({ "site": "north", "role": "kiosk" }));
    assert_eq!(torn.state(None, 0).0, 204);
    let (_, reply) = torn.heartbeat(&json!({}));
    assert_eq!(reply["held"]["why"], "ambiguous");
    assert_eq!(running.get("/api/v1/alarms")[0]["kind"], "ambiguous");
}

#[test]
fn a_state_is_held_back_from_a_device_that_cannot_run_it_and_the_hub_says_why() {
    let running = Running::trusted();
    let device = running.device(&json!({}));
    let mut needs = state(1);
    needs["meta"]["requires"] = json!(["uci", "sysctl"]);
    assert_eq!(running.push(&needs).0, 200);
    assert_eq!(device.state(None, 0).0, 204);
    let (_, reply) = device.heartbeat(&json!({ "features": ["uci"] }));
    assert_eq!(
        reply["held"],
        json!({ "why": "features", "version": 1, "missing": ["sysctl"] })
    );
    assert_eq!(reply["freshness"]["offered"], 0);
    let shown = running.get(&format!("/api/v1/devices/{}", device.id));
    assert_eq!(shown["agents"][0]["held"]["missing"], json!(["sysctl"]));
    // After an upgrade it is offered.
    let (_, reply) = device.heartbeat(&json!({ "features": ["uci", "sysctl"] }));
    assert_eq!(
        (&reply["held"], &reply["freshness"]["offered"]),
        (&Value::Null, &json!(1))
    );
    assert_eq!(device.state(None, 0).0, 200);
}

#[test]
fn an_expired_state_is_offered_no_longer() {
    let running = Running::trusted();
    let device = running.device(&json!({}));
    let mut short = state(1);
    let ends = running.clock.now() + 3600;
    short["meta"]["expires"] = jos_schemas::text::Utc::from_unix(ends).to_string().into();
    assert_eq!(running.push(&short).0, 200);
    assert_eq!(device.state(None, 0).0, 200);
    running.clock.advance(3601);
    assert_eq!(device.state(None, 0).0, 204);
    assert_eq!(device.heartbeat(&json!({})).1["held"]["why"], "expired");
}

#[test]
fn freshness_and_floor_verify_for_the_device_that_asked_and_for_no_other() {
    let running = Running::trusted();
    assert_eq!(running.push(&state(7)).0, 200);
    let (device, other) = (running.device(&json!({})), running.device(&json!({})));
    let (status, root) = device.ask("GET", "/v1/trust/1", None);
    assert_eq!(status, 200);
    let root = TrustRoot::open(Received::json("trust", root.to_string().as_bytes())).expect("a root");
    let (tenant, name) = (
        Name::new("default").expect("a name"),
        Name::new("portal").expect("a name"),
    );
    let asked = |device: &'_ str, nonce: &'_ str| (device.to_owned(), nonce.to_owned());
    let verify = |bytes: &[u8], (device, nonce): (String, String)| {
        let asked = Asked {
            tenant: &tenant,
            device: &device,
            name: &name,
            nonce: &nonce,
        };
        statement::verify::<Freshness>(Received::json("hub", bytes), &root, &asked).map(|f| f.version())
    };
    let (_, reply) = device.heartbeat(&json!({ "nonce": "fresh-1", "version": 6 }));
    let freshness = reply["freshness"].to_string().into_bytes();
    assert_eq!(verify(&freshness, asked(&device.id, "fresh-1")), Ok(7));
    assert!(verify(&freshness, asked(&device.id, "fresh-2")).is_err());
    assert!(verify(&freshness, asked(&other.id, "fresh-1")).is_err());
    // What the device said it had tried comes back signed, for when it has lost its floors.
    let (_, floor) = device.ask("GET", "/v1/floor/portal?nonce=lost-1", None);
    let question = Asked {
        tenant: &tenant,
        device: &device.id,
        name: &name,
        nonce: "lost-1",
    };
    let floor = statement::verify::<DeviceFloor>(Received::json("hub", floor.to_string().as_bytes()), &root, &question);
    assert_eq!(floor.expect("it verifies").version(), 6);
    assert_eq!(device.ask("GET", "/v1/floor/portal?nonce=no%20nonce", None).0, 400);
}

#[test]
fn trust_documents_are_walked_one_by_one_and_served_to_devices_all() {
    let running = Running::trusted();
    let device = running.device(&json!({}));
    let first = running.trust_of("default");
    let second = sign::successor(&first);
    let third = sign::successor(&second);
    let by_root = |trust| signed(&to_value(trust), trust::KIND, &[&root_key()]);
    refused(running.admin("POST", "/api/v1/trust", &by_root(&third)), "gap");
    let mut usurped = second.clone();
    let thief = named(66, "thief");
    sign::withdraw(&mut usurped, Some(Role::Root), root_key().id());
    sign::grant(&mut usurped, Role::Root, &(&thief).into()).expect("a new id");
    let usurped = signed(&to_value(&usurped), trust::KIND, &[&thief]);
    refused(
        running.admin("POST", "/api/v1/trust", &usurped),
        "not-signed-by-predecessor",
    );
    for (version, document) in [(2, &second), (3, &third)] {
        assert_eq!(running.admin("POST", "/api/v1/trust", &by_root(document)).0, 200);
        assert_eq!(
            device.ask("GET", &format!("/v1/trust/{version}"), None),
            (200, by_root(document))
        );
    }
    assert_eq!(device.ask("GET", "/v1/trust/1", None).0, 200);
    assert_eq!(device.ask("GET", "/v1/trust/4", None).0, 404);
    assert_eq!(device.heartbeat(&json!({})).1["trust"], 3);
    assert_eq!(
        running.admin("POST", "/api/v1/trust", &by_root(&third)).1["standing"],
        "unchanged"
    );
    assert_eq!(running.get("/api/v1/trust").as_array().map(Vec::len), Some(3));
}

#[test]
fn fast_forward_by_a_stolen_admin_key_is_recovered_from_by_rotation() {
    let running = Running::trusted();
    let device = running.device(&json!({}));
    assert_eq!(running.push(&state(42)).0, 200);
    assert_eq!(running.push(&state(9_007_199_254_740_991)).0, 200);
    assert_eq!(device.heartbeat(&json!({ "version": 9_007_199_254_740_991u64 })).0, 200);
    refused(running.push(&state(43)), "rollback");
    let mut next = sign::successor(&running.trust_of("default"));
    let fresh = named(3, "admin-2");
    sign::withdraw(&mut next, None, admin_key().id());
    sign::grant(&mut next, Role::Admin, &(&fresh).into()).expect("a new id");
    next.floors.insert(Name::new("portal").expect("a name"), 42);
    let next = signed(&to_value(&next), trust::KIND, &[&root_key()]);
    assert_eq!(running.admin("POST", "/api/v1/trust", &next).0, 200);
    // What the thief signed is offered no longer, nor is the floor held against the device.
    assert_eq!(device.state(None, 0).0, 204);
    assert_eq!(device.ask("GET", "/v1/floor/portal?nonce=n", None).1["floor"], 42);
    refused(running.push(&state(43)), "wrong-key");
    let again = signed(&state(43), desired_state::KIND, &[&fresh]);
    assert_eq!(running.admin("POST", "/api/v1/states", &again).0, 200);
    assert_eq!(device.state(None, 0).0, 200);
}

#[test]
fn blobs_are_given_whole_and_in_part_and_a_state_is_refused_whose_blob_is_not_there() {
    let running = Running::trusted();
    let device = running.device(&json!({}));
    let content: Vec<u8> = (0..700_000u32).map(|n| (n % 251) as u8).collect();
    let hash = sha256(&content).to_string();
    let mut state = state(1);
    state["spec"]["apply"][0] =
        json!({ "type": "file", "path": "/srv/model.bin", "source": { "sha256": hash, "size": content.len() } });
    refused(running.push(&state), "blob-missing");
    let (status, blob) = running.admin_bytes("POST", "/api/v1/blobs", content.clone());
    assert_eq!(
        (status, &blob),
        (200, &json!({ "sha256": hash, "size": content.len() }))
    );
    assert_eq!(running.push(&state).0, 200);
    let part = |range: &str| {
        let path = format!("/v1/blob/{hash}");
        let mut reply = device
            .try_ask("GET", &path, &[("range", range)], None)
            .expect("an answer");
        let bytes = reply
            .body_mut()
            .with_config()
            .limit(1 << 30)
            .read_to_vec()
            .expect("bytes");
        (reply.status().as_u16(), bytes)
    };
    assert_eq!(part("nothing"), (200, content.clone()));
    assert_eq!(part("bytes=262100-262200"), (206, content[262_100..=262_200].to_vec()));
    assert_eq!(part("bytes=699990-"), (206, content[699_990..].to_vec()));
    assert_eq!(part("bytes=700000-").0, 416);
    // The same content of the wrong length is not what was signed.
    state["meta"]["version"] = 2.into();
    state["spec"]["apply"][0]["source"]["size"] = 5.into();
    refused(running.push(&state), "blob-size");
}

#[test]
fn one_tenants_devices_see_nothing_of_anothers() {
    let running = Running::trusted();
    assert_eq!(running.push(&state(1)).0, 200);
    let (_, blob) = running.admin_bytes("POST", "/api/v1/blobs", b"secret plans".to_vec());
    assert_eq!(
        running.admin("POST", "/api/v1/tenants", &json!({ "name": "acme" })).0,
        200
    );
    let line = running.token(&json!({ "tenant": "acme" }));
    let stranger = Device::enrol(&running, &line).expect("it is enrolled");
    let own = running.device(&json!({}));
    let path = format!("/v1/blob/{}", blob["sha256"].as_str().expect("a hash"));
    assert_eq!(own.try_ask("GET", &path, &[], None).expect("an answer").status(), 200);
    assert_eq!(stranger.ask("GET", &path, None).0, 404);
    assert_eq!(stranger.state(None, 0).0, 204);
    assert_eq!(stranger.ask("GET", "/v1/trust/1", None).0, 404);
    // Its own trust document is of its own tenant, and the other one is refused there.
    let path = "/api/v1/trust?tenant=acme";
    refused(running.admin("POST", path, &running.trust("default")), "other-tenant");
    assert_eq!(running.admin("POST", path, &running.trust("acme")).0, 200);
    let signed = signed(&state(1), desired_state::KIND, &[&admin_key()]);
    refused(
        running.admin("POST", "/api/v1/states?tenant=acme", &signed),
        "other-tenant",
    );
}

#[test]
fn path_traversal_in_ids_and_names_reaches_nothing() {
    let running = Running::trusted();
    let device = running.device(&json!({}));
    for path in [
        "/v1/state/..%2f..%2fhub.db",
        "/v1/state/%2e%2e",
        "/v1/blob/..%2f..%2fca.key",
        "/v1/trust/..%2f1",
        "/v1/floor/..%2fx?nonce=n",
        "/v1/state/portal%00",
    ] {
        let (status, _) = read(device.try_ask("GET", path, &[], None).expect("an answer"));
        assert!((400..=404).contains(&status), "{path}: {status}");
    }
    for path in [
        "/api/v1/devices/..%2f..%2fhub.db",
        "/api/v1/states/..%2f/1",
        "/api/v1/devices/%00",
    ] {
        // PostgreSQL keeps no text with a zero in it, so the question itself is not taken.
        let (status, _) = running.admin("GET", path, &Value::Null);
        assert!((400..=404).contains(&status), "{path}: {status}");
    }
}
