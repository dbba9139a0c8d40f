//! Why a document was refused: one variant per reason, each with what was found and what was expected.
//!
//! [`Refused::code`] and [`TrustRefused::code`] are stable names for ledgers, reports and scripts, in the words of the
//! TUF specification where it has one.

use jos_schemas::documents::trust::Role;
use jos_schemas::report::Report;
use jos_schemas::text::{Name, Utc};

use crate::canonical::NotCanonical;
use crate::digest::Digest;
use crate::keys::{BadPublicKey, KeyId};

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

impl BadSignatures {
    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::Malformed { .. } => "malformed-signature",
            Self::Algorithm { .. } => "wrong-algorithm",
            Self::TooMany { .. } => "too-many-signatures",
            Self::WrongKey { .. } => "wrong-key",
            Self::WrongRole { .. } => "wrong-role",
            Self::Invalid { .. } => "bad-signature",
            Self::Threshold { .. } => "below-threshold",
        }
    }
}

/// Why a desired state was refused. Nothing was touched.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    /// Too large, not parseable, or not a desired state; every error of the file.
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
    /// The signatures do not count.
    #[error("{0}")]
    Signatures(BadSignatures),
    /// The trust root is past its expiry and may not admit anything new.
    #[error("the trust root (version {version}) expired at {expires}; now is {now}")]
    TrustExpired {
        /// Its version.
        version: u64,
        /// Its expiry.
        expires: Utc,
        /// The reading of now.
        now: Utc,
    },
    /// The trust root is for another tenant than the one pinned at enrolment.
    #[error("the trust root is for the tenant {:?}, this device belongs to {:?}", .found.as_str(), .own.as_str())]
    TrustOfOtherTenant {
        /// The trust root's tenant.
        found: Name,
        /// The device's.
        own: Name,
    },
    /// For another agent.
    #[error("it is for the agent {:?}, this one is {:?}", .found.as_str(), .expected.as_str())]
    OtherName {
        /// The state's name.
        found: Name,
        /// The agent's own.
        expected: Name,
    },
    /// For another tenant (cross-tenant replay).
    #[error("it is for the tenant {:?}, {}", .found.as_str(), own_tenant(.own))]
    OtherTenant {
        /// The tenant in the state's audience.
        found: Name,
        /// The device's, if it has one.
        own: Option<Name>,
    },
    /// For other devices (cross-device replay).
    #[error("it is for {count} other device(s), {}", own_device(.own))]
    OtherDevice {
        /// How many devices the audience lists.
        count: usize,
        /// The device's id, if it has one.
        own: Option<String>,
    },
    /// For another group of devices (cross-group replay).
    #[error("it is for devices with the label {key} = {expected:?}; here it is {}", own_label(.own))]
    OtherLabel {
        /// The label.
        key: String,
        /// The value that the audience asks for.
        expected: String,
        /// The device's value.
        own: Option<String>,
    },
    /// Without an audience or an expiry it is not taken from a hub.
    #[error("it has no {missing}: such a state is taken only from a local file, or where policy says allow_unscoped")]
    Unscoped {
        /// `meta.audience` or `meta.expires`.
        missing: &'static str,
    },
    /// Past its expiry (freeze).
    #[error("it expired at {expires}; now is {now}")]
    Expired {
        /// Its expiry.
        expires: Utc,
        /// The reading of now.
        now: Utc,
    },
    /// Older than what the device had (rollback).
    #[error("it has version {offered}; this device already had version {floor} and never goes back")]
    Rollback {
        /// The version offered.
        offered: u64,
        /// The lowest one acceptable.
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
    /// It was tried, failed and was taken back.
    #[error("version {version} was tried here, failed and was taken back")]
    AlreadyFailed {
        /// The version.
        version: u64,
    },
    /// [`crate::state::reopen`]: the stored state is not the one in force.
    #[error("the stored state has content {found}, {}", in_force(.expected))]
    NotInForce {
        /// The content of the stored bytes.
        found: Digest,
        /// The content in force, if any.
        expected: Option<Digest>,
    },
}

impl Refused {
    /// A stable name for ledger, report and script.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::NotCanonical(_) => "not-canonical",
            Self::WrongKind { .. } => "wrong-kind",
            Self::Signatures(bad) => bad.code(),
            Self::TrustExpired { .. } => "trust-expired",
            Self::TrustOfOtherTenant { .. } => "trust-of-other-tenant",
            Self::OtherName { .. } => "other-name",
            Self::OtherTenant { .. } => "other-tenant",
            Self::OtherDevice { .. } => "other-device",
            Self::OtherLabel { .. } => "other-label",
            Self::Unscoped { .. } => "unscoped",
            Self::Expired { .. } => "expired",
            Self::Rollback { .. } => "rollback",
            Self::SameVersionOtherContent { .. } => "same-version-other-content",
            Self::AlreadyFailed { .. } => "already-failed",
            Self::NotInForce { .. } => "not-in-force",
        }
    }

    /// What to do next.
    pub fn help(&self) -> Option<&'static str> {
        Some(match self {
            Self::Malformed(_) | Self::NotInForce { .. } => return None,
            Self::NotCanonical(_) => "sign with `jos sign`, which writes nothing that cannot be verified",
            Self::WrongKind { .. } => "hand over a desired state; `jos validate FILE` names the kind of a document",
            Self::Signatures(bad) => bad.help(),
            Self::TrustExpired { .. } => "hand over the newer trust root: `jos trust rotate` makes it",
            Self::TrustOfOtherTenant { .. } => "hand over the trust root of the device's own tenant",
            Self::OtherName { .. } => "`meta.name` must equal the agent's name",
            Self::OtherTenant { .. } | Self::OtherDevice { .. } | Self::OtherLabel { .. } => {
                "this state is meant for somebody else; check `meta.audience`"
            }
            Self::Unscoped { .. } => "add `meta.audience` and `meta.expires`, and sign it again",
            Self::Expired { .. } => "check the clock; else raise `meta.version` and `meta.expires`, and sign it again",
            Self::Rollback { .. } => "to go back, sign the old content again under a higher `meta.version`",
            Self::SameVersionOtherContent { .. } => "every change needs a higher `meta.version`",
            Self::AlreadyFailed { .. } => "put right what failed and sign it again under a higher `meta.version`",
        })
    }
}

impl BadSignatures {
    /// What to do next.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Unsigned => "sign it: `jos sign --key KEY FILE`",
            Self::Malformed { .. } | Self::Algorithm { .. } => "sign it with `jos sign --key KEY FILE`",
            Self::TooMany { .. } => "remove the needless signatures: `jos sign --replace --key KEY FILE`",
            Self::WrongKey { .. } => {
                "sign with a key that `jos trust show TRUST` lists, or hand over the newer trust root"
            }
            Self::WrongRole { .. } => "sign with a key that has the role: `jos trust show TRUST` lists them",
            Self::Invalid { .. } => "sign it again after every change: `jos sign --key KEY FILE`",
            Self::Threshold { .. } => "let another holder of the role add a signature: `jos sign --key KEY FILE`",
        }
    }
}

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

impl TrustRefused {
    /// A stable name for ledger, report and script.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::NotCanonical(_) => "not-canonical",
            Self::WrongKind { .. } => "wrong-kind",
            Self::NoRoot => "no-root",
            Self::BadThreshold { .. } => "bad-threshold",
            Self::MissingKey { .. } => "missing-key",
            Self::KeyTwice { .. } => "key-twice",
            Self::SameKey { .. } => "same-key",
            Self::IdTaken { .. } => "id-taken",
            Self::TooManyKeys { .. } => "too-many-keys",
            Self::BadKey { .. } => "bad-key",
            Self::NotSelfSigned(_) => "not-self-signed",
            Self::NotSignedByPredecessor { .. } => "not-signed-by-predecessor",
            Self::Gap { .. } => "gap",
            Self::OtherTenant { .. } => "other-tenant",
            Self::Expired { .. } => "trust-expired",
            Self::Rollback { .. } => "rollback",
            Self::SameVersionOtherContent { .. } => "same-version-other-content",
        }
    }

    /// What to do next.
    pub fn help(&self) -> Option<&'static str> {
        Some(match self {
            Self::Malformed(_) => return None,
            Self::NotCanonical(_) | Self::WrongKind { .. } | Self::NoRoot => "`jos trust init` makes a trust document",
            Self::BadThreshold { .. } => "set it with `jos trust rotate --threshold ROLE=N`",
            Self::MissingKey { .. } | Self::KeyTwice { .. } | Self::SameKey { .. } | Self::BadKey { .. } => {
                "list each public key once under `keys`; `jos trust add` does it"
            }
            Self::IdTaken { .. } => "name the new key otherwise: `jos key new --id ID`",
            Self::TooManyKeys { .. } => "remove the keys that no role needs",
            Self::NotSelfSigned(_) => "every holder counted in its root threshold signs it: `jos sign --key KEY FILE`",
            Self::NotSignedByPredecessor { .. } => {
                "the holders of the roots before it sign it too: `jos sign --key OLDKEY FILE`"
            }
            Self::Gap { .. } => "hand over every version in between, in order",
            Self::OtherTenant { .. } => "a device changes its tenant only by a new enrolment",
            Self::Expired { .. } => "check the clock; else make its successor: `jos trust rotate --expires UTC`",
            Self::Rollback { .. } => "hand over the newest trust document",
            Self::SameVersionOtherContent { .. } => "two documents claim one version: ask who signed them, then rotate",
        })
    }
}

/// A role as documents write it.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Root => "root",
        Role::Admin => "admin",
        Role::Freshness => "freshness",
    }
}

fn listed(ids: &[KeyId]) -> String {
    match ids {
        [] => "none".to_owned(),
        ids => ids.iter().take(8).map(KeyId::as_str).collect::<Vec<_>>().join(", "),
    }
}

fn own_tenant(own: &Option<Name>) -> String {
    own.as_ref().map_or("this device has none".to_owned(), |own| {
        format!("this device belongs to {:?}", own.as_str())
    })
}

fn tenant(tenant: &Option<Name>) -> String {
    tenant
        .as_ref()
        .map_or("no tenant".to_owned(), |t| format!("the tenant {:?}", t.as_str()))
}

fn own_device(own: &Option<String>) -> String {
    own.as_ref()
        .map_or("this device has no id".to_owned(), |own| format!("this one is {own:?}"))
}

fn own_label(own: &Option<String>) -> String {
    own.as_ref().map_or("not set".to_owned(), |own| format!("{own:?}"))
}

fn in_force(expected: &Option<Digest>) -> String {
    expected.map_or("and none is in force".to_owned(), |d| format!("in force is {d}"))
}
