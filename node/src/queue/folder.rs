//! The queue of a data directory: its files, claimed by a rename, told by the kernel.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jos_runtime::disk::Disk;
use jos_schemas::documents::runtime::Job;
use jos_schemas::text::Name;
use serde_json::{Value, json};

use super::{Backend, Counts, Cursor, End, Ends, Heard, Held, Left, Messages, Plan, Rest};
use crate::error::NodeError;
use crate::jobs::{self, Claim, Taken};
use crate::lease::Others;
use crate::place::{DataDir, Door, Durable};
use crate::resume::Progress;
use crate::watch::Watch;

pub(super) struct Folder {
    data: DataDir,
    door: Door,
    others: Mutex<Others>,
}

impl Folder {
    pub(super) fn of(data: &DataDir) -> Result<Self, NodeError> {
        Ok(Self {
            data: data.clone(),
            door: Door::of(data)?,
            others: Mutex::default(),
        })
    }

    fn count(&self, folder: &str) -> Result<u64, NodeError> {
        let names = self.data.names(folder)?;
        Ok(names.iter().filter(|name| name.ends_with(".json")).count() as u64)
    }
}

impl Backend for Folder {
    fn place(&self) -> String {
        self.data.path("inbox").display().to_string()
    }

    fn submit(&self, job: &Job) -> Result<(), NodeError> {
        jobs::submit(&self.data, job)
    }

    fn end(&self, id: &str) -> Result<Option<End>, NodeError> {
        end(&self.data, id)
    }

    fn counts(&self) -> Result<Counts, NodeError> {
        Ok(Counts {
            waiting: self.count("inbox")?,
            running: self.count("claimed")?,
            done: self.count("processed")?,
            failed: self.count("failed")?,
        })
    }

    fn nodes(&self) -> Result<Option<Vec<String>>, NodeError> {
        Ok(None)
    }

    fn ends(&self) -> Result<Box<dyn Ends>, NodeError> {
        let watch = Watch::start(&self.data, &["outbox", "failed", "processed"])?;
        Ok(Box::new(Told {
            data: self.data.clone(),
            watch,
        }))
    }

    fn cursor(&self, schedule: &Name) -> Option<Cursor> {
        let bytes = std::fs::read(self.data.path(&format!("state/schedules/{schedule}.json"))).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    fn forget(&self, schedule: &Name) -> Result<(), NodeError> {
        self.data.remove(&format!("state/schedules/{schedule}.json"))
    }

    fn fire(&self, schedule: &Name, plan: &mut Plan<'_>) -> Result<Vec<String>, NodeError> {
        let _inside = self.door.enter()?;
        let known = self.cursor(schedule);
        let (last, jobs) = plan(known);
        let mut after = Cursor {
            last,
            fired: known.unwrap_or_default().fired,
        };
        let mut fired = Vec::new();
        for job in jobs {
            // The power failed between job and cursor, and the id is in use.
            if jobs::standing(&self.data, &job.id)?.is_none() {
                let document = json!({ "id": job.id, "agent": job.agent, "input": job.input });
                let below = format!("inbox/{}.json", job.id);
                self.data.put(&below, document.to_string().as_bytes(), Durable::Yes)?;
                after.fired += 1;
                fired.push(job.id);
            }
        }
        if known != Some(after) {
            let folder = self.data.path("state/schedules");
            std::fs::create_dir_all(&folder).map_err(NodeError::io(&folder, "make the directory"))?;
            self.data.put(
                &format!("state/schedules/{schedule}.json"),
                json!(after).to_string().as_bytes(),
                Durable::Yes,
            )?;
        }
        Ok(fired)
    }

    fn messages(&self) -> Option<Arc<dyn Messages>> {
        None
    }

    fn begin(&self, _: &str, _: Duration) -> Result<(), NodeError> {
        Ok(())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn hear(&self) -> Heard {
        Heard::default()
    }

    fn trouble(&self) -> Option<String> {
        None
    }

    fn look_every(&self, _: Duration) -> Option<Duration> {
        None
    }

    fn tokens(&self, inbox: Vec<String>) -> Vec<String> {
        inbox
    }

    fn claim(&self, token: &str, node: &str) -> Result<Taken, NodeError> {
        jobs::claim(&self.data, &self.door, token, node)
    }

    fn read(&self, disk: &Disk, claim: &Claim) -> Result<Job, String> {
        jobs::read(disk, claim)
    }

    fn keeps(&self) -> bool {
        false
    }

    fn keep(&self, _: &Claim, _: &Progress) -> Result<Held, NodeError> {
        Ok(Held::Yes)
    }

    fn finish(&self, claim: &Claim, result: &Value) -> Result<Held, NodeError> {
        jobs::finish(&self.data, claim, result).map(|()| Held::Yes)
    }

    fn fail(&self, claim: &Claim, reason: &str) -> Result<Held, NodeError> {
        jobs::fail(&self.data, claim, reason).map(|()| Held::Yes)
    }

    fn beat(&self, _: &str) {}

    fn reclaim(&self, node: &str, lease: Duration) -> Result<Left, NodeError> {
        let data = &self.data;
        let names = data.names("claimed")?;
        let claims: Vec<Claim> = names.iter().filter_map(|name| Claim::of(name)).collect();
        let mut nodes: BTreeSet<String> = claims.iter().map(|claim| claim.node.clone()).collect();
        nodes.extend(crate::lease::names(data)?);
        nodes.remove(node);
        let mut left = Left::default();
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        for other in nodes {
            if !others.dead(data, &other, lease) {
                left.foreign |= claims.iter().any(|claim| claim.node == other);
                continue;
            }
            left.unclean = true;
            let _inside = self.door.enter()?;
            for claim in claims.iter().filter(|claim| claim.node == other) {
                let ours = Claim {
                    node: node.to_owned(),
                    attempt: claim.attempt + 1,
                    ..claim.clone()
                };
                if data.take(&claim.path(), &ours.path())? {
                    log::warn!("job {}: node {other} ended before it did; taken over", claim.id);
                    left.taken.push((ours, None));
                }
            }
            others.bury(data, &other);
        }
        Ok(left)
    }

    fn rest(&self, _: &str) -> Result<Rest, NodeError> {
        Ok(Rest::Nothing)
    }

    fn is_settled(&self, data: &DataDir) -> Result<bool, NodeError> {
        let alive = crate::lease::alive(data)?;
        // Behind the door nobody takes a claim over.
        let _inside = self.door.enter()?;
        let names = data.names("claimed")?;
        let mut claims = names.iter().filter_map(|name| Claim::of(name));
        Ok(claims.all(|claim| claim.attempt == 1 && alive.contains_key(&claim.node)))
    }

    fn trim(&self, kept: usize) -> Result<(), NodeError> {
        for folder in ["processed", "failed"] {
            let names = self.data.names(folder)?;
            // A failed job has two files.
            let most = if folder == "failed" { 2 * kept } else { kept };
            if names.len() <= most + most / 10 {
                continue;
            }
            let age = |name: &String| {
                let path = self.data.path(&format!("{folder}/{name}"));
                path.metadata().and_then(|m| m.modified()).ok()
            };
            let mut aged: Vec<_> = names.iter().map(|name| (age(name), name)).collect();
            aged.sort();
            for (_, name) in &aged[..names.len() - most] {
                self.data.remove(&format!("{folder}/{name}"))?;
            }
        }
        Ok(())
    }

    fn stop(&self) {}

    fn bury(&self, _: &str) {}
}

/// How a job ended, as the folders say.
fn end(data: &DataDir, id: &str) -> Result<Option<End>, NodeError> {
    if let Ok(reason) = std::fs::read_to_string(data.path(&format!("failed/{id}.json.reason"))) {
        return Ok(Some(End::Failed(reason.trim_end().to_owned())));
    }
    if !data.path(&format!("processed/{id}.json")).exists() {
        return Ok(None);
    }
    let path = data.path(&format!("outbox/{id}.json"));
    let bytes = match std::fs::read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let what = "the job is done, and its result is not kept any more (config/keep.toml, or somebody took it)";
            return Err(NodeError::invalid(path.display(), what));
        }
        read => read.map_err(NodeError::io(&path, "read it"))?,
    };
    let result = serde_json::from_slice(&bytes).map_err(|e| NodeError::invalid(path.display(), e))?;
    Ok(Some(End::Done(result)))
}

struct Told {
    data: DataDir,
    watch: Watch,
}

impl Ends for Told {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.watch.fd()
    }

    fn every(&self) -> Option<Duration> {
        Watch::EVERY
    }

    fn hear(&mut self) -> Result<(), NodeError> {
        self.watch.take().map(drop)
    }

    fn take(&mut self) -> Result<Vec<(String, End)>, NodeError> {
        let mut ended = Vec::new();
        for (folder, name) in self.watch.take()?.names {
            let Some(id) = name.strip_suffix(".json") else { continue };
            match folder.as_str() {
                "outbox" => {
                    let bytes = std::fs::read(self.data.path(&format!("outbox/{name}"))).unwrap_or_default();
                    let result = serde_json::from_slice(&bytes).unwrap_or_default();
                    ended.push((id.to_owned(), End::Done(result)));
                }
                "failed" => {
                    let reason = std::fs::read_to_string(self.data.path(&format!("failed/{name}.reason")));
                    let reason = reason.unwrap_or_default().trim_end().to_owned();
                    ended.push((id.to_owned(), End::Failed(reason)));
                }
                _ => {}
            }
        }
        Ok(ended)
    }
}
