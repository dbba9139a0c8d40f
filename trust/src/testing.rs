//! What the tests of this crate share: seeded keys, trust documents and states. No secret key is committed: each is
//! made from its seed byte in the test.

use std::collections::BTreeMap;

use jos_schemas::documents::desired_state;
use jos_schemas::documents::trust::{self, Role, Trust};
use jos_schemas::node::Node;
use jos_schemas::text::{Name, Utc};
use serde_json::{Value, json};

use crate::floors::Floors;
use crate::keys::{KeyId, SecretKey};
use crate::root::{Received, TrustRoot};
use crate::sign::{self, Grant, NewTrust};
use crate::state::{Channel, Context};

/// The moment at which the tests take place.
pub(crate) const NOW: &str = "2026-11-21T12:00:00Z";

pub(crate) fn utc(text: &str) -> Utc {
    Utc::new(text).expect("a time")
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

/// The key of a seed byte, under an id of its own.
pub(crate) fn key(seed: u8, id: &str) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32]).with_id(KeyId::new(id).expect("a key id"))
}

pub(crate) fn root_key() -> SecretKey {
    key(1, "root-1")
}
pub(crate) fn admin_key() -> SecretKey {
    key(2, "admin-1")
}
pub(crate) fn second_admin_key() -> SecretKey {
    key(3, "admin-2")
}
pub(crate) fn freshness_key() -> SecretKey {
    key(4, "hub-1")
}
pub(crate) fn stranger_key() -> SecretKey {
    key(9, "admin-1")
}

/// root: root-1; admin: admin-1 and admin-2 (either one); freshness: hub-1.
pub(crate) fn trust() -> Trust {
    let grant = |key: &SecretKey, role| Grant {
        key: key.into(),
        roles: vec![role],
    };
    sign::new_trust(&NewTrust {
        tenant: Some(name("acme")),
        expires: Some(utc("2028-01-01T00:00:00Z")),
        grants: vec![
            grant(&root_key(), Role::Root),
            grant(&admin_key(), Role::Admin),
            grant(&second_admin_key(), Role::Admin),
            grant(&freshness_key(), Role::Freshness),
        ],
        thresholds: BTreeMap::new(),
    })
    .expect("a sound trust document")
}

/// `trust` signed by `keys`, as bytes.
pub(crate) fn signed_trust(trust: &Trust, keys: &[&SecretKey]) -> Vec<u8> {
    signed(&serde_json::to_value(trust).expect("plain data"), trust::KIND, keys)
}

pub(crate) fn signed(document: &Value, kind: &str, keys: &[&SecretKey]) -> Vec<u8> {
    let node = keys.iter().fold(Node::from_json(document), |node, key| {
        sign::sign_document("test", "", &node, kind, key).expect("a document that can be signed")
    });
    sign::to_json_text(&node).into_bytes()
}

pub(crate) fn open(bytes: &[u8]) -> TrustRoot {
    TrustRoot::open(Received::json("trust.json", bytes)).expect("a sound trust root")
}

/// The root of [`trust`].
pub(crate) fn root() -> TrustRoot {
    open(&signed_trust(&trust(), &[&root_key()]))
}

/// A state for the device `router-7` of `acme`.
pub(crate) fn state(version: u64) -> Value {
    json!({
        "kind": "jos.agent.desired_state",
        "meta": {
            "name": "portal", "version": version, "expires": "2027-06-01T00:00:00Z",
            "audience": { "tenant": "acme", "devices": ["router-7"], "labels": { "site": "mx-3" } },
        },
        "spec": { "apply": [{ "type": "file", "path": "/etc/motd", "content": format!("version {version}\n") }] },
    })
}

pub(crate) fn signed_state(state: &Value, keys: &[&SecretKey]) -> Vec<u8> {
    signed(state, desired_state::KIND, keys)
}

/// What a [`Context`] borrows.
pub(crate) struct Device {
    pub(crate) name: Name,
    pub(crate) tenant: Option<Name>,
    pub(crate) id: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) now: Utc,
    pub(crate) floors: Floors,
    pub(crate) channel: Channel,
    pub(crate) allow_unscoped: bool,
}

impl Device {
    /// `router-7` of `acme` at site `mx-3`, which takes states from a hub.
    pub(crate) fn new() -> Self {
        Self {
            name: name("portal"),
            tenant: Some(name("acme")),
            id: Some("router-7".to_owned()),
            labels: BTreeMap::from([("site".to_owned(), "mx-3".to_owned())]),
            now: utc(NOW),
            floors: Floors::default(),
            channel: Channel::Hub,
            allow_unscoped: false,
        }
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context {
            channel: self.channel,
            name: &self.name,
            tenant: self.tenant.as_ref(),
            device: self.id.as_deref(),
            labels: &self.labels,
            now: &self.now,
            floors: &self.floors,
            allow_unscoped: self.allow_unscoped,
        }
    }
}
