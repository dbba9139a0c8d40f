//! Making signatures and trust documents: the admin's side, and what `jos-image build` calls.
//!
//! Owns: what may be signed (only what a device could verify), where signatures stand in a document, and how a trust
//! document is put together. Never signs what is not valid or has no canonical bytes.

use std::collections::BTreeMap;

use jos_schemas::documents::desired_state::{self, DesiredState, Signature};
use jos_schemas::documents::hub::HubCa;
use jos_schemas::documents::trust::{self, Role, RoleKeys, Trust, TrustKind, TrustedKey};
use jos_schemas::node::{Entry, Kind, Node};
use jos_schemas::read;
use jos_schemas::report::Report;
use jos_schemas::text::{Name, Utc};

use crate::canonical::{self, NotCanonical};
use crate::keyfile::NamedKey;
use crate::keys::{KeyId, SecretKey};
use crate::refused::{BadSignatures, TrustRefused};
use crate::signatures::{self, Keyring};
use crate::verified::Signable as _;

/// The kinds of documents that are signed.
pub const SIGNABLE: [&str; 3] = [desired_state::KIND, trust::KIND, HubCa::KIND];

/// Why a document was not signed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CannotSign {
    /// Another kind of document, or none.
    #[error("found kind {found}, expected {}", SIGNABLE.map(|k| format!("{k:?}")).join(" or "))]
    WrongKind {
        /// What stands there.
        found: String,
    },
    /// Not valid; every error of the file.
    #[error("{0}")]
    Invalid(Report),
    /// A trust document that no device would take.
    #[error("{0}")]
    BadTrust(TrustRefused),
    /// It has no canonical bytes.
    #[error("{0}")]
    NotCanonical(NotCanonical),
    /// A signature that stands there already is none.
    #[error("{0}")]
    Signatures(BadSignatures),
}

impl CannotSign {
    /// What to do next.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::WrongKind { .. } => Some(
                "desired states, trust documents and a hub's new CA are signed; `jos validate FILE` names the kind",
            ),
            Self::Invalid(_) => None,
            Self::BadTrust(refused) => refused.help(),
            Self::NotCanonical(_) => Some("write numbers as integers, or as text"),
            Self::Signatures(_) => Some("drop the signatures that stand there: `jos sign --replace --key KEY FILE`"),
        }
    }
}

/// The kind of a document that may be signed.
pub fn kind_of(node: &Node) -> Result<&'static str, CannotSign> {
    let found = node.get("kind");
    SIGNABLE
        .into_iter()
        .find(|kind| found.and_then(Node::as_str) == Some(*kind))
        .ok_or_else(|| CannotSign::WrongKind {
            found: found.map_or("nothing".to_owned(), Node::describe),
        })
}

/// Signs `node`, a document of `kind`, which is validated first; `name` and `text` are how its errors name and show it
/// (`text` may be empty). Signatures that stand there already are kept, but for one by the same key id; one signature
/// stands in `signature`, several in `signatures`.
pub fn sign_document(name: &str, text: &str, node: &Node, kind: &str, key: &SecretKey) -> Result<Node, CannotSign> {
    if kind_of(node)? != kind {
        return Err(CannotSign::WrongKind {
            found: node.get("kind").map_or("nothing".to_owned(), Node::describe),
        });
    }
    let message = canonical::signed_bytes(kind, node).map_err(CannotSign::NotCanonical)?;
    signatures::collect(node).map_err(CannotSign::Signatures)?;
    if kind == trust::KIND {
        let value: Trust = read::from_node(name, text, node).map_err(CannotSign::Invalid)?;
        Keyring::of(&value).map_err(CannotSign::BadTrust)?;
    } else if kind == HubCa::KIND {
        let _valid: HubCa = read::from_node(name, text, node).map_err(CannotSign::Invalid)?;
    } else {
        let _valid: DesiredState = read::from_node(name, text, node).map_err(CannotSign::Invalid)?;
    }
    let mut all: Vec<Node> = signatures_of(node).into_iter().cloned().collect();
    all.retain(|one| one.get("key_id").and_then(Node::as_str) != Some(key.id().as_str()));
    all.push(plain(&key.sign(&message)));
    let mut signed = without_signatures(node);
    if let Kind::Object(entries) = &mut signed.kind {
        let (member, value) = match all.len() {
            1 => ("signature", all.remove(0)),
            _ => ("signatures", Node::new(Kind::Array(all))),
        };
        entries.push(Entry {
            key: member.to_owned(),
            key_span: 0..0,
            value,
        });
    }
    Ok(signed)
}

/// The signatures that stand in a document, as they are.
pub fn signatures_of(node: &Node) -> Vec<&Node> {
    node.get("signature")
        .into_iter()
        .chain(node.get("signatures").map_or(&[][..], Node::items))
        .collect()
}

/// The same document without its signatures.
pub fn without_signatures(node: &Node) -> Node {
    let mut node = node.clone();
    if let Kind::Object(entries) = &mut node.kind {
        entries.retain(|e| !Signature::MEMBERS.contains(&e.key.as_str()));
    }
    node
}

/// The document as JSON for people: members in their order, two spaces, a line feed at the end. What is signed are the
/// canonical bytes, so the layout is free.
pub fn to_json_text(node: &Node) -> String {
    let mut text = serde_json::to_string_pretty(&node.to_json()).expect("a tree of plain values");
    text.push('\n');
    text
}

/// A key that a new trust document holds, with its roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The public key.
    pub key: NamedKey,
    /// What it may sign.
    pub roles: Vec<Role>,
}

/// What a new trust document says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTrust {
    /// The tenant whose devices take it.
    pub tenant: Option<Name>,
    /// When it ends.
    pub expires: Option<Utc>,
    /// Keys with their roles.
    pub grants: Vec<Grant>,
    /// How many keys of a role must sign; 1 where a role is not named.
    pub thresholds: BTreeMap<Role, u32>,
}

/// The first version of a trust document, checked, not yet signed. Sign [`to_node`] of it with each root key.
pub fn new_trust(new: &NewTrust) -> Result<Trust, TrustRefused> {
    let mut trust = Trust {
        schema: None,
        kind: TrustKind::Trust,
        version: 1,
        tenant: new.tenant.clone(),
        expires: new.expires.clone(),
        keys: BTreeMap::new(),
        roles: BTreeMap::new(),
        floors: BTreeMap::new(),
        signature: None,
        signatures: Vec::new(),
    };
    for grant in &new.grants {
        for role in &grant.roles {
            self::grant(&mut trust, *role, &grant.key)?;
        }
    }
    for (role, threshold) in &new.thresholds {
        set_threshold(&mut trust, *role, *threshold)?;
    }
    Keyring::of(&trust)?;
    Ok(trust)
}

/// The next version of `trust` without its signatures, to be edited and then checked with [`check`].
pub fn successor(trust: &Trust) -> Trust {
    // Floors are acts of recovery of one version: its successor would set them, exactly, once more.
    let floors = BTreeMap::new();
    Trust {
        version: trust.version + 1,
        floors,
        signature: None,
        signatures: Vec::new(),
        ..trust.clone()
    }
}

/// Gives `role` to `key`. The same key may hold several roles; another key under the same id is refused.
pub fn grant(trust: &mut Trust, role: Role, key: &NamedKey) -> Result<(), TrustRefused> {
    let new = TrustedKey {
        alg: desired_state::SignatureAlg::Ed25519,
        public: key.public.to_base64(),
        comment: key.comment.clone(),
        dev: key.dev,
    };
    match trust.keys.get(&key.id) {
        Some(held) if held.public != new.public => {
            return Err(TrustRefused::IdTaken { key_id: key.id.clone() });
        }
        Some(_) => {}
        None => drop(trust.keys.insert(key.id.clone(), new)),
    }
    let held = trust.roles.entry(role).or_insert_with(|| RoleKeys {
        keys: Vec::new(),
        threshold: 1,
    });
    if !held.keys.contains(&key.id) {
        held.keys.push(key.id.clone());
    }
    Ok(())
}

/// Takes a key out of `role`, or out of all roles; a key without any role leaves the document. Gives whether it was
/// there. A role without keys leaves too.
pub fn withdraw(trust: &mut Trust, role: Option<Role>, id: &KeyId) -> bool {
    let mut there = false;
    for (held_role, held) in &mut trust.roles {
        if role.is_none_or(|role| role == *held_role) {
            let before = held.keys.len();
            held.keys.retain(|k| k != id);
            there |= held.keys.len() < before;
        }
    }
    trust.roles.retain(|_, held| !held.keys.is_empty());
    let roles = &trust.roles;
    let needed = |id: &KeyId| roles.values().any(|held| held.keys.contains(id));
    if !needed(id) {
        there |= trust.keys.remove(id).is_some();
    }
    there
}

/// Sets how many keys of `role` must sign.
pub fn set_threshold(trust: &mut Trust, role: Role, threshold: u32) -> Result<(), TrustRefused> {
    match trust.roles.get_mut(&role) {
        Some(held) => held.threshold = threshold,
        None => {
            return Err(TrustRefused::BadThreshold {
                role,
                threshold,
                keys: 0,
            });
        }
    }
    Ok(())
}

/// Checks what types cannot: thresholds, dangling and doubled keys, and each public key itself.
pub fn check(trust: &Trust) -> Result<(), TrustRefused> {
    Keyring::of(trust).map(drop)
}

/// How far a trust document is signed by the root keys of `roots` (itself, or its predecessor): the ids that signed,
/// and how many are needed.
pub fn root_signatures(node: &Node, roots: &Trust) -> Result<(Vec<KeyId>, usize), TrustRefused> {
    let keyring = Keyring::of(roots)?;
    let message = canonical::signed_bytes(trust::KIND, node).map_err(TrustRefused::NotCanonical)?;
    let found = signatures::collect(node).map_err(TrustRefused::NotSelfSigned)?;
    let need = roots
        .roles
        .get(&Role::Root)
        .map_or(usize::MAX, |held| held.threshold as usize);
    Ok(match keyring.count(Role::Root, &found, &message) {
        Ok(have) => (have.into_iter().map(|k| k.id).collect(), need),
        Err(BadSignatures::Threshold { have, .. }) => (have, need),
        Err(_) => (Vec::new(), need),
    })
}

/// A typed document as a tree without places.
pub fn to_node(document: &impl serde::Serialize) -> Node {
    plain(document)
}

fn plain(value: &impl serde::Serialize) -> Node {
    Node::from_json(&serde_json::to_value(value).expect("documents are plain data"))
}

#[cfg(test)]
mod tests;
