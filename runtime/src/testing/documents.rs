//! Documents as an administrator makes them, with keys from seed bytes.

use jos_schemas::documents::trust::{self, Role};
use jos_schemas::node::Node;
use jos_trust::root::Received;
use jos_trust::sign::{self, Grant, NewTrust};
use jos_trust::{KeyId, SecretKey, TrustRoot};
use serde_json::{Value, json};

pub(crate) fn state(name: &str, version: u64, spec: Value) -> Value {
    let spec = if spec.is_array() {
        json!({ "apply": spec })
    } else {
        spec
    };
    json!({ "kind": "jos.agent.desired_state", "meta": { "name": name, "version": version }, "spec": spec })
}

pub(crate) fn admin_key() -> SecretKey {
    SecretKey::from_bytes(&[2; 32]).with_id(KeyId::new("admin-1").unwrap())
}

pub(crate) fn root() -> TrustRoot {
    let root_key = SecretKey::from_bytes(&[1; 32]).with_id(KeyId::new("root-1").unwrap());
    let grants = vec![
        Grant {
            key: (&root_key).into(),
            roles: vec![Role::Root],
        },
        Grant {
            key: (&admin_key()).into(),
            roles: vec![Role::Admin],
        },
    ];
    let trust = sign::new_trust(&NewTrust {
        grants,
        ..NewTrust::default()
    })
    .unwrap();
    let bytes = signed(&serde_json::to_value(trust).unwrap(), trust::KIND, &[&root_key]);
    TrustRoot::open(Received::json("trust.json", &bytes)).unwrap()
}

pub(super) fn signed(document: &Value, kind: &str, keys: &[&SecretKey]) -> Vec<u8> {
    let node = keys.iter().fold(Node::from_json(document), |node, key| {
        sign::sign_document("test", "", &node, kind, key).unwrap()
    });
    sign::to_json_text(&node).into_bytes()
}
