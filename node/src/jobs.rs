//! Jobs as files: what a name must be, how one is submitted, claimed, finished and refused.
//!
//! Owns the names in `inbox/`, `claimed/`, `processed/`, `failed/` and `outbox/`. A job's file is moved, never copied, so it
//! stands in one folder at a time; an id is looked up and taken behind the [`Door`], so that no two nodes take it twice.

use std::path::Path;

use jos_runtime::disk::{Disk, DiskError};
use jos_schemas::documents::runtime::Job;
use jos_schemas::read;
use jos_schemas::text::Name;
use serde_json::{Map, Value, json};

use crate::error::NodeError;
use crate::place::{DataDir, Door, Durable};

/// The largest job, as a file.
pub const JOB_LIMIT: u64 = 1024 * 1024;
/// The rule on ids, as `jos_schemas` has it.
const ID_RULE: &str = "1 to 128 letters, digits, '_' and '-', starting with a letter or digit";
/// How often a job may be begun: the node that ran it ended before it did, each time but the last.
pub(crate) const ATTEMPTS: u32 = 5;

/// Whether a text may name a job.
pub fn is_id(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    (1..=128).contains(&text.len()) && text.bytes().all(plain) && text.as_bytes()[0].is_ascii_alphanumeric()
}

pub(crate) fn bad_id(found: &str) -> NodeError {
    NodeError::BadId {
        found: found.chars().take(80).collect(),
        expected: ID_RULE,
    }
}

/// A claimed job: which, by whom, the how-manieth time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) id: String,
    pub(crate) node: String,
    pub(crate) attempt: u32,
    /// The job's bytes, where no file has them.
    pub(crate) document: Option<Vec<u8>>,
}

impl Claim {
    /// Its file's name in `claimed/`.
    pub(crate) fn file(&self) -> String {
        format!("{}@{}.{}.json", self.id, self.node, self.attempt)
    }

    /// Its path below the data directory.
    pub(crate) fn path(&self) -> String {
        format!("claimed/{}", self.file())
    }

    /// What a name in `claimed/` says.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let (id, rest) = name.strip_suffix(".json")?.split_once('@')?;
        let (node, attempt) = rest.split_once('.')?;
        is_id(id).then_some(())?;
        Some(Self {
            id: id.to_owned(),
            node: node.to_owned(),
            attempt: attempt.parse().ok()?,
            document: None,
        })
    }
}

/// Where a job of this id stands, if there is one. Behind the door.
pub fn standing(data: &DataDir, id: &str) -> Result<Option<&'static str>, NodeError> {
    for (folder, words) in [
        ("inbox", "it waits"),
        ("processed", "it is done"),
        ("failed", "it failed"),
        ("outbox", "its result is there"),
    ] {
        if data.path(&format!("{folder}/{id}.json")).symlink_metadata().is_ok() {
            return Ok(Some(words));
        }
    }
    let claimed = data.names("claimed")?;
    let runs = claimed
        .iter()
        .filter_map(|name| Claim::of(name))
        .any(|claim| claim.id == id);
    Ok(runs.then_some("it runs"))
}

/// A job's bytes, if it is one that may be submitted.
pub(crate) fn document(job: &Job) -> Result<Vec<u8>, NodeError> {
    if !is_id(&job.id) {
        return Err(bad_id(&job.id));
    }
    let document = json!({ "id": job.id, "agent": job.agent, "input": job.input });
    let bytes = serde_json::to_vec(&document).map_err(|e| NodeError::invalid(&job.id, e))?;
    if bytes.len() as u64 > JOB_LIMIT {
        let what = format!(
            "found a job of {} bytes, expected {JOB_LIMIT} at most; put large input into a file and name it",
            bytes.len()
        );
        return Err(NodeError::invalid(format!("job {}", job.id), what));
    }
    Ok(bytes)
}

/// Puts a job into `inbox/`, durably and whole. An id that is in use is refused.
pub fn submit(data: &DataDir, job: &Job) -> Result<(), NodeError> {
    let bytes = document(job)?;
    let door = Door::of(data)?;
    let _inside = door.enter()?;
    if let Some(standing) = standing(data, &job.id)? {
        return Err(NodeError::Duplicate {
            id: job.id.clone(),
            standing,
        });
    }
    data.put(&format!("inbox/{}.json", job.id), &bytes, Durable::Yes)
}

/// What became of a name in `inbox/`.
pub(crate) enum Taken {
    /// Ours now.
    Claimed(Claim),
    /// Another node was faster.
    Gone,
    /// It names no job; moved to `failed/` with the reason.
    Refused(String),
}

/// Claims a job by renaming its file. An id that was used before is refused here, before anything is recorded.
pub(crate) fn claim(data: &DataDir, door: &Door, name: &str, node: &str) -> Result<Taken, NodeError> {
    let id = name.strip_suffix(".json").filter(|id| is_id(id));
    let from = format!("inbox/{name}");
    let Some(id) = id else {
        return refuse(data, &from, name, &no_id(name));
    };
    let inside = door.enter()?;
    let before = ["processed", "failed", "outbox"]
        .iter()
        .any(|folder| data.path(&format!("{folder}/{id}.json")).symlink_metadata().is_ok())
        || data
            .names("claimed")?
            .iter()
            .any(|c| c.split_once('@').is_some_and(|(of, _)| of == id));
    if before {
        return refuse_again(data, id);
    }
    let claim = Claim {
        id: id.to_owned(),
        node: node.to_owned(),
        attempt: 1,
        document: None,
    };
    let taken = data.take(&from, &claim.path())?;
    drop(inside);
    Ok(if taken { Taken::Claimed(claim) } else { Taken::Gone })
}

/// Why a name in `inbox/` is none of a job.
pub(crate) fn no_id(name: &str) -> String {
    format!("found the file name {name:?}, expected ID.json with an id of {ID_RULE}")
}

/// Refuses a file of an id that was used before.
pub(crate) fn refuse_again(data: &DataDir, id: &str) -> Result<Taken, NodeError> {
    let free = (1_u32..)
        .map(|n| format!("{id}.again-{n}.json"))
        .find(|name| !data.path(&format!("failed/{name}")).exists());
    let reason = format!("job {id}: there was one of this id already; the first is kept");
    refuse(data, &format!("inbox/{id}.json"), &free.unwrap_or_default(), &reason)
}

/// Moves a file to `failed/` with its reason, which is there first.
pub(crate) fn refuse(data: &DataDir, from: &str, name: &str, reason: &str) -> Result<Taken, NodeError> {
    if data.path(from).symlink_metadata().is_err() {
        return Ok(Taken::Gone);
    }
    put_reason(data, name, reason)?;
    data.take(from, &format!("failed/{name}"))?;
    Ok(Taken::Refused(reason.to_owned()))
}

fn put_reason(data: &DataDir, name: &str, reason: &str) -> Result<(), NodeError> {
    data.put(
        &format!("failed/{name}.reason"),
        format!("{}\n", reason.trim_end()).as_bytes(),
        Durable::Derived,
    )
}

/// The job ended well: its result is put where it is looked for.
pub(crate) fn finish(data: &DataDir, claim: &Claim, result: &Value) -> Result<(), NodeError> {
    let mut bytes = serde_json::to_vec(result).map_err(|e| NodeError::invalid(&claim.id, e))?;
    bytes.push(b'\n');
    data.put(&format!("outbox/{}.json", claim.id), &bytes, Durable::Derived)?;
    data.take(&claim.path(), &format!("processed/{}.json", claim.id))?;
    Ok(())
}

/// The job failed, for this reason.
pub(crate) fn fail(data: &DataDir, claim: &Claim, reason: &str) -> Result<(), NodeError> {
    let name = format!("{}.json", claim.id);
    put_reason(data, &name, reason)?;
    data.take(&claim.path(), &format!("failed/{name}"))?;
    Ok(())
}

/// Reads a claimed job: within its limit, no link, no FIFO, and of the id that its file names.
pub(crate) fn read(disk: &Disk, claim: &Claim) -> Result<Job, String> {
    read_at(disk, &claim.path(), &claim.id)
}

/// Reads a job's file.
pub(crate) fn read_at(disk: &Disk, below: &str, id: &str) -> Result<Job, String> {
    let (bytes, _) = disk.read(below, JOB_LIMIT).map_err(|e| match e {
        DiskError::TooLarge { size, limit, .. } => {
            format!("found a job of {size} bytes, expected {limit} at most; put large input into a file and name it")
        }
        e => e.to_string(),
    })?;
    parse(id, &bytes)
}

/// A job's document. The original's spelling, `kind` for `agent`, is read too.
pub fn parse(id: &str, bytes: &[u8]) -> Result<Job, String> {
    let node = read::parse(&format!("{id}.json"), bytes, read::Format::Json).map_err(|e| e.to_string())?;
    let Value::Object(mut members) = node.to_json() else {
        return Err("expected a JSON object {\"id\", \"agent\", \"input\"}".into());
    };
    as_ours(&mut members);
    members.entry("id").or_insert_with(|| id.into());
    let job: Job = read::from_json(&Value::Object(members)).map_err(|e| e.to_string().trim_end().to_owned())?;
    if job.id != id {
        return Err(format!(
            "found the id {:?} in the file of {id:?}, expected them to be the same",
            job.id
        ));
    }
    Ok(job)
}

fn as_ours(members: &mut Map<String, Value>) {
    if !members.contains_key("agent")
        && members.get("kind").is_some_and(|kind| kind != "jos.job")
        && let Some(kind) = members.remove("kind")
    {
        members.insert("agent".into(), kind);
    }
}

/// A job that a person or a schedule asks for.
pub fn job(id: String, agent: Name, input: Value) -> Job {
    Job {
        schema: None,
        kind: None,
        id,
        agent,
        input,
    }
}

/// A disk to read this data directory by: never follows a link below it.
pub(crate) fn disk(root: &Path, tag: &str) -> Result<Disk, NodeError> {
    Ok(Disk::open(root, tag)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_read_back_from_its_name_and_no_id_can_be_taken_for_one() {
        let claim = Claim {
            id: "a-1".into(),
            node: "0f".into(),
            attempt: 3,
            document: None,
        };
        assert_eq!(Claim::of(&claim.file()), Some(claim));
        for wrong in ["a-1.json", "@0f.1.json", "a/b@0f.1.json", "a@0f.json", "a@0f.x.json"] {
            assert_eq!(Claim::of(wrong), None, "{wrong}");
        }
        for bad in ["", "../schedules/x", "a@b", "a.b", "-a", "ä"] {
            assert!(!is_id(bad), "{bad}");
        }
    }

    #[test]
    fn the_spelling_of_the_original_is_read_and_an_id_of_another_file_is_not() {
        let read = parse("j1", br#"{"kind":"planner","input":{"a":1}}"#).unwrap();
        assert_eq!((read.id.as_str(), read.agent.as_str()), ("j1", "planner"));
        let own = parse("j1", br#"{"kind":"jos.job","id":"j1","agent":"planner"}"#).unwrap();
        assert_eq!(own.input, Value::Null);
        assert!(parse("j1", br#"{"id":"../schedules/x","agent":"a"}"#).is_err());
        assert!(
            parse("j1", br#"{"id":"j2","agent":"a"}"#)
                .unwrap_err()
                .contains("\"j2\"")
        );
        assert!(parse("j1", b"[]").is_err());
        assert!(parse("j1", br#"{"agent":"a","agent":"b"}"#).is_err());
    }
}
