//! The managed tree as the ledger alone gives it: written into a fresh folder, held against the live one.
//!
//! Owns what is said of each path: rebuilt byte for byte, known by hash only, a secret, or taken from the record. Nothing
//! that is not byte for byte is called so.

use std::collections::BTreeMap;
use std::path::Path;

use jos_schemas::text::Name;
use jos_trust::{Digest, sha256};
use serde::Serialize;

use super::wants::{Holds, Want, want};
use super::{Blobs, Holding, Machine, Managed};
use crate::diff;
use crate::disk::{Attrs, Disk, DiskError, Kind};
use crate::plan::Shape;

/// Files of more bytes are compared by hash and shown by none.
const SHOWN: u64 = 64 * 1024;
const READ_LIMIT: u64 = 64 * 1024 * 1024;

/// How well a path is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// Rebuilt from documents and blobs, byte for byte.
    Exact,
    /// A secret: its place is known, its value is not.
    Secret,
    /// Known by hash, its bytes are not kept.
    HashOnly,
    /// What the record says; replay could not compute it.
    Recorded,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The value of this secret.
    Secret(Name),
    /// Content of this hash, where even that is known.
    Hash(Option<Digest>),
}

/// Gives the value of a secret, where it may be had.
pub type SecretOf<'s> = &'s dyn Fn(&Name) -> Option<Vec<u8>>;

impl Machine {
    /// How well `managed` is known, and for a file what it holds.
    pub fn content(&self, managed: &Managed, blobs: &mut Blobs<'_>) -> (Known, Option<Content>) {
        let file = managed.shape.as_ref().filter(|s| s.kind == "file");
        let content = file.map(|shape| {
            let by_hash = || Content::Hash(shape.sha256.as_deref().and_then(|s| s.parse().ok()));
            match &managed.holds {
                Holding::Bytes(bytes) => Content::Bytes(bytes.to_vec()),
                Holding::Secret(name) => Content::Secret(name.clone()),
                Holding::Step(state, step) => match want(&state.document.spec.apply[*step]) {
                    Some((
                        _,
                        Want::File {
                            holds: Holds::Text(text),
                            ..
                        },
                    )) => Content::Bytes(text.as_bytes().to_vec()),
                    _ => by_hash(),
                },
                Holding::Blob(digest) => match blobs(digest).filter(|bytes| sha256(bytes) == *digest) {
                    Some(bytes) => Content::Bytes(bytes),
                    None => Content::Hash(Some(*digest)),
                },
                Holding::Nothing | Holding::Hash => by_hash(),
            }
        });
        let known = match &content {
            Some(Content::Secret(_)) => Known::Secret,
            Some(Content::Hash(_)) => Known::HashOnly,
            _ if managed.recorded => Known::Recorded,
            _ => Known::Exact,
        };
        (known, content)
    }

    /// How many paths are known how well.
    pub fn knowledge(&self, blobs: &mut Blobs<'_>) -> BTreeMap<Known, u64> {
        let mut counts = BTreeMap::new();
        for managed in self.paths.values() {
            *counts.entry(self.content(managed, blobs).0).or_default() += 1;
        }
        counts
    }

    /// One hash over all that the tree is: paths, shapes, contents. Two replays of one ledger give the same.
    pub fn tree_hash(&self, blobs: &mut Blobs<'_>) -> Digest {
        let mut hasher = jos_trust::digest::Hasher::default();
        for (path, managed) in &self.paths {
            let shape = serde_json::to_string(&managed.shape).unwrap_or_default();
            hasher.update(format!("{path}\n{shape}\n").as_bytes());
            match self.content(managed, blobs).1 {
                Some(Content::Bytes(bytes)) => hasher.update(sha256(&bytes).as_bytes()),
                Some(other) => hasher.update(format!("{other:?}").as_bytes()),
                None => {}
            }
        }
        hasher.finish()
    }

    /// Writes the tree below `root`, which is fresh. Owners are set where this process may. Secrets are markers unless
    /// `secrets` gives their values.
    pub fn write_tree(&self, root: &Disk, secrets: SecretOf<'_>, blobs: &mut Blobs<'_>) -> Result<(), DiskError> {
        let me = crate::disk::me();
        let attrs = |shape: &Shape| {
            let mode = shape
                .mode
                .as_deref()
                .and_then(|m| u32::from_str_radix(m, 8).ok())
                .unwrap_or(0o644);
            let ids = shape
                .owner
                .split_once(':')
                .and_then(|(u, g)| Some((u.parse().ok()?, g.parse().ok()?)));
            let (uid, gid) = ids.filter(|_| me.0 == 0).unwrap_or(me);
            Attrs { mode, uid, gid }
        };
        let open = |attrs: Attrs| Attrs {
            mode: attrs.mode | 0o700,
            ..attrs
        };
        let mut dirs = Vec::new();
        for (path, managed) in &self.paths {
            let Some(shape) = &managed.shape else { continue };
            let attrs = attrs(shape);
            self.make_above(root, path, me)?;
            match (shape.kind.as_str(), self.content(managed, blobs).1) {
                ("directory", _) => {
                    root.make_dir(path, open(attrs))?;
                    dirs.push((path, attrs));
                }
                ("link", _) => root.make_link(
                    path,
                    shape.target.as_deref().unwrap_or_default(),
                    (attrs.uid, attrs.gid),
                )?,
                (_, content) => {
                    let bytes = match content {
                        Some(Content::Bytes(bytes)) => bytes,
                        Some(Content::Secret(name)) => secrets(&name)
                            .unwrap_or_else(|| format!("[jos: the secret {name} is not in the ledger]\n").into_bytes()),
                        Some(Content::Hash(Some(digest))) => {
                            format!("[jos: only the hash of this file is known, sha256 {digest}]\n").into_bytes()
                        }
                        _ => b"[jos: what this file holds is not in the ledger]\n".to_vec(),
                    };
                    root.write_file(path, &bytes, attrs, &Vec::new())?;
                }
            }
        }
        // A folder that nobody may write into is closed when all is in it.
        for (path, attrs) in dirs.into_iter().rev().filter(|(_, a)| open(*a) != *a) {
            root.set_attrs(path, attrs)?;
        }
        Ok(())
    }

    fn make_above(&self, root: &Disk, path: &str, (uid, gid): (u32, u32)) -> Result<(), DiskError> {
        for (end, _) in path.match_indices('/').filter(|(at, _)| *at > 0) {
            if root.lstat(&path[..end])?.is_none() {
                let mode = 0o755;
                root.make_dir(&path[..end], Attrs { mode, uid, gid })?;
            }
        }
        Ok(())
    }

    /// Holds the tree below `root` against what the ledger says of it: every path that differs.
    pub fn differences(
        &self,
        root: &Disk,
        secrets: SecretOf<'_>,
        blobs: &mut Blobs<'_>,
    ) -> Result<Vec<Difference>, DiskError> {
        let mut all = Vec::new();
        for (path, managed) in &self.paths {
            if let Some(difference) = self.difference(root, path, managed, secrets, blobs)? {
                all.push(difference);
            }
        }
        Ok(all)
    }

    fn difference(
        &self,
        root: &Disk,
        path: &str,
        managed: &Managed,
        secrets: SecretOf<'_>,
        blobs: &mut Blobs<'_>,
    ) -> Result<Option<Difference>, DiskError> {
        let mut difference = Difference {
            path: path.to_owned(),
            held: managed.held,
            details: Vec::new(),
            diff: String::new(),
        };
        let say = |details: &mut Vec<String>, what: &str, expected: &str, found: &str| {
            if expected != found {
                details.push(format!("{what}: found {found}, expected {expected}"));
            }
        };
        let meta = match root.lstat(path) {
            // No link is followed, so nothing stands below one.
            Err(DiskError::LinkInPath { component, target, .. }) => {
                if let Some(shape) = &managed.shape {
                    let found = format!("nothing: {component} is a symbolic link to {target}");
                    say(&mut difference.details, "path", &format!("a {}", shape.kind), &found);
                }
                return Ok((!difference.details.is_empty()).then_some(difference));
            }
            meta => meta?,
        };
        let shape = match (&managed.shape, meta) {
            (None, None) => return Ok(None),
            (None, Some(meta)) => {
                say(&mut difference.details, "path", "nothing", &Shape::of(&meta).kind);
                return Ok(Some(difference));
            }
            (Some(shape), None) => {
                say(&mut difference.details, "path", &format!("a {}", shape.kind), "nothing");
                return Ok(Some(difference));
            }
            (Some(shape), Some(_)) => shape,
        };
        let Some(meta) = meta else { return Ok(None) };
        let live = Shape::of(&meta);
        let details = &mut difference.details;
        say(details, "kind", &shape.kind, &live.kind);
        if let (Some(expected), Some(found)) = (&shape.mode, &live.mode) {
            say(details, "mode", expected, found);
        }
        if !shape.owner.is_empty() {
            say(details, "owner", &shape.owner, &live.owner);
        }
        if meta.kind == Kind::Link && shape.kind == "link" {
            say(
                details,
                "target",
                shape.target.as_deref().unwrap_or_default(),
                &root.read_link(path)?,
            );
        }
        if meta.kind == Kind::File && shape.kind == "file" {
            let expected = match self.content(managed, blobs).1 {
                Some(Content::Bytes(bytes)) => Some(bytes),
                Some(Content::Secret(name)) => secrets(&name),
                Some(Content::Hash(Some(digest))) => {
                    let (found, _) = root.hash(path)?;
                    say(details, "sha256", &digest.to_string(), &found.to_string());
                    None
                }
                _ => None,
            };
            if let Some(expected) = expected {
                let found = if meta.size > READ_LIMIT {
                    Vec::new()
                } else {
                    root.read(path, READ_LIMIT)?.0
                };
                if found != expected {
                    details.push(format!(
                        "content: found {} bytes, expected {}",
                        meta.size,
                        expected.len()
                    ));
                    let public =
                        meta.mode & 0o004 != 0 && shape.mode.as_deref().is_none_or(is_public) && shape.mac.is_none();
                    if public && meta.size <= SHOWN {
                        difference.diff = difference_of(&expected, &found);
                    }
                }
            }
        }
        Ok((!difference.details.is_empty()).then_some(difference))
    }
}

fn is_public(mode: &str) -> bool {
    u32::from_str_radix(mode, 8).is_ok_and(|bits| bits & 0o004 != 0)
}

fn difference_of(expected: &[u8], found: &[u8]) -> String {
    let text = |bytes: &[u8]| {
        (!bytes.contains(&0))
            .then(|| std::str::from_utf8(bytes).ok().map(str::to_owned))
            .flatten()
    };
    match (text(expected), text(found)) {
        (Some(expected), Some(found)) => diff::unified(&expected, &found),
        _ => String::new(),
    }
}

/// A path at which the device is not as its ledger says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which.
    pub path: String,
    /// Whether a state in force lists it. Else a flow wrote it once, or it is shared with others: it may differ.
    pub held: bool,
    /// What differs, in words.
    pub details: Vec<String>,
    /// Unified diff from what the ledger says to what is there, of a small text that everybody may read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub diff: String,
}

/// Whether `folder` may take a rebuilt tree: it is not there yet, or empty, and is none that an agent manages or keeps its
/// data in. The error says why not.
pub fn is_fresh(folder: &Path) -> Result<(), String> {
    let shown = folder.display();
    match std::fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(format!("{shown}: the folder is not empty, expected a fresh one")),
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(format!("{shown}: {e}")),
    }
}
