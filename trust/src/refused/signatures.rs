//! Why signatures do not count.

use jos_schemas::documents::trust::Role;

use super::{listed, reasons, role_name};
use crate::keys::KeyId;

/// Why the signatures of a document do not count.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BadSignatures {
    /// There is none.
    #[error("it is not signed")]
    Unsigned,
    /// A signature has not the shape of one.
    #[error("{pointer}: found {found}, expected {expected}")]
    Malformed {
        /// Where, as a JSON pointer.
        pointer: String,
        /// What stands there.
        found: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// The algorithm is a constant, not a choice.
    #[error("{pointer}: found {found}, expected \"ed25519\": the algorithm is a constant, not a choice")]
    Algorithm {
        /// Where, as a JSON pointer.
        pointer: String,
        /// What stands there.
        found: String,
    },
    /// More signatures than anybody needs.
    #[error("it has {found} signatures, expected {most} at most")]
    TooMany {
        /// How many there are.
        found: usize,
        /// How many are looked at.
        most: usize,
    },
    /// No signature is by a key that the trust root knows.
    #[error("it is signed by {}, which the trust root (version {trust_version}) does not know", listed(.key_ids))]
    WrongKey {
        /// The ids that stand in the document.
        key_ids: Vec<KeyId>,
        /// The trust root that was asked.
        trust_version: u64,
    },
    /// A good signature, by a key that may not sign this kind of document.
    #[error("key {key_id} signed it, but has not the role {}", role_name(*.role))]
    WrongRole {
        /// The key.
        key_id: KeyId,
        /// The role that it would need.
        role: Role,
    },
    /// The signature does not fit the content: one of the two was changed.
    #[error("the signature of {key_id} does not fit the content: it was changed after signing, or the signature was")]
    Invalid {
        /// The key.
        key_id: KeyId,
    },
    /// Good signatures, but too few.
    #[error("{} of {need} needed keys of the role {} signed it ({})", .have.len(), role_name(*.role), listed(.have))]
    Threshold {
        /// The role.
        role: Role,
        /// The keys that signed, each once.
        have: Vec<KeyId>,
        /// How many are needed.
        need: usize,
    },
}

reasons!(BadSignatures {
    Self::Unsigned => "unsigned", Some("sign it: `jos sign --key KEY FILE`");
    Self::Malformed { .. } => "malformed-signature", Some("sign it with `jos sign --key KEY FILE`");
    Self::Algorithm { .. } => "wrong-algorithm", Some("sign it with `jos sign --key KEY FILE`");
    Self::TooMany { .. } => "too-many-signatures", Some("remove the needless signatures: `jos sign --replace --key KEY FILE`");
    Self::WrongKey { .. } => "wrong-key", Some("sign with a key that `jos trust show TRUST` lists, or hand over the newer trust root");
    Self::WrongRole { .. } => "wrong-role", Some("sign with a key that has the role: `jos trust show TRUST` lists them");
    Self::Invalid { .. } => "bad-signature", Some("sign it again after every change: `jos sign --key KEY FILE`");
    Self::Threshold { .. } => "below-threshold", Some("let another holder of the role add a signature: `jos sign --key KEY FILE`");
});
