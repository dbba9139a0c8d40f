//! What the hub says to one device under its own key, and what a device says to the hub under its own.
//!
//! Owns: signing and verifying freshness statements and device floors (role `freshness`), and renewals (the device's
//! `ledger` key); and verifying what a tenant's admins say of their hub's CA (role `admin`). Each is bound to who asked and to what was asked, so that none is an answer to anything else. Nothing
//! here gives power over a version: a freshness statement gives time, a floor serves a device that has lost its own.

use jos_schemas::documents::hub::{DeviceFloor, Freshness, HubCa, Renewal};
use jos_schemas::documents::trust::Role;
use jos_schemas::node::Node;
use jos_schemas::read;
use jos_schemas::report::Report;
use jos_schemas::text::Name;

use crate::canonical::{self, NotCanonical};
use crate::checkpoint::{self, Seal};
use crate::digest::sha256;
use crate::keys::{PublicKey, SecretKey};
use crate::refused::BadSignatures;
use crate::root::{Received, TrustRoot};
use crate::signatures;
use crate::verified::{Parts, Signable, Verified};

/// The `kind` of a renewal.
pub const RENEWAL: &str = "jos.renewal";

/// Who asked, and with which nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The tenant pinned at enrolment.
    pub tenant: &'a Name,
    /// The device id pinned at enrolment.
    pub device: &'a str,
    /// The agent's name.
    pub name: &'a Name,
    /// What the device chose for this question.
    pub nonce: &'a str,
}

/// Why a statement of the hub is not taken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StatementRefused {
    /// Not the document; every error of it.
    #[error("{0}")]
    Malformed(Report),
    /// It has no canonical bytes.
    #[error("{0}")]
    NotCanonical(NotCanonical),
    /// Another kind of document, or none.
    #[error("found kind {found}, expected {expected:?}")]
    WrongKind {
        /// What stands there.
        found: String,
        /// The kind that was asked for.
        expected: &'static str,
    },
    /// Not signed by the threshold of the role that signs such ones.
    #[error("{0}")]
    Signatures(BadSignatures),
    /// An answer to another device, or to another question.
    #[error("its {field} is {found:?}, asked was {expected:?}: an answer to somebody or something else")]
    NotAsked {
        /// `tenant`, `device`, `name` or `nonce`.
        field: &'static str,
        /// What it says.
        found: String,
        /// What was asked.
        expected: String,
    },
}

/// A document that the hub signs for one device and one question.
pub trait Statement: Signable<Scope = ()> + Clone + serde::Serialize + serde::de::DeserializeOwned {
    /// To whom and to what it answers.
    fn asked(&self) -> Asked<'_>;
    /// The version that it names.
    fn version(&self) -> u64;
    /// The same with this signature.
    #[must_use]
    fn signed(self, signature: jos_schemas::documents::desired_state::Signature) -> Self;
}

macro_rules! statement {
    ($type:ident, $kind:literal, $version:ident) => {
        impl Signable for $type {
            const KIND: &'static str = $kind;
            type Scope = ();
        }

        impl Statement for $type {
            fn asked(&self) -> Asked<'_> {
                Asked {
                    tenant: &self.tenant,
                    device: &self.device,
                    name: &self.name,
                    nonce: &self.nonce,
                }
            }
            fn version(&self) -> u64 {
                self.$version
            }
            fn signed(self, signature: jos_schemas::documents::desired_state::Signature) -> Self {
                Self {
                    signature: Some(signature),
                    ..self
                }
            }
        }
    };
}
/// What the admins of a tenant say of their hub's CA: for all its devices, and an answer to no question.
impl Signable for HubCa {
    const KIND: &'static str = "jos.hub_ca";
    type Scope = ();
}

statement!(Freshness, "jos.freshness", offered);
statement!(DeviceFloor, "jos.floor", floor);

/// The same statement, signed by the hub's `freshness` key.
pub fn sign<T: Statement>(statement: &T, key: &SecretKey) -> Result<T, NotCanonical> {
    let message = canonical::signed_bytes(T::KIND, &crate::sign::to_node(statement))?;
    Ok(statement.clone().signed(key.sign(&message)))
}

/// Verifies a statement as it was received: signatures under the threshold of `freshness`, then types, then that it is
/// the answer to what was asked.
pub fn verify<T: Statement>(
    received: Received<'_>,
    root: &TrustRoot,
    asked: &Asked<'_>,
) -> Result<Verified<T>, StatementRefused> {
    let verified = open::<T>(received, root, Role::Freshness, T::version)?;
    answers(&verified.value().asked(), asked)?;
    Ok(verified)
}

/// Verifies what admins say of their hub's CA, as it was received: signatures under the threshold of `admin`, then types,
/// then that it is for this tenant. It has no end: whoever slept through it takes it years later.
pub fn verify_hub_ca(
    received: Received<'_>,
    root: &TrustRoot,
    tenant: &Name,
) -> Result<Verified<HubCa>, StatementRefused> {
    let verified = open::<HubCa>(received, root, Role::Admin, |said| said.version)?;
    let found = &verified.value().tenant;
    if found != tenant {
        return Err(StatementRefused::NotAsked {
            field: "tenant",
            found: found.to_string(),
            expected: tenant.to_string(),
        });
    }
    Ok(verified)
}

fn open<T: Signable<Scope = ()> + serde::de::DeserializeOwned>(
    received: Received<'_>,
    root: &TrustRoot,
    role: Role,
    version: fn(&T) -> u64,
) -> Result<Verified<T>, StatementRefused> {
    let node = read::parse(received.name, received.bytes, received.format).map_err(StatementRefused::Malformed)?;
    let message = canonical::signed_bytes(T::KIND, &node).map_err(StatementRefused::NotCanonical)?;
    if node.get("kind").and_then(Node::as_str) != Some(T::KIND) {
        return Err(StatementRefused::WrongKind {
            found: node.get("kind").map_or("nothing".to_owned(), Node::describe),
            expected: T::KIND,
        });
    }
    let found = signatures::collect(&node).map_err(StatementRefused::Signatures)?;
    let have = root
        .keyring()
        .count(role, &found, &message)
        .map_err(StatementRefused::Signatures)?;
    let text = std::str::from_utf8(received.bytes).unwrap_or_default();
    let value: T = read::from_node(received.name, text, &node).map_err(StatementRefused::Malformed)?;
    let content = sha256(&canonical::unsigned_bytes(&node).map_err(StatementRefused::NotCanonical)?);
    Ok(Verified::new(Parts {
        version: version(&value),
        value,
        node,
        content,
        dev: have.iter().any(|k| k.dev),
        signers: have.into_iter().map(|k| k.id).collect(),
        scope: (),
    }))
}

fn answers(found: &Asked<'_>, asked: &Asked<'_>) -> Result<(), StatementRefused> {
    let fields = [
        ("tenant", found.tenant.as_str(), asked.tenant.as_str()),
        ("device", found.device, asked.device),
        ("name", found.name.as_str(), asked.name.as_str()),
        ("nonce", found.nonce, asked.nonce),
    ];
    match fields.into_iter().find(|(_, found, expected)| found != expected) {
        None => Ok(()),
        Some((field, found, expected)) => Err(StatementRefused::NotAsked {
            field,
            found: found.to_owned(),
            expected: expected.to_owned(),
        }),
    }
}

/// The same renewal, signed by the device's `ledger` key.
pub fn sign_renewal(renewal: &Renewal, key: &SecretKey) -> Result<Renewal, NotCanonical> {
    let message = canonical::signed_bytes(RENEWAL, &crate::sign::to_node(renewal))?;
    Ok(Renewal {
        signature: Some(key.sign(&message)),
        ..renewal.clone()
    })
}

/// Whether `key` signed the renewal as it was received. A device has one `ledger` key, so the id says nothing and is not
/// asked.
pub fn renewal_is_by(received: &Node, key: &PublicKey) -> bool {
    let id = received
        .get("signature")
        .and_then(|s| s.get("key_id"))
        .and_then(Node::as_str);
    let Some(Ok(id)) = id.map(crate::keys::KeyId::new) else {
        return false;
    };
    matches!(checkpoint::seal_of(RENEWAL, received, key, &id), Seal::Good(_))
}

#[cfg(test)]
mod tests;
