//! Whether a ledger is whole: its chain, the blobs that it needs, the signatures of its checkpoints, an anchor.
//!
//! What this cannot see: whoever is root on the device can write another history, whole in itself, and sign it. Only a
//! head that was noted elsewhere shows that.

use std::collections::BTreeSet;

use jos_schemas::node::Node;
use jos_trust::checkpoint::{Seal, seal};
use jos_trust::{Digest, KeyId, PublicKey};

use super::{Archive, CHECKPOINT, Extent, LedgerError, required_blobs};

/// A head that was noted elsewhere: so many records, and the hash of the last of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Number of records.
    pub count: u64,
    /// Hash of the last.
    pub hash: Digest,
}

/// What an anchor shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchored {
    /// This history contains that head.
    Holds,
    /// The record of that number has another hash: the history was rewritten.
    Rewritten,
    /// There are fewer records: the history was cut short.
    Beyond,
    /// The record of that number was pruned.
    Pruned,
}

/// A checkpoint and its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its record.
    pub index: u64,
    /// What its signature came to; nothing without a key to hold it against.
    pub seal: Option<Seal>,
}

/// What verification found. What breaks the chain is an error instead.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What the ledger spans.
    pub extent: Extent,
    /// The agents named in it: one, if it is right.
    pub names: BTreeSet<String>,
    /// Blobs that are there and right.
    pub right: usize,
    /// Bytes of the blobs that are there.
    pub blob_bytes: u64,
    /// Blobs that a record needs and that are not there.
    pub missing: Vec<Digest>,
    /// Blobs whose content is not what their name says.
    pub wrong: Vec<Digest>,
    /// Contents kept by their hash alone.
    pub hash_only: u64,
    /// Its checkpoints.
    pub checkpoints: Vec<Sealed>,
    /// Ledgers before this one were damaged: what the first record says.
    pub broken: Option<String>,
    /// What the anchor shows, where one was given.
    pub anchored: Option<Anchored>,
}

impl Verdict {
    /// Nothing is wrong.
    pub fn is_whole(&self) -> bool {
        let sealed = |c: &Sealed| !matches!(c.seal, Some(Seal::Bad(_)));
        self.missing.is_empty()
            && self.wrong.is_empty()
            && self.names.len() <= 1
            && self.checkpoints.iter().all(sealed)
            && !matches!(self.anchored, Some(Anchored::Rewritten | Anchored::Beyond))
    }
}

/// Reads all of it.
pub fn verify(
    archive: &Archive<'_>,
    key: Option<&(KeyId, PublicKey)>,
    anchor: Option<&Anchor>,
) -> Result<Verdict, LedgerError> {
    let (mut names, mut needed, mut checkpoints) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    let (mut hash_only, mut broken, mut at_anchor) = (0, None, None);
    let extent = archive.lines(&mut |line| {
        if !names.contains(line.name) {
            names.insert(line.name.to_owned());
        }
        required_blobs(line, &mut needed);
        hash_only += occurrences(line.payload, b"\"hash_only\":\"");
        if anchor.is_some_and(|anchor| line.index + 1 == anchor.count) {
            at_anchor = Some(line.hash);
        }
        match line.kind {
            CHECKPOINT => {
                let payload = line.payload().ok().map(|payload| Node::from_json(&payload));
                let seal = key.and_then(|(id, key)| Some(seal(payload.as_ref()?, key, id)));
                checkpoints.push(Sealed {
                    index: line.index,
                    seal,
                });
            }
            "broken" => {
                broken = line
                    .payload()
                    .ok()
                    .and_then(|p| Some(p.get("what")?.as_str()?.to_owned()))
            }
            _ => {}
        }
    })?;
    let (mut right, mut blob_bytes, mut wrong) = (0, 0, Vec::new());
    for (digest, size) in archive.blobs()? {
        blob_bytes += size;
        needed.remove(&digest);
        match archive.blob(&digest) {
            Ok(Some(_)) => right += 1,
            // Collected meanwhile.
            Ok(None) => {}
            Err(LedgerError::Blob { .. }) => wrong.push(digest),
            Err(e) => return Err(e),
        }
    }
    let anchored = anchor.map(|anchor| match at_anchor {
        Some(hash) if hash == anchor.hash => Anchored::Holds,
        Some(_) => Anchored::Rewritten,
        None if anchor.count > extent.head.count => Anchored::Beyond,
        None if anchor.count == extent.first && anchor.hash == extent.prev => Anchored::Holds,
        None if anchor.count == extent.first => Anchored::Rewritten,
        None => Anchored::Pruned,
    });
    Ok(Verdict {
        extent,
        names,
        right,
        blob_bytes,
        missing: needed.into_iter().collect(),
        wrong,
        hash_only,
        checkpoints,
        broken,
        anchored,
    })
}

fn occurrences(bytes: &[u8], text: &[u8]) -> u64 {
    bytes.windows(text.len()).filter(|window| *window == text).count() as u64
}
