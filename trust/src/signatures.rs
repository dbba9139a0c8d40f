//! Counting signatures: which keys of a role signed these bytes, each once.
//!
//! TUF §5.3.4 and §6.1: keys are told apart by their public bytes, so neither a duplicate signature nor a second id for
//! one key counts twice; ids that nobody knows are ignored.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jos_schemas::documents::trust::{Role, Trust};
use jos_schemas::node::{Kind, Node};
use jos_schemas::sorted::Map;

use crate::keys::{KeyId, PublicKey};
use crate::refused::{BadSignatures, TrustRefused};

/// At most so many signatures are looked at; more are refused before any is verified.
const MOST_SIGNATURES: usize = 64;
/// At most so many keys in a trust document.
const MOST_KEYS: usize = 64;

/// A signature as it stands in a document.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) key_id: KeyId,
    pub(crate) sig: [u8; 64],
}

/// Takes the signatures out of `node`, from `signature` and `signatures` alike, without judging them.
pub(crate) fn collect(node: &Node) -> Result<Vec<Found>, BadSignatures> {
    let mut found = Vec::new();
    if let Some(one) = node.get("signature") {
        found.push(signature("/signature".to_owned(), one)?);
    }
    if let Some(list) = node.get("signatures") {
        let Kind::Array(list) = &list.kind else {
            return Err(malformed("/signatures", list, "a list of signatures"));
        };
        if found.len() + list.len() > MOST_SIGNATURES {
            return Err(BadSignatures::TooMany {
                found: found.len() + list.len(),
                most: MOST_SIGNATURES,
            });
        }
        for (at, one) in list.iter().enumerate() {
            found.push(signature(format!("/signatures/{at}"), one)?);
        }
    }
    Ok(found)
}

fn signature(pointer: String, node: &Node) -> Result<Found, BadSignatures> {
    let Kind::Object(entries) = &node.kind else {
        return Err(malformed(&pointer, node, "a signature (a table)"));
    };
    if let Some(entry) = entries
        .iter()
        .find(|e| !["alg", "key_id", "sig"].contains(&e.key.as_str()))
    {
        return Err(malformed(
            &format!("{pointer}/{}", entry.key),
            &entry.value,
            "alg, key_id and sig alone",
        ));
    }
    match node.get("alg") {
        Some(alg) if alg.as_str() == Some("ed25519") => {}
        Some(alg) => {
            return Err(BadSignatures::Algorithm {
                pointer: pointer + "/alg",
                found: alg.describe(),
            });
        }
        None => {
            return Err(BadSignatures::Algorithm {
                pointer: pointer + "/alg",
                found: "nothing".to_owned(),
            });
        }
    }
    let expected_id = "a key id of letters, digits and ._-";
    let key_id = text(&pointer, node, "key_id", expected_id)?;
    let key_id = KeyId::new(key_id).map_err(|e| BadSignatures::Malformed {
        pointer: format!("{pointer}/key_id"),
        found: format!("{:?}", e.found.chars().take(80).collect::<String>()),
        expected: expected_id,
    })?;
    let expected_sig = "64 bytes in standard base64 with padding (RFC 4648 §4)";
    let sig = text(&pointer, node, "sig", expected_sig)?;
    let bytes = STANDARD
        .decode(sig)
        .ok()
        .and_then(|bytes| <[u8; 64]>::try_from(bytes).ok());
    match bytes {
        Some(sig) => Ok(Found { key_id, sig }),
        None => Err(malformed(
            &format!("{pointer}/sig"),
            node.get("sig").unwrap_or(node),
            expected_sig,
        )),
    }
}

fn text<'a>(pointer: &str, node: &'a Node, key: &str, expected: &'static str) -> Result<&'a str, BadSignatures> {
    match node.get(key) {
        Some(value) => value
            .as_str()
            .ok_or_else(|| malformed(&format!("{pointer}/{key}"), value, expected)),
        None => Err(BadSignatures::Malformed {
            pointer: format!("{pointer}/{key}"),
            found: "nothing".to_owned(),
            expected,
        }),
    }
}

fn malformed(pointer: &str, found: &Node, expected: &'static str) -> BadSignatures {
    BadSignatures::Malformed {
        pointer: pointer.to_owned(),
        found: found.describe(),
        expected,
    }
}

/// A key that a trust document holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldKey {
    pub(crate) id: KeyId,
    pub(crate) public: PublicKey,
    pub(crate) dev: bool,
}

/// The keys of a role and how many of them must sign.
#[derive(Clone, Debug, PartialEq, Eq)]
struct HeldRole {
    keys: Vec<KeyId>,
    threshold: usize,
}

/// The keys and roles of a trust document that passed every check of [`Keyring::of`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keyring {
    keys: Vec<HeldKey>,
    roles: Map<Role, HeldRole>,
    version: u64,
}

impl Keyring {
    /// Checks what types cannot: thresholds, dangling and doubled keys, and each public key itself.
    pub(crate) fn of(trust: &Trust) -> Result<Self, TrustRefused> {
        if trust.keys.len() > MOST_KEYS {
            return Err(TrustRefused::TooManyKeys {
                found: trust.keys.len(),
                most: MOST_KEYS,
            });
        }
        let mut keys: Vec<HeldKey> = Vec::new();
        for (id, key) in &trust.keys {
            let public = PublicKey::from_base64(&key.public).map_err(|reason| TrustRefused::BadKey {
                key_id: id.clone(),
                reason,
            })?;
            if let Some(same) = keys.iter().find(|k| k.public == public) {
                return Err(TrustRefused::SameKey {
                    first: same.id.clone(),
                    second: id.clone(),
                });
            }
            keys.push(HeldKey {
                id: id.clone(),
                public,
                dev: key.dev,
            });
        }
        let mut roles = Map::new();
        for (role, held) in &trust.roles {
            let role = *role;
            for (at, id) in held.keys.iter().enumerate() {
                if !trust.keys.contains_key(id) {
                    return Err(TrustRefused::MissingKey {
                        role,
                        key_id: id.clone(),
                    });
                }
                if held.keys[..at].contains(id) {
                    return Err(TrustRefused::KeyTwice {
                        role,
                        key_id: id.clone(),
                    });
                }
            }
            let count = held.keys.len();
            match usize::try_from(held.threshold) {
                Ok(threshold) if (1..=count).contains(&threshold) => {
                    roles.insert(
                        role,
                        HeldRole {
                            keys: held.keys.clone(),
                            threshold,
                        },
                    );
                }
                _ => {
                    return Err(TrustRefused::BadThreshold {
                        role,
                        threshold: held.threshold,
                        keys: count,
                    });
                }
            }
        }
        if !roles.contains_key(&Role::Root) {
            return Err(TrustRefused::NoRoot);
        }
        Ok(Self {
            keys,
            roles,
            version: trust.version,
        })
    }

    /// All keys, sorted by id.
    pub(crate) fn keys(&self) -> &[HeldKey] {
        &self.keys
    }

    /// The public keys of a role and its threshold, for comparing two roots.
    pub(crate) fn role(&self, role: Role) -> Option<(Vec<[u8; 32]>, usize)> {
        let held = self.roles.get(&role)?;
        let mut keys: Vec<[u8; 32]> = held
            .keys
            .iter()
            .filter_map(|id| self.key(id))
            .map(|k| *k.public.as_bytes())
            .collect();
        keys.sort_unstable();
        Some((keys, held.threshold))
    }

    fn key(&self, id: &KeyId) -> Option<&HeldKey> {
        self.keys.iter().find(|k| k.id == *id)
    }

    fn holds(&self, role: Role, id: &KeyId) -> bool {
        self.roles.get(&role).is_some_and(|held| held.keys.contains(id))
    }

    /// The keys of `role` that signed `message`, or why they are too few.
    pub(crate) fn count(&self, role: Role, found: &[Found], message: &[u8]) -> Result<Vec<HeldKey>, BadSignatures> {
        if found.is_empty() {
            return Err(BadSignatures::Unsigned);
        }
        let mut have: Vec<HeldKey> = Vec::new();
        let (mut misplaced, mut invalid) = (None, None);
        for signature in found {
            let Some(key) = self.key(&signature.key_id) else {
                continue;
            };
            if have.iter().any(|h| h.id == key.id) {
                continue;
            }
            if !key.public.verifies(message, &signature.sig) {
                invalid = invalid.or(Some(key.id.clone()));
            } else if self.holds(role, &key.id) {
                have.push(key.clone());
            } else {
                misplaced = misplaced.or(Some(key.id.clone()));
            }
        }
        // A role that nobody holds has no threshold that anybody reaches.
        let need = self.roles.get(&role).map_or(usize::MAX, |held| held.threshold);
        if have.len() >= need {
            return Ok(have);
        }
        Err(match (have.is_empty(), misplaced, invalid) {
            (false, _, _) => BadSignatures::Threshold {
                role,
                have: have.into_iter().map(|k| k.id).collect(),
                need,
            },
            (true, Some(key_id), _) => BadSignatures::WrongRole { key_id, role },
            (true, None, Some(key_id)) => BadSignatures::Invalid { key_id },
            (true, None, None) => BadSignatures::WrongKey {
                key_ids: found.iter().map(|f| f.key_id.clone()).collect(),
                trust_version: self.version,
            },
        })
    }
}
