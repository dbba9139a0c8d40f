//! Trust roots: which keys may do what, and how one version follows another.
//!
//! Owns: the checks of a trust document, the walk N → N+1 (TUF §5.3), and the choice between the root that the package
//! brought and the one that was walked to. A [`TrustRoot`] that fails a check does not exist, so none is ever stored.

use jos_schemas::documents::trust::{self, Role, Trust};
use jos_schemas::read::{self, Format};
use jos_schemas::text::{Name, Utc};

use crate::canonical;
use crate::digest::sha256;
use crate::floors::{Edition, Floors};
use crate::keys::{KeyId, PublicKey};
use crate::refused::TrustRefused;
use crate::signatures::{self, Found, Keyring};
use crate::verified::{Parts, Verified};

/// Bytes as they arrived, with the name that errors give them.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// A file's path, or `hub`.
    pub name: &'a str,
    /// The bytes, of any length: the limit is the first check.
    pub bytes: &'a [u8],
    /// Their grammar.
    pub format: Format,
}

impl<'a> Received<'a> {
    /// JSON, as everything that jos stores or sends is.
    pub fn json(name: &'a str, bytes: &'a [u8]) -> Self {
        Self {
            name,
            bytes,
            format: Format::Json,
        }
    }
}

/// A trust document that its own root keys signed in sufficient number, and whose every key and threshold is sound.
#[derive(Clone, Debug)]
pub struct TrustRoot {
    verified: Verified<Trust>,
    keyring: Keyring,
    found: Vec<Found>,
    message: Vec<u8>,
}

impl TrustRoot {
    /// Reads a root that stands for itself: the one that the package brought, or the one that the runtime stored.
    ///
    /// Its expiry is not asked here: it gates what a root admits, not whether a device that lay in a box still starts.
    pub fn open(received: Received<'_>) -> Result<Self, TrustRefused> {
        let Received { name, bytes, format } = received;
        let node = read::parse(name, bytes, format).map_err(TrustRefused::Malformed)?;
        let message = canonical::signed_bytes(trust::KIND, &node).map_err(TrustRefused::NotCanonical)?;
        if node.get("kind").and_then(|k| k.as_str()) != Some(trust::KIND) {
            let found = node.get("kind").map_or("nothing".to_owned(), |k| k.describe());
            return Err(TrustRefused::WrongKind {
                found,
                expected: trust::KIND,
            });
        }
        let found = signatures::collect(&node).map_err(TrustRefused::NotSelfSigned)?;
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let value: Trust = read::from_node(name, text, &node).map_err(TrustRefused::Malformed)?;
        let keyring = Keyring::of(&value)?;
        let have = keyring
            .count(Role::Root, &found, &message)
            .map_err(TrustRefused::NotSelfSigned)?;
        let content = sha256(&canonical::unsigned_bytes(&node).map_err(TrustRefused::NotCanonical)?);
        let verified = Verified::new(Parts {
            version: value.version,
            dev: have.iter().any(|k| k.dev),
            signers: have.into_iter().map(|k| k.id).collect(),
            value,
            node,
            content,
            scope: (),
        });
        Ok(Self {
            verified,
            keyring,
            found,
            message,
        })
    }

    /// Walks to newer roots, one version at a time, each signed by the threshold of the one before and by its own
    /// (TUF §5.3.4–5.3.9), and gives the newer ones in order; none where there is nothing new. Versions that this root
    /// already covers are skipped, since a hub serves them all. Only the last one's expiry counts (§5.3.10), so a device
    /// that slept through several rotations still arrives. Hand the whole chain to [`Floors::adopt_trust`].
    ///
    /// Time is read once by the caller. When the walk replaces the freshness keys, the time floor they vouched for is
    /// not asked: else a stolen one could put every later root past its expiry (§5.3.11).
    pub fn walk(
        &self,
        next: &[Received<'_>],
        floors: &Floors,
        system: &Utc,
        built: &Utc,
    ) -> Result<Vec<Self>, TrustRefused> {
        let mut chain: Vec<Self> = Vec::new();
        for received in next {
            let root = Self::open(*received)?;
            let last = chain.last().unwrap_or(self);
            if root.version() < last.version() || root.edition() == last.edition() {
                continue;
            }
            root.succeeds(last)?;
            chain.push(root);
        }
        if let Some(last) = chain.last() {
            let same = last.same_role(self, Role::Freshness);
            let now = if same {
                floors.now(system, built)
            } else {
                system.max(built).clone()
            };
            last.not_expired(&now)?;
        }
        Ok(chain)
    }

    /// Whether this root may follow `before`; its expiry is not asked.
    pub fn succeeds(&self, before: &Self) -> Result<(), TrustRefused> {
        let expected = before.version() + 1;
        if self.version() == before.version() {
            self.not_older_than(before.edition())?;
        }
        if self.version() != expected {
            return Err(TrustRefused::Gap {
                found: self.version(),
                expected,
            });
        }
        // A tenant may be named later, but never exchanged.
        if before.value().tenant.is_some() && self.value().tenant != before.value().tenant {
            let (found, expected) = (self.value().tenant.clone(), before.value().tenant.clone());
            return Err(TrustRefused::OtherTenant { found, expected });
        }
        before
            .keyring
            .count(Role::Root, &self.found, &self.message)
            .map(drop)
            .map_err(|bad| TrustRefused::NotSignedByPredecessor {
                before: before.version(),
                bad,
            })
    }

    /// The root to use: the one walked to and stored, unless the package now brings a higher one (who may install a
    /// package may replace this program too). A lower baked root is ignored. Neither may lie below the trust floor.
    pub fn live(baked: Self, stored: Option<Self>, floors: &Floors) -> Result<Self, TrustRefused> {
        let root = match stored {
            Some(stored) if stored.version() >= baked.version() => stored,
            _ => baked,
        };
        match floors.trust() {
            Some(known) => root.not_older_than(known).map(|()| root),
            None => Ok(root),
        }
    }

    /// Whether this root is `known` or newer; the same number with other content is refused.
    pub fn not_older_than(&self, known: Edition) -> Result<(), TrustRefused> {
        let Edition { version, content } = self.edition();
        if version < known.version {
            return Err(TrustRefused::Rollback {
                offered: version,
                floor: known.version,
            });
        }
        if version == known.version && content != known.content {
            return Err(TrustRefused::SameVersionOtherContent {
                version,
                known: known.content,
                offered: content,
            });
        }
        Ok(())
    }

    /// Whether `now` lies before this root's expiry; a root without one never expires.
    pub fn not_expired(&self, now: &Utc) -> Result<(), TrustRefused> {
        match &self.value().expires {
            Some(expires) if now >= expires => Err(TrustRefused::Expired {
                version: self.version(),
                expires: expires.clone(),
                now: now.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// The document.
    pub fn value(&self) -> &Trust {
        self.verified.value()
    }

    /// The document with what its verification found.
    pub fn verified(&self) -> &Verified<Trust> {
        &self.verified
    }

    /// Its version.
    pub fn version(&self) -> u64 {
        self.verified.version()
    }

    /// Its version and content.
    pub fn edition(&self) -> Edition {
        Edition {
            version: self.version(),
            content: self.verified.content(),
        }
    }

    /// Its tenant.
    pub fn tenant(&self) -> Option<&Name> {
        self.value().tenant.as_ref()
    }

    /// Whether any of its keys is a throwaway of `jos-image build --dev-key`: never for a device that leaves the desk.
    pub fn uses_dev_key(&self) -> bool {
        self.keyring.keys().iter().any(|k| k.dev)
    }

    /// Whether both roots give `role` to the same keys under the same threshold.
    pub fn same_role(&self, other: &Self, role: Role) -> bool {
        self.keyring.role(role) == other.keyring.role(role)
    }

    /// Whether it gives `role` to any key at all.
    pub fn has_role(&self, role: Role) -> bool {
        self.keyring.role(role).is_some_and(|(keys, _)| !keys.is_empty())
    }

    /// The public key of an id.
    pub fn key(&self, id: &KeyId) -> Option<PublicKey> {
        self.keyring.keys().iter().find(|k| k.id == *id).map(|k| k.public)
    }

    /// What to store; [`TrustRoot::open`] reads it back.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.verified.to_bytes()
    }

    pub(crate) fn keyring(&self) -> &Keyring {
        &self.keyring
    }
}

#[cfg(test)]
mod tests;
