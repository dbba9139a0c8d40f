//! Every way in which a state from the hub is not what it has to be, through a whole device: it is refused for that very
//! reason, said so, and no byte of what the device keeps or manages changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jos_trust::SecretKey;
use serde_json::{Value, json};

use super::floor::tests::{Bench, key, signed};
use crate::identity;

const KIND: &str = "jos.agent.desired_state";

/// What must not change: the managed files, and all that the device keeps but its history and what it has to tell.
fn kept(bench: &Bench) -> BTreeMap<PathBuf, Vec<u8>> {
    let told = ["ledger", "blobs", "reports", "figures", "run", "state.json"];
    let (mut all, mut open) = (BTreeMap::new(), vec![bench.path("www"), bench.path("state")]);
    open.extend(["policy.toml", "trust.json", "agent.toml"].map(|file| bench.path(file)));
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let below = fs::read_dir(&path).expect("a folder");
            open.extend(below.map(|entry| entry.expect("an entry").path()));
        } else {
            all.insert(path.clone(), fs::read(&path).expect("a file"));
        }
        open.retain(|path| {
            !path
                .file_name()
                .and_then(|n| n.to_str())
                .is_some_and(|n| told.contains(&n))
        });
    }
    all
}

/// A state that would be taken, but for what `change` makes of it.
fn state(www: &Path, change: impl FnOnce(&mut Value)) -> Value {
    let mut state = json!({
        "kind": KIND,
        "meta": {"name": "kiosk", "version": 9, "expires": "2090-01-01T00:00:00Z", "audience": {"tenant": "acme"}},
        "spec": {"apply": [{"type": "file", "path": www.join("a"), "content": "evil\n",
            "owner": format!("{}:{}", nix::unistd::getuid(), nix::unistd::getgid())}]},
    });
    change(&mut state);
    state
}

/// The same without what is only for people to read.
fn one_line(text: &str) -> String {
    let value: Value = serde_json::from_str(text).expect("JSON");
    value.to_string()
}

/// Each with what the device says of it.
fn wrong(bench: &Bench) -> Vec<(&'static str, String, &'static str)> {
    let www = bench.path("www");
    let admin = key(2, "admin-1");
    let by = |by: &SecretKey, change: &dyn Fn(&mut Value)| one_line(&signed(&state(&www, change), KIND, by));
    let asis = |_: &mut Value| {};
    let set = |pointer: &'static str, value: Value| {
        move |state: &mut Value| *state.pointer_mut(pointer).expect("it is there") = value.clone()
    };
    let meta = |member: &'static str, value: Value| move |state: &mut Value| state["meta"][member] = value.clone();
    let without = |member: &'static str| {
        move |state: &mut Value| drop(state["meta"].as_object_mut().expect("an object").remove(member))
    };
    let good = by(&admin, &asis);
    let text = |from: &str, to: &str| {
        assert!(good.contains(from), "{from} is not in {good}");
        good.replacen(from, to, 1)
    };
    let own = |key: Result<SecretKey, String>| key.expect("a key of the device's");
    let state_dir = bench.path("state");
    let renamed = |key: SecretKey| key.with_id(jos_trust::KeyId::new("admin-1").expect("an id"));
    vec![
        // Who signed it.
        (
            "arbitrary-install: unsigned",
            state(&www, asis).to_string(),
            "not signed",
        ),
        (
            "arbitrary-install: a stranger's key",
            by(&key(9, "stranger"), &asis),
            "stranger",
        ),
        (
            "arbitrary-install: a stranger under an admin's id",
            by(&key(9, "admin-1"), &asis),
            "admin-1",
        ),
        (
            "arbitrary-install: changed after it was signed",
            text("evil", "even"),
            "admin-1",
        ),
        ("wrong role: the root's key", by(&key(1, "root-1"), &asis), "root-1"),
        (
            "key confusion: the hub's freshness key",
            by(&key(4, "hub-1"), &asis),
            "hub-1",
        ),
        (
            "key confusion: the hub's freshness key as the admin's",
            by(&key(4, "admin-1"), &asis),
            "admin-1",
        ),
        (
            "key confusion: the device's ledger key",
            by(&own(identity::ledger_key(&state_dir)), &asis),
            "does not know",
        ),
        (
            "key confusion: the device's TLS key",
            by(&own(identity::tls_key(&state_dir)), &asis),
            "does not know",
        ),
        (
            "key confusion: its ledger key as the admin's",
            by(&renamed(own(identity::ledger_key(&state_dir))), &asis),
            "admin-1",
        ),
        (
            "key confusion: its TLS key as the admin's",
            by(&renamed(own(identity::tls_key(&state_dir))), &asis),
            "admin-1",
        ),
        ("another algorithm", text("\"ed25519\"", "\"none\""), "ed25519"),
        // For whom it is.
        (
            "cross-tenant replay",
            by(&admin, &set("/meta/audience", json!({"tenant": "other"}))),
            "tenant",
        ),
        (
            "cross-device replay",
            by(
                &admin,
                &set("/meta/audience", json!({"tenant": "acme", "devices": ["d2"]})),
            ),
            "\"d1\"",
        ),
        (
            "cross-group replay",
            by(
                &admin,
                &set("/meta/audience", json!({"tenant": "acme", "labels": {"site": "x"}})),
            ),
            "label site",
        ),
        ("another agent's", by(&admin, &meta("name", json!("portal"))), "portal"),
        ("no audience", by(&admin, &without("audience")), "meta.audience"),
        ("no end", by(&admin, &without("expires")), "meta.expires"),
        // When.
        (
            "freeze: expired",
            by(&admin, &meta("expires", json!("2026-01-02T00:00:00Z"))),
            "expired at",
        ),
        ("rollback", by(&admin, &meta("version", json!(3))), "never goes back"),
        (
            "same version, other content",
            by(&admin, &meta("version", json!(5))),
            "other content",
        ),
        // What it is.
        (
            "too deep",
            text("\"evil\\n\"", &format!("{}{}", "[".repeat(100), "]".repeat(100))),
            "deep",
        ),
        (
            "a member twice",
            text("\"version\":", "\"version\":1,\"version\":"),
            "version",
        ),
        (
            "a number with a fraction",
            text("\"version\":9", "\"version\":9.5"),
            "9.5",
        ),
        (
            "a number beyond 2^53-1",
            text("\"version\":9", "\"version\":9007199254740993"),
            "9007199254740993",
        ),
        ("something after its end", format!("{good}{{}}"), "after"),
        ("a byte order mark", format!("\u{feff}{good}"), "byte order mark"),
        ("half of it", good[..good.len() / 2].to_owned(), "hub"),
        ("no JSON", "version = 9".to_owned(), "hub"),
        ("nothing", String::new(), "hub"),
        (
            "what is not granted",
            by(&admin, &set("/spec/apply/0/path", json!("/etc/passwd"))),
            "/etc/passwd",
        ),
        (
            "a command that is not granted",
            by(&admin, &set("/spec/apply/0", json!({"type": "shell", "command": "id"}))),
            "id",
        ),
    ]
}

#[test]
fn every_state_that_is_not_what_it_has_to_be_is_refused_for_that_and_changes_no_byte() {
    let bench = Bench::new();
    bench.takes(5);
    let rows = wrong(&bench);
    let before = kept(&bench);
    let mut others = Vec::new();
    for (at, (what, bytes, why)) in rows.into_iter().enumerate() {
        // Another number for the tag alone: it is fetched.
        (bench.hub().raw, bench.hub().gives) = (Some(bytes.into_bytes()), Some(1000 + at as u64));
        let states = bench.hub().states;
        let said = bench.run(
            |agent| bench.hub().states > states && agent.live.trouble.is_some(),
            |agent| agent.live.trouble.clone().unwrap_or_default(),
        );
        if !said.contains(why) {
            others.push(format!("{what}: expected {why:?}, found {said}"));
        }
        assert_eq!(kept(&bench), before, "{what}");
    }
    assert!(others.is_empty(), "{}", others.join("\n"));
    (bench.hub().raw, bench.hub().gives) = (None, None);
    bench.takes(6);
}
