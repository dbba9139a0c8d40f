//! Checkpoints of a ledger, signed by the device's own `ledger` key.
//!
//! Such a signature says that this device wrote the checkpoint, and nothing of whether it is true: whoever is root on
//! the device has the key. It binds a copy of the ledger to the device that made it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jos_schemas::documents::checkpoint::Checkpoint;
use jos_schemas::node::Node;

use crate::canonical::{self, NotCanonical};
use crate::keys::{KeyId, PublicKey, SecretKey};

/// The `kind` of a checkpoint.
pub const KIND: &str = "jos.checkpoint";

/// What a checkpoint's signature came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seal {
    /// By this very key.
    Good(KeyId),
    /// It has none: there was no key when it was written.
    Absent,
    /// Another key is named; whether it signed cannot be told.
    OtherKey(KeyId),
    /// This key is named, and it did not sign these bytes.
    Bad(KeyId),
}

/// The same checkpoint, signed.
pub fn sign(checkpoint: &Checkpoint, key: &SecretKey) -> Result<Checkpoint, NotCanonical> {
    let message = canonical::signed_bytes(KIND, &crate::sign::to_node(checkpoint))?;
    Ok(Checkpoint {
        signature: Some(key.sign(&message)),
        ..checkpoint.clone()
    })
}

/// Whether `key` signed the checkpoint as it was received: the value, never a re-serialised type.
pub fn seal(received: &Node, key: &PublicKey, id: &KeyId) -> Seal {
    seal_of(KIND, received, key, id)
}

/// The same for any document of `kind` that a device signs by a key of its own.
pub(crate) fn seal_of(kind: &str, received: &Node, key: &PublicKey, id: &KeyId) -> Seal {
    let Some(signature) = received.get("signature") else {
        return Seal::Absent;
    };
    let text = |name| signature.get(name).and_then(Node::as_str);
    let named = match text("key_id").map(KeyId::new) {
        Some(Ok(named)) => named,
        _ => return Seal::Bad(id.clone()),
    };
    if named != *id {
        return Seal::OtherKey(named);
    }
    let bytes = text("sig")
        .and_then(|sig| STANDARD.decode(sig).ok())
        .and_then(|bytes| <[u8; 64]>::try_from(bytes).ok());
    let good = match (bytes, canonical::signed_bytes(kind, received)) {
        (Some(sig), Ok(message)) => text("alg") == Some("ed25519") && key.verifies(&message, &sig),
        _ => false,
    };
    if good { Seal::Good(named) } else { Seal::Bad(named) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checkpoint() -> Checkpoint {
        let head = json!({ "index": 6, "hash": "0".repeat(64) });
        let value = json!({ "kind": KIND, "name": "portal", "head": head, "time": "2026-11-21T00:00:00Z" });
        serde_json::from_value(value).expect("a checkpoint")
    }

    #[test]
    fn a_checkpoint_is_bound_to_its_key_and_to_every_byte() {
        let (key, other) = (SecretKey::from_bytes(&[7; 32]), SecretKey::from_bytes(&[8; 32]));
        let signed = sign(&checkpoint(), &key).expect("it can be signed");
        let node = crate::sign::to_node(&signed);
        assert_eq!(seal(&node, &key.public(), key.id()), Seal::Good(key.id().clone()));
        assert_eq!(
            seal(&node, &other.public(), other.id()),
            Seal::OtherKey(key.id().clone())
        );
        assert_eq!(seal(&node, &other.public(), key.id()), Seal::Bad(key.id().clone()));
        let unsigned = crate::sign::to_node(&checkpoint());
        assert_eq!(seal(&unsigned, &key.public(), key.id()), Seal::Absent);
        let forged = Checkpoint {
            trust: Some(2),
            ..signed
        };
        let forged = crate::sign::to_node(&forged);
        assert_eq!(seal(&forged, &key.public(), key.id()), Seal::Bad(key.id().clone()));
    }
}
