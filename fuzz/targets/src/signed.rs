//! Signed documents: nothing that no admin signed is verified, and whatever can be signed is judged without a panic.
//!
//! A fuzzer cannot forge a signature, so raw bytes alone would never get past it. What can be signed is therefore signed
//! here, by keys that are made from seed bytes and trusted by nobody else, and verified again.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jos_schemas::documents::desired_state::{self, DesiredState};
use jos_schemas::documents::trust::{self, Role, Trust};
use jos_schemas::text::{Name, Utc};
use jos_schemas::{Format, Limits, Node};
use jos_trust::canonical::unsigned_bytes;
use jos_trust::root::Received;
use jos_trust::sign::{self, Grant, NewTrust};
use jos_trust::state::{self, Channel, Context};
use jos_trust::{Digest, Floors, KeyId, Refused, SecretKey, TrustRefused, TrustRoot, Verified, sha256, verify_state};

use crate::documents::{FORMATS, tree, typed};

/// The moment at which everything here takes place.
const NOW: &str = "2026-11-21T12:00:00Z";

/// A desired state: read by its type, verified as it stands, and verified once more after an admin signed it.
pub fn desired_state(data: &[u8]) {
    let world = world();
    for format in FORMATS {
        if let Some(value) = typed::<DesiredState>(data, format) {
            for pointer in value.placeholders() {
                assert!(pointer.starts_with("/spec/apply/"), "{pointer}");
            }
        }
        let received = Received {
            name: "fuzz",
            bytes: data,
            format,
        };
        if let Ok(verified) = world.verify(received) {
            assert!(
                world.states.contains(&verified.content()),
                "forged: {:?}",
                verified.value()
            );
        }
        let Some(bytes) = sign_anew(data, format, desired_state::KIND, &world.admin) else {
            continue;
        };
        match world.verify(Received::json("signed", &bytes)) {
            Ok(verified) => kept(&bytes, &verified),
            Err(Refused::Signatures(bad)) => panic!("an admin signed it: {bad}"),
            Err(Refused::Malformed(report)) => panic!("it was valid when it was signed: {report}"),
            Err(refused) => assert!(!refused.code().is_empty() && !refused.to_string().is_empty()),
        }
    }
}

/// What was adopted is read back as it was, whatever becomes of the keys.
fn kept(bytes: &[u8], verified: &Verified<DesiredState>) {
    let mut floors = Floors::default();
    floors.confirm(verified);
    let floors = Floors::from_bytes(&floors.to_bytes()).expect("floors that were just written");
    for stored in [bytes, &verified.to_bytes()] {
        let reopened = state::reopen(
            Received::json("stored", stored),
            verified.counter(),
            Channel::Hub,
            &floors,
        );
        let reopened = reopened.expect("the state in force");
        assert_eq!(
            (reopened.content(), reopened.value()),
            (verified.content(), verified.value())
        );
    }
}

/// A trust document: opened as it stands, and once more after its root key signed it; then walked to from another.
pub fn trust_root(data: &[u8]) {
    let world = world();
    for format in FORMATS {
        let received = Received {
            name: "fuzz",
            bytes: data,
            format,
        };
        if let Ok(root) = TrustRoot::open(received) {
            assert!(
                world.roots.contains(&root.edition().content),
                "forged: {:?}",
                root.value()
            );
            walked(received);
        }
        if let Some(value) = typed::<Trust>(data, format) {
            let checked = sign::check(&value);
            if let Some(bytes) = sign_anew(data, format, trust::KIND, &world.root_key) {
                assert_eq!(checked, Ok(()), "it was signed");
                let received = Received::json("signed", &bytes);
                match TrustRoot::open(received) {
                    Ok(root) => assert_eq!(root.edition().content, content(&bytes)),
                    Err(TrustRefused::NotSelfSigned(_)) => {}
                    Err(refused) => panic!("it was sound when it was signed: {refused}"),
                }
                walked(received);
            }
        }
    }
}

/// A root that was walked to is the next version, or none was.
fn walked(received: Received<'_>) {
    let world = world();
    let chain = world.root.walk(&[received], &Floors::default(), &world.now, &world.now);
    for root in chain.iter().flatten() {
        assert_eq!(root.version(), world.root.version() + 1);
    }
}

/// `data` as a document of `kind` that `key` alone signed, if it is one that can be signed.
fn sign_anew(data: &[u8], format: Format, kind: &str, key: &SecretKey) -> Option<Vec<u8>> {
    let bare = sign::without_signatures(&tree(data, format)?);
    let signed = sign::sign_document("fuzz", "", &bare, kind, key).ok()?;
    let bytes = sign::to_json_text(&signed).into_bytes();
    // Its layout for people may be longer than any document may be.
    (bytes.len() <= Limits::DOCUMENT.bytes).then_some(bytes)
}

/// SHA-256 of the canonical bytes of a JSON document without its signatures.
fn content(bytes: &[u8]) -> Digest {
    let node = tree(bytes, Format::Json).expect("JSON");
    sha256(&unsigned_bytes(&node).expect("canonical"))
}

/// The device and the keys that the targets and their seeds share.
struct World {
    root_key: SecretKey,
    admin: SecretKey,
    root: TrustRoot,
    name: Name,
    labels: BTreeMap<String, String>,
    now: Utc,
    floors: Floors,
    /// The contents that the admin and the roots did sign: those of the seeds.
    states: Vec<Digest>,
    roots: Vec<Digest>,
}

impl World {
    fn verify(&self, received: Received<'_>) -> Result<Verified<DesiredState>, Refused> {
        let context = Context {
            channel: Channel::Hub,
            name: &self.name,
            tenant: None,
            device: Some("router-7"),
            labels: &self.labels,
            now: &self.now,
            floors: &self.floors,
            allow_unscoped: true,
        };
        verify_state(received, &self.root, &context)
    }
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let roots = signed_roots();
        World {
            root_key: key(1, "root-1"),
            admin: key(2, "admin-1"),
            root: TrustRoot::open(Received::json("trust.json", &roots[0].1)).expect("a sound root"),
            name: name("portal"),
            labels: BTreeMap::from([("site".to_owned(), "mx-3".to_owned())]),
            now: Utc::new(NOW).expect("a time"),
            floors: Floors::default(),
            states: signed_states().iter().map(|(_, bytes)| content(bytes)).collect(),
            roots: roots.iter().map(|(_, bytes)| content(bytes)).collect(),
        }
    })
}

/// Signed states, as seeds.
pub(crate) fn signed_states() -> Vec<(&'static str, Vec<u8>)> {
    let state = serde_json::json!({
        "kind": desired_state::KIND,
        "meta": {
            "name": "portal", "version": 1, "expires": "2027-06-01T00:00:00Z",
            "audience": { "tenant": "acme", "devices": ["router-7"], "labels": { "site": "mx-3" } },
        },
        "spec": {
            "apply": [{ "type": "file", "path": "/etc/motd", "content": "hello\n" }],
            "health_check": { "type": "tcp", "host": "127.0.0.1", "port": 22 },
        },
    });
    let once = signed(&Node::from_json(&state), desired_state::KIND, &[key(2, "admin-1")]);
    let stranger = signed(&Node::from_json(&state), desired_state::KIND, &[key(9, "stranger")]);
    let keys = [key(2, "admin-1"), key(3, "admin-2")];
    let twice = signed(&Node::from_json(&state), desired_state::KIND, &keys);
    vec![
        ("signed.json", once),
        ("signed-twice.json", twice),
        ("signed-by-a-stranger.json", stranger),
    ]
}

/// Trust roots that follow each other, as seeds.
pub(crate) fn signed_roots() -> Vec<(&'static str, Vec<u8>)> {
    let grant = |key: SecretKey, role| Grant {
        key: (&key).into(),
        roles: vec![role],
    };
    let first = sign::new_trust(&NewTrust {
        tenant: Some(name("acme")),
        expires: Some(Utc::new("2028-01-01T00:00:00Z").expect("a time")),
        grants: vec![
            grant(key(1, "root-1"), Role::Root),
            grant(key(2, "admin-1"), Role::Admin),
            grant(key(3, "admin-2"), Role::Admin),
            grant(key(4, "hub-1"), Role::Freshness),
        ],
        thresholds: BTreeMap::new(),
    })
    .expect("a sound trust document");
    let mut second = sign::successor(&first);
    sign::withdraw(&mut second, Some(Role::Admin), key(2, "admin-1").id());
    second.floors.insert(name("portal"), 41);
    let keys = [key(1, "root-1")];
    vec![
        ("first.json", signed(&sign::to_node(&first), trust::KIND, &keys)),
        ("second.json", signed(&sign::to_node(&second), trust::KIND, &keys)),
    ]
}

fn signed(document: &Node, kind: &str, keys: &[SecretKey]) -> Vec<u8> {
    let node = keys.iter().fold(document.clone(), |node, key| {
        sign::sign_document("seed", "", &node, kind, key).expect("a document that can be signed")
    });
    sign::to_json_text(&node).into_bytes()
}

/// The key of a seed byte: a secret to nobody.
fn key(seed: u8, id: &str) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32]).with_id(KeyId::new(id).expect("a key id"))
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}
