//! Taking over the decision log of the runtime that people come from: every record is verified before the first is taken.
//!
//! An imported decision does not act. It goes into the ledger as the line that it was, so that a replay verifies the old
//! chain again, with what follows from it: where the machine was driven to, what was written. What a tool gave is not in such a
//! log, and nothing is put in its place.

pub(crate) mod jaros;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use jos_runtime::ledger::{Archive, Blobs, Entry, Ledger, canonical};
use jos_schemas::documents::ledger::Decision;
use jos_schemas::documents::runtime::MachineState;
use jos_trust::Digest;
use serde::Serialize;
use serde_json::Value;

use crate::chapter::Chapters;
use crate::error::NodeError;
use crate::execute::{advance, fs_written};
use crate::join::{Outside, Trail};
use crate::place::{BLOBS, DataDir, Door, LEDGER};
use crate::records::{Came, Draft, IMPORTED, Read};
use crate::{jobs, seals};
use jaros::{Chain, Taken};

/// The longest line that is read, in bytes.
const LINE: u64 = 32 << 20;
/// So many records are one commit group.
const GROUP: usize = 256;

/// What a log holds, and what was taken of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The checksum of its first record, by which it is known.
    pub log: Option<String>,
    /// The checksum of its last.
    pub head: Option<String>,
    /// Its records.
    pub decisions: u64,
    /// The same by agent.
    pub agents: BTreeMap<String, u64>,
    /// Records that are in the ledger now and were not.
    pub imported: u64,
    /// Records that were there from an earlier import.
    pub before: u64,
    /// Bytes of a last line that was never finished; they are left out.
    pub torn: u64,
}

/// Verifies a log, and takes nothing.
pub fn check(log: &Path) -> Result<Summary, NodeError> {
    let mut summary = Summary::default();
    let (chain, torn) = read(log, &mut |taken, _| {
        *summary.agents.entry(taken.agent).or_default() += 1;
        Ok(())
    })?;
    summary.decisions = chain.count;
    summary.log = chain.log.map(|log| log.to_string());
    summary.head = chain.last.map(|head| head.to_string());
    summary.torn = torn;
    Ok(summary)
}

/// Verifies a log, and takes what of it the ledger does not have.
pub fn import(data: &DataDir, outside: &Outside, log: &Path) -> Result<Summary, NodeError> {
    let path = data.path("state/import.lock");
    let lock = File::create(&path).map_err(NodeError::io(&path, "open the lock"))?;
    if lock.try_lock().is_err() {
        return Err(NodeError::invalid(
            path.display(),
            "another import is at work; wait until it ends",
        ));
    }
    let mut summary = check(log)?;
    let disk = jobs::disk(&data.path("state"), &outside.hex(8))?;
    // No chapter of the ledger begins in the middle of what is taken.
    let chapters = Chapters::of(data)?;
    let _page = chapters.turn();
    let known = summary.log.as_deref().map_or(Ok(None), |id| known(&disk, id))?;
    summary.before = known.as_ref().map_or(0, |(index, _)| *index);
    let mut ledger = Ledger::open(&disk, LEDGER)?;
    let blobs = Blobs::open(&disk, BLOBS)?;
    let now = (outside.now)();
    let mut group: Vec<Entry> = Vec::new();
    let mut imported = 0;
    let (verified, _) = read(log, &mut |taken, line| {
        match &known {
            Some((index, there)) if taken.index == *index && taken.checksum.to_string() != *there => {
                return Err(NodeError::Tampered {
                    place: format!("{}:{index}", log.display()),
                    what: format!("the checksum is {}, and {there} was imported before", taken.checksum),
                });
            }
            Some((index, _)) if taken.index <= *index => return Ok(()),
            // What was written while we read comes with the next import.
            _ if taken.index > summary.decisions => return Ok(()),
            _ => {}
        }
        let id = summary.log.as_deref().unwrap_or_default();
        group.push(draft(id, &taken, line).entry(now, &blobs)?);
        imported += 1;
        if group.len() == GROUP {
            ledger.append(std::mem::take(&mut group))?;
        }
        Ok(())
    })?;
    if verified.count < summary.decisions {
        return Err(NodeError::invalid(log.display(), "it became shorter while it was read"));
    }
    if !group.is_empty() {
        ledger.append(group)?;
    }
    summary.imported = imported;
    if imported > 0 {
        let key = seals::key(data, &Door::of(data)?, outside)?;
        if let Some(document) = seals::now(data, outside, &key)? {
            ledger.append(vec![Draft::checkpoint(document).entry(now, &blobs)?])?;
        }
    }
    Ok(summary)
}

/// How far a log was imported: index and checksum of the last record.
fn known(disk: &jos_runtime::disk::Disk, log: &str) -> Result<Option<(u64, String)>, NodeError> {
    let archive = Archive::folder(disk, LEDGER, BLOBS);
    let mut last = None;
    archive.lines(&mut |line| {
        if line.kind != IMPORTED {
            return;
        }
        if let Ok(read) = serde_json::from_slice::<Read<'_>>(line.payload)
            && read.log == log
        {
            last = Some((read.index, read.checksum));
        }
    })?;
    Ok(last)
}

/// Reads a log line by line. Gives the chain, and how long a last line is that was never finished.
fn read(path: &Path, each: &mut dyn FnMut(Taken, &str) -> Result<(), NodeError>) -> Result<(Chain, u64), NodeError> {
    let file = File::open(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => NodeError::invalid(path.display(), "found no file, expected the log of jaros"),
        _ => NodeError::io(path, "open the log")(e),
    })?;
    let mut reader = BufReader::new(file);
    let mut chain = Chain::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut reader).take(LINE).read_until(b'\n', &mut line);
        let bytes = read.map_err(NodeError::io(path, "read the log"))?;
        if bytes == 0 {
            return Ok((chain, 0));
        }
        let whole = line.last() == Some(&b'\n');
        let tampered = |what: String| NodeError::Tampered {
            place: format!("{}:{}", path.display(), chain.count + 1),
            what,
        };
        if !whole && bytes as u64 == LINE {
            return Err(tampered(format!("found a line of more than {LINE} bytes")));
        }
        let text = std::str::from_utf8(line.strip_suffix(b"\n").unwrap_or(&line));
        let mut next = chain;
        match text
            .map_err(|e| e.to_string())
            .and_then(|text| Ok((next.take(text)?, text)))
        {
            Ok((taken, text)) => {
                each(taken, text)?;
                chain = next;
            }
            // The power went while it was written; nobody acted on it.
            Err(_) if !whole => return Ok((chain, bytes as u64)),
            Err(why) => return Err(tampered(why)),
        }
    }
}

/// The record for one decision. Pure: a replay calls it too.
pub(crate) fn draft(log: &str, taken: &Taken, line: &str) -> Draft {
    Draft::imported(log, taken, line, &came(&taken.decision))
}

/// What follows from a decision alone; null where only the run itself could know it.
pub(crate) fn came(decision: &Decision) -> Came {
    let followed = match decision.kind.as_str() {
        "advance" => advance(decision, MachineState::Pending),
        "fs.write" => fs_written(decision),
        _ => Ok(Value::Null),
    };
    let writable = followed.and_then(|result| canonical(&result).map(|_| result).map_err(|e| e.to_string()));
    let (result, reason) = match writable {
        Ok(result) => (result, None),
        Err(why) => (Value::Null, Some(why)),
    };
    Came {
        result,
        reason,
        trail: Trail::default(),
    }
}

/// The chains of the logs that were imported, as a replay reads them.
#[derive(Debug, Default)]
pub(crate) struct Logs(BTreeMap<String, Chain>);

impl Logs {
    /// Takes an imported line after those of its log before. A log that grew was imported in parts, and the first of them may
    /// have been pruned: then it goes on from where this line says.
    pub(crate) fn take(&mut self, log: &str, line: &str) -> Result<Taken, String> {
        let chain = self.0.entry(log.to_owned()).or_insert_with(|| Chain::before(log, line));
        let taken = chain.take(line)?;
        match chain.log.map(|first| first.to_string()) {
            Some(first) if first == log => Ok(taken),
            first => Err(format!(
                "found a record of the log {}, expected {log}",
                first.unwrap_or_default()
            )),
        }
    }

    /// Each log, and the last record of it.
    pub(crate) fn heads(&self) -> BTreeMap<&str, Option<String>> {
        let head = |last: Digest| last.to_string();
        self.0
            .iter()
            .map(|(log, chain)| (log.as_str(), chain.last.map(head)))
            .collect()
    }
}
