//! Who is who. Each test is a line of *Identity* in the list of attacks.

use std::sync::Barrier;

use jos_hub::ca::DEVICE_DAYS;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
use serde_json::{Value, json};

use crate::common::{Device, Running, agent, enrolment, named, read, state, stranger, unique};

const DAY: i64 = 86_400;

#[test]
fn a_token_used_twice_at_the_same_instant_has_one_winner() {
    let running = Running::new();
    let line = running.token(&json!({}));
    let start = Barrier::new(8);
    let outcomes: Vec<bool> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    match Device::enrol(&running, &line) {
                        Ok(_) => true,
                        Err((status, refusal)) => {
                            assert_eq!((status, refusal["code"].as_str()), (403, Some("bad-token")));
                            false
                        }
                    }
                })
            })
            .collect();
        racers
            .into_iter()
            .map(|racer| racer.join().expect("no panic"))
            .collect()
    });
    assert_eq!(outcomes.iter().filter(|won| **won).count(), 1);
    assert_eq!(running.get("/api/v1/devices").as_array().map(Vec::len), Some(1));
    let token = &running.get("/api/v1/tokens")[0];
    assert_eq!((&token["used"], &token["uses"]), (&json!(1), &json!(1)));
}

#[test]
fn an_expired_a_revoked_and_an_unknown_token_are_refused_alike() {
    let running = Running::new();
    let other = Running::new();
    let (expired, revoked) = (
        running.token(&json!({ "valid_for": 60 })),
        running.token(&json!({ "valid_for": 86_400 })),
    );
    let ids = running.get("/api/v1/tokens");
    let id = ids
        .as_array()
        .into_iter()
        .flatten()
        .find(|t| t["expires"].as_i64() > Some(running.clock.now() + 3600));
    let id = id.and_then(|token| token["id"].as_str()).expect("an id");
    assert_eq!(
        running.admin("DELETE", &format!("/api/v1/tokens/{id}"), &Value::Null).0,
        204
    );
    running.clock.advance(61);
    let refusals: Vec<_> = [expired, revoked, other.token(&json!({}))]
        .iter()
        .map(|line| Device::enrol(&running, line).err().expect("it is refused"))
        .collect();
    assert_eq!(refusals[0].0, 403);
    assert!(refusals.iter().all(|refusal| *refusal == refusals[0]), "{refusals:?}");
}

#[test]
fn a_token_lets_into_its_own_tenant_alone() {
    let running = Running::new();
    assert_eq!(
        running.admin("POST", "/api/v1/tenants", &json!({ "name": "acme" })).0,
        200
    );
    let line = running.token(&json!({ "tenant": "acme", "labels": { "site": "mx-3" } }));
    let device = Device::enrol(&running, &line).expect("it is enrolled");
    let shown = running.get(&format!("/api/v1/devices/{}", device.id));
    assert_eq!(shown["device"]["tenant"], "acme");
    assert_eq!(shown["device"]["labels"], json!({ "site": "mx-3" }));
    // A device has no word in it: a member that names a tenant makes the enrolment malformed.
    let line = running.token(&json!({ "tenant": "acme" }));
    let key = KeyPair::generate().expect("a key");
    let mut request = enrolment(&key, &named(77, "x"), &line);
    request["tenant"] = "default".into();
    assert_eq!(stranger(&running, "POST", "/v1/enrol", &request).0, 400);
}

#[test]
fn a_lost_reply_to_an_enrolment_is_asked_for_again_and_a_used_certificate_is_not_given_twice() {
    let running = Running::new();
    let line = running.token(&json!({}));
    let (key, ledger) = (KeyPair::generate().expect("a key"), named(50, "ledger"));
    let request = enrolment(&key, &ledger, &line);
    let (_, lost) = stranger(&running, "POST", "/v1/enrol", &request);
    let (status, again) = stranger(&running, "POST", "/v1/enrol", &request);
    assert_eq!((status, &again["device"]), (200, &lost["device"]));
    let device = Device::with(&running, key, ledger, &again["device"], again["certificate"].clone());
    assert_eq!(device.heartbeat(&json!({})).0, 200);
    let (status, refusal) = stranger(&running, "POST", "/v1/enrol", &request);
    assert_eq!((status, refusal["code"].as_str()), (409, Some("known-key")));
}

#[test]
fn a_cloned_device_key_seen_from_two_places_is_quarantined_with_an_alarm() {
    let running = Running::trusted();
    assert_eq!(running.push(&state(1)).0, 200);
    let device = running.device(&json!({}));
    let mut clone = device.copied(&running);
    assert_eq!(device.heartbeat(&json!({})).0, 200);
    running.clock.advance(30);
    // From here it looks like a restart, which is no crime.
    assert_eq!(clone.heartbeat(&json!({})).0, 200);
    running.clock.advance(30);
    let (status, refusal) = device.heartbeat(&json!({}));
    assert_eq!((status, refusal["code"].as_str()), (403, Some("quarantined")));
    // Neither gets anything any more.
    for copy in [&device, &clone] {
        assert_eq!(copy.state(None, 0).0, 403);
        assert_eq!(copy.renew(&copy.key, "x").0, 403);
    }
    let alarms = running.get("/api/v1/alarms");
    assert_eq!(
        (&alarms[0]["kind"], &alarms[0]["device"]),
        (&json!("clone"), &json!(device.id))
    );
    // A person looks at it and releases it: its next session is served, and its alarm is cleared.
    let path = format!("/api/v1/devices/{}/release", device.id);
    assert_eq!(running.admin("POST", &path, &json!({})).0, 200);
    clone.session = unique("s");
    assert_eq!(clone.heartbeat(&json!({})).0, 200);
    assert_eq!(running.get("/api/v1/alarms"), json!([]));
}

#[test]
fn a_device_that_restarts_again_and_again_is_no_clone() {
    let running = Running::new();
    let mut device = running.device(&json!({}));
    for _ in 0..40 {
        device.session = unique("s");
        assert_eq!(device.heartbeat(&json!({})).0, 200);
        assert_eq!(device.heartbeat(&json!({})).0, 200);
        running.clock.advance(60);
    }
    assert_eq!(running.get("/api/v1/alarms"), json!([]));
}

#[test]
fn a_certificate_that_a_used_one_has_followed_is_a_clones() {
    let running = Running::new();
    let device = running.device(&json!({}));
    let clone = device.copied(&running);
    assert_eq!(device.heartbeat(&json!({})).0, 200);
    let (status, first) = device.renew(&device.key, "x");
    assert_eq!(status, 200, "{first}");
    // That reply may have been lost: as long as its certificate is not seen the old one renews.
    let (status, second) = device.renew(&device.key, "x");
    assert_eq!(status, 200, "{second}");
    let key = KeyPair::from_pem(&device.key.serialize_pem()).expect("a key");
    let renewed = Device::with(&running, key, device.ledger.clone(), &json!(device.id), second);
    assert_eq!(renewed.heartbeat(&json!({})).0, 200);
    let (status, refusal) = clone.renew(&clone.key, "x");
    assert_eq!((status, refusal["code"].as_str()), (403, Some("quarantined")));
    assert_eq!(running.get("/api/v1/alarms")[0]["kind"], "clone");
}

#[test]
fn certificate_renewal_is_for_the_tls_peer_and_never_for_the_requests_subject() {
    let running = Running::new();
    let (device, victim) = (running.device(&json!({})), running.device(&json!({})));
    let (status, renewed) = device.renew(&device.key, &victim.id);
    assert_eq!(status, 200, "{renewed}");
    let key = KeyPair::from_pem(&device.key.serialize_pem()).expect("a key");
    let renewed = Device::with(&running, key, device.ledger.clone(), &json!(device.id), renewed);
    assert_eq!(renewed.heartbeat(&json!({ "version": 7 })).0, 200);
    let shown = running.get(&format!("/api/v1/devices/{}", victim.id));
    assert_eq!(shown["agents"], json!([]), "the victim said nothing");
    let shown = running.get(&format!("/api/v1/devices/{}", device.id));
    assert_eq!(shown["agents"][0]["said"]["version"], 7);
    // Another key than the connection's is not certified.
    let (status, refusal) = renewed.renew(&victim.key, &device.id);
    assert_eq!((status, refusal["code"].as_str()), (403, Some("bad-renewal")));
}

#[test]
fn client_sent_identity_headers_are_ignored() {
    let running = Running::trusted();
    let (device, victim) = (running.device(&json!({})), running.device(&json!({})));
    let headers = [
        (
            "x-client-cert",
            victim.certificate["certificate"]
                .as_str()
                .expect("PEM")
                .lines()
                .nth(1)
                .expect("a line"),
        ),
        ("x-ssl-client-s-dn", victim.id.as_str()),
        ("x-forwarded-client-cert", victim.id.as_str()),
        ("x-device-id", victim.id.as_str()),
        ("x-forwarded-for", "203.0.113.9"),
        ("forwarded", "for=203.0.113.9"),
    ];
    let said = device.heartbeat_of(&json!({ "version": 9 }));
    let reply = device
        .try_ask("POST", "/v1/heartbeat", &headers, Some(&said))
        .expect("an answer");
    let (status, reply) = read(reply);
    assert_eq!((status, &reply["freshness"]["device"]), (200, &json!(device.id)));
    assert_eq!(
        running.get(&format!("/api/v1/devices/{}", victim.id))["agents"],
        json!([])
    );
    let shown = running.get(&format!("/api/v1/devices/{}", device.id));
    assert_eq!(shown["device"]["address"], "127.0.0.1");
    // And without a certificate they make nobody.
    let nobody = agent(running.hub.authorities().ca().certificate(), None);
    let mut request = ureq::http::Request::builder()
        .method("POST")
        .uri(format!("https://{}/v1/heartbeat", running.devices()));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let (status, refusal) = read(
        nobody
            .run(request.body(said.to_string()).expect("a request"))
            .expect("an answer"),
    );
    assert_eq!((status, refusal["code"].as_str()), (401, Some("no-certificate")));
}

#[test]
fn an_expired_client_certificate_after_long_offline_is_renewed_by_the_device_key() {
    let running = Running::trusted();
    let device = running.device(&json!({}));
    running.clock.advance((DEVICE_DAYS + 1) * DAY);
    assert!(
        device.try_ask("GET", "/v1/state/portal", &[], None).is_err(),
        "TLS refuses the old certificate"
    );
    let (status, renewed) = device.recover(&running, &device.key, &device.ledger);
    assert_eq!(status, 200, "{renewed}");
    let key = KeyPair::from_pem(&device.key.serialize_pem()).expect("a key");
    let back = Device::with(&running, key, device.ledger.clone(), &json!(device.id), renewed);
    assert_eq!(back.heartbeat(&json!({})).0, 200);
    // It may bring a new TLS key; the old one is nobody's then.
    let key = KeyPair::generate().expect("a key");
    let (status, renewed) = back.recover(&running, &key, &back.ledger);
    assert_eq!(status, 200, "{renewed}");
    let moved = Device::with(&running, key, back.ledger.clone(), &json!(back.id), renewed);
    assert_eq!(moved.heartbeat(&json!({})).0, 200);
    assert_eq!(back.heartbeat(&json!({})).1["code"], "unknown-device");
}

#[test]
fn a_renewal_by_another_key_an_old_challenge_or_another_devices_challenge_is_refused() {
    let running = Running::new();
    let (device, other) = (running.device(&json!({})), running.device(&json!({})));
    let bad =
        |(status, refusal): (u16, Value)| assert_eq!((status, refusal["code"].as_str()), (403, Some("bad-renewal")));
    bad(device.recover(&running, &device.key, &other.ledger));
    let theirs = running.hub.challenge(&other.id);
    bad(stranger(
        &running,
        "POST",
        "/v1/recover",
        &device.renewal(&device.key, &device.ledger, &theirs),
    ));
    let old = running.hub.challenge(&device.id);
    running.clock.advance(601);
    bad(stranger(
        &running,
        "POST",
        "/v1/recover",
        &device.renewal(&device.key, &device.ledger, &old),
    ));
    // Another device's TLS key is not taken over.
    let (status, refusal) = device.recover(&running, &other.key, &device.ledger);
    assert_eq!((status, refusal["code"].as_str()), (409, Some("known-key")));
}

#[test]
fn mac_hostname_and_machine_id_are_never_identity() {
    let running = Running::new();
    // Every device of the tests says the same of itself.
    let (one, two) = (running.device(&json!({})), running.device(&json!({})));
    assert_ne!(one.id, two.id);
    assert_eq!(one.heartbeat(&json!({ "version": 3 })).0, 200);
    assert_eq!(running.get(&format!("/api/v1/devices/{}", two.id))["agents"], json!([]));
}

#[test]
fn a_certificate_of_another_authority_does_not_pass_tls() {
    let (running, other) = (Running::new(), Running::new());
    let device = running.device(&json!({}));
    let foreign = other.device(&json!({}));
    let key = KeyPair::from_pem(&foreign.key.serialize_pem()).expect("a key");
    let posing = Device::with(
        &running,
        key,
        foreign.ledger.clone(),
        &json!(device.id),
        foreign.certificate.clone(),
    );
    assert!(
        posing
            .try_ask("POST", "/v1/heartbeat", &[], Some(&device.heartbeat_of(&json!({}))))
            .is_err()
    );
    // Nor does one that names the device and that the device's own key signed.
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let own = params.self_signed(&device.key).expect("a certificate");
    let agent = agent(
        running.hub.authorities().ca().certificate(),
        Some((&own.pem(), &device.key)),
    );
    assert!(
        agent
            .get(format!("https://{}/v1/state/portal", running.devices()))
            .call()
            .is_err()
    );
}

#[test]
fn every_path_but_those_that_get_a_certificate_wants_one() {
    let running = Running::trusted();
    for (method, path) in [
        ("POST", "/v1/heartbeat"),
        ("POST", "/v1/report"),
        ("POST", "/v1/renew"),
        ("GET", "/v1/state/portal"),
        ("GET", "/v1/trust/1"),
        ("GET", "/v1/floor/portal?nonce=n"),
        ("GET", &format!("/v1/blob/{}", "0".repeat(64))),
    ] {
        let (status, refusal) = stranger(&running, method, path, &json!({}));
        assert_eq!(
            (status, refusal["code"].as_str()),
            (401, Some("no-certificate")),
            "{path}"
        );
    }
    // The admin's paths are not among the devices'.
    assert_eq!(stranger(&running, "GET", "/api/v1/devices", &Value::Null).0, 404);
}

#[test]
fn a_revoked_device_is_out_for_good_under_every_way_of_coming_back() {
    let running = Running::new();
    let device = running.device(&json!({}));
    let path = format!("/api/v1/devices/{}/revoke", device.id);
    assert_eq!(running.admin("POST", &path, &json!({ "reason": "scrapped" })).0, 200);
    let (status, refusal) = device.heartbeat(&json!({}));
    assert_eq!((status, refusal["code"].as_str()), (403, Some("revoked")));
    assert_eq!(device.renew(&device.key, "x").1["code"], "revoked");
    assert_eq!(
        device.recover(&running, &device.key, &device.ledger).1["code"],
        "revoked"
    );
    let line = running.token(&json!({}));
    let request = enrolment(&device.key, &device.ledger, &line);
    assert_eq!(stranger(&running, "POST", "/v1/enrol", &request).1["code"], "known-key");
    let path = format!("/api/v1/devices/{}/release", device.id);
    assert_eq!(running.admin("POST", &path, &json!({})).1["code"], "revoked");
}
