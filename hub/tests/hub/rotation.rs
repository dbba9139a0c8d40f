//! Another CA: what the hub does at each step. What a real device makes of it is in `tests/tests/hub_rotation.rs`.

use jos_hub::ca;
use jos_schemas::documents::trust::{self, Role};
use jos_tests::wait::until_true;
use jos_trust::sign;
use serde_json::{Value, json};

use crate::common::{Running, admin_key, agent, named, root_key, signed, to_value};

/// The hub looks every second, or every ten where the database tells it of changes.
fn soon(what: &str, so: impl Fn() -> bool) {
    until_true(what, std::time::Duration::from_secs(60), so);
}

/// The word of the tenant's admins on the CA that comes.
fn word(shown: &Value) -> Value {
    signed(&shown["tenants"][0]["document"], "jos.hub_ca", &[&admin_key()])
}

fn standing(shown: &Value) -> Vec<&str> {
    let all = shown["authorities"].as_array().expect("a list");
    all.iter()
        .map(|one| one["standing"].as_str().expect("a word"))
        .collect()
}

#[test]
fn the_hub_goes_over_when_every_device_that_calls_knows_the_next_ca_and_asks_them_to_renew() {
    let running = Running::trusted();
    let (first, second) = (running.device(&json!({})), running.device(&json!({})));
    let (status, shown) = running.admin("POST", "/api/v1/ca/rotation", &Value::Null);
    assert_eq!((status, standing(&shown)), (200, vec!["current", "next"]), "{shown}");
    let (_, reply) = first.heartbeat(&json!({}));
    assert_eq!(reply["hub_ca"], Value::Null, "nobody has vouched: {reply}");
    // Nothing that was not offered can be known.
    let (status, _) = first.heartbeat(&json!({ "hub_ca": 2 }));
    assert_eq!(
        (status, running.get("/api/v1/ca/rotation")["devices"]["know"].clone()),
        (200, json!(0))
    );

    let (status, pushed) = running.admin("POST", "/api/v1/ca/words", &word(&shown));
    assert_eq!((status, &pushed["standing"]), (200, &json!("new")), "{pushed}");
    for device in [&first, &second] {
        soon("the word is offered", || device.heartbeat(&json!({})).1["hub_ca"] == 2);
        let (status, said) = device.ask("GET", "/v1/hub-ca", None);
        assert_eq!((status, &said["version"]), (200, &json!(2)));
    }
    first.heartbeat(&json!({ "hub_ca": 2 }));
    let shown = running.get("/api/v1/ca/rotation");
    assert_eq!(
        (&shown["phase"], &shown["devices"]["know"]),
        (&json!("learning"), &json!(1)),
        "{shown}"
    );
    assert_eq!(shown["behind"][0]["device"], second.id.as_str(), "{shown}");
    let metrics = running.admin_bytes("GET", "/metrics", Vec::new()).1;
    assert!(
        metrics
            .to_string()
            .contains("jos_hub_ca_rotation_devices{devices=\\\"waited-for\\\"} 1"),
        "{metrics}"
    );

    second.heartbeat(&json!({ "hub_ca": 2 }));
    soon("the hub goes over", || {
        running.get("/api/v1/ca/rotation")["phase"] == "renewing"
    });
    // Devices that know only the CA of before are served as ever, and asked to renew.
    soon("it asks them", || first.heartbeat(&json!({})).1["renew"] == true);
    for device in [&first, &second] {
        let (status, certificate) = device.renew(&device.key, "x");
        assert_eq!(status, 200, "{certificate}");
        let now = running.hub.authorities();
        let (issuer, _) = ca::issued(certificate["certificate"].as_str().expect("PEM")).expect("a certificate");
        assert_eq!(issuer, now.subject());
    }
    soon("the one before is retired", || {
        standing(&running.get("/api/v1/ca/rotation")) == ["retired", "current"]
    });
    // Its certificates are taken no more; the ledger key is.
    let again = first.copied(&running);
    let asked = again.try_ask("POST", "/v1/heartbeat", &[], Some(&again.heartbeat_of(&json!({}))));
    assert!(asked.is_err(), "{asked:?}");
    assert_eq!(first.recover(&running, &first.key, &first.ledger).0, 200);
    // Whoever knows the first CA alone still accepts the hub, and gets every CA of it.
    let first_ca = std::fs::read_to_string(running.hub.dir.file("ca.pem")).expect("the first CA");
    let stranger = agent(&first_ca, None);
    let bundle = stranger.get(format!("https://{}/v1/ca", running.devices())).call();
    let bundle = bundle
        .and_then(|mut reply| reply.body_mut().read_to_string())
        .expect("it is accepted");
    assert_eq!(bundle.matches("BEGIN CERTIFICATE").count(), 2);
    assert!(ca::of_fingerprint(&bundle, ca::fingerprint(&first_ca).expect("PEM")).is_some());
}

#[test]
fn a_word_that_a_new_trust_document_does_not_cover_is_offered_no_longer() {
    let running = Running::trusted();
    let device = running.device(&json!({}));
    let (_, shown) = running.admin("POST", "/api/v1/ca/rotation", &Value::Null);
    assert_eq!(running.admin("POST", "/api/v1/ca/words", &word(&shown)).0, 200);
    assert_eq!(
        running.admin("POST", "/api/v1/ca/words", &word(&shown)).1["standing"],
        "unchanged"
    );
    soon("it is offered", || device.heartbeat(&json!({})).1["hub_ca"] == 2);
    let mut next = sign::successor(&running.trust_of("default"));
    sign::withdraw(&mut next, None, admin_key().id());
    sign::grant(&mut next, Role::Admin, &(&named(3, "admin-2")).into()).expect("a new id");
    let next = signed(&to_value(&next), trust::KIND, &[&root_key()]);
    let (status, pushed) = running.admin("POST", "/api/v1/trust", &next);
    assert_eq!(status, 200, "{pushed}");
    assert!(pushed["notes"].to_string().contains("sign it again"), "{pushed}");
    soon("it is not", || device.heartbeat(&json!({})).1["hub_ca"].is_null());
    assert_eq!(device.ask("GET", "/v1/hub-ca", None).0, 404);
}

#[test]
fn what_admins_did_not_sign_for_this_hubs_next_ca_is_refused() {
    let running = Running::trusted();
    let (_, shown) = running.admin("POST", "/api/v1/ca/rotation", &Value::Null);
    let document = &shown["tenants"][0]["document"];
    let lie = |member: &str, value: Value| {
        let mut other = document.clone();
        other[member] = value;
        signed(&other, "jos.hub_ca", &[&admin_key()])
    };
    let by_the_hub = signed(document, "jos.hub_ca", &[running.hub.authorities().voice("default")]);
    let first_ca = std::fs::read_to_string(running.hub.dir.file("ca.pem")).expect("the first CA");
    for (body, code) in [
        (document.clone(), "not-vouched"),
        (by_the_hub, "not-vouched"),
        (lie("version", json!(3)), "other-ca"),
        (lie("ca", json!(first_ca)), "other-ca"),
        (lie("tenant", json!("else")), "no-trust"),
    ] {
        let (status, problem) = running.admin("POST", "/api/v1/ca/words", &body);
        assert_eq!((status / 100, &problem["code"]), (4, &json!(code)), "{problem}");
    }
    assert_eq!(running.get("/api/v1/ca/rotation")["tenants"][0]["vouched"], false);
}
