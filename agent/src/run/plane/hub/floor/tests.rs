//! A device that lost its floors, and a hub that offers it an old state, properly signed: whatever that hub says of the
//! floor, only its signed answer to this device's own question counts.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use jos_link::message::PROTOCOL;
use jos_link::{Decoder, FromFetcher, Reply, Request, ToFetcher, frame};
use jos_schemas::documents::hub::{DeviceFloor, Freshness};
use jos_schemas::documents::trust::Role;
use jos_trust::sign::{self, Grant, NewTrust};
use jos_trust::{KeyId, SecretKey, statement};
use serde_json::{Value, json};

use super::super::Agent;
use crate::run::half::Half;
use crate::run::settings::{Given, Settings};
use crate::world::Real;

pub(in super::super) fn key(seed: u8, id: &str) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32]).with_id(KeyId::new(id).expect("an id"))
}

pub(in super::super) fn signed(value: &Value, kind: &str, by: &SecretKey) -> String {
    let node = jos_schemas::Node::from_json(value);
    let signed = sign::sign_document("test", "", &node, kind, by).expect("it can be signed");
    sign::to_json_text(&signed)
}

fn state(version: u64, www: &Path) -> String {
    let state = json!({
        "kind": "jos.agent.desired_state",
        "meta": {"name": "kiosk", "version": version, "expires": "2090-01-01T00:00:00Z", "audience": {"tenant": "acme"}},
        "spec": {"apply": [{"type": "file", "path": www.join("a"), "content": format!("{version}\n"),
            "owner": format!("{}:{}", nix::unistd::getuid(), nix::unistd::getgid())}]},
    });
    signed(&state, "jos.agent.desired_state", &key(2, "admin-1"))
}

/// What the hub says of a floor, by the nonce that it was asked with.
type Says = Box<dyn Fn(&str) -> String + Send>;

/// What the hub vouches for, by the heartbeat that it answers and the version that it has.
type Vouches = Box<dyn Fn(&Value, u64) -> Value + Send>;

/// What the hub does.
pub(in super::super) struct Hub {
    pub(in super::super) offers: u64,
    /// It gives this one, whatever it offers.
    pub(in super::super) gives: Option<u64>,
    /// Or these very bytes.
    pub(in super::super) raw: Option<Vec<u8>>,
    pub(in super::super) vouches: Vouches,
    pub(in super::super) heartbeats: Vec<Value>,
    says: Says,
    nonces: Vec<String>,
    pub(in super::super) states: usize,
}

fn floor(change: &Value, nonce: &str, by: &SecretKey) -> String {
    let mut floor = json!({"kind": "jos.floor", "tenant": "acme", "device": "d1", "name": "kiosk", "floor": 5,
        "time": "2026-11-22T12:00:00Z", "nonce": nonce});
    for (member, value) in change.as_object().expect("an object") {
        floor[member] = value.clone();
    }
    let floor: DeviceFloor = serde_json::from_value(floor).expect("a floor");
    let signed = statement::sign(&floor, by).expect("it can be signed");
    serde_json::to_string(&signed).expect("JSON")
}

/// As the hub's key vouches for it, with these members instead of its own.
pub(in super::super) fn freshness(change: &Value, heartbeat: &Value, offered: u64, by: &SecretKey) -> Value {
    let mut freshness = json!({"kind": "jos.freshness", "tenant": "acme", "device": "d1", "name": "kiosk", "offered": offered,
        "nonce": heartbeat["nonce"], "time": "2026-11-22T12:00:00Z"});
    for (member, value) in change.as_object().expect("an object") {
        freshness[member] = value.clone();
    }
    let freshness: Freshness = serde_json::from_value(freshness).expect("a statement");
    serde_json::to_value(statement::sign(&freshness, by).expect("it can be signed")).expect("JSON")
}

fn honest(version: u64) -> Says {
    Box::new(move |nonce| floor(&json!({ "floor": version }), nonce, &key(4, "hub-1")))
}

fn reply(hub: &mut Hub, request: &Request, www: &Path) -> Reply {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let gives = hub.gives.unwrap_or(hub.offers);
    let tag = format!("\"{gives}\"");
    let (status, etag, body) = match path {
        "/v1/heartbeat" => {
            let said: Value = serde_json::from_slice(&request.body).expect("JSON");
            let freshness = (hub.vouches)(&said, hub.offers);
            hub.heartbeats.push(said);
            (
                200,
                None,
                json!({"freshness": freshness, "trust": 1, "renew": false})
                    .to_string()
                    .into_bytes(),
            )
        }
        "/v1/report" => (204, None, Vec::new()),
        "/v1/floor/kiosk" => {
            let nonce = query.strip_prefix("nonce=").expect("a nonce");
            hub.nonces.push(nonce.to_owned());
            (200, None, (hub.says)(nonce).into_bytes())
        }
        "/v1/state/kiosk" if request.etag.as_ref() == Some(&tag) => (304, None, Vec::new()),
        "/v1/state/kiosk" => {
            hub.states += 1;
            let made = || state(gives, www).into_bytes();
            (200, Some(tag), hub.raw.clone().unwrap_or_else(made))
        }
        other => panic!("{other}"),
    };
    Reply::Answer {
        status,
        retry_after: None,
        etag,
        body,
    }
}

/// The network half and the hub behind it.
fn serve(mut wire: UnixStream, hub: &Mutex<Hub>, www: &Path) {
    let say = |wire: &mut UnixStream, message: FromFetcher| {
        wire.write_all(&frame::encode(&message.into_frame()).expect("a frame"))
            .is_ok()
    };
    let hello = FromFetcher::Hello {
        protocol: PROTOCOL,
        confinement: "[]".into(),
    };
    say(&mut wire, hello);
    let (mut decoder, mut bytes) = (Decoder::default(), [0; 65536]);
    while let Ok(count @ 1..) = wire.read(&mut bytes) {
        let mut rest = &bytes[..count];
        while !rest.is_empty() {
            let (taken, frame) = decoder.push(rest).expect("frames");
            rest = &rest[taken..];
            if let Some(Ok(ToFetcher::Ask { sequence, request })) = frame.map(ToFetcher::from_frame) {
                let reply = reply(&mut hub.lock().expect("the hub"), &request, www);
                if !say(&mut wire, FromFetcher::Answer { sequence, reply }) {
                    return;
                }
            }
        }
    }
}

/// A device in a folder, and the hub that it calls.
pub(in super::super) struct Bench {
    dir: tempfile::TempDir,
    hub: Arc<Mutex<Hub>>,
}

impl Bench {
    pub(in super::super) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let path = |below: &str| dir.path().join(below);
        fs::create_dir(path("www")).expect("a folder");
        let grant = |seed, id: &str, role| Grant {
            key: (&key(seed, id)).into(),
            roles: vec![role],
        };
        let new = NewTrust {
            tenant: Some(jos_schemas::text::Name::new("acme").expect("a name")),
            grants: vec![
                grant(1, "root-1", Role::Root),
                grant(2, "admin-1", Role::Admin),
                grant(4, "hub-1", Role::Freshness),
            ],
            ..NewTrust::default()
        };
        let trust = serde_json::to_value(sign::new_trust(&new).expect("a sound document")).expect("JSON");
        fs::write(path("trust.json"), signed(&trust, "jos.trust", &key(1, "root-1"))).expect("a file");
        let policy = format!(
            "kind = \"jos.policy\"\n[grants.hub]\nfiles = [\"{}/**\"]\n",
            path("www").display()
        );
        fs::write(path("policy.toml"), policy).expect("a file");
        let config = format!(
            "name = \"kiosk\"\npolicy = {:?}\ntrust = {:?}\nstate_dir = {:?}\n[hub]\nurl = \"https://127.0.0.1:1\"\n",
            path("policy.toml"),
            path("trust.json"),
            path("state")
        );
        fs::write(path("agent.toml"), config).expect("a file");
        let identity = json!({
            "format": 1, "device": "d1", "tenant": "acme", "labels": {}, "addresses": ["https://127.0.0.1:2"], "ca": "c",
            "certificate": "c", "not_after": "2090-01-01T00:00:00Z", "trust": null, "agents": ["kiosk"],
        });
        fs::create_dir_all(path("state/identity")).expect("a folder");
        fs::write(path("state/identity/hub.json"), identity.to_string()).expect("a file");
        fs::create_dir(path("run")).expect("a folder");
        let hub = Hub {
            offers: 5,
            gives: None,
            raw: None,
            vouches: Box::new(|heartbeat, offered| freshness(&json!({}), heartbeat, offered, &key(4, "hub-1"))),
            heartbeats: Vec::new(),
            says: honest(0),
            nonces: Vec::new(),
            states: 0,
        };
        Self {
            dir,
            hub: Arc::new(Mutex::new(hub)),
        }
    }

    pub(in super::super) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub(in super::super) fn hub(&self) -> std::sync::MutexGuard<'_, Hub> {
        self.hub.lock().expect("the hub")
    }

    pub(in super::super) fn content(&self) -> String {
        fs::read_to_string(self.path("www/a")).unwrap_or_default()
    }

    /// One start of the agent: it turns until `so`, and is asked something then.
    pub(in super::super) fn run<T>(&self, so: impl Fn(&Agent<'_>) -> bool, ask: impl FnOnce(&mut Agent<'_>) -> T) -> T {
        self.run_in(Real::new(), so, ask)
    }

    /// The same in this world.
    pub(in super::super) fn run_in<T>(
        &self,
        real: Real,
        so: impl Fn(&Agent<'_>) -> bool,
        ask: impl FnOnce(&mut Agent<'_>) -> T,
    ) -> T {
        let given = Given {
            config: Some(self.path("agent.toml")),
            ..Given::default()
        };
        let settings = Settings::read(&given).expect("settings");
        let (hub, www) = (Arc::clone(&self.hub), self.path("www"));
        real.line().start_by(move || {
            let (ours, theirs) = UnixStream::pair().expect("a stream");
            let (hub, www) = (Arc::clone(&hub), www.clone());
            std::thread::spawn(move || serve(theirs, &hub, &www));
            Half::of(ours)
        });
        let mut agent = Agent::new(&given, settings, self.path("run"), &real).expect("an agent");
        let mut now = 0;
        for _ in 0..4000 {
            if so(&agent) {
                return ask(&mut agent);
            }
            agent.ahead = now;
            let wake = agent.turn_hub();
            now = now.max(wake.min(now + 600_000));
            real.line().wait_a_little();
        }
        panic!(
            "it never came to that: {:#}",
            serde_json::to_value(&agent.live).expect("JSON")
        );
    }

    /// Until the state that the hub offers is in force.
    pub(in super::super) fn takes(&self, version: u64) {
        self.hub().offers = version;
        let wanted = format!("{version}\n");
        self.run(|_| self.content() == wanted, |_| ());
    }

    fn lose(&self) {
        for file in ["floors.0", "floors.1"] {
            let _ = fs::remove_file(self.path("state").join(file));
        }
    }

    /// Several questions later, nothing but the state of before stands there.
    fn waits(&self, what: &str) {
        let asked = self.hub().nonces.len();
        let states = self.hub().states;
        let lost = self.run(
            |_| self.hub().nonces.len() >= asked + 3,
            |agent| agent.plane.lost_floors().expect("it reads"),
        );
        assert!(lost.is_some(), "{what}");
        assert_eq!((self.content().as_str(), self.hub().states), ("5\n", states), "{what}");
    }
}

/// Whether it has refused this version for the floor.
fn is_too_old(agent: &Agent<'_>, version: u64) -> bool {
    let said = format!("it has version {version}; this device already had version 5");
    agent.live.trouble.as_ref().is_some_and(|why| why.contains(&said))
}

#[test]
fn only_the_hubs_signed_answer_to_this_devices_question_brings_lost_floors_back() {
    let bench = Bench::new();
    bench.takes(5);
    let first = bench.hub().nonces.clone();
    assert_eq!(first.len(), 1, "a new device asks once: {first:?}");
    let replayed = floor(&json!({}), &first[0], &key(4, "hub-1"));

    bench.lose();
    // Properly signed, and older than what the device had.
    bench.hub().offers = 3;
    let lie = |change: Value, seed: u8, id: &'static str| -> Says {
        Box::new(move |nonce| floor(&change, nonce, &key(seed, id)))
    };
    let lies: Vec<(&str, Says)> = vec![
        ("for another device", lie(json!({ "device": "d2" }), 4, "hub-1")),
        ("for another name", lie(json!({ "name": "portal" }), 4, "hub-1")),
        ("for another tenant", lie(json!({ "tenant": "other" }), 4, "hub-1")),
        ("an old nonce", lie(json!({ "nonce": "n0" }), 4, "hub-1")),
        ("a statement replayed", Box::new(move |_| replayed.clone())),
        ("a key that is trusted no longer", lie(json!({}), 9, "hub-0")),
        ("another key under the trusted id", lie(json!({}), 9, "hub-1")),
        ("an admin's key", lie(json!({}), 2, "admin-1")),
        ("no JSON", Box::new(|_| "floor 0".to_owned())),
        (
            "no signature",
            Box::new(|nonce| {
                let mut floor: Value = serde_json::from_str(&floor(&json!({}), nonce, &key(4, "hub-1"))).expect("JSON");
                floor.as_object_mut().expect("an object").remove("signature");
                floor.to_string()
            }),
        ),
    ];
    for (what, says) in lies {
        bench.hub().says = says;
        bench.waits(what);
    }
    // The hub's own word, but of a hub that was put back to an earlier day: what the device knows is not lowered.
    bench.hub().says = honest(1);
    bench.run(
        |agent| is_too_old(agent, 3),
        |agent| {
            let floors = agent.plane.floors().expect("floors");
            assert!(floors.counters().any(|(_, floor)| floor.version == 5));
        },
    );
    assert_eq!(bench.content(), "5\n");
    bench.takes(6);
}

#[test]
fn a_device_whose_data_was_dropped_hears_from_its_hub_how_far_it_had_come() {
    let bench = Bench::new();
    bench.takes(5);
    bench.lose();
    fs::remove_dir_all(bench.path("state/kiosk")).expect("it is there");
    bench.hub().offers = 3;
    bench.hub().says = honest(5);
    let asked = bench.hub().nonces.len();
    bench.run(|agent| is_too_old(agent, 3), |_| ());
    assert_eq!((bench.content().as_str(), bench.hub().nonces.len()), ("5\n", asked + 1));
    bench.takes(6);
}
