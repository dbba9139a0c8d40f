//! [`Verified`]: a value that passed every check, with what the checks found.

use jos_schemas::documents::desired_state::{self, DesiredState};
use jos_schemas::documents::trust::{self, Trust};
use jos_schemas::node::Node;

use crate::canonical;
use crate::digest::Digest;
use crate::floors::{Counter, Standing};
use crate::keys::KeyId;
use crate::state::Channel;

/// A document that is signed, and what its verification adds to it.
pub trait Signable: Sized {
    /// The document's `kind`, which is part of the signed bytes: a signature of one kind is never one of another.
    const KIND: &'static str;
    /// What verification finds out besides the value.
    type Scope: Clone + std::fmt::Debug;
}

impl Signable for DesiredState {
    const KIND: &'static str = desired_state::KIND;
    type Scope = StateScope;
}

impl Signable for Trust {
    const KIND: &'static str = trust::KIND;
    type Scope = ();
}

/// Where a verified desired state belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateScope {
    /// How the state reached the device.
    pub channel: Channel,
    /// The counter that it moves.
    pub counter: Counter,
    /// How it stands to what the device had before.
    pub standing: Standing,
}

/// A document whose signatures, types and scope were all found good.
///
/// It cannot be made outside this crate: its fields are private and it has no constructor (the crate's documentation
/// proves it by a program that must not compile). `Clone` copies a verdict; it never makes one.
#[derive(Clone, Debug)]
pub struct Verified<T: Signable> {
    value: T,
    node: Node,
    content: Digest,
    signers: Vec<KeyId>,
    version: u64,
    dev: bool,
    scope: T::Scope,
}

/// What a verification hands to [`Verified::new`].
pub(crate) struct Parts<T: Signable> {
    pub(crate) value: T,
    pub(crate) node: Node,
    pub(crate) content: Digest,
    pub(crate) signers: Vec<KeyId>,
    pub(crate) version: u64,
    pub(crate) dev: bool,
    pub(crate) scope: T::Scope,
}

impl<T: Signable> Verified<T> {
    pub(crate) fn new(parts: Parts<T>) -> Self {
        let Parts {
            value,
            node,
            content,
            signers,
            version,
            dev,
            scope,
        } = parts;
        Self {
            value,
            node,
            content,
            signers,
            version,
            dev,
            scope,
        }
    }

    /// The document.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The document as it was received, located.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The content id: SHA-256 of the canonical bytes without the signatures, so that another signature under the same
    /// content is the same content.
    pub fn content(&self) -> Digest {
        self.content
    }

    /// The ids of the keys whose signatures counted, each key once, in the order of the document.
    pub fn signers(&self) -> &[KeyId] {
        &self.signers
    }

    /// The document's version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether a throwaway key (`jos-image build --dev-key`) was among the signers.
    pub fn signed_by_dev_key(&self) -> bool {
        self.dev
    }

    /// What verification found out besides the value.
    pub fn scope(&self) -> &T::Scope {
        &self.scope
    }

    /// The whole document with its signatures as canonical JSON: what to store. [`crate::state::reopen`] and
    /// [`crate::TrustRoot::open`] read it back.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::to_bytes(&self.node).expect("a verified document has canonical bytes: they were verified")
    }
}

impl Verified<DesiredState> {
    /// How the state reached the device.
    pub fn channel(&self) -> Channel {
        self.scope.channel
    }

    /// The counter (tenant, name, stream) that it moves.
    pub fn counter(&self) -> &Counter {
        &self.scope.counter
    }

    /// How it stands to what the device had before.
    pub fn standing(&self) -> Standing {
        self.scope.standing
    }
}
