//! What decisions name by hash, read and checked once: the gate's facts, trust roots, states.

use std::collections::BTreeMap;
use std::rc::Rc;

use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::read::{self, Format};
use jos_trust::root::Received;
use jos_trust::{Digest, TrustRoot, canonical, sha256};
use serde_json::value::RawValue;

use super::Divergence;
use super::line::{Apply, InBlob};
use crate::gate::Recorded;

/// Gives a blob's bytes, or nothing where it is not kept.
pub type Blobs<'b> = dyn FnMut(&Digest) -> Option<Vec<u8>> + 'b;

/// A state as a decision brought it.
#[derive(Debug, PartialEq)]
pub struct State {
    pub(crate) document: DesiredState,
    pub(crate) content: Digest,
    pub(crate) signers: Vec<String>,
    /// The document with its signatures, canonical.
    pub(crate) bytes: Vec<u8>,
}

/// What has been read so far. A ledger names few policies and few trust roots, however long it is.
#[derive(Clone, Default)]
pub(super) struct Shelf {
    gates: BTreeMap<Digest, Rc<Recorded>>,
    roots: BTreeMap<Digest, Rc<TrustRoot>>,
}

impl Shelf {
    /// What the gate knew.
    pub(super) fn gate(
        &mut self,
        record: u64,
        digest: Digest,
        blobs: &mut Blobs<'_>,
    ) -> Result<Rc<Recorded>, Divergence> {
        if let Some(known) = self.gates.get(&digest) {
            return Ok(Rc::clone(known));
        }
        let bytes = blob(record, &digest, blobs, "what the gate knew")?;
        let recorded = Recorded::from_bytes(&bytes)
            .map_err(|e| Divergence::new(record, "a policy and what is jos' own", e).about(format!("blob {digest}")))?;
        let recorded = Rc::new(recorded);
        self.gates.insert(digest, Rc::clone(&recorded));
        Ok(recorded)
    }

    /// The trust root that a state was verified under.
    pub(super) fn root(
        &mut self,
        record: u64,
        digest: Digest,
        blobs: &mut Blobs<'_>,
    ) -> Result<Rc<TrustRoot>, Divergence> {
        if let Some(known) = self.roots.get(&digest) {
            return Ok(Rc::clone(known));
        }
        let bytes = blob(record, &digest, blobs, "the trust root")?;
        let root = TrustRoot::open(Received::json("trust root", &bytes))
            .map_err(|e| Divergence::new(record, "a sound trust root", e).about(format!("blob {digest}")))?;
        let root = Rc::new(root);
        self.roots.insert(digest, Rc::clone(&root));
        Ok(root)
    }
}

/// A blob that a record names, checked against its name.
pub(super) fn blob(record: u64, digest: &Digest, blobs: &mut Blobs<'_>, what: &str) -> Result<Vec<u8>, Divergence> {
    let about = |d: Divergence| d.about(format!("blob {digest}"));
    let bytes =
        blobs(digest).ok_or_else(|| about(Divergence::new(record, format!("{what} in this blob"), "no such blob")))?;
    let found = sha256(&bytes);
    if found != *digest {
        return Err(about(Divergence::new(
            record,
            "content of that hash",
            format!("content of hash {found}"),
        )));
    }
    Ok(bytes)
}

/// A value of a payload: as it stands there, or from the blob that stands for it.
pub(super) fn value(record: u64, raw: &RawValue, blobs: &mut Blobs<'_>, what: &str) -> Result<Vec<u8>, Divergence> {
    match serde_json::from_slice::<InBlob>(raw.get().as_bytes()) {
        Ok(InBlob { blob: digest, size }) => {
            let bytes = blob(record, &digest, blobs, what)?;
            if bytes.len() as u64 != size {
                let found = format!("{} bytes", bytes.len());
                return Err(Divergence::new(record, format!("{size} bytes"), found).about(format!("blob {digest}")));
            }
            Ok(bytes)
        }
        Err(_) => Ok(raw.get().as_bytes().to_vec()),
    }
}

/// The state of a decision, read by the very types that apply reads it by: its content is hashed again, its signatures
/// are verified again where the trust root was recorded, and whoever is said to have signed must be in it.
pub(super) fn state(
    record: u64,
    apply: &Apply<'_>,
    root: Option<&TrustRoot>,
    blobs: &mut Blobs<'_>,
) -> Result<State, Divergence> {
    let bytes = value(record, apply.state, blobs, "the state")?;
    let bad = |e: &dyn std::fmt::Display| Divergence::new(record, "a desired state", e.to_string().trim_end());
    let received = Received::json("state", &bytes);
    let (document, content, have) = match root {
        Some(root) => {
            let good = jos_trust::state::authenticate(received, root)
                .map_err(|e| Divergence::new(record, "a state that its signers vouch for", e))?;
            let have: Vec<String> = good.signers().iter().map(ToString::to_string).collect();
            if have.iter().map(String::as_str).ne(apply.signers.iter().copied()) {
                return Err(Divergence::new(record, list(&have), list(&apply.signers)).about("signers"));
            }
            (good.value().clone(), good.content(), have)
        }
        None => {
            let parsed = read::document::<DesiredState>("state", &bytes, Format::Json).map_err(|e| bad(&e))?;
            let content = sha256(&canonical::unsigned_bytes(&parsed.node).map_err(|e| bad(&e))?);
            let document = parsed.value;
            let ids = document
                .signature
                .iter()
                .chain(&document.signatures)
                .map(|s| s.key_id.as_str());
            let ids: Vec<&str> = ids.collect();
            if let Some(unknown) = apply.signers.iter().find(|s| !ids.contains(s)) {
                let expected = format!("one of the keys whose signatures it carries: {}", list(&ids));
                return Err(Divergence::new(record, expected, unknown).about("signers"));
            }
            (
                document,
                content,
                apply.signers.iter().map(|s| (*s).to_owned()).collect(),
            )
        }
    };
    if content != apply.content {
        return Err(Divergence::new(
            record,
            format!("content {content}, as the state has it"),
            apply.content,
        ));
    }
    Ok(State {
        document,
        content,
        signers: have,
        bytes,
    })
}

/// A state that a checkpoint names.
pub(super) fn kept_state(
    record: u64,
    digest: &Digest,
    blobs: &mut Blobs<'_>,
) -> Result<(DesiredState, Digest, Vec<u8>), Divergence> {
    let bytes = blob(record, digest, blobs, "the state in force")?;
    let bad = |e: &dyn std::fmt::Display| Divergence::new(record, "a desired state", e.to_string().trim_end());
    let parsed = read::document::<DesiredState>("state", &bytes, Format::Json).map_err(|e| bad(&e))?;
    let content = sha256(&canonical::unsigned_bytes(&parsed.node).map_err(|e| bad(&e))?);
    Ok((parsed.value, content, bytes))
}

fn list<T: AsRef<str>>(names: &[T]) -> String {
    if names.is_empty() {
        return "nobody".into();
    }
    names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}
