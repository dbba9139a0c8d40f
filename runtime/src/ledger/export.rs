//! A ledger as one file: its records, the blobs that they name, and the key that signs its checkpoints.
//!
//! ```text
//! jos-ledger-export 1 NAME FIRST COUNT PREV HASH BLOBS\n   FIRST, COUNT, BLOBS: 16 hex digits; PREV, HASH: 64
//! key KEY-ID BASE64\n                                      or `key -`
//! LLLLLLLL HASH RECORD\n                                   COUNT − FIRST lines, as in a segment
//! SIZE SHA256\n BYTES \n                                    BLOBS times, by name; SIZE: 16 hex digits
//! end SHA256\n                                             of everything before
//! ```
//!
//! Where segments begin is not in it, nor anything else of the storage: the same history is the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::ops::Range;

use jos_schemas::text::Name;
use jos_trust::digest::Hasher;
use jos_trust::{Digest, KeyId, PublicKey, sha256};

use super::line::{Chain, Line};
use super::named::blob_names;
use super::{Blobs, Extent, LedgerError, LedgerHead, read_lines};
use crate::disk::{Disk, DiskError};

const MAGIC: &str = "jos-ledger-export 1 ";
/// `end SHA256\n`
const END: usize = 4 + 64 + 1;

/// The public half of the key that signs a device's checkpoints.
pub type LedgerKey = (KeyId, PublicKey);

/// Writes the ledger in `dir` with its blobs to `out`.
pub fn export(
    disk: &Disk,
    dir: &str,
    blobs: &Blobs<'_>,
    name: &Name,
    key: Option<&LedgerKey>,
    out: &mut dyn Write,
) -> Result<Extent, LedgerError> {
    let mut wanted = BTreeSet::new();
    let extent = read_lines(disk, dir, &mut |line| blob_names(line.payload, &mut wanted))?;
    let blobs = whole(blobs, wanted)?;
    let mut out = Hashed {
        out,
        hasher: Hasher::default(),
        failed: None,
    };
    let head = &extent.head;
    out.text(&format!(
        "{MAGIC}{name} {:016x} {:016x} {} {} {:016x}\n",
        extent.first,
        head.count,
        extent.prev,
        head.hash,
        blobs.len()
    ));
    out.text(&match key {
        Some((id, public)) => format!("key {id} {}\n", public.to_base64()),
        None => "key -\n".to_owned(),
    });
    let mut next = extent.first;
    let again = read_lines(disk, dir, &mut |line| {
        // What was appended since the first reading is not in the first line.
        if line.index == next && next < head.count {
            out.line(line);
            next += 1;
        }
    });
    if again?.first != extent.first || next != head.count {
        return Err(LedgerError::Moved);
    }
    for (digest, bytes) in &blobs {
        out.text(&format!("{:016x} {digest}\n", bytes.len()));
        out.write(bytes);
        out.write(b"\n");
    }
    let sum = std::mem::take(&mut out.hasher).finish();
    out.text(&format!("end {sum}\n"));
    match out.failed {
        Some(e) => Err(DiskError::io("the export".into(), "write it", e).into()),
        None => Ok(extent),
    }
}

/// The blobs that are named and there, and those that they name in turn.
fn whole(blobs: &Blobs<'_>, wanted: BTreeSet<Digest>) -> Result<BTreeMap<Digest, Vec<u8>>, LedgerError> {
    let present: BTreeSet<Digest> = blobs.list()?.into_iter().map(|(digest, _)| digest).collect();
    let mut open: Vec<Digest> = wanted.into_iter().filter(|d| present.contains(d)).collect();
    let mut found = BTreeMap::new();
    while let Some(digest) = open.pop() {
        if found.contains_key(&digest) {
            continue;
        }
        match blobs.get(&digest) {
            Ok(Some(bytes)) => {
                let mut more = BTreeSet::new();
                blob_names(&bytes, &mut more);
                open.extend(more.into_iter().filter(|d| present.contains(d)));
                found.insert(digest, bytes);
            }
            Ok(None) => {}
            // Evidence is exported as it is; whoever verifies it finds the blob missing.
            Err(e @ LedgerError::Blob { .. }) => log::warn!("{e}; it is not in the export"),
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

/// Writes and hashes; the first failure is kept and ends the writing.
struct Hashed<'o> {
    out: &'o mut dyn Write,
    hasher: Hasher,
    failed: Option<std::io::Error>,
}

impl Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        if self.failed.is_none() {
            self.failed = self.out.write_all(bytes).err();
        }
    }

    fn text(&mut self, text: &str) {
        self.write(text.as_bytes());
    }

    fn line(&mut self, line: &Line<'_>) {
        self.text(&format!("{:08x} {} ", line.json.len(), line.hash));
        self.write(line.json);
        self.write(b"\n");
    }
}

/// An export that was read: its end is right, its lines are checked when they are read.
pub struct Export<'b> {
    /// The agent.
    pub name: Name,
    /// The key that it says signs its checkpoints: no more to be believed than the export itself.
    pub key: Option<LedgerKey>,
    bytes: &'b [u8],
    extent: Extent,
    records: usize,
    blobs: BTreeMap<Digest, Range<usize>>,
}

impl<'b> Export<'b> {
    /// Whether a file that begins so is meant to be an export.
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(b"jos-ledger-export ")
    }

    /// Reads the first lines, the blobs and the end.
    pub fn open(bytes: &'b [u8]) -> Result<Self, LedgerError> {
        let wrong = |at: usize, what: &str| LedgerError::Unreadable(format!("export, offset {at}: {what}"));
        let body = bytes
            .len()
            .checked_sub(END)
            .ok_or_else(|| wrong(0, "it is cut short"))?;
        if bytes[body..] != *format!("end {}\n", sha256(&bytes[..body])).as_bytes() {
            return Err(wrong(body, "its last line is not the hash of what stands before it"));
        }
        let text = |at: usize| line_at(&bytes[..body], at).ok_or_else(|| wrong(at, "an unfinished line"));
        let (first, after) = text(0)?;
        let rest = first
            .strip_prefix(MAGIC)
            .ok_or_else(|| wrong(0, "a format version that this program does not know"))?;
        let head = Head::parse(rest).filter(|head| format!("{MAGIC}{}", head.text()) == first);
        let head = head.ok_or_else(|| wrong(0, "a first line in another spelling"))?;
        let (line, records) = text(after)?;
        let key = parse_key(line).ok_or_else(|| wrong(after, "a key that is none"))?;
        // The records are stepped over by their frames here; they are checked when they are read.
        let mut at = records;
        for _ in head.first..head.count {
            let length = bytes.get(at..at + 8).and_then(hex_number);
            let next = length.and_then(|length| at.checked_add(usize::try_from(length).ok()?)?.checked_add(75));
            at = next
                .filter(|next| *next <= body)
                .ok_or_else(|| wrong(at, "an unfinished record"))?;
        }
        let mut blobs = BTreeMap::new();
        for _ in 0..head.blobs {
            let (line, start) = text(at)?;
            let parsed = line.split_once(' ').and_then(|(size, digest)| {
                let size = usize::try_from(hex_number(size.as_bytes()).filter(|_| size.len() == 16)?).ok()?;
                Some((start.checked_add(size)?, digest.parse::<Digest>().ok()?))
            });
            let (end, digest) = parsed.ok_or_else(|| wrong(at, "a blob without size and name"))?;
            let last = blobs.last_key_value().map(|(last, _)| *last);
            if end >= body || bytes[end] != b'\n' || last.is_some_and(|last| last >= digest) {
                return Err(wrong(at, "a blob out of its place"));
            }
            blobs.insert(digest, start..end);
            at = end + 1;
        }
        if at != body {
            return Err(wrong(at, "bytes that belong to nothing"));
        }
        let extent = Extent {
            first: head.first,
            prev: head.prev,
            head: LedgerHead::of(head.count, &head.hash),
            segments: (0, 1),
            bytes: bytes.len() as u64,
            torn: 0,
        };
        Ok(Self {
            name: head.name,
            key,
            bytes,
            extent,
            records,
            blobs,
        })
    }

    /// Every record, checked and in order.
    pub fn lines(&self, each: &mut dyn FnMut(&Line<'_>)) -> Result<Extent, LedgerError> {
        let (mut at, mut chain) = (self.records, Chain::new(self.extent.first, self.extent.prev));
        let wrong = |at: usize, what: &str| LedgerError::Unreadable(format!("export, offset {at}: {what}"));
        for index in self.extent.first..self.extent.head.count {
            let (line, next) = chain.next(self.bytes, at).map_err(|what| wrong(at, what))?;
            if index == self.extent.first && index > 0 && line.kind != super::CHECKPOINT {
                return Err(wrong(
                    at,
                    "history begins neither at its beginning nor with a checkpoint",
                ));
            }
            each(&line);
            at = next;
        }
        if LedgerHead::of(chain.count, &chain.hash) != self.extent.head {
            return Err(wrong(at, "the last record is another than the first line says"));
        }
        Ok(self.extent.clone())
    }

    /// The bytes of a blob: checked, `None` when it is not there.
    pub fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, LedgerError> {
        let Some(range) = self.blobs.get(digest) else {
            return Ok(None);
        };
        let bytes = &self.bytes[range.clone()];
        if sha256(bytes) != *digest {
            return Err(LedgerError::Blob { digest: *digest });
        }
        Ok(Some(bytes.to_vec()))
    }

    /// The names and sizes of its blobs.
    pub fn blobs(&self) -> Vec<(Digest, u64)> {
        self.blobs.iter().map(|(d, range)| (*d, range.len() as u64)).collect()
    }
}

/// What the first line says.
struct Head {
    name: Name,
    first: u64,
    count: u64,
    prev: Digest,
    hash: Digest,
    blobs: u64,
}

impl Head {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let name = Name::new(words.next()?).ok()?;
        let (first, count) = (
            hex_number(words.next()?.as_bytes())?,
            hex_number(words.next()?.as_bytes())?,
        );
        let (prev, hash) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let blobs = hex_number(words.next()?.as_bytes())?;
        (first <= count).then_some(Self {
            name,
            first,
            count,
            prev,
            hash,
            blobs,
        })
    }

    fn text(&self) -> String {
        format!(
            "{} {:016x} {:016x} {} {} {:016x}",
            self.name, self.first, self.count, self.prev, self.hash, self.blobs
        )
    }
}

/// The line that starts at `at`, without its end, and where the next one does. No line of ours is long.
fn line_at(bytes: &[u8], at: usize) -> Option<(&str, usize)> {
    let rest = bytes.get(at..)?;
    let length = rest.iter().take(1024).position(|b| *b == b'\n')?;
    Some((std::str::from_utf8(&rest[..length]).ok()?, at + length + 1))
}

fn hex_number(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    let plain = text.len() <= 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

fn parse_key(line: &str) -> Option<Option<LedgerKey>> {
    let rest = line.strip_prefix("key ")?;
    if rest == "-" {
        return Some(None);
    }
    let (id, public) = rest.split_once(' ')?;
    Some(Some((KeyId::new(id).ok()?, PublicKey::from_base64(public).ok()?)))
}
