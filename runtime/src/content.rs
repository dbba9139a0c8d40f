//! Content by hash: where it is kept until it stands in its place, and how it gets there.
//!
//! Owns `incoming/` of one NAME, and puts what is small enough for the ledger to keep among its blobs. Whatever comes
//! from elsewhere is counted against the size that the state names while it comes, then held against the hash; only
//! what passed both has the name under which it is found. The network is behind [`Fetch`].
//!
//! What is too large for the ledger and is offered under its hash comes into `HASH.part`, which stays where its source
//! breaks off or this process ends, and is gone on with the next time.

use std::collections::BTreeSet;
use std::io::Read;

use jos_schemas::documents::desired_state::BlobSource;
use jos_trust::Digest;
use jos_trust::digest::Hasher;

use crate::disk::{Attrs, Disk, DiskError, Kind, Short, Sink};
use crate::world::{Fetch, Offered};

/// Bytes of one piece.
const PIECE: usize = 64 * 1024;
/// How the name of a content ends that is not whole yet.
pub(crate) const PART: &str = ".part";

/// A content that a plan needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Needed {
    pub(crate) sha256: Digest,
    pub(crate) size: u64,
    pub(crate) urls: Vec<String>,
}

impl Needed {
    /// What a step names by its hash.
    pub(crate) fn of(source: &BlobSource) -> Result<Self, String> {
        let sha256: Result<Digest, _> = source.sha256.as_str().parse();
        Ok(Self {
            sha256: sha256.map_err(|e| format!("source.sha256: {e}"))?,
            size: source.size,
            urls: source.urls.clone(),
        })
    }
}

/// The contents that one NAME has at hand.
pub(crate) struct Store<'d> {
    data: &'d Disk,
    blobs: String,
    incoming: String,
    kept: u64,
}

impl<'d> Store<'d> {
    /// `blobs` is the ledger's store, which takes content of at most `kept` bytes; `incoming` is where the rest waits for
    /// its place. Neither is made before it is needed.
    pub(crate) fn new(data: &'d Disk, blobs: String, incoming: String, kept: u64) -> Self {
        Self {
            data,
            blobs,
            incoming,
            kept,
        }
    }

    /// Where the content lies: with the ledger, or waiting for its place. Its hash is looked at when it is used.
    fn find(&self, needed: &Needed) -> Option<String> {
        let dirs = [&self.blobs, &self.incoming];
        let mut paths = dirs.iter().map(|dir| format!("{dir}/{}", needed.sha256));
        paths.find(|path| {
            let meta = self.data.lstat(path);
            meta.is_ok_and(|m| m.is_some_and(|m| m.kind == Kind::File && m.size == needed.size))
        })
    }

    /// Where it lies, for a tool that is given a path; no other tool writes there.
    pub(crate) fn path(&self, needed: &Needed) -> Option<std::path::PathBuf> {
        let path = self.find(needed)?;
        std::fs::canonicalize(self.data.root().join(path)).ok()
    }

    /// Whether it is at hand.
    pub(crate) fn has(&self, needed: &Needed) -> bool {
        self.find(needed).is_some()
    }

    /// Writes the content into `sink`, checked once more on the way.
    pub(crate) fn pour(&self, needed: &Needed, sink: &mut Sink<'_>) -> Result<(), DiskError> {
        let Some(path) = self.find(needed) else {
            return Err(sink.wrong("its content is no longer at hand".into()));
        };
        let (mut file, _) = self.data.open_file(&path)?;
        sink.copy(&mut file, &needed.sha256, needed.size)
    }

    /// Makes sure that every content is at hand. The error says for which it cannot be, and why each place failed.
    pub(crate) fn bring(&self, all: &[Needed], fetch: &dyn Fetch) -> Result<(), String> {
        self.keep_only(&all.iter().map(|n| n.sha256).collect())
            .map_err(|e| e.to_string())?;
        for needed in all {
            let good = |path: String| self.data.hash(&path).is_ok_and(|(found, _)| found == needed.sha256);
            if self.find(needed).is_some_and(good) {
                continue;
            }
            self.bring_one(needed, fetch)?;
        }
        Ok(())
    }

    fn bring_one(&self, needed: &Needed, fetch: &dyn Fetch) -> Result<(), String> {
        let mut tried = Vec::new();
        match self.take_offered(needed, fetch) {
            Some(Ok(())) => return Ok(()),
            Some(Err(why)) => tried.push(why),
            None => {}
        }
        for url in &needed.urls {
            let taken = self.take(needed, &mut |sink| {
                let mut hasher = Hasher::default();
                let mut failed = None;
                let came = fetch.fetch(url, needed.size, &mut |piece| {
                    if sink.written() + piece.len() as u64 > needed.size {
                        return Err(format!("more than the {} bytes that the state names", needed.size));
                    }
                    hasher.update(piece);
                    // A full disk is this device's fault and no other address would help: told apart below.
                    sink.put(piece).map_err(|e| {
                        let text = e.to_string();
                        failed = Some(e);
                        text
                    })
                });
                if let Some(e) = failed {
                    return Err(e);
                }
                came.map_err(|why| sink.wrong(why))?;
                let (size, found) = (sink.written(), hasher.finish());
                if size != needed.size {
                    return Err(sink.wrong(format!("{size} bytes, the state names {}", needed.size)));
                }
                if found != needed.sha256 {
                    return Err(sink.wrong(format!("its SHA-256 is {found}, the state names {}", needed.sha256)));
                }
                Ok(())
            });
            match taken {
                Ok(()) => return Ok(()),
                Err(e) => tried.push(format!("{url}: {e}")),
            }
        }
        let nowhere = "it is in no folder of this device, and the state names no address; offer it with --blobs DIR";
        let why = if tried.is_empty() {
            nowhere.to_owned()
        } else {
            tried.join("; ")
        };
        Err(format!("content {}: {why}", needed.sha256))
    }

    /// None where nobody offers it.
    fn take_offered(&self, needed: &Needed, fetch: &dyn Fetch) -> Option<Result<(), String>> {
        let sha256 = needed.sha256.to_string();
        if needed.size <= self.kept {
            let Offered { place, mut content, .. } = fetch.offered(&sha256, 0)?;
            let taken = self.take(needed, &mut |sink| sink.copy(&mut content, &needed.sha256, needed.size));
            return Some(taken.map_err(|e| format!("{place}: {e}")));
        }
        let part = format!("{}/{sha256}{PART}", self.incoming);
        let begun = match self.begun(&part, needed.size) {
            Ok(begun) => begun,
            Err(e) => return Some(Err(e.to_string())),
        };
        if begun > 0 {
            let offered = fetch.offered(&sha256, begun)?;
            if offered.from == begun {
                log::info!("content {sha256}: the first {begun} bytes are here already");
                match self.go_on(&part, needed, offered) {
                    // What was here is not the beginning of it, or what came is not the rest.
                    Err((_, Short::Other(e))) => log::warn!("{e}; fetched anew"),
                    done => return Some(done.map_err(|(place, short)| format!("{place}: {}", short.error()))),
                }
            } else if let Err(e) = self.data.remove(&part) {
                return Some(Err(e.to_string()));
            }
        }
        let done = self.go_on(&part, needed, fetch.offered(&sha256, 0)?);
        Some(done.map_err(|(place, short)| format!("{place}: {}", short.error())))
    }

    /// How much of a content lies there. What cannot be its beginning goes.
    fn begun(&self, part: &str, size: u64) -> Result<u64, DiskError> {
        match self.data.lstat(part)? {
            Some(meta) if meta.kind == Kind::File && meta.size <= size => Ok(meta.size),
            Some(_) => self.data.remove(part).map(|()| 0),
            None => Ok(0),
        }
    }

    fn go_on(&self, part: &str, needed: &Needed, mut offered: Offered) -> Result<(), (String, Short)> {
        let whole = part.strip_suffix(PART).unwrap_or(part);
        let came = self
            .data
            .ensure_dir(&self.incoming)
            // One that rotted where it waited.
            .and_then(|()| self.data.remove(whole))
            .map_err(Short::Disk)
            .and_then(|()| self.data.grow(part, &mut offered.content, &needed.sha256, needed.size))
            .and_then(|()| self.data.rename(part, whole).map_err(Short::Disk));
        came.map_err(|short| {
            if !matches!(short, Short::BrokeOff(_))
                && let Err(e) = self.data.remove(part)
            {
                log::warn!("{e}");
            }
            (offered.place, short)
        })
    }

    fn take(
        &self,
        needed: &Needed,
        fill: &mut dyn FnMut(&mut Sink<'_>) -> Result<(), DiskError>,
    ) -> Result<(), DiskError> {
        let dir = if needed.size <= self.kept {
            &self.blobs
        } else {
            &self.incoming
        };
        self.data.ensure_dir(dir)?;
        let path = format!("{dir}/{}", needed.sha256);
        self.data.write_with(&path, Attrs::mine(0o600), &Vec::new(), None, fill)
    }

    /// Removes what waits, whole or not, and is not among `needed`: also the temporary files of an earlier process.
    pub(crate) fn keep_only(&self, needed: &BTreeSet<Digest>) -> Result<(), DiskError> {
        for name in self.data.list(&self.incoming)? {
            let Some(name) = name.to_str() else { continue };
            let digest = name.strip_suffix(PART).unwrap_or(name).parse::<Digest>();
            if !digest.is_ok_and(|d| needed.contains(&d)) {
                self.data.remove(&format!("{}/{name}", self.incoming))?;
            }
        }
        Ok(())
    }
}

/// Reads `from` into `into`, piece by piece: what an implementation of [`Fetch`] needs again and again.
///
/// # Errors
/// The reader's own words, or those of `into`.
pub fn pump(from: &mut dyn Read, into: &mut dyn FnMut(&[u8]) -> Result<(), String>) -> Result<(), String> {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(n) => into(&piece[..n])?,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.to_string()),
        }
    }
}
