//! The hub's CAs and freshness keys as they stand: read from the database whenever they changed there, by every hub.
//!
//! ```text
//!            rotate              every live device knows it       no certificate of the one before is left
//!  (made) ──────────► next ──────────────────────────────► current ──────────────────────────────────► (alone)
//!                      │ abort                       the one before: former ─────────────────────────► retired
//!                      └──────► aborted
//! ```

use std::collections::BTreeMap;

use jos_schemas::documents::trust::Role;
use jos_trust::keys::KeyId;
use jos_trust::root::Received;
use jos_trust::{Digest, SecretKey, TrustRoot};
use rustls::pki_types::CertificateDer;

use crate::ca::{self, Ca, CaError};
use crate::dir::{Dir, DirError};
use crate::seal::Seal;
use crate::store::authorities::{self as stored, Authority, Standing};
use crate::store::{Conn, StoreError, tenants, trusts};

/// Certificates by which the hub's own is led back to CAs before, at most: devices look at six.
const LONGEST_CHAIN: usize = 4;

/// The keys of a hub cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The database.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The folder.
    #[error("{0}")]
    Dir(#[from] DirError),
    /// A certificate or a key is none.
    #[error("{0}")]
    Ca(#[from] CaError),
    /// A key was sealed by another folder.
    #[error("the database holds {what}, sealed by another folder than this one")]
    Sealed {
        /// Which key.
        what: String,
    },
    /// The folder lacks a key that is in use.
    #[error("{what} is in use and is not in the folder")]
    Missing {
        /// Which key.
        what: &'static str,
    },
}

/// What the folder has, from `init` on.
#[derive(Debug)]
pub struct Folder {
    /// `ca.pem`: the first CA.
    pub certificate: String,
    /// `freshness.key`, until it is rotated out.
    pub freshness: Option<SecretKey>,
}

/// All of it, at one moment.
#[derive(Debug)]
pub struct Authorities {
    /// Which state of the database this is.
    pub revision: u64,
    ca: Ca,
    rows: Vec<Authority>,
    subject: Digest,
    /// The newest CA that counts on which each tenant's admins have said something.
    words: BTreeMap<String, u64>,
    /// The newest first.
    voices: Vec<SecretKey>,
    voice_of: BTreeMap<String, usize>,
    /// Server keys that were made before are made anew.
    pub servers_since: i64,
}

impl Authorities {
    /// Reads what the database says.
    pub async fn read(conn: &mut Conn, dir: &Dir, folder: &Folder, seal: &Seal) -> Result<Self, KeysError> {
        let revision = stored::revision(conn).await?;
        let mut rows = stored::all(conn).await?;
        if rows.is_empty() {
            rows.push(first(&folder.certificate));
        }
        let own = rows.iter().find(|row| row.standing == Standing::Current);
        let own = own.ok_or(KeysError::Missing { what: "a current CA" })?;
        let key = match &own.secret {
            Some(sealed) => seal.open(&about(own.number), sealed).ok_or_else(|| KeysError::Sealed {
                what: about(own.number),
            })?,
            None if !dir.file("ca.key").exists() => return Err(KeysError::Missing { what: "ca.key" }),
            None => dir.read_secret("ca.key")?,
        };
        let ca = Ca::open(&own.certificate, &key, own.number)?;
        let subject = ca::subject(&own.certificate).unwrap_or(Digest::ZERO);
        let mut words = BTreeMap::new();
        for word in stored::words(conn).await? {
            let counts = |row: &Authority| row.number == word.number && row.standing != Standing::Aborted;
            if rows.iter().any(counts) {
                words.insert(word.tenant, word.number);
            }
        }
        let voices = voices(conn, folder, seal).await?;
        let voice_of = voice_of(conn, &voices).await?;
        Ok(Self {
            revision,
            ca,
            rows,
            subject,
            words,
            voices,
            voice_of,
            servers_since: stored::servers_since(conn).await?,
        })
    }

    /// The CA that signs.
    pub fn ca(&self) -> &Ca {
        &self.ca
    }

    /// All CAs, by number.
    pub fn rows(&self) -> &[Authority] {
        &self.rows
    }

    /// The CA that stands so, where there is one.
    pub fn of(&self, standing: Standing) -> Option<&Authority> {
        self.rows.iter().find(|row| row.standing == standing)
    }

    /// Whether one CA is about to follow another one.
    pub fn is_rotating(&self) -> bool {
        self.of(Standing::Next).or(self.of(Standing::Former)).is_some()
    }

    /// Whether a certificate whose issuer has this name is of a CA that signs no more.
    pub fn is_of_before(&self, issuer: Digest) -> bool {
        issuer != self.subject
    }

    /// The name of the CA that signs.
    pub fn subject(&self) -> Digest {
        self.subject
    }

    /// For whoever has a token: every CA that it may name, the one that signs first.
    pub fn bundle(&self) -> String {
        let before = self
            .rows
            .iter()
            .rev()
            .filter(|row| matches!(row.standing, Standing::Former | Standing::Retired));
        let all = std::iter::once(self.ca.certificate()).chain(before.map(|row| row.certificate.as_str()));
        all.map(|pem| format!("{}\n", pem.trim_end())).collect()
    }

    /// What leads from a certificate of the CA that signs back to the CAs before: who knows one of them accepts the hub.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        let signed = self
            .rows
            .iter()
            .rev()
            .filter(|row| row.number <= self.ca.number() && row.standing != Standing::Aborted);
        let vouched = signed.filter_map(|row| ca::der(row.vouched.as_deref()?));
        vouched.take(LONGEST_CHAIN).collect()
    }

    /// CAs whose certificates are taken of devices.
    pub fn accepted(&self) -> impl Iterator<Item = CertificateDer<'static>> + '_ {
        // The next one's too: another hub of this database may have gone over a moment before.
        let taken = |row: &&Authority| matches!(row.standing, Standing::Next | Standing::Current | Standing::Former);
        self.rows
            .iter()
            .filter(taken)
            .filter_map(|row| ca::der(&row.certificate))
    }

    /// The number of the CA that a tenant's devices may learn, by its admins' word.
    pub fn word(&self, tenant: &str) -> Option<u64> {
        self.words.get(tenant).copied()
    }

    /// The freshness key that speaks to a tenant's devices: the newest that its trust document names, else the newest.
    pub fn voice(&self, tenant: &str) -> &SecretKey {
        let at = self.voice_of.get(tenant).copied().unwrap_or(0);
        self.voices.get(at).unwrap_or(&self.voices[0])
    }

    /// All freshness keys, the newest first.
    pub fn voices(&self) -> &[SecretKey] {
        &self.voices
    }

    /// Whether the first CA's key has no place in the folder any more.
    pub fn first_is_gone(&self) -> bool {
        self.rows
            .first()
            .is_some_and(|row| row.number == 1 && row.standing == Standing::Retired)
    }
}

/// Under which words the key of a CA is sealed.
pub fn about(number: u64) -> String {
    format!("the key of CA {number}")
}

/// Under which words a freshness key is sealed.
pub fn about_voice(id: &str) -> String {
    format!("the freshness key {id}")
}

/// The row of the CA that the folder brings.
pub fn first(certificate: &str) -> Authority {
    Authority {
        number: 1,
        certificate: certificate.to_owned(),
        secret: None,
        vouched: None,
        standing: Standing::Current,
        made: ca::issued(certificate).map_or(0, |(_, since)| since),
    }
}

async fn voices(conn: &mut Conn, folder: &Folder, seal: &Seal) -> Result<Vec<SecretKey>, KeysError> {
    let mut all = Vec::new();
    let rows = stored::voices(conn).await?;
    if let Some(own) = &folder.freshness
        && !rows.iter().any(|row| row.id == own.id().as_str())
    {
        all.push(own.clone());
    }
    for row in rows {
        let Some(sealed) = row.secret else { continue };
        let opened = seal
            .open(&about_voice(&row.id), &sealed)
            .and_then(|seed| voice(&row.id, &seed));
        all.push(opened.ok_or_else(|| KeysError::Sealed {
            what: about_voice(&row.id),
        })?);
    }
    all.reverse();
    if all.is_empty() {
        return Err(KeysError::Missing { what: "freshness.key" });
    }
    Ok(all)
}

/// A freshness key of its id and its seed in hex.
fn voice(id: &str, seed: &str) -> Option<SecretKey> {
    let bytes: Digest = seed.parse().ok()?;
    let key = SecretKey::from_bytes(bytes.as_bytes());
    Some(key.with_id(KeyId::new(id).ok()?))
}

async fn voice_of(conn: &mut Conn, voices: &[SecretKey]) -> Result<BTreeMap<String, usize>, StoreError> {
    let mut all = BTreeMap::new();
    if voices.len() < 2 {
        return Ok(all);
    }
    for tenant in tenants::list(conn).await? {
        let Some((_, _, bytes)) = trusts::newest(conn, &tenant.name).await? else {
            continue;
        };
        let Ok(root) = TrustRoot::open(Received::json("trust", &bytes)) else {
            continue;
        };
        if let Some(at) = voices.iter().position(|key| speaks(&root, key)) {
            all.insert(tenant.name, at);
        }
    }
    Ok(all)
}

/// Whether a trust document gives the role `freshness` to this key.
pub fn speaks(root: &TrustRoot, key: &SecretKey) -> bool {
    let held = root.value().roles.get(&Role::Freshness);
    root.key(key.id()) == Some(key.public()) && held.is_some_and(|held| held.keys.contains(key.id()))
}
