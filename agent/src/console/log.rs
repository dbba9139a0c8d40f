//! What the pages show of the ledger: the records of one job, and a glance at all of it.
//!
//! Reads alone, as `jos logs` does. A glance is kept until the ledger's files change, and then goes on where it was: what was
//! read is not read again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use jos_node::place::{BLOBS, DataDir, LEDGER};
use jos_runtime::disk::Disk;
use jos_runtime::ledger::{Archive, Follow, LedgerError, Line};
use serde_json::Value;

/// So many of the last events are shown.
const LAST: usize = 100;

/// A record of a job.
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
    /// Why it could not be read to its end.
    pub(super) broken: Option<String>,
}

type Stamp = Vec<(String, u64, Option<SystemTime>)>;

/// The last glance.
#[derive(Default)]
pub(super) struct Log {
    /// What the files were like then.
    shown: Mutex<(Stamp, Arc<Glance>)>,
    /// How far it was read.
    reading: Mutex<(Follow, Glance)>,
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

fn archive<T>(data: &DataDir, read: impl FnOnce(&Archive<'_>) -> Result<T, String>) -> Result<T, String> {
    let disk = Disk::open(&data.path("state"), "0").map_err(|e| e.to_string())?;
    read(&Archive::folder(&disk, LEDGER, BLOBS))
}

/// What there is now; `reading` goes on from where it was, or anew where that is not there any more.
fn read_on(data: &DataDir, reading: &mut (Follow, Glance)) -> Glance {
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
        let (follow, glance) = &mut *reading;
        let broken = match follow.next(&disk, LEDGER, &mut |line| glance.take(line)) {
            Ok(head) => {
                glance.records = head.count;
                glance.head = head.hash.to_string();
                return glance.clone();
            }
            Err(LedgerError::Moved) => None,
            Err(e) => Some(e.to_string()),
        };
        let (_, seen) = std::mem::take(reading);
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

impl Glance {
    fn take(&mut self, line: &Line<'_>) {
        self.records = line.index + 1;
        let Ok(payload) = serde_json::from_slice::<Value>(line.payload) else {
            return;
        };
        let word = |name: &str| text(&payload[name]);
        let (index, time, job, agent) = (line.index, line.time.to_owned(), word("job"), word("agent"));
        let act = &payload["act"];
        match line.kind {
            "decision" | "imported" => *self.decisions.entry(agent).or_default() += 1,
            // Its reason says what was refused or failed before.
            "ended" if payload["ok"] == false => {
                let reason = word("reason");
                let refusal = Refusal {
                    index,
                    time,
                    job,
                    agent,
                    reason,
                };
                keep(&mut self.refusals, refusal);
            }
            "job" | "outcome" => {
                let asked = act["trail"]["accesses"].as_array();
                for access in asked.into_iter().flatten() {
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
                let result = &act["result"];
                if payload["ok"] == true && payload["kind"] == "advance" && line.kind == "outcome" {
                    let events: Vec<String> = result["events"].as_array().into_iter().flatten().map(text).collect();
                    let (from, to) = (text(&result["from"]), text(&result["finalState"]));
                    let events = events.join(", ");
                    keep(
                        &mut self.transitions,
                        Transition {
                            index,
                            time,
                            job,
                            agent,
                            from,
                            events,
                            to,
                        },
                    );
                }
            }
            _ => {}
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

/// The records of a job, in order, the last so many.
pub(super) fn of_job(data: &DataDir, id: &str) -> Result<Vec<Record>, String> {
    if data
        .names(&format!("state/{LEDGER}"))
        .map_err(|e| e.to_string())?
        .is_empty()
    {
        return Ok(Vec::new());
    }
    let member = format!("\"job\":{}", Value::from(id)).into_bytes();
    archive(data, |archive| {
        let mut records = VecDeque::new();
        let lines = archive.lines(&mut |line| {
            if !line.payload.windows(member.len()).any(|window| window == member) {
                return;
            }
            let payload: Value = serde_json::from_slice(line.payload).unwrap_or_default();
            if payload["job"] == id {
                if records.len() == LAST {
                    records.pop_front();
                }
                let (index, time, kind) = (line.index, line.time.to_owned(), line.kind.to_owned());
                records.push_back(Record {
                    index,
                    time,
                    kind,
                    payload,
                });
            }
        });
        lines.map_err(|e| e.to_string())?;
        for record in &mut records {
            let digest = record.payload["act"]["blob"]
                .as_str()
                .and_then(|digest| digest.parse().ok());
            if let Some(bytes) = digest.and_then(|digest| archive.blob(&digest).ok().flatten()) {
                record.payload["act"] = serde_json::from_slice(&bytes).unwrap_or_default();
            }
        }
        Ok(records.into())
    })
}
