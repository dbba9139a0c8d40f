//! Why a desired state is not taken.

use jos_schemas::report::Report;
use jos_schemas::text::{Name, Utc};

use super::{BadSignatures, code, reasons};
use crate::canonical::NotCanonical;
use crate::digest::Digest;

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

/// What to do about a state of another audience.
const FOR_SOMEBODY_ELSE: &str = "this state is meant for somebody else; check `meta.audience`";

reasons!(Refused {
    Self::Malformed(_) => code::MALFORMED, None;
    Self::NotCanonical(_) => code::NOT_CANONICAL, Some("sign with `jos sign`, which writes nothing that cannot be verified");
    Self::WrongKind { .. } => code::WRONG_KIND, Some("hand over a desired state; `jos validate FILE` names the kind of a document");
    Self::Signatures(bad) => bad.code(), bad.help();
    Self::TrustExpired { .. } => code::TRUST_EXPIRED, Some("hand over the newer trust root: `jos trust rotate` makes it");
    Self::TrustOfOtherTenant { .. } => "trust-of-other-tenant", Some("hand over the trust root of the device's own tenant");
    Self::OtherName { .. } => "other-name", Some("`meta.name` must equal the agent's name");
    Self::OtherTenant { .. } => code::OTHER_TENANT, Some(FOR_SOMEBODY_ELSE);
    Self::OtherDevice { .. } => "other-device", Some(FOR_SOMEBODY_ELSE);
    Self::OtherLabel { .. } => "other-label", Some(FOR_SOMEBODY_ELSE);
    Self::Unscoped { .. } => "unscoped", Some("add `meta.audience` and `meta.expires`, and sign it again");
    Self::Expired { .. } => "expired", Some("check the clock; else raise `meta.version` and `meta.expires`, and sign it again");
    Self::Rollback { .. } => code::ROLLBACK, Some("to go back, sign the old content again under a higher `meta.version`");
    Self::SameVersionOtherContent { .. } => code::SAME_VERSION, Some("every change needs a higher `meta.version`");
    Self::AlreadyFailed { .. } => "already-failed", Some("put right what failed and sign it again under a higher `meta.version`");
    Self::NotInForce { .. } => "not-in-force", None;
});

fn own_tenant(own: &Option<Name>) -> String {
    own.as_ref().map_or("this device has none".to_owned(), |own| {
        format!("this device belongs to {:?}", own.as_str())
    })
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
