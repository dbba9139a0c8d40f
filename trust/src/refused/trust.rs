//! Why a trust document is not adopted.

use jos_schemas::documents::trust::Role;
use jos_schemas::report::Report;
use jos_schemas::text::{Name, Utc};

use super::{BadSignatures, code, reasons, role_name};
use crate::canonical::NotCanonical;
use crate::digest::Digest;
use crate::keys::{BadPublicKey, KeyId};

/// Why a trust document was refused. The one in use stays.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TrustRefused {
    /// Too large, not parseable, or not a trust document; every error of the file.
    #[error("{0}")]
    Malformed(Report),
    /// It has no canonical bytes, so nobody can have signed it.
    #[error("it cannot be signed: {0}")]
    NotCanonical(NotCanonical),
    /// Another kind of document.
    #[error("found kind {found}, expected {expected:?}")]
    WrongKind {
        /// What stands there.
        found: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// No key may sign the next trust document.
    #[error("it gives the role root to no key")]
    NoRoot,
    /// A threshold that anybody or nobody reaches (TUF §6.1).
    #[error("roles.{}.threshold is {threshold}, expected 1 to {keys} (the number of keys)", role_name(*.role))]
    BadThreshold {
        /// The role.
        role: Role,
        /// What stands there.
        threshold: u32,
        /// How many different keys the role has.
        keys: usize,
    },
    /// A role names a key that the document does not hold.
    #[error("roles.{}.keys names {key_id}, which is not among keys", role_name(*.role))]
    MissingKey {
        /// The role.
        role: Role,
        /// The key.
        key_id: KeyId,
    },
    /// A role names a key twice, which would let it count twice.
    #[error("roles.{}.keys names {key_id} twice", role_name(*.role))]
    KeyTwice {
        /// The role.
        role: Role,
        /// The key.
        key_id: KeyId,
    },
    /// One public key under two ids, which would let it count twice.
    #[error("keys.{first} and keys.{second} are the same public key")]
    SameKey {
        /// One id.
        first: KeyId,
        /// The other.
        second: KeyId,
    },
    /// Another key already has this id.
    #[error("another key already has the id {key_id}")]
    IdTaken {
        /// The id.
        key_id: KeyId,
    },
    /// More keys than anybody needs.
    #[error("it holds {found} keys, expected {most} at most")]
    TooManyKeys {
        /// How many there are.
        found: usize,
        /// How many are allowed.
        most: usize,
    },
    /// A public key that is none.
    #[error("keys.{key_id}: {reason}")]
    BadKey {
        /// The key's id.
        key_id: KeyId,
        /// Why.
        reason: BadPublicKey,
    },
    /// Its own root keys did not sign it.
    #[error("by its own roots: {0}")]
    NotSelfSigned(BadSignatures),
    /// The root keys before it did not sign it.
    #[error("by the roots of version {before}: {bad}")]
    NotSignedByPredecessor {
        /// The version before.
        before: u64,
        /// Why.
        bad: BadSignatures,
    },
    /// A gap in the chain (TUF §5.3.5).
    #[error("it has version {found}, expected {expected}: roots are walked one by one")]
    Gap {
        /// What stands there.
        found: u64,
        /// One more than the version before.
        expected: u64,
    },
    /// For another tenant than the one before it.
    #[error("it is for {}, the one before it for {}", tenant(.found), tenant(.expected))]
    OtherTenant {
        /// What stands there.
        found: Option<Name>,
        /// The tenant before.
        expected: Option<Name>,
    },
    /// Past its expiry (TUF §5.3.10: only the last one's counts).
    #[error("it (version {version}) expired at {expires}; now is {now}")]
    Expired {
        /// Its version.
        version: u64,
        /// Its expiry.
        expires: Utc,
        /// The reading of now.
        now: Utc,
    },
    /// Older than the one adopted (rollback).
    #[error("it has version {offered}; this device already adopted version {floor} and never goes back")]
    Rollback {
        /// The version offered.
        offered: u64,
        /// The version adopted.
        floor: u64,
    },
    /// The number is taken by other content.
    #[error("version {version} is known with other content ({known}, now {offered})")]
    SameVersionOtherContent {
        /// The version.
        version: u64,
        /// The content known under that number.
        known: Digest,
        /// The content offered.
        offered: Digest,
    },
}

/// What to do about the list of keys.
const EACH_KEY_ONCE: &str = "list each public key once under `keys`; `jos trust add` does it";

/// What to do without a usable trust document.
const MAKE_ONE: &str = "`jos trust init` makes a trust document";

reasons!(TrustRefused {
    Self::Malformed(_) => code::MALFORMED, None;
    Self::NotCanonical(_) => code::NOT_CANONICAL, Some(MAKE_ONE);
    Self::WrongKind { .. } => code::WRONG_KIND, Some(MAKE_ONE);
    Self::NoRoot => "no-root", Some(MAKE_ONE);
    Self::BadThreshold { .. } => "bad-threshold", Some("set it with `jos trust rotate --threshold ROLE=N`");
    Self::MissingKey { .. } => "missing-key", Some(EACH_KEY_ONCE);
    Self::KeyTwice { .. } => "key-twice", Some(EACH_KEY_ONCE);
    Self::SameKey { .. } => "same-key", Some(EACH_KEY_ONCE);
    Self::IdTaken { .. } => "id-taken", Some("name the new key otherwise: `jos key new --id ID`");
    Self::TooManyKeys { .. } => "too-many-keys", Some("remove the keys that no role needs");
    Self::BadKey { .. } => "bad-key", Some(EACH_KEY_ONCE);
    Self::NotSelfSigned(_) => "not-self-signed", Some("every holder counted in its root threshold signs it: `jos sign --key KEY FILE`");
    Self::NotSignedByPredecessor { .. } => "not-signed-by-predecessor", Some("the holders of the roots before it sign it too: `jos sign --key OLDKEY FILE`");
    Self::Gap { .. } => "gap", Some("hand over every version in between, in order");
    Self::OtherTenant { .. } => code::OTHER_TENANT, Some("a device changes its tenant only by a new enrolment");
    Self::Expired { .. } => code::TRUST_EXPIRED, Some("check the clock; else make its successor: `jos trust rotate --expires UTC`");
    Self::Rollback { .. } => code::ROLLBACK, Some("hand over the newest trust document");
    Self::SameVersionOtherContent { .. } => code::SAME_VERSION, Some("two documents claim one version: ask who signed them, then rotate");
});

fn tenant(tenant: &Option<Name>) -> String {
    tenant
        .as_ref()
        .map_or("no tenant".to_owned(), |t| format!("the tenant {:?}", t.as_str()))
}
