//! What the pages show of the ledger: the records of one job, and a glance at all of it.
//!
//! Reads alone, as `jos logs` does. A glance is kept until the ledger's files change, and then goes on where it was: what was
//! read is not read again. On its way it notes where the records of each job are ([`Index`]), so that no page reads all of it.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use jos_node::place::{BLOBS, DataDir, LEDGER};
use jos_runtime::disk::Disk;
use jos_runtime::ledger::{Blobs, Follow, LedgerError, Line, read_range};
use jos_schemas::text::Utc;
use serde::Deserialize;
use serde_json::Value;

use super::index::Index;

/// So many of the last events are shown.
const LAST: usize = 100;
/// Minutes of which it is kept how many jobs ended.
const MINUTES: usize = 60;

/// A record.
pub(super) struct Record {
    pub(super) index: u64,
    pub(super) time: String,
    pub(super) kind: String,
    /// With its `act` out of the blobs, where it was there.
    pub(super) payload: Value,
}

/// What drove the machine from one state to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transition {
    pub(super) index: u64,
    pub(super) time: String,
    pub(super) job: String,
    pub(super) agent: String,
    pub(super) from: String,
    pub(super) events: String,
    pub(super) to: String,
}

/// Somebody asked for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) index: u64,
    pub(super) time: String,
    pub(super) job: String,
    pub(super) agent: String,
    pub(super) right: String,
    pub(super) to: String,
    pub(super) allowed: bool,
}

/// A job that failed: nothing was proposed, the gate refused, or a decision failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) index: u64,
    pub(super) time: String,
    pub(super) job: String,
    pub(super) agent: String,
    pub(super) reason: String,
}

/// All of it at a glance; of what there is much, the last.
#[derive(Clone, Debug, Default)]
pub(super) struct Glance {
    pub(super) records: u64,
    pub(super) head: String,
    pub(super) decisions: BTreeMap<String, u64>,
    pub(super) transitions: VecDeque<Transition>,
    pub(super) accesses: VecDeque<Access>,
    pub(super) allowed: u64,
    pub(super) denied: u64,
    pub(super) refusals: VecDeque<Refusal>,
    /// How many jobs ended in a minute: its beginning in seconds since 1970, done, failed. The last minutes in which some did.
    pub(super) ended: VecDeque<(i64, u64, u64)>,
    /// Why it could not be read to its end.
    pub(super) broken: Option<String>,
}

type Stamp = Vec<(String, u64, Option<SystemTime>)>;

/// What was read so far.
#[derive(Default)]
struct Reading {
    follow: Follow,
    glance: Glance,
    index: Index,
}

/// The last glance.
#[derive(Default)]
pub(super) struct Log {
    /// What the files were like then.
    shown: Mutex<(Stamp, Arc<Glance>)>,
    /// How far it was read.
    reading: Mutex<Reading>,
}

impl Log {
    /// What the ledger holds now.
    pub(super) fn glance(&self, data: &DataDir) -> Arc<Glance> {
        // Made with the stamp from before: what comes meanwhile is seen at the next look.
        let stamp = stamp(data);
        let kept = || {
            let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            (shown.0 == stamp).then(|| Arc::clone(&shown.1))
        };
        if let Some(glance) = kept() {
            return glance;
        }
        // Whoever shows what is known already is not held up by whoever reads on.
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(glance) = kept() {
            return glance;
        }
        let glance = Arc::new(read_on(data, &mut reading));
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = (stamp, Arc::clone(&glance));
        glance
    }
}

fn stamp(data: &DataDir) -> Stamp {
    let folder = format!("state/{LEDGER}");
    let names = data.names(&folder).unwrap_or_default().into_iter();
    let found = names.map(|name| {
        let meta = data.path(&format!("{folder}/{name}")).symlink_metadata().ok();
        let size = meta.as_ref().map_or(0, std::fs::Metadata::len);
        (name, size, meta.and_then(|meta| meta.modified().ok()))
    });
    found.collect()
}

/// What there is now; `reading` goes on from where it was, or anew where that is not there any more.
fn read_on(data: &DataDir, reading: &mut Reading) -> Glance {
    if data.names(&format!("state/{LEDGER}")).unwrap_or_default().is_empty() {
        *reading = Default::default();
        return Glance::default();
    }
    let disk = match Disk::open(&data.path("state"), "0") {
        Ok(disk) => disk,
        Err(e) => {
            return Glance {
                broken: Some(e.to_string()),
                ..Glance::default()
            };
        }
    };
    for _ in 0..2 {
        let Reading { follow, glance, index } = &mut *reading;
        let broken = match follow.next(&disk, LEDGER, &mut |line| glance.take(line, index)) {
            Ok(head) => {
                glance.records = head.count;
                glance.head = head.hash.to_string();
                return glance.clone();
            }
            Err(LedgerError::Moved) => None,
            Err(e) => Some(e.to_string()),
        };
        let seen = std::mem::take(reading).glance;
        if broken.is_some() {
            return Glance { broken, ..seen };
        }
    }
    Glance {
        broken: Some(LedgerError::Moved.to_string()),
        ..Glance::default()
    }
}

fn keep<T>(list: &mut VecDeque<T>, one: T) {
    list.truncate(LAST - 1);
    list.push_front(one);
}

/// A payload as far as a glance needs it; no tree is made.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Seen<'l> {
    #[serde(borrow)]
    job: Cow<'l, str>,
    #[serde(borrow)]
    agent: Cow<'l, str>,
    #[serde(borrow)]
    kind: Cow<'l, str>,
    ok: bool,
    reason: Option<String>,
    act: Act,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Act {
    trail: Trail,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Trail {
    accesses: Vec<Value>,
}

impl Glance {
    fn take(&mut self, line: &Line<'_>, index: &mut Index) {
        self.records = line.index + 1;
        let Ok(seen) = serde_json::from_slice::<Seen<'_>>(line.payload) else {
            return;
        };
        if !seen.job.is_empty() {
            index.note(&seen.job, line.index);
        }
        let (index, time) = (line.index, line.time.to_owned());
        let (job, agent) = (seen.job.to_string(), seen.agent.to_string());
        match line.kind {
            "decision" | "imported" => *self.decisions.entry(agent).or_default() += 1,
            "ended" => {
                self.ends(&time, seen.ok);
                // Its reason says what was refused or failed before.
                if !seen.ok {
                    let reason = seen.reason.unwrap_or_default();
                    let refusal = Refusal {
                        index,
                        time,
                        job,
                        agent,
                        reason,
                    };
                    keep(&mut self.refusals, refusal);
                }
            }
            "job" | "outcome" => {
                for access in &seen.act.trail.accesses {
                    let allowed = access["allowed"] == true;
                    *(if allowed { &mut self.allowed } else { &mut self.denied }) += 1;
                    let (time, job) = (time.clone(), job.clone());
                    let (agent, right, to) = (text(&access["agent"]), text(&access["right"]), text(&access["to"]));
                    keep(
                        &mut self.accesses,
                        Access {
                            index,
                            time,
                            job,
                            agent,
                            right,
                            to,
                            allowed,
                        },
                    );
                }
                if line.kind == "outcome" && seen.ok && seen.kind == "advance" {
                    self.transition(line, job, agent);
                }
            }
            _ => {}
        }
    }

    fn transition(&mut self, line: &Line<'_>, job: String, agent: String) {
        let payload: Value = serde_json::from_slice(line.payload).unwrap_or_default();
        let result = &payload["act"]["result"];
        let events: Vec<String> = result["events"].as_array().into_iter().flatten().map(text).collect();
        let transition = Transition {
            index: line.index,
            time: line.time.to_owned(),
            job,
            agent,
            from: text(&result["from"]),
            events: events.join(", "),
            to: text(&result["finalState"]),
        };
        keep(&mut self.transitions, transition);
    }

    fn ends(&mut self, time: &str, ok: bool) {
        let Ok(at) = Utc::new(time) else { return };
        let minute = at.unix().div_euclid(60) * 60;
        // Clocks are set: what comes from before is counted where we are.
        if self.ended.back().is_none_or(|last| last.0 < minute) {
            if self.ended.len() == MINUTES {
                self.ended.pop_front();
            }
            self.ended.push_back((minute, 0, 0));
        }
        if let Some((_, done, failed)) = self.ended.back_mut() {
            *(if ok { done } else { failed }) += 1;
        }
    }
}

/// A value as words.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Log {
    /// The records of a job, in order, the last so many.
    pub(super) fn of_job(&self, data: &DataDir, id: &str) -> Result<Vec<Record>, String> {
        if let Some(broken) = &self.glance(data).broken {
            return Err(broken.clone());
        }
        let runs = self
            .reading
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .index
            .runs(id);
        let mut records = read(data, &runs, &|payload| payload["job"] == id)?;
        let over = records.len().saturating_sub(LAST);
        records.drain(..over);
        filled(data, records)
    }

    /// So many records before one, in order.
    pub(super) fn before(&self, data: &DataDir, record: u64, most: u64) -> Result<Vec<Record>, String> {
        let run = record.saturating_sub(most)..record;
        filled(data, read(data, std::slice::from_ref(&run), &|_| true)?)
    }
}

fn disk(data: &DataDir) -> Result<Disk, String> {
    Disk::open(&data.path("state"), "0").map_err(|e| e.to_string())
}

fn read(data: &DataDir, runs: &[Range<u64>], wanted: &dyn Fn(&Value) -> bool) -> Result<Vec<Record>, String> {
    let mut records = Vec::new();
    let disk = disk(data)?;
    for run in runs {
        let read = read_range(&disk, LEDGER, run.clone(), &mut |line| {
            let payload: Value = serde_json::from_slice(line.payload).unwrap_or_default();
            if wanted(&payload) {
                records.push(Record {
                    index: line.index,
                    time: line.time.to_owned(),
                    kind: line.kind.to_owned(),
                    payload,
                });
            }
        });
        read.map_err(|e| e.to_string())?;
    }
    Ok(records)
}

/// The same with what was too large for a record.
fn filled(data: &DataDir, mut records: Vec<Record>) -> Result<Vec<Record>, String> {
    let disk = disk(data)?;
    let blobs = Blobs::at(&disk, BLOBS);
    for record in &mut records {
        let digest = record.payload["act"]["blob"]
            .as_str()
            .and_then(|digest| digest.parse().ok());
        if let Some(bytes) = digest.and_then(|digest| blobs.get(&digest).ok().flatten()) {
            record.payload["act"] = serde_json::from_slice(&bytes).unwrap_or_default();
        }
    }
    Ok(records)
}
