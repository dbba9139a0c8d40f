//! Somebody has taken over the network half: he says to the plane whatever he likes, in and out of turn. He gains nothing:
//! no byte of the device changes, no identity, no floor, no trust, and the plane goes on.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use jos_link::message::PROTOCOL;
use jos_link::{Decoder, FromFetcher, Reply, ToFetcher, frame};
use jos_trust::SecretKey;
use jos_trust::sign::{self, NewTrust};
use serde_json::{Value, json};

use super::super::Agent;
use crate::identity::Identity;
use crate::run::half::Half;
use crate::run::settings::{Given, Settings};
use crate::world::Real;

/// A small generator: the same lies in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        (0..self.roll(most)).map(|_| self.roll(256) as u8).collect()
    }
}

/// Everything that could do harm if it were believed.
fn lies(dice: &mut Dice, www: &Path) -> Vec<u8> {
    let key = SecretKey::from_bytes(&[99; 32]);
    let state = json!({
        "kind": "jos.agent.desired_state",
        "meta": {"name": "kiosk", "version": 1 + dice.roll(1000), "expires": "2090-01-01T00:00:00Z", "audience": {"tenant": "acme"}},
        "spec": {"apply": [{"type": "file", "path": www.join("a"), "content": "owned\n", "owner": "0:0"}]},
    });
    let certificate = json!({"certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "ca": "x",
        "not_after": "2099-01-01T00:00:00Z", "renew_after": "2099-01-01T00:00:00Z"});
    let freshness = json!({"kind": "jos.freshness", "tenant": "acme", "device": "d1", "name": "kiosk", "offered": 9, "nonce": "n",
        "time": "2999-01-01T00:00:00Z", "signature": {"alg": "ed25519", "key_id": "x", "sig": "AAAA"}});
    let ca = json!({"kind": "jos.hub_ca", "tenant": "acme", "version": 2 + dice.roll(4),
        "ca": include_str!("../../net/fixtures/ca.pem")});
    let any: Value = match dice.roll(9) {
        0 => signed(&state, "jos.agent.desired_state", &key),
        1 => state,
        2 => {
            json!({"freshness": freshness, "figures": dice.roll(2) == 1, "trust": dice.roll(4), "renew": dice.roll(2) == 1, "hub_ca": dice.roll(9),
            "questions": questions(dice)})
        }
        3 => json!({"device": "evil", "tenant": "evil", "certificate": certificate}),
        4 => signed(&trust(&key), "jos.trust", &key),
        5 => json!({"challenge": "c"}),
        6 => signed(&ca, "jos.hub_ca", &key),
        7 => ca,
        _ => {
            let code = ["quarantined", "unknown-device", "busy", "x"][dice.roll(4) as usize];
            json!({"code": code, "message": "\u{1b}[2J"})
        }
    };
    any.to_string().into_bytes()
}

/// What he would like to know.
fn questions(dice: &mut Dice) -> Value {
    let about = ["logs", "ledger", "blame", "passwords"][dice.roll(4) as usize];
    let path = ["/etc/shadow", "../../etc/shadow", "/etc/\u{1b}[2J"][dice.roll(3) as usize];
    json!([{"id": "q-1", "about": about, "most": dice.roll(1 << 32), "path": path}, {"id": "../renew", "about": "logs"}])
}

fn signed(value: &Value, kind: &str, key: &SecretKey) -> Value {
    let node = jos_schemas::Node::from_json(value);
    let signed = sign::sign_document("lie", "", &node, kind, key).expect("it can be signed");
    serde_json::from_str(&sign::to_json_text(&signed)).expect("JSON")
}

fn trust(key: &SecretKey) -> Value {
    let new = NewTrust {
        tenant: Some(jos_schemas::text::Name::new("acme").expect("a name")),
        grants: vec![sign::Grant {
            key: key.into(),
            roles: vec![
                jos_schemas::documents::trust::Role::Root,
                jos_schemas::documents::trust::Role::Admin,
                jos_schemas::documents::trust::Role::Freshness,
            ],
        }],
        ..NewTrust::default()
    };
    serde_json::to_value(sign::new_trust(&new).expect("a sound trust document")).expect("JSON")
}

/// Says hello, and then lies until the stream ends.
fn lie(mut wire: UnixStream, mut dice: Dice, www: &Path) {
    let say = |wire: &mut UnixStream, message: FromFetcher| match frame::encode(&message.into_frame()) {
        Ok(bytes) => wire.write_all(&bytes).is_ok(),
        Err(_) => false,
    };
    let hello = FromFetcher::Hello {
        protocol: if dice.roll(20) == 0 { 99 } else { PROTOCOL },
        confinement: "[]".into(),
    };
    if !say(&mut wire, hello) {
        return;
    }
    let (mut decoder, mut bytes) = (Decoder::default(), [0; 65536]);
    while let Ok(count) = wire.read(&mut bytes) {
        if count == 0 {
            return;
        }
        let mut rest = &bytes[..count];
        while !rest.is_empty() {
            let Ok((taken, frame)) = decoder.push(rest) else { return };
            rest = &rest[taken..];
            let Some(Ok(ToFetcher::Ask { sequence, .. })) = frame.map(ToFetcher::from_frame) else {
                continue;
            };
            let went = match dice.roll(12) {
                0 => {
                    let _ = wire.write_all(&dice.bytes(64));
                    false
                }
                1 => wire.write_all(&[0xff; 64]).is_ok(),
                2 => say(
                    &mut wire,
                    FromFetcher::Offer {
                        sequence,
                        bytes: lies(&mut dice, www),
                    },
                ),
                3 => say(&mut wire, FromFetcher::Nothing { sequence }),
                4 => return,
                5 => say(
                    &mut wire,
                    FromFetcher::Answer {
                        sequence: sequence ^ 1,
                        reply: Reply::failed("x"),
                    },
                ),
                6 => say(
                    &mut wire,
                    FromFetcher::Answer {
                        sequence,
                        reply: Reply::Failed {
                            certificate: true,
                            text: "x".into(),
                        },
                    },
                ),
                _ => {
                    let body = if dice.roll(8) == 0 {
                        dice.bytes(200)
                    } else {
                        lies(&mut dice, www)
                    };
                    let reply = Reply::Answer {
                        status: [200, 200, 200, 204, 304, 403, 500][dice.roll(7) as usize],
                        retry_after: None,
                        etag: None,
                        body,
                    };
                    say(&mut wire, FromFetcher::Answer { sequence, reply })
                }
            };
            if !went {
                return;
            }
        }
    }
}

/// Every file of a folder with its content.
fn tree(folder: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.append(&mut tree(&path));
        } else {
            all.insert(path.clone(), fs::read(&path).unwrap_or_default());
        }
    }
    all
}

#[test]
fn whoever_takes_over_the_network_half_gains_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |below: &str| dir.path().join(below);
    let www = path("www");
    fs::create_dir(&www).expect("a folder");
    fs::write(www.join("a"), "ours\n").expect("a file");
    let root = SecretKey::from_bytes(&[1; 32]);
    fs::write(
        path("trust.json"),
        signed(&trust(&root), "jos.trust", &root).to_string(),
    )
    .expect("a file");
    // All that can be granted, so that nothing but the signature stands in the way.
    let policy = format!(
        "kind = \"jos.policy\"\n[grants.hub]\nfiles = [\"{}/**\"]\nallow_unscoped = true\n",
        www.display()
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
        "certificate": "c", "not_after": "2027-01-01T00:00:00Z", "trust": null, "agents": ["kiosk"],
    });
    fs::create_dir_all(path("state/identity")).expect("a folder");
    fs::write(path("state/identity/hub.json"), identity.to_string()).expect("a file");
    let given = Given {
        config: Some(path("agent.toml")),
        ..Given::default()
    };
    let settings = Settings::read(&given).expect("settings");
    let run_dir = path("run");
    fs::create_dir(&run_dir).expect("a folder");

    let real = Real::new();
    let dice = std::cell::Cell::new(7_u64);
    let there = www.clone();
    real.line().start_by(move || {
        let (ours, theirs) = UnixStream::pair().expect("a stream");
        dice.set(dice.get() + 1);
        let (seed, www) = (dice.get().wrapping_mul(0x9e37_79b9_7f4a_7c15), there.clone());
        std::thread::spawn(move || lie(theirs, Dice(seed), &www));
        Half::of(ours)
    });
    let mut agent = Agent::new(&given, settings, run_dir, &real).expect("an agent");
    // It has tried a version before: one that has not asks for its floor first, and hears no state from him at all.
    let counter = jos_trust::floors::Counter {
        tenant: Some(jos_schemas::text::Name::new("acme").expect("a name")),
        name: agent.settings.name.clone(),
        stream: jos_trust::Stream::State,
    };
    let tried = jos_trust::floors::Edition {
        version: 1,
        content: jos_trust::Digest::ZERO,
    };
    let try_it = &mut |floors: &mut jos_trust::Floors| {
        floors.raise(&counter, tried.version);
        floors.fail_edition(&counter, tried);
    };
    agent.plane.change_floors(try_it).expect("floors");
    let floors = agent.plane.floors().expect("floors");
    let (mut turns, mut now) = (0, 0);
    while turns < 1500 {
        turns += 1;
        // Time is made to pass: pauses of hours are part of the defence, and not of this test.
        agent.ahead = now;
        let wake = agent.turn_hub();
        now = now.max(wake.min(now + 3_600_000));
        real.line().wait_a_little();
    }
    assert!(agent.line.starts() > 100, "he was ended {} times", agent.line.starts());
    assert_eq!(tree(&www), BTreeMap::from([(www.join("a"), b"ours\n".to_vec())]));
    let kept = Identity::load(&path("state")).expect("it reads").expect("it is there");
    assert_eq!(
        (kept.device.as_str(), kept.tenant.as_str(), kept.ca.as_str()),
        ("d1", "acme", "c")
    );
    assert!(
        crate::identity::hub_ca::kept(&path("state")).is_none(),
        "he put another CA in the hub's place"
    );
    let after = agent.plane.floors().expect("floors");
    let time = |f: &jos_trust::Floors| f.now(&jos_schemas::text::Utc::from_unix(0), &crate::world::built());
    assert_eq!(time(&after), time(&floors), "he set the time");
    assert_eq!(after.trust(), floors.trust(), "he brought a trust document");
    assert!(
        after
            .counters()
            .all(|(_, floor)| floor.in_force.is_none() && floor.version == tried.version)
    );
}
