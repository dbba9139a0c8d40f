//! Why a document was refused: one variant per reason, each with what was found and what was expected.
//!
//! [`Refused::code`] and [`TrustRefused::code`] are stable names for ledgers, reports and scripts, in the words of the
//! TUF specification where it has one.

mod signatures;
mod state;
mod trust;

pub use signatures::BadSignatures;
pub use state::Refused;
pub use trust::TrustRefused;

use jos_schemas::documents::trust::Role;

use crate::keys::KeyId;

/// The names of reasons that states and trust documents share.
mod code {
    pub(super) const MALFORMED: &str = "malformed";
    pub(super) const NOT_CANONICAL: &str = "not-canonical";
    pub(super) const WRONG_KIND: &str = "wrong-kind";
    pub(super) const OTHER_TENANT: &str = "other-tenant";
    pub(super) const TRUST_EXPIRED: &str = "trust-expired";
    pub(super) const ROLLBACK: &str = "rollback";
    pub(super) const SAME_VERSION: &str = "same-version-other-content";
}

/// One row for each reason: its variant, its stable name, what to do next.
macro_rules! reasons {
    ($type:ident { $($reason:pat => $code:expr, $help:expr;)+ }) => {
        impl $type {
            /// A stable name for ledger, report and script.
            pub fn code(&self) -> &'static str {
                match self { $($reason => $code),+ }
            }

            /// What to do next, where a report of its own does not say it.
            pub fn help(&self) -> Option<&'static str> {
                match self { $($reason => $help),+ }
            }
        }
    };
}
use reasons;

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
