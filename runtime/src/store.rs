//! What belongs to the device and not to one agent: floors, and who owns which path.
//!
//! Owns `floors.0`, `floors.1` and `owners.json` in the data directory, under the lock `lock`. The rules of the floors
//! are `jos_trust`'s; here is only their durability: two files written in turn, each
//! `jos-floors 1 TURN(16 hex) SHA256\n` and the bytes, so that a power cut costs at most the newer one, which then had
//! not been relied on. Never reads damaged floors as absent.

pub(crate) mod lost;

use std::collections::BTreeMap;
use std::fs::File;

use jos_schemas::text::Name;
use jos_trust::floors::FloorsDamaged;
use jos_trust::{Floors, sha256};

use crate::disk::{Disk, DiskError};

const FILES: [&str; 2] = ["floors.0", "floors.1"];
const OWNERS: &str = "owners.json";
const LIMIT: u64 = 4 * 1024 * 1024;

/// Why the device's own records cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Both files are there and neither can be read.
    #[error(
        "{file}: {what}; a device without readable floors cannot tell old from new: restore the file, or say at this machine from which version on states count: `jos agent floors --from VERSION`"
    )]
    Floors {
        /// Which file.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// Whole, and written by a program that came after this one: not lost, and nothing is set aside for it.
    #[error("{}", crate::ledger::newer(.file, *.found))]
    Newer {
        /// Which file.
        file: String,
        /// Its format.
        found: u64,
    },
    /// They were lost, and nobody whose word counts has said yet how far this device had come.
    #[error(
        "the floors of this device were lost ({why}): what is new cannot be told from what is old before its hub says how far it had come, or somebody at this machine does: `jos agent floors --from VERSION`"
    )]
    Lost {
        /// How.
        why: String,
    },
    /// The ownership file does not read.
    #[error("{file}: {what}")]
    Owners {
        /// Which file.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The floors as they are on disk; empty on a new device.
pub(crate) fn floors(disk: &Disk) -> Result<Floors, StoreError> {
    Ok(newest(disk)?.map(|(_, floors)| floors).unwrap_or_default())
}

/// Changes the floors and makes them durable before it returns. Nothing is written when nothing changed.
pub(crate) fn change_floors(disk: &Disk, change: &mut dyn FnMut(&mut Floors)) -> Result<(), StoreError> {
    let _lock = lock(disk)?;
    let (turn, before) = newest(disk)?.unwrap_or_default();
    let mut after = before.clone();
    change(&mut after);
    if after == before {
        return Ok(());
    }
    let (turn, bytes) = (turn + 1, after.to_bytes());
    let mut text = format!("jos-floors 1 {turn:016x} {}\n", sha256(&bytes)).into_bytes();
    text.extend_from_slice(&bytes);
    disk.write_private(FILES[usize::from(turn % 2 == 1)], &text)?;
    Ok(())
}

/// Makes the floors durable as they are read: what a killed process wrote may not be.
pub(crate) fn settle_floors(disk: &Disk) -> Result<(), StoreError> {
    FILES
        .iter()
        .try_for_each(|file| disk.settle(file))
        .map_err(StoreError::Disk)
}

fn newest(disk: &Disk) -> Result<Option<(u64, Floors)>, StoreError> {
    let (mut newest, mut broken): (Option<(u64, Floors)>, _) = (None, None);
    for file in FILES {
        let bytes = match disk.read(file, LIMIT) {
            Ok((bytes, _)) => bytes,
            Err(e) if e.is_missing() => continue,
            Err(e) => return Err(e.into()),
        };
        // What the other file says is older than this, whatever it is.
        if let Some(found) = newer(&bytes) {
            let file = disk.show(file);
            return Err(StoreError::Newer { file, found });
        }
        match parse(&bytes) {
            Ok((turn, floors)) => {
                if newest.as_ref().is_none_or(|(t, _)| turn > *t) {
                    newest = Some((turn, floors));
                }
            }
            Err(what) => broken = Some((file, what)),
        }
    }
    match (newest, broken) {
        (None, Some((file, what))) => Err(StoreError::Floors {
            file: disk.show(file),
            what,
        }),
        (newest, _) => Ok(newest),
    }
}

/// The format of whole floors of a newer program. The rule for all of them: a first line `jos-floors N TURN SHA256`, the hash
/// is that of the rest, and the rest is JSON whose `format` counts: that is under the hash, so no flipped bit makes it so.
fn newer(bytes: &[u8]) -> Option<u64> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    let line = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut words = line.strip_prefix("jos-floors ")?.split(' ');
    let body = &bytes[end + 1..];
    if words.nth(2)? != sha256(body).to_string() {
        return None;
    }
    match Floors::from_bytes(body) {
        Err(FloorsDamaged::Format { found, expected }) if found > expected => Some(found.into()),
        _ => None,
    }
}

fn parse(bytes: &[u8]) -> Result<(u64, Floors), String> {
    let end = bytes.iter().position(|b| *b == b'\n').ok_or("it has no first line")?;
    let line = std::str::from_utf8(&bytes[..end]).map_err(|_| "its first line is not text")?;
    let mut words = line
        .strip_prefix("jos-floors 1 ")
        .ok_or("its first line is not `jos-floors 1 …`")?
        .split(' ');
    let turn = words
        .next()
        .and_then(|w| u64::from_str_radix(w, 16).ok())
        .ok_or("its first line has no turn")?;
    let body = &bytes[end + 1..];
    if words.next() != Some(sha256(body).to_string().as_str()) {
        return Err("its checksum does not fit".into());
    }
    Floors::from_bytes(body).map(|f| (turn, f)).map_err(|e| e.to_string())
}

/// Which NAME owns which path.
pub(crate) type Owners = BTreeMap<String, Name>;

pub(crate) fn owners(disk: &Disk) -> Result<Owners, StoreError> {
    match disk.read(OWNERS, LIMIT) {
        Ok((bytes, _)) => jos_schemas::own::read(&bytes).map_err(|e| StoreError::Owners {
            file: disk.show(OWNERS),
            what: format!(
                "{e}; it says which agent owns which path: restore it, or remove it, and each agent claims its own again"
            ),
        }),
        Err(e) if e.is_missing() => Ok(Owners::new()),
        Err(e) => Err(e.into()),
    }
}

/// The paths of `wanted` that belong to another NAME: the path itself, or one above or below it where `deep`.
pub(crate) fn foreign<'a>(owners: &Owners, name: &Name, wanted: &[(&'a str, bool)]) -> Vec<(&'a str, Name)> {
    let mut found = Vec::new();
    for (path, deep) in wanted {
        let below = |other: &str| *deep && other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        if let Some((_, owner)) = owners
            .iter()
            .find(|(p, n)| *n != name && (p.as_str() == *path || below(p)))
        {
            found.push((*path, owner.clone()));
        }
    }
    found
}

/// Forgets what the device remembers of a purged agent beside its own folder: its floors and which paths are its own.
pub fn forget(state_dir: &std::path::Path, name: &Name, tag: &str) -> Result<(), StoreError> {
    let disk = Disk::open(state_dir, tag)?;
    own(&disk, name, &mut std::iter::empty())?;
    lost::found(&disk, name)?;
    change_floors(&disk, &mut |floors| floors.forget(name))
}

/// Makes `paths` the paths of `name`: those of other names stay, those of `name` that are not listed go.
pub(crate) fn own(disk: &Disk, name: &Name, paths: &mut dyn Iterator<Item = String>) -> Result<(), StoreError> {
    let _lock = lock(disk)?;
    let before = owners(disk)?;
    let mut after: Owners = before
        .iter()
        .filter(|(_, n)| *n != name)
        .map(|(p, n)| (p.clone(), n.clone()))
        .collect();
    for path in paths {
        after.entry(path).or_insert_with(|| name.clone());
    }
    if after != before {
        let bytes = jos_schemas::own::write(&after).map_err(|e| StoreError::Owners {
            file: OWNERS.into(),
            what: e.to_string(),
        })?;
        disk.write_private(OWNERS, &bytes)?;
    }
    Ok(())
}

fn lock(disk: &Disk) -> Result<File, StoreError> {
    let file = disk.lock_file("lock")?;
    file.lock()
        .map_err(|e| StoreError::Disk(DiskError::io(disk.show("lock"), "lock it", e)))?;
    Ok(file)
}
